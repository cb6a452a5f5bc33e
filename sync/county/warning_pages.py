"""The page "warnings": villages to hurry for with van and contact, its sheet, and the book of contacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from sync.county.forecast_view import month_forecast
from sync.county.month_table import MonthTable
from sync.county.pages import NOT_KEPT, NUMBER_READERS, Month, Practice, month_facts, month_table_of, render
from sync.county.vehicle_requests import bounded_body
from sync.county.village_contacts import ContactsRefused, read_contacts
from sync.county.village_warnings import (
    KINDS,
    VillageWarning,
    by_township,
    forecast_words,
    last_visits,
    warnings_of,
    warnings_xlsx,
    why,
)
from sync.county.visit_forecast import WEEKS
from sync.interop.spreadsheet import XLSX_TYPE
from sync.web.access import roles
from sync.web.catalog import texts

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/warnings"
MOST_BYTES = 256 * 1024
"""Of the form of contacts: a thousand villages with their names in percent-encoding."""
CALLERS = ("administrator", "auditor")
"""Who sees whom to call."""
_SAID = "warnings_said"

router = APIRouter()


@router.get(PAGE)
@roles(*NUMBER_READERS)
async def warnings_page(
    request: Request, month: Month = None, practice: Practice = None, township: str | None = None
) -> Response:
    table = await month_table_of(request, month, practice)
    county = _county(request)
    may_call = request.state.caller.role in CALLERS
    warned = await run_in_threadpool(_warned, county, table, may_call)
    t = texts(county.pages.language(request))
    facts: dict[str, Any] = {
        **month_facts(request, table),
        "shown": [
            (one, why(one, t), forecast_words(one.forecast, t) if one.forecast else "")
            for one in warned
            if not township or one.row.village.township == township
        ],
        "weeks": WEEKS,
        "count": {kind: sum(one.kind == kind for one in warned) for kind in KINDS},
        "townships": by_township(table, warned),
        "township": township or "",
        "may_call": may_call,
        "said": request.session.pop(_SAID, None),
    }
    return render(request, "warnings.html", facts)


@router.get(PAGE + ".xlsx")
@roles("administrator")
async def warnings_sheet(request: Request, month: Month = None, practice: Practice = None) -> Response:
    county, table = _county(request), await month_table_of(request, month, practice)

    def made() -> bytes:
        return warnings_xlsx(table, _warned(county, table, True), county.settings.name, texts("zh"))

    content = await run_in_threadpool(made)
    named = f"warnings-{table.today.isoformat()}{'-practice' if table.practice else ''}.xlsx"
    await run_in_threadpool(county.audit.note, request.state.caller.id, "export", f"warnings {table.month:%Y-%m}")
    headers = {**NOT_KEPT, "Content-Disposition": f'attachment; filename="{named}"'}
    return Response(content, media_type=XLSX_TYPE, headers=headers)


@router.post(PAGE + "/contacts")
@roles("administrator")
async def keep_contacts(request: Request) -> Response:
    """Form field ``lines``: code, name, phone. One line that is not understood, and nothing is changed."""
    county, by = _county(request), request.state.caller.id
    lines = _lines(await bounded_body(request, MOST_BYTES))
    known = {village.code for village in county.registry.villages()}
    try:
        contacts = read_contacts(lines, known)
    except ContactsRefused as refusal:
        await run_in_threadpool(county.audit.note, by, "contacts", str(refusal), "refused")
        said = {"word": f"problem_{refusal.problem}", "kind": "ask", **refusal.facts, "count": 0}
    else:
        await run_in_threadpool(county.contacts.keep, contacts, by)
        await run_in_threadpool(county.audit.note, by, "contacts", " ".join(one.code for one in contacts))
        said = {"word": "kept", "kind": "done", "line": 0, "text": "", "count": len(contacts)}
    request.session[_SAID] = said
    return RedirectResponse(PAGE, 303)


def _warned(county: County, table: MonthTable, may_call: bool) -> list[VillageWarning]:
    last = last_visits(county.database, table.practice, table.made_at)
    foretold = month_forecast(county.database, table).villages
    return warnings_of(table, last, county.contacts.all() if may_call else {}, foretold)


def _lines(body: bytes) -> str:
    try:
        return dict(parse_qsl(body.decode("utf-8"), max_num_fields=5)).get("lines", "")
    except ValueError:
        return ""


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
