"""The county's list of referrals: who was sent where, why, how urgent, and whether they arrived."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import and_, case, select
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from sync.county.database import Database
from sync.county.pages import READERS, practice_of, render
from sync.county.schema import projected
from sync.proof.presence import local_day
from sync.web.access import roles

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/referrals"
MOST_SHOWN = 500
SHOWN = ("open", "overdue", "all")

router = APIRouter()


@router.get(PAGE)
@roles(*READERS)
async def referrals_page(
    request: Request,
    show: Annotated[str, Query(pattern="^(open|overdue|all)$")] = "open",
    practice: Annotated[str | None, Query(pattern="^[01]$")] = None,
) -> HTMLResponse:
    county: County = request.app.state.county
    caller = request.state.caller
    today = local_day(county.clock.now())
    shown, both = await run_in_threadpool(practice_of, county, practice)
    rows = await run_in_threadpool(referrals, county.database, today, shown)
    await run_in_threadpool(county.audit.note, caller.id, "read_referrals", f"{show}, {len(rows)} referrals")
    counts = {name: sum(_fits(row, name) for row in rows) for name in SHOWN}
    chosen = [_named(row, caller.role) for row in rows if _fits(row, show)]
    facts = {"rows": chosen, "counts": counts, "show": show, "practice_shown": shown, "both": both}
    return render(request, "referrals.html", facts)


def referrals(database: Database, today: date, practice: bool) -> list[dict[str, Any]]:
    """The newest first, the urgent ones of a day before the others; with person, village and vehicle."""
    referral, patient, visit = projected["referrals"], projected["patients"], projected["visits"]
    of_patient = and_(patient.c.origin == referral.c.origin, patient.c.patient == referral.c.patient)
    of_visit = and_(visit.c.origin == referral.c.origin, visit.c.visit == referral.c.visit)
    urgency = case({"emergency": 0, "urgent": 1}, value=referral.c.urgency, else_=2)
    query = (
        select(referral, patient.c.name, patient.c.sex, patient.c.phone, visit.c.village_name, visit.c.township)
        .select_from(referral.outerjoin(patient, of_patient).outerjoin(visit, of_visit))
        .where(referral.c.at.is_not(None), (referral.c.practice == 1) if practice else (referral.c.practice != 1))
        .order_by(referral.c.at.desc(), urgency, referral.c.referral)
        .limit(MOST_SHOWN)
    )
    return [
        {**row, "overdue": not row["outcome"] and bool(row["follow_up_on"]) and row["follow_up_on"] < today.isoformat()}
        for row in database.rows(query)
    ]


def _fits(row: Mapping[str, Any], show: str) -> bool:
    return show == "all" or (bool(row["overdue"]) if show == "overdue" else not row["outcome"])


def _named(row: dict[str, Any], role: str) -> dict[str, Any]:
    """An auditor sees that somebody was referred, not who."""
    if role != "auditor":
        return row
    return {**row, "name": (row["name"] or "")[:1] + "**", "phone": ""}
