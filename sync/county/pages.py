"""Routes for people: signing in and out, the month, the map, a visit, the fleet, the audit trail, exports and JSON."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from devices.events import emit
from sync.county import exports, month_table, navigation, visit_report, visit_words
from sync.county.audit import UNKNOWN
from sync.county.follow_up_report import shown, shown_total
from sync.county.forecast_view import month_forecast
from sync.county.map_view import county_map, visit_map
from sync.county.month_table import MonthTable
from sync.county.timeline import timeline
from sync.county.vehicle_requests import bounded_body
from sync.county.visit_images import image_lines
from sync.county.visit_report import VisitReport, VisitReports
from sync.interop.spreadsheet import CSV_TYPE, XLSX_TYPE
from sync.proof.coverage import month_of, other_month
from sync.proof.presence import LOCAL, local_day
from sync.web.access import PUBLIC, roles
from sync.web.catalog import texts

if TYPE_CHECKING:
    from sync.county.app import County

READERS = ("administrator", "auditor")
NUMBER_READERS = (*READERS, "reviewer")
"""Who may read pages that name nobody; a reviewer sees no number of people from one to four either."""
ENTRIES_A_PAGE = 25
MOST_FORM_BYTES = 4096
NOT_KEPT = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of answers with names or movements of people: no browser on a shared desk keeps a copy."""
HOME = {
    "administrator": "/county/coverage",
    "specialist": "/specialist",
    "auditor": "/county/audit",
    "reviewer": "/county/coverage",
}

router = APIRouter()
Month = Annotated[str | None, Query(max_length=20)]
Practice = Annotated[str | None, Query(pattern="^[01]$")]


# signing in -----------------------------------------------------------------------------------------------------------


@router.get("/")
@roles(PUBLIC)
async def home(request: Request) -> Response:
    caller = request.state.caller
    return RedirectResponse(HOME.get(caller.role, "/sign-in") if caller else "/sign-in", 303)


@router.get("/sign-in")
@roles(PUBLIC)
async def sign_in_page(request: Request) -> HTMLResponse:
    return _sign_in(request, request.query_params.get("next", ""))


@router.post("/sign-in")
@roles(PUBLIC)
async def sign_in(request: Request) -> Response:
    county = _county(request)
    form = form_of(await bounded_body(request, MOST_FORM_BYTES))
    id, password = form.get("account", "")[:60].strip(), form.get("password", "")
    account = await run_in_threadpool(county.accounts.verify, id, password)
    if account is None:
        known = county.accounts.get(id)
        locked = known is not None and known.locked_until is not None
        await run_in_threadpool(county.audit.note, known.id if known else UNKNOWN, "sign_in", "", "refused")
        emit("sign_in_refused", person=known.id if known else "", reason="locked" if locked else "wrong")
        return _sign_in(request, form.get("next", ""), "locked" if locked else "wrong", id, status=401)
    request.session.clear()
    request.session.update(account=account.id, stamp=account.stamp)
    await run_in_threadpool(county.audit.note, account.id, "sign_in")
    emit("signed_in", person=account.id)
    return RedirectResponse(_own_page(form.get("next", "")) or HOME[account.role], 303)


@router.post("/sign-out")
@roles(PUBLIC)
async def sign_out(request: Request) -> Response:
    county, caller = _county(request), request.state.caller
    if caller is not None:
        await run_in_threadpool(county.accounts.end_sessions, caller.id)
        await run_in_threadpool(county.audit.note, caller.id, "sign_out")
    request.session.clear()
    return RedirectResponse("/sign-in", 303)


def form_of(body: bytes, most_fields: int = 5) -> dict[str, str]:
    """The fields of a form; none when it is not one."""
    try:
        return dict(parse_qsl(body.decode("utf-8"), max_num_fields=most_fields))
    except ValueError:
        return {}


def _sign_in(
    request: Request, target: str, problem: str | None = None, account: str = "", status: int = 200
) -> HTMLResponse:
    shown = {"problem": problem, "account": account, "next": _own_page(target)}
    return render(request, "sign-in.html", shown, status)


