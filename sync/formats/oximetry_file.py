"""Stored oximetry on disk and on the wire: ``xunzhen-oximetry/1``. Pure.

Layout: the magic line ``xunzhen-oximetry/1 LF``, a line of canonical JSON (``interval_ms``, ``count``, and
``device_said_at`` where the device told a start), then one zstd frame: ``count`` bytes SpO2 in percent, 255 none, and
``count`` uint16 LE pulse rates, 65535 none, a value every interval. The same stretch is the same bytes.
"""

from __future__ import annotations

import numpy as np
import zstandard

from devices.readings import StoredOximetry
from sync.formats.canonical import Json, NotCanonical, dumps, loads

MEDIA_TYPE = "application/vnd.xunzhen.oximetry"
NO_SPO2, NO_PULSE = 0xFF, 0xFFFF
_MAGIC = b"xunzhen-oximetry/1\n"
_MOST_VALUES = 1_000_000


class OximetryFileUnreadable(ValueError):
    """Not a file of oximetry, of a later version, cut off or damaged."""


def write(stored: StoredOximetry) -> bytes:
    header: dict[str, Json] = {"count": len(stored.spo2_percent), "interval_ms": round(stored.interval_s * 1000)}
    if stored.device_said_at is not None:
        header["device_said_at"] = stored.device_said_at
    spo2 = np.array([NO_SPO2 if value is None else value for value in stored.spo2_percent], "u1")
    pulse = np.array([NO_PULSE if value is None else value for value in stored.pulse_bpm], "<u2")
    packed = zstandard.ZstdCompressor(level=9).compress(spo2.tobytes() + pulse.tobytes())
    return _MAGIC + dumps(header) + b"\n" + packed


def read(file: bytes) -> StoredOximetry:
    """
    :raises OximetryFileUnreadable: see there
    """
    if not file.startswith(_MAGIC):
        raise OximetryFileUnreadable("this is no file of oximetry, or of a later version")
    line, _, packed = file[len(_MAGIC) :].partition(b"\n")
    try:
        header = loads(line)
        count, interval_ms = header["count"], header["interval_ms"]
        values = zstandard.ZstdDecompressor().decompress(packed, max_output_size=3 * _MOST_VALUES)
    except (zstandard.ZstdError, NotCanonical, KeyError) as fault:
        raise OximetryFileUnreadable(f"damaged: {fault}") from None
    said_at = header.get("device_said_at")
    whole = type(count) is int and type(interval_ms) is int and count > 0 and interval_ms > 0
    if not whole or len(values) != 3 * count or not isinstance(said_at, str | None):
        raise OximetryFileUnreadable("damaged: its values do not fit its header")
    spo2 = np.frombuffer(values[:count], "u1").tolist()
    pulse = np.frombuffer(values[count:], "<u2").tolist()
    return StoredOximetry(
        tuple(None if value == NO_SPO2 else value for value in spo2),
        tuple(None if value == NO_PULSE else value for value in pulse),
        interval_ms / 1000,
        said_at,
    )
