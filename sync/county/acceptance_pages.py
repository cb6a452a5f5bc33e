"""The page "acceptance": the report of a quarter, a year or chosen months, as PDF, workbook and JSON too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from devices.events import emit
from sync.county.acceptance_paper import AcceptancePaper, acceptance_pdf, acceptance_xlsx
from sync.county.acceptance_period import Period
from sync.county.acceptance_report import AcceptanceReport, acceptance_report
from sync.county.acceptance_seals import sealed_file
from sync.county.acceptance_tables import ReportTable, hours, period_name, report_tables
from sync.county.follow_up_report import shown
from sync.county.pages import NOT_KEPT, NUMBER_READERS, READERS, Practice, practice_of, render
from sync.interop.spreadsheet import XLSX_TYPE
from sync.proof.presence import local_day
from sync.web.access import roles
from sync.web.catalog import Texts, texts
from sync.web.paper import PrintingUnavailable

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/acceptance"
PDF_TYPE = "application/pdf"

router = APIRouter()
Asked = Annotated[str | None, Query(max_length=20)]


@dataclass(frozen=True, slots=True)
class _Asked:
    report: AcceptanceReport
    tables: tuple[ReportTable, ...]
    both: bool
    t: Texts

    def file(self, what: str, ending: str) -> str:
        """Name of one of its files."""
        mark = "-practice" if self.report.practice else ""
        return f"{what}-{self.report.period.name.replace('..', '-to-')}{mark}.{ending}"


@router.get(PAGE)
@roles(*NUMBER_READERS)
async def acceptance_page(
    request: Request, period: Asked = None, practice: Practice = None, first: Asked = None, last: Asked = None
) -> Response:
    """:param first: and ``last``: chosen months, as the form sends them"""
    if first and last:
        kept = f"&practice={practice}" if practice else ""
        return RedirectResponse(f"{PAGE}?period={_period(request, f'{first}..{last}').name}{kept}", 303)
    made = await run_in_threadpool(_made, request, period, practice)
    return _page(request, made)


@router.get(PAGE + ".xlsx")
@roles(*NUMBER_READERS)
async def acceptance_workbook(request: Request, period: Asked = None, practice: Practice = None) -> Response:
    made = await run_in_threadpool(_made, request, period, practice)
    content = await run_in_threadpool(acceptance_xlsx, made.report, made.tables, _county(request).settings.name, made.t)
    return await _download(request, made.file("acceptance", "xlsx"), content, XLSX_TYPE)


@router.get(PAGE + ".pdf")
@roles(*NUMBER_READERS)
async def acceptance_sheet(request: Request, period: Asked = None, practice: Practice = None) -> Response:
    made = await run_in_threadpool(_made, request, period, practice)
    content = await run_in_threadpool(_printed, request, made)
    return await _download(request, made.file("acceptance", "pdf"), content, PDF_TYPE)


@router.get(PAGE + "/sealed-months.json")
@roles(*NUMBER_READERS)
async def acceptance_proof(request: Request, period: Asked = None, practice: Practice = None) -> Response:
    """The sealed months with their proofs; names villages and visits, and no person."""
    made = await run_in_threadpool(_made, request, period, practice)
    proof = await run_in_threadpool(_proof, request, made)
    if proof is None:
        raise HTTPException(409, made.t("county.acceptance.no_registry"))
    return await _download(request, *proof, "application/json")


@router.get("/api/acceptance")
@roles(*NUMBER_READERS)
async def acceptance_json(request: Request, period: Asked = None, practice: Practice = None) -> JSONResponse:
    """The same tables as the page, in its language."""
    made = await run_in_threadpool(_made, request, period, practice)
    report = made.report
    told = {
        "county": _county(request).settings.name,
        "period": report.period.name,
        "first": report.period.first.isoformat(),
        "last": report.period.last.isoformat(),
        "over": report.over,
        "practice": report.practice,
        "tables": {table.name: _table_json(table) for table in made.tables},
    }
    return JSONResponse(told, headers=NOT_KEPT)


def _table_json(table: ReportTable) -> dict[str, Any]:
    return {
        "title": table.title,
        "columns": [column.head for column in table.columns],
        "rows": [[cell.value for cell in row] for row in table.rows],
        "total": [cell.value for cell in table.total],
        "notes": list(table.notes),
    }


def _page(request: Request, made: _Asked) -> HTMLResponse:
    report = made.report
    day = report.today if report.period.first <= report.today <= report.period.last else report.period.first
    facts: dict[str, Any] = {
        "report": report,
        "tables": made.tables,
        "both": made.both,
        "title": period_name(report.period, made.t),
        "before": report.period.moved(-1).name,
        "after": report.period.moved(1).name,
        "kinds": {"quarter": Period.quarter_of(day).name, "year": Period.year_of(day).name},
        "hours": hours,
        "persons": shown(report.services.people),
        "drills": request.state.caller.role in READERS,
    }
    return render(request, "acceptance.html", facts)


def _made(request: Request, period: str | None, practice: str | None) -> _Asked:
    """:raises HTTPException: 422 when ``period`` is none"""
    county = _county(request)
    asked = _period(request, period)
    wanted, both = practice_of(county, practice)
    report = acceptance_report(county, asked, wanted)
    t = texts(county.pages.language(request))
    return _Asked(report, report_tables(report, t), both, t)


def _period(request: Request, period: str | None) -> Period:
    """The present quarter when nothing is asked for."""
    if not period:
        return Period.quarter_of(local_day(_county(request).clock.now()))
    try:
        return Period.parse(period)
    except ValueError as fault:
        raise HTTPException(422, str(fault)) from None


def _proof(request: Request, made: _Asked) -> tuple[str, bytes] | None:
    county, report = _county(request), made.report
    about = {"county": county.settings.name, "period": report.period.name, "practice": report.practice}
    try:
        content = sealed_file(county.registry, county.mirror, report.period, about)
    except LookupError:
        return None
    return made.file("sealed-months", "json"), content


def _printed(request: Request, made: _Asked) -> bytes:
    county = _county(request)
    paper = AcceptancePaper(
        county=county.settings.name,
        report=made.report,
        tables=made.tables,
        checkpoint=county.mirror.checkpoint(county.registry.origin),
        proof=_proof(request, made),
        workbook=made.file("acceptance", "xlsx"),
        made_at=county.clock.now(),
    )
    try:
        return acceptance_pdf(paper, made.t)
    except PrintingUnavailable as missing:
        emit("printing_unavailable", packages=missing.packages)
        raise HTTPException(503, made.t("county.evidence.no_printing", packages=missing.packages)) from None


async def _download(request: Request, name: str, content: bytes, media_type: str) -> Response:
    await run_in_threadpool(_county(request).audit.note, request.state.caller.id, "export", name)
    headers = {**NOT_KEPT, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
