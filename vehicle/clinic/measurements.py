"""Readings on their way from a device to a person.

A reading is durable before it is shown. It belongs to nobody until somebody taps "it is this person's"; what arrives
while nobody is served is held until it is assigned or rejected. Grades come from the screening rules, never from here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from devices.clock import CHINA_TIME, Clock
from devices.errors import AskPerson
from devices.readings import (
    DeviceClock,
    DeviceState,
    HeartRate,
    Link,
    PulseOximetry,
    Stamped,
    Temperature,
)
from sync.formats.canonical import Json
from sync.formats.records import Draft, format_time
from vehicle.clinic.critical_record import Critical, found_draft
from vehicle.clinic.encounters import Encounters, EncounterView
from vehicle.clinic.instruments import Instrument
from vehicle.clinic.ports import Ids, Journal, Listenable, Live, Soon, Visits
from vehicle.clinic.prompts import NoEncounter, Prompts
from vehicle.clinic.settling import STREAMS, Settling
from vehicle.clinic.tiles import Held, Tile, Tiles, measured_at
from vehicle.clinic.units import (
    MEALS,
    QUANTITIES,
    REQUIRED,
    Measured,
    codes,
    stored_numbers,
    stored_values,
)
from vehicle.clinic.views import plain

SENT_TWICE_S = 3.0
MEASURED_BEFORE = timedelta(minutes=2)
"""A result older than the encounter by more than this was not measured in it."""


class ReadingUnknown(AskPerson):
    """No such reading, or it was rejected: the page is old, look again."""

    code = "reading_unknown"


class ReadingTaken(AskPerson):
    """The reading was confirmed for another person."""

    code = "reading_taken"


class Implausible(AskPerson):
    """A typed number cannot be right; ``facts["field"]`` says which, ``low`` and ``high`` what is possible."""

    code = "value_implausible"


class NothingLive(AskPerson):
    """No finger is in the oximeter, no strap on the chest: there is no live number."""

    code = "nothing_live"


class Measurements:
    def __init__(
        self,
        store: Journal,
        ids: Ids,
        clock: Clock,
        live: Live,
        commits: Soon,
        encounters: Encounters,
        prompts: Prompts,
        visits: Visits,
        instruments: Sequence[Instrument],
        hardware_of: Callable[[str], str | None] = lambda device: None,
        expired_lot: Callable[[str], str | None] = lambda device: None,
    ) -> None:
        """
        :param hardware_of: what tells one device from another of the same name: Bluetooth address, USB serial
        :param expired_lot: the lot of strips that a device uses, once it is past its date
        """
        self._store = store
        self._ids = ids
        self._clock = clock
        self._live = live
        self._commits = commits
        self._encounters = encounters
        self._prompts = prompts
        self._visits = visits
        self._settling = {type_: Settling(stream) for type_, stream in STREAMS.items()}
        self._tiles = Tiles(store, clock, encounters, prompts, instruments, self._settling)
        self._hardware_of = hardware_of
        self._expired_lot = expired_lot
        self._clocks: dict[str, int] = {}
        """By device name and hardware, how many seconds its clock is ahead, when that was read last."""
        self._streamed: dict[str, Stamped] = {}
        """By type, the last event of the device whose numbers are live."""
        self._changing = asyncio.Lock()
        """Two taps on one value are one confirmation."""
        self._on_the_way: set[tuple[str, str]] = set()
        """(device, mark) of readings that are not durable yet."""
        encounters.unanswered = self._unanswered
        encounters.listeners.append(self._on_encounter)

    def listen(self, feed: Listenable) -> None:
        """From now on every reading of the feed is committed, and device states are known to the tiles."""
        for topic in ("blood_pressure", "glucose", "uric_acid", "pulse_oximetry", "temperature", "weight"):
            feed.on(topic, self.on_reading, "measurements")
        for topic in ("pulse_oximetry", "heart_rate", "temperature"):
            feed.on(topic, self.on_live, "measurements")
        feed.on("device_clock", self._on_clock, "measurements")
        feed.on("device", self._on_device, "measurements")

    # from the feed

    def on_reading(self, stamped: Stamped) -> None:
        """Commit one reading of a cuff, a meter, a scale or a thermometer; a repeat from its memory is left out."""
        reading = stamped.event
        if not isinstance(reading, Measured) or is_live(reading):
            return
        mark = _mark(reading)
        if not stored_values(reading) or self._have(stamped.device, mark, reading):
            return
        self._take(stamped, reading, mark)

    def on_live(self, stamped: Stamped) -> None:
        """Follow the live numbers; commit the value once it stands still. Of two devices the first one is followed."""
        reading = stamped.event
        if not isinstance(reading, PulseOximetry | HeartRate | Temperature) or not is_live(reading):
            return
        settling = self._settling[reading.kind]
        followed = self._tiles.live_devices.get(reading.kind)
        if followed not in (None, stamped.device) and settling.live(stamped.received_mono_s) is not None:
            return
        self._streamed[reading.kind] = stamped
        self._tiles.live_devices[reading.kind] = stamped.device
        settled = settling.feed(stamped.received_mono_s, reading)
        if settled is not None:
            self._take(replace(stamped, event=settled), settled, None)
        else:
            there = settling.live(stamped.received_mono_s) is not None
            self._tell("live" if there else "withdrawn", reading.kind, None)

    def _on_device(self, stamped: Stamped) -> None:
        state = stamped.event
        if not isinstance(state, DeviceState):
            return
        if state.link in (Link.LOST, Link.ABSENT):
            for type_, device in self._tiles.live_devices.items():
                if device == stamped.device:
                    self._settling[type_].finger_left()
        for type_ in self._tiles.device_changed(stamped.device, state):
            self._tell("device", type_, None)

    def _on_clock(self, stamped: Stamped) -> None:
        if not isinstance(stamped.event, DeviceClock):
            return
        shown = datetime.fromisoformat(stamped.event.device_said_at)
        right = stamped.received_at.astimezone(CHINA_TIME).replace(tzinfo=None)
        self._clocks[self._key(stamped.device)] = round((shown - right).total_seconds())

    def clock_offset_s(self, device: str) -> int | None:
        """How far the device's clock was ahead when it was last connected; None: it was not read since the start."""
        return self._clocks.get(self._key(device))

    def _key(self, device: str) -> str:
        return f"{device} {self._hardware_of(device) or ''}"

    def _on_encounter(self, served: EncounterView | None) -> None:
        for settling in self._settling.values():
            settling.another_person()

    # what is

    def tiles(self, language: str | None = None) -> list[Tile]:
        """One tile per type, of the person being served; without one, only what is live and what devices do."""
        return self._tiles.all(language)

    def holding(self) -> list[Held]:
        """Readings of the last day that nobody took: arrived while nobody was served, or overtaken by a newer one."""
        return self._tiles.holding()

    def critical(self, language: str | None = None) -> list[Critical]:
        """Red values of the person being served that are not dealt with; the page may not be left before."""
        return self._tiles.critical(language)

    def last_sequence(self, device: str) -> int | None:
        """The highest record number of this device's memory that is in the journal: it is asked for newer ones only.

        Of this very device: another one under the same name is asked for everything.
        """
        where, said = self._this_device(device)
        found = self._store.read(f"SELECT max(sequence) AS last FROM readings WHERE {where}", said)[0]["last"]
        return None if found is None else int(found)

    # what is done

    async def confirm(self, reading: str, by: str) -> Tile:
        """It is the served person's: evaluates the rules, everything in one commit. Twice is once.

        :raises NoEncounter: nobody is being served
        :raises ReadingUnknown, ReadingTaken: with nothing written
        """
        async with self._changing:
            served = self._served()
            row = self.row(reading)
            if row["confirmed_at"]:
                if row["encounter"] != served.encounter:
                    raise ReadingTaken("this value was confirmed for another person: measure again", reading=reading)
                return self._tiles.of(row["type"])
            patient = served.patient.patient
            known = self._prompts.inputs_with(served.encounter, row["type"], json.loads(row["values_json"]))
            await self._store.commit(
                Draft(
                    "reading_confirmed/1", {"reading": reading, "patient": patient}, by, served.visit, served.encounter
                ),
                *self._prompts.results_to_record(served.encounter, patient, served.visit, known, by),
                *self._found_red(served, row["type"], json.loads(row["values_json"]), reading, by),
            )
            return self._changed("confirmed", row["type"], reading, served.encounter)

    async def assign(self, reading: str, by: str) -> Tile:
        """Take a held reading for the person being served; the same as ``confirm``."""
        return await self.confirm(reading, by)

    async def reject(self, reading: str, reason: str, by: str) -> Tile:
        """Not usable or somebody else's: kept in the journal, no longer shown. Also for one confirmed by mistake.

        :param reason: a word: repeat, wrong_person, artefact, device, test
        :raises ReadingUnknown: no such reading, or rejected before
        """
        async with self._changing:
            row = self.row(reading)
            served = self._encounters.current()
            await self._store.commit(
                Draft("reading_rejected/1", {"reading": reading, "reason": reason}, by, row["visit"], row["encounter"])
            )
            if served is not None and row["confirmed_at"] and row["encounter"] == served.encounter:
                await self._reconsider(served, by)
            return self._changed("rejected", row["type"], reading, served.encounter if served else None)

    async def put_aside(self, reason: str, by: str) -> int:
        """Reject everything that is held, in one commit: the old memory of a meter connected for the first time.

        Returns how many readings it was.
        """
        held = self._tiles.holding()
        await self._store.commit(
            *(Draft("reading_rejected/1", {"reading": row.reading, "reason": reason}, by) for row in held)
        )
        for type_ in {row.type for row in held}:
            self._tell("rejected", type_, None)
        return len(held)

    async def by_hand(self, type_: str, values: Mapping[str, object], by: str) -> Tile:
        """A value typed for the person being served: confirmed by the typing, marked by hand for ever. Twice is once.

        :param values: numbers by the names of ``vehicle.clinic.units``; glucose may have ``meal``
        :raises Implausible: a number is missing, outside what is possible, or diastolic is not below systolic
        :raises NoEncounter: nobody is being served
        """
        async with self._changing:
            served, stored = self._served(), self._typed(type_, values)
            if self._typed_just_now(served.encounter, type_, stored):
                return self._tiles.of(type_)
            return await self._write_typed(served, type_, stored, by)

    async def _write_typed(self, served: EncounterView, type_: str, stored: dict[str, Json], by: str) -> Tile:
        reading, patient = self._ids.new("reading"), served.patient.patient
        fields: dict[str, Json] = {
            "reading": reading,
            "patient": patient,
            "device": "hand",
            "driver": "hand",
            "type": type_,
            "values": stored,
            "codes": codes(type_, stored),
            "by_hand": True,
        }
        known = self._prompts.inputs_with(served.encounter, type_, stored)
        await self._store.commit(
            Draft("reading/1", fields, by, served.visit, served.encounter),
            Draft("reading_confirmed/1", {"reading": reading, "patient": patient}, by, served.visit, served.encounter),
            *self._prompts.results_to_record(served.encounter, patient, served.visit, known, by),
            *self._found_red(served, type_, stored, reading, by),
        )
        return self._changed("confirmed", type_, reading, served.encounter)

    async def keep(self, type_: str, by: str) -> Tile:
        """Take the live number of this type now, without waiting for ten quiet seconds.

        :raises NothingLive: no finger is in the oximeter, no strap on the chest
        """
        settling, streamed = self._settling.get(type_), self._streamed.get(type_)
        live = settling.live(self._clock.monotonic_s()) if settling is not None else None
        kept = settling.take() if settling is not None and live is not None else None
        if kept is None or streamed is None:
            raise NothingLive("put the sensor on and wait for a number")
        draft, reading = self._draft(replace(streamed, event=kept, received_at=self._clock.now()), kept, None, by)
        await self._store.commit(draft)
        return self._changed("arrived", kept.kind, reading, None)

    def acknowledged(self, reading: str) -> list[Critical]:
        """Tell the screens that something was done about a red value; returns what is still open."""
        self._tell("acknowledged", self.row(reading)["type"], reading)
        return self._tiles.critical()

    # taking

    def _take(self, stamped: Stamped, reading: Measured, mark: str | None) -> None:
        draft, name = self._draft(stamped, reading, getattr(reading, "sequence", None), None)
        key = (stamped.device, mark) if mark is not None else None
        if key is not None:
            self._on_the_way.add(key)

        def durable() -> None:
            if key is not None:
                self._on_the_way.discard(key)
            self._tell("arrived", reading.kind, name)

        self._commits.soon(draft, then=durable)

    def _draft(self, stamped: Stamped, reading: Measured, sequence: int | None, by: str | None) -> tuple[Draft, str]:
        served, visit = self._encounters.current(), self._visits.current()
        name = self._ids.new("reading")
        fields: dict[str, Json] = {
            "reading": name,
            "device": stamped.device,
            "driver": stamped.driver,
            "type": reading.kind,
            "values": stored_values(reading),
            "codes": codes(reading.kind, stored_values(reading)),
            "by_hand": False,
        }
        if getattr(reading, "from_memory", False):
            served = None
        if (shown := getattr(reading, "device_said_at", None)) is not None:
            fields["device_said_at"] = shown
            offset_s = self._clocks.get(self._key(stamped.device))
            if offset_s is not None:
                fields["clock_offset_s"] = offset_s
                if served is not None and measured_at(shown, offset_s) < served.opened_at - MEASURED_BEFORE:
                    served = None  # from the device's memory: somebody else's, until somebody says whose
        if (serial := self._hardware_of(stamped.device)) is not None:
            fields["serial"] = serial
        if sequence is not None:
            fields["sequence"] = sequence
        if (lot := self._expired_lot(stamped.device)) is not None:
            fields["expired_lot"] = lot
        encounter = served.encounter if served else None
        return Draft("reading/1", fields, by, visit.visit if visit else None, encounter, stamped.received_at), name

    def _have(self, device: str, mark: str | None, reading: Measured) -> bool:
        """Whether the device has told this reading before: same record number and device time, or, where it lacks one
        of them, same values. The number alone is not enough: a meter that was cleared counts anew.
        """
        if mark is None:
            return False
        if (device, mark) in self._on_the_way:
            return True
        sequence = getattr(reading, "sequence", None)
        where, said = self._this_device(device)
        rows = self._store.read(
            f"SELECT values_json FROM readings WHERE {where} AND sequence IS ? AND device_said_at IS ?",
            (*said, sequence, shown := getattr(reading, "device_said_at", None)),
        )
        if sequence is not None and shown is not None:
            return bool(rows)
        return any(json.loads(row["values_json"]) == stored_values(reading) for row in rows)

    def _this_device(self, device: str) -> tuple[str, tuple[str, ...]]:
        """A condition on readings: by its hardware, under whatever name; by its name where no hardware was noted."""
        serial = self._hardware_of(device)
        if serial is None:
            return "device = ?", (device,)
        return "(serial = ? OR (serial IS NULL AND device = ?))", (serial, device)

    def _typed(self, type_: str, values: Mapping[str, object]) -> dict[str, Json]:
        numbers: dict[str, float | int | None] = {}
        for quantity in QUANTITIES.get(type_, ()):
            given = values.get(quantity.name)
            if given is None and quantity.name not in REQUIRED[type_]:
                continue
            low, high = self._prompts.possible(quantity)
            number = given if isinstance(given, int | float) and not isinstance(given, bool) else None
            if number is None or not low <= number <= high:
                raise Implausible(
                    f"{quantity.name}: type a number from {low:g} to {high:g}", field=quantity.name, low=low, high=high
                )
            numbers[quantity.name] = number
        if not numbers:
            raise Implausible(f"{type_!r} cannot be typed in", field=type_)
        systolic, diastolic = numbers.get("systolic_mmhg"), numbers.get("diastolic_mmhg")
        if systolic is not None and diastolic is not None and diastolic >= systolic:
            raise Implausible(
                "diastolic pressure must be below systolic: compare with the display", field="diastolic_mmhg"
            )
        stored = stored_numbers(type_, numbers)
        meal = values.get("meal")
        if type_ == "glucose" and meal in MEALS:
            stored["meal"] = str(meal)
        return stored

    # reading the tables

    def _typed_just_now(self, encounter: str, type_: str, stored: Mapping[str, Json]) -> bool:
        """Whether the form was sent twice: nobody measures the same again within ``SENT_TWICE_S``."""
        now = self._clock.now()
        rows = self._store.read(
            "SELECT values_json FROM readings WHERE encounter = ? AND type = ? AND by_hand = 1 "
            "AND taken_at BETWEEN ? AND ? AND rejected_at IS NULL",
            (encounter, type_, format_time(now - timedelta(seconds=SENT_TWICE_S)), format_time(now)),
        )
        return any(json.loads(row["values_json"]) == stored for row in rows)

    def _served(self) -> EncounterView:
        served = self._encounters.current()
        if served is None:
            raise NoEncounter("nobody is being served: swipe a card or choose a person first")
        return served

    def row(self, reading: str) -> dict[str, Any]:
        """A reading as the tables have it.

        :raises ReadingUnknown: there is none, or it was rejected
        """
        rows = self._store.read("SELECT * FROM readings WHERE reading = ? AND rejected_at IS NULL", (reading,))
        if not rows:
            raise ReadingUnknown("this value is not there any more: look again", reading=reading)
        return rows[0]

    def _found_red(
        self, served: EncounterView, type_: str, stored: Mapping[str, object], reading: str, by: str
    ) -> list[Draft]:
        """The entry of a value that is red as it is confirmed; none for others."""
        if self._prompts.grade(served.encounter, type_, stored).grade != "red":
            return []
        return [found_draft(reading, served.patient.patient, by, served.visit, served.encounter)]

    def _unanswered(self) -> list[str]:
        return [red.reading for red in self._tiles.critical()]

    # showing

    async def _reconsider(self, served: EncounterView, by: str) -> None:
        known = self._prompts.inputs(served.encounter)
        drafts = self._prompts.results_to_record(served.encounter, served.patient.patient, served.visit, known, by)
        await self._store.commit(*drafts)

    def _changed(self, state: str, type_: str, reading: str, encounter: str | None) -> Tile:
        tile = self._tell(state, type_, reading)
        if encounter is not None and state != "arrived":
            self._prompts.announce(encounter)
        return tile

    def _tell(self, state: str, type_: str, reading: str | None) -> Tile:
        tile = self._tiles.of(type_)
        message = {"type": "reading", "live": state == "live", "state": state, "kind": type_, "reading": reading}
        self._live.send({**message, "tile": plain(tile)})
        if state == "confirmed" and tile.grade == "red":
            self._live.send({"type": "critical", "kind": type_, "reading": reading, "values": tile.values})
        return tile


def is_live(reading: Measured) -> bool:
    """Whether it is one number of a stream, not a measurement that the device holds to be finished."""
    return isinstance(reading, HeartRate) or (isinstance(reading, PulseOximetry | Temperature) and not reading.final)


def _mark(reading: Measured) -> str | None:
    """By what a device's repeat of a stored reading is known; None when the device gives nothing to know it by."""
    sequence, shown = getattr(reading, "sequence", None), getattr(reading, "device_said_at", None)
    if sequence is None and shown is None:
        return None
    if sequence is not None and shown is not None:
        return f"#{sequence} @{shown}"
    return f"#{sequence} @{shown} {stored_values(reading)}"
