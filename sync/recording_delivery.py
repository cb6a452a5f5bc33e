"""Lanes beside the journal: recordings to the county, named by their hash, resumed at the byte where they broke off."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from devices.clock import Clock
from devices.events import emit
from sync.county_client import CountyClient, CountyUnreachable, RecordRefused, UploadState
from sync.parking import Parking
from sync.recordings import RecordingMissing, Recordings
from sync.records import format_time
from sync.store import Store

SMALLEST_PART_BYTES = 64 * 1024
FIRST_PART_BYTES = 256 * 1024
LARGEST_PART_BYTES = 4 * 1024 * 1024
QUICK_S, SLOW_S = 0.5, 2.0
"""A part that took less than the one is followed by a larger, more than the other by a smaller."""
MOST_DETOURS = 4
NOT_KNOWN = frozenset({401, 403, 404})
"""Refusals of the van or the address, not of what was sent: they park a lane, never one recording after the other."""


class RecordingDamaged(RecordRefused):
    code = "recording_damaged"


@dataclass(frozen=True, slots=True)
class Lane:
    """``what``: the recordings it takes, most urgent first; None takes what no other lane takes."""

    name: str
    what: tuple[str, ...] | None


LANES = (Lane("recordings", ("ecg", "signature", "photo")), Lane("clips", None))
_URGENT = tuple(what for lane in LANES for what in lane.what or ())


class RecordingDelivery:
    """One lane: one recording in flight on its own connection, so that a clip never holds up a record."""

    def __init__(
        self, lane: Lane, store: Store, recordings: Recordings, county: CountyClient, parking: Parking, clock: Clock
    ) -> None:
        self.lane = lane
        self._store, self._recordings, self._county = store, recordings, county
        self._parking, self._clock = parking, clock
        self._part_bytes = FIRST_PART_BYTES
        self.sent_bytes = 0

    async def deliver(self) -> int:
        """Deliver all recordings of this lane; returns how many.

        A recording that the county refuses is parked and the next one has its turn.

        :raises CountyUnreachable: try again later; what arrived stays there.
        :raises RecordRefused: the county refuses this van altogether (``NOT_KNOWN``).
        """
        count = 0
        while sha256 := await asyncio.to_thread(self.next):
            try:
                await self._deliver_one(sha256)
                count += 1
            except RecordingMissing as fault:
                await asyncio.to_thread(self._parking.park, f"recording:{sha256}", RecordingDamaged(str(fault)))
            except RecordRefused as refusal:
                if refusal.status in NOT_KNOWN:
                    raise
                await asyncio.to_thread(self._parking.park, f"recording:{sha256}", refusal)
        return count

    def next(self) -> str | None:
        """The most urgent recording, oldest first, that is neither delivered nor parked."""
        among = self.lane.what if self.lane.what is not None else _URGENT
        marks = ", ".join("?" * len(among))
        chosen = f"what {'NOT ' if self.lane.what is None else ''}IN ({marks})"
        order = "CASE what " + " ".join(f"WHEN ? THEN {place}" for place in range(len(among))) + " ELSE 99 END"
        found = self._store.read(
            f"SELECT sha256 FROM recordings WHERE {chosen}"
            " AND sha256 NOT IN (SELECT sha256 FROM recordings_delivered)"
            " AND 'recording:' || sha256 NOT IN (SELECT what FROM parked)"
            f" ORDER BY {order}, n LIMIT 1",
            (*among, *among),
        )
        return str(found[0]["sha256"]) if found else None

    async def _deliver_one(self, sha256: str) -> None:
        size = await asyncio.to_thread(self._recordings.size, sha256)
        state = UploadState(0, False)
        if size > self._part_bytes:
            state = await self._county.recording_state(sha256)
        detours = 0
        while not state.complete:
            if state.offset > size:
                raise RecordRefused(f"the county has {state.offset} bytes of a recording of {size}")
            answer = await self._send_part(sha256, state.offset, size)
            detours = 0 if answer.complete or answer.offset > state.offset else detours + 1
            if detours > MOST_DETOURS:
                raise CountyUnreachable(f"the county keeps asking for recording {sha256} at {answer.offset}")
            state = answer
        await asyncio.to_thread(self._note_delivered, sha256)
        emit("recording_delivered", sha256=sha256, bytes=size)

    async def _send_part(self, sha256: str, offset: int, size: int) -> UploadState:
        part = await asyncio.to_thread(self._recordings.read, sha256, offset, self._part_bytes)
        started_s = self._clock.monotonic_s()
        try:
            answer = await self._county.append_recording(sha256, offset, part, size)
        except CountyUnreachable:
            self._part_bytes = max(SMALLEST_PART_BYTES, self._part_bytes // 2)
            raise
        except RecordRefused as refusal:
            if refusal.status == 422 and not await asyncio.to_thread(self._recordings.intact, sha256):
                raise RecordingDamaged(
                    f"recording {sha256} on this PC no longer has the bytes of its name"
                ) from refusal
            raise
        self.sent_bytes += len(part)
        self._adapt(self._clock.monotonic_s() - started_s, len(part))
        return answer

    def _adapt(self, took_s: float, sent: int) -> None:
        if took_s < QUICK_S and sent >= self._part_bytes:
            self._part_bytes = min(LARGEST_PART_BYTES, self._part_bytes * 2)
        elif took_s > SLOW_S:
            self._part_bytes = max(SMALLEST_PART_BYTES, self._part_bytes // 2)

    def _note_delivered(self, sha256: str) -> None:
        row = (sha256, format_time(self._clock.now()))
        self._store.transact(
            lambda db: db.execute("INSERT OR IGNORE INTO recordings_delivered (sha256, at) VALUES (?, ?)", row)
        )
        self._parking.release(f"recording:{sha256}")
