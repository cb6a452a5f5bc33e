"""The county's lists as .xlsx: counts by village with small cells suppressed, or line by line with names.

Headings in Chinese, whatever the page's language: the sheets go to Chinese offices. Codes are text, for Excel and WPS
alike.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from datetime import date

from openpyxl import Workbook
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from sync.county.exports import plain
from sync.county.programme_lists import IN_TIME_MINUTES, Line, closed_in_time
from sync.web.catalog import Texts

SMALL = 5
"""Cells from one to below this are not shown exactly (domain notes, section 5.16)."""
_THIN = Side(style="thin", color="999999")
_NAMED = ("number", "township", "village", "code", "name", "sex", "born_on", "id_tail", "phone", "address", "what")


def shown(count: int) -> str | int:
    """A count as it may be shown: "<5" for small ones."""
    return count if count == 0 or count >= SMALL else f"<{SMALL}"


def total(counts: Sequence[int]) -> str | int:
    """The sum below a column; not given where it would tell the only cell that is not shown."""
    hidden = sum(0 < count < SMALL for count in counts)
    return shown(sum(counts)) if hidden != 1 else "–"


def counted_xlsx(name: str, lines: Sequence[Line], county: str, day: date, practice: bool, t: Texts) -> bytes:
    """How many people of each village are on the list, by what puts them there; nobody can be told from it."""
    kinds = sorted({line.what for line in lines})
    people = Counter(
        (line.person.village, line.what)
        for line in {(line.person.origin, line.person.patient, line.what): line for line in lines}.values()
    )
    villages = {line.person.village: line.person for line in lines}
    heads = [t(f"county.lists.{one}") for one in ("township", "village", "code")]
    heads += [word(name, kind, t) for kind in kinds]
    rows: list[list[str | int]] = []
    for code in sorted(villages):
        where = villages[code]
        counts = [shown(people[(code, kind)]) for kind in kinds]
        rows.append([where.township, where.village_name or t("county.lists.no_village"), code, *counts])
    sums = [total([people[(code, kind)] for code in villages]) for kind in kinds]
    rows.append([t("county.lists.total"), "", "", *sums])
    notes = [t("county.lists.note_counts", small=SMALL)]
    if name == "critical":
        every, in_time, still_open = closed_in_time(lines)
        facts = {"all": shown(every), "in_time": shown(in_time), "open": shown(still_open), "minutes": IN_TIME_MINUTES}
        notes.append(t("county.lists.note_critical", **facts))
    return _book(_title(name, county, day, practice, t), heads, rows, notes, t)


def named_xlsx(
    name: str, lines: Sequence[Line], county: str, day: date, practice: bool, by: str, reason: str, t: Texts
) -> bytes:
    """Line by line with names, for who has to act; who made it and why stands on the sheet."""
    heads = [t(f"county.lists.{one}") for one in _NAMED]
    heads += [t("county.lists.source"), t("county.lists.on")]
    if name == "poverty":
        heads.append(t("county.lists.household"))
    if name == "critical":
        heads.append(t("county.lists.minutes"))
    rows = [_named_row(name, number, line, t) for number, line in enumerate(lines, start=1)]
    notes = [t("county.lists.note_named", by=by, reason=reason), t(f"county.lists.note_{name}_named")]
    return _book(_title(name, county, day, practice, t), heads, rows, notes, t)


def word(name: str, kind: str, t: Texts) -> str:
    """A disease, symptom or kind of value in words."""
    for key in (f"touch.condition.{kind}", f"county.lists.{kind}", f"touch.tile.{kind}"):
        if key in t:
            return t(key)
    return kind


def _named_row(name: str, number: int, line: Line, t: Texts) -> list[str | int]:
    one = line.person
    sex = t(f"touch.sex.{one.sex}") if f"touch.sex.{one.sex}" in t else one.sex
    source = f"county.lists.source_{line.source or 'open'}"
    row: list[str | int] = [
        number,
        one.township,
        one.village_name,
        one.village,
        one.name,
        sex,
        one.born_on,
        one.id_last4,
        one.phone,
        one.address,
        word(name, line.what, t),
        t(source) if source in t else line.source,
        line.on.isoformat(),
    ]
    if name == "poverty":
        row.append(t(f"touch.monitored.{line.household}"))
    if name == "critical":
        row.append(line.minutes if line.minutes is not None else "–")
    return row


def _title(name: str, county: str, day: date, practice: bool, t: Texts) -> str:
    title = t(f"county.lists.title_{name}", county=county, day=day.isoformat())
    return f"{title} {t('county.practice_mark')}" if practice else title


def _book(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str | int]], notes: Sequence[str], t: Texts
) -> bytes:
    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.title = t("county.lists.sheet")
    width = len(heads)
    sheet.append([title])
    sheet.merge_cells(start_row=1, start_column=1, end_row=1, end_column=width)
    sheet["A1"].font = Font(bold=True, size=14)
    sheet.append(list(heads))
    for row in rows:
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
    for note in notes:
        sheet.append([note])
        sheet.merge_cells(start_row=sheet.max_row, start_column=1, end_row=sheet.max_row, end_column=width)
        sheet.cell(sheet.max_row, 1).alignment = Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = "A3"
    sheet.print_title_rows = "1:2"
    sheet.print_area = f"A1:{get_column_letter(width)}{sheet.max_row}"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = sheet.PAPERSIZE_A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _width(text: str) -> int:
    """Columns that a text takes: a Chinese character takes two."""
    return sum(2 if ord(letter) > 0x2E80 else 1 for letter in text)
