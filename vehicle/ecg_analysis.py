"""The ECG analysis beside the feed: each device that sends an ECG has a chain, and the screens hear what it says.

The chains work in a thread, so that the event loop waits for none of them; what they cannot keep up with is lost from
their subscription and counts as a gap. A fault ends this service alone (``vehicle.supervisor``): the page then says
that there is no automatic analysis, and recording and drawing go on.

Message ``ecg_analysis``: once a second and device, and at once when a lead comes off or a pause is one. It is not
remembered for pages that open later: a second later comes the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from devices.readings import DeviceState, Link, Samples, Stamped
from sync.formats.canonical import Json
from vehicle.clinic.ecg.chain import FASTEST_HZ, SLOWEST_HZ
from vehicle.clinic.ecg.critical import Found
from vehicle.clinic.ecg.live_state import LiveEcg
from vehicle.clinic.ports import Live
from vehicle.feed import Feed, Gap, Subscription

TOPICS = ("ecg", "device")
TOLD_EVERY_S = 1.0
AWAY = (Link.LOST, Link.ABSENT)


class EcgAnalysis:
    """:param critical: told of each critical finding (device, what, its numbers) in the event loop"""

    def __init__(
        self,
        feed: Feed,
        live: Live,
        critical: Callable[[str, str, Mapping[str, Json]], None] = lambda device, what, facts: None,
    ) -> None:
        self._feed = feed
        self._live = live
        self._tell_critical = critical
        self._critical: list[tuple[str, Found]] = []
        self._chains: dict[str, LiveEcg] = {}
        self._leads_off: dict[str, tuple[str, ...]] = {}
        self._told_s: dict[str, float] = {}
        self._begin_anew = False

    def somebody_else(self, served: object = None) -> None:
        """Another person is served, or nobody: usual beat and rhythm of the one before say nothing any more."""
        self._begin_anew = True

    async def run(self) -> None:
        """The service: follow the feed, for ever."""
        self._chains.clear()
        with self._feed.subscribe("ecg analysis", TOPICS) as subscription:
            try:
                async for item in subscription:
                    for message in await asyncio.to_thread(self._work, _all_of(item, subscription)):
                        self._live.send(message)
                    self._critical_found()
            finally:
                for device in self._chains:
                    self._live.send(_silent(device))

    def _critical_found(self) -> None:
        """Hand on what is critical; nothing of somebody who has left meanwhile."""
        found, self._critical = self._critical, []
        for device, (what, facts) in found:
            if not self._begin_anew:
                self._tell_critical(device, what, facts)

    def _work(self, items: Sequence[Stamped | Gap]) -> list[dict[str, Any]]:
        """In the thread; one batch after the other, so nothing here is touched twice at a time."""
        if self._begin_anew:
            self._begin_anew = False
            self._chains.clear()
        told: list[dict[str, Any]] = []
        for item in items:
            if isinstance(item, Gap):
                continue  # the next chunk's index says what is missing
            if isinstance(item.event, DeviceState):
                told += self._device(item.device, item.event)
            elif isinstance(item.event, Samples):
                told += self._samples(item, item.event)
        return told

    def _device(self, device: str, state: DeviceState) -> list[dict[str, Any]]:
        self._leads_off[device] = state.leads_off
        if state.link not in AWAY or device not in self._chains:
            return []
        del self._chains[device]
        return [_silent(device)]

    def _samples(self, stamped: Stamped, samples: Samples) -> list[dict[str, Any]]:
        device, now_s = stamped.device, stamped.received_mono_s
        if not SLOWEST_HZ <= samples.sample_rate_hz <= FASTEST_HZ:
            return []  # drawn and recorded, not analysed: the page says so
        chain = self._chains.get(device)
        if chain is None or not chain.continues(samples):
            chain = self._chains[device] = LiveEcg(samples)
            self._told_s.pop(device, None)
        urgent = chain.push(samples, self._leads_off.get(device, ()))
        self._critical += [(device, found) for found in chain.critical()]
        due = now_s - self._told_s.get(device, now_s - TOLD_EVERY_S) >= TOLD_EVERY_S
        if not (urgent or due):
            return []
        self._told_s[device] = now_s
        return [{"type": "ecg_analysis", "device": device, "at": stamped.received_at.isoformat(), **chain.message()}]


def _all_of(item: Stamped | Gap, subscription: Subscription) -> list[Stamped | Gap]:
    """What waits in the queue goes through the thread at once."""
    items = [item]
    while (following := subscription.take()) is not None:
        items.append(following)
    return items


def _silent(device: str) -> dict[str, Any]:
    return {"type": "ecg_analysis", "device": device, "heart_rate_bpm": None, "rhythm": None}
