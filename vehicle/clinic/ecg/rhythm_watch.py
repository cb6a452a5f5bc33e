"""AF screening beside the ECG chain: its beats in, ``RhythmAssessment`` out. Pure, streaming, bounded memory.

A lone strip is answered once after 30 seconds and, over all of it, at its end. From a minute on the answer is renewed
every five seconds: the mean of the continuous score (``rhythm.RhythmStream``) and of the last 30 seconds with the shape
of their beats (P wave). Without a usable lead the intervals alone decide.

Nothing depends on when the chain hands a beat over, only on the order of its events: a beat is weighed when one
comes that is ``SETTLED_S`` younger, so beats found by looking back are in their place.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vehicle.clinic.ecg.af_features import RR_LONGEST_S, RR_SHORTEST_S
from vehicle.clinic.ecg.af_trees import Coefficients, coefficients, probability
from vehicle.clinic.ecg.events import AfLevel, Beat, Event, LeadQuality, Level, RhythmAssessment
from vehicle.clinic.ecg.p_wave import AFTER_S, BEFORE_S, on_grid, shape_features
from vehicle.clinic.ecg.rhythm import STRIP_LONGEST_S, RhythmStream, strip_log_odds

Floats = npt.NDArray[np.float64]
Window = Callable[[int, float, float], tuple[float, Floats] | None]
"""``EcgChain.window``."""

LEAD_ORDER = ("II", "V1", "I", "aVF", "V2", "ECG")
"""Where P waves stand clearest first (Wagner, Marriott's Practical ECG, ch. 2); then the leads as they come."""
SETTLED_S = 2.5
_WINDOW_GONE_S = 9.0
STRIP_S, EVERY_S = 30.0, 5.0
POSSIBLE, LIKELY = 0.27, 0.73
"""Log odds of -1 and 1. Cross-validated on the CinC 2017 half (AF against all other rhythms): Se 86.7, Sp 97.3 from
``POSSIBLE`` on, Sp 99.1 from ``LIKELY`` on."""
FEWEST_INTERVALS = 12
"""Fewer say nothing (Lake and Moorman 2011: sample entropy of 12 beats is the shortest that tells AF)."""
LEAST_TRUSTED = 0.5
"""Share of intervals between trusted beats, below which nothing is said (project choice)."""


@dataclass(frozen=True, slots=True)
class _Weighed:
    beat: Beat
    rr_s: float | None
    """To the beat before; None where one of them is not trusted or samples are missing between."""
    shape: Floats | None


class RhythmWatch:
    """One recording. ``leads`` and ``fs_hz`` as in ``EcgChain``."""

    def __init__(self, leads: Sequence[str], fs_hz: float, learnt: Coefficients | None = None) -> None:
        order = [name for name in LEAD_ORDER if name in leads] + [name for name in leads if name not in LEAD_ORDER]
        self._columns = {name: list(leads).index(name) for name in order}
        self._usable = dict.fromkeys(order, True)
        self._lead: str | None = None
        self._fs_hz = fs_hz
        self._learnt = learnt or coefficients()
        self._stream = RhythmStream(self._learnt)
        self._unheard: list[list[float]] = []
        """Beat times the stream has not heard yet, a list for each stretch without a gap: heard together when an answer
        is due, which is five times cheaper and the same to the bit."""
        self._continues = False
        """The first of them goes on from what the stream heard last."""
        self._waiting: list[Beat] = []
        self._weighed: deque[_Weighed] = deque()
        self._joined = False
        self._began_s: float | None = None
        self._said_s: float | None = None

    def event(self, event: Event, window: Window) -> list[RhythmAssessment]:
        """What the chain says, one by one and in its order; ``window`` must still hold the last ten seconds."""
        if isinstance(event, LeadQuality):
            self._usable[event.lead] = event.level is not Level.UNUSABLE
            return []
        if not isinstance(event, Beat) or self._is_late(event):
            return []
        self._waiting.append(event)
        self._waiting.sort(key=lambda beat: beat.sample)
        return self._settle(self._waiting[-1].time_s, window)

    def gap(self, window: Window) -> list[RhythmAssessment]:
        """Samples are missing from here: what waits is weighed, and no interval is taken across."""
        said = self._settle(None, window)
        self._joined = False
        return said

    def flush(self, window: Window) -> list[RhythmAssessment]:
        """The recording is over: a lone strip is judged as a whole, a longer one once more where it ends."""
        said = self._settle(None, window)
        if self._weighed and self._weighed[-1].beat.time_s != self._said_s:
            said.append(self._assess(self._weighed[-1].beat, whole=self._is_strip()))
        return said

    def _is_late(self, beat: Beat) -> bool:
        return bool(self._weighed) and beat.sample <= self._weighed[-1].beat.sample

    def _is_strip(self) -> bool:
        return self._began_s is not None and self._weighed[-1].beat.time_s - self._began_s < STRIP_LONGEST_S

    def _settle(self, now_s: float | None, window: Window) -> list[RhythmAssessment]:
        said = []
        while self._waiting and (now_s is None or self._waiting[0].time_s <= now_s - SETTLED_S):
            beat = self._waiting.pop(0)
            gone = now_s is not None and beat.time_s < now_s - _WINDOW_GONE_S
            self._weigh(beat, None if gone else self._shape(beat, window))
            if self._is_due(beat.time_s):
                said.append(self._assess(beat, whole=False))
        return said

    def _weigh(self, beat: Beat, shape: Floats | None) -> None:
        before = self._weighed[-1].beat if self._weighed else None
        rr_s = None
        if before is not None and self._joined and beat.trusted and before.trusted:
            rr_s = min(max(beat.time_s - before.time_s, RR_SHORTEST_S), RR_LONGEST_S)
            self._unheard[-1].append(beat.time_s)
        else:
            self._unheard.append([beat.time_s])
        self._weighed.append(_Weighed(beat, rr_s, shape))
        self._joined = True
        self._began_s = beat.time_s if self._began_s is None else self._began_s
        while beat.time_s - self._weighed[0].beat.time_s > STRIP_LONGEST_S:
            self._weighed.popleft()

    def _shape(self, beat: Beat, window: Window) -> Floats | None:
        """Of the first usable lead; shapes of another lead are not mixed with it."""
        lead = next((name for name, usable in self._usable.items() if usable), None)
        if lead is None or not beat.trusted:
            return None
        if lead != self._lead:
            self._lead = lead
            self._weighed = deque(_Weighed(w.beat, w.rr_s, None) for w in self._weighed)
        cut = window(beat.sample, BEFORE_S + 0.02, AFTER_S + 0.02)
        if cut is None:
            return None
        cut_hz, mv = cut
        return on_grid(cut_hz, (BEFORE_S + 0.02) * cut_hz, mv[:, self._columns[lead]])

    def _is_due(self, now_s: float) -> bool:
        began_s = now_s if self._began_s is None else self._began_s
        if self._said_s is None:
            return now_s - began_s >= STRIP_S
        return now_s - began_s >= STRIP_LONGEST_S and now_s - self._said_s >= EVERY_S

    def _assess(self, beat: Beat, whole: bool) -> RhythmAssessment:
        self._said_s = beat.time_s
        last = [w for w in self._weighed if whole or beat.time_s - w.beat.time_s <= STRIP_S]
        rr_s = np.array([w.rr_s for w in last[1:] if w.rr_s is not None])
        log_odds = self._log_odds(rr_s, last)
        enough = len(rr_s) >= max(FEWEST_INTERVALS, LEAST_TRUSTED * (len(last) - 1))
        score = 0.0 if log_odds is None else probability(log_odds)
        return RhythmAssessment(beat.sample, level_of(score) if enough else AfLevel.UNDECIDED, score, len(rr_s) + 1)

    def _log_odds(self, rr_s: Floats, last: list[_Weighed]) -> float | None:
        cut = [w.shape for w in last if w.shape is not None]
        shapes = shape_features(np.array(cut)) if len(cut) >= LEAST_TRUSTED * len(last) else None
        strip = strip_log_odds(rr_s, shapes, self._learnt)
        steady = None if self._is_strip() else self._steady()
        return strip if steady is None or strip is None else (strip + steady) / 2

    def _steady(self) -> float | None:
        """The continuous score, once it has heard all beats that were weighed."""
        for i, times_s in enumerate(self._unheard):
            if i or not self._continues:
                self._stream.gap()
            self._stream.push(times_s)
        self._unheard, self._continues = [[]], True
        return self._stream.log_odds


def level_of(score: float) -> AfLevel:
    """The step of a score that rests on enough beats."""
    if score >= LIKELY:
        return AfLevel.LIKELY
    return AfLevel.POSSIBLE if score >= POSSIBLE else AfLevel.NONE
