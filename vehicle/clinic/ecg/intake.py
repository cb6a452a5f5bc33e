"""Raw samples made continuous: what is missing is held, offsets of electrodes are taken off. Pure, sample by sample."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Intake:
    """Where a lead has no value it stays at its last one; when it comes back, its offset is taken off anew, so that the
    filters see no step of hundreds of millivolts."""

    def __init__(self, leads: int) -> None:
        self._offset = np.full(leads, np.nan)
        self._held = np.zeros(leads)
        self._missing = np.ones(leads, np.bool_)

    def push(self, mv: Floats, lead_off: Flags | None) -> tuple[Floats, Flags]:
        """``mv`` and ``lead_off``: [n, leads]. Returns float64[leads, n] without NaN, and where it is held."""
        x = np.ascontiguousarray(mv.T, np.float64)
        missing = ~np.isfinite(x)
        if lead_off is not None:
            missing |= lead_off.T
        out = x - self._offset[:, None]
        for lead in np.flatnonzero(missing.any(1) | self._missing):
            self._hold(int(lead), x[lead], missing[lead], out[lead])
        if out.shape[1]:
            self._held = out[:, -1].copy()
            self._missing = missing[:, -1].copy()
        return out, missing

    def _hold(self, lead: int, x: Floats, missing: Flags, out: Floats) -> None:
        """Fills ``out`` run by run: held where missing, a new offset where the signal comes back."""
        edges = np.flatnonzero(np.diff(missing)) + 1
        bounds = [0, *(int(edge) for edge in edges), len(x)]
        was_missing, held = bool(self._missing[lead]), float(self._held[lead])
        for begin, end in pairwise(bounds):
            if begin == end:
                continue
            if missing[begin]:
                out[begin:end] = held
            else:
                if was_missing:
                    self._offset[lead] = x[begin] - held
                out[begin:end] = x[begin:end] - self._offset[lead]
                held = float(out[end - 1])
            was_missing = bool(missing[begin])
