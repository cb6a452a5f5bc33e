"""People served in a visit as FHIR R4 files: pseudonymous, or with names when somebody says why. Each is noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from sync.county.database import Database
from sync.county.pages import MOST_FORM_BYTES, NOT_KEPT, form_of, render
from sync.county.schema import projected
from sync.county.vehicle_requests import bounded_body
from sync.county.visits import VisitRecord
from sync.formats.records import parse_time
from sync.interop import fhir
from sync.interop.fhir_record import PersonRecord, ReadRows, Row, of_encounter, of_person
from sync.web.access import roles

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/visits/{visit}/people"
SHORTEST_REASON, LONGEST_REASON = 4, 200
SCOPES = ("encounter", "person")
_COUNTED = ("readings", "recordings", "consultations")
_SAID = "people_said"

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Served:
    """One encounter as the page lists it: no name, the year of birth only."""

    encounter: str
    opened_at: datetime
    purpose: str
    sex: str
    born_in: str
    counts: dict[str, int]


@router.get(PAGE)
@roles("administrator")
async def people_page(request: Request, visit: str) -> Response:
    county, record = _county(request), await _visit(request, visit)
    facts: dict[str, Any] = {"record": record, "served": await run_in_threadpool(served, county.database, record)}
    return render(request, "people-served.html", {**facts, "said": request.session.pop(_SAID, None)})


@router.post(PAGE)
@roles("administrator")
async def export(request: Request, visit: str) -> Response:
    """Form fields: ``encounter``; ``scope``: that encounter, or everything of its person; ``reason``: empty for a file
    without names."""
    county, record, by = _county(request), await _visit(request, visit), request.state.caller.id
    form = form_of(await bounded_body(request, MOST_FORM_BYTES))
    encounter, scope, reason = form.get("encounter", "")[:100], form.get("scope", ""), form.get("reason", "").strip()
    told = f"fhir {scope[:10]} {encounter} {reason or 'pseudonymous'}"
    found = await run_in_threadpool(_record, county.database, record, encounter, scope)
    if found is None or (reason and not SHORTEST_REASON <= len(reason) <= LONGEST_REASON):
        await run_in_threadpool(county.audit.note, by, "export", told, "refused")
        request.session[_SAID] = {"word": "problem_none" if found is None else "problem_reason"}
        return RedirectResponse(PAGE.format(visit=record.visit), 303)
    account = county.accounts.get(by)
    software = f"xunzhen {version('xunzhen')}"
    asked = fhir.Export(county.clock.now(), account.name if account else by, county.settings.name, software, reason)
    content = await run_in_threadpool(lambda: fhir.written(fhir.bundle(found, asked)))
    await run_in_threadpool(county.audit.note, by, "export", told)
    name = f"{scope}-{encounter[-12:]}{'' if reason else '-pseudonymous'}.fhir.json"
    headers = {**NOT_KEPT, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=fhir.MEDIA_TYPE, headers=headers)


def served(database: Database, record: VisitRecord) -> list[Served]:
    """The encounters of a visit, in their order."""
    encounters, patients = projected["encounters"], projected["patients"]
    both = encounters.outerjoin(
        patients, (patients.c.origin == encounters.c.origin) & (patients.c.patient == encounters.c.patient)
    )
    wanted = (encounters.c.origin == record.origin) & (encounters.c.visit == record.visit)
    columns = (encounters.c.encounter, encounters.c.opened_at, encounters.c.purpose, patients.c.sex, patients.c.born_on)
    rows = database.rows(select(*columns).select_from(both).where(wanted).order_by(encounters.c.opened_at))
    counts = {table: _counts(database, table, record) for table in _COUNTED}
    return [
        Served(
            row["encounter"],
            parse_time(row["opened_at"]),
            row["purpose"] or "",
            row["sex"] or "unknown",
            (row["born_on"] or "")[:4],
            {table: counts[table].get(row["encounter"], 0) for table in _COUNTED},
        )
        for row in rows
        if row["opened_at"]
    ]


def _counts(database: Database, name: str, record: VisitRecord) -> dict[str, int]:
    """Encounter -> how many rows; of readings the confirmed ones."""
    table = projected[name]
    wanted = (table.c.origin == record.origin) & (table.c.visit == record.visit)
    if name == "readings":
        wanted &= table.c.confirmed_at.is_not(None) & table.c.rejected_at.is_(None)
    found = select(table.c.encounter, func.count().label("count")).where(wanted).group_by(table.c.encounter)
    return {row["encounter"]: row["count"] for row in database.rows(found)}


def reader(database: Database, origin: str) -> ReadRows:
    """The rows of one van's journal."""

    def read(table: str, column: str, value: str) -> Sequence[Row]:
        shape = projected[table]
        return database.rows(select(shape).where(shape.c.origin == origin, shape.c[column] == value))

    return read


def _record(database: Database, record: VisitRecord, encounter: str, scope: str) -> PersonRecord | None:
    """None: no such encounter in this visit, or nobody's."""
    found = of_encounter(reader(database, record.origin), record.origin, encounter)
    if found is None or scope not in SCOPES or record.visit not in found.visits:
        return None
    if scope == "encounter":
        return found
    return of_person(reader(database, record.origin), record.origin, found.patient["patient"])


async def _visit(request: Request, visit: str) -> VisitRecord:
    found = await run_in_threadpool(_county(request).visits.find, visit[:60])
    if found is None:
        raise HTTPException(404, f"there is no visit {visit[:60]!r}")
    return found


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
