"""Tables as .xlsx for an office: title, headings, rows, notes; on A4 landscape, for Excel and WPS alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openpyxl.styles import Alignment
from openpyxl.worksheet.worksheet import Worksheet

from sync.interop import workbook
from sync.interop.spreadsheet import plain


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
    book, first = workbook.new_book(sheets[0].name)
    for place, made in enumerate(sheets):
        _fill(first if place == 0 else book.create_sheet(made.name), made)
    return workbook.saved(book)


def _fill(sheet: Worksheet, made: OfficeSheet) -> None:
    width = len(made.heads)
    workbook.title(sheet, made.title, width)
    for row in (made.heads, *made.rows):
        sheet.append([plain(cell) for cell in row])
    last = sheet.max_row
    workbook.grid(sheet, 2, last, width)
    for cells in sheet.iter_rows(min_row=2, max_row=last):
        workbook.keep_as_text(cells)
    workbook.head(sheet[2])
    workbook.widths_of_texts(sheet, 2, least=6, most=36)
    for note in made.notes:
        workbook.across(sheet, note, width).alignment = Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = "A3"
    workbook.prints_whole(sheet, width)
