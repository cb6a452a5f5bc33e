"""What one connection's feedback says, put together: delay, delivery, loss, round trip, silence."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from telemedicine.transport.delay import QueueDelay, Trendline, Usage
from telemedicine.transport.delivery import RECENT_S, DeliveryRate, Trains
from telemedicine.transport.feedback import Feedback
from telemedicine.transport.history import SendHistory

LOSS_WINDOW_S = 1.5
LEAST_LOSS_PACKETS = 30
FIRST_RTT_S = 0.1
FIRST_INTERVAL_S, LEAST_INTERVAL_S, MOST_INTERVAL_S = 0.1, 0.02, 0.25
RTT_BUCKETS, RTT_BUCKET_S = 6, 5.0
SILENT_AFTER_S, SILENT_INTERVALS = 0.2, 3.5
OVERDUE_S, OVERDUE_INTERVALS = 0.11, 1.8
HELD_UP_S = 0.05
"""A look that comes so much later than the one before means that we were held up, not the network."""


@dataclass(frozen=True, slots=True)
class Signals:
    """One connection (or all of them together) after a feedback message."""

    now_s: float
    as_of_s: float
    """When the newest packet arrived, on our clock: the way back may have held up the news of it."""
    queue_s: float
    jitter_s: float
    usage: Usage
    delivered_bit_s: float | None
    """Over half a second."""
    recent_bit_s: float | None
    """Over the last 120 ms: while packets queue, this is what the bottleneck gives."""
    capacity_bit_s: float | None
    """At least this much is possible, from trains of packets."""
    stretched: bool
    """The link, not we, set the rate of the trains."""
    train_bit_s: float | None
    """How fast the newest train came."""
    lost: float
    """0 to 1, of the last 1.5 s; 0 while too few packets were sent to say."""
    response_s: float
    """From a change of the rate to the first feedback that shows it."""
    offered_bit_s: float
    """What we have sent."""


class PathMonitor:
    """Feedback of one connection in, ``Signals`` out; the caller gives the time."""

    def __init__(self, now_s: float) -> None:
        self.history = SendHistory()
        self._delay = QueueDelay()
        self._trend = Trendline()
        self._delivery = DeliveryRate()
        self._trains = Trains()
        self._judged: deque[tuple[float, bool]] = deque()
        self._lost = 0
        self._offered: deque[tuple[float, int]] = deque()
        self._rtts: deque[tuple[float, float]] = deque(maxlen=RTT_BUCKETS)
        self._last_feedback_s: float | None = None
        self._awaiting_since_s: float | None = None
        self._looked_s = now_s
        self.interval_s = FIRST_INTERVAL_S
        self.smoothed_rtt_s = FIRST_RTT_S
        self.queue_s = 0.0
        """What the newest packets waited in the network."""

    @property
    def least_rtt_s(self) -> float:
        """Of the last 30 s."""
        return min((rtt_s for _, rtt_s in self._rtts), default=FIRST_RTT_S)

    @property
    def response_s(self) -> float:
        return self.least_rtt_s + self.interval_s

    @property
    def heard(self) -> bool:
        """Whether there was any feedback at all: a receiver may agree to it and never send any."""
        return self._last_feedback_s is not None

    def sent(self, now_s: float, size_bytes: int, padding: bool = False) -> int:
        """The transport-wide sequence number for a packet that leaves now."""
        if self._awaiting_since_s is None:
            self._awaiting_since_s = now_s
        self._offered.append((now_s, size_bytes))
        while self._offered[0][0] < now_s - 0.5:
            self._offered.popleft()
        return self.history.add(now_s, size_bytes, padding)

    def on_feedback(self, feedback: Feedback, now_s: float) -> Signals | None:
        """What is known now; None when the message told about nothing that we wait for."""
        outcomes = self.history.acknowledge(feedback)
        if not outcomes:
            return None
        self._follow_interval(now_s)
        self._last_feedback_s, self._awaiting_since_s = now_s, None
        newest_s = float("-inf")
        for outcome in outcomes:
            self._judged.append((now_s, outcome.arrived_s is None))
            self._lost += outcome.arrived_s is None
            self._trains.add(outcome)
            if outcome.arrived_s is not None:
                newest_s = max(newest_s, outcome.arrived_s)
                self._delay.add(outcome.sent.sent_s, outcome.arrived_s)
                self._trend.add(outcome.sent.sent_s, outcome.arrived_s)
                self._delivery.add(outcome.arrived_s, outcome.sent.size_bytes)
        while self._judged[0][0] < now_s - LOSS_WINDOW_S:
            self._lost -= self._judged.popleft()[1]
        rtt_s = now_s - outcomes[-1].sent.sent_s
        self._take_rtt(rtt_s, now_s)
        # both are upper bounds: a receiver whose clock is moved spoils the first, a computer held up the second
        self.queue_s = min(self._delay.judge(), rtt_s - self.least_rtt_s)
        return Signals(
            now_s=now_s,
            as_of_s=min(now_s, now_s - (rtt_s - self.least_rtt_s - self.queue_s)),
            queue_s=self.queue_s,
            jitter_s=self._delay.jitter_s,
            usage=self._trend.usage,
            delivered_bit_s=self._delivery.rate_bit_s(),
            recent_bit_s=self._delivery.rate_bit_s(RECENT_S),
            capacity_bit_s=self._trains.capacity_bit_s(newest_s),
            stretched=self._trains.stretched,
            train_bit_s=self._trains.newest_bit_s(),
            lost=self._lost / len(self._judged) if len(self._judged) >= LEAST_LOSS_PACKETS else 0.0,
            response_s=self.response_s,
            offered_bit_s=self.offered_bit_s(now_s),
        )

    def offered_bit_s(self, now_s: float) -> float:
        """What was sent in the last half second."""
        return sum(size for sent_s, size in self._offered if sent_s >= now_s - 0.5) * 16.0

    def unheard_s(self, now_s: float) -> float:
        """For how long packets have been on their way of which nothing was heard."""
        if self._awaiting_since_s is None or self._last_feedback_s is None:
            return 0.0
        return max(0.0, now_s - self._awaiting_since_s)

    def under_way_s(self, now_s: float) -> float:
        """For how long the oldest packet has been on its way of which nothing is known; 0 before any feedback."""
        oldest_s = self.history.oldest_s
        return 0.0 if oldest_s is None or self._last_feedback_s is None else now_s - oldest_s

    @property
    def overdue_s(self) -> float:
        """Feedback that takes so long is late, and perhaps lost."""
        return max(OVERDUE_S, self.interval_s * OVERDUE_INTERVALS)

    def silent(self, now_s: float) -> bool:
        """Packets are on their way and nothing has been heard of them for longer than the receiver ever waits.

        To be asked regularly: a caller that was itself held up does not blame the network.
        """
        held_up_s = now_s - self._looked_s
        self._looked_s = now_s
        self.history.forget_old(now_s)
        if self._last_feedback_s is None:
            return False
        if self._awaiting_since_s is None and self.history.in_flight_bytes > 0:
            self._awaiting_since_s = self._last_feedback_s + self.interval_s  # of what was sent before it
        if self._awaiting_since_s is None:
            return False
        if held_up_s > HELD_UP_S:
            self._awaiting_since_s = min(now_s, self._awaiting_since_s + held_up_s)
        return self.unheard_s(now_s) > max(SILENT_AFTER_S, self.interval_s * SILENT_INTERVALS)

    def restart(self) -> None:
        """After an outage or on another path: what is in flight is given up, old delays and rates say nothing."""
        self.history.give_up()
        for part in (self._delay, self._trend, self._delivery, self._trains):
            part.restart()
        self._judged.clear()
        self._lost = 0
        self._awaiting_since_s = None

    def _follow_interval(self, now_s: float) -> None:
        if self._last_feedback_s is not None:
            apart_s = now_s - self._last_feedback_s
            bounded_s = max(LEAST_INTERVAL_S, min(MOST_INTERVAL_S, apart_s))
            self.interval_s += (bounded_s - self.interval_s) / 8

    def _take_rtt(self, rtt_s: float, now_s: float) -> None:
        self.smoothed_rtt_s += (rtt_s - self.smoothed_rtt_s) / 8
        if not self._rtts or now_s - self._rtts[-1][0] > RTT_BUCKET_S:
            self._rtts.append((now_s, rtt_s))
        elif rtt_s < self._rtts[-1][1]:
            self._rtts[-1] = (self._rtts[-1][0], rtt_s)
