"""The registry's pages: what is in force and every change; villages, rules and waivers by the administrator."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sync.county.pages import MOST_FORM_BYTES, READERS, form_of, render
from sync.county.registry import RegistryRefused
from sync.county.registry_view import (
    changed_villages,
    changes,
    log_view,
    problem_in_words,
    rules_versions,
    villages_listed,
)
from sync.county.vehicle_requests import bounded_body
from sync.county.village_shift import VillagesShifted, direction, standing_places
from sync.formats.notes import b64
from sync.proof.areas import VillagesRefused
from sync.proof.coverage import RULE_LIMITS, end_of_month, month_of, other_month
from sync.proof.presence import local_day
from sync.web.access import roles
from sync.web.catalog import texts

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/registry"
VILLAGES = PAGE + "/villages"
PREVIEW = PAGE + "/preview"
RULES = PAGE + "/rules"
WAIVERS = "/county/waivers"
MINUTES = ("dwell_s",)
"""Rules in seconds that people set in minutes."""
DOCTOR_ROLES = ("doctor", "village_doctor", "nurse")
_SAID = "registry_said"

router = APIRouter()


@router.get(PAGE)
@roles(*READERS)
async def registry_page(request: Request, before: Annotated[int | None, Query(ge=0, le=2**53)] = None) -> HTMLResponse:
    """Every change, newest first, with what is in force and who vouches for the log."""
    county = _county(request)

    def facts() -> dict[str, Any]:
        lines, further = changes(county.registry, before)
        log = log_view(county.database, county.registry)
        today = local_day(county.clock.now())
        return {
            "changes": lines,
            "further": further,
            "newest": before is None,
            "log": log,
            "root": b64(log.root) if log is not None else "",
            "witness": county.witnessing.status(),
            "rules": county.registry.rules(),
            "villages": sum(village.in_force(today) for village in county.registry.villages()),
            "waivers": len(county.registry.waivers(today.replace(day=1))),
            "names": _names(county),
        }

    return render(request, "registry.html", {**await run_in_threadpool(facts), "tab": "changes"})


# villages -------------------------------------------------------------------------------------------------------------


@router.get(VILLAGES)
@roles(*READERS)
async def villages_page(request: Request) -> HTMLResponse:
    return await _villages(request)


@router.post(PREVIEW)
@roles("administrator")
async def preview(request: Request) -> Response:
    """The list that was uploaded, and what it would change. Nothing is changed yet."""
    county = _county(request)
    try:
        async with request.form(max_files=1, max_fields=3, max_part_size=MOST_FORM_BYTES) as form:
            file = form.get("file")
            body = await file.read() if isinstance(file, UploadFile) else b""
            since = _day(str(form.get("valid_from") or ""))
        id = await run_in_threadpool(county.uploads.keep, body, request.state.caller.id)
        return await _preview(request, id, since)
    except VillagesRefused as refusal:
        return await _villages(request, refusal, 422)


@router.post(VILLAGES)
@roles("administrator")
async def import_villages(request: Request) -> Response:
    """Make the list that was looked at the list of today."""
    county, form, by = await _asked(request)
    id, reason = form.get("id", "")[:64], form.get("reason", "")[:200]
    geojson = await run_in_threadpool(county.uploads.get, id, by)
    try:
        if geojson is None:
            raise VillagesRefused("the list that you looked at is not here any more: upload it again", "gone")
        since = _day(form.get("valid_from", ""))
        stood = await run_in_threadpool(standing_places, county.database, county.visits)
        await run_in_threadpool(county.registry.import_villages, geojson, by, since, stood, reason)
    except VillagesShifted:
        return await _preview(request, id, _day(form.get("valid_from", "")), asked_for_reason=True)
    except (VillagesRefused, RegistryRefused) as refusal:
        await run_in_threadpool(county.audit.note, by, "import_villages", str(refusal)[:300], "refused")
        return await _villages(request, refusal, 422)
    count = len([village for village in county.registry.villages() if village.in_force(_today(county))])
    said = f"{count} villages" + (f"; shift accepted: {reason}" if reason else "")
    await run_in_threadpool(county.audit.note, by, "import_villages", said)
    await run_in_threadpool(county.uploads.forget, id)
    return _back(request, VILLAGES, "done_imported", count=count)


async def _preview(request: Request, id: str, since: date | None, asked_for_reason: bool = False) -> Response:
    county = _county(request)

    def facts() -> dict[str, Any]:
        geojson = county.uploads.get(id, request.state.caller.id) or {}
        plan = county.registry.plan_import(geojson, since)
        stood = standing_places(county.database, county.visits)
        return {
            "plan": plan,
            "changed": changed_villages(plan, county.registry.villages()),
            "shifted": county.registry.find_shift(geojson, stood),
            "direction": direction,
        }

    shown = {"id": id, "since": since, "asked_for_reason": asked_for_reason, "tab": "villages"}
    return render(request, "registry-preview.html", {**await run_in_threadpool(facts), **shown})


async def _villages(
    request: Request, refusal: VillagesRefused | RegistryRefused | None = None, status: int = 200
) -> HTMLResponse:
    county = _county(request)
    problem = _in_words(request, refusal)
    listed = await run_in_threadpool(lambda: villages_listed(county.registry.villages(), _today(county)))
    facts = {"listed": listed, "today": _today(county), "problem": problem, "tab": "villages"}
    return render(request, "registry-villages.html", {**facts, "said": request.session.pop(_SAID, None)}, status)


# rules ----------------------------------------------------------------------------------------------------------------


@router.get(RULES)
@roles(*READERS)
async def rules_page(request: Request) -> HTMLResponse:
    return await _rules(request)


@router.post(RULES)
@roles("administrator")
async def set_rules(request: Request) -> Response:
    county, form, by = await _asked(request)
    try:
        asked: dict[str, Any] = {name: _whole(name, form.get(name, "")) for name in RULE_LIMITS if name != "version"}
        asked["doctor_roles"] = [role for role in DOCTOR_ROLES if form.get(f"role_{role}") == "yes"]
        if asked["doctors"] and not asked["doctor_roles"]:
            raise RegistryRefused("where a doctor is wanted, at least one role must count as a doctor", "no_role")
        rules = await run_in_threadpool(county.registry.set_rules, asked, by)
    except RegistryRefused as refusal:
        await run_in_threadpool(county.audit.note, by, "set_rules", str(refusal)[:300], "refused")
        return await _rules(request, _in_words(request, refusal), 422)
    await run_in_threadpool(county.audit.note, by, "set_rules", f"rules version {rules.version}")
    return _back(request, RULES, "done_rules", version=rules.version)


def _whole(name: str, text: str) -> int:
    """:raises RegistryRefused: not a whole number, or out of bounds"""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise RegistryRefused(
            f"rule {name} must be a whole number (found {text[:20]!r})", "number", rule=name, found=text[:20]
        )
    low, high = RULE_LIMITS[name]
    number = int(text) * (60 if name in MINUTES else 1)
    if not low <= number <= high:
        shown = {"low": low // (60 if name in MINUTES else 1), "high": high // (60 if name in MINUTES else 1)}
        raise RegistryRefused(
            f"rule {name} must be from {low} to {high} (found {number})", "bounds", rule=name, **shown
        )
    return number


async def _rules(request: Request, problem: str = "", status: int = 200) -> HTMLResponse:
    county = _county(request)
    versions = await run_in_threadpool(rules_versions, county.registry)
    fields = [
        {
            "name": name,
            "low": low // (60 if name in MINUTES else 1),
            "high": high // (60 if name in MINUTES else 1),
            "set": getattr(versions[0].rules, name) // (60 if name in MINUTES else 1),
        }
        for name, (low, high) in RULE_LIMITS.items()
        if name != "version"
    ]
    facts = {"versions": versions, "fields": fields, "doctor_roles": DOCTOR_ROLES, "problem": problem, "tab": "rules"}
    facts |= {"names": await run_in_threadpool(_names, county), "said": request.session.pop(_SAID, None)}
    return render(request, "registry-rules.html", facts, status)


# waivers --------------------------------------------------------------------------------------------------------------


@router.get(WAIVERS)
@roles(*READERS)
async def waivers_page(request: Request, month: Annotated[str | None, Query(max_length=20)] = None) -> HTMLResponse:
    return await _waivers(request, month or "")


@router.post(WAIVERS)
@roles("administrator")
async def waive(request: Request) -> Response:
    county, form, by = await _asked(request)
    village, month, reason = form.get("village", "")[:12], form.get("month", "")[:20], form.get("reason", "")[:400]
    try:
        waiver = await run_in_threadpool(county.registry.waive, village, month, reason, by)
    except RegistryRefused as refusal:
        await run_in_threadpool(county.audit.note, by, "waive", str(refusal)[:300], "refused")
        return await _waivers(request, month, _in_words(request, refusal), 422)
    await run_in_threadpool(county.audit.note, by, "waive", f"{waiver.village} {waiver.month:%Y-%m}")
    return _back(request, f"{WAIVERS}?month={waiver.month:%Y-%m}", "done_waived", month=f"{waiver.month:%Y-%m}")


@router.post(WAIVERS + "/withdraw")
@roles("administrator")
async def withdraw(request: Request) -> Response:
    """Take a waiver back, with a reason; both stay in the registry."""
    county, form, by = await _asked(request)
    village, month, reason = form.get("village", "")[:12], form.get("month", "")[:20], form.get("reason", "")[:400]
    try:
        taken = await run_in_threadpool(county.registry.withdraw, village, month, reason, by)
    except RegistryRefused as refusal:
        await run_in_threadpool(county.audit.note, by, "withdraw_waiver", str(refusal)[:300], "refused")
        return await _waivers(request, month, _in_words(request, refusal), 422)
    await run_in_threadpool(county.audit.note, by, "withdraw_waiver", f"{taken.village} {taken.month:%Y-%m}")
    return _back(request, f"{WAIVERS}?month={taken.month:%Y-%m}", "done_withdrawn", month=f"{taken.month:%Y-%m}")


async def _waivers(request: Request, month: str, problem: str = "", status: int = 200) -> HTMLResponse:
    county = _county(request)
    today = _today(county)
    try:
        first = month_of(month)
    except ValueError:
        first = today.replace(day=1)
    waivers = await run_in_threadpool(county.registry.waivers, first)
    of_month = [
        village
        for village in county.registry.villages()
        if village.valid_from <= end_of_month(first) and (village.valid_until is None or village.valid_until >= first)
    ]
    facts = {
        "month": first,
        "before": other_month(first, -1),
        "after": other_month(first, 1),
        "waivers": sorted(waivers.values(), key=lambda waiver: waiver.at, reverse=True),
        "villages": sorted({village.code: village for village in of_month}.values(), key=lambda village: village.code),
        "by_code": {village.code: village for village in county.registry.villages()},
        "names": await run_in_threadpool(_names, county),
        "sealed": bool(await run_in_threadpool(county.registry.verdicts, first)),
        "problem": problem,
        "tab": "waivers",
    }
    return render(request, "registry-waivers.html", {**facts, "said": request.session.pop(_SAID, None)}, status)


# what they share ------------------------------------------------------------------------------------------------------


def _in_words(request: Request, refusal: VillagesRefused | RegistryRefused | None) -> str:
    return "" if refusal is None else problem_in_words(refusal, texts(_county(request).pages.language(request)))


async def _asked(request: Request) -> tuple[County, dict[str, str], str]:
    body = await bounded_body(request, MOST_FORM_BYTES)
    return _county(request), form_of(body, most_fields=20), request.state.caller.id


def _back(request: Request, page: str, word: str, **facts: object) -> Response:
    """To the page again, with a line that says how it went."""
    request.session[_SAID] = {"word": word, **facts}
    return RedirectResponse(page, 303)


def _day(text: str) -> date | None:
    """:raises VillagesRefused: not a day"""
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise VillagesRefused(
            f"{text[:20]!r} is not a day: write it as YYYY-MM-DD", "day_typed", found=text[:20]
        ) from None


def _names(county: County) -> Callable[[str], str]:
    """Account id to name; ids of no account as they are."""
    known = {account.id: account.name for account in county.accounts.all()}
    return lambda id: known.get(id, id)


def _today(county: County) -> date:
    return local_day(county.clock.now())


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
