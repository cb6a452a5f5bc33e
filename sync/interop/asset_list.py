"""The devices of a van as a list for whoever keeps the inventory: .xlsx for Excel and WPS, .csv with a byte order mark.

The same list on the van and at the county. Headings in the reader's language; codes and serial numbers as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from sync.web.catalog import Texts

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV_TYPE = "text/csv; charset=utf-8"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_WIDEST = 48


@dataclass(frozen=True, slots=True)
class Asset:
    """One device. Days in ISO 8601, empty where nothing is known; the fields are the columns."""

    vehicle: str
    device: str
    title: str
    kind: str
    driver: str
    link: str
    place: str
    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    added_on: str = ""
    added_by: str = ""
    last_seen_on: str = ""
    calibration_due_on: str = ""
    quality_control_due_on: str = ""
    strip_lot: str = ""
    strips_expire_on: str = ""
    hardware_tested: str = ""


COLUMNS = tuple(field.name for field in fields(Asset))


def headings(t: Texts) -> list[str]:
    return [t(f"assets.{column}") for column in COLUMNS]


def csv_bytes(assets: Sequence[Asset], t: Texts) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(headings(t))
    writer.writerows([plain(cell) for cell in astuple(asset)] for asset in assets)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def xlsx_bytes(assets: Sequence[Asset], t: Texts) -> bytes:
    from openpyxl import Workbook  # heavy, and the van's process starts without it
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.worksheet import Worksheet

    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.title = t("assets.sheet")
    sheet.append(headings(t))
    for asset in assets:
        sheet.append([plain(cell) for cell in astuple(asset)])
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    for number, column in enumerate(sheet.iter_cols(), start=1):
        widest = max(_width(str(cell.value or "")) for cell in column)
        sheet.column_dimensions[get_column_letter(number)].width = min(widest + 2, _WIDEST)
        for cell in column:
            cell.number_format = "@"
    sheet.freeze_panes = "D2"
    sheet.auto_filter.ref = sheet.dimensions
    a4_landscape(sheet)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def a4_landscape(sheet: Worksheet) -> None:
    """Prints on A4 across, all columns on one page's width."""
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = sheet.PAPERSIZE_A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True


def plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def _width(text: str) -> int:
    """Columns that a text takes: a Chinese character takes two."""
    return sum(2 if ord(letter) > 0x2E80 else 1 for letter in text)
