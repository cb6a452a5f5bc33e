"""Visits: one stay of this vehicle in one village, opened and closed by a tap, followed by position.

The record is the truth: after a restart the open visit, its crew and its dwell are rebuilt from the store's tables
and the track. A visit that was forgotten is closed when the vehicle has left the village, and the entry says so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.formats.canonical import Json
from sync.formats.records import Draft, format_time, parse_time, read_entry
from sync.proof.anchors import newer_anchor
from sync.proof.areas import Village
from sync.proof.presence import Arrived, Fix, Left, local_day
from sync.proof.tracks import fixes_of_track
from vehicle.clinic.staff import Person
from vehicle.commits import Commits
from vehicle.patrol.position import Patrol

LOOK_BACK = timedelta(hours=2)
"""How much track before the open visit's arrival is followed again after a restart."""


class NoVisitOpen(AskPerson):
    code = "no_visit_open"


class VisitAlreadyOpen(AskPerson):
    code = "visit_already_open"


class UnknownVillage(AskPerson):
    code = "unknown_village"


class CrewMissing(AskPerson):
    code = "crew_missing"


class NotVillageDoctor(AskPerson):
    code = "not_village_doctor"


class OutreachRefused(AskPerson):
    code = "outreach_refused"


class Record(Protocol):
    """The part of ``sync.record.store.Store`` used here."""

    async def commit(self, *drafts: Draft) -> list[Any]: ...

    def read(self, sql: str, params: Any = ()) -> list[dict[str, Any]]: ...


class NewIds(Protocol):
    def new(self, kind: str) -> str: ...


@dataclass(frozen=True, slots=True)
class VisitView:
    """The open visit as screens show it. ``dwell_s`` is the time counted so far, as the county will count it."""

    visit: str
    village: str
    village_name: str
    township: str
    opened_at: datetime
    arrived_at: datetime
    dwell_s: float
    required_s: float
    crew: list[Person]
    encounters: int
    consultations: int
    here: bool = True
    """False while the position does not confirm that the vehicle is in this village."""
    confirmed_by: str | None = None
    """Name of the village doctor who has confirmed with a PIN that the vehicle is here."""
    outreach: tuple[tuple[str, int | None], ...] = ()
    """(what, about how many people), in order."""


@dataclass(slots=True)
class _Open:
    visit: str
    village: str
    village_name: str
    township: str
    opened_at: datetime
    arrived_at: datetime
    crew: list[Person]
    closing: bool = False
    confirmed_by: str | None = None
    outreach: list[tuple[str, int | None]] = field(default_factory=list)


