"""The uploader: drives the lanes by a timer and by events, backs off, parks, and says how it stands.

Entries, ECG and clips each have a lane and connections of their own (``sync.delivery.lanes``). Nothing expires: what is
not covered by a receipt stays waiting, what the county refuses stays parked, through every restart.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.delivery.county_client import CountyClient, CountyUnreachable, RecordRefused
from sync.delivery.entry_delivery import EntryDelivery
from sync.delivery.lanes import LANES, HeldForConsultation, RightOfWay
from sync.delivery.parking import Parked, Parking
from sync.delivery.receipts import Receipts
from sync.delivery.recording_check import RecordingCheck
from sync.delivery.recording_delivery import NOT_KNOWN, RecordingDelivery
from sync.formats.records import Entry
from sync.record.recordings import Recordings
from sync.record.store import Store, Waiting

EVERY_S = 30.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 60.0
ASK_AGAIN_AFTER = timedelta(minutes=15)
"""A van that the county does not know (``NOT_KNOWN``) asks again this often with one signed checkpoint: it may have
been enrolled meanwhile. Everything else that is parked waits for a person."""
LIVE_LOOK_S = 2.0
"""A lane that waits for a live consultation looks again this often."""
_RATE_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Delivered:
    """``reason``: why it is not ``complete``."""

    entries: int
    recordings: int
    complete: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class UplinkStatus:
    """``since``: when ``online`` last changed. ``rate_bytes_s``: lately, of payload before compression.

    ``held``: recordings wait for the live consultation, which has the uplink first.
    """

    online: bool
    since: datetime
    last_receipt_at: datetime | None
    parked: list[Parked]
    rate_bytes_s: float
    waiting: Waiting
    held: bool = False


class Backoff:
    """0.2 s, doubled to 60 s, each shortened by up to half at random so that vans do not come all at once."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._pause_s = FIRST_PAUSE_S

    def reset(self) -> None:
        self._pause_s = FIRST_PAUSE_S

    def next_s(self, retry_after_s: float | None = None) -> float:
        pause_s = self._pause_s * (1 - self._jitter() / 2)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)
        return max(pause_s, retry_after_s or 0.0)


_Delivery = EntryDelivery | RecordingCheck | RecordingDelivery


class _Lane:
    """One delivery with its lock, its back-off and the event that wakes it."""

    def __init__(self, name: str, delivery: _Delivery, backoff: Backoff) -> None:
        self.name, self.delivery, self.backoff = name, delivery, backoff
        self.held = False
        self.told_to_wait = False
        """The county named the time of the next try itself."""
        self.lock = asyncio.Lock()
        self.work = asyncio.Event()
        self.hurry = asyncio.Event()


_Fault = CountyUnreachable | HeldForConsultation | RecordRefused | AskPerson


