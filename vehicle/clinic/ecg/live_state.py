"""What a screen shows of a running ECG: the events of one chain brought to their present state. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.readings import Samples
from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.critical import CriticalWatch, Found
from vehicle.clinic.ecg.events import (
    AfLevel,
    Asystole,
    Beat,
    Bradycardia,
    Event,
    HeartRate,
    LeadQuality,
    Level,
    Pause,
    Reason,
    RhythmAssessment,
    Shape,
    ShockableRhythm,
    SwapHint,
    Tachycardia,
)

PAUSE_SHOWN_S = 10.0
"""How long a pause that is over stays on the screen (project choice)."""
ECTOPIC_WINDOW_S = 60.0
UNKNOWN_GAP = 1
"""Samples that a new segment is taken to have missed: nobody knows how many."""
ELECTRODES = {
    "RA": ("I", "II"), "R": ("I", "II"), "LA": ("I",), "L": ("I",), "LL": ("II",), "F": ("II",),
}  # fmt: skip
"""Leads on the wire that a loose limb electrode takes away (Einthoven; AHA and IEC names)."""


class LiveEcg:
    """The chain of one device and what it says now. Samples of another shape begin a new one by the caller."""

    def __init__(self, samples: Samples) -> None:
        self._shape = _shape(samples)
        self._chain = EcgChain(samples.channels, samples.sample_rate_hz)
        self._segment, self._next = samples.segment, samples.first_index
        self._state = LiveState(samples.channels, samples.sample_rate_hz)
        self._watch = CriticalWatch(samples.sample_rate_hz)
        self._critical: list[Found] = []

    def continues(self, samples: Samples) -> bool:
        """Whether these samples can go through this chain: same leads, rate and resolution."""
        return _shape(samples) == self._shape

    def push(self, samples: Samples, leads_off: Sequence[str] = ()) -> bool:
        """Take a chunk; True when something changed that should be said at once.

        :param leads_off: leads and electrodes that the front end says are off, by its own names
        """
        events: list[Event] = []
        if samples.segment != self._segment:
            events += self._chain.gap(UNKNOWN_GAP)
        elif samples.first_index > self._next:
            events += self._chain.gap(samples.first_index - self._next)
        late = self._next - samples.first_index if samples.segment == self._segment else 0
        self._segment, self._next = samples.segment, samples.first_index + len(samples.counts)
        mv = samples.values()[max(0, late) :] / 1000.0  # what came twice counts once
        events += self._chain.push(mv, _off(samples.channels, leads_off, len(mv)))
        self._critical += self._watch.take(events)
        return self._state.take(events, self._chain.samples)

    def critical(self) -> list[Found]:
        """What was found to be critical since this was asked last."""
        found, self._critical = self._critical, []
        return found

    def message(self) -> dict[str, Any]:
        return self._state.message()


class LiveState:
    """The present state of a chain; ``take`` its events as they come."""

    def __init__(self, leads: Sequence[str], fs_hz: float) -> None:
        self._fs_hz = fs_hz
        self._now = 0
        self._bpm: float | None = None
        self._rhythm: RhythmAssessment | None = None
        self._pause: Pause | None = None
        self._asystole: Asystole | None = None
        self._shockable = False
        self._rate = "usual"
        self._swap: SwapHint | None = None
        self._leads: dict[str, LeadQuality | None] = dict.fromkeys(leads)
        self._ectopic: list[int] = []

    def take(self, events: Iterable[Event], now: int) -> bool:
        self._now = now
        urgent = False
        for event in events:
            urgent = self._apply(event) or urgent
        oldest = now - ECTOPIC_WINDOW_S * self._fs_hz
        self._ectopic = [at for at in self._ectopic if at >= oldest]
        return urgent

    def _apply(self, event: Event) -> bool:
        """Note one event; True for what is not left to wait for the next second."""
        match event:
            case HeartRate():
                self._bpm = event.bpm
                return True
            case Beat(shape=Shape.ECTOPIC):
                self._ectopic.append(event.sample)
            case LeadQuality():
                self._leads[event.lead] = event
                return event.lead_off
            case Pause():
                self._pause = event
                return True
            case Asystole():
                self._asystole = None if event.ended else event
                return True
            case ShockableRhythm():
                self._shockable = not event.ended
                return True
            case Bradycardia():
                self._rate = "usual" if event.ended else "slow"
            case Tachycardia():
                self._rate = "usual" if event.ended else "fast"
            case RhythmAssessment():
                self._rhythm = event
            case SwapHint():
                self._swap = event
        return False

    def message(self) -> dict[str, Any]:
        rhythm, pause, asystole = self._rhythm, self._pause, self._asystole
        if pause is not None and self._now - pause.sample > PAUSE_SHOWN_S * self._fs_hz:
            pause = None
        return {
            "heart_rate_bpm": None if self._bpm is None else round(self._bpm),
            "rate": self._rate,
            "rhythm": str(rhythm.level) if rhythm is not None else str(AfLevel.UNDECIDED),
            "rhythm_beats": rhythm.beats if rhythm is not None else 0,
            "pause_s": None if pause is None else round(pause.seconds, 1),
            "shockable": self._shockable,
            "asystole": asystole is not None,
            "flat": asystole is not None and asystole.flat,
            "ectopic_per_minute": len(self._ectopic),
            "off": [name for name, state in self._leads.items() if state is not None and state.lead_off],
            "poor": {
                name: str(state.reason or Reason.NOISE)
                for name, state in self._leads.items()
                if state is not None and not state.lead_off and state.level is not Level.GOOD
            },
            "swap": None if self._swap is None else self._swap.electrodes,
        }


def _shape(samples: Samples) -> tuple[object, ...]:
    return (samples.channels, samples.sample_rate_hz, samples.resolution)


def _off(channels: Sequence[str], names: Sequence[str], n: int) -> npt.NDArray[np.bool_] | None:
    if not names:
        return None
    lost = {lead for name in names for lead in ELECTRODES.get(name, (name,))}
    return np.tile(np.array([lead in lost for lead in channels]), (n, 1))
