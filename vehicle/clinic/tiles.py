"""What the Measure page shows: one tile per type, readings that nobody took, red values that wait for an answer.

Rebuilt from the journal's tables on every look, so a restart changes nothing; only what is live is kept in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from devices.clock import CHINA_TIME, Clock
from devices.readings import DeviceState, Link
from sync.formats.critical_actions import CLOSING
from sync.formats.records import format_time, parse_time
from sync.web.catalog import texts
from vehicle.clinic.critical_record import Critical, done_about, findings_of
from vehicle.clinic.encounters import Encounters, EncounterView
from vehicle.clinic.instruments import Instrument
from vehicle.clinic.ports import Journal, marks
from vehicle.clinic.prompts import ANSWERS, Grade, Missing, Prompts
from vehicle.clinic.settling import Settling
from vehicle.clinic.units import ALWAYS_SHOWN, TYPES, UNITS, implausible, shown_values, stored_values

HELD_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Previous:
    values: dict[str, object]
    at: datetime


@dataclass(frozen=True, slots=True)
class Tile:
    """One measurement as the Measure page shows it."""

    type: str
    state: str
    """waiting, live, arrived, confirmed, missing (its device is lost or faulty) or absent (there is no such device)."""
    values: dict[str, object]
    """By the names of ``vehicle.clinic.units``; empty when there is nothing to show."""
    unit: str
    grade: str
    """green, yellow, orange, red or none."""
    grade_word: str
    result: str
    advice: str
    missing: tuple[Missing, ...]
    """What the rules still need for a grade."""
    device: str
    at: datetime | None
    reading: str | None
    by_hand: bool
    previous: Previous | None
    """The last confirmed value of this person before this encounter."""
    stable_s: int | None = None
    """Live: for how many of ten seconds the number has stood still; None where it is kept by a tap only."""
    implausible: tuple[str, ...] = ()
    """Names of the values that hardly can be right."""
    expired_lot: str = ""
    """Measured with strips of this lot, which was past its date."""


@dataclass(frozen=True, slots=True)
class Held:
    """A reading that nobody has taken yet."""

    reading: str
    type: str
    values: dict[str, object]
    unit: str
    device: str
    at: datetime
    device_said_at: str
    clock_offset_s: int | None
    """How far the device's clock was ahead; None: not known."""
    measured_at: datetime | None
    """What the device said, put right by its clock's error; None where one of them is not known."""
    implausible: tuple[str, ...] = ()


