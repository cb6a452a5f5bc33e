"""A table of any length as .xlsx: rows are written to a file on the disk as they come, so that it takes no memory."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Alignment, Font

from sync.interop import workbook
from sync.interop.spreadsheet import plain

_NARROWEST, _WIDEST = 6, 36


def long_sheet(
    title: str,
    name: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str | int]],
    notes: Sequence[str],
    widths: Sequence[int],
) -> tuple[bytes, int]:
    """A workbook of one sheet, and how many rows it has. Texts are cells of text, so that codes keep their zeros and
    nothing is taken for a formula.

    :param widths: of the columns, in characters; they cannot be fitted to rows that nobody has seen yet
    """
    book = Workbook(write_only=True)
    sheet = book.create_sheet(name)
    workbook.widths(sheet, [min(max(width, _NARROWEST), _WIDEST) for width in widths])
    sheet.freeze_panes = "A3"
    sheet.print_title_rows = "1:2"
    workbook.a4_landscape(sheet)
    sheet.append([_cell(sheet, title, Font(bold=True, size=14))])
    sheet.append([_cell(sheet, head, Font(bold=True), shaded=True) for head in heads])
    texts, numbers = ([_cell(sheet, kind) for _ in heads] for kind in ("", 0))
    count = 0
    for row in rows:
        line = []
        for place, value in enumerate(row):
            cell = (texts if isinstance(value, str) else numbers)[place]
            cell.value = plain(value)
            line.append(cell)
        sheet.append(line)
        count += 1
    for note in notes:
        sheet.append([note])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue(), count


def _cell(sheet: object, value: str | int, font: Font | None = None, shaded: bool = False) -> WriteOnlyCell:
    cell = WriteOnlyCell(sheet, value)
    cell.alignment = Alignment(vertical="center", wrap_text=True)
    if font is None or shaded:
        cell.border = workbook.GRID
    if font is not None:
        cell.font = font
    if shaded:
        cell.fill = workbook.SHADE
    if isinstance(value, str):
        cell.number_format = workbook.TEXT
    return cell
