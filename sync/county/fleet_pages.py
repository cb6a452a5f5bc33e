"""The fleet page: vehicles with their keys and state, those that ask to be enrolled, and what a person does there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from sync.county.device_list import device_list
from sync.county.fleet import EnrolmentRefused
from sync.county.fleet_view import fleet_view
from sync.county.freezing import UnfreezingRefused, frozen, unfreeze
from sync.county.month_table import NOT_SYNCED_AFTER
from sync.county.pages import MOST_FORM_BYTES, NOT_KEPT, READERS, form_of, render
from sync.county.vehicle_requests import bounded_body
from sync.interop.asset_list import csv_bytes, xlsx_bytes
from sync.interop.spreadsheet import CSV_TYPE, XLSX_TYPE
from sync.web.access import roles
from sync.web.catalog import texts

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/fleet"
_SAID = "fleet_said"

router = APIRouter()


@router.get(PAGE)
@roles(*READERS)
async def fleet_page(request: Request) -> Response:
    county = _county(request)
    lines = await run_in_threadpool(fleet_view, county.database, county.fleet)
    waiting = await run_in_threadpool(county.enrolments.waiting)
    facts: dict[str, Any] = {
        "vehicles": lines,
        "waiting": waiting,
        "now": county.clock.now(),
        "silent_after": NOT_SYNCED_AFTER,
    }
    return render(request, "fleet.html", {**facts, "said": request.session.pop(_SAID, None)})


@router.get(PAGE + "/devices.{form}")
@roles(*READERS)
async def device_sheet(request: Request, form: str) -> Response:
    """The devices of all vehicles for the inventory: .xlsx or .csv."""
    county = _county(request)
    t = texts(county.pages.language(request))
    if form not in ("xlsx", "csv"):
        raise HTTPException(404)
    vehicles = {vehicle.origin: vehicle.vehicle for vehicle in county.fleet.all() if not vehicle.revoked}
    write, media = (xlsx_bytes, XLSX_TYPE) if form == "xlsx" else (csv_bytes, CSV_TYPE)
    content = await run_in_threadpool(lambda: write(device_list(county.database, vehicles, t), t))
    await run_in_threadpool(county.audit.note, request.state.caller.id, "export", f"devices.{form}")
    headers = {**NOT_KEPT, "Content-Disposition": f'attachment; filename="devices.{form}"'}
    return Response(content, media_type=media, headers=headers)


@router.post(PAGE + "/enrol")
@roles("administrator")
async def enrol(request: Request) -> Response:
    """The administrator has typed the code that the doctor reads out."""
    county, form, by = await _asked(request)
    asked, code, compared = form.get("id", ""), form.get("code", "")[:40], form.get("compared") == "yes"
    try:
        origin = await run_in_threadpool(county.enrolments.confirm, asked, code, compared, by)
    except EnrolmentRefused as refusal:
        return await _refused(request, "enrol", refusal, asked)
    await run_in_threadpool(county.audit.note, by, "enrol", origin)
    return _back(request, "done_enrolled", what=origin)


@router.post(PAGE + "/dismiss")
@roles("administrator")
async def dismiss(request: Request) -> Response:
    county, form, by = await _asked(request)
    try:
        origin = await run_in_threadpool(county.enrolments.dismiss, form.get("id", ""))
    except EnrolmentRefused as refusal:
        return await _refused(request, "dismiss_enrolment", refusal)
    await run_in_threadpool(county.audit.note, by, "dismiss_enrolment", origin)
    return _back(request, "done_dismissed", what=origin)


@router.post(PAGE + "/revoke")
@roles("administrator")
async def revoke(request: Request) -> Response:
    county, form, by = await _asked(request)
    origin, size = form.get("origin", "")[:100], form.get("size", "").strip()
    last = int(size) if size.isascii() and size.isdecimal() and len(size) < 16 else None
    try:
        if size and last is None:
            raise EnrolmentRefused(f"the last size is a number of entries, not {size[:20]!r}", "not_a_size")
        revoked = await run_in_threadpool(county.fleet.revoke, origin, form.get("reason", "")[:200], last, by)
    except EnrolmentRefused as refusal:
        return await _refused(request, "revoke", refusal, origin)
    said = f"{origin} above {revoked.revoked.size if revoked.revoked else 0}"
    await run_in_threadpool(county.audit.note, by, "revoke", said)
    return _back(request, "done_revoked", what=origin)


@router.post(PAGE + "/unfreeze")
@roles("administrator")
async def lift(request: Request) -> Response:
    """Take a frozen log again, by decision of a person."""
    county, form, by = await _asked(request)
    origin, reason = form.get("origin", "")[:100], form.get("reason", "")[:200].strip()
    try:
        before = await run_in_threadpool(unfreeze, county.database, origin, reason)
    except UnfreezingRefused as refusal:
        await run_in_threadpool(county.audit.note, by, "unfreeze", f"{origin}: {refusal}", "refused")
        known = await run_in_threadpool(frozen, county.database, origin)
        word = "problem_not_frozen" if known is None else "problem_unfreeze_reason"
        return _back(request, word, "ask", about=origin)
    await run_in_threadpool(county.audit.note, by, "unfreeze", f"{origin}: {reason} (was: {before.reason})")
    return _back(request, "done_unfrozen", what=origin)


async def _asked(request: Request) -> tuple[County, dict[str, str], str]:
    return _county(request), form_of(await bounded_body(request, MOST_FORM_BYTES)), request.state.caller.id


async def _refused(request: Request, action: str, refusal: EnrolmentRefused, about: str = "") -> Response:
    """
    :param about: the request or the vehicle that the form was of
    """
    by = request.state.caller.id
    await run_in_threadpool(_county(request).audit.note, by, action, str(refusal), "refused")
    return _back(request, f"problem_{refusal.problem}", "ask", about=about, **refusal.facts)


def _back(request: Request, word: str, kind: str = "done", **facts: object) -> Response:
    """To the page again, with a line that says how it went."""
    request.session[_SAID] = {"word": word, "kind": kind, "about": "", **facts}
    return RedirectResponse(PAGE, 303)


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
