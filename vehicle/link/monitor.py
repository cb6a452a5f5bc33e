"""What is known of the link now: the newest sample of each source, told to whoever sums it up or shows it.

Passive figures cost nothing: TCP measures each delivery, the transport each session. Probes (``vehicle.link.probing``)
add what nothing else shows, within a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from devices.clock import Clock
from telemedicine.link_sample import LinkSample, SampleSource, from_fields

LOOK_EVERY_S = 5.0
FRESH_FOR_S: Mapping[SampleSource, float] = {"session": 15.0, "delivery": 120.0, "probe": 3600.0}


class Measured(Protocol):
    """What ``sync.delivery.connections.Measured`` has noted."""

    rtt_ms: float | None
    delivery_mbit_s: float | None


class LinkMonitor:
    """
    :param measured: what TCP has noted of the connections to the county; None without a county
    :param session: the newest figures of a live consultation as the media process tells them, None without one
    :ivar listeners: called with each sample
    """

    def __init__(
        self,
        clock: Clock,
        measured: Measured | None = None,
        session: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._measured = measured
        self._session = session
        self._seen: tuple[float | None, float | None] = (None, None)
        self._newest: dict[SampleSource, tuple[float, LinkSample]] = {}
        self.listeners: list[Callable[[LinkSample], None]] = []

    def tick(self) -> None:
        """Take what others have measured since the last look."""
        self._look_at_deliveries()
        said = self._session()
        sample = None if said is None else from_fields(said, self._clock.now(), "session")
        if sample is not None:
            self.take(sample)

    def take(self, sample: LinkSample) -> None:
        self._newest[sample.source] = (self._clock.monotonic_s(), sample)
        for listener in self.listeners:
            listener(sample)

    def newest(self, source: SampleSource) -> LinkSample | None:
        """None when it is too old to speak of now."""
        at_s, sample = self._newest.get(source, (0.0, None))
        if sample is None or self._clock.monotonic_s() - at_s > FRESH_FOR_S[source]:
            return None
        return sample

    def now(self) -> LinkSample | None:
        """The best of all sources: what a session sees, else a delivery, each figure filled from a probe."""
        found = [sample for source in FRESH_FOR_S if (sample := self.newest(source)) is not None]
        if not found:
            return None
        best = found[0]
        for other in found[1:]:
            missing = {name: getattr(other, name) for name in _FIGURES if getattr(best, name) is None}
            best = replace(best, **missing)
        return best

    async def run(self) -> None:
        """The service: ``tick`` every 5 s, for ever."""
        while True:
            self.tick()
            await self._clock.sleep(LOOK_EVERY_S)

    def _look_at_deliveries(self) -> None:
        if self._measured is None:
            return
        seen = (self._measured.rtt_ms, self._measured.delivery_mbit_s)
        if seen == self._seen:
            return
        (rtt_ms, rate_mbit_s), (_, rate_before) = seen, self._seen
        self._seen = seen
        new_rate = rate_mbit_s is not None and rate_mbit_s != rate_before
        up_bit_s = rate_mbit_s * 1e6 if new_rate and rate_mbit_s is not None else None
        self.take(LinkSample(self._clock.now(), "delivery", rtt_ms=rtt_ms, up_bit_s=up_bit_s))


_FIGURES = ("rtt_ms", "jitter_ms", "loss_percent", "up_bit_s", "down_bit_s")
