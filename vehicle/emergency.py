"""Emergency mode: one touch calls the duty doctor, with the person, the place and what the devices say.

It begins signed in or not, standing or driving, in a visit or not. Everything is entries: who began it and where, each
step of a checklist with its time, how it ended. The numbers shown beside are the newest of the devices; none is older
than ``FRESH_S`` without saying so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from devices.clock import Clock
from devices.errors import AskPerson
from devices.readings import BloodPressure, Glucose, HeartRate, PulseOximetry, Stamped, Temperature
from sync.formats.canonical import Json
from sync.formats.records import Draft, format_time, parse_time
from sync.web.catalog import texts
from telemedicine.consultation import TABLE, Event, State
from vehicle.clinic.emergency.checklists import Checklist
from vehicle.clinic.encounters import EMERGENCY, Encounters
from vehicle.clinic.people import People
from vehicle.clinic.ports import Ids, Journal, Listenable, Live
from vehicle.consultations import Consultations

OUTCOMES = ("handed_over", "to_hospital", "recovered", "deceased", "false_alarm")
FRESH_S = 10.0
"""A live number that is older is shown as old."""
E7 = 10_000_000


class EmergencyUnknown(AskPerson):
    """No emergency is under way, or no such step: look at the page again."""

    code = "emergency_unknown"


class OutcomeMissing(AskPerson):
    """An emergency ends with one of ``OUTCOMES``."""

    code = "emergency_outcome_missing"


class Fix(Protocol):
    """The newest position, as ``vehicle.patrol.position.Patrol.last_fix`` has it."""

    @property
    def at(self) -> datetime: ...
    @property
    def latitude_deg(self) -> float: ...
    @property
    def longitude_deg(self) -> float: ...
    @property
    def accuracy_m(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the van is now, for people (``name``) and for maps (WGS-84)."""

    name: str
    fix: Fix | None


@dataclass(frozen=True, slots=True)
class Vital:
    """The newest number of one kind. ``age_s``: since it came."""

    kind: str
    text: str
    age_s: int

    @property
    def fresh(self) -> bool:
        return self.age_s <= FRESH_S


@dataclass(frozen=True, slots=True)
class Step:
    checklist: str
    item: str
    done: bool
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class EmergencyView:
    emergency: str
    patient: str
    encounter: str
    consultation: str
    started_at: datetime
    started_by: str
    """Empty when nobody was signed in."""
    place: str
    lat_e7: int | None
    lon_e7: int | None
    ended_at: datetime | None
    outcome: str
    summary: Mapping[str, Any]


