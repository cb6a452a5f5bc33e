"""Samples against the clock, for protocols that number nothing: was a stretch lost without a trace? Pure."""

from __future__ import annotations

LOSS_WINDOW_S = 2.0


class SampleClock:
    """A stalled host catches up, a lost stretch does not: only the smallest lag of a window counts.

    :param lost_samples: missing against the clock, for a whole window, they are a loss
    """

    def __init__(self, sample_rate_hz: float, lost_samples: float) -> None:
        self._rate_hz = sample_rate_hz
        self._lost_samples = lost_samples
        self._elapsed_s = 0.0
        self._window_s = 0.0
        self._least_lag: float | None = None
        self._usual_lag: float | None = None

    def lost(self, elapsed_s: float, taken: int) -> bool:
        """True once when, over a whole window, the lag never came back to what it was.

        :param taken: samples so far, lost ones that are known included
        """
        if not taken:
            return False
        self._elapsed_s += elapsed_s
        self._window_s += elapsed_s
        lag = self._elapsed_s * self._rate_hz - taken
        self._least_lag = lag if self._least_lag is None else min(lag, self._least_lag)
        if self._window_s < LOSS_WINDOW_S:
            return False
        usual, least = self._usual_lag, self._least_lag
        self._usual_lag, self._least_lag, self._window_s = least, None, 0.0
        return usual is not None and least - usual > self._lost_samples