def _own_page(target: str) -> str:
    """``target`` when it is a path on this server, else nothing: no redirect may lead elsewhere."""
    good = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target[:300] if good else ""


# pages ----------------------------------------------------------------------------------------------------------------


@router.get("/county/coverage")
@roles(*NUMBER_READERS)
async def coverage_page(
    request: Request, month: Month = None, practice: Practice = None, township: str | None = None
) -> HTMLResponse:
    county, table = _county(request), await month_table_of(request, month, practice, township)
    whole = await month_table_of(request, month, practice) if township else table
    foretold = await run_in_threadpool(month_forecast, county.database, whole)
    names = sorted({village.township for village in county.registry.villages()})
    facts = {**month_facts(request, table), "townships": names, "township": township}
    return render(request, "coverage.html", {**facts, "foretold": foretold.missing})


@router.get("/county/map")
@roles(*NUMBER_READERS)
async def map_page(request: Request, month: Month = None, practice: Practice = None) -> HTMLResponse:
    table = await month_table_of(request, month, practice)
    drawing = await run_in_threadpool(county_map, table)
    return render(request, "map.html", {**month_facts(request, table), "drawing": drawing})


@router.get("/county/visits/{visit}")
@roles(*READERS)
async def visit_page(request: Request, visit: str) -> HTMLResponse:
    county, report = _county(request), await _report(request, visit)
    drawing = await run_in_threadpool(visit_map, report, county.registry.villages())
    checks = visit_words.checks(report, drawing.inside, texts(county.pages.language(request)))
    bar = timeline(report, county.clock.now())
    lines = await run_in_threadpool(_reports(request).entries, report, 0, ENTRIES_A_PAGE)
    facts = {"report": report, "drawing": drawing, "checks": checks, "bar": bar, "lines": lines}
    facts["images"] = await run_in_threadpool(image_lines, county.blobs, report.pictures)
    facts["has_witness"] = county.witnessing.key is not None
    facts["decided"] = visit_words.decision(report, name_of(request, report), texts(county.pages.language(request)))
    return render(request, "visit.html", facts)


@router.get("/county/visits/{visit}/entries")
@roles(*READERS)
async def entries_page(request: Request, visit: str, first: Annotated[int, Query(ge=0, le=2**53)] = 0) -> HTMLResponse:
    report = await _report(request, visit)
    lines = await run_in_threadpool(_reports(request).entries, report, first, ENTRIES_A_PAGE)
    return render(request, "entries.html", {"report": report, "lines": lines, "page": ENTRIES_A_PAGE})


@router.get("/county/audit")
@roles("auditor")
async def audit_page(request: Request) -> HTMLResponse:
    lines = await run_in_threadpool(_county(request).audit.latest)
    return render(request, "audit.html", {"lines": lines})


# exports and JSON -----------------------------------------------------------------------------------------------------


@router.get("/county/coverage.xlsx")
@roles("administrator")
async def coverage_xlsx(request: Request, month: Month = None, practice: Practice = None) -> Response:
    county, table = _county(request), await month_table_of(request, month, practice)
    t = texts(county.pages.language(request))
    body = await run_in_threadpool(exports.xlsx_bytes, table, county.settings.name, t)
    return await _download(request, table, body, XLSX_TYPE, "xlsx")


@router.get("/county/coverage.csv")
@roles("administrator")
async def coverage_csv(request: Request, month: Month = None, practice: Practice = None) -> Response:
    table = await month_table_of(request, month, practice)
    body = exports.csv_bytes(table, texts(_county(request).pages.language(request)))
    return await _download(request, table, body, CSV_TYPE, "csv")


@router.get("/api/coverage")
@roles(*READERS)
async def coverage_json(request: Request, month: Month = None, practice: Practice = None) -> JSONResponse:
    table = await month_table_of(request, month, practice)
    return JSONResponse(month_table.as_json(table, _county(request).settings.name), headers=NOT_KEPT)


@router.get("/api/visits/{visit}")
@roles(*READERS)
async def visit_json(request: Request, visit: str) -> JSONResponse:
    return JSONResponse(visit_report.as_json(await _report(request, visit)), headers=NOT_KEPT)