class Emergencies:
    """
    :param place: where the van is now
    """

    def __init__(
        self,
        store: Journal,
        ids: Ids,
        clock: Clock,
        live: Live,
        people: People,
        encounters: Encounters,
        consultations: Consultations,
        place: Callable[[], Place],
        checklists: Sequence[Checklist],
        language: str,
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._live = live
        self._people = people
        self._encounters = encounters
        self._consultations = consultations
        self._place = place
        self.checklists = {one.id: one for one in checklists}
        self._language = language
        self._numbers: dict[str, tuple[str, float]] = {}
        """Kind -> (as shown, when it came, monotonic)."""
        self._changing = asyncio.Lock()
        consultations.beside = self._beside

    def listen(self, feed: Listenable) -> None:
        """From now on the newest numbers of the devices are at hand."""
        for topic in ("pulse_oximetry", "heart_rate", "blood_pressure", "temperature", "glucose"):
            feed.on(topic, self._on_number, "emergency")

    # what is

    def current(self) -> EmergencyView | None:
        """The emergency that is under way."""
        rows = self._store.read("SELECT * FROM emergencies WHERE ended_at IS NULL ORDER BY emergency DESC LIMIT 1")
        return _view(rows[0]) if rows else None

    def get(self, emergency: str) -> EmergencyView:
        """:raises EmergencyUnknown: there is none"""
        rows = self._store.read("SELECT * FROM emergencies WHERE emergency = ?", (emergency,))
        if not rows:
            raise EmergencyUnknown("no such emergency: look again")
        return _view(rows[0])

    def steps(self, emergency: str) -> list[Step]:
        """Every tap on a checklist, oldest first; one that was taken back is there with ``done`` False."""
        return [
            Step(row["checklist"], row["item"], bool(row["done"]), parse_time(row["at"]), row["by"] or "")
            for row in self._store.read("SELECT * FROM emergency_steps WHERE emergency = ? ORDER BY n", (emergency,))
        ]

    def done(self, emergency: str) -> dict[tuple[str, str], Step]:
        """The steps that stand as done, by (checklist, item)."""
        newest = {(step.checklist, step.item): step for step in self.steps(emergency)}
        return {key: step for key, step in newest.items() if step.done}

    def vitals(self) -> list[Vital]:
        """The newest number of each kind, live ones first."""
        now_s = self._clock.monotonic_s()
        return [Vital(kind, text, max(0, int(now_s - at_s))) for kind, (text, at_s) in self._numbers.items()]

    def place(self) -> Place:
        return self._place()

    # what is done

    async def start(self, by: str | None, for_served: bool = True) -> EmergencyView:
        """Begin, and call the duty doctor; one that is under way is given back.

        :param by: None when nobody is signed in
        :param for_served: it is the person being served; otherwise, or when there is none, somebody not known yet
        """
        async with self._changing:
            under_way = self.current()
            if under_way is not None:
                return under_way
            served = self._encounters.current() if for_served else None
            if served is None:
                name = texts(self._language)("touch.emergency.unknown_person")
                patient = (await self._people.register_unknown(name, by)).patient
                served = await self._encounters.open_emergency(patient, by)
            who, visit, encounter = served.patient.patient, served.visit, served.encounter
            place, emergency = self._place(), self._ids.new("emergency")
            fields: dict[str, Json] = {"emergency": emergency, "patient": who, "place": place.name}
            if place.fix is not None:
                fields["lat_e7"] = round(place.fix.latitude_deg * E7)
                fields["lon_e7"] = round(place.fix.longitude_deg * E7)
                fields["accuracy_m"] = round(place.fix.accuracy_m)
            called = await self._consultations.request_emergency(who, visit, encounter, self._words(place), by)
            fields["consultation"] = called.consultation
            await self._store.commit(Draft("emergency/1", fields, by=by, visit=visit, encounter=encounter))
            self._tell(emergency, True)
            return self.get(emergency)

    async def step(self, checklist: str, item: str, done: bool, by: str | None) -> Step:
        """Tick one item, or take the tick back; a repeat changes nothing.

        :raises EmergencyUnknown: no emergency is under way, or there is no such item
        """
        async with self._changing:
            emergency = self._under_way()
            listed = self.checklists.get(checklist)
            if listed is None or all(one.id != item for one in listed.items):
                raise EmergencyUnknown("there is no such step: look again")
            before = self.done(emergency.emergency).get((checklist, item))
            if (before is not None) is not done:
                fields: dict[str, Json] = {
                    "emergency": emergency.emergency,
                    "checklist": checklist,
                    "checklist_version": listed.version,
                    "item": item,
                    "done": done,
                }
                await self._store.commit(Draft("emergency_step/1", fields, by=by, encounter=emergency.encounter))
                self._tell(emergency.emergency, True)
            return self.steps(emergency.emergency)[-1]

    async def end(self, outcome: str, by: str) -> EmergencyView:
        """End it with a summary. A call that nobody answered is cancelled; a doctor who is there still signs.

        :raises OutcomeMissing: not one of ``OUTCOMES``
        :raises EmergencyUnknown: none is under way
        """
        if outcome not in OUTCOMES:
            raise OutcomeMissing("say how it ended: " + ", ".join(OUTCOMES))
        async with self._changing:
            emergency = self._under_way()
            fields: dict[str, Json] = {
                "emergency": emergency.emergency,
                "outcome": outcome,
                "summary": self._summary(emergency),
            }
            await self._store.commit(Draft("emergency_ended/1", fields, by=by, encounter=emergency.encounter))
            await self._release_doctor(emergency, outcome, by)
            await self._encounters.close_emergency(emergency.encounter, by)
            self._tell(emergency.emergency, False)
            return self.get(emergency.emergency)

    # how

    def _under_way(self) -> EmergencyView:
        emergency = self.current()
        if emergency is None:
            raise EmergencyUnknown("no emergency is under way: look again")
        return emergency

    async def _release_doctor(self, emergency: EmergencyView, outcome: str, by: str) -> None:
        state = State(self._consultations.get(emergency.consultation).state)
        nobody_came = state in (State.REQUESTED, State.INVITED, State.DECLINED)
        if Event.CANCELLED in TABLE[state] and (nobody_came or outcome == "false_alarm"):
            await self._consultations.change(emergency.consultation, Event.CANCELLED, by, outcome)

    def _words(self, place: Place) -> dict[str, str]:
        """The five fields of a request, filled in by what is known: nobody types in an emergency."""
        t = texts(self._language)
        known = t("touch.list_comma").join(f"{t(f'touch.emergency.{one.kind}')} {one.text}" for one in self.vitals())
        return {
            "chief_complaint": t("touch.emergency.said_complaint"),
            "history": t("touch.emergency.said_unknown"),
            "findings": known or t("touch.emergency.said_no_numbers"),
            "preliminary": t("touch.emergency.said_unknown"),
            "question": t("touch.emergency.said_question", place=_place_words(place)),
        }

    def _beside(self, consultation: str, language: str | None = None) -> dict[str, Any]:
        """What the specialist is told besides the case: since when, where the van is now, what was done."""
        emergency = self.current()
        if emergency is None or emergency.consultation != consultation:
            return {}
        place, done, lang = self._place(), self.done(emergency.emergency), language or self._language
        told: dict[str, Any] = {
            "started_at": format_time(emergency.started_at),
            "place": place.name,
            "steps": [
                {"checklist": one.title(lang), "step": item.text(lang), "at": format_time(step.at)}
                for one in self.checklists.values()
                for item in one.items
                if (step := done.get((one.id, item.id))) is not None
            ],
        }
        finished = ("blood_pressure", "glucose", "temperature")  # what is live has its own channel
        told["vitals"] = {one.kind: one.text for one in self.vitals() if one.kind in finished}
        if place.fix is not None:  # four decimals are 11 m: the case is told anew when the van has moved
            told["latitude_deg"] = round(place.fix.latitude_deg, 4)
            told["longitude_deg"] = round(place.fix.longitude_deg, 4)
        return {EMERGENCY: told}

    def _summary(self, emergency: EmergencyView) -> dict[str, Json]:
        """Whole seconds and counts: how long it took, when the doctor came, how many steps of which list."""
        accepted = [
            step.at for step in self._consultations.steps(emergency.consultation) if step.state == State.ACCEPTED
        ]
        lists: dict[str, Json] = {}
        for checklist, _ in self.done(emergency.emergency):
            lists[checklist] = int(str(lists.get(checklist, 0))) + 1
        told: dict[str, Json] = {
            "duration_s": int((self._clock.now() - emergency.started_at).total_seconds()),
            "steps": lists,
            "vitals": {one.kind: one.text for one in self.vitals()},
        }
        if accepted:
            told["accepted_after_s"] = int((accepted[0] - emergency.started_at).total_seconds())
        return told

    def _on_number(self, stamped: Stamped) -> None:
        for kind, text in _numbers(stamped.event):
            self._numbers[kind] = (text, stamped.received_mono_s)

    def _tell(self, emergency: str, active: bool) -> None:
        self._live.send({"type": "emergency", "emergency": emergency, "active": active})


def _numbers(event: object) -> list[tuple[str, str]]:
    """(kind, as shown) of what a device said; nothing for a finger that is out."""
    found: list[tuple[str, float | None, str]] = []
    if isinstance(event, PulseOximetry):
        found = [("spo2", event.spo2_percent, "{:.0f} %"), ("pulse", event.pulse_bpm, "{:.0f}")]
    elif isinstance(event, HeartRate):
        found = [("heart_rate", event.heart_rate_bpm, "{:.0f}")]
    elif isinstance(event, Temperature):
        found = [("temperature", event.temperature_c, "{:.1f} ℃")]
    elif isinstance(event, Glucose):
        found = [("glucose", event.glucose_mmol_l, "{:.1f} mmol/L")]
    elif isinstance(event, BloodPressure) and None not in (event.systolic_mmhg, event.diastolic_mmhg):
        return [("blood_pressure", f"{event.systolic_mmhg:.0f}/{event.diastolic_mmhg:.0f} mmHg")]
    return [(kind, form.format(number)) for kind, number, form in found if number is not None]


def _place_words(place: Place) -> str:
    if place.fix is None:
        return place.name or "?"
    where = f"{place.fix.latitude_deg:.5f}, {place.fix.longitude_deg:.5f} (WGS-84)"
    return f"{place.name} {where}".strip()


def _view(row: Mapping[str, Any]) -> EmergencyView:
    return EmergencyView(
        emergency=row["emergency"],
        patient=row["patient"],
        encounter=row["encounter"] or "",
        consultation=row["consultation"] or "",
        started_at=parse_time(row["started_at"]),
        started_by=row["started_by"] or "",
        place=row["place"] or "",
        lat_e7=row["lat_e7"],
        lon_e7=row["lon_e7"],
        ended_at=parse_time(row["ended_at"]) if row["ended_at"] else None,
        outcome=row["outcome"] or "",
        summary=json.loads(row["summary_json"]) if row["summary_json"] else {},
    )
