"""How the project's workbooks look, for Excel and WPS alike: heads, grid, widths, A4 across.

openpyxl is heavy: who runs on the van imports this module where a workbook is written, not at the start.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from openpyxl import Workbook
from openpyxl.cell.cell import Cell, MergedCell
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from sync.interop.spreadsheet import columns_taken

TEXT = "@"
"""The number format of a text, so that a code keeps its zeros."""
_THIN = Side(style="thin", color="999999")
GRID = Border(left=_THIN, right=_THIN, top=_THIN, bottom=_THIN)
SHADE = PatternFill("solid", fgColor="E7ECEF")


def new_book(name: str) -> tuple[Workbook, Worksheet]:
    """A workbook with one sheet of that name."""
    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.title = name
    return book, sheet


def saved(book: Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def across(sheet: Worksheet, text: str, width: int) -> Cell | MergedCell:
    """A row of one text over ``width`` columns, below what is there; its cell."""
    sheet.append([text])
    row = sheet.max_row
    sheet.merge_cells(start_row=row, start_column=1, end_row=row, end_column=width)
    return sheet.cell(row, 1)


def title(sheet: Worksheet, text: str, width: int) -> None:
    """The first row."""
    across(sheet, text, width).font = Font(bold=True, size=14)


def head(cells: Iterable[Cell | MergedCell]) -> None:
    """Cells that name what is beside or below them."""
    for cell in cells:
        cell.font, cell.fill = Font(bold=True), SHADE


def grid(sheet: Worksheet, first_row: int, last_row: int, width: int, left: int | None = None) -> None:
    """Lines around the cells. The first ``left`` columns begin at the left, the rest is centred; None: texts wrap."""
    for cells in sheet.iter_rows(min_row=first_row, max_row=last_row, max_col=width):
        for place, cell in enumerate(cells):
            cell.border = GRID
            if left is None:
                cell.alignment = Alignment(vertical="center", wrap_text=True)
            else:
                cell.alignment = Alignment(horizontal="left" if place < left else "center", vertical="center")


def keep_as_text(cells: Iterable[Cell | MergedCell]) -> None:
    """Those of them that hold a text are texts, also when somebody edits them."""
    for cell in cells:
        if isinstance(cell.value, str):
            cell.number_format = TEXT


def widths(sheet: Worksheet, sizes: Sequence[float]) -> None:
    """Of the columns from the first on, in characters."""
    for number, size in enumerate(sizes, start=1):
        sheet.column_dimensions[get_column_letter(number)].width = size


def widths_of_texts(sheet: Worksheet, first_row: int, least: int, most: int) -> None:
    """Each column as wide as the widest text of it from ``first_row`` on, within bounds."""
    columns = sheet.iter_cols(min_row=first_row, max_row=sheet.max_row)
    needed = [max(columns_taken(str(cell.value or "")) for cell in cells) + 2 for cells in columns]
    widths(sheet, [min(max(size, least), most) for size in needed])


def prints_whole(sheet: Worksheet, width: int) -> None:
    """Everything so far, with title and heads on each page."""
    sheet.print_title_rows = "1:2"
    sheet.print_area = f"A1:{get_column_letter(width)}{sheet.max_row}"
    a4_landscape(sheet)


def a4_landscape(sheet: Worksheet) -> None:
    """Prints on A4 across, all columns on one page's width."""
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = Worksheet.PAPERSIZE_A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
