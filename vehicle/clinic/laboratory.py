"""Results of analysers on their way to a person.

A result is durable before the analyser is told that it arrived. Whose it is says the number of a specimen that was
taken here (``vehicle.clinic.specimens``); a result that no specimen claims, or more than one person's, is held with the
other readings that nobody took, until the doctor assigns or discards it. It is never guessed, and the name typed at the
analyser is shown, not believed. Measurements of control material belong to nobody and are kept as device events.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from devices.clock import Clock
from devices.readings import LaboratoryResult, Stamped
from sync.formats.canonical import Json
from sync.formats.critical_actions import CLOSING, ENDING, WITHDRAWN
from sync.formats.records import Draft, format_time, parse_time
from vehicle.clinic.critical_record import done_about, found_draft
from vehicle.clinic.laboratory_report import (
    TYPE,
    Group,
    decimal_text,
    groups,
    holds,
    material_of,
    replaced,
    replaces,
    rule_inputs,
    side,
    stored_values,
    summary,
)
from vehicle.clinic.ports import Ids, Journal, Listenable, Live, Soon, Visits
from vehicle.clinic.prompts import Grade, Prompts
from vehicle.clinic.specimens import Specimens
from vehicle.clinic.tiles import measured_at

BEFORE_TAKEN = timedelta(minutes=10)
"""So much earlier than the specimen a measurement may seem by a clock that is a little off."""
SAME_AGAIN = timedelta(hours=1)
"""The same values without any device time within this time are the same result sent again."""
SHOWN_FOR = timedelta(hours=48)
CORRECTED_WITHIN = timedelta(days=14)
"""So long after a result a correction of the same specimen number is of it: numbers begin anew every month."""
CORRECTED = "corrected"
"""Why a result that was replaced is shown no more."""


class Whose(NamedTuple):
    """Who a result belongs to; ``specimen`` is what said so, or None where a person did."""

    patient: str
    encounter: str
    visit: str | None
    specimen: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """One result as the Laboratory page shows it."""

    reading: str
    patient: str | None
    """Whose it is; None while nobody took it."""
    encounter: str | None
    specimen: str
    """The number as the analyser sent it; empty when it sent none."""
    analyser: str
    device: str
    at: datetime
    """When it was measured, by the van's clock, as far as that is known; else when it arrived."""
    device_said_at: str
    clock_offset_s: int | None
    """How far the analyser's clock was ahead; None: not known."""
    person_said: str
    comments: tuple[str, ...]
    groups: tuple[Group, ...]
    line: tuple[str, ...]
    """ "HGB 9.8", out of range first."""
    out_of_range: int
    grade: Grade
    done: tuple[str, ...]
    """What was noted to be done about a red one."""

    @property
    def open_red(self) -> bool:
        """Red, somebody's, and nobody has said what was done about it."""
        return self.patient is not None and self.grade.grade == "red" and not CLOSING & set(self.done)


@dataclass(frozen=True, slots=True)
class Glance:
    waiting: int
    red: int


