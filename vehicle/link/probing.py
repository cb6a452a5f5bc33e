"""When the link is probed: a little after a visit begins and then once an hour, within the budget, never beside a
live consultation.

First echoes (delay, loss, jitter), then bytes down and up. The first transfer is small; where it says that the link is
fast, a larger one follows that lasts long enough to tell 50 Mbit/s from 40.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from devices.clock import Clock
from devices.events import emit
from sync.delivery.link_probe_client import ProbeFailed, ProbeHeld
from sync.formats.link_probe import OVERHEAD_BYTES, PACKET_BYTES, EchoFigures, Ticket
from telemedicine.link_sample import LinkSample
from vehicle.link.probe_budget import ProbeBudget

LOOK_EVERY_S = 20.0
FIRST_AFTER_S = 120.0
PACKETS = 100
FIRST_BYTES, SECOND_BYTES = 768 * 1024, 4 * 1024 * 1024
FAST_BIT_S = 15e6
"""From here on the first transfer is over before TCP has found the rate."""
COST_OF_ECHOES = 2 * PACKETS * (PACKET_BYTES + OVERHEAD_BYTES) + 4096
OVERHEAD = 1.08
"""Headers of TCP, IP and TLS, acknowledgements."""


class Client(Protocol):
    """``sync.delivery.link_probe_client.LinkProbeClient``."""

    async def ticket(self) -> Ticket: ...
    async def echoes(self, ticket: Ticket, packets: int) -> EchoFigures: ...
    async def down(self, size: int) -> float | None: ...
    async def up(self, body: bytes) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """:ivar visit: the open visit; :ivar free: nothing else needs the link"""

    visit: str | None
    free: bool


class Probing:
    """
    :param moment: asked before each step
    :param told: takes the sample of a probe
    """

    def __init__(
        self,
        client: Client,
        budget: ProbeBudget,
        clock: Clock,
        moment: Callable[[], Moment],
        told: Callable[[LinkSample], None],
        random_bytes: Callable[[int], bytes],
        every_s: float = 3600.0,
    ) -> None:
        self._client = client
        self._budget = budget
        self._clock = clock
        self._moment = moment
        self._told = told
        self._random_bytes = random_bytes
        self._every_s = every_s
        self._visit: str | None = None
        self._due_s = 0.0

    async def run(self) -> None:
        """The service: look every 20 s, for ever."""
        while True:
            await self.tick()
            await self._clock.sleep(LOOK_EVERY_S)

    async def tick(self) -> None:
        """Probe if it is time and the moment is good; a probe that fails waits for the next hour."""
        moment, now_s = self._moment(), self._clock.monotonic_s()
        if moment.visit is None:
            self._visit = None
            return
        if moment.visit != self._visit:
            self._visit, self._due_s = moment.visit, now_s + FIRST_AFTER_S
        if now_s < self._due_s or not moment.free:
            return
        self._due_s = now_s + self._every_s
        try:
            sample = await self._probe(moment.visit)
        except ProbeHeld:
            self._due_s = now_s  # as soon as the link is free again
        except (ProbeFailed, OSError) as reason:
            emit("link_probe_failed", reason=str(reason))
        else:
            if sample is not None:
                self._told(sample)

    async def _probe(self, visit: str) -> LinkSample | None:
        """None when the budget allows not even the echoes. The round trip is its 95th percentile."""
        if not self._reserve(COST_OF_ECHOES, visit):
            return None
        ticket = await self._client.ticket()
        echo = await self._client.echoes(ticket, PACKETS) if ticket.port else None
        down_bit_s = await self._transfer(visit, self._client.down)
        up_bit_s = await self._transfer(visit, lambda size: self._client.up(self._random_bytes(size)))
        jitters_ms = [] if echo is None else [echo.jitter_up_ms, echo.jitter_down_ms]
        known_ms = [jitter_ms for jitter_ms in jitters_ms if jitter_ms is not None]
        return LinkSample(
            at=self._clock.now(),
            source="probe",
            rtt_ms=echo.rtt_p95_ms if echo is not None else None,
            jitter_ms=max(known_ms, default=None),
            loss_percent=echo.loss_percent if echo is not None else None,
            up_bit_s=up_bit_s,
            down_bit_s=down_bit_s,
        )

    async def _transfer(self, visit: str, transfer: Callable[[int], Awaitable[float | None]]) -> float | None:
        """One or two transfers; the rate of the last."""
        rate_bit_s: float | None = None
        for size in (FIRST_BYTES, SECOND_BYTES):
            if not self._moment().free:
                raise ProbeHeld
            if not self._reserve(round(size * OVERHEAD), visit):
                break
            rate_bit_s = await transfer(size)
            if rate_bit_s is not None and rate_bit_s < FAST_BIT_S:
                break
        return rate_bit_s

    def _reserve(self, size: int, visit: str) -> bool:
        return self._budget.reserve(size, self._clock.now().date(), visit)
