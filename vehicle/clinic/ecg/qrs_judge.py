"""Is this peak a QRS? 38 measures of it beside the person's own beats, and the small network that weighs them. Pure.

The network (10 hidden units) was fitted to the development half of the MIT-BIH Arrhythmia Database with added noise,
tall P and T waves and stretched beats (``benchmarks/train_ecg_beats.py``); README has its figures when whole records
are left out. Everything it sees is relative to the person and in seconds, so that gain, lead and sampling rate do not
matter.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from vehicle.clinic.ecg.qrs import Peak, QrsDetector

Floats = npt.NDArray[np.float64]
Judge = Callable[[Floats], float]
"""float64[38] -> log odds that the peak is a QRS: marked above 0."""

NEAR_BEFORE_S, BLANK_BEFORE_S = 0.5, 0.18
RIVAL_FROM_S = 0.09


def _log_ratio(a: float, b: float, high: float = 1.5, low: float = -3.0) -> float:
    if a <= 0:
        return low
    if b <= 0:
        return high
    return min(max(math.log(a / b), low), high)


def _bump(x: float, width: float) -> float:
    return math.exp(-((x / width) ** 2))


def features(detector: QrsDetector, peak: Peak, level: float, now: int) -> Floats:
    """What is known of ``peak`` at ``now``; in the order of the rows of ``qrs_judge.json``."""
    signals, levels, last = detector.signals, detector.levels, detector.last
    columns, rate = signals.columns, signals.rate_hz
    height, column = peak.height, peak.column
    size = _log_ratio(height, level, high=3.0, low=-4.0)
    slope = _log_ratio(peak.slope, statistics.median(levels.slopes) if levels.slopes else peak.slope)
    extent = _log_ratio(peak.size_mv, statistics.median(levels.sizes) if levels.sizes else peak.size_mv)
    beat, wave = detector.beats.likeness(peak.shape), detector.waves.likeness(peak.shape)
    seconds = (column - last.column) / rate if last else 2.0
    interval = min((column - last.column) / detector.rr, 3.0) if last else 1.0
    t_wave = min(1.0, max(0.0, 1 - max(0.0, seconds - 0.2) / 0.25))
    beside_last = [
        _log_ratio(height, last.height) if last else 0.0,
        _log_ratio(peak.slope, last.slope) if last else 0.0,
        _log_ratio(peak.size_mv, last.size_mv) if last else 0.0,
    ]
    rival = _log_ratio(detector.ahead(now), height, low=-2.0)
    rival_before = _log_ratio(
        max((p.height for p in detector.refused if column - p.column < columns(0.2)), default=0.0), height, low=-2.0
    )
    rise, steep = _rivals_ahead(detector, peak, now)
    noise = _log_ratio(statistics.median(levels.noise), level, high=0.0, low=-4.0)
    begin = max(0, column - columns(NEAR_BEFORE_S))
    before = signals.envelope(begin, max(begin + 1, column - columns(BLANK_BEFORE_S)))
    unrest = math.log(float(before.mean()) / level + 0.01) if level > 0 else 0.0
    near = signals.envelope(max(0, column - columns(0.05)), column + columns(0.05) + 1)
    ordered = sorted(levels.rr)
    regular = 1.0 if len(ordered) > 4 and ordered[-2] - ordered[1] < 0.15 * detector.rr else 0.0
    small = size if size < 0 else 0.0
    return np.array(
        [
            size,
            small * small,
            slope,
            slope * slope if slope < 0 else 0.0,
            beat,
            beat * beat,
            wave,
            max(0.0, wave - max(beat, 0.0)),
            t_wave,
            t_wave * beside_last[0],
            t_wave * beside_last[1],
            t_wave * beat,
            rival,
            max(rival, 0.0),
            rival_before,
            max(rival_before, 0.0),
            noise,
            unrest,
            unrest * size,
            min(interval, 1.0),
            max(0.0, min(interval - 1, 1.0)),
            max(0.0, 0.6 - interval),
            _bump(interval - 1, 0.12),
            size * beat,
            0.0 if detector.beats.kinds else 1.0,
            float(near.mean()) / height,
            rise,
            max(rise, 0.0),
            steep,
            max(steep, 0.0),
            extent,
            t_wave * beside_last[2],
            _at(signals.envelope(max(0, column - columns(0.12)), column)) / height,
            _at(signals.envelope(column + columns(0.12), column + columns(0.12) + 1)) / height,
            regular * _bump(interval - 1, 0.08),
            regular * min(interval, 1.0),
            regular,
            seconds if seconds < 0.6 else 0.6,
        ]
    )


def _at(stretch: Floats) -> float:
    return float(stretch[0]) if len(stretch) else 0.0


def _rivals_ahead(detector: QrsDetector, peak: Peak, now: int) -> tuple[float, float]:
    """Whether something larger rises behind the peak, in the less delayed signals: a P wave has its QRS there."""
    signals = detector.signals
    begin = peak.column + signals.columns(RIVAL_FROM_S)
    end = now + signals.quicker
    magnitude, slope = signals.magnitude(begin, end), signals.slope(begin, end)
    here = _at(signals.magnitude(peak.fiducial, peak.fiducial + 1))
    if not len(magnitude):
        return -2.0, -2.0
    return _log_ratio(float(magnitude.max()), here, low=-2.0), _log_ratio(float(slope.max()), peak.slope, low=-2.0)


class Network:
    """One hidden layer of tanh units over standardised measures."""

    def __init__(self, mean: Floats, scale: Floats, hidden: Floats, bias: Floats, out: Floats, offset: float) -> None:
        self._mean, self._scale = mean, scale
        self._hidden, self._bias, self._out, self._offset = hidden, bias, out, offset

    def __call__(self, measures: Floats) -> float:
        standard = np.clip((measures - self._mean) * self._scale, -5.0, 5.0)
        return float(np.dot(self._out, np.tanh(self._hidden @ standard + self._bias)) + self._offset)


@cache
def learnt_judge() -> Network:
    """The network of ``qrs_judge.json``."""
    text = resources.files(__package__).joinpath("qrs_judge.json").read_text(encoding="utf-8")
    said = json.loads(text)
    parts = [np.array(said[name], np.float64) for name in ("mean", "scale", "hidden", "bias", "out")]
    return Network(parts[0], parts[1], parts[2], parts[3], parts[4], float(said["offset"]))
