"""What a table needs so that Excel and WPS read it as it was meant: text that is no formula, a byte order mark."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TypeVar

XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV_TYPE = "text/csv; charset=utf-8"
Cell = TypeVar("Cell")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def plain(cell: Cell) -> Cell | str:
    """A text that no spreadsheet takes for a formula; whatever is no text stays itself."""
    return "'" + cell if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def csv_file(heads: Sequence[str], rows: Iterable[Iterable[str | int]]) -> bytes:
    """RFC 4180 in UTF-8, with the byte order mark by which Excel knows that it is UTF-8."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(heads)
    writer.writerows([plain(cell) for cell in row] for row in rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def columns_taken(text: str) -> int:
    """How many columns of a narrow script a text takes: a Chinese character takes two."""
    return sum(2 if ord(letter) > 0x2E80 else 1 for letter in text)
