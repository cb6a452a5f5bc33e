"""What of an ECG is a critical value (domain notes, section 3.7), from the events of the chain. Pure.

- no beat: asystole as the chain says it (3.6 s, ``watch.py``); a pause over 3 s;
- a rate from 150 or to 45 a minute, held for three seconds as it is shown;
- five wide beats in a row at more than 100 a minute: ventricular tachycardia may be behind it (a monitor's usual
  limits, not verified). Bundle branch block and aberrant beats look the same, so it is a suspicion.

- a signal like ventricular fibrillation or rapid ventricular tachycardia (``shockable.py``): a suspicion, which misses
  fine fibrillation and may be movement.

Infarction and third-degree block are for the doctor to sign.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from sync.formats.canonical import Json
from vehicle.clinic.ecg.events import Asystole, Beat, Event, HeartRate, Pause, Shape, ShockableRhythm
from vehicle.clinic.ecg.findings import heard_by_rules

ASYSTOLE, PAUSE, RATE_HIGH, RATE_LOW, WIDE_RUN, SHOCKABLE = (
    "ecg_asystole", "ecg_pause", "ecg_rate_high", "ecg_rate_low", "ecg_wide_run", "ecg_shockable",
)  # fmt: skip
PAUSE_MS = 3000
HIGH_BPM, LOW_BPM = 150, 45
HIGHER_BPM = (180, 220)
"""Told again from here on: for a child the first limit is none (``vehicle.clinic.occasions.adults_rate``)."""
HELD_FOR, BACK_BY_BPM = 3, 5
"""Rates said in a row, one a second; how far a rate must be back before it can be found again."""
RUN_BEATS, RUN_BPM = 5, 100

Found = tuple[str, dict[str, Json]]
"""What it is, and the numbers that say so: heart_rate_bpm, pause_ms, beats, began_ms, flat."""


class CriticalWatch:
    """Critical findings of a running ECG as they begin. ``take`` its events in order."""

    def __init__(self, fs_hz: float) -> None:
        self._fs_hz = fs_hz
        self._steps: deque[int] = deque(maxlen=HELD_FOR)
        self._told = self._low = 0
        self._is_low = False
        self._run: list[int] = []
        self._run_told = False

    def take(self, events: Iterable[Event]) -> list[Found]:
        found: list[Found] = []
        for event in events:
            match event:
                case Asystole(ended=False):
                    found.append((ASYSTOLE, {"flat": event.flat}))
                case ShockableRhythm(ended=False):
                    found.append((SHOCKABLE, {}))
                case Pause(ended=True) if event.seconds * 1000 > PAUSE_MS:
                    found.append((PAUSE, {"pause_ms": round(event.seconds * 1000)}))
                case HeartRate():
                    found += self._rate(event.bpm)
                case Beat():
                    found += self._beat(event)
        return found

    def _rate(self, bpm: float | None) -> list[Found]:
        if bpm is None:
            self._steps.clear()
            self._low = 0
            return []
        shown = round(bpm)
        self._steps.append(sum(shown >= limit for limit in (HIGH_BPM, *HIGHER_BPM)))
        self._low = self._low + 1 if shown <= LOW_BPM else 0
        self._told = self._told if shown >= HIGH_BPM - BACK_BY_BPM else 0
        self._is_low = self._is_low and shown <= LOW_BPM + BACK_BY_BPM
        if len(self._steps) == HELD_FOR and min(self._steps) > self._told:
            self._told = min(self._steps)
            return [(RATE_HIGH, {"heart_rate_bpm": shown})]
        if self._low >= HELD_FOR and not self._is_low:
            self._is_low = True
            return [(RATE_LOW, {"heart_rate_bpm": shown})]
        return []

    def _beat(self, beat: Beat) -> list[Found]:
        if beat.shape is not Shape.ECTOPIC:
            self._run, self._run_told = [], False
            return []
        self._run = [*self._run, beat.sample][-RUN_BEATS:]
        if len(self._run) < RUN_BEATS or self._run_told:
            return []
        bpm = 60 * self._fs_hz * (RUN_BEATS - 1) / max(1, self._run[-1] - self._run[0])
        self._run_told = bpm > RUN_BPM
        return [(WIDE_RUN, {"heart_rate_bpm": round(bpm), "beats": RUN_BEATS})] if self._run_told else []


def in_findings(found: Mapping[str, Any]) -> list[Found]:
    """What is critical in the findings of a recording (``ecg_analysis/1``), each kind once.

    A heart rate counts as the rules hear it: from enough trusted beats.
    """
    critical: list[Found] = [(ASYSTOLE, {"began_ms": stop["began_ms"]}) for stop in found.get("asystole", ())[:1]]
    shockable: list[Found] = [(SHOCKABLE, {"began_ms": one["began_ms"]}) for one in found.get("shockable", ())[:1]]
    pauses = [pause for pause in found.get("pauses", ()) if pause["ms"] > PAUSE_MS]
    if pauses and not critical:
        longest = max(pauses, key=lambda pause: int(pause["ms"]))
        critical.append((PAUSE, {"pause_ms": longest["ms"], "began_ms": longest["began_ms"]}))
    rate = heard_by_rules(found).get("hr")
    if isinstance(rate, int) and rate >= HIGH_BPM:
        critical.append((RATE_HIGH, {"heart_rate_bpm": rate}))
    if isinstance(rate, int) and rate <= LOW_BPM:
        critical.append((RATE_LOW, {"heart_rate_bpm": rate}))
    return shockable + critical + _wide_run(found.get("beat_ms", ()), str(found.get("beat_shapes", "")))


def _wide_run(beat_ms: Sequence[int], shapes: str) -> list[Found]:
    """The longest run of wide beats that is long and fast enough."""
    best: Found | None = None
    longest, began = 0, 0
    for place, (letter, after) in enumerate(pairwise(shapes + "n")):
        if letter == "e" and (place == 0 or shapes[place - 1] != "e"):
            began = place
        if letter != "e" or after == "e":
            continue
        beats = place - began + 1
        took_ms = beat_ms[place] - beat_ms[began]
        bpm = 60_000 * (beats - 1) / took_ms if took_ms > 0 else 0.0
        if beats >= RUN_BEATS and beats > longest and bpm > RUN_BPM:
            longest, best = beats, (WIDE_RUN, {"heart_rate_bpm": round(bpm), "beats": beats})
    return [best] if best else []
