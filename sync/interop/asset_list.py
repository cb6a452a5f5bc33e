"""The devices of a van as a list for whoever keeps the inventory: .xlsx for Excel and WPS, .csv with a byte order mark.

The same list on the van and at the county. Headings in the reader's language; codes and serial numbers as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from sync.interop.spreadsheet import csv_file, plain
from sync.web.catalog import Texts

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
    return csv_file(headings(t), map(astuple, assets))


def xlsx_bytes(assets: Sequence[Asset], t: Texts) -> bytes:
    from sync.interop import workbook  # heavy, and the van's process starts without it

    book, sheet = workbook.new_book(t("assets.sheet"))
    for row in (headings(t), *map(astuple, assets)):
        sheet.append([plain(cell) for cell in row])
    for cells in sheet.iter_rows():
        workbook.keep_as_text(cells)
    workbook.head(sheet[1])
    workbook.widths_of_texts(sheet, 1, least=2, most=_WIDEST)
    sheet.freeze_panes = "D2"
    sheet.auto_filter.ref = sheet.dimensions
    workbook.a4_landscape(sheet)
    return workbook.saved(book)
