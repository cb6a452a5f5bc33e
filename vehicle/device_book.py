"""What the record knows of each device: last value, what happened to it, calibration, quality control, strips.

Due dates and lots are entries (``device_care/1``), kept as the table ``device_cares``; the newest of each kind counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.records import Draft, parse_time
from vehicle.clinic.ports import Journal

CALIBRATION, QUALITY_CONTROL, STRIPS = "calibration", "quality_control", "strips"
KINDS = (CALIBRATION, QUALITY_CONTROL, STRIPS)
SOON = {CALIBRATION: timedelta(days=30), QUALITY_CONTROL: timedelta(days=3), STRIPS: timedelta(days=14)}
"""How long before the day it is said."""
LOG_LINES = 40


class CareRefused(AskPerson):
    code = "device_care_refused"


@dataclass(frozen=True, slots=True)
class Care:
    """One kind of care. ``due_on``: the day after which it is overdue, for strips the last day they may be used."""

    what: str
    due_on: date
    done_on: date | None
    lot: str
    title: str
    by: str | None

    def state(self, today: date) -> str:
        """ "good", "soon" or "over"."""
        if today > self.due_on:
            return "over"
        return "soon" if self.due_on - today <= SOON[self.what] else "good"


@dataclass(frozen=True, slots=True)
class LogLine:
    at: datetime
    event: str
    """ "attached", "lost" or "fault"."""
    code: str | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LastValue:
    type: str
    values: Mapping[str, Any]
    at: datetime
    said_at: str | None
    """As the device's own clock showed it."""
    clock_offset_s: int | None
    """How far that clock was ahead."""


class DeviceBook:
    def __init__(self, store: Journal) -> None:
        self._store = store

    def last_value(self, device: str) -> LastValue | None:
        """The newest reading that this device gave, whoever's it was."""
        rows = self._store.read(
            "SELECT type, values_json, taken_at, device_said_at, clock_offset_s FROM readings WHERE device = ?"
            " ORDER BY taken_at DESC LIMIT 1",
            (device,),
        )
        if not rows:
            return None
        row = rows[0]
        said, at = (row["device_said_at"], row["clock_offset_s"]), parse_time(row["taken_at"])
        return LastValue(row["type"], json.loads(row["values_json"]), at, *said)

    def clock_offset_s(self, device: str) -> int | None:
        """How far the device's clock was ahead when it last gave a reading with a time of its own; None: not known."""
        rows = self._store.read(
            "SELECT clock_offset_s FROM readings WHERE device = ? AND clock_offset_s IS NOT NULL"
            " ORDER BY taken_at DESC LIMIT 1",
            (device,),
        )
        return rows[0]["clock_offset_s"] if rows else None

    def log(self, device: str) -> list[LogLine]:
        """What happened to it, the newest first."""
        rows = self._store.read(
            "SELECT event, at, facts_json FROM device_events WHERE device = ? ORDER BY n DESC LIMIT ?",
            (device, LOG_LINES),
        )
        lines = []
        for row in rows:
            facts = json.loads(row["facts_json"])
            lines.append(LogLine(parse_time(row["at"]), row["event"], facts.get("code"), facts))
        return lines

    def cares(self, device: str) -> dict[str, Care]:
        return {care.what: care for care in self._cares("WHERE device = ?", (device,)).get(device, [])}

    def due(self, devices: Iterable[str], today: date) -> list[tuple[str, Care]]:
        """What is due soon or overdue, of ``devices``."""
        known = self._cares()
        return [(name, care) for name in devices for care in known.get(name, []) if care.state(today) != "good"]

    def expired_lot(self, device: str, today: date) -> str | None:
        """The lot of strips in use, once it has expired: marked on every reading from then on."""
        care = self.cares(device).get(STRIPS)
        return care.lot if care is not None and care.state(today) == "over" else None

    async def note(self, device: str, what: str, due_on: str, done_on: str, lot: str, title: str, by: str) -> None:
        """Calibrated, checked, or a new pack of strips opened.

        :param due_on: ISO date; ``done_on`` likewise, may be empty
        :raises CareRefused: with nothing written.
        """
        lot, title = " ".join(lot.split())[:40], " ".join(title.split())[:40]
        due, done = _day(due_on), _day(done_on) if done_on.strip() else None
        if what not in KINDS:
            raise CareRefused(f"no care {what!r}; there are {', '.join(KINDS)}")
        if due is None or (done_on.strip() and done is None):
            raise CareRefused("a day is written 2027-03-31")
        if done is not None and done > due:
            raise CareRefused("it was done after it is due: look at the two days")
        if what == STRIPS and not lot:
            raise CareRefused("write the lot number that is printed on the pack")
        fields: dict[str, Json] = {
            "device": device,
            "what": what,
            "due_on": due.isoformat(),
            "lot": lot,
            "title": title,
        }
        if done is not None:
            fields["done_on"] = done.isoformat()
        await self._store.commit(Draft("device_care/1", fields, by=by))

    def _cares(self, where: str = "", params: tuple[str, ...] = ()) -> dict[str, list[Care]]:
        found: dict[str, list[Care]] = {}
        for row in self._store.read(f"SELECT * FROM device_cares {where} ORDER BY device, what", params):
            due_on = _day(row["due_on"] or "")
            if due_on is not None and row["what"] in KINDS:
                care = Care(row["what"], due_on, _day(row["done_on"] or ""), row["lot"], row["title"], row["by"])
                found.setdefault(row["device"], []).append(care)
        return found


def _day(said: str) -> date | None:
    try:
        return date.fromisoformat(said.strip())
    except ValueError:
        return None
