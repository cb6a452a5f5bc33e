"""How long packets wait in the network: the queueing delay itself, and whether it grows.

Both only need differences of send and arrival times, so the two clocks need not agree. The growth is found as in
draft-ietf-rmcat-gcc-02 (5.2 to 5.4): groups of packets sent together, a line through the smoothed delay (as libwebrtc's
trendline, in place of the draft's Kalman filter), a threshold that adapts so that neither jitter nor a competing TCP
decides.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

GROUP_S = 0.005
"""Packets sent within this time are one group (gcc-02, 5.2)."""
TREND_GROUPS = 20
SMOOTHING = 0.9
GAIN = 4.0
FIRST_THRESHOLD_MS, LEAST_THRESHOLD_MS, MOST_THRESHOLD_MS = 12.5, 6.0, 600.0
RISE, FALL = 0.0087, 0.039
"""How fast the threshold follows upwards and downwards, per ms (gcc-02, 5.4: K_u, K_d)."""
OUTLIER_MS = 15.0
OVERUSE_S = 0.010
BASE_BUCKETS, BASE_BUCKET_S = 6, 5.0
NEWEST_S = 0.025
NEWEST_PACKETS = 3


class Usage(StrEnum):
    UNDER = "under"
    NORMAL = "normal"
    OVER = "over"


class QueueDelay:
    """One-way delay above the least one of the last 30 s: what the packets waited in queues.

    Judged by the newest packets of each report. A receiver that was held up hands in many packets at once, of which the
    newest has waited least; a queue in the network makes the newest wait longest.
    """

    def __init__(self) -> None:
        self._buckets: deque[tuple[float, float]] = deque(maxlen=BASE_BUCKETS)
        """(when it began on the receiver's clock, least arrival minus departure in it)"""
        self._newest: deque[tuple[float, float]] = deque()
        self._before: float | None = None
        """The least one from before an interruption; it counts for one bucket more."""
        self.queue_s = 0.0
        self.jitter_s = 0.0
        """Mean deviation of the delay between reports, without what a growing queue adds."""

    def add(self, sent_s: float, arrived_s: float) -> None:
        """A packet, in order of departure."""
        one_way_s = arrived_s - sent_s
        if self._before is not None:
            self._buckets.append((arrived_s, self._before))
            self._buckets.extend([(arrived_s, one_way_s)] * (BASE_BUCKETS - 1))
            self._before = None
        if not self._buckets or arrived_s - self._buckets[-1][0] > BASE_BUCKET_S:
            self._buckets.append((arrived_s, one_way_s))
        elif one_way_s < self._buckets[-1][1]:
            self._buckets[-1] = (self._buckets[-1][0], one_way_s)
        self._newest.append((arrived_s, one_way_s))
        newest_s = arrived_s - NEWEST_S
        while len(self._newest) > NEWEST_PACKETS and self._newest[0][0] < newest_s:
            self._newest.popleft()

    def judge(self) -> float:
        """The queueing delay in seconds as the last report shows it."""
        if self._newest:
            base_s = min(least for _, least in self._buckets)
            before, self.queue_s = self.queue_s, max(0.0, min(one_way for _, one_way in self._newest) - base_s)
            self.jitter_s += (min(abs(self.queue_s - before), 0.05) - self.jitter_s) / 32
        return self.queue_s

    def restart(self) -> None:
        """Nothing came for a while. The path may be another one, so old delays are soon forgotten; but not at once, as
        what was sent into the gap may still stand in a queue, and is no new base."""
        self._before = min((least for _, least in self._buckets), default=self._before)
        self._buckets.clear()
        self._newest.clear()
        self.queue_s = 0.0


class Trendline:
    """Whether the delay grows, from groups of packets."""

    def __init__(self) -> None:
        self._group: tuple[float, float, float] | None = None
        """(first departure, last departure, last arrival) of the group that is being filled"""
        self._before: tuple[float, float] | None = None
        self._points: deque[tuple[float, float]] = deque(maxlen=TREND_GROUPS)
        self._accumulated_ms = self._smoothed_ms = 0.0
        self._groups = 0
        self._threshold_ms = FIRST_THRESHOLD_MS
        self._over_s = 0.0
        self._slope = 0.0
        self.usage = Usage.NORMAL

    def add(self, sent_s: float, arrived_s: float) -> None:
        """A packet, in order of departure."""
        group = self._group
        if group is None:
            self._group = (sent_s, sent_s, arrived_s)
        elif sent_s - group[0] <= GROUP_S or self._in_burst(group, sent_s, arrived_s):
            self._group = (group[0], max(group[1], sent_s), max(group[2], arrived_s))
        else:
            self._finish(group)
            self._group = (sent_s, sent_s, arrived_s)

    def restart(self) -> None:
        """The path has changed."""
        self._group = self._before = None
        self._points.clear()
        self._accumulated_ms = self._smoothed_ms = self._over_s = self._slope = 0.0
        self._groups = 0
        self.usage = Usage.NORMAL

    @staticmethod
    def _in_burst(group: tuple[float, float, float], sent_s: float, arrived_s: float) -> bool:
        """Packets that were held somewhere and then let go together (gcc-02, 5.1: pre-filtering)."""
        apart_s = arrived_s - group[2]
        return apart_s < GROUP_S and apart_s < sent_s - group[1]

    def _finish(self, group: tuple[float, float, float]) -> None:
        _, sent_s, arrived_s = group
        before, self._before = self._before, (sent_s, arrived_s)
        if before is None:
            return
        sent_apart_s = sent_s - before[0]
        self._groups += 1
        self._accumulated_ms += (arrived_s - before[1] - sent_apart_s) * 1000
        self._smoothed_ms = SMOOTHING * self._smoothed_ms + (1 - SMOOTHING) * self._accumulated_ms
        self._points.append((arrived_s * 1000, self._smoothed_ms))
        self._decide(self._line(), sent_apart_s)

    def _line(self) -> float:
        """Slope of the least-squares line, ms of delay per ms."""
        count = len(self._points)
        if count < TREND_GROUPS // 2:
            return 0.0
        mean_x = sum(x for x, _ in self._points) / count
        mean_y = sum(y for _, y in self._points) / count
        spread = sum((x - mean_x) ** 2 for x, _ in self._points)
        return sum((x - mean_x) * (y - mean_y) for x, y in self._points) / spread if spread else 0.0

    def _decide(self, slope: float, apart_s: float) -> None:
        trend_ms = min(self._groups, 60) * slope * GAIN
        if trend_ms > self._threshold_ms:
            self._over_s += apart_s
            if self._over_s > OVERUSE_S and slope >= self._slope:
                self.usage = Usage.OVER
        else:
            self._over_s = 0.0
            self.usage = Usage.UNDER if trend_ms < -self._threshold_ms else Usage.NORMAL
        self._slope = slope
        beyond_ms = abs(trend_ms) - self._threshold_ms
        if beyond_ms <= OUTLIER_MS:
            pace = RISE if beyond_ms > 0 else FALL
            moved_ms = self._threshold_ms + pace * beyond_ms * min(apart_s * 1000, 100.0)
            self._threshold_ms = max(LEAST_THRESHOLD_MS, min(MOST_THRESHOLD_MS, moved_ms))
