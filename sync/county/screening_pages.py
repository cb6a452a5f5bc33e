"""The county's screening rules as pages: what is in force, a rule and its numbers, what a copy changes, editions.

Also ``GET /screening-rules``, where vans fetch the edition in force with its proof (``sync.formats.signed_rules``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sync.county.pages import READERS, form_of, render
from sync.county.registry import RegistryRefused
from sync.county.screening_rules import Preview
from sync.county.vehicle_requests import bounded_body
from sync.formats import signed_rules
from sync.proof.presence import local_day
from sync.screening.evaluator import RuleSet, UnknownRule
from sync.screening.rule_changes import switched, thresholds, with_thresholds
from sync.screening.rule_file import MOST_BYTES, RuleFileRefused, canonical, own_tests, read
from sync.web.access import roles
from sync.web.catalog import Texts, texts

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/screening-rules"
CLINICIANS = ("administrator", "specialist")
"""Who may change rules: clinicians have the role specialist."""
MOST_FORM_BYTES = 16_384
MOST_FIELDS = 120
_SAID = "screening_said"

router = APIRouter()


@router.get(signed_rules.PATH)
@roles("vehicle")
async def for_vehicles(request: Request, have: Annotated[str, Query(max_length=64)] = "") -> Response:
    """The edition in force with its proof; 204 when the vehicle works by it, or there is none."""
    county = _county(request)
    proof = await run_in_threadpool(county.screening_rules.proof, have)
    return Response(status_code=204) if proof is None else Response(proof, media_type="application/json")


@router.get(PAGE)
@roles(*READERS, "specialist")
async def rules_page(request: Request) -> HTMLResponse:
    return await _rules(request)


@router.get(PAGE + "/file.json")
@roles(*READERS, "specialist")
async def file(request: Request) -> Response:
    """The rule file in force, to be edited elsewhere."""
    raw = await run_in_threadpool(_county(request).screening_rules.raw)
    named = {"Content-Disposition": 'attachment; filename="screening-rules.json"', "Cache-Control": "no-store"}
    return Response(json.dumps(raw, ensure_ascii=False, indent=1), media_type="application/json", headers=named)


@router.post(PAGE + "/preview")
@roles(*CLINICIANS)
async def upload(request: Request) -> Response:
    """A file that was edited elsewhere, and what it would change. Nothing is changed yet."""
    async with request.form(max_files=1, max_fields=3, max_part_size=MOST_FORM_BYTES) as form:
        given = form.get("file")
        body = await given.read(MOST_BYTES + 1) if isinstance(given, UploadFile) else b""
    try:
        text = body.decode("utf-8-sig")
        raw, _ = read_unjudged(text)
    except (RuleFileRefused, UnicodeDecodeError) as refusal:
        return await _rules(request, _problem(request, refusal), 422)
    return await _preview(request, raw)


@router.post(PAGE)
@roles(*CLINICIANS)
async def publish(request: Request) -> Response:
    """Sign the copy that was looked at into the registry."""
    county, form, by = _county(request), await _form(request), request.state.caller.id
    id = form.get("id", "")[:64]
    raw = await run_in_threadpool(county.uploads.get, id, by)
    if raw is None:
        return await _rules(request, _w(request, "problem_gone"), 422)
    try:
        name, reason = form.get("name", "")[:80], form.get("reason", "")[:400]
        edition = await run_in_threadpool(county.screening_rules.publish, raw, name, reason, by)
    except (RegistryRefused, RuleFileRefused) as refusal:
        await run_in_threadpool(county.audit.note, by, "screening_rules", str(refusal)[:300], "refused")
        return await _preview(request, raw, _problem(request, refusal), form)
    said = f"edition {edition.number} by {edition.name}: {', '.join(edition.rules)}"
    await run_in_threadpool(county.audit.note, by, "screening_rules", said[:300])
    await run_in_threadpool(county.uploads.forget, id)
    request.session[_SAID] = {"word": "done", "number": edition.number}
    return RedirectResponse(PAGE, 303)


@router.get(PAGE + "/{rule}")
@roles(*READERS, "specialist")
async def rule_page(request: Request, rule: str) -> HTMLResponse:
    return await _rule(request, rule)


@router.post(PAGE + "/{rule}")
@roles(*CLINICIANS)
async def change_rule(request: Request, rule: str) -> Response:
    """Other numbers for a rule, or the rule switched on or off: a preview of the copy. Nothing is changed yet."""
    county, form = _county(request), await _form(request)
    raw = await run_in_threadpool(county.screening_rules.raw)
    row = _row(raw, rule)
    try:
        numbers = {}
        for one in thresholds(row):
            text = form.get(one.key, "").strip()
            if text and float(text) != one.value:
                numbers[one.key] = float(text)
        copy = with_thresholds(raw, rule, numbers) if numbers else raw
        if form.get("on") in ("yes", "no") and (form["on"] == "yes") != _is_on(RuleSet(raw), rule):
            name, reason = form.get("name", "").strip()[:60], form.get("reason", "").strip()[:200]
            if form["on"] == "yes" and not (len(name) >= 2 and len(reason) >= 2):
                raise RegistryRefused("a rule is switched on with a name and a reason", "clinician")
            copy = switched(copy, rule, form["on"] == "yes", name, reason, local_day(county.clock.now()).isoformat())
    except (ValueError, RegistryRefused) as refusal:
        return await _rule(request, rule, _problem(request, refusal), 422)
    return await _preview(request, copy, form=form)


def read_unjudged(text: str) -> tuple[dict[str, Any], None]:
    """A file that can be compared; whether it can come into force is said by its preview.

    :raises RuleFileRefused: it is no rule file
    """
    try:
        return read(text)[0], None
    except RuleFileRefused as refusal:
        if refusal.problem in ("not_json", "too_large", "schema"):
            raise
    raw: dict[str, Any] = json.loads(text)
    return raw, None


# pages ----------------------------------------------------------------------------------------------------------------


async def _rules(request: Request, problem: str = "", status: int = 200) -> HTMLResponse:
    county = _county(request)

    def facts() -> dict[str, Any]:
        raw = county.screening_rules.raw()
        rules = RuleSet(raw)
        return {
            "rows": [_listed(request, rules, row) for row in raw["rules"]],
            "editions": county.screening_rules.editions(),
            "tests": len(own_tests(raw)),
            "names": {account.id: account.name for account in county.accounts.all()},
        }

    said = request.session.pop(_SAID, None)
    shown = {"problem": problem, "said": said, "may": request.state.caller.role in CLINICIANS}
    return render(request, "screening-rules.html", {**await run_in_threadpool(facts), **shown}, status)


async def _rule(request: Request, rule: str, problem: str = "", status: int = 200) -> HTMLResponse:
    county = _county(request)
    raw = await run_in_threadpool(county.screening_rules.raw)
    row, rules = _row(raw, rule), RuleSet(raw)
    facts = {
        **_listed(request, rules, row),
        "numbers": thresholds(row),
        "cases": [*row["cases"], *([row["default"]] if row.get("default") else [])],
        "sources": rules.rule(rule).sources,
        "version": rules.rule(rule).version,
        "note": row.get("note", ""),
        "checked_by": row.get("verified_by"),
        "tests": [test for test in own_tests(raw) if test.rule == rule],
        "label": _labels(request, rules),
    }
    shown = {"problem": problem, "may": request.state.caller.role in CLINICIANS}
    return render(request, "screening-rule.html", {**facts, **shown}, status)


async def _preview(
    request: Request, raw: dict[str, Any], problem: str = "", form: dict[str, str] | None = None
) -> HTMLResponse:
    county, by = _county(request), request.state.caller.id

    def made() -> tuple[Preview, str]:
        preview = county.screening_rules.preview(raw)
        return preview, county.uploads.keep(canonical(raw).encode(), by)

    preview, id = await run_in_threadpool(made)
    if preview.problem is not None:
        problem = _problem(request, preview.problem)
    facts = {
        "preview": preview,
        "id": id,
        "problem": problem,
        "form": form or {},
        "label": _labels(request, RuleSet(await run_in_threadpool(county.screening_rules.raw))),
        "name": request.state.caller.name,
    }
    return render(request, "screening-preview.html", facts, 422 if problem else 200)


def _listed(request: Request, rules: RuleSet, row: dict[str, Any]) -> dict[str, Any]:
    t = _texts(request)
    key = f"clinic.rule.{row['id']}"
    return {
        "id": row["id"],
        "title": row["title_zh"] if t.language == "zh" or key not in t else t(key),
        "on": _is_on(rules, row["id"]),
        "verification": row["verification"],
        "changed": "verified_by" in row or "tests" in row,
    }


def _labels(request: Request, rules: RuleSet) -> Any:
    """Field to its words."""
    t = _texts(request)

    def label(field: str) -> str:
        key = f"clinic.field.{field}"
        known = rules.fields.get(field)
        return t(key) if key in t else (known.label_zh if known else field)

    return label


def _is_on(rules: RuleSet, rule: str) -> bool:
    return rules.rule(rule).enabled


def _row(raw: dict[str, Any], rule: str) -> dict[str, Any]:
    try:
        RuleSet(raw).rule(rule)
    except UnknownRule:
        raise HTTPException(404, "there is no such rule") from None
    found: dict[str, Any] = next(row for row in raw["rules"] if row["id"] == rule)
    return found


def _problem(request: Request, refusal: Exception) -> str:
    """Why a copy is refused, in the language of the page; as the evaluator says it where there is no word."""
    problem = getattr(refusal, "problem", "") or "number"
    key = f"county.screening.problem_{problem}"
    t = _texts(request)
    if key not in t:
        return str(refusal)
    facts = {"rule": getattr(refusal, "rule", ""), "what": getattr(refusal, "what", ""), "why": str(refusal)}
    return t(key, **facts)


def _w(request: Request, key: str) -> str:
    return _texts(request)(f"county.screening.{key}")


def _texts(request: Request) -> Texts:
    return texts(_county(request).pages.language(request))


async def _form(request: Request) -> dict[str, str]:
    return form_of(await bounded_body(request, MOST_FORM_BYTES), most_fields=MOST_FIELDS)


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
