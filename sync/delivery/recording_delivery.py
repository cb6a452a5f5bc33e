"""Lanes beside the journal: recordings to the county, named by their hash, resumed at the byte where they broke off."""

from __future__ import annotations

import asyncio

from devices.clock import Clock
from devices.events import emit
from sync.delivery.county_client import CountyClient, CountyUnreachable, RecordRefused, UploadState
from sync.delivery.lanes import LANES, PACED_BYTES_S, PACED_PART_BYTES, Lane, RightOfWay
from sync.delivery.parking import Parking
from sync.formats.records import format_time
from sync.record.recordings import RecordingMissing, Recordings
from sync.record.store import Store

SMALLEST_PART_BYTES = 16 * 1024
FIRST_PART_BYTES = 64 * 1024
LARGEST_PART_BYTES = 4 * 1024 * 1024
PART_S = 0.45
"""How long a part takes: what a broken link costs is half of it on average, and a record waits for no whole clip."""
MOST_DETOURS = 4
NOT_KNOWN = frozenset({401, 403, 404})
"""Refusals of the van or the address, not of what was sent: they park a lane, never one recording after the other."""
_NAMED = tuple(what for lane in LANES for what in lane.what or ())
_WANTED = "SELECT encounter FROM consultations WHERE state NOT IN ('closed', 'cancelled') AND encounter IS NOT NULL"


class RecordingDamaged(RecordRefused):
    code = "recording_damaged"


class PartSize:
    """Bytes of the next part, so that it takes ``PART_S`` and what the way there and back costs."""

    def __init__(self) -> None:
        self.bytes = FIRST_PART_BYTES

    def took(self, sent: int, took_s: float, rtt_s: float) -> None:
        """Learn from a part that arrived; a last, short one says nothing about how much more would have fitted."""
        fits = sent * (PART_S + 2 * rtt_s) / max(took_s, 1e-3)
        if sent >= self.bytes or fits < self.bytes:
            self._set(min(fits, 4 * self.bytes))

    def broke(self) -> None:
        self._set(self.bytes / 2)

    def _set(self, size: float) -> None:
        self.bytes = max(SMALLEST_PART_BYTES, min(LARGEST_PART_BYTES, round(size)))


class RecordingDelivery:
    """One of the recordings that a lane has in flight, on a connection of its own: a clip never holds up a record."""

    def __init__(
        self,
        lane: Lane,
        store: Store,
        recordings: Recordings,
        county: CountyClient,
        parking: Parking,
        clock: Clock,
        way: RightOfWay,
    ) -> None:
        self.lane = lane
        self._store, self._recordings, self._county = store, recordings, county
        self._parking, self._clock, self._way = parking, clock, way
        self._part = PartSize()
        self.sent_bytes = 0

    async def deliver(self) -> int:
        """Deliver all recordings of this lane; returns how many.

        A recording that the county refuses is parked and the next one has its turn.

        :raises CountyUnreachable: try again later; what arrived stays there.
        :raises HeldForConsultation: try again later.
        :raises RecordRefused: the county refuses this van altogether (``NOT_KNOWN``).
        """
        count = 0
        while sha256 := await self._take():
            try:
                await self._deliver_one(sha256)
                count += 1
            except RecordingMissing as fault:
                await asyncio.to_thread(self._parking.park, f"recording:{sha256}", RecordingDamaged(str(fault)))
            except RecordRefused as refusal:
                if refusal.status in NOT_KNOWN:
                    raise
                await asyncio.to_thread(self._parking.park, f"recording:{sha256}", refusal)
            finally:
                self._way.in_flight.discard(sha256)
        return count

    def next(self) -> str | None:
        """The most urgent recording, oldest first, that is neither delivered nor parked nor being sent."""
        busy = tuple(self._way.in_flight)
        chosen, values = self._chosen()
        order = "CASE what " + " ".join(f"WHEN ? THEN {place}" for place in range(len(_NAMED))) + " ELSE 99 END"
        found = self._store.read(
            f"SELECT sha256 FROM recordings_waiting JOIN recordings USING (sha256) WHERE {chosen}"
            f" AND sha256 NOT IN ({_marks(busy)})"
            " AND 'recording:' || sha256 NOT IN (SELECT what FROM parked)"
            f" ORDER BY {order}, n LIMIT 1",
            (*values, *busy, *_NAMED),
        )
        return str(found[0]["sha256"]) if found else None

    def _chosen(self) -> tuple[str, tuple[str, ...]]:
        """Condition and values for what belongs to this lane."""
        if self.lane.what is not None:
            return f"what IN ({_marks(self.lane.what)})", self.lane.what
        wanted = f"coalesce(encounter, '') {'' if self.lane.wanted else 'NOT '}IN ({_WANTED})"
        return f"what NOT IN ({_marks(_NAMED)}) AND {wanted}", _NAMED

    async def _take(self) -> str | None:
        async with self._way.choosing:
            sha256 = await asyncio.to_thread(self.next)
            if sha256 is not None:
                self._way.in_flight.add(sha256)
            return sha256

    async def _deliver_one(self, sha256: str) -> None:
        size = await asyncio.to_thread(self._recordings.size, sha256)
        await self._way.turn(self.lane)
        state = UploadState(0, False)
        if size > self._part.bytes:
            state = await self._county.recording_state(sha256)
        detours = 0
        while not state.complete:
            if state.offset > size:
                raise RecordRefused(f"the county has {state.offset} bytes of a recording of {size}")
            await self._way.turn(self.lane)
            answer = await self._send_part(sha256, state.offset, size)
            detours = 0 if answer.complete or answer.offset > state.offset else detours + 1
            if detours > MOST_DETOURS:
                raise CountyUnreachable(f"the county keeps asking for recording {sha256} at {answer.offset}")
            state = answer
        await asyncio.to_thread(self._note_delivered, sha256)
        emit("recording_delivered", sha256=sha256, bytes=size)

    async def _send_part(self, sha256: str, offset: int, size: int) -> UploadState:
        paced = self._way.paced(self.lane)
        count = min(self._part.bytes, PACED_PART_BYTES) if paced else self._part.bytes
        body = await asyncio.to_thread(self._recordings.read, sha256, offset, count)
        started_s = self._clock.monotonic_s()
        try:
            async with self._way.sending(self.lane.rank):
                answer = await self._county.append_recording(sha256, offset, body, size, self.lane.bulk)
        except CountyUnreachable:
            self._part.broke()
            raise
        except RecordRefused as refusal:
            if refusal.status == 422 and not await asyncio.to_thread(self._recordings.intact, sha256):
                raise RecordingDamaged(
                    f"recording {sha256} on this PC no longer has the bytes of its name"
                ) from refusal
            raise
        self.sent_bytes += len(body)
        took_s = self._clock.monotonic_s() - started_s
        if paced:
            await self._clock.sleep(max(0.0, len(body) / PACED_BYTES_S - took_s))
        else:
            self._part.took(len(body), took_s, self._county.rtt_s)
        return answer

    def _note_delivered(self, sha256: str) -> None:
        row = (sha256, format_time(self._clock.now()))
        self._store.transact(
            lambda db: db.execute("INSERT OR IGNORE INTO recordings_delivered (sha256, at) VALUES (?, ?)", row)
        )
        self._parking.release(f"recording:{sha256}")


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))