@dataclass(slots=True)
class Visits:
    """
    :param staff: everybody who may be on a crew, by id
    :param send: tells the screens
    """

    record: Record
    commits: Commits
    ids: NewIds
    patrol: Patrol
    clock: Clock
    known: Sequence[Village]
    staff: Callable[[], Sequence[Person]]
    send: Callable[[dict[str, Any]], None]
    required_s: float
    before_end: Callable[[str], Awaitable[None]] | None = None
    """Awaited with who ends the visit; closes the encounter, or refuses because a red value is not dealt with."""
    closed_listeners: list[Callable[[str], None]] = field(default_factory=list)
    """Called with the visit's id once its closing is durable."""
    _open: _Open | None = None
    _counted_before_s: float = 0.0
    """Dwell of the present stay that belongs to an earlier visit: the van stayed, a second visit was opened."""
    _earlier_until: datetime | None = None
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Two taps, or two screens, must not open two visits."""

    def __post_init__(self) -> None:
        self.patrol.listeners.append(self.on_change)
        self.patrol.visit_of_entries = lambda: self._open.visit if self._open else None
        self.patrol.village_named = lambda: self._open.village if self._open else None

    # what is --------------------------------------------------------------------------------------------------------

    def current(self) -> VisitView | None:
        """The open visit, with its counts as they stand in the record."""
        visit = self._open
        if visit is None:
            return None
        return VisitView(
            visit=visit.visit,
            village=visit.village,
            village_name=visit.village_name,
            township=visit.township,
            opened_at=visit.opened_at,
            arrived_at=self._arrived_at(visit),
            dwell_s=self._dwell_s(visit),
            required_s=self.required_s,
            crew=list(visit.crew),
            encounters=self._count("encounters", visit.visit),
            consultations=self._count("consultations", visit.visit),
            here=self._is_here(visit),
            confirmed_by=visit.confirmed_by,
            outreach=tuple(visit.outreach),
        )

    def proposed(self) -> Village | None:
        """The village the vehicle stands in: confirmed by presence, else the one around the newest fix."""
        if self.patrol.presence.village is not None:
            return self.patrol.presence.village
        fix = self.patrol.last_fix
        if fix is None or not self.patrol.has_fix:
            return None
        return next((place for place in self.villages() if place.contains(fix.latitude_deg, fix.longitude_deg)), None)

    def villages(self) -> list[Village]:
        """The villages in force today, by the date on the wall."""
        today = local_day(self.clock.now())
        return [village for village in self.known if village.in_force(today)]

    # what is done -----------------------------------------------------------------------------------------------------

    async def start(self, village_code: str, crew_ids: Sequence[str], by: str) -> VisitView:
        """Open a visit; durable when it returns.

        :raises VisitAlreadyOpen, UnknownVillage, CrewMissing: with nothing written
        """
        async with self._starting:
            if self._open is not None:
                raise VisitAlreadyOpen(f"the visit in {self._open.village_name} is open: end it first")
            village = next((place for place in self.villages() if place.code == village_code), None)
            if village is None:
                raise UnknownVillage(f"no village {village_code} in the list of today")
            crew = self._crew(crew_ids)
            now = self.clock.now()
            there = self.proposed()
            here = there is not None and there.code == village_code
            visit = _Open(self.ids.new("visit"), village.code, village.name, village.township, now, now, crew)
            visit.arrived_at = self._arrived_at(visit)
            anchor = newer_anchor(self.record.read)
            opening = self._opening(visit, by, "position" if here else "person")
            await self.record.commit(*([anchor] if anchor is not None else []), *opening)
            self._open = visit
            emit("visit_opened", visit=visit.visit, village=visit.village)
            self.tell()
            view = self.current()
            assert view is not None
            return view

    async def confirm(self, person: Person) -> None:
        """The village doctor, whose PIN was just checked, confirms that the vehicle is in this village.

        :raises NoVisitOpen: nothing to confirm
        :raises NotVillageDoctor: somebody else
        """
        visit = self._open
        if visit is None or visit.closing:
            raise NoVisitOpen("no visit is open")
        if person.role != "village_doctor":
            raise NotVillageDoctor(f"{person.id} is not a village doctor")
        fields: dict[str, Json] = {"visit_id": visit.visit, "village": visit.village, "means": "pin"}
        fields |= {"person": person.id, "name": person.name}
        await self.record.commit(Draft("village_confirmed/1", fields, by=person.id, visit=visit.visit))
        visit.confirmed_by = person.name
        self.tell()

    async def record_outreach(self, what: str, people: int | None, by: str) -> None:
        """Write down an outreach of this visit: a talk, a round of the houses.

        :raises NoVisitOpen: there is no visit it could belong to
        :raises OutreachRefused: no words, too many, or an impossible number of people
        """
        visit, said = self._open, " ".join(what.split())
        if visit is None or visit.closing:
            raise NoVisitOpen("no visit is open")
        if not 2 <= len(said) <= 60 or (people is not None and not 1 <= people <= 9999):
            raise OutreachRefused("an outreach is told in 2 to 60 characters, its people from 1 to 9999")
        fields: dict[str, Json] = {"visit_id": visit.visit, "what": said}
        if people is not None:
            fields["people"] = people
        await self.record.commit(Draft("outreach/1", fields, by=by, visit=visit.visit))
        visit.outreach.append((said, people))
        self.tell()

    async def end(self, by: str) -> None:
        """Close the open visit; durable when it returns.

        :raises NoVisitOpen: nothing to close
        :raises AskPerson: what ``before_end`` refuses; the visit stays open
        """
        visit = self._open
        if visit is None or visit.closing:
            raise NoVisitOpen("no visit is open")
        visit.closing = True
        track: Draft | None = None
        try:
            if self.before_end is not None:
                await self.before_end(by)
            await self.commits.settle()  # what belongs to the visit stands before its end
            departed_at, dwell_s = self.clock.now(), self._dwell_s(visit)
            drafts = self._closing(visit, dwell_s, self._arrived_at(visit), departed_at, by)
            track = self.patrol.take()
            await self.record.commit(*([track] if track is not None else []), *drafts)
        except BaseException:
            visit.closing = False
            if track is not None:
                self.commits.soon(track)
            raise
        self._closed(visit, dwell_s, departed_at)

    def on_change(self, change: Arrived | Left) -> None:
        """Follow presence: a new stay starts a new count; the visit nobody closed is closed once the van has left."""
        counted_before_s, self._counted_before_s = self._counted_before_s, 0.0
        visit = self._open
        if visit is None or visit.closing or visit.opened_at > change.at:
            self.tell()
        elif isinstance(change, Arrived):
            if visit.village != change.village.code:  # opened by a person, never confirmed by position
                self._close_forgotten(visit, 0.0, visit.arrived_at, change.at)
            else:  # opened on the way: who is on duty is told again, because only what is told in the village counts
                self.commits.soon(*self._on_duty(visit, True, None))
            self.tell()
        elif visit.village == change.village.code:
            arrived_at = self._from_stay(change.stay.arrived_at)
            self._close_forgotten(visit, max(0.0, change.stay.dwell_s - counted_before_s), arrived_at, change.at)

    def _close_forgotten(self, visit: _Open, dwell_s: float, arrived_at: datetime, departed_at: datetime) -> None:
        visit.closing = True
        self.patrol.flush()
        drafts = self._closing(visit, dwell_s, arrived_at, departed_at, None)
        drafts.append(Draft("access/1", {"action": "visit_closed_by_position", "what": visit.visit}, visit=visit.visit))
        self.commits.soon(*drafts, then=lambda: self._closed(visit, dwell_s, departed_at))

    def restore(self) -> None:
        """Rebuild the open visit and the presence from the store's tables and the track; called once, at start."""
        rows = self.record.read("select * from visits where closed_at is null order by opened_at desc limit 1")
        if rows:
            self._open = self._from_row(rows[0])
            self._read_beside(self._open)
        last = self.record.read("select max(departed_at) as at from visits where closed_at is not null")
        self._earlier_until = parse_time(last[0]["at"]) if last and last[0]["at"] else None
        since = (self._open.arrived_at if self._open else self.clock.now()) - LOOK_BACK
        self.patrol.restore(self._recorded(since), self._count_earlier)

    # how ------------------------------------------------------------------------------------------------------------

    def _opening(self, visit: _Open, by: str, proposed_by: str) -> list[Draft]:
        fields: dict[str, Json] = {
            "visit_id": visit.visit,
            "village": visit.village,
            "village_name": visit.village_name,
            "township": visit.township,
            "proposed_by": proposed_by,
            "crew": [_duty(person) for person in visit.crew],
            "arrived_at": format_time(visit.arrived_at),
        }
        return [Draft("visit_opened/1", fields, by=by, visit=visit.visit)]

    def _closing(
        self, visit: _Open, dwell_s: float, arrived_at: datetime, departed_at: datetime, by: str | None
    ) -> list[Draft]:
        still_open = self.record.read(
            "select encounter, opened_at from encounters where visit = ? and closed_at is null", (visit.visit,)
        )
        drafts = [
            Draft(
                "encounter_closed/1",
                {"encounter_id": row["encounter"], "opened_at": row["opened_at"]},
                by=by,
                visit=visit.visit,
                encounter=row["encounter"],
            )
            for row in still_open
        ]
        fields: dict[str, Json] = {
            "visit_id": visit.visit,
            "arrived_at": format_time(arrived_at),
            "departed_at": format_time(departed_at),
            "dwell_s": int(dwell_s),
            "encounters": self._count("encounters", visit.visit),
        }
        off_duty = self._on_duty(visit, False, by)
        return [*drafts, *off_duty, Draft("visit_closed/1", fields, by=by, visit=visit.visit)]

    def _on_duty(self, visit: _Open, on: bool, by: str | None) -> list[Draft]:
        return [
            Draft("duty/1", {"visit_id": visit.visit, **_duty(person), "on": on}, by=by, visit=visit.visit)
            for person in visit.crew
        ]

    def clock_stepped(self, by: timedelta) -> None:
        """The wall clock was set by so much: the visit goes on as long as it did."""
        if self._open is not None:
            self._open.opened_at += by
            self._open.arrived_at += by
        if self._earlier_until is not None:
            self._earlier_until += by

    def _read_beside(self, visit: _Open) -> None:
        """After a restart: what was confirmed and done beside the encounters, from the journal."""
        since = "select max(n) from entries where kind = 'visit_opened/1'"
        kinds = "('village_confirmed/1', 'outreach/1')"
        found = self.record.read(f"select n, body from entries where n > ({since}) and kind in {kinds} order by n")
        for entry in (read_entry(row["body"], row["n"]) for row in found):
            if entry.fields["visit_id"] != visit.visit:
                continue
            if entry.kind == "village_confirmed/1":
                visit.confirmed_by = entry.fields["name"]
            else:
                visit.outreach.append((entry.fields["what"], entry.fields.get("people")))

    def _closed(self, visit: _Open, dwell_s: float, departed_at: datetime) -> None:
        stay = self.patrol.presence.stay
        self._counted_before_s = stay.dwell_s if stay is not None and stay.village_code == visit.village else 0.0
        self._earlier_until = departed_at
        self._open = None
        emit("visit_closed", visit=visit.visit, dwell_s=int(dwell_s))
        for listener in self.closed_listeners:
            listener(visit.visit)
        self.tell()

    def tell(self) -> None:
        view = self.current()
        self.send({"type": "visit", "visit": None if view is None else visit_message(view)})

    def _crew(self, crew_ids: Sequence[str]) -> list[Person]:
        people = {person.id: person for person in self.staff()}
        unknown = [person for person in crew_ids if person not in people]
        if unknown:
            raise CrewMissing(f"{unknown[0]} is not on the list of staff")
        if not crew_ids:
            raise CrewMissing("choose who is on duty: at least one person")
        return [person for person in people.values() if person.id in crew_ids]

    def _is_here(self, visit: _Open) -> bool:
        village = self.patrol.presence.village
        return village is not None and village.code == visit.village

    def _dwell_s(self, visit: _Open) -> float:
        if not self._is_here(visit):
            return 0.0
        return max(0.0, self.patrol.presence.dwell_s - self._counted_before_s)

    def _arrived_at(self, visit: _Open) -> datetime:
        arrived_at = self.patrol.presence.arrived_at
        if arrived_at is None or not self._is_here(visit):
            return visit.arrived_at
        return self._from_stay(arrived_at)

    def _from_stay(self, arrived_at: datetime) -> datetime:
        """Arrival of the stay, or the end of the visit before it within the same stay."""
        return arrived_at if self._earlier_until is None else max(arrived_at, self._earlier_until)

    def _count_earlier(self, fix: Fix) -> None:
        """While the track is followed again: note the dwell at the moment the earlier visit ended."""
        stay = self.patrol.presence.stay
        if stay is None or self._earlier_until is None or stay.arrived_at > self._earlier_until:
            self._counted_before_s = 0.0
        elif fix.at <= self._earlier_until:
            self._counted_before_s = stay.dwell_s

    def _count(self, table: str, visit: str) -> int:
        return int(self.record.read(f"select count(*) as n from {table} where visit = ?", (visit,))[0]["n"])

    def _from_row(self, row: dict[str, Any]) -> _Open:
        duty = self.record.read("select person, role, name from duty where visit = ?", (row["visit"],))
        crew = [Person(id=one["person"], name=one["name"], role=one["role"]) for one in duty]
        order = [person.id for person in self.staff()]
        crew.sort(key=lambda person: order.index(person.id) if person.id in order else len(order))
        opened_at = parse_time(row["opened_at"])
        arrived_at = parse_time(row["arrived_at"]) if row["arrived_at"] else opened_at
        return _Open(row["visit"], row["village"], row["village_name"], row["township"], opened_at, arrived_at, crew)

    def _recorded(self, since: datetime) -> list[Fix]:
        rows = self.record.read("select points_json from tracks where at >= ? order by n", (format_time(since),))
        return [fix for row in rows for fix in fixes_of_track(json.loads(row["points_json"]))]


def _duty(person: Person) -> dict[str, Json]:
    return {"person": person.id, "role": person.role, "name": person.name}


def visit_message(view: VisitView) -> dict[str, Any]:
    """The ``visit`` message of the live feed."""
    return {
        "visit": view.visit,
        "village": view.village,
        "village_name": view.village_name,
        "township": view.township,
        "opened_at": format_time(view.opened_at),
        "arrived_at": format_time(view.arrived_at),
        "dwell_s": int(view.dwell_s),
        "required_s": int(view.required_s),
        "crew": [{"id": person.id, "name": person.name, "role": person.role} for person in view.crew],
        "encounters": view.encounters,
        "consultations": view.consultations,
        "here": view.here,
        "confirmed_by": view.confirmed_by,
        "outreach": len(view.outreach),
    }
