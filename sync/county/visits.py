"""Visits as the vehicles delivered them, with the facts that decide about each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from sqlalchemy import ColumnElement, func, or_, select

from devices.clock import Clock
from sync.county.database import Database, Row
from sync.county.interpretation import said
from sync.county.registry import Registry
from sync.county.schema import logs, projected, visit_facts
from sync.county.visit_facts import KeptVisit, VisitFactsStore
from sync.formats.records import format_time, parse_time
from sync.proof.coverage import VisitFacts
from sync.proof.presence import LOCAL, Fix, Stay, local_day
from sync.proof.tracks import fixes_of_track
from sync.proof.visit_conflicts import compared
from sync.proof.visit_proof import Bracket, VisitProof, merged, proof_of_visit

OPEN_FOR = timedelta(hours=24)
"""A visit that nobody ended is taken as ended after this."""
MOST_AT_ONCE = 200
"""Visits worked out after a reading; the others when somebody asks for them, or in the next round."""
COMPARED_BEFORE, COMPARED_AFTER = timedelta(days=4), timedelta(days=7)
"""Around the days asked for: visits that may overlap with one of theirs without being weakly anchored themselves."""
_VISITS, _DUTY, _TRACKS = (projected[name] for name in ("visits", "duty", "tracks"))
_Key = tuple[str, str]
"""Origin and visit: what one vehicle writes about another's visit does not count."""
_MOST_IN_LIST = 400
"""Visit ids in one query; SQLite takes a limited number of parameters."""


@dataclass(frozen=True, slots=True)
class VisitRecord:
    """A visit as the vehicle opened and closed it."""

    origin: str
    visit: str
    village: str
    village_name: str
    township: str
    opened_at: datetime
    closed_at: datetime | None
    practice: bool

    def is_open(self, now: datetime) -> bool:
        return self.closed_at is None and now - self.opened_at < OPEN_FOR


@dataclass(frozen=True, slots=True)
class VisitCase:
    """A visit with what decides about it.

    :ivar bracket: as cosigned; ``proof.bracket`` ends now while nothing covers the visit yet
    """

    record: VisitRecord
    proof: VisitProof
    bracket: Bracket

    @property
    def facts(self) -> VisitFacts:
        return self.proof.facts

    @property
    def stays(self) -> tuple[Stay, ...]:
        """All stays in this village that began on the day of the visit."""
        return self.proof.stays

    @property
    def served(self) -> tuple[datetime, ...]:
        """When the people served during the stays came."""
        return self.proof.evidence.served


