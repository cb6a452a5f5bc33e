"""The month table as a sheet: .xlsx for Excel and WPS, .csv in UTF-8 with a byte order mark."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from openpyxl import Workbook
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from sync.county.month_table import JudgedVisit, MonthTable, VillageMonth
from sync.interop.asset_list import a4_landscape
from sync.proof.coverage import VisitState
from sync.proof.presence import local_day
from sync.web.catalog import Texts

XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV_TYPE = "text/csv; charset=utf-8"
_MARKS = {
    VisitState.COUNTED: "✔",
    VisitState.SHORT: "◐",
    VisitState.NOT_COUNTED: "✖",
    VisitState.REVIEW: "审",
    VisitState.OPEN: "○",
    VisitState.MERGED: "",
}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_THIN = Side(style="thin", color="999999")


def mark(visit: JudgedVisit | None) -> str:
    return _MARKS[visit.verdict.state] if visit is not None else ""


def plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def csv_bytes(table: MonthTable, t: Texts) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([t("county.export.month"), *_headings(table, t)])
    for row in table.rows:
        writer.writerow(
            [_marked(table, f"{table.month:%Y-%m}", t), *(plain(str(cell)) for cell in _cells(table, row, t))]
        )
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def xlsx_bytes(table: MonthTable, county: str, t: Texts) -> bytes:
    """Two sheets: the month table on A4 landscape, and every visit with its reasons."""
    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    _month_sheet(sheet, table, county, t)
    _visit_sheet(book.create_sheet(_marked(table, t("county.export.visits"), t)), table, t)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


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
    sheet.title = table.month.strftime("%Y-%m")
    headings = _headings(table, t)
    width = len(headings)
    sheet.append([_title(table, county, t)])
    sheet.merge_cells(start_row=1, start_column=1, end_row=1, end_column=width)
    sheet.append(headings)
    for row in table.rows:
        sheet.append([_text(cell) for cell in _cells(table, row, t)])
    days = [table.counted_on(day) or "" for day in table.days]
    totals = [table.counted, len(table.rows) * table.rules.visits_per_month]
    sums = [sum(row.dwell_minutes for row in table.rows), sum(row.encounters for row in table.rows)]
    sheet.append([t("county.export.total"), "", "", *days, *totals, *sums, ""])
    sheet.append([_note(table, t)])
    sheet.merge_cells(start_row=sheet.max_row, start_column=1, end_row=sheet.max_row, end_column=width)
    _style(sheet, width, days=len(table.days))


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


def _style(sheet: Worksheet, width: int, days: int) -> None:
    sheet["A1"].font = Font(bold=True, size=14)
    last = sheet.max_row - 1
    border = Border(left=_THIN, right=_THIN, top=_THIN, bottom=_THIN)
    for cells in sheet.iter_rows(min_row=2, max_row=last, max_col=width):
        for cell in cells:
            cell.border = border
            cell.alignment = Alignment(horizontal="left" if cell.column <= 3 else "center", vertical="center")
    for row in (2, last):
        for cell in sheet[row]:
            cell.font = Font(bold=True)
            cell.fill = PatternFill("solid", fgColor="E7ECEF")
    for column, size in zip(range(1, width + 1), [10, 14, 15, *[3.2] * days, 6, 6, 8, 7, 10], strict=True):
        sheet.column_dimensions[get_column_letter(column)].width = size
    for cell in sheet["C"][2:last]:
        cell.number_format = "@"
    sheet.freeze_panes = "D3"
    sheet.print_title_rows = "1:2"
    sheet.print_area = f"A1:{get_column_letter(width)}{sheet.max_row}"
    a4_landscape(sheet)


def _visit_sheet(sheet: Worksheet, table: MonthTable, t: Texts) -> None:
    names = ("township", "village", "code", "day", "vehicle", "state", "reasons", "minutes", "staff", "people", "visit")
    sheet.append([t(f"county.export.{name}") for name in names])
    for row in table.rows:
        for visit in row.visits:
            sheet.append([_text(cell) for cell in _visit_cells(row, visit, t)])
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    for column, size in enumerate([10, 14, 15, 12, 24, 10, 36, 8, 8, 8, 32], start=1):
        sheet.column_dimensions[get_column_letter(column)].width = size
    for cell in sheet["C"][1:]:
        cell.number_format = "@"
    sheet.freeze_panes = "A2"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = sheet.PAPERSIZE_A4


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


def _text(cell: str | int) -> str | int:
    return plain(cell) if isinstance(cell, str) else cell
