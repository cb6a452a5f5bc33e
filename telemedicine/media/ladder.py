"""A source and its rungs, best first: the same picture at falling sizes, each encoded once for all who look at it.

The transport decides for each viewer how many bit/s it gets; ``rung_for`` says which rung that is good for, and
``PacketTrack.move_to`` takes the viewer there at the next key frame, without a break.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import cast

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from devices.clock import Clock
from telemedicine.media.h264 import H264, RTP_TIME_BASE, VideoPacket
from telemedicine.media.rung import Rung, RungShape, Subscription
from telemedicine.media.sources import Pictures

SOURCE_IDLE_S = 4.0
"""The source is closed this long after the last viewer left: a page that is loaded again finds it open."""
CLIMB_AT = 1.4
"""A viewer climbs when it gets this multiple of the upper rung's floor: a rate at the floor itself goes up and down."""
SMALL_HEIGHT = 360
SMALL_FLOOR_BPS, SMALL_START_BPS, SMALL_CEILING_BPS, SMALL_SPARSE_BPS = 100_000, 400_000, 900_000, 200_000
SPARSE_BELOW_BPS = 450_000


def shapes(width: int, height: int, frame_rate_hz: float, floor_bps: int, ceiling_bps: int) -> tuple[RungShape, ...]:
    """The rungs of a feed of this size: itself, and one of 360 lines for weak viewers where that is smaller.

    Starts at half of ``ceiling_bps``, or at the floor where that is higher.
    """
    start_bps = max(floor_bps, ceiling_bps // 2)
    whole = RungShape("whole", width, height, frame_rate_hz, floor_bps, ceiling_bps, start_bps, SPARSE_BELOW_BPS)
    if height <= SMALL_HEIGHT * 4 / 3:
        return (whole,)
    small_width = round(width * SMALL_HEIGHT / height / 2) * 2
    rates = (SMALL_FLOOR_BPS, SMALL_CEILING_BPS, SMALL_START_BPS, SMALL_SPARSE_BPS)
    return (whole, RungShape("small", small_width, SMALL_HEIGHT, frame_rate_hz, *rates))


def rung_for(bitrate_bps: float, rungs: Sequence[RungShape], now_on: int) -> int:
    """The index of the rung for a viewer who gets ``bitrate_bps`` and is on rung ``now_on``; best rung is 0."""
    on = now_on
    while on + 1 < len(rungs) and bitrate_bps < rungs[on].floor_bps:
        on += 1
    while on > 0 and bitrate_bps >= CLIMB_AT * rungs[on - 1].floor_bps:
        on -= 1
    return on


class Ladder:
    """The rungs of one source; the source is open while any of them is used. Event loop only."""

    def __init__(
        self,
        source: Pictures,
        rungs: Sequence[RungShape],
        clock: Clock,
        h264: H264,
        repeats_still: bool = True,
    ) -> None:
        """:param rungs: best first, at least one"""
        self.source = source
        self.rungs = tuple(Rung(source, shape, clock, h264, self._used, repeats_still) for shape in rungs)
        self.shapes = tuple(rungs)
        self._in_use = 0
        self._closing: asyncio.TimerHandle | None = None

    @property
    def viewers(self) -> int:
        return sum(rung.subscribers for rung in self.rungs)

    def track(self, on: int = 0) -> PacketTrack:
        """A new viewer, on rung ``on``."""
        return PacketTrack(self.rungs[on])

    def allot(self, shares_bps: Mapping[PacketTrack, float]) -> None:
        """Give each viewer the rung that its bit/s are good for, and each rung the rate of its slowest viewer."""
        slowest_bps: dict[Rung, float] = {}
        for track, share_bps in shares_bps.items():
            rung = self.rungs[rung_for(share_bps, self.shapes, self.rungs.index(track.rung))]
            track.move_to(rung)
            slowest_bps[rung] = min(share_bps, slowest_bps.get(rung, share_bps))
        for rung, rate_bps in slowest_bps.items():
            rung.set_bitrate_bps(int(rate_bps))

    def close(self) -> list[threading.Thread]:
        """End all rungs and the source now; their threads, which end within a second or one blocking read."""
        threads = [rung.close() for rung in self.rungs]
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        return [thread for thread in (*threads, self.source.stop()) if thread is not None]

    def _used(self, used: bool) -> None:
        self._in_use += 1 if used else -1
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if used:
            self.source.start()
        elif self._in_use == 0:
            self._closing = asyncio.get_running_loop().call_later(SOURCE_IDLE_S, self.source.stop)


class PacketTrack(MediaStreamTrack):
    """One viewer's view of a ladder as aiortc sends it: ``recv`` gives ``av.Packet``, which is packed, not encoded.

    ``pts`` is the capture time on the monotonic clock in 1/90000 s, the same on every rung, and always rises.
    """

    kind = "video"

    def __init__(self, rung: Rung) -> None:
        super().__init__()
        self._arrived = asyncio.Event()
        self._now: Subscription = rung.subscribe(self._arrived)
        self._next: Subscription | None = None
        self._dropped_before = 0
        self._last_pts = -1

    @property
    def rung(self) -> Rung:
        """Where the viewer is, or is going."""
        return (self._next or self._now).rung

    @property
    def dropped(self) -> int:
        """Packets this viewer did not get because it was not fast enough."""
        return self._dropped_before + self._now.dropped

    def request_key_frame(self) -> None:
        """The viewer has lost its picture (PLI, FIR)."""
        self._now.rung.request_key_frame()

    def move_to(self, rung: Rung) -> None:
        """Go on with ``rung`` from its next key frame; until that comes, the present one goes on."""
        if self.readyState != "live" or rung is self.rung:
            return
        if self._next is not None:
            self._next.close()
        self._next = None if rung is self._now.rung else rung.subscribe(self._arrived)

    async def recv(self) -> VideoPacket:
        """The next packet.

        :raises MediaStreamError: the viewer has left
        """
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            packet = self._take()
            if packet is not None:
                return self._rising(packet)
            self._arrived.clear()
            if not self._now.waiting and not (self._next is not None and self._next.waiting):
                await self._arrived.wait()

    def stop(self) -> None:
        super().stop()
        for subscription in (self._now, self._next):
            if subscription is not None:
                subscription.close()
        self._arrived.set()

    def _take(self) -> VideoPacket | None:
        first = self._next.take() if self._next is not None else None
        if self._next is not None and first is not None:
            self._now.close()
            self._dropped_before += self._now.dropped
            self._now, self._next = self._next, None
            return first
        if self._now.closed:
            super().stop()
            raise MediaStreamError
        return self._now.take()

    def _rising(self, packet: VideoPacket) -> VideoPacket:
        """``packet``, or a copy that is stamped later: two rungs may encode one picture, a decoder shows one a time."""
        pts = packet.pts or 0
        if pts <= self._last_pts:
            later = cast(VideoPacket, av.Packet(bytes(packet)))
            later.pts, later.time_base, later.is_keyframe = self._last_pts + 1, RTP_TIME_BASE, packet.is_keyframe
            packet, pts = later, self._last_pts + 1
        self._last_pts = pts
        return packet
