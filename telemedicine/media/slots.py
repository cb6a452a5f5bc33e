"""Which captured pictures are encoded when a rung's frame rate is lower than the source's.

A picture is taken when its slot is due, at the moment it was captured: nothing waits for a timer, so the frame rate
costs no latency. A slot that passed without a picture (the source was late, the computer busy) is gone.
"""

from __future__ import annotations

EARLY = 0.35
"""A picture may come this part of a slot before it: capture times jitter by a few milliseconds around the rate."""


class Slots:
    """Not thread-safe; times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._due_s = float("-inf")

    def take(self, captured_s: float, rate_hz: float) -> bool:
        """Whether the picture captured at ``captured_s`` fills a slot; asked once for each picture, in order."""
        period_s = 1.0 / rate_hz
        if captured_s < self._due_s - EARLY * period_s:
            return False
        on_time = captured_s < self._due_s + period_s
        self._due_s = (self._due_s if on_time else captured_s) + period_s
        return True
