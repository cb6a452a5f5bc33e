"""The review page: visits that wait for a person, the decision about one or several of them, and what was decided."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from sync.county.pages import READERS, Practice, render
from sync.county.registry import RegistryRefused
from sync.county.review import NothingToDecide, Reviews
from sync.county.vehicle_requests import bounded_body
from sync.web.access import roles

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/review"
MOST_BYTES = 16_384
MOST_AT_ONCE = 60
_SAID = "review_said"

router = APIRouter()


@router.get(PAGE)
@roles(*READERS)
async def review_page(
    request: Request, practice: Practice = None, reason: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """:param reason: only what waits for this reason, a word of ``REVIEW_REASONS``"""
    county = _county(request)
    shown = county.coverage.default_practice() if practice is None else practice == "1"
    queue = await run_in_threadpool(_reviews(county).queue, shown)
    names = {account.id: account.name for account in await run_in_threadpool(county.accounts.all)}
    facts: dict[str, Any] = {"queue": queue, "names": names, "practice_shown": shown, "reason": reason}
    facts["reasons"] = Counter(word for one in queue.waiting for word in one.judged.verdict.reasons)
    facts["waiting"] = [one for one in queue.waiting if not reason or reason in one.judged.verdict.reasons]
    facts["most"] = MOST_AT_ONCE
    facts["both"] = county.visits.any_real() and county.visits.any_practice()
    return render(request, "review.html", {**facts, "said": request.session.pop(_SAID, None)})


@router.post(PAGE)
@roles("administrator")
async def decide(request: Request) -> Response:
    """Form fields: ``visit`` (several), ``decision``, ``reason``, ``practice``."""
    county, by = _county(request), request.state.caller.id
    visits, fields = _form(await bounded_body(request, MOST_BYTES))
    decision, reason, practice = fields.get("decision", ""), fields.get("reason", ""), fields.get("practice") == "1"
    about = f"{decision[:10]} {' '.join(visits)}"[:300]
    try:
        new = await run_in_threadpool(_reviews(county).decide, visits, decision, reason, by, practice)
    except (NothingToDecide, RegistryRefused) as refusal:
        await run_in_threadpool(county.audit.note, by, "review", about, "refused")
        word = "problem_gone" if isinstance(refusal, NothingToDecide) else "problem_reason"
        return _back(request, practice, word, "ask", reason=reason[:200], visits=visits)
    if not new:
        return _back(request, practice, "done_already")
    await run_in_threadpool(county.audit.note, by, "review", about)
    what = ", ".join(f"{one.village.name} {one.judged.case.facts.day:%m-%d}" for one in new[:5])
    return _back(request, practice, f"done_{decision}", what=what + (" …" if len(new) > 5 else ""))


def _form(body: bytes) -> tuple[list[str], dict[str, str]]:
    """(visits, the other fields); nothing when it is no form."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), max_num_fields=MOST_AT_ONCE + 5)
    except ValueError:
        return [], {}
    visits = list(dict.fromkeys(value[:60] for name, value in pairs if name == "visit"))
    return visits, {name: value for name, value in pairs if name != "visit"}


def _back(request: Request, practice: bool, word: str, kind: str = "done", **facts: object) -> Response:
    """To the page again, with a line that says how it went."""
    request.session[_SAID] = {"word": word, "kind": kind, "what": "", "reason": "", "visits": [], **facts}
    return RedirectResponse(f"{PAGE}?practice={int(practice)}", 303)


def _reviews(county: County) -> Reviews:
    return Reviews(county.coverage, county.registry, county.clock)


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
