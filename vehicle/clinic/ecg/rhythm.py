"""Is this rhythm atrial fibrillation? From the times of beats, as they come, with bounded memory; a score past is never
changed by beats to come, and how the beats are cut into pushes changes nothing, bit for bit.

The evidence of each beat (trees over ``af_features`` of the last 10, 20 and 36 intervals) is weighed with what the last
minutes say (``af_context``). A lone strip of about 30 seconds has a head of its own over all its beats.
"""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from vehicle.clinic.ecg.af_context import Context
from vehicle.clinic.ecg.af_features import FEATURES, FEWEST_RR, clipped_rr_s, feature_matrix, median3
from vehicle.clinic.ecg.af_trees import Coefficients, coefficients, probability

Floats = npt.NDArray[np.float64]

SPANS_RR = (10, 20, 36)
"""Intervals the evidence of a beat rests on: the last 8, 15 and 30 seconds at 75 beats a minute."""
EVIDENCE = tuple(f"{name}_{size}" for size in SPANS_RR for name in FEATURES)
"""Names in the order of ``evidence_features``."""
TURNS = EVIDENCE.index(f"turns_{SPANS_RR[-1]}")
STRIP_LONGEST_S = 62.0
"""Up to here a recording is a lone strip: hand-held devices record 30 s, at most 60."""
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


def evidence_features(rr_s: Floats, ends: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """float32[len(ends), ``EVIDENCE``] of the windows whose last interval is one of ``ends`` (indices of ``rr_s``,
    clipped). Where fewer are known than a span holds, as many as there are; NaN below ``FEWEST_RR``."""
    smooth = median3(rr_s)
    return np.hstack([_windows(rr_s, smooth, ends, size) for size in SPANS_RR])


def _windows(rr_s: Floats, smooth_s: Floats, ends: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.float32]:
    out = np.full((len(ends), len(FEATURES)), np.nan, np.float32)
    full = ends >= size - 1
    if full.any():
        begins = ends[full] - size + 1
        out[full] = feature_matrix(*(sliding_window_view(x, size)[begins] for x in (rr_s, smooth_s)))
    for row in np.flatnonzero(~full & (ends >= FEWEST_RR - 1)):
        known = slice(0, int(ends[row]) + 1)
        out[row] = feature_matrix(rr_s[None, known], smooth_s[None, known])[0]
    return out


class RhythmStream:
    """Continuous AF score of one recording, causal."""

    def __init__(self, learnt: Coefficients | None = None) -> None:
        self._learnt = learnt or coefficients()
        self._last: float | None = None
        self._rr: Floats = np.zeros(0)
        """At most the last ``max(SPANS_RR)`` + 2 intervals: the median of three looks two further back."""
        self.intervals = 0
        """How many the recording had so far."""
        self._context = Context()
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
        few = max(0, min(len(rr), FEWEST_RR - 1 - self.intervals))
        self.intervals += len(rr)
        self._rr = known[-(max(SPANS_RR) + 2) :]
        if few == len(rr):
            return np.zeros(few)
        log_odds = self._weigh(evidence_features(known, np.arange(len(known) - len(rr) + few, len(known))))
        self._log_odds = float(log_odds[-1])
        return np.array([0.0] * few + [probability(float(x)) for x in log_odds])

    def _weigh(self, features: npt.NDArray[np.float32]) -> Floats:
        stream = self._learnt.stream
        evidence = np.clip(self._learnt.evidence.log_odds(features), -stream.held_at, stream.held_at)
        total = np.full(len(features), stream.constant)
        sums = self._context.push(evidence, features[:, TURNS].astype(np.float64))
        for weight, column in zip(stream.weights, sums.T, strict=True):  # one order of adding
            total += weight * column
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
