"""The page "work": what was done and what waits, by township, van or month; its sheet, its JSON, the records behind."""

from __future__ import annotations

from statistics import median_low
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from sync.county import work_table
from sync.county.follow_up_report import SMALL
from sync.county.pages import NOT_KEPT, NUMBER_READERS, READERS, Month, Practice, first_of, practice_of, render
from sync.county.programme_lists import IN_TIME_MINUTES
from sync.county.programme_sheets import word
from sync.county.visit_work import DISEASES
from sync.county.work_records import FOLLOW_UPS, KINDS, MOST_SHOWN, RED, VISITS, Asked, Record, work_records
from sync.county.work_report import WorkReport, work_report
from sync.county.work_table import Showing, work_xlsx
from sync.interop.spreadsheet import XLSX_TYPE
from sync.proof.coverage import other_month
from sync.proof.presence import local_day
from sync.web.access import roles
from sync.web.catalog import Texts, texts

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/activity"
EXACT = ("administrator",)
"""Who sees small numbers of people, and whose records they are."""

router = APIRouter()
By = Annotated[str, Query(pattern="^(township|van|month)$")]


@router.get(PAGE)
@roles(*NUMBER_READERS)
async def work_page(
    request: Request, month: Month = None, by: By = "township", practice: Practice = None
) -> HTMLResponse:
    showing, both = await _showing(request, month, by, practice)
    t = texts(_county(request).pages.language(request))
    return render(request, "work.html", {**_facts(request, showing, both), "disease": lambda name: word("", name, t)})


@router.get(PAGE + ".xlsx")
@roles(*NUMBER_READERS)
async def work_sheet(request: Request, month: Month = None, by: By = "township", practice: Practice = None) -> Response:
    county = _county(request)
    showing, _ = await _showing(request, month, by, practice)
    content = await run_in_threadpool(work_xlsx, showing, county.settings.name, texts("zh"), median_low)
    report = showing.report
    about = f"work {report.first:%Y-%m} {report.last:%Y-%m} by {report.by}"
    await run_in_threadpool(county.audit.note, request.state.caller.id, "export", about)
    name = f"work-{report.last:%Y-%m}-{report.by}{'-practice' if report.practice else ''}.xlsx"
    headers = {**NOT_KEPT, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=XLSX_TYPE, headers=headers)


@router.get("/api/work")
@roles(*NUMBER_READERS)
async def work_json(
    request: Request, month: Month = None, by: By = "township", practice: Practice = None
) -> JSONResponse:
    showing, _ = await _showing(request, month, by, practice)
    return JSONResponse(work_table.as_json(showing, _county(request).settings.name), headers=NOT_KEPT)


@router.get(PAGE + "/{what}")
@roles(*READERS)
async def records_page(
    request: Request,
    what: str,
    month: Month = None,
    by: By = "township",
    of: Annotated[str, Query(max_length=60)] = "",
    practice: Practice = None,
) -> HTMLResponse:
    """The records behind a number; an auditor sees that they are there, not whose."""
    if what not in KINDS:
        raise HTTPException(404, "there are no such records")
    county, caller = _county(request), request.state.caller
    first, (shown, _) = first_of(request, month), practice_of(county, practice)
    asked = Asked(what, first, by, of, shown)  # type: ignore[arg-type]
    today = local_day(county.clock.now())

    def made() -> list[Record]:
        return work_records(county.database, county.registry.villages(), asked, today)

    try:
        records = await run_in_threadpool(made)
    except ValueError as fault:
        raise HTTPException(422, str(fault)) from None
    about = f"{what} {first:%Y-%m} {of}, {len(records)} records"
    await run_in_threadpool(county.audit.note, caller.id, "read_work", about)
    t = texts(county.pages.language(request))
    facts = {
        "lines": [(record, _how(what, record, t)) for record in records],
        "asked": asked,
        "named": caller.role in EXACT,
        "most": MOST_SHOWN,
        "title": word("", what, t) if what in DISEASES else t(f"county.workload.{what}"),
        "of_people": what not in VISITS,
        "of_today": what in FOLLOW_UPS,
    }
    return render(request, "work-records.html", facts)


def _how(what: str, record: Record, t: Texts) -> str:
    """How it stands, in words."""
    facts = record.facts
    if what in VISITS:
        return t("county.workload.how_served", people=facts["people"])
    if what in RED:
        kind = word("", facts["type"], t)
        if facts["minutes"] is None:
            return t("county.workload.how_open", kind=kind)
        action = t(f"county.lists.source_{facts['action']}")
        return t("county.workload.how_closed", kind=kind, action=action, minutes=facts["minutes"])
    if what in FOLLOW_UPS:
        return t(f"county.follow_up.programme_{facts['programme']}")
    if "follow_up_on" in facts:
        how = t(f"county.referrals.outcome_{facts['outcome']}") if facts["outcome"] else ""
        waits = t("county.workload.how_waits", day=facts["follow_up_on"] or "—")
        return f"{facts['place']}{t('county.workload.colon')}{how or waits}"
    if "state" in facts:
        state = f"county.workload.state_{facts['state']}"
        return t(state) if state in t else str(facts["state"])
    if "reviewed_at" in facts:
        how = "how_ecg_reviewed" if facts["reviewed_at"] else "how_ecg"
        return t(f"county.workload.{how}", rate=facts["heart_rate_bpm"] or "—")
    return f"{facts['rule']} {facts['code']}"


def _facts(request: Request, showing: Showing, both: bool) -> dict[str, Any]:
    month = showing.report.last.replace(day=1)
    return {
        "showing": showing,
        "report": showing.report,
        "both": both,
        "month": month,
        "before": other_month(month, -1),
        "after": other_month(month, 1),
        "diseases": DISEASES,
        "columns": work_table,
        "median": median_low,
        "worst": max,
        "small": SMALL,
        "minutes": IN_TIME_MINUTES,
        "drills": request.state.caller.role in READERS,
    }


async def _showing(request: Request, month: str | None, by: str, practice: str | None) -> tuple[Showing, bool]:
    """:raises HTTPException: 422 when ``month`` is not a month"""
    county, first = _county(request), first_of(request, month)

    def made() -> tuple[WorkReport, bool]:
        shown, both = practice_of(county, practice)
        villages, now = county.registry.villages(), county.clock.now()
        return work_report(county.database, villages, first, by, shown, now), both  # type: ignore[arg-type]

    report, both = await run_in_threadpool(made)
    return Showing(report, request.state.caller.role in EXACT), both


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
