"""Rate, pauses, asystole, brady- and tachycardia from the times of beats. Pure; all times are samples of the recording.

Where the numbers come from
- rate: mean of twelve RR without the longest and the shortest; the last four when three are over 1200 ms (Mindray
  BeneHeart D60, operator's manual); the last four too when they agree with each other and not with the twelve, so that
  a step is shown in seconds (IEC 60601-2-27 asks for the time of 80 -> 120 to be stated). Said once a second.
- pause: over 2.5 s (project goal; a critical value from 3 s). Asystole: no beat for 3.45 s, so that it is said within
  4 s (IEC 60601-2-27: within 10 s).
- bradycardia under 50 (ACC/AHA/HRS 2018), tachycardia over 100 a minute, shown for three seconds; back by 2 a minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from vehicle.clinic.ecg.events import Asystole, Bradycardia, Event, HeartRate, Pause, Tachycardia

RR_COUNTED, RR_LAST = 12, 4
LONG_RR_S, LONG_RR_COUNT = 1.2, 3
AGREE, DIFFER = 0.05, 0.05
LEAST_RR = 2
SAID_EVERY_S = 1.0
PAUSE_S, ASYSTOLE_S = 2.5, 3.45
BRADYCARDIA_BPM, TACHYCARDIA_BPM, BACK_BY_BPM, SHOWN_FOR = 50.0, 100.0, 2.0, 3


def rate_bpm(rr_s: list[float]) -> float | None:
    """Rate of the last RR intervals, newest last; None for too few."""
    if len(rr_s) < LEAST_RR:
        return None
    last = rr_s[-RR_LAST:]
    recent = sum(last) / len(last)
    if len(last) == RR_LAST and sum(rr > LONG_RR_S for rr in last) >= LONG_RR_COUNT:
        return 60 / recent
    kept = sorted(rr_s[-RR_COUNTED:])
    if len(kept) > RR_LAST:
        kept = kept[1:-1]
    usual = sum(kept) / len(kept)
    steady = len(last) == RR_LAST and max(last) - min(last) < AGREE * recent
    return 60 / (recent if steady and abs(recent - usual) > DIFFER * usual else usual)


_Say = Callable[[int, bool], list[Event]]


class BeatWatch:
    """``beat`` for each beat, ``advance`` with how far the recording is known. ``delay``: how long after it a beat is
    known at the latest, in samples."""

    def __init__(self, fs_hz: float, delay: int) -> None:
        self._fs_hz, self._delay = fs_hz, delay
        self._next_rate = self._samples(SAID_EVERY_S)
        self._slow_for = self._fast_for = 0
        self._bradycardia = self._tachycardia = False
        self._begin(0)

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._fs_hz)

    def _begin(self, sample: int) -> None:
        self._rr: deque[float] = deque(maxlen=RR_COUNTED)
        self._last: int | None = None
        self._since = sample
        self._paused = self._standstill = False
        self.watching = True

    def stop(self, sample: int) -> list[Event]:
        """No lead shows beats any more: nothing can be said, open findings end."""
        told = self._end_open(sample)
        self._begin(sample)
        self.watching = False
        self._slow_for = self._fast_for = 0
        for open_, kind in ((self._bradycardia, Bradycardia), (self._tachycardia, Tachycardia)):
            if open_:
                told.append(kind(sample, None, True))
        self._bradycardia = self._tachycardia = False
        return told

    def start(self, sample: int) -> None:
        """A lead can be read again."""
        self._begin(sample)

    def skip(self, sample: int) -> None:
        """Samples up to ``sample`` are missing: nothing is said of the time between."""
        every = self._samples(SAID_EVERY_S)
        self._next_rate = (sample // every + 1) * every
        self._begin(sample)

    def beat(self, sample: int) -> list[Event]:
        """``sample`` of a beat, later than those before."""
        told = self._end_open(sample)
        if self._last is not None:
            self._rr.append((sample - self._last) / self._fs_hz)
        self._last = self._since = sample
        return told

    def _end_open(self, sample: int) -> list[Event]:
        told: list[Event] = []
        if self._paused:
            told.append(Pause(sample, self._since, (sample - self._since) / self._fs_hz, True))
        if self._standstill:
            told.append(Asystole(sample, self._since, True))
            self._rr.clear()
            self._last = None
        self._paused = self._standstill = False
        return told

    def advance(self, now: int, flat: bool = False) -> list[Event]:
        """Everything that became due up to sample ``now``."""
        told: list[Event] = []
        while (due := self._due()) is not None and due[0] <= now:
            told += due[1](due[0], flat)
        return told

    def _due(self) -> tuple[int, _Say] | None:
        waits: list[tuple[int, _Say]] = [(self._next_rate, self._say_rate)]
        if self.watching and self._last is not None and not self._paused:
            waits.append((self._since + self._samples(PAUSE_S) + self._delay, self._say_pause))
        if self.watching and not self._standstill:
            waits.append((self._since + self._samples(ASYSTOLE_S) + self._delay, self._say_asystole))
        return min(waits, key=lambda wait: wait[0])

    def _say_pause(self, sample: int, flat: bool) -> list[Event]:
        self._paused = True
        return [Pause(sample, self._since, (sample - self._since) / self._fs_hz, False)]

    def _say_asystole(self, sample: int, flat: bool) -> list[Event]:
        self._standstill = True
        return [Asystole(sample, self._since, False, flat), HeartRate(sample, None)]

    def _say_rate(self, sample: int, flat: bool) -> list[Event]:
        self._next_rate += self._samples(SAID_EVERY_S)
        bpm = None if self._standstill or not self.watching else rate_bpm(list(self._rr))
        return [HeartRate(sample, bpm), *self._limits(sample, bpm)]

    def _limits(self, sample: int, bpm: float | None) -> list[Event]:
        if bpm is None:
            return []
        told: list[Event] = []
        self._slow_for = self._slow_for + 1 if bpm < BRADYCARDIA_BPM else 0
        self._fast_for = self._fast_for + 1 if bpm > TACHYCARDIA_BPM else 0
        if self._bradycardia and bpm > BRADYCARDIA_BPM + BACK_BY_BPM:
            self._bradycardia = False
            told.append(Bradycardia(sample, bpm, True))
        if self._tachycardia and bpm < TACHYCARDIA_BPM - BACK_BY_BPM:
            self._tachycardia = False
            told.append(Tachycardia(sample, bpm, True))
        if not self._bradycardia and self._slow_for >= SHOWN_FOR:
            self._bradycardia = True
            told.append(Bradycardia(sample, bpm, False))
        if not self._tachycardia and self._fast_for >= SHOWN_FOR:
            self._tachycardia = True
            told.append(Tachycardia(sample, bpm, False))
        return told