class Visits:
    def __init__(self, database: Database, registry: Registry, clock: Clock) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._facts = VisitFactsStore(database, registry)

    def find(self, visit: str) -> VisitRecord | None:
        row = self._database.row(select(_VISITS).where(_VISITS.c.visit == visit).order_by(_VISITS.c.opened_at).limit(1))
        return _record(row) if row is not None and _whole(row) else None

    def day(self, record: VisitRecord) -> date | None:
        """The day it was found to belong to; None when that was not worked out yet."""
        about = (visit_facts.c.origin == record.origin) & (visit_facts.c.visit == record.visit)
        row = self._database.row(select(visit_facts.c.day).where(about))
        return date.fromisoformat(row["day"]) if row else None

    def first_day(self, practice: bool) -> date | None:
        """The local day on which the first visit was opened; None while there is none."""
        real = or_(_VISITS.c.practice.is_(None), _VISITS.c.practice == 0)
        opened = select(func.min(_VISITS.c.opened_at).label("at")).where(_VISITS.c.practice == 1 if practice else real)
        row = self._database.row(opened)
        return local_day(parse_time(row["at"])) if row and row["at"] else None

    def any_real(self) -> bool:
        """Whether any visit that is not practice was ever delivered."""
        real = select(_VISITS.c.visit).where((_VISITS.c.practice.is_(None)) | (_VISITS.c.practice == 0)).limit(1)
        return self._database.row(real) is not None

    def any_practice(self) -> bool:
        practice = select(_VISITS.c.visit).where(_VISITS.c.practice == 1).limit(1)
        return self._database.row(practice) is not None

    def cases(self, first: date, last: date, practice: bool) -> list[VisitCase]:
        """The visits whose day lies in [first, last], one month or a part of it, in order of time."""
        month = first.replace(day=1)
        state, now = self._registry.state(), self._clock.now()
        rules, reviews = state.rules_of(month), state.reviews(month)
        records: dict[_Key, tuple[VisitRecord, Bracket]] = {}
        proofs: list[VisitProof] = []
        for row in self._around(first, last):
            record = _record(row)
            kept = self._facts.get(record.origin, record.visit, row, state)
            if record.practice != practice or kept is None:
                continue
            records[record.origin, record.visit] = record, kept.bracket
            decision = reviews.get(record.visit)
            if decision is not None and decision.origin != record.origin:
                decision = None
            bracket, going_on = _so_far(kept, now), record.is_open(now)
            proofs.append(proof_of_visit(kept.evidence, rules, bracket, decision, going_on=going_on))
        proofs.sort(key=lambda proof: (proof.evidence.opened_at, proof.facts.visit))
        cases = []
        for one in compared(merged(proofs)):
            record, cosigned = records[one.facts.vehicle, one.facts.visit]
            cases.append(VisitCase(record, one, cosigned))
        return [case for case in cases if first <= case.facts.day <= last]

    def work_out(self, origin: str) -> int:
        """Work out what is not known yet of a vehicle's visits, so that nobody waits for it later; returns how many."""
        count = 0
        for row in self._rows(_VISITS.c.origin == origin, visit_facts.c.visit.is_(None), most=MOST_AT_ONCE):
            count += self._facts.work_out(origin, row["visit"]) is not None
        return count

    def staff(self, record: VisitRecord) -> list[Row]:
        """Rows of the table ``duty``: person, role, name, on_at, off_at."""
        return self._staff([record]).get(_key(record), [])

    def fixes(self, origin: str, since: datetime, until: datetime) -> list[Fix]:
        """Track points in order of time."""
        early = format_time(since - timedelta(minutes=30))
        wanted = (_TRACKS.c.origin == origin) & (_TRACKS.c.started_at.between(early, format_time(until)))
        tracks = self._database.rows(select(_TRACKS.c.points_json).where(wanted).order_by(_TRACKS.c.n))
        found = [fix for row in tracks for fix in fixes_of_track(said(row["points_json"]))]
        return sorted((fix for fix in found if since <= fix.at <= until), key=lambda fix: fix.at)

    def _around(self, first: date, last: date) -> list[Row]:
        """Visits of those days by the vehicle's clock or by what was found, with what is kept of them."""
        since = datetime.combine(first - COMPARED_BEFORE, time(0), LOCAL)
        until = datetime.combine(last + COMPARED_AFTER, time(0), LOCAL)
        by_clock = _VISITS.c.opened_at.between(format_time(since), format_time(until))
        return self._rows(or_(by_clock, visit_facts.c.day.between(first.isoformat(), last.isoformat())))

    def _rows(self, *wanted: ColumnElement[bool], most: int | None = None) -> list[Row]:
        """Rows of ``visits`` that say enough to be judged, joined with ``visit_facts`` and ``logs.interpreted``."""
        same = (visit_facts.c.origin == _VISITS.c.origin) & (visit_facts.c.visit == _VISITS.c.visit)
        both = _VISITS.outerjoin(visit_facts, same).join(logs, logs.c.origin == _VISITS.c.origin)
        kept = [column for column in visit_facts.c if column.name not in ("origin", "visit")]
        columns = [column for column in _VISITS.c if column.name in _RECORDED]
        query = select(*columns, *kept, logs.c.interpreted).select_from(both).where(*wanted)
        ordered = query.order_by(_VISITS.c.opened_at, _VISITS.c.visit).limit(most)
        return [row for row in self._database.rows(ordered) if _whole(row)]

    def _staff(self, records: Sequence[VisitRecord]) -> dict[_Key, list[Row]]:
        found: dict[_Key, list[Row]] = {}
        for part in _parts(records):
            on_duty = select(_DUTY).where(_DUTY.c.visit.in_(part), _DUTY.c.on_at.is_not(None)).order_by(_DUTY.c.on_at)
            for row in self._database.rows(on_duty):
                found.setdefault((row["origin"], row["visit"]), []).append(row)
        return found


def _so_far(kept: KeptVisit, now: datetime) -> Bracket:
    """A visit that is not cosigned yet is bracketed by now."""
    return kept.bracket if kept.bracket.sealed_at is not None else replace(kept.bracket, sealed_at=now)


def _key(record: VisitRecord) -> _Key:
    return record.origin, record.visit


def _parts(records: Sequence[VisitRecord]) -> Iterable[list[str]]:
    """Visit ids, a bounded number at a time."""
    ids = [record.visit for record in records]
    return (ids[place : place + _MOST_IN_LIST] for place in range(0, len(ids), _MOST_IN_LIST))


_RECORDED = {"origin", "visit", "village", "village_name", "township", "opened_at", "closed_at", "practice"}


def _whole(row: Row) -> bool:
    """A closed visit whose opening is not here yet (or was set aside) says too little to be judged."""
    return bool(row["village"] and row["opened_at"])


def _record(row: Row) -> VisitRecord:
    return VisitRecord(
        origin=row["origin"],
        visit=row["visit"],
        village=row["village"],
        village_name=row["village_name"] or "",
        township=row["township"] or "",
        opened_at=parse_time(row["opened_at"]),
        closed_at=parse_time(row["closed_at"]) if row["closed_at"] else None,
        practice=bool(row["practice"]),
    )
