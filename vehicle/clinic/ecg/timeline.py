"""Rows of samples with absolute column numbers, of which the newest are kept. Pure."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Timeline:
    """``rows`` signals side by side; the last ``keep`` columns can be read."""

    def __init__(self, rows: int, keep: int) -> None:
        self._held = np.zeros((rows, 2 * keep))
        self._keep = keep
        self._first = 0
        self.end = 0
        """Columns appended so far: number of the next one."""

    def append(self, block: Floats) -> None:
        """float64[rows, n], n at most ``keep``."""
        n = block.shape[1]
        used = self.end - self._first
        if used + n > self._held.shape[1]:
            left = self._keep
            self._held[:, :left] = self._held[:, used - left : used].copy()
            self._first, used = self.end - left, left
        self._held[:, used : used + n] = block
        self.end += n

    @property
    def begin(self) -> int:
        """The oldest column that is sure to be there."""
        return max(0, self.end - self._keep)

    def read(self, begin: int, end: int) -> Floats:
        """Columns ``begin`` to ``end`` (exclusive), cut to what is there; a view, to be copied when it is kept."""
        first = max(begin, self._first)
        return self._held[:, first - self._first : max(first, min(end, self.end)) - self._first]