class Tiles:
    """
    :param settling: by type, the live numbers
    """

    def __init__(
        self,
        store: Journal,
        clock: Clock,
        encounters: Encounters,
        prompts: Prompts,
        instruments: Sequence[Instrument],
        settling: Mapping[str, Settling],
    ) -> None:
        self._store = store
        self._clock = clock
        self._encounters = encounters
        self._prompts = prompts
        self._instruments = instruments
        self._settling = settling
        self._states: dict[str, DeviceState] = {}
        self.live_devices: dict[str, str] = {}
        """By type, the device whose numbers are live."""

    def device_changed(self, device: str, state: DeviceState) -> tuple[str, ...]:
        """Note what a device is doing; returns the types whose tiles may look different now."""
        before = self._states.get(device)
        self._states[device] = state
        if before is not None and (before.link, before.fault) == (state.link, state.fault):
            return ()
        return tuple(type_ for row in self._instruments if row.device == device for type_ in row.types)

    def all(self, language: str | None = None) -> list[Tile]:
        """One tile per type, of the person being served; without one, only what is live and what devices do.

        A type that not every van can measure is there with an instrument for it, or a value.
        """
        return [
            tile
            for tile in self._tiles(TYPES, language)
            if tile.type in ALWAYS_SHOWN or tile.state != "absent" or tile.previous is not None
        ]

    def of(self, type_: str) -> Tile:
        """The tile of one type."""
        return self._tiles((type_,), None)[0]

    def _tiles(self, types: Sequence[str], language: str | None) -> list[Tile]:
        served = self._encounters.current()
        rows: dict[str, dict[str, Any]] = {}
        before: dict[str, Previous] = {}
        if served is not None:
            rows = {row["type"]: row for row in self._rows(served.encounter)}
            before = self._previous(served)
        return [self._tile(type_, served, rows.get(type_), before.get(type_), language) for type_ in types]

    def holding(self) -> list[Held]:
        """Readings of the last day that nobody took: arrived while nobody was served, or overtaken by a newer one.

        Only what has a tile; a laboratory's reports have their own list.
        """
        served = self._encounters.current()
        on_tiles = {row["type"]: row["reading"] for row in self._rows(served.encounter)} if served else {}
        rows = self._store.read(
            "SELECT * FROM readings WHERE confirmed_at IS NULL AND rejected_at IS NULL AND taken_at >= ? "
            "ORDER BY taken_at, reading",
            (format_time(self._clock.now() - HELD_FOR),),
        )
        return [_held(row) for row in rows if row["type"] in TYPES and row["reading"] not in on_tiles.values()]

    def critical(self, language: str | None = None) -> list[Critical]:
        """Red values of the person being served that are not dealt with; the page may not be left before.

        Readings first, then what was found on an ECG or ultrasound.
        """
        served = self._encounters.current()
        if served is None:
            return []
        found = findings_of(self._store, served.encounter, language)
        return [*self._red_readings(served, language), *(one for one in found if not one.closed)]

    def _red_readings(self, served: EncounterView, language: str | None) -> list[Critical]:
        rows = [row for row in self._rows(served.encounter) if row["confirmed_at"]]
        found = []
        graded = [(row, self._grade(served.encounter, row, language)) for row in rows]
        for place, (row, grade) in enumerate(graded):
            if grade.grade != "red":
                continue
            done = done_about(self._store, row["reading"])
            later = any(after["type"] == row["type"] for after, _ in graded[place + 1 :])
            measured_again = "repeated" in done and later  # the newer value speaks for itself, red or not
            if not CLOSING & set(done) and not measured_again:
                found.append(
                    Critical(
                        reading=row["reading"],
                        type=row["type"],
                        values=shown_values(json.loads(row["values_json"])),
                        result=grade.text,
                        advice=grade.advice,
                        at=parse_time(row["taken_at"]),
                        done=done,
                        patient=served.patient.patient,
                        encounter=served.encounter,
                    )
                )
        return found

    def _rows(self, encounter: str) -> list[dict[str, Any]]:
        return self._store.read(
            "SELECT * FROM readings WHERE encounter = ? AND rejected_at IS NULL AND type != ? "
            "ORDER BY taken_at, reading",
            (encounter, ANSWERS),
        )

    def _previous(self, served: EncounterView) -> dict[str, Previous]:
        who = (served.patient.patient, *served.patient.linked)
        found: dict[str, Previous] = {}
        for row in self._store.read(
            f"SELECT type, values_json, taken_at FROM readings WHERE patient IN ({marks(who)}) "
            "AND confirmed_at IS NOT NULL AND rejected_at IS NULL AND encounter != ? AND type != ? "
            "ORDER BY taken_at DESC LIMIT 50",
            (*who, served.encounter, ANSWERS),
        ):
            found.setdefault(
                row["type"], Previous(shown_values(json.loads(row["values_json"])), parse_time(row["taken_at"]))
            )
        return found

    def _grade(self, encounter: str | None, row: Mapping[str, Any], language: str | None) -> Grade:
        return self._prompts.grade(encounter, row["type"], json.loads(row["values_json"]), language)

    def _tile(
        self,
        type_: str,
        served: EncounterView | None,
        row: Mapping[str, Any] | None,
        previous: Previous | None,
        language: str | None,
    ) -> Tile:
        settling, now_s = self._settling.get(type_), self._clock.monotonic_s()
        live = settling.live(now_s) if settling is not None else None
        encounter = served.encounter if served else None
        if row is not None and (settling is None or live is None or settling.kept):
            grade = self._grade(encounter, row, language)
            stored = json.loads(row["values_json"])
            state = "confirmed" if row["confirmed_at"] else "arrived"
            tile = _tile(type_, state, shown_values(stored), grade, row, previous)
            return replace(tile, implausible=implausible(type_, stored), expired_lot=row["expired_lot"] or "")
        if settling is not None and live is not None:
            stored = stored_values(live)
            grade = self._prompts.grade(encounter, type_, stored, language)
            stable_s = int(settling.stable_s(now_s)) if settling.by_itself else None
            tile = _tile(type_, "live", shown_values(stored), grade, None, previous)
            return replace(tile, device=self.live_devices.get(type_, ""), stable_s=stable_s)
        t = texts(language or "zh")
        state, device = self._device_state(type_)
        none = Grade(None, "none", t("clinic.grade.none"), "", "", "")
        return replace(_tile(type_, state, {}, none, None, previous), device=device)

    def _device_state(self, type_: str) -> tuple[str, str]:
        """(waiting, missing or absent; the device) of a type that shows no value."""
        having = [instrument for instrument in self._instruments if type_ in instrument.types]
        if not having:
            return "absent", ""
        for instrument in having:
            state = self._states.get(instrument.device)
            away = state is not None and (
                state.fault is not None or (state.link in (Link.LOST, Link.ABSENT) and not instrument.speaks_when_used)
            )
            if not away:
                return "waiting", instrument.device
        return "missing", having[0].device


def measured_at(shown: str, offset_s: int) -> datetime:
    """When a device's clock that is ``offset_s`` ahead showed ``shown``, by the right time."""
    return datetime.fromisoformat(shown).replace(tzinfo=CHINA_TIME) - timedelta(seconds=offset_s)


def _held(row: Mapping[str, Any]) -> Held:
    shown, offset_s = row["device_said_at"], row["clock_offset_s"]
    return Held(
        reading=row["reading"],
        type=row["type"],
        values=shown_values(json.loads(row["values_json"])),
        unit=UNITS.get(row["type"], ""),
        device=row["device"],
        at=parse_time(row["taken_at"]),
        device_said_at=row["device_said_at"] or "",
        clock_offset_s=row["clock_offset_s"],
        measured_at=None if shown is None or offset_s is None else measured_at(shown, offset_s),
        implausible=implausible(row["type"], json.loads(row["values_json"])),
    )


def _tile(
    type_: str,
    state: str,
    values: dict[str, object],
    grade: Grade,
    row: Mapping[str, Any] | None,
    previous: Previous | None,
) -> Tile:
    return Tile(
        type=type_,
        state=state,
        values=values,
        unit=UNITS.get(type_, ""),
        grade=grade.grade,
        grade_word=grade.word,
        result=grade.text,
        advice=grade.advice,
        missing=grade.missing,
        device=row["device"] if row else "",
        at=parse_time(row["taken_at"]) if row else None,
        reading=row["reading"] if row else None,
        by_hand=bool(row["by_hand"]) if row else False,
        previous=previous,
    )
