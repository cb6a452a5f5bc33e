"""Is this peak a QRS? 50 measures of it beside the person's own beats, and the small network that weighs them. Pure.

The network was fitted to the development half of the MIT-BIH Arrhythmia Database and to pieces of it made harder
(``benchmarks/train_ecg_beats.py``, ``made_harder.py``); README has its figures when whole records are left out.
Everything it sees is relative to the person and in seconds, so that gain, lead and sampling rate do not matter.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from vehicle.clinic.ecg.qrs import Peak, QrsDetector

Floats = npt.NDArray[np.float64]
Judge = Callable[[Floats], float]
"""float64[50] -> log odds that the peak is a QRS: marked above 0."""

SIZE, RISE, LATE = 0, 26, 38
"""Rows that are read by name: log of the height beside the level; log of what rises behind beside the peak; 1 at the
second look."""
NEAR_BEFORE_S, BLANK_BEFORE_S = 0.5, 0.18
RIVAL_FROM_S, SHAPE_S = 0.09, 0.07
SECOND_FROM_S = 0.2


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
    beat, wave = detector.beats.likeness(peak.shape), peak.wave
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
    ahead = _rivals_ahead(detector, peak, now)
    rise, steep = ahead.rise, ahead.steep
    late = 1.0 if now - column > columns(SECOND_FROM_S) else 0.0
    before_me = [p for p in detector.refused if columns(0.09) < column - p.column < columns(0.35)]
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
            late,
            late * max(rise, 0.0),
            late * min(rise, 0.0),
            late * max(steep, 0.0),
            ahead.after_s,
            ahead.likeness,
            max(0.0, ahead.likeness - max(beat, 0.0)),
            late * _log_ratio(detector.ahead(now), level, high=1.0, low=-3.0),
            max((p.wave for p in before_me), default=0.0),
            _log_ratio(max((p.height for p in before_me), default=0.0), height, low=-3.0),
            _log_ratio(peak.slope * rate, 40.0 * peak.size_mv, high=2.0, low=-2.0),
            _log_ratio(_roughness(detector, column), peak.slope, high=0.5, low=-4.0),
        ]
    )


def _at(stretch: Floats) -> float:
    return float(stretch[0]) if len(stretch) else 0.0


@dataclass(frozen=True, slots=True)
class _Ahead:
    """The largest deflection behind a peak, beside it: log ratios of magnitude and slope, how long after it, and how
    like the usual beats it is."""

    rise: float = -2.0
    steep: float = -2.0
    after_s: float = 0.0
    likeness: float = 0.0


def _rivals_ahead(detector: QrsDetector, peak: Peak, now: int) -> _Ahead:
    """Whether something larger rises behind the peak, in the less delayed signals: a P wave has its QRS there."""
    signals = detector.signals
    begin = peak.column + signals.columns(RIVAL_FROM_S)
    end = now + signals.quicker
    magnitude, slope = signals.magnitude(begin, end), signals.slope(begin, end)
    here = _at(signals.magnitude(peak.fiducial, peak.fiducial + 1))
    if not len(magnitude):
        return _Ahead()
    at = begin + int(magnitude.argmax())
    whole = at + signals.columns(SHAPE_S) < end
    return _Ahead(
        _log_ratio(float(magnitude.max()), here, low=-2.0),
        _log_ratio(float(slope.max()), peak.slope, low=-2.0),
        (at - peak.fiducial) / signals.rate_hz,
        detector.beats.likeness(detector.shape_at(at)) if whole else 0.0,
    )


def _roughness(detector: QrsDetector, column: int) -> float:
    """Mean slope of what lies before the peak."""
    columns = detector.signals.columns
    before = detector.signals.slope(max(0, column - columns(0.3)), max(1, column - columns(0.1)))
    return float(before.mean()) if len(before) else 0.0


class Network:
    """One hidden layer of tanh units over standardised measures."""

    def __init__(self, mean: Floats, scale: Floats, hidden: Floats, bias: Floats, out: Floats, offset: float) -> None:
        self._mean, self._scale = mean, scale
        self._hidden, self._bias, self._out, self._offset = hidden, bias, out, offset

    @classmethod
    def said(cls, said: Mapping[str, Any]) -> Network:
        """From the parts that ``qrs_judge.json`` names."""
        parts = [np.array(said[name], np.float64) for name in ("mean", "scale", "hidden", "bias", "out")]
        return cls(parts[0], parts[1], parts[2], parts[3], parts[4], float(said["offset"]))

    def __call__(self, measures: Floats) -> float:
        standard = np.clip((measures - self._mean) * self._scale, -5.0, 5.0)
        return float(np.dot(self._out, np.tanh(self._hidden @ standard + self._bias)) + self._offset)


@cache
def learnt_judge() -> Network:
    """The network of ``qrs_judge.json``."""
    text = resources.files(__package__).joinpath("qrs_judge.json").read_text(encoding="utf-8")
    return Network.said(json.loads(text))
