"""When a pulse oximeter's number may be kept: after it stood still for ten seconds. Pure.

A finger just put in gives numbers that wander; a number that stayed within two points for ten seconds, with no second
missing, is taken as the value. One value per finger: the next only after the finger left and came back.
"""

from __future__ import annotations

from collections import deque
from statistics import median_low

from devices.readings import PulseOximetry

STABLE_S = 10.0
TOLERANCE_PERCENT = 2
SILENT_S = 3.0
"""Longer without a number: the live value is withdrawn, the count starts again."""


class Settling:
    def __init__(self) -> None:
        self._window: deque[tuple[float, PulseOximetry]] = deque()
        self.kept = False
        """A value of this finger was taken already."""

    def feed(self, at_s: float, reading: PulseOximetry) -> PulseOximetry | None:
        """One number set at monotonic time ``at_s``; returns the settled value once it is reached.

        ``spo2_percent`` None says that the finger left.
        """
        if reading.spo2_percent is None:
            self.finger_left()
            return None
        if self._window and at_s - self._window[-1][0] > SILENT_S:
            self.finger_left()
        self._window.append((at_s, reading))
        self._leave_out_restless()
        if self.kept or self.stable_s(at_s) < STABLE_S:
            return None
        return self.take()

    def take(self) -> PulseOximetry | None:
        """The value as it stands, the median of the quiet stretch; None when no finger is in."""
        numbers = [reading for _, reading in self._window]
        if not numbers:
            return None
        self.kept = True
        pulses = [reading.pulse_bpm for reading in numbers if reading.pulse_bpm is not None]
        return PulseOximetry(
            spo2_percent=median_low([reading.spo2_percent for reading in numbers if reading.spo2_percent is not None]),
            pulse_bpm=median_low(pulses) if pulses else None,
            perfusion_index_percent=numbers[-1].perfusion_index_percent,
            device_said_at=numbers[-1].device_said_at,
        )

    def live(self, now_s: float) -> PulseOximetry | None:
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
        newest = self._window[-1][1].spo2_percent or 0
        low = high = newest
        keep = 0
        for _, reading in reversed(self._window):
            spo2 = reading.spo2_percent or 0
            low, high = min(low, spo2), max(high, spo2)
            if high - low > TOLERANCE_PERCENT:
                break
            keep += 1
        while len(self._window) > keep:
            self._window.popleft()
        while len(self._window) > 2 and self._window[-1][0] - self._window[1][0] >= STABLE_S:
            self._window.popleft()
