"""The baseline of converters that measure from 0 Hz, taken off as every electrocardiograph does. Pure.

Electrodes stand at some ten or hundred millivolts against each other and wander; the heart makes a few millivolts. A
first-order high-pass of 0.05 Hz removes the one and keeps the other, ST segments included: it is the low-frequency
limit of IEC 60601-2-25 and of the AHA/ACC/HRS recommendations of 2007 for a diagnostic ECG. What remains fits int16 in
steps of 1 uV (the standard asks for 5 uV), so that nothing of clinical worth is lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from devices.readings import INVALID_COUNT
from devices.wave_chunks import count_or_none

CUTOFF_HZ = 0.05
FORGET_AFTER_S = 1.0
"""A channel without value for so long begins anew: its electrode was off, and sits otherwise now."""


class AcCoupling:
    """Rows of microvolts, None where a channel has no value -> rows of counts of 1 uV.

    A channel's baseline is first the mean of what came so far, then the low-pass of 0.05 Hz: the trace is on the paper
    at once instead of after ten seconds. A value beyond int16 is none, and its channel begins anew.
    """

    def __init__(self, n_channels: int, sample_rate_hz: float) -> None:
        self._slowest = 2 * math.pi * CUTOFF_HZ / sample_rate_hz
        self._forget_after = round(FORGET_AFTER_S * sample_rate_hz)
        self._channels = range(n_channels)
        self.begin()

    def begin(self) -> None:
        self._baseline_uv = [0.0 for _ in self._channels]
        self._seen = [0 for _ in self._channels]
        self._missing = [0 for _ in self._channels]

    def row(self, values_uv: Sequence[float | None]) -> tuple[int, ...]:
        return tuple(self._count(channel, value) for channel, value in zip(self._channels, values_uv, strict=True))

    def _count(self, channel: int, value_uv: float | None) -> int:
        if value_uv is None:
            self._missing[channel] += 1
            if self._missing[channel] == self._forget_after:
                self._seen[channel] = 0
            return INVALID_COUNT
        self._missing[channel] = 0
        self._seen[channel] += 1
        pace = max(self._slowest, 1 / self._seen[channel])
        self._baseline_uv[channel] += (value_uv - self._baseline_uv[channel]) * pace
        count = count_or_none(value_uv - self._baseline_uv[channel])
        if count == INVALID_COUNT:
            self._seen[channel] = 0
        return count
