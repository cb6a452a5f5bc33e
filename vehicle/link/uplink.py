"""The uplink as the screens show it: reachable or not, over what, how good, and what flows at this moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from devices.clock import Clock
from sync.delivery.uploader import UplinkStatus
from telemedicine.link_sample import LinkSample
from vehicle.link.network_interface import Interface, counted_bytes, default_interface

LOOK_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class UplinkView:
    """``up_mbit_s`` is what the network let through when it was the limit, else what a probe or a session has measured
    lately; None until one has. ``sending`` and ``receiving`` are what flowed in the last 5 s."""

    online: bool
    since: datetime
    kind: str
    """"mobile", "wifi", "ethernet", "other" or "none"."""
    rtt_ms: float | None = None
    up_mbit_s: float | None = None
    down_mbit_s: float | None = None
    sending_mbit_s: float | None = None
    receiving_mbit_s: float | None = None


class Measured(Protocol):
    """What ``sync.delivery.connections.Measured`` has noted."""

    rtt_ms: float | None
    delivery_mbit_s: float | None


@dataclass(slots=True)
class Unmeasured:
    """Where no connection is watched."""

    rtt_ms: float | None = None
    delivery_mbit_s: float | None = None


class Uplink:
    """
    :param measured: what is noted of its connections
    :param sample: the newest figures of all sources (``vehicle.link.monitor``)
    :param changed: called when there is a default route again, or another one
    """

    def __init__(
        self,
        clock: Clock,
        measured: Measured | None = None,
        find: Callable[[], Interface | None] = default_interface,
        count: Callable[[str], tuple[int, int] | None] = counted_bytes,
        changed: Callable[[], None] = lambda: None,
        sample: Callable[[], LinkSample | None] = lambda: None,
    ) -> None:
        self._sample = sample
        self._changed = changed
        self._clock = clock
        self._find = find
        self._count = count
        self._measured: Measured = measured or Unmeasured()
        self._interface: Interface | None = None
        self._counted: tuple[str, float, int, int] | None = None
        self._mbit_s: tuple[float, float] | None = None

    def tick(self) -> None:
        """Look at the default route and count what has flowed since the last look."""
        was, self._interface = self._interface, self._find()
        if self._interface is not None and self._interface != was:
            self._changed()
        before, now_mono_s = self._counted, self._clock.monotonic_s()
        counts = self._count(self._interface.name) if self._interface else None
        self._counted = None
        self._mbit_s = None
        if self._interface is None or counts is None:
            return
        self._counted = (self._interface.name, now_mono_s, *counts)
        if before is not None and before[0] == self._interface.name and now_mono_s > before[1]:
            scale = 8 / 1e6 / (now_mono_s - before[1])
            self._mbit_s = (max(0, counts[0] - before[2]) * scale, max(0, counts[1] - before[3]) * scale)

    def view(self, delivery: UplinkStatus) -> UplinkView:
        """:param delivery: the uploader's status"""
        sending_mbit_s, receiving_mbit_s = self._mbit_s or (None, None)
        sample = self._sample()
        up_bit_s, down_bit_s = (sample.up_bit_s, sample.down_bit_s) if sample is not None else (None, None)
        rtt_ms, up_mbit_s = self._measured.rtt_ms, self._measured.delivery_mbit_s
        return UplinkView(
            online=delivery.online,
            since=delivery.since,
            kind=self._interface.kind if self._interface else "none",
            rtt_ms=rtt_ms if rtt_ms is not None or sample is None else sample.rtt_ms,
            up_mbit_s=up_mbit_s if up_mbit_s is not None or up_bit_s is None else up_bit_s / 1e6,
            down_mbit_s=None if down_bit_s is None else down_bit_s / 1e6,
            sending_mbit_s=sending_mbit_s,
            receiving_mbit_s=receiving_mbit_s,
        )

    async def run(self) -> None:
        """The service: ``tick`` every 5 s, for ever."""
        while True:
            self.tick()
            await self._clock.sleep(LOOK_EVERY_S)
