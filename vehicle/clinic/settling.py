"""When a live number may be kept: after it stood still for ten seconds. Pure.

A finger just put in gives numbers that wander; a number that stayed within its tolerance for ten seconds, with no
second missing, is taken as the value. One value per finger (or strap, or probe): the next only after it left and came
back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from devices.readings import HeartRate, PulseOximetry, Temperature

STABLE_S = 10.0
SILENT_S = 3.0
"""Longer without a number: the live value is withdrawn, the count starts again."""

Live = PulseOximetry | HeartRate | Temperature


@dataclass(frozen=True, slots=True)
class Stream:
    """How one kind of reading settles."""

    number: Callable[[Any], float | None]
    """What has to stand still; None: there is no number any more."""
    settled: Callable[[Sequence[Any]], Live]
    """The value of a quiet stretch."""
    tolerance: float
    """Within how much the number has to stay."""
    by_itself: bool = True
    """Kept once it stands still; otherwise only when somebody taps."""


def _quiet_oximetry(readings: Sequence[PulseOximetry]) -> PulseOximetry:
    pulses = [reading.pulse_bpm for reading in readings if reading.pulse_bpm is not None]
    return PulseOximetry(
        spo2_percent=median_low([reading.spo2_percent for reading in readings if reading.spo2_percent is not None]),
        pulse_bpm=median_low(pulses) if pulses else None,
        perfusion_index_percent=readings[-1].perfusion_index_percent,
        device_said_at=readings[-1].device_said_at,
    )


def _quiet_heart(readings: Sequence[HeartRate]) -> HeartRate:
    rates = [reading.heart_rate_bpm for reading in readings if reading.heart_rate_bpm is not None]
    intervals = tuple(rr_ms for reading in readings for rr_ms in reading.rr_ms)
    return HeartRate(median_low(rates), intervals, readings[-1].contact)


STREAMS: dict[str, Stream] = {
    "pulse_oximetry": Stream(lambda reading: reading.spo2_percent, _quiet_oximetry, tolerance=2),
    # a resting heart breathes: a few beats up and down are no fault of the strap
    "heart_rate": Stream(lambda reading: reading.heart_rate_bpm, _quiet_heart, tolerance=8),
    # a number on the way to the final one, or of a probe that stays on
    "temperature": Stream(lambda reading: reading.temperature_c, lambda readings: readings[-1], 0.2, by_itself=False),
}


class Settling:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._window: deque[tuple[float, Live]] = deque()
        self.kept = False
        """A value of this finger was taken already."""
        self.by_itself = stream.by_itself

    def feed(self, at_s: float, reading: Live) -> Live | None:
        """One number set at monotonic time ``at_s``; returns the settled value once it is reached.

        A reading without a number says that the finger left.
        """
        if self._stream.number(reading) is None:
            self.finger_left()
            return None
        if self._window and at_s - self._window[-1][0] > SILENT_S:
            self.finger_left()
        self._window.append((at_s, reading))
        self._leave_out_restless()
        if self.kept or not self.by_itself or self.stable_s(at_s) < STABLE_S:
            return None
        return self.take()

    def take(self) -> Live | None:
        """The value as it stands, of the quiet stretch; None when no finger is in."""
        numbers = [reading for _, reading in self._window]
        if not numbers:
            return None
        self.kept = True
        return self._stream.settled(numbers)

    def live(self, now_s: float) -> Live | None:
        """The newest number set, None when the finger left or nothing came for ``SILENT_S``."""
        if not self._window or now_s - self._window[-1][0] > SILENT_S:
            return None
        return self._window[-1][1]

    def stable_s(self, now_s: float) -> float:
        """For how long the number has stood still, 0 when there is none."""
        return self._window[-1][0] - self._window[0][0] if self.live(now_s) is not None else 0.0

    def finger_left(self) -> None:
        self._window.clear()
        self.kept = False

    def another_person(self) -> None:
        """The count starts again; what was taken was somebody else's."""
        self.finger_left()

    def _leave_out_restless(self) -> None:
        """Keep the longest stretch up to now that stays within the tolerance, and no more of it than is needed."""
        newest = self._stream.number(self._window[-1][1]) or 0
        low = high = newest
        keep = 0
        for _, reading in reversed(self._window):
            number = self._stream.number(reading) or 0
            low, high = min(low, number), max(high, number)
            if high - low > self._stream.tolerance:
                break
            keep += 1
        while len(self._window) > keep:
            self._window.popleft()
        while len(self._window) > 2 and self._window[-1][0] - self._window[1][0] >= STABLE_S:
            self._window.popleft()