class Laboratory:
    def __init__(
        self,
        store: Journal,
        ids: Ids,
        clock: Clock,
        live: Live,
        commits: Soon,
        specimens: Specimens,
        prompts: Prompts,
        visits: Visits,
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._live = live
        self._commits = commits
        self._specimens = specimens
        self._prompts = prompts
        self._visits = visits
        self._on_the_way: set[str] = set()
        """What is being written, so that a repeat within the same moment is known."""

    def listen(self, feed: Listenable) -> None:
        """From now on every result of an analyser is committed."""
        feed.on(TYPE, self.on_result, "laboratory")

    # from the feed

    def on_result(self, stamped: Stamped) -> None:
        """Commit a result, with its person when a specimen claims it; one that was sent again is left out."""
        result = stamped.event
        if not isinstance(result, LaboratoryResult) or not result.values:
            return
        if result.control:
            self._commits.soon(_control_draft(stamped, result))
            return
        values = stored_values(result)
        mark = json.dumps([stamped.device, result.device_said_at, values], sort_keys=True)
        if mark in self._on_the_way or self._have(stamped, result.device_said_at, values):
            return
        earlier = self._replaced_by(stamped, values)
        values = replaced(json.loads(earlier["values_json"]) if earlier else {}, values)
        offset_s = clock_offset_s(result, stamped.received_at)
        whose = _owner(earlier) or self._claimed_by(result, values, offset_s)
        drafts, reading = ([], "") if earlier is None else (self._withdrawn(earlier), str(earlier["reading"]))
        if values["results"]:
            reading, draft = self._draft(stamped, result, values, offset_s)
            drafts += [draft, *(self._confirmed(reading, values, whose, earlier) if whose is not None else [])]
        if drafts:
            self._on_the_way.add(mark)
            self._commit(reading, drafts, whose, mark)

    def _replaced_by(self, stamped: Stamped, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The newest result of the same specimen of which this one corrects, completes or withdraws something."""
        if values.get("specimen") is None:
            return None
        since = format_time(stamped.received_at - CORRECTED_WITHIN)
        rows = self._store.read(
            "SELECT * FROM readings WHERE device = ? AND type = ? AND rejected_at IS NULL AND taken_at >= ? "
            "ORDER BY taken_at DESC, reading DESC",
            (stamped.device, TYPE, since),
        )
        return next((row for row in rows if replaces(json.loads(row["values_json"]), values)), None)

    def _withdrawn(self, earlier: Mapping[str, Any]) -> list[Draft]:
        """It is shown no more, and nobody has to act on it."""
        reading, visit, encounter = earlier["reading"], earlier["visit"], earlier["encounter"]
        fields: dict[str, Json] = {"reading": reading, "reason": CORRECTED}
        drafts = [Draft("reading_rejected/1", fields, None, visit, encounter)]
        found = self._store.read("SELECT 1 FROM critical_actions WHERE reading = ? AND action = 'found'", (reading,))
        if found and not ENDING & set(done_about(self._store, reading)):
            fields = {"reading": reading, "patient": earlier["patient"], "action": WITHDRAWN, "reason": CORRECTED}
            drafts.append(Draft("critical_action/1", fields, None, visit, encounter))
        return drafts

    def _draft(
        self, stamped: Stamped, result: LaboratoryResult, values: dict[str, Json], offset_s: int | None
    ) -> tuple[str, Draft]:
        reading = self._ids.new("reading")
        fields: dict[str, Json] = {
            "reading": reading,
            "device": stamped.device,
            "driver": stamped.driver,
            "type": TYPE,
            "values": values,
            "by_hand": False,
        }
        if result.device_said_at is not None:
            fields["device_said_at"] = result.device_said_at
        if offset_s is not None:
            fields["clock_offset_s"] = offset_s
        visit = self._visits.current()
        return reading, Draft("reading/1", fields, None, visit.visit if visit else None, None, stamped.received_at)

    def _commit(self, reading: str, drafts: list[Draft], whose: Whose | None, mark: str) -> None:
        def durable() -> None:
            self._on_the_way.discard(mark)
            self._tell("arrived" if whose is None else "confirmed", reading)
            if whose is not None:
                self._prompts.announce(whose.encounter)

        self._commits.soon(*drafts, then=durable)

    def _confirmed(
        self, reading: str, values: Mapping[str, Any], whose: Whose, earlier: Mapping[str, Any] | None
    ) -> list[Draft]:
        known = self._prompts.inputs_with(whose.encounter, TYPE, values)
        if earlier is not None:
            gone = rule_inputs(json.loads(earlier["values_json"])).keys() - rule_inputs(values).keys()
            known = {name: value for name, value in known.items() if name not in gone}
        fields: dict[str, Json] = {"reading": reading, "patient": whose.patient}
        if whose.specimen is not None:
            fields["specimen"] = whose.specimen
        drafts = [
            Draft("reading_confirmed/1", fields, None, whose.visit, whose.encounter),
            *self._prompts.results_to_record(whose.encounter, whose.patient, whose.visit, known, None),
        ]
        if self._prompts.grade(whose.encounter, TYPE, values).grade == "red":
            drafts.append(found_draft(reading, whose.patient, None, whose.visit, whose.encounter))
        return drafts

    def _claimed_by(self, result: LaboratoryResult, values: Mapping[str, Any], offset_s: int | None) -> Whose | None:
        """Whose specimen this is the result of; None when that is not certain."""
        if result.specimen is None:
            return None
        named = self._specimens.named(result.specimen)
        if len({known.patient for known in named}) != 1:
            return None
        material = material_of(values)
        fitting = [known for known in named if material in (None, known.material)]
        at = _measured_at(result.device_said_at, offset_s or 0)
        fitting = [known for known in fitting if at is None or known.taken_at - BEFORE_TAKEN <= at]
        if not fitting:
            return None
        taken = fitting[0]
        return Whose(taken.patient, taken.encounter, taken.visit, taken.specimen)

    def _have(self, stamped: Stamped, said_at: str | None, values: Mapping[str, Any]) -> bool:
        """Whether all of it was sent before, be it corrected or discarded since."""
        since = format_time(stamped.received_at - SAME_AGAIN) if said_at is None else ""
        rows = self._store.read(
            "SELECT values_json FROM readings WHERE device = ? AND type = ? AND device_said_at IS ? AND taken_at >= ?",
            (stamped.device, TYPE, said_at, since),
        )
        return any(holds(json.loads(row["values_json"]), values) for row in rows)

    # what is

    def waiting(self, language: str) -> list[Report]:
        """Results that nobody took, oldest first; they stay until they are assigned or discarded."""
        rows = self._store.read(
            "SELECT * FROM readings WHERE type = ? AND confirmed_at IS NULL AND rejected_at IS NULL "
            "ORDER BY taken_at, reading",
            (TYPE,),
        )
        return [self._report(row, language) for row in rows]

    def recent(self, language: str, limit: int = 50) -> list[Report]:
        """Results of the last two days that belong to somebody, newest first."""
        rows = self._store.read(
            "SELECT * FROM readings WHERE type = ? AND confirmed_at IS NOT NULL AND rejected_at IS NULL "
            "AND taken_at >= ? ORDER BY taken_at DESC, reading DESC LIMIT ?",
            (TYPE, format_time(self._clock.now() - SHOWN_FOR), limit),
        )
        return [self._report(row, language) for row in rows]

    def at_a_glance(self) -> Glance:
        """How many results wait for a person, and how many red ones for a word on what was done."""
        return Glance(len(self.waiting("zh")), sum(report.open_red for report in self.recent("zh")))

    def report(self, reading: str, language: str) -> Report | None:
        """One result; None when there is none of this id, or it was discarded."""
        rows = self._store.read(
            "SELECT * FROM readings WHERE reading = ? AND type = ? AND rejected_at IS NULL", (reading, TYPE)
        )
        return self._report(rows[0], language) if rows else None

    def _report(self, row: Mapping[str, Any], language: str) -> Report:
        stored = json.loads(row["values_json"])
        offset_s, taken_at = row["clock_offset_s"], parse_time(row["taken_at"])
        return Report(
            reading=row["reading"],
            patient=row["patient"] if row["confirmed_at"] else None,
            encounter=row["encounter"] if row["confirmed_at"] else None,
            specimen=stored.get("specimen", ""),
            analyser=stored.get("analyser", ""),
            device=row["device"],
            at=(None if offset_s is None else _measured_at(row["device_said_at"], offset_s)) or taken_at,
            device_said_at=row["device_said_at"] or "",
            clock_offset_s=offset_s,
            person_said=stored.get("person_said", ""),
            comments=tuple(stored.get("comments", ())),
            groups=tuple(groups(stored, language)),
            line=tuple(summary(stored)),
            out_of_range=sum(bool(side(value)) for value in stored.get("results", ())),
            grade=self._prompts.grade(row["encounter"] if row["confirmed_at"] else None, TYPE, stored, language),
            done=done_about(self._store, row["reading"]),
        )

    def _tell(self, state: str, reading: str) -> None:
        self._live.send({"type": "reading", "live": False, "state": state, "kind": TYPE, "reading": reading})


def _owner(row: Mapping[str, Any] | None) -> Whose | None:
    """Whose a reading is; None: nobody's."""
    if row is None or not row["confirmed_at"]:
        return None
    return Whose(row["patient"], row["encounter"], row["visit"], row["specimen"])


def clock_offset_s(result: LaboratoryResult, received_at: datetime) -> int | None:
    """How far the analyser's clock is ahead; None when it did not say when it sent."""
    said = _measured_at(result.message_said_at, 0)
    return None if said is None else round((said - received_at).total_seconds())


def _measured_at(shown: str | None, offset_s: int) -> datetime | None:
    """None: the clock showed no time of day."""
    return None if shown is None or "T" not in shown else measured_at(shown, offset_s)


def _control_draft(stamped: Stamped, result: LaboratoryResult) -> Draft:
    """A measurement of control material, for the record of the analyser's quality."""
    found: Sequence[Json] = [
        {"code": value.code, "said": value.said, "unit": value.unit} | _number(value.number) for value in result.values
    ]
    facts: dict[str, Json] = {"specimen": result.specimen or "", "analyser": result.analyser, "results": found}
    if result.device_said_at is not None:
        facts["device_said_at"] = result.device_said_at
    fields: dict[str, Json] = {
        "device": stamped.device,
        "driver": stamped.driver,
        "event": "control_measured",
        "facts": facts,
    }
    return Draft("device_event/1", fields, at=stamped.received_at)


def _number(number: float | None) -> dict[str, Json]:
    text = decimal_text(number)
    return {} if text is None else {"number": text}
