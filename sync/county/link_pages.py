"""The page "link by village" with its spreadsheet and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, Response

from sync.county import link_report
from sync.county.drawing import Plane, Point
from sync.county.link_report import LinkReport, VillageLink
from sync.county.pages import NOT_KEPT, NUMBER_READERS, render
from sync.interop.spreadsheet import XLSX_TYPE
from sync.proof.presence import local_day
from sync.web.access import roles
from sync.web.catalog import texts

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/link"
Practice = Annotated[str | None, Query(pattern="^[01]$")]

router = APIRouter()


@router.get(PAGE)
@roles(*NUMBER_READERS)
async def link_page(request: Request, practice: Practice = None) -> HTMLResponse:
    county, report = _county(request), await _report(request, practice)
    villages = county.registry.villages()
    plane = await run_in_threadpool(link_report.map_plane, report, villages)
    facts = {
        "report": report,
        "plane": plane,
        "verdicts": {row.code: str(row.verdict) for row in report.rows},
        "areas": [] if plane is None else [(village, plane.path(village)) for village in villages],
        "labels": [] if plane is None else [(row, _label(plane, row)) for row in report.rows if row.village],
        "dots": [] if plane is None else await run_in_threadpool(link_report.dots, report, plane),
        "both": county.visits.any_real() and county.visits.any_practice(),
    }
    return render(request, "link.html", facts)


@router.get(PAGE + ".xlsx")
@roles("administrator")
async def link_xlsx(request: Request, practice: Practice = None) -> Response:
    county, report = _county(request), await _report(request, practice)
    t = texts(county.pages.language(request))
    body = await run_in_threadpool(link_report.xlsx_bytes, report, county.settings.name, t)
    today = local_day(county.clock.now()).isoformat()
    mark = "-practice" if report.practice else ""
    await run_in_threadpool(county.audit.note, request.state.caller.id, "export", f"link.xlsx {today}")
    headers = {**NOT_KEPT, "Content-Disposition": f'attachment; filename="link-{today}{mark}.xlsx"'}
    return Response(body, headers=headers, media_type=XLSX_TYPE)


@router.get("/api/link")
@roles(*NUMBER_READERS)
async def link_json(request: Request, practice: Practice = None) -> JSONResponse:
    report = await _report(request, practice)
    return JSONResponse(link_report.as_json(report, _county(request).settings.name), headers=NOT_KEPT)


async def _report(request: Request, practice: str | None) -> LinkReport:
    """Real visits unless there are practice visits only, as in the month table."""
    county = _county(request)

    def made() -> LinkReport:
        only_practice = county.visits.any_practice() and not county.visits.any_real()
        wanted = practice == "1" if practice is not None else only_practice
        return link_report.link_report(county.database, county.registry.villages(), county.clock.now(), wanted)

    return await run_in_threadpool(made)


def _label(plane: Plane, row: VillageLink) -> Point:
    assert row.village is not None
    return plane.place(row.village.centre_latitude_deg, row.village.centre_longitude_deg)


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