async def _download(request: Request, table: MonthTable, body: bytes, media_type: str, ending: str) -> Response:
    month = table.month.strftime("%Y-%m")
    note = _county(request).audit.note
    await run_in_threadpool(note, request.state.caller.id, "export", f"coverage.{ending} {month}")
    mark = "-practice" if table.practice else ""
    name = f"coverage-{month}{mark}.{ending}"
    headers = {**NOT_KEPT, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, headers=headers, media_type=media_type)


# what the routes share ------------------------------------------------------------------------------------------------


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county


def _reports(request: Request) -> VisitReports:
    county = _county(request)
    return VisitReports(county.database, county.visits, county.coverage, county.witnessing.key)


async def _report(request: Request, visit: str) -> VisitReport:
    found = await run_in_threadpool(_reports(request).find, visit[:60])
    if found is None:
        raise HTTPException(404, f"there is no visit {visit[:60]!r}")
    return found


async def month_table_of(
    request: Request, month: str | None, practice: str | None, township: str | None = None
) -> MonthTable:
    """:raises HTTPException: 422 when ``month`` is not a month"""
    county, first = _county(request), first_of(request, month)
    shown = county.coverage.default_practice() if practice is None else practice == "1"
    return await run_in_threadpool(county.coverage.table, first, shown, township or None)


def first_of(request: Request, month: str | None) -> date:
    """The first day of ``month``; of the present one when it is not said.

    :raises HTTPException: 422 when ``month`` is not a month
    """
    try:
        return month_of(month) if month else local_day(_county(request).clock.now()).replace(day=1)
    except ValueError as fault:
        raise HTTPException(422, str(fault)) from None


def practice_of(county: County, asked: str | None) -> tuple[bool, bool]:
    """Whether practice is to be shown: as asked, else when there is nothing else; and whether there are both."""
    shown = county.coverage.default_practice() if asked is None else asked == "1"
    return shown, county.visits.any_real() and county.visits.any_practice()


def name_of(request: Request, report: VisitReport) -> str:
    """Who decided about the visit, by name; the account's id when it is no longer there."""
    made = report.judged.case.proof.decision
    account = _county(request).accounts.get(made.by) if made is not None else None
    return account.name if account is not None else made.by if made is not None else ""


def month_facts(request: Request, table: MonthTable) -> dict[str, Any]:
    visits = _county(request).visits
    return {
        "table": table,
        "before": other_month(table.month, -1),
        "after": other_month(table.month, 1),
        "both": visits.any_real() and visits.any_practice(),
        "opens": request.state.caller.role in READERS,
    }


def render(request: Request, template: str, context: dict[str, Any], status: int = 200) -> HTMLResponse:
    county = _county(request)
    pages = county.pages
    night = request.query_params.get("theme", request.cookies.get("xunzhen_theme")) == "night"
    facts = {
        **_WORDS,
        "county_name": county.settings.name,
        "link_lang": _link(request, lang="en" if pages.language(request) == "zh" else "zh"),
        "link_theme": _link(request, theme="day" if night else "night"),
        **context,
    }
    return pages.render(request, template, facts, status)


def _link(request: Request, **changes: str) -> str:
    """This page with other query parameters."""
    url = request.url.include_query_params(**changes)
    return f"{url.path}?{url.query}"


def _local(at: datetime) -> datetime:
    return at.astimezone(LOCAL)


_WORDS: dict[str, Any] = {
    "local": _local,
    "duration": visit_words.duration,
    "work": visit_words.work,
    "entry_kind": visit_words.entry_kind,
    "duty_role": visit_words.duty_role,
    "moment": visit_words.moment,
    "verdict_title": visit_words.title,
    "verdict_subtitle": visit_words.subtitle,
    "shown": shown,
    "shown_total": shown_total,
    "nav_groups": navigation.groups_for,
    "nav_group": navigation.group_of,
}
"""What templates may call."""


def refusal_page(request: Request, status: int, reason: str) -> HTMLResponse:
    """What a person sees instead of a page."""
    return render(request, "refused.html", {"status": status, "reason": reason}, status)
