"""Is this rhythm atrial fibrillation? From the times of beats, as they come, with bounded memory; a score past is never
changed by beats to come, and how the beats are cut into pushes changes nothing, bit for bit.

Two window heads (trees over ``af_features``) look at the last 20 and the last 36 intervals. The continuous score weighs
what they say now with causal exponential averages of it over 15 to 300 beats, the idea of Petrenas, Marozas, Sornmo,
Comput Biol Med 2015. A lone strip of about 30 seconds has a head of its own over all its beats.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter

from vehicle.clinic.ecg.af_features import FEWEST_RR, clipped_rr_s, feature_matrix, median3
from vehicle.clinic.ecg.af_trees import Coefficients, Trees, coefficients, probability

Floats = npt.NDArray[np.float64]

SHORT_RR, LONG_RR = 20, 36
"""Intervals the two window heads see: about 15 and 30 seconds at 75 beats a minute."""
STRIP_LONGEST_S = 62.0
"""Up to here a recording is a lone strip: hand-held devices record 30 s, at most 60."""
AVERAGES = ((0, 15), (1, 15), (0, 40), (1, 40), (1, 100), (1, 300))
"""Causal averages of the continuous score: which window head (0 short, 1 long), time constant in beats."""
_ROWS_AT_ONCE = 4096


def checked_times(beat_times_s: npt.ArrayLike) -> Floats:
    """float64[n], or a ValueError that says what is wrong: not one-dimensional, NaN, not strictly rising."""
    t = np.asarray(beat_times_s, np.float64)
    if t.ndim != 1:
        raise ValueError(f"beat times of shape {t.shape}: expected one dimension")
    if not np.isfinite(t).all():
        raise ValueError("beat times hold NaN or infinity: leave out what is not a beat")
    if (np.diff(t) <= 0).any():
        at = int(np.flatnonzero(np.diff(t) <= 0)[0])
        raise ValueError(f"beat times do not rise at beat {at + 1} ({t[at]:g} s, then {t[at + 1]:g} s): sort them")
    return t


class RhythmStream:
    """Continuous AF score of one recording, causal."""

    def __init__(self, learnt: Coefficients | None = None) -> None:
        self._learnt = learnt or coefficients()
        self._last: float | None = None
        self._rr: Floats = np.zeros(0)
        """At most the last ``LONG_RR`` + 2 intervals."""
        self.intervals = 0
        """How many the recording had so far."""
        self._averages: list[Floats] | None = None
        self._log_odds: float | None = None

    @property
    def log_odds(self) -> float | None:
        """Of AF as of the last beat; None while there are too few."""
        return self._log_odds

    @property
    def score(self) -> float:
        """As of the last beat; 0 while there are too few."""
        return 0.0 if self._log_odds is None else probability(self._log_odds)

    def gap(self) -> None:
        """Beats may be missing here: the interval to the next one does not count."""
        self._last = None

    def push(self, beat_times_s: npt.ArrayLike) -> Floats:
        """Times in seconds, rising, behind those pushed before. Returns a score 0..1 for each: the rhythm up to it."""
        t = checked_times(beat_times_s)
        if len(t) and self._last is not None and t[0] <= self._last:
            raise ValueError(f"a beat at {t[0]:g} s behind one at {self._last:g} s: push beats in order of time")
        out = np.empty(len(t))
        for i in range(0, len(t), _ROWS_AT_ONCE):
            out[i : i + _ROWS_AT_ONCE] = self._push(t[i : i + _ROWS_AT_ONCE])
        return out

    def _push(self, t: Floats) -> Floats:
        starts = self._last is None
        unchanged = [self.score] * starts
        before = t[:1] if self._last is None else np.array([self._last])
        rr = clipped_rr_s(np.concatenate((before, t)))[starts:]
        self._last = float(t[-1])
        return np.concatenate((unchanged, self._score(rr)))

    def _score(self, rr: Floats) -> Floats:
        if not len(rr):
            return rr
        known = np.concatenate((self._rr, rr))
        said = [np.concatenate(list(self._heads(known, len(rr), *head))) for head in self._window_heads()]
        few = max(0, min(len(rr), FEWEST_RR - 1 - self.intervals))
        self.intervals += len(rr)
        self._rr = known[-(LONG_RR + 2) :]
        log_odds = self._weigh([s[few:] for s in said])
        if len(log_odds):
            self._log_odds = float(log_odds[-1])
        return np.array([0.0] * few + [probability(float(x)) for x in log_odds])

    def _window_heads(self) -> tuple[tuple[Trees, int], tuple[Trees, int]]:
        return (self._learnt.short, SHORT_RR), (self._learnt.strip, LONG_RR)

    def _heads(self, known: Floats, new: int, head: Trees, size: int) -> Iterator[Floats]:
        """Log odds at each of the last ``new`` intervals of ``known``: over the last ``size`` of them, fewer at the
        start of a recording, NaN below ``FEWEST_RR``. The median of three looks two intervals further back."""
        smooth = median3(known)
        old = len(known) - new
        grows = max(0, min(new, size - 1 - old))
        for end in range(old + 1, old + grows + 1):
            n = min(end, size)
            if n < FEWEST_RR:
                yield np.full(1, np.nan)
            else:
                yield head.log_odds(feature_matrix(known[None, end - n : end], smooth[None, end - n : end]))
        rest = new - grows
        if rest:
            start = len(known) - rest - size + 1
            windows = (sliding_window_view(x[start:], size) for x in (known, smooth))
            yield head.log_odds(feature_matrix(*windows))

    def _weigh(self, said: list[Floats]) -> Floats:
        held = self._learnt.stream.held_at
        now = [np.clip(s, -held, held) for s in said]
        if not len(now[0]):
            return now[0]
        parts = list(now)
        states = []
        for k, (which, beats) in enumerate(AVERAGES):
            a = 1 - np.exp(-1 / beats)
            state = np.array([now[which][0] * (1 - a)]) if self._averages is None else self._averages[k]
            y, state = lfilter([a], [1, a - 1], now[which], zi=state)
            parts.append(y)
            states.append(state)
        self._averages = states
        *weights, constant = self._learnt.stream.weights
        total = np.full(len(now[0]), constant)
        for w, part in zip(weights, parts, strict=True):
            total += w * part
        return total


def strip_log_odds(rr_s: Floats, shapes: Floats | None = None, learnt: Coefficients | None = None) -> float | None:
    """Log odds of AF of one strip of about 10 to 60 seconds, all of it at once.

    :param rr_s: its intervals, clipped (``clipped_rr_s``)
    :param shapes: ``p_wave.shape_features`` of its beats; None where only the times are known
    :return: None where there are fewer than ``FEWEST_RR`` intervals
    """
    if len(rr_s) < FEWEST_RR:
        return None
    learnt = learnt or coefficients()
    irregularity = feature_matrix(rr_s[None], median3(rr_s)[None])
    if shapes is None:
        return float(learnt.strip.log_odds(irregularity)[0])
    return float(learnt.record.log_odds(np.hstack((irregularity, shapes[None].astype(np.float32))))[0])


def beat_scores(beat_times_s: npt.ArrayLike) -> Floats:
    """A score 0..1 for each beat of a whole recording: the strip head where it is a lone strip, else the stream."""
    t = checked_times(beat_times_s)
    if len(t) and t[-1] - t[0] < STRIP_LONGEST_S:
        log_odds = strip_log_odds(clipped_rr_s(t))
        return np.full(len(t), 0.0 if log_odds is None else probability(log_odds))
    return RhythmStream().push(t)
