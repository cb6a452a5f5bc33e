"""The facts of visits: time in the village from track points, staff from duty, people from encounters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import select

from devices.clock import Clock
from sync.county.database import Database, Row
from sync.county.interpretation import reading_lock, said
from sync.county.registry import Registry
from sync.county.schema import day_stays, logs, projected
from sync.coverage import VisitFacts
from sync.presence import LOCAL, Fix, Stay, local_day, stays
from sync.records import format_time, parse_time
from sync.tracks import fixes_of_track

OPEN_FOR = timedelta(hours=24)
"""A visit that nobody ended is taken as ended after this."""
_VISITS, _DUTY, _ENCOUNTERS, _TRACKS = (projected[name] for name in ("visits", "duty", "encounters", "tracks"))
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

    def end(self, now: datetime) -> datetime:
        return self.closed_at or min(now, self.opened_at + OPEN_FOR)


@dataclass(frozen=True, slots=True)
class VisitCase:
    """A visit with what decides about it.

    :ivar stays: all stays of this vehicle in this village that began on ``facts.day``
    :ivar served: opening times of its encounters
    """

    record: VisitRecord
    facts: VisitFacts
    stays: tuple[Stay, ...]
    served: tuple[datetime, ...]


class Visits:
    def __init__(self, database: Database, registry: Registry, clock: Clock) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock

    def find(self, visit: str) -> VisitRecord | None:
        row = self._database.row(select(_VISITS).where(_VISITS.c.visit == visit).order_by(_VISITS.c.opened_at).limit(1))
        return _record(row) if row is not None and _whole(row) else None

    def any_real(self) -> bool:
        """Whether any visit that is not practice was ever delivered."""
        real = select(_VISITS.c.visit).where((_VISITS.c.practice.is_(None)) | (_VISITS.c.practice == 0)).limit(1)
        return self._database.row(real) is not None

    def any_practice(self) -> bool:
        practice = select(_VISITS.c.visit).where(_VISITS.c.practice == 1).limit(1)
        return self._database.row(practice) is not None

    def cases(self, first: date, last: date, practice: bool) -> list[VisitCase]:
        """The visits whose day lies in [first, last], in order of time."""
        records = self._opened(first - timedelta(days=1), last + timedelta(days=1), practice)
        duty, served = self._staff(records), self._served(records)
        cases = [self._case(record, duty.get(_key(record), []), served.get(_key(record), [])) for record in records]
        return [case for case in _merged(cases) if first <= case.facts.day <= last]

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

    def stays_on(self, origin: str, day: date) -> list[Stay]:
        """Stays that began on a local day; kept until a later track or another list of villages changes them."""
        version = self._registry.villages_version
        key = (day_stays.c.origin == origin) & (day_stays.c.day == day.isoformat())
        kept = self._database.row(select(day_stays).where(key, day_stays.c.villages_version == version))
        if kept is not None:
            return [_read_stay(written) for written in json.loads(kept["stays"])]
        state = self._interpreted(origin)
        found = self._work_out(origin, day)
        row = {"origin": origin, "day": day.isoformat(), "villages_version": version}
        with self._database.write(reading_lock(origin)) as connection:
            if self._interpreted(origin) == state:
                written = json.dumps([_write_stay(stay) for stay in found])
                self._database.upsert(connection, day_stays, [{**row, "stays": written}])
        return found

    def _work_out(self, origin: str, day: date) -> list[Stay]:
        """From the noon before to the noon after, so that what reaches across midnight is seen whole."""
        since = datetime.combine(day - timedelta(days=1), time(12), LOCAL)
        until = datetime.combine(day + timedelta(days=1), time(12), LOCAL)
        named = [
            (record.opened_at, record.end(until), record.village)
            for record in self._opened(day - timedelta(days=1), day + timedelta(days=1), None, origin)
        ]

        def village_named(at: datetime) -> str | None:
            return next((village for opened, closed, village in named if opened <= at <= closed), None)

        found = stays(self.fixes(origin, since, until), self._registry.villages(), village_named)
        return [stay for stay in found if stay.day == day]

    def _interpreted(self, origin: str) -> int | None:
        row = self._database.row(select(logs.c.interpreted).where(logs.c.origin == origin))
        return row["interpreted"] if row else None

    def _opened(self, first: date, last: date, practice: bool | None, origin: str = "") -> list[VisitRecord]:
        since = datetime.combine(first, time(0), LOCAL)
        until = datetime.combine(last + timedelta(days=1), time(0), LOCAL)
        wanted: Any = _VISITS.c.opened_at.between(format_time(since), format_time(until))
        if origin:
            wanted = wanted & (_VISITS.c.origin == origin)
        rows = self._database.rows(select(_VISITS).where(wanted).order_by(_VISITS.c.opened_at, _VISITS.c.visit))
        records = [_record(row) for row in rows if _whole(row)]
        return [record for record in records if practice is None or record.practice == practice]

    def _case(self, record: VisitRecord, staff: Sequence[Row], served: Sequence[datetime]) -> VisitCase:
        """The case of one visit by itself, with all stays of its day in its village."""
        now = self._clock.now()
        end = record.end(now)
        day = local_day(record.opened_at)
        found: list[Stay] = []
        for candidate in (day - timedelta(days=1), day):
            on_day = [stay for stay in self.stays_on(record.origin, candidate) if stay.village_code == record.village]
            if any(stay.arrived_at <= end and (stay.departed_at or end) >= record.opened_at for stay in on_day):
                day, found = candidate, on_day
                break
        facts = VisitFacts(
            visit=record.visit,
            vehicle=record.origin,
            village=record.village,
            day=day,
            dwell_s=sum(stay.dwell_s for stay in found) if found else None,
            staff=frozenset((row["person"], row["role"] or "") for row in staff),
            encounters=_during(served, found),
            flags=tuple(sorted({flag for stay in found for flag in stay.flags})),
            open=record.is_open(now),
        )
        return VisitCase(record, facts, tuple(found), tuple(served))

    def _staff(self, records: Sequence[VisitRecord]) -> dict[_Key, list[Row]]:
        found: dict[_Key, list[Row]] = {}
        for part in _parts(records):
            on_duty = select(_DUTY).where(_DUTY.c.visit.in_(part), _DUTY.c.on_at.is_not(None)).order_by(_DUTY.c.on_at)
            for row in self._database.rows(on_duty):
                found.setdefault((row["origin"], row["visit"]), []).append(row)
        return found

    def _served(self, records: Sequence[VisitRecord]) -> dict[_Key, list[datetime]]:
        found: dict[_Key, list[datetime]] = {}
        for part in _parts(records):
            columns = select(_ENCOUNTERS.c.origin, _ENCOUNTERS.c.visit, _ENCOUNTERS.c.opened_at)
            opened = columns.where(_ENCOUNTERS.c.visit.in_(part), _ENCOUNTERS.c.opened_at.is_not(None))
            for row in self._database.rows(opened.order_by(_ENCOUNTERS.c.opened_at)):
                found.setdefault((row["origin"], row["visit"]), []).append(parse_time(row["opened_at"]))
        return found


def _merged(cases: Sequence[VisitCase]) -> list[VisitCase]:
    """Several visits of one vehicle to one village on one day are one: the first carries staff and people of all."""
    first: dict[tuple[str, str, date], int] = {}
    merged: list[VisitCase] = []
    for case in cases:
        key = case.facts.vehicle, case.facts.village, case.facts.day
        if key not in first:
            first[key] = len(merged)
            merged.append(case)
            continue
        carrier = merged[first[key]]
        facts = replace(
            carrier.facts,
            staff=carrier.facts.staff | case.facts.staff,
            encounters=carrier.facts.encounters + case.facts.encounters,
            open=carrier.facts.open or case.facts.open,
        )
        merged[first[key]] = replace(carrier, facts=facts)
        merged.append(replace(case, facts=replace(case.facts, merged_into=carrier.facts.visit)))
    return merged


def _during(served: Sequence[datetime], found: Sequence[Stay]) -> int:
    """Encounters between arriving and leaving; all of them where no stay was found: that says enough."""
    if not found:
        return len(served)
    since, until = found[0].arrived_at, found[-1].departed_at or datetime.max.replace(tzinfo=UTC)
    return sum(since <= at <= until for at in served)


def _key(record: VisitRecord) -> _Key:
    return record.origin, record.visit


def _parts(records: Sequence[VisitRecord]) -> Iterable[list[str]]:
    """Visit ids, a bounded number at a time."""
    ids = [record.visit for record in records]
    return (ids[place : place + _MOST_IN_LIST] for place in range(0, len(ids), _MOST_IN_LIST))


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


def _write_stay(stay: Stay) -> list[Any]:
    departed = format_time(stay.departed_at) if stay.departed_at else None
    times = [format_time(stay.arrived_at), departed, format_time(stay.seen_until)]
    return [stay.village_code, *times, stay.dwell_s, stay.inferred_s, list(stay.flags)]


def _read_stay(written: list[Any]) -> Stay:
    code, arrived, departed, seen, dwell_s, inferred_s, flags = written
    left = parse_time(departed) if departed else None
    return Stay(code, parse_time(arrived), left, parse_time(seen), dwell_s, inferred_s, tuple(flags))
