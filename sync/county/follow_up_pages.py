"""The page "follow-ups by village" with its JSON: numbers only, small ones not exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse

from sync.county import follow_up_report
from sync.county.follow_up_report import CONFIDENTIAL, PROGRAMMES, FollowUpReport
from sync.county.pages import NOT_KEPT, NUMBER_READERS, render
from sync.web.access import roles

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/follow-ups"
Practice = Annotated[str | None, Query(pattern="^[01]$")]

router = APIRouter()


@router.get(PAGE)
@roles(*NUMBER_READERS)
async def follow_up_page(request: Request, practice: Practice = None) -> HTMLResponse:
    report, both = await _report(request, practice)
    facts = {
        "report": report,
        "both": both,
        "programmes": [name for name in PROGRAMMES if name not in CONFIDENTIAL],
        "shown": follow_up_report.shown,
        "shown_total": follow_up_report.shown_total,
        "due_within_days": follow_up_report.DUE_WITHIN.days,
        "small": follow_up_report.SMALL,
    }
    return render(request, "follow-ups.html", facts)


@router.get("/api/follow-ups")
@roles(*NUMBER_READERS)
async def follow_up_json(request: Request, practice: Practice = None) -> JSONResponse:
    report, _ = await _report(request, practice)
    return JSONResponse(follow_up_report.as_json(report, _county(request).settings.name), headers=NOT_KEPT)


async def _report(request: Request, practice: str | None) -> tuple[FollowUpReport, bool]:
    """Real people unless there is practice only, and whether there are both."""
    county = _county(request)

    def made() -> tuple[FollowUpReport, bool]:
        real = follow_up_report.any_real(county.database)
        played = follow_up_report.any_practice(county.database)
        wanted = practice == "1" if practice is not None else played and not real
        villages, now = county.registry.villages(), county.clock.now()
        return follow_up_report.follow_up_report(county.database, villages, now, wanted), real and played

    return await run_in_threadpool(made)


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
