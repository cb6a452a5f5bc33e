"""Oximetry that devices recorded by themselves, nights mostly: kept once as recordings, given to a person, summed up.

A night belongs to nobody when it comes: it waits in ``held`` until somebody says whose it is (``recording_assigned``).
Its numbers (``vehicle.clinic.night_oximetry``) stand in the recording's facts, so that whoever has the record has them.
The start is by the device's clock, without zone: it is kept beside the time at which the night came.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from devices.errors import AskPerson
from devices.events import emit
from devices.readings import Stamped, StoredOximetry
from sync.formats import oximetry_file
from sync.formats.canonical import Json
from sync.formats.records import Draft, format_time, parse_time
from sync.record.recordings import Recordings
from vehicle.clinic.night_oximetry import NightSummary, summary
from vehicle.clinic.ports import Journal, Listenable, Live, Soon, marks
from vehicle.recorded_ecg import Served

WHAT = "oximetry"


class NightTaken(AskPerson):
    """It is somebody's already, or there is none."""

    code = "night_taken"


class NightPersonChanged(AskPerson):
    """The person whose night it was to be is not the one being served now."""

    code = "night_person_changed"


@dataclass(frozen=True, slots=True)
class Night:
    sha256: str
    device: str
    """The stable name of the device it came from."""
    patient: str | None
    """None: nobody's yet."""
    received_at: datetime
    device_said_at: str | None
    interval_s: float
    count: int
    """Of values."""
    summary: NightSummary


class Nights:
    """:param served: the visit that goes on, and who is served in it"""

    def __init__(self, recordings: Recordings, journal: Journal, live: Live, served: Callable[[], Served]) -> None:
        self._recordings, self._journal, self._live, self._served = recordings, journal, live, served
        self._giving = asyncio.Lock()
        self._on_the_way: set[str] = set()
        """Hashes of recordings whose entries are not durable yet."""

    def listen(self, feed: Listenable, commits: Soon) -> None:
        feed.on("stored_oximetry", partial(self._on_stored, commits), "nights")

    def known(self, device: str) -> set[tuple[str | None, int]]:
        """What of a device's memory is kept: start as it said it, number of values."""
        return {(night.device_said_at, night.count) for night in self._nights("device = ?", device)}

    def held(self) -> list[Night]:
        """Nights that belong to nobody yet, newest first."""
        return self._nights("patient IS NULL")

    def of(self, *registrations: str) -> list[Night]:
        """Of one person over all registrations, newest first."""
        return self._nights(f"patient IN ({marks(registrations)})", *registrations)

    def get(self, sha256: str) -> Night | None:
        return next(iter(self._nights("sha256 = ?", sha256)), None)

    def read(self, sha256: str) -> StoredOximetry:
        """Its values. Reads the disk: not for the event loop.

        :raises RecordingMissing: the county has it, and its place here was needed
        :raises OximetryFileUnreadable: damaged
        """
        return oximetry_file.read(self._recordings.read(sha256))

    async def assign(self, sha256: str, patient: str, by: str) -> None:
        """Say that a night is that of the person being served.

        :raises NightPersonChanged: somebody else is served by now.
        :raises NightTaken: it is somebody's already, or there is none.
        """
        async with self._giving:
            served = self._served()
            if served.patient != patient:
                raise NightPersonChanged("somebody else is served by now")
            night = self.get(sha256)
            if night is None or night.patient is not None:
                raise NightTaken(f"recording {sha256[:16]} waits for nobody")
            fields: dict[str, Json] = {"sha256": sha256, "patient": patient}
            await self._journal.commit(Draft("recording_assigned/1", fields, by, served.visit, served.encounter))

    def _on_stored(self, commits: Soon, stamped: Stamped) -> None:
        """In the feed's turn. What is here already, from whichever device, is not kept again."""
        stored = stamped.event
        if not isinstance(stored, StoredOximetry) or not any(value is not None for value in stored.spo2_percent):
            return
        blob = oximetry_file.write(stored)
        sha256 = hashlib.sha256(blob).hexdigest()
        if sha256 in self._on_the_way or self.get(sha256) is not None:
            return
        self._recordings.store(blob, oximetry_file.MEDIA_TYPE)
        self._on_the_way.add(sha256)
        fields: dict[str, Json] = {
            "sha256": sha256,
            "bytes": len(blob),
            "media_type": oximetry_file.MEDIA_TYPE,
            "what": WHAT,
            "device": stamped.device,
            "started_at": format_time(stamped.received_at),
            "duration_ms": round(stored.duration_s * 1000),
            "facts": _facts(stored),
        }
        commits.soon(Draft("recording/1", fields), then=partial(self._kept, sha256))
        emit("night_stored", device=stamped.device, sha256=sha256, values=len(stored.spo2_percent))

    def _kept(self, sha256: str) -> None:
        self._on_the_way.discard(sha256)
        self._live.send({"type": "reading", "live": False, "state": "held", "kind": WHAT, "reading": sha256})

    def _nights(self, which: str, *values: str) -> list[Night]:
        rows = self._journal.read(
            f"SELECT * FROM recordings WHERE what = '{WHAT}' AND {which} ORDER BY started_at DESC, sha256", values
        )
        return [_night(row) for row in rows]


def _facts(stored: StoredOximetry) -> dict[str, Json]:
    facts: dict[str, Json] = {
        "interval_ms": round(stored.interval_s * 1000),
        "count": len(stored.spo2_percent),
        "summary": summary(stored).told(),
    }
    return facts if stored.device_said_at is None else facts | {"device_said_at": stored.device_said_at}


def _night(row: Mapping[str, Any]) -> Night:
    facts = json.loads(row["facts_json"])
    return Night(
        sha256=row["sha256"],
        device=row["device"] or "",
        patient=row["patient"],
        received_at=parse_time(row["started_at"]),
        device_said_at=facts.get("device_said_at"),
        interval_s=facts["interval_ms"] / 1000,
        count=facts["count"],
        summary=NightSummary.of(facts["summary"]),
    )
