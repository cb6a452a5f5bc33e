"""Tables as .xlsx for an office: title, headings, rows, notes; on A4 landscape, for Excel and WPS alike."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from openpyxl import Workbook
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from sync.county.exports import plain
from sync.interop.asset_list import a4_landscape

_THIN = Side(style="thin", color="999999")


@dataclass(frozen=True, slots=True)
class OfficeSheet:
    """Texts are cells of text, so that codes keep their zeros and nothing is taken for a formula; numbers are numbers.

    :ivar title: across the first row
    :ivar name: of the sheet
    :ivar rows: None: an empty cell
    :ivar notes: below the table, one a row
    """

    title: str
    name: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    notes: Sequence[str] = ()


def office_sheet(
    title: str,
    name: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str | float | None]],
    notes: Sequence[str] = (),
) -> bytes:
    """A workbook of one sheet; see ``OfficeSheet``."""
    return office_book([OfficeSheet(title, name, heads, rows, notes)])


def office_book(sheets: Sequence[OfficeSheet]) -> bytes:
    """:param sheets: at least one, each with a name of its own"""
    book = Workbook()
    for place, made in enumerate(sheets):
        sheet = book.active if place == 0 else book.create_sheet()
        assert isinstance(sheet, Worksheet)
        sheet.title = made.name
        _fill(sheet, made)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _fill(sheet: Worksheet, made: OfficeSheet) -> None:
    width = len(made.heads)
    sheet.append([made.title])
    sheet.merge_cells(start_row=1, start_column=1, end_row=1, end_column=width)
    sheet["A1"].font = Font(bold=True, size=14)
    sheet.append(list(made.heads))
    for row in made.rows:
        sheet.append([plain(cell) if isinstance(cell, str) else cell for cell in row])
    border = Border(left=_THIN, right=_THIN, top=_THIN, bottom=_THIN)
    for cells in sheet.iter_rows(min_row=2, max_row=sheet.max_row, max_col=width):
        for cell in cells:
            cell.border = border
            cell.alignment = Alignment(vertical="center", wrap_text=True)
            if isinstance(cell.value, str):
                cell.number_format = "@"
    for cell in sheet[2]:
        cell.font, cell.fill = Font(bold=True), PatternFill("solid", fgColor="E7ECEF")
    for number, cells in enumerate(sheet.iter_cols(min_row=2, max_row=sheet.max_row, max_col=width), start=1):
        widest = max(_width(str(cell.value or "")) for cell in cells)
        sheet.column_dimensions[get_column_letter(number)].width = min(max(widest + 2, 6), 36)
    for note in made.notes:
        sheet.append([note])
        sheet.merge_cells(start_row=sheet.max_row, start_column=1, end_row=sheet.max_row, end_column=width)
        sheet.cell(sheet.max_row, 1).alignment = Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = "A3"
    sheet.print_title_rows = "1:2"
    sheet.print_area = f"A1:{get_column_letter(width)}{sheet.max_row}"
    a4_landscape(sheet)


def _width(text: str) -> int:
    """Columns that a text takes: a Chinese character takes two."""
    return sum(2 if ord(letter) > 0x2E80 else 1 for letter in text)
