"""The rate that is safe to send: down at once to what comes out, up slowly, or by a step where there is room.

Decreases follow draft-ietf-rmcat-gcc-02, 5.5 (0.85 of the rate received) with three differences: they are decided by
the queueing delay itself as well as by its growth; the rate received is that of the last 120 ms, which while packets
queue is the bottleneck's; and a second decrease waits until the first one can show. Loss alone counts above a tenth
only (6 of the draft), as radio links lose without being full. Increases are a fifth per second, 4 % near the rate at
which the link was last full (the draft: 8 %), and steps where trains of packets have come through faster than we send;
a step that fails makes the next one wait twice as long.
"""

from __future__ import annotations

from telemedicine.transport.delay import Usage
from telemedicine.transport.monitor import Signals

HIGH_QUEUE_S, LOW_QUEUE_S = 0.040, 0.015
STRETCHED, STRETCHED_QUEUE_S = 0.6, 0.020
EMPTYING = 0.95
DEEP_QUEUE_S = 0.150
BACK_OFF, BACK_OFF_DEEP = 0.85, 0.75
LOSS_TOLERATED, LOSS_TOLERATED_EMPTY = 0.10, 0.20
"""Share of packets lost that is still taken as the radio's; the second while nothing queues."""
GROWTH, GROWTH_NEAR = 0.20, 0.04
NEAR_BELOW, NEAR_ABOVE = 0.70, 1.15
CEILING_AGE_S = 6.0
STEP, STEP_SHARE, STEP_WORTH = 1.5, 0.80, 1.10
FIRST_STEP_WAIT_S, MOST_STEP_WAIT_S = 0.3, 2.0
STEP_BLAMED_S = 1.5
FIRST_PROBE_WAIT_S, MOST_PROBE_WAIT_S, PROBE_BELOW = 0.6, 3.0, 0.9
APP_LIMITED, APP_LIMITED_SLACK_BIT_S = 0.7, 100_000.0


