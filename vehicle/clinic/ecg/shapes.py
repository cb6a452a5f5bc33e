"""Beat shapes: each beat beside the kinds of beats seen before. Pure.

The usual beat is the kind seen most of late. A beat is ECTOPIC when it is unlike the usual one and wide: its QRS lasts
at least 1.2 times as long as the usual one and 110 ms (a premature ventricular beat is broader than 120 ms:
AHA/ACCF/HRS 2009; the width here is where the slope falls under an eighth of its maximum, about 10 ms less).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vehicle.clinic.ecg.events import Shape
from vehicle.clinic.ecg.shape_bank import ALIKE, Kind, ShapeBank, unit_shape
from vehicle.clinic.ecg.signals import Signals

Floats = npt.NDArray[np.float64]

BEFORE_S, AFTER_S = 0.10, 0.14
WIDTH_AT = 0.125
WIDTH_GAP_S = 0.024
"""Within a QRS the slope is small at its peaks: shorter than this does not end it."""
ECTOPIC_RATIO, ECTOPIC_FROM_MS = 1.2, 110.0
LEAST_COUNTED = 3
WIDTHS_FOLLOWED = 0.1


@dataclass(frozen=True, slots=True)
class Shaped:
    shape: Shape
    width_ms: float | None


class BeatShapes:
    """Kinds of beats of one person; survives gaps."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._bank = ShapeBank(6, 120 * signals.rate_hz)
        self._usual_width_ms = 0.0
        self._seen = 0

    def restart(self, signals: Signals) -> None:
        self._signals = signals
        for kind in self._bank.kinds:
            kind.seen = 0

    def beat(self, fiducial: int) -> Shaped:
        """The class of the beat whose R peak lies at column ``fiducial``; learns from it."""
        signals = self._signals
        begin, end = fiducial - signals.columns(BEFORE_S), fiducial + signals.columns(AFTER_S)
        clean = signals.clean(begin, end)
        if begin < 0 or clean.shape[1] < end - begin:
            return Shaped(Shape.OTHER, None)
        width_ms = self._width_ms(fiducial, begin, end)
        shape = unit_shape((clean - clean.mean(1, keepdims=True)) * signals.weights[:, None])
        usual = self._usual(fiducial)
        self._bank.learn(shape, fiducial)
        if shape is None or usual is None:
            return Shaped(Shape.OTHER, width_ms)
        if float(np.dot(usual.shape, shape)) > ALIKE:
            known = self._usual_width_ms or width_ms
            self._usual_width_ms = known + WIDTHS_FOLLOWED * (width_ms - known)
            return Shaped(Shape.NORMAL, width_ms)
        wide = width_ms >= max(ECTOPIC_FROM_MS, ECTOPIC_RATIO * self._usual_width_ms)
        return Shaped(Shape.ECTOPIC if wide else Shape.OTHER, width_ms)

    def _usual(self, now: int) -> Kind | None:
        def weight(kind: Kind) -> float:
            return float(kind.count * 0.5 ** ((now - kind.seen) / (60 * self._signals.rate_hz)))

        usual = max(self._bank.kinds, key=weight, default=None)
        return usual if usual is not None and usual.count >= LEAST_COUNTED else None

    def _width_ms(self, fiducial: int, begin: int, end: int) -> float:
        """How long the fused slope stays above a part of its maximum, short dips bridged."""
        slope = self._signals.slope(begin, end)
        over = np.flatnonzero(slope > WIDTH_AT * slope.max())
        if not len(over):
            return 0.0
        gaps = np.flatnonzero(np.diff(over) > max(1, self._signals.columns(WIDTH_GAP_S)))
        starts = np.concatenate([[0], gaps + 1])
        ends = np.concatenate([gaps, [len(over) - 1]])
        middle = fiducial - begin
        distance = np.maximum(over[starts] - middle, middle - over[ends])
        nearest = int(np.argmin(distance))
        return float(over[ends[nearest]] - over[starts[nearest]] + 1) / self._signals.rate_hz * 1000