class Uploader:
    """``on_change`` is called in the event loop whenever ``status`` is worth drawing again.

    :param live: whether a live consultation carries media at this moment
    """

    def __init__(
        self,
        store: Store,
        recordings: Recordings,
        county: CountyClient,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
        on_change: Callable[[], None] | None = None,
        live: Callable[[], bool] = lambda: False,
    ) -> None:
        self.on_change = on_change
        self._store, self._clock = store, clock
        self._receipts = Receipts(store, county.key)
        self._parking = Parking(store, clock)
        way = RightOfWay(live)
        check = RecordingCheck(store, recordings, county, clock)
        journal = EntryDelivery(store, county, self._receipts, clock, way, check.county_is_behind)
        deliveries: list[tuple[str, _Delivery]] = [("journal", journal), ("recording check", check)]
        for lane in LANES:
            for _ in range(lane.in_flight):
                delivery = RecordingDelivery(lane, store, recordings, county, self._parking, clock, way)
                deliveries.append((lane.name, delivery))
        self._lanes = [_Lane(name, delivery, Backoff(jitter)) for name, delivery in deliveries]
        self._online, self._since = False, clock.now()
        self._said_lost = False
        self._rate_bytes_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        store.on_commit(self._committed)

    async def run(self) -> None:
        """Deliver for ever; cancel to end."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(self._drive(lane), name=f"uploader-{lane.name}")
        finally:
            self._loop = None

    async def deliver_now(self) -> Delivered:
        """Try everything once, without pauses: for simulated time, shutdown and the button "send now"."""
        counts, reasons = [], []
        for lane in self._lanes:
            count, fault = await self._attempt(lane)
            counts.append(count)
            if fault is not None:
                reasons.append(f"{lane.name}: {fault}")
        waiting = await asyncio.to_thread(self._store.waiting)
        if not reasons and (waiting.entries or waiting.recordings):
            reasons = [f"{parked.what}: {parked.reason}" for parked in self._parking.all()] or ["more came meanwhile"]
        return Delivered(counts[0], sum(counts[1:]), not reasons, "; ".join(reasons) or None)

    def nudge(self) -> None:
        """A person wants it sent now: end all pauses and try."""
        self._hurry(self._lanes)

    def network_changed(self) -> None:
        """Another way to the county, or one again: end pauses and try; not those that the county asked for."""
        self._hurry([lane for lane in self._lanes if not lane.told_to_wait])

    def retry_parked(self, what: str) -> None:
        """A person has seen to what was parked: try it again."""
        self._parking.release(what)
        self.nudge()
        self._changed()

    def status(self) -> UplinkStatus:
        last = self._receipts.last()
        return UplinkStatus(
            self._online,
            self._since,
            last.cosigned_at if last else None,
            self._parking.all(),
            self._rate_bytes_s,
            self._store.waiting(),
            any(lane.held for lane in self._lanes),
        )

    async def _drive(self, lane: _Lane) -> None:
        while True:
            lane.work.clear()
            lane.hurry.clear()
            _, fault = await self._attempt(lane)
            if isinstance(fault, HeldForConsultation):
                await self._pause(LIVE_LOOK_S, lane.hurry)
            elif fault is None or isinstance(fault, RecordRefused):
                lane.backoff.reset()
                await self._pause(EVERY_S, lane.work)
            else:
                asked_s = fault.retry_after_s if isinstance(fault, CountyUnreachable) else None
                lane.told_to_wait = asked_s is not None
                await self._pause(lane.backoff.next_s(asked_s), lane.hurry)

    async def _attempt(self, lane: _Lane) -> tuple[int, _Fault | None]:
        """Deliver once. What the county refuses for good is parked here; a full disk is shown by who watches disks."""
        async with lane.lock:
            if await asyncio.to_thread(self._is_parked, lane.name):
                return 0, None
            started_s, before = self._clock.monotonic_s(), lane.delivery.sent_bytes
            try:
                count = await lane.delivery.deliver()
            except HeldForConsultation as fault:
                self._set_held(lane, True)
                return 0, fault
            except CountyUnreachable as fault:
                self._set_online(False, str(fault))
                return 0, fault
            except RecordRefused as refusal:
                self._set_online(True)
                await asyncio.to_thread(self._parking.park, lane.name, refusal)
                self._changed()
                return 0, refusal
            except AskPerson as fault:
                return 0, fault
            self._set_held(lane, False)
            await asyncio.to_thread(self._parking.release, lane.name)
            sent = lane.delivery.sent_bytes - before
            if sent:
                self._set_online(True)
                self._measure(sent, self._clock.monotonic_s() - started_s)
            if count:
                self._changed()
            return count, None

    def _is_parked(self, what: str) -> bool:
        parked = self._parking.find(what)
        if parked is None:
            return False
        age = self._clock.now() - parked.at  # negative when the clock was set back
        return parked.status not in NOT_KNOWN or timedelta() <= age < ASK_AGAIN_AFTER

    async def _pause(self, seconds: float, until: asyncio.Event) -> None:
        """Until ``until`` is set, at most ``seconds``."""
        woken = asyncio.ensure_future(until.wait())
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((woken, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            timer.cancel()

    def _committed(self, _: list[Entry]) -> None:
        """On the writer's thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake)

    @staticmethod
    def _hurry(lanes: Iterable[_Lane]) -> None:
        for lane in lanes:
            lane.backoff.reset()
            lane.hurry.set()
            lane.work.set()

    def _wake(self) -> None:
        for lane in self._lanes:
            lane.work.set()

    def _measure(self, sent: int, took_s: float) -> None:
        if took_s > 0:
            self._rate_bytes_s += _RATE_WEIGHT * (sent / took_s - self._rate_bytes_s)

    def _set_online(self, online: bool, reason: str = "") -> None:
        if online == self._online and (online or self._said_lost):
            return
        if online != self._online:
            self._since = self._clock.now()
        self._online = online
        self._said_lost = not online
        if online:
            emit("uplink_restored")
        else:
            emit("uplink_lost", reason=reason)
        self._changed()

    def _set_held(self, lane: _Lane, held: bool) -> None:
        if held != lane.held:
            lane.held = held
            emit("lane_held" if held else "lane_released", lane=lane.name)
            self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()
