"""Ventricular fibrillation, flutter and rapid ventricular tachycardia, told from the signal itself. Pure.

Where there are no beats to go by, two things tell such a rhythm; both are measured every second over the last eight
seconds of a lead between 1 and 30 Hz:

- it never rests: ``resting``, the share of samples whose slope is under a tenth of its 98th percentile (in the spirit
  of the slope measures of Irusta et al., Resuscitation 2012; the limits are ours);
- it is nearly a sine: ``leakage``, what is left of the signal added to itself half a period later (VF filter: Kuo and
  Dillman, Comput Cardiol 1978; Amann, Tratnig, Unterkofler, Biomed Eng Online 2005, whose formula this is).

A logistic weighs the two. Threshold crossings, the share of the 13-16.5 Hz band, phase space, kurtosis, concentration
and regularity were tried beside them and added little (README). Two more only forbid: waves that turn faster or slower
than a fibrillating heart, and QRS complexes that stand out of the waves (``bent``), as they do of a hand that trembles.
A lead is judged where its quality allows it and its waves are 0.2 mV high or more: less is fine fibrillation or none,
and no defibrillator is asked to tell it (AHA: Kerber et al., Circulation 1997). Several leads vote, so that one loose
electrode does not speak alone.

It is a suspicion: wide beats one after the other and movement look alike, and who answers does not fibrillate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from vehicle.clinic.ecg.events import Level, ShockableRhythm
from vehicle.clinic.ecg.quality import Verdict
from vehicle.clinic.ecg.signals import Signals
from vehicle.clinic.ecg.timeline import Timeline

Floats = npt.NDArray[np.float64]

WINDOW_S, EVERY_HOPS = 8.0, 2
"""What is measured at once (defibrillators answer on 8 to 10 s), and after how many hops it is measured again."""
LEAD_ORDER, MOST_LEADS = ("II", "V1", "I", "V5", "V2", "aVF"), 4
THINNED_HZ = 125.0
BAND_HZ = (1.0, 30.0)
SMALLEST_MV = 0.2
TURNS_HZ, OTHERWISE = (2.35, 8.0), -5.0
"""Waves a second by the mean period, 140 to 480 a minute; muscle noise and fast shaking turn faster, slow movement
slower, and neither is one (98 of 100 windows of real fibrillation lie between 2.9 and 7.0, none above 8.5)."""
SHARP_OF, MOST_BENT = 0.98, 10.0
"""How much sharper than usual the sharpest bends may be: 99.5 % of windows of real fibrillation have 6.5 at most, 99 %
of ventricular tachycardia 9.2; a QRS over a tremor has more."""
SLOW, SLOPE_OF = 0.1, 0.98
BIAS, PER_LOG_RESTING, PER_LEAKAGE = 3.50, -4.65, -15.8
LEAST_RESTING = 0.02
"""Fitted to 21 records of the MIT-BIH Malignant Ventricular Ectopy Database and the development half of the MIT-BIH
Arrhythmia Database, both leads; what people left out of the fit give stands in README."""
MOST_ODDS, AVERAGED, ON, OFF = 3.0, 3, 1.0, -1.0
"""A lead's log odds count up to so much either way: of two leads one cannot outvote the other. They are averaged over
the leads and so many seconds; from ON it is told, under OFF it is over."""


def resting(x: Floats) -> Floats:
    """float64[leads, n] -> the share of samples where hardly anything moves, per lead."""
    slope = np.abs(np.diff(x, axis=1))
    steep = np.quantile(slope, SLOPE_OF, axis=1, keepdims=True)
    return np.asarray((slope < SLOW * steep).mean(axis=1), np.float64)


def bent(x: Floats) -> Floats:
    """float64[leads, n] -> how much the sharpest bends stand out of the usual ones, per lead; 1.4 for a sine."""
    bends = np.abs(np.diff(x, n=2, axis=1))
    usual, sharp = np.quantile(bends, (0.5, SHARP_OF), axis=1)
    return np.asarray(sharp / np.maximum(usual, 1e-9), np.float64)


def half_periods(x: Floats) -> Floats:
    """float64[leads, n] -> half the mean period of each lead, in samples."""
    size, steps = np.abs(x).sum(axis=1), np.abs(np.diff(x, axis=1)).sum(axis=1)
    return np.asarray(np.clip(np.pi * size / np.maximum(steps, 1e-9), 1, x.shape[1] // 2), np.float64)


def leakage(x: Floats, halves: Floats) -> Floats:
    """float64[leads, n] -> 0 for a sine, about 1 for what has no period, per lead."""
    left = np.empty(len(x))
    for lead, half in enumerate(np.floor(halves + 0.5).astype(int)):
        now, before = x[lead, half:], x[lead, :-half]
        left[lead] = np.abs(now + before).sum() / max(float((np.abs(now) + np.abs(before)).sum()), 1e-9)
    return left


def log_odds(x: Floats, rate_hz: float) -> Floats:
    """float64[leads, n] of the 1-30 Hz signal -> how much speaks for a shockable rhythm, per lead."""
    halves = half_periods(x)
    turns_hz = rate_hz / 2 / halves
    odds = BIAS + PER_LOG_RESTING * np.log(resting(x) + LEAST_RESTING) + PER_LEAKAGE * leakage(x, halves)
    possible = (turns_hz >= TURNS_HZ[0]) & (turns_hz <= TURNS_HZ[1]) & (bent(x) <= MOST_BENT)
    return np.where(possible, odds, np.minimum(odds, OTHERWISE))


def wave_mv(x: Floats) -> Floats:
    """From peak to peak, of a sine of the same mean size: a QRS now and then does not make waves high."""
    return np.asarray(np.pi * np.abs(x).mean(axis=1), np.float64)


class ShockableWatch:
    """``close_hop`` at the end of each hop, so that pushes do not matter."""

    def __init__(self, leads: Sequence[str], fs_hz: float, signals: Signals) -> None:
        order = [leads.index(lead) for lead in LEAD_ORDER if lead in leads]
        rest = [index for index in range(len(leads)) if index not in order]
        self._chosen = (order + rest)[:MOST_LEADS]
        self._fs_hz = fs_hz
        self._began: int | None = None
        self.begin_anew(signals)

    def begin_anew(self, signals: Signals) -> None:
        """After a gap; ``stop`` before it."""
        self._signals = signals
        self._thin = max(1, int(signals.rate_hz / THINNED_HZ))
        self._rate_hz = signals.rate_hz / self._thin
        band = (BAND_HZ[0], min(BAND_HZ[1], 0.4 * self._rate_hz))
        self._sos = butter(2, band, "band", fs=self._rate_hz, output="sos")
        self._state = np.zeros((len(self._sos), len(self._chosen), 2))
        self._window = round(WINDOW_S * self._rate_hz)
        self._band = Timeline(len(self._chosen), self._window)
        self._read = self._hops = 0
        self._last: deque[float] = deque(maxlen=AVERAGED)

    def stop(self, sample: int) -> list[ShockableRhythm]:
        """Nothing can be said any more: what is open ends."""
        began, self._began = self._began, None
        self._last.clear()
        return [] if began is None else [ShockableRhythm(sample, began, True)]

    def close_hop(self, sample: int, verdicts: Sequence[Verdict | None]) -> list[ShockableRhythm]:
        """What begins or ends with the hop that ends at ``sample``. ``verdicts``: of all leads."""
        self._take()
        self._hops += 1
        if self._hops % EVERY_HOPS or self._band.end < self._window:
            return []
        x = np.ascontiguousarray(self._band.read(self._band.end - self._window, self._band.end))
        levels = [verdicts[index] for index in self._chosen]
        usable = np.array([verdict is None or verdict.level is not Level.UNUSABLE for verdict in levels])
        judged = usable & (wave_mv(x) >= SMALLEST_MV)
        if not judged.any():
            return self.stop(sample)
        self._last.append(float(np.mean(np.clip(log_odds(x[judged], self._rate_hz), -MOST_ODDS, MOST_ODDS))))
        return self._decide(sample)

    def _decide(self, sample: int) -> list[ShockableRhythm]:
        if len(self._last) < AVERAGED:
            return []
        average = sum(self._last) / AVERAGED
        if self._began is None and average >= ON:
            self._began = max(0, sample - round(WINDOW_S * self._fs_hz))
            return [ShockableRhythm(sample, self._began, False)]
        return self.stop(sample) if self._began is not None and average < OFF else []

    def _take(self) -> None:
        """The columns of the clean signal that became known."""
        first = self._read + (-self._read) % self._thin
        end = self._signals.known_clean
        clean = self._signals.clean(first, end)[self._chosen, :: self._thin]
        self._read = max(self._read, end)
        if clean.shape[1]:
            band, self._state = sosfilt(self._sos, clean, zi=self._state)
            self._band.append(band)
