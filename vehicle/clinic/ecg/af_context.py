"""What the last minutes add to the evidence of the last beats: causal sums for the continuous AF score (``rhythm.py``).
Pure, streaming, bounded memory; how beats are cut into pushes changes no bit.

Averages of the evidence over 8 to 300 beats: Petrenas, Marozas, Sornmo, Comput Biol Med 2015. Beside them stands the
forward filter of a hidden Markov model of two states (Rabiner, Proc IEEE 1989, III A): where evidence is overwhelming
it rises before an average does. What speaks for breathing and against AF: successive intervals that turn too seldom
(2/3 of them do where each is drawn at random: Dash et al., Ann Biomed Eng 2009).
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

Floats = npt.NDArray[np.float64]

AVERAGED_BEATS = (8, 40, 300)
TURNS_BEATS = (30, 100)
TURNS_OF_AF = 0.55
"""Share of turning points below which breathing is thought of: in AF of the development half of afdb its averages lie
at 0.53 to 0.73, in one healthy man's deep breathing in nsrdb at 0.39 to 0.49."""
BEGINS, ENDS = 1 / 1500, 1 / 800
"""Chance a beat that AF begins, ends: 164 episodes in 119 hours of the development half of afdb, rounded."""
SHARE = 0.05
"""Of the log odds of a window that its last beat adds: windows of neighbouring beats overlap."""
SUMS = (
    "now",
    *(f"over_{beats}" for beats in AVERAGED_BEATS),
    "believed",
    *(f"few_turns_{beats}" for beats in TURNS_BEATS),
)


class _Average:
    """Exponential, over ``beats``; the first value stands for those before it."""

    def __init__(self, beats: int) -> None:
        self._a = 1 - math.exp(-1 / beats)
        self._state: Floats | None = None

    def push(self, x: Floats) -> Floats:
        if self._state is None:
            self._state = x[:1] * (1 - self._a)
        y, self._state = lfilter([self._a], [1, self._a - 1], x, zi=self._state)
        return np.asarray(y, np.float64)


class _Belief:
    """Log odds of AF by the forward filter."""

    def __init__(self) -> None:
        self._log_odds = math.log(BEGINS / ENDS)

    def push(self, evidence: Floats) -> Floats:
        out = np.empty(len(evidence))
        for i, one in enumerate(evidence.tolist()):
            p = 1 / (1 + math.exp(-self._log_odds))
            p = p * (1 - ENDS) + (1 - p) * BEGINS
            self._log_odds = math.log(p / (1 - p)) + SHARE * one
            out[i] = self._log_odds
        return out


class Context:
    """Of one recording."""

    def __init__(self) -> None:
        self._averages = [_Average(beats) for beats in AVERAGED_BEATS]
        self._belief = _Belief()
        self._turns = [_Average(beats) for beats in TURNS_BEATS]

    def push(self, evidence: Floats, turns: Floats) -> Floats:
        """Of n > 0 beats: log odds of AF of the windows that end there, held within bounds, and the measure ``turns``
        of the longest of them. float64[n, ``SUMS``]."""
        return np.stack(
            [
                evidence,
                *(average.push(evidence) for average in self._averages),
                self._belief.push(evidence),
                *(10 * np.maximum(TURNS_OF_AF - average.push(turns), 0) for average in self._turns),
            ],
            1,
        )
