"""The month table as a sheet: .xlsx for Excel and WPS, .csv in UTF-8 with a byte order mark."""

from __future__ import annotations

from collections.abc import Iterable

from openpyxl.worksheet.worksheet import Worksheet

from sync.county.month_table import JudgedVisit, MonthTable, VillageMonth
from sync.interop import workbook
from sync.interop.spreadsheet import csv_file, plain
from sync.proof.coverage import VisitState
from sync.proof.presence import local_day
from sync.web.catalog import Texts

_MARKS = {
    VisitState.COUNTED: "✔",
    VisitState.SHORT: "◐",
    VisitState.NOT_COUNTED: "✖",
    VisitState.REVIEW: "审",
    VisitState.OPEN: "○",
    VisitState.MERGED: "",
}


def mark(visit: JudgedVisit | None) -> str:
    return _MARKS[visit.verdict.state] if visit is not None else ""


def csv_bytes(table: MonthTable, t: Texts) -> bytes:
    month = _marked(table, f"{table.month:%Y-%m}", t)
    heads = [t("county.export.month"), *_headings(table, t)]
    return csv_file(heads, ([month, *_cells(table, row, t)] for row in table.rows))


def xlsx_bytes(table: MonthTable, county: str, t: Texts) -> bytes:
    """Two sheets: the month table on A4 landscape, and every visit with its reasons."""
    book, sheet = workbook.new_book(table.month.strftime("%Y-%m"))
    _month_sheet(sheet, table, county, t)
    _visit_sheet(book.create_sheet(_marked(table, t("county.export.visits"), t)), table, t)
    return workbook.saved(book)


def _headings(table: MonthTable, t: Texts) -> list[str]:
    names = ("township", "village", "code")
    sums = ("counted", "required", "minutes", "people", "state")
    return [
        *(t(f"county.export.{name}") for name in names),
        *(str(day.day) for day in table.days),
        *(t(f"county.export.{name}") for name in sums),
    ]


def _cells(table: MonthTable, row: VillageMonth, t: Texts) -> list[str | int]:
    return [
        row.village.township,
        row.village.name,
        row.village.code,
        *(mark(row.cells.get(day)) for day in table.days),
        row.verdict.counted,
        table.rules.visits_per_month,
        row.dwell_minutes,
        row.encounters,
        t(f"county.month_state.{row.verdict.state.value}"),
    ]


def _title(table: MonthTable, county: str, t: Texts) -> str:
    title = t("county.export.title", county=county, year=table.month.year, month=table.month.month)
    return _marked(table, title, t)


def _marked(table: MonthTable, text: str, t: Texts) -> str:
    """Practice says so in every row and on every sheet, because files are renamed and sheets copied."""
    return f"{text} {t('county.practice_mark')}" if table.practice else text


def _month_sheet(sheet: Worksheet, table: MonthTable, county: str, t: Texts) -> None:
    headings = _headings(table, t)
    width = len(headings)
    workbook.title(sheet, _title(table, county, t), width)
    sheet.append(headings)
    for row in table.rows:
        sheet.append([plain(cell) for cell in _cells(table, row, t)])
    counted_on = table.counted_on()
    days = [counted_on[day] or "" for day in table.days]
    totals = [table.counted, len(table.rows) * table.rules.visits_per_month]
    sums = [sum(row.dwell_minutes for row in table.rows), sum(row.encounters for row in table.rows)]
    sheet.append([t("county.export.total"), "", "", *days, *totals, *sums, ""])
    last = sheet.max_row
    workbook.grid(sheet, 2, last, width, left=3)
    for row_number in (2, last):
        workbook.head(sheet[row_number])
    workbook.keep_as_text(sheet["C"][2:])
    workbook.across(sheet, _note(table, t), width)
    workbook.widths(sheet, [10, 14, 15, *[3.2] * len(table.days), 6, 6, 8, 7, 10])
    sheet.freeze_panes = "D3"
    workbook.prints_whole(sheet, width)


def _note(table: MonthTable, t: Texts) -> str:
    if table.sealed_at is not None:
        seal = t("county.sealed_at", date=local_day(table.sealed_at).isoformat())
        seal += t("county.superseded") if table.superseded else ""
    else:
        ended = "county.export.provisional" if table.provisional else "county.export.sealed"
        seal = t(ended, date=table.sealed_on.isoformat())
    legend = "  ".join(f"{sign} {t(f'county.visit_state.{state.value}')}" for state, sign in _MARKS.items() if sign)
    rules = t(
        "county.rules_line",
        version=table.rules.version,
        visits=table.rules.visits_per_month,
        days=table.rules.days_apart,
        minutes=table.rules.dwell_s // 60,
    )
    return f"{legend}    {rules}    {seal}"


def _visit_sheet(sheet: Worksheet, table: MonthTable, t: Texts) -> None:
    names = ("township", "village", "code", "day", "vehicle", "state", "reasons", "minutes", "staff", "people", "visit")
    sheet.append([t(f"county.export.{name}") for name in names])
    for row in table.rows:
        for visit in row.visits:
            sheet.append([plain(cell) for cell in _visit_cells(row, visit, t)])
    workbook.head(sheet[1])
    workbook.keep_as_text(sheet["C"])
    workbook.widths(sheet, [10, 14, 15, 12, 24, 10, 36, 8, 8, 8, 32])
    sheet.freeze_panes = "A2"
    workbook.a4_landscape(sheet)


def _visit_cells(row: VillageMonth, visit: JudgedVisit, t: Texts) -> Iterable[str | int]:
    facts = visit.case.facts
    return [
        row.village.township,
        row.village.name,
        row.village.code,
        facts.day.isoformat(),
        facts.vehicle,
        t(f"county.visit_state.{visit.verdict.state.value}"),
        t("county.list_comma").join(t(f"county.reason.{reason}") for reason in visit.verdict.reasons),
        visit.dwell_minutes,
        len({person for person, _ in facts.staff}),
        len(visit.case.served),
        facts.visit,
    ]
