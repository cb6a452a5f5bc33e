"""Whether the link carries no picture at all, only voice and ECG: then none is sent until it is tried again. Pure.

The rate control never goes below what a poor picture needs, or a radio that wanders would lose its picture at each
dip. Where even that rate fills the queue for a second, the link is another one: no pictures, and the queue empties.
Whether there is room again only pictures can show, so when the link has been calm for a while they are let out; when
that fails the next trial waits twice as long. A probe that makes a queue says beforehand that it would fail.
"""

from __future__ import annotations

FULL_QUEUE_S, FULL_FOR_S, EMPTY_QUEUE_S = 0.25, 1.0, 0.25
PLAINLY_NARROW_BIT_S, PLAIN_FOR_S = 130_000.0, 0.25
"""When so little comes through there is less to wait for."""
FIRST_TRIAL_S, LAST_TRIAL_S = 10.0, 120.0
TRIAL_HOLDS_S = 10.0
"""So long after a trial began without the queue: the link is wide again."""


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

    def update(self, now_s: float, queue_s: float, least_rate: bool, delivered_bit_s: float) -> bool:
        """
        :param queue_s: what packets wait in the network
        :param least_rate: nothing less is sent with pictures
        :param delivered_bit_s: what comes through
        :returns: whether ``narrow`` changed
        """
        if self.narrow:
            return self._consider_trial(now_s, queue_s)
        if not least_rate or queue_s < FULL_QUEUE_S:
            self._full_since_s = None
            return False
        if self._full_since_s is None:
            self._full_since_s = now_s
        if now_s - self._full_since_s < (FULL_FOR_S if delivered_bit_s > PLAINLY_NARROW_BIT_S else PLAIN_FOR_S):
            return False
        failed = now_s - self._tried_s < TRIAL_HOLDS_S
        self._wait_s = min(LAST_TRIAL_S, 2 * self._wait_s) if failed else FIRST_TRIAL_S
        self.narrow, self.carried_bit_s, self._empty_since_s = True, delivered_bit_s, None
        return True

    def _consider_trial(self, now_s: float, queue_s: float) -> bool:
        if queue_s > EMPTY_QUEUE_S:
            self._empty_since_s = None
        elif self._empty_since_s is None:
            self._empty_since_s = now_s
        elif now_s - self._empty_since_s >= self._wait_s:
            self.narrow, self._tried_s, self._full_since_s = False, now_s, None
            return True
        return False
