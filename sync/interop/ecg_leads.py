"""The leads of a stored ECG: what was recorded, and the limb leads that follow from I and II. Pure.

Counts stay whole: aVR, aVL and aVF are halves of sums, so a lead is given as twice its counts and nothing is rounded
(Einthoven: III = II - I; Goldberger: aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.readings import INVALID_COUNT
from sync.formats import ecg_file

STANDARD = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
DERIVED: dict[str, tuple[int, int]] = {"III": (-2, 2), "aVR": (-1, -1), "aVL": (2, -1), "aVF": (-1, 2)}
"""Lead -> halves of I and of II."""

Counts = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Lead:
    """``twice``: twice the counts, int32; ``there``: where there is a value. ``derived``: worked out from I and II."""

    name: str
    twice: npt.NDArray[np.int32]
    there: npt.NDArray[np.bool_]
    derived: bool

    def uv(self, resolution_uv: float) -> npt.NDArray[np.float64]:
        """Microvolts, NaN where there is no value."""
        physical: npt.NDArray[np.float64] = self.twice.astype(np.float64) * (resolution_uv / 2)
        physical[~self.there] = np.nan
        return physical


@dataclass(frozen=True, slots=True)
class Ecg:
    """One recording: ``counts`` of shape (n, channels); a sample without a value is ``INVALID_COUNT``."""

    channels: tuple[str, ...]
    sample_rate_hz: float
    resolution_uv: float
    counts: Counts

    @property
    def duration_s(self) -> float:
        return len(self.counts) / self.sample_rate_hz

    @property
    def is_twelve(self) -> bool:
        """Whether all standard leads can be given."""
        return set(STANDARD) <= set(self.names())

    def names(self) -> tuple[str, ...]:
        """Every lead that can be given: the standard ones in their order, then others as recorded."""
        limbs = {"I", "II"} <= set(self.channels)
        standard = [name for name in STANDARD if name in self.channels or (limbs and name in DERIVED)]
        return (*standard, *(name for name in self.channels if name not in STANDARD))

    def lead(self, name: str) -> Lead:
        """:raises KeyError: no such lead can be given"""
        if name in self.channels:
            counts = self._channel(name)
            return Lead(name, 2 * counts, counts != INVALID_COUNT, derived=False)
        first, second = DERIVED[name]
        if not {"I", "II"} <= set(self.channels):
            raise KeyError(name)
        i, ii = self._channel("I"), self._channel("II")
        return Lead(name, first * i + second * ii, (i != INVALID_COUNT) & (ii != INVALID_COUNT), derived=True)

    def _channel(self, name: str) -> npt.NDArray[np.int32]:
        return self.counts[:, self.channels.index(name)].astype(np.int32)


def read(data: bytes) -> Ecg:
    """The ECG of a recording's file, segments one after the other with a gap of one sample between them.

    :raises EcgFileUnreadable: see ``sync.formats.ecg_file``
    """
    header, counts = ecg_file.joined(data)
    return Ecg(header.channels, header.sample_rate_hz, header.resolution_uv, counts)
