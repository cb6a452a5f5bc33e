"""Whether the link carries no picture at all, only voice and ECG: then none is sent until there is room again. Pure.

The rate control never goes below what a poor picture needs, or a radio that wanders would lose its picture at each
dip. Where even that rate fills the queue for a second, the link is another one: no pictures, and the queue empties.

Room is seen at once while the queue empties, as what comes then is all that the link can. Once it is empty only a probe
can show it: a few packets, soon at first, then each after twice the time, up to where whatever else is sent waits
``HELD_UP_S`` longer on the mean (8 s on a link of 64 kbit/s, less than one on 200). And when the link has been calm for
long, pictures are let out; when that fails the next trial waits twice as long.
"""

from __future__ import annotations

FULL_QUEUE_S, FULL_FOR_S, EMPTY_QUEUE_S = 0.25, 1.0, 0.25
PLAINLY_NARROW_BIT_S, PLAIN_FOR_S = 130_000.0, 0.25
"""When so little comes through there is less to wait for."""
DIP_S, FAILS_WITHIN_S = 3.0, 2.0
"""Where plainly little came and the queue is gone so soon, it may have been a dip: pictures are tried at once, unless
they were tried just before. A link that is narrow lets them fail within the second time."""
FIRST_TRIAL_S, LAST_TRIAL_S = 10.0, 120.0
TRIAL_HOLDS_S = 10.0
"""So long after a trial began without the queue: the link is wide again."""
WIDE_BIT_S = 240_000.0
"""So much carries a poor picture, voice and data."""
PLAINLY_WIDE_BIT_S, SEEN_QUEUE_S = 360_000.0, 0.04
"""What has to come out of a queue in one moment: a radio gives in bursts."""
HELD_UP_S = 0.020
FIRST_PROBE_WAIT_S, MOST_PROBE_WAIT_S = 0.4, 8.0


class NarrowLink:
    """``update`` with each feedback; ``narrow`` is the answer. Times of one monotonic clock."""

    def __init__(self) -> None:
        self.narrow = False
        self.carried_bit_s = 0.0
        """What came through when it was found narrow."""
        self._full_since_s: float | None = None
        self._empty_since_s: float | None = None
        self._tried_s = float("-inf")
        self._wait_s = FIRST_TRIAL_S
        self._dip_until_s = float("-inf")
        self._probed_s = float("-inf")
        self._probe_wait_s = FIRST_PROBE_WAIT_S
        self._carries_bit_s = 0.0

    def update(
        self,
        now_s: float,
        queue_s: float,
        least_rate: bool,
        delivered_bit_s: float,
        recent_bit_s: float = 0.0,
        capacity_bit_s: float = 0.0,
    ) -> bool:
        """
        :param queue_s: what packets wait in the network
        :param least_rate: nothing less is sent with pictures
        :param delivered_bit_s: what comes through, over half a second
        :param recent_bit_s: the same over the last moment
        :param capacity_bit_s: what a probe has shown the link to carry, 0 when there was none of late
        :returns: whether ``narrow`` changed
        """
        if self.narrow:
            return self._consider_room(now_s, queue_s, recent_bit_s, capacity_bit_s)
        if not least_rate or queue_s < FULL_QUEUE_S:
            self._full_since_s = None
            return False
        if self._full_since_s is None:
            self._full_since_s = now_s
        if now_s - self._full_since_s < (FULL_FOR_S if delivered_bit_s > PLAINLY_NARROW_BIT_S else PLAIN_FOR_S):
            return False
        failed = now_s - self._tried_s < TRIAL_HOLDS_S
        self._wait_s = min(LAST_TRIAL_S, 2 * self._wait_s) if failed else FIRST_TRIAL_S
        dip = delivered_bit_s <= PLAINLY_NARROW_BIT_S and now_s - self._tried_s > FAILS_WITHIN_S
        self._dip_until_s = now_s + DIP_S if dip else float("-inf")
        self.narrow, self.carried_bit_s, self._empty_since_s = True, delivered_bit_s, None
        self._carries_bit_s = delivered_bit_s
        self._probed_s, self._probe_wait_s = now_s, FIRST_PROBE_WAIT_S
        return True

    def wants_probe(self, now_s: float, probe_bytes: int) -> bool:
        """While ``narrow``: whether ``probe_bytes`` may be sent to see if there is room."""
        if not self.narrow or self._empty_since_s is None:
            return False
        holds_up_s = probe_bytes * 8 / max(1.0, self._carries_bit_s)
        # who comes at any moment finds a probe of d seconds with the chance d / T and then waits d / 2
        wait_s = min(self._probe_wait_s, MOST_PROBE_WAIT_S, holds_up_s**2 / (2 * HELD_UP_S))
        return now_s - self._probed_s >= max(FIRST_PROBE_WAIT_S, wait_s)

    def probed(self, now_s: float) -> None:
        """A probe leaves."""
        self._probed_s, self._probe_wait_s = now_s, min(MOST_PROBE_WAIT_S, 2 * self._probe_wait_s)

    def link_was_gone(self, now_s: float) -> None:
        """For long, and is back without a queue: perhaps it is another one, and pictures show it soonest."""
        self._probe_wait_s = FIRST_PROBE_WAIT_S
        if self.narrow:
            self._open(now_s)

    def _consider_room(self, now_s: float, queue_s: float, recent_bit_s: float, capacity_bit_s: float) -> bool:
        if capacity_bit_s:
            self._carries_bit_s = capacity_bit_s
        if capacity_bit_s >= WIDE_BIT_S or (queue_s > SEEN_QUEUE_S and recent_bit_s >= PLAINLY_WIDE_BIT_S):
            return self._open(now_s)
        if queue_s > EMPTY_QUEUE_S:
            self._empty_since_s = None
        elif now_s < self._dip_until_s:
            return self._open(now_s)
        elif self._empty_since_s is None:
            self._empty_since_s = now_s
        elif now_s - self._empty_since_s >= self._wait_s:
            return self._open(now_s)
        return False

    def _open(self, now_s: float) -> bool:
        self.narrow, self._tried_s, self._full_since_s = False, now_s, None
        return True
