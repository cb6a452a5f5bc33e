"""A few unit-length shapes, each a running average of what was like it. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ALIKE = 0.88
"""Correlation from which two shapes are one (template matching of arrhythmia monitors uses 0.85-0.95: Krasteva and
Jekova, Ann Biomed Eng 2007)."""
SHARE_OF_NEW = 0.1
MOST_COUNTED = 30


def unit_shape(signal: Floats) -> Floats | None:
    """All leads of a stretch in one row of length 1; None where there is nothing."""
    row = signal.reshape(-1)
    length = float(np.sqrt(np.dot(row, row)))
    return row / length if length > 0 else None


@dataclass(slots=True)
class Kind:
    shape: Floats
    count: int
    seen: int


class ShapeBank:
    """At most ``most`` kinds; when there is one too many, the one goes that was seen least, counted with a half-life of
    ``half_life`` columns."""

    def __init__(self, most: int, half_life: float) -> None:
        self.kinds: list[Kind] = []
        self._most, self._half_life = most, half_life

    def learn(self, shape: Floats | None, now: int) -> None:
        if shape is None:
            return
        kind = self._alike(shape)
        if kind is None:
            self.kinds.append(Kind(shape, 1, now))
            self._forget(now)
            return
        mixed = kind.shape * (1 - SHARE_OF_NEW) + shape * SHARE_OF_NEW
        kind.shape = mixed / np.sqrt(np.dot(mixed, mixed))
        kind.count = min(kind.count + 1, MOST_COUNTED)
        kind.seen = now

    def unlearn(self, shape: Floats | None, other: Floats | None) -> None:
        """``shape`` was learnt by mistake: what is like it, more than like ``other``, counts two less."""
        if shape is None:
            return
        for kind in list(self.kinds):
            likeness = float(np.dot(kind.shape, shape))
            if likeness > ALIKE and (other is None or np.dot(kind.shape, other) < likeness):
                kind.count -= 2
                if kind.count <= 0:
                    self.kinds = [k for k in self.kinds if k is not kind]

    def likeness(self, shape: Floats | None) -> float:
        """Correlation with the nearest kind, less for kinds seen a few times only; 0 where nothing is known."""
        if shape is None:
            return 0.0
        return max((float(np.dot(kind.shape, shape)) * (1 - 0.5**kind.count) for kind in self.kinds), default=0.0)

    def _alike(self, shape: Floats) -> Kind | None:
        best = max(self.kinds, key=lambda kind: float(np.dot(kind.shape, shape)), default=None)
        return best if best is not None and np.dot(best.shape, shape) > ALIKE else None

    def _forget(self, now: int) -> None:
        if len(self.kinds) > self._most:
            old = self.kinds[:-1]
            least = min(old, key=lambda kind: kind.count * 0.5 ** ((now - kind.seen) / self._half_life))
            self.kinds = [kind for kind in self.kinds if kind is not least]