class RateControl:
    """``update`` with each feedback; ``target_bit_s`` is the answer, for everything on the wire."""

    def __init__(self, first_bit_s: float, least_bit_s: float, most_bit_s: float) -> None:
        self.target_bit_s = first_bit_s
        self.draining = False
        """Packets still queue in the network: nothing may be sent faster than the mean rate."""
        self._least_bit_s, self._most_bit_s = least_bit_s, most_bit_s
        self._ceiling: tuple[float, float] | None = None
        self._updated_s: float | None = None
        self._settled_s = float("-inf")
        self._cut_queue_s = 0.0
        self._high_before = False
        self._step_at_s = float("-inf")
        self._stepped_s = float("-inf")
        self._step_wait_s = FIRST_STEP_WAIT_S
        self._knows_capacity = False
        self._probed_s = float("-inf")
        self._probe_wait_s = FIRST_PROBE_WAIT_S

    def update(self, signals: Signals) -> None:
        apart_s = 0.0 if self._updated_s is None else min(0.3, signals.now_s - self._updated_s)
        self._updated_s = signals.now_s
        low_s = LOW_QUEUE_S + signals.jitter_s
        high = signals.queue_s > HIGH_QUEUE_S + 2 * signals.jitter_s
        full = high and self._high_before  # once alone is a computer that was held up, here or there
        self._high_before = high
        full |= signals.usage == Usage.OVER and signals.queue_s > low_s
        full |= self._stretched(signals)
        self.draining = signals.queue_s > low_s and (full or self.draining)
        if signals.queue_s <= low_s:
            self._cut_queue_s = 0.0
        if full:
            self._fall(signals)
        elif signals.lost > (LOSS_TOLERATED if signals.queue_s > low_s else LOSS_TOLERATED_EMPTY):
            self._fall_by_loss(signals)
        elif signals.queue_s <= low_s:
            self._rise(signals, apart_s)

    def limit(self, most_bit_s: float) -> None:
        """There is no use for more than this."""
        self._most_bit_s = max(self._least_bit_s, most_bit_s)
        self._set(self.target_bit_s)

    def wants_probe(self, now_s: float) -> bool:
        """Whether it is not known if there is room for a step, and there would be use for it."""
        return (
            not self.draining
            and not self._knows_capacity
            and self.target_bit_s < PROBE_BELOW * self._most_bit_s
            and self._updated_s is not None
            and now_s >= max(self._step_at_s, self._probed_s + self._probe_wait_s)
        )

    def probed(self, now_s: float) -> None:
        """A probe leaves now; the next one waits longer unless this one shows room."""
        self._probed_s = now_s
        self._probe_wait_s = min(MOST_PROBE_WAIT_S, 2 * self._probe_wait_s)

    def after_outage(self, now_s: float, most_bit_s: float) -> None:
        """The link is back, and perhaps another one: begin lower, and feel upwards at once."""
        self._set(min(0.7 * self.target_bit_s, most_bit_s))
        self._ceiling = None
        self._settled_s = self._step_at_s = now_s
        self._step_wait_s, self._probe_wait_s = FIRST_STEP_WAIT_S, FIRST_PROBE_WAIT_S
        self.draining = False

    def _stretched(self, signals: Signals) -> bool:
        """The picture that is arriving now comes far slower than we send, and waits: the link has just become slow."""
        train = signals.train_bit_s
        return (
            train is not None
            and train < STRETCHED * self.target_bit_s
            and signals.queue_s > STRETCHED_QUEUE_S + 3 * signals.jitter_s
        )

    def _fall(self, signals: Signals) -> None:
        if signals.now_s < self._settled_s:
            return
        if signals.queue_s < EMPTYING * self._cut_queue_s:  # the last cut works: what comes now is less than could
            self._cut_queue_s = signals.queue_s
            self._settled_s = signals.now_s + signals.response_s
            return
        self._cut_queue_s = signals.queue_s
        came = signals.recent_bit_s or signals.delivered_bit_s
        if signals.train_bit_s is not None and self._stretched(signals):
            came = min(came or signals.train_bit_s, signals.train_bit_s)
        elif came is not None and signals.train_bit_s is not None and self._app_limited(signals):
            came = max(came, signals.train_bit_s)  # little came because little was sent
        elif came is not None and signals.train_bit_s is not None and signals.queue_s < DEEP_QUEUE_S / 2:
            came = max(
                came, min(signals.train_bit_s, signals.delivered_bit_s or 0.0)
            )  # of few packets 120 ms say little
        if signals.now_s - self._stepped_s < STEP_BLAMED_S:
            self._step_wait_s = min(MOST_STEP_WAIT_S, 2 * self._step_wait_s)
        self._step_at_s = signals.now_s + self._step_wait_s
        if came is None:
            self._set(BACK_OFF * self.target_bit_s)
        else:
            self._ceiling = (signals.now_s, came)
            share = BACK_OFF_DEEP if signals.queue_s > DEEP_QUEUE_S else BACK_OFF
            self._set(min(self.target_bit_s, share * came))
        self._settled_s = signals.now_s + signals.response_s + signals.queue_s

    def _fall_by_loss(self, signals: Signals) -> None:
        if signals.now_s >= self._settled_s:
            self._set(self.target_bit_s * (1 - 0.5 * signals.lost))
            self._settled_s = signals.now_s + max(0.3, 2 * signals.response_s)
            self._step_at_s = signals.now_s + self._step_wait_s

    def _rise(self, signals: Signals, apart_s: float) -> None:
        if self._step(signals):
            return
        if self._app_limited(signals):
            return  # the pictures need less than they may have: nothing is learnt about the link
        near = False
        if self._ceiling is not None:
            found_s, rate = self._ceiling
            near = NEAR_BELOW * rate < self.target_bit_s < NEAR_ABOVE * rate
            if signals.now_s - found_s > CEILING_AGE_S or self.target_bit_s >= NEAR_ABOVE * rate:
                self._ceiling = None
        growth = GROWTH_NEAR if near else GROWTH
        self._set(self.target_bit_s * (1 + growth * apart_s) + 2_000 * apart_s)

    def _app_limited(self, signals: Signals) -> bool:
        return APP_LIMITED * self.target_bit_s > signals.offered_bit_s + APP_LIMITED_SLACK_BIT_S

    def _step(self, signals: Signals) -> bool:
        self._knows_capacity = signals.capacity_bit_s is not None
        room = STEP_SHARE * (signals.capacity_bit_s or 0.0)
        if signals.now_s < self._step_at_s or room < STEP_WORTH * self.target_bit_s:
            return False
        if self._stepped_s < signals.now_s - 2 * STEP_BLAMED_S:
            self._step_wait_s = max(FIRST_STEP_WAIT_S, self._step_wait_s / 2)
        self._set(min(room, STEP * self.target_bit_s))
        self._probe_wait_s = FIRST_PROBE_WAIT_S
        self._stepped_s = signals.now_s
        self._step_at_s = signals.now_s + max(FIRST_STEP_WAIT_S, 2 * signals.response_s)
        return True

    def _set(self, rate_bit_s: float) -> None:
        self.target_bit_s = max(self._least_bit_s, min(self._most_bit_s, rate_bit_s))
