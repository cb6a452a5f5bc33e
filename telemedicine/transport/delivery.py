"""How fast packets come out at the other end: the rate acknowledged, and what short trains of packets say about the
link's capacity."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from telemedicine.transport.history import Outcome

WINDOW_S = 0.5
RECENT_S = 0.12
LEAST_SPAN_S = 0.04
TRAIN_GAP_S = 0.008
"""Packets that left at most this far apart are one train."""
TRAIN_PACKETS, TRAIN_BYTES = 3, 2_400
TRAINS_KEPT, TRAINS_NEEDED = 8, 4
TRAIN_AGE_S = 1.5
STRETCHED, STRETCHED_SLACK_S = 1.2, 0.001
FASTEST_BIT_S = 100e6


class DeliveryRate:
    """Bits per second by the receiver's clock, so that neither our lateness nor late feedback counts."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[float, int]] = deque()
        self._newest_s = float("-inf")

    def add(self, arrived_s: float, size_bytes: int) -> None:
        self._arrived.append((arrived_s, size_bytes))
        self._newest_s = max(self._newest_s, arrived_s)
        while self._arrived and self._arrived[0][0] < self._newest_s - WINDOW_S:
            self._arrived.popleft()

    def rate_bit_s(self, window_s: float = WINDOW_S) -> float | None:
        """Over the last ``window_s`` (at most ``WINDOW_S``) before the newest arrival; None when too little came."""
        since_s = self._newest_s - window_s
        times = [arrived_s for arrived_s, _ in self._arrived if arrived_s >= since_s]
        if len(times) < 3:
            return None
        first_s = min(times)
        span_s = self._newest_s - first_s
        if span_s < LEAST_SPAN_S:
            return None
        # what arrived with the first packet was on its way before: it opens the span and is not counted
        counted = sum(size for arrived_s, size in self._arrived if arrived_s > first_s)
        return counted * 8 / span_s

    def restart(self) -> None:
        self._arrived.clear()
        self._newest_s = float("-inf")


class Trains:
    """Each picture is a short train sent faster than the mean rate: how it is stretched on its way shows what the link
    can carry, without one byte more (packet trains, RFC 5136 section 3 names the quantity: available link capacity).

    A single train says little (another sender, a radio that gives in grants), so the lower quartile of the last
    eight counts; only where pictures are too small, one that was sent on purpose.
    """

    def __init__(self) -> None:
        self._open: list[Outcome] = []
        self._seen: deque[tuple[float, float]] = deque(maxlen=TRAINS_KEPT)
        self._stretched: deque[bool] = deque(maxlen=TRAINS_KEPT)
        self._probed: tuple[float, float] | None = None

    def add(self, outcome: Outcome) -> None:
        """A packet, in order of departure."""
        if self._open and outcome.sent.sent_s - self._open[-1].sent.sent_s > TRAIN_GAP_S:
            self._finish(self._open)
            self._open = []
        self._open.append(outcome)

    def capacity_bit_s(self, newest_arrival_s: float) -> float | None:
        """What the link carries at least; None while too few trains of the last 1.5 s were long enough."""
        rates = sorted(rate for arrived_s, rate in self._seen if arrived_s > newest_arrival_s - TRAIN_AGE_S)
        if len(rates) >= TRAINS_NEEDED:
            return rates[len(rates) // 4]
        probed = self._probed is not None and self._probed[0] > newest_arrival_s - TRAIN_AGE_S
        return self._probed[1] if probed and self._probed is not None else None

    @property
    def stretched(self) -> bool:
        """Whether most trains took longer to arrive than to leave: then the link sets their rate, else we do."""
        return 2 * sum(self._stretched) > len(self._stretched)

    def newest_bit_s(self) -> float | None:
        """How fast the train came that is arriving now; None while it is too short to say."""
        measured = _measured(self._open)
        return None if measured is None else measured[0]

    def restart(self) -> None:
        self._open = []
        self._seen.clear()
        self._stretched.clear()
        self._probed = None

    def _finish(self, train: Sequence[Outcome]) -> None:
        measured = _measured(train)
        if measured is None:
            return
        rate, stretched = measured
        self._stretched.append(stretched)
        seen = (max(outcome.arrived_s or 0.0 for outcome in train), rate)
        self._seen.append(seen)
        if any(outcome.sent.padding for outcome in train):
            self._probed = seen


def _measured(train: Sequence[Outcome]) -> tuple[float, bool] | None:
    """Bits per second of ``train``, never more than it was sent with, and whether it was stretched on its way; None
    when it is too short."""
    arrived = [(outcome.arrived_s, outcome.sent) for outcome in train if outcome.arrived_s is not None]
    size = sum(sent.size_bytes for _, sent in arrived[1:])
    if len(arrived) < TRAIN_PACKETS or size < TRAIN_BYTES:
        return None
    took_s = max(arrived_s for arrived_s, _ in arrived) - arrived[0][0]
    left_s = arrived[-1][1].sent_s - arrived[0][1].sent_s
    return min(FASTEST_BIT_S, size * 8 / max(took_s, left_s, 1e-4)), took_s > STRETCHED * left_s + STRETCHED_SLACK_S
