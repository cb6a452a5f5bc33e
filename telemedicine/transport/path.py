"""One connection of the uplink: what is known of it, and how little is sent while nothing is heard of it. Pure.

What is sent into a silence stands in the modem when the radio comes back, in front of everything new; and perhaps
only the way back is held up, and it arrives. So it is little: a picture now and then, and sound only while it could
still be of use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from telemedicine.transport.monitor import PathMonitor, Signals
from telemedicine.transport.rate_control import LOW_QUEUE_S, RateControl

TRICKLE_BIT_S, TRICKLE_FOR_S, TRICKLE_QUEUE_S = 100_000.0, 2.0, 0.15
"""Of a viewer that has just fallen silent, where no queue stood before."""
SPARSE_EVERY_S, TRICKLE_BYTES = 0.5, 40_000
"""Else, and then: a picture so often, until so much was sent."""
SOUND_USEFUL_S = 1.5
WINDOW_QUEUE_S = 0.020
LEAST_WINDOW_BYTES = 9_000
RESUMING_S, WINDOW_RESUMING_S = 0.3, 0.1
"""A link that has come back first carries a key frame, a quarter second of its rate."""


class PathState(StrEnum):
    LIVE = "live"
    SILENT = "silent"
    """Nothing comes back: the link is down, or the way back is."""
    BLIND = "blind"
    """Our checks are answered, feedback still goes elsewhere: the other side has not followed our new address yet."""


@dataclass
class Path:
    monitor: PathMonitor
    streams: frozenset[str]
    state: PathState = PathState.LIVE
    broken: bool = False
    """Some of its pictures were thrown away: what follows is not shown before a key frame."""
    silent_since_s: float = float("-inf")
    trickled_bytes: int = 0
    """Of pictures, since it fell silent."""
    trickled_s: dict[str, float] = field(default_factory=dict)
    """Stream -> when the last of them was sent."""
    resumed_s: float = float("-inf")
    answered_s: float = float("-inf")
    """When the last check was sent that was answered."""
    signals: Signals | None = None
    own_limit: RateControl | None = None
    share: float = 1.0
    """Of what the others get, because of a bottleneck of its own."""
    urgent_bit_s: float = 0.0
    urgent: tuple[float, float] = field(default=(0.0, 0.0))
    """(since when, bytes) of what left past the pacer"""

    @property
    def live(self) -> bool:
        return self.state == PathState.LIVE

    @property
    def silent(self) -> bool:
        return self.state == PathState.SILENT

    def fall_silent(self, now_s: float) -> None:
        self.state, self.own_limit, self.trickled_bytes = PathState.SILENT, None, 0
        self.silent_since_s = now_s - self.monitor.unheard_s(now_s)

    @property
    def trickles(self) -> bool:
        """Whether it is silent, and not yet for so long that it is given up."""
        return self.silent and self.trickled_bytes < TRICKLE_BYTES

    def may_trickle(self, stream: str, now_s: float) -> bool:
        """Whether a picture may be sent into the silence now."""
        unheard_s = self.monitor.unheard_s(now_s)
        if unheard_s < TRICKLE_FOR_S and self.monitor.queue_s < TRICKLE_QUEUE_S:
            return self.trickled_bytes * 8 <= TRICKLE_BIT_S * unheard_s
        return now_s - self.trickled_s.get(stream, float("-inf")) >= SPARSE_EVERY_S

    def trickle(self, stream: str, size_bytes: int, now_s: float) -> None:
        """A packet of a picture is sent into the silence."""
        self.trickled_bytes += size_bytes
        self.trickled_s[stream] = now_s

    def sound_useful(self, now_s: float) -> bool:
        """Whether sound that leaves now could still be answered: else what was sent before is still on its way, and
        this would stand behind it. Checks that are answered, and a link that has just come back, prove the contrary."""
        proved = self.state == PathState.BLIND or now_s - self.resumed_s < SOUND_USEFUL_S
        return proved or self.monitor.under_way_s(now_s) < SOUND_USEFUL_S

    def spend_urgent(self, size_bytes: int, now_s: float) -> bool:
        """Count what leaves past the pacer; True: ``urgent_bit_s`` is another one."""
        since_s, count = self.urgent
        over = now_s - since_s > 1.0
        if over:
            self.urgent_bit_s = count * 8 / (now_s - since_s) if since_s else self.urgent_bit_s
            since_s, count = now_s, 0.0
        self.urgent = (since_s, count + size_bytes)
        return over

    def window_full(self, rate_bit_s: float, now_s: float) -> bool:
        """More is on its way than ``rate_bit_s`` delivers in its round trip, a feedback interval and a little queue."""
        allowed_s = WINDOW_QUEUE_S
        if self.own_limit is not None:
            rate_bit_s = min(rate_bit_s, self.own_limit.target_bit_s)
        if self.signals is not None:
            allowed_s += 2 * self.signals.jitter_s
            queued = self.signals.queue_s > LOW_QUEUE_S + self.signals.jitter_s
            if queued and self.signals.train_bit_s is not None:
                rate_bit_s = min(rate_bit_s, self.signals.train_bit_s)
        if now_s - self.resumed_s < RESUMING_S:
            allowed_s += WINDOW_RESUMING_S
        window = rate_bit_s / 8 * (self.monitor.least_rtt_s + self.monitor.interval_s + allowed_s)
        return self.monitor.history.in_flight_bytes >= max(LEAST_WINDOW_BYTES, window)
