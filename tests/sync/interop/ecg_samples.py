"""ECG recordings with known values, as the record keeps them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from devices.readings import INVALID_COUNT, Samples
from sync.formats import ecg_file

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def stored(
    seconds: float = 10.0,
    rate_hz: float = 500.0,
    channels: tuple[str, ...] = EIGHT,
    resolution_uv: float = 2.5,
    hole: slice | None = None,
) -> bytes:
    """A file of square waves of 1 mV: up for the first half of each second; channel k is k * 20 counts higher in it.

    :param hole: rows that were never received
    """
    return ecg_file.write([samples(seconds, rate_hz, channels, resolution_uv, hole)])


def samples(
    seconds: float = 10.0,
    rate_hz: float = 500.0,
    channels: tuple[str, ...] = EIGHT,
    resolution_uv: float = 2.5,
    hole: slice | None = None,
) -> Samples:
    counts = square(seconds, rate_hz, len(channels), resolution_uv)
    if hole is not None:
        counts[hole] = INVALID_COUNT
    return Samples("ecg", channels, rate_hz, 0, 0, counts, resolution_uv, "uV")


def square(seconds: float, rate_hz: float, channels: int, resolution_uv: float) -> npt.NDArray[np.int16]:
    index = np.arange(round(seconds * rate_hz))
    high = (index % rate_hz) < rate_hz / 2
    return np.column_stack([high * (round(1000 / resolution_uv) + 20 * k) for k in range(channels)]).astype(np.int16)
