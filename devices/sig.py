"""Number and time formats of the Bluetooth SIG health characteristics. Pure.

Sources: IEEE 11073-20601 (SFLOAT, FLOAT: mantissa and exponent are two's complement), Bluetooth GATT Specification
Supplement (Date Time 0x2A08). Values are little-endian on the wire.

A measurement that is none (NaN, NRes, infinities) decodes to a :class:`Special`, so it cannot be mistaken for a number.
"""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta
from enum import Enum

from devices.errors import DropFrame


class Truncated(DropFrame):
    """The value ends before the fields that its flags promise."""

    code = "value_truncated"


class Special(Enum):
    NAN = "NaN"
    NRES = "NRes"
    POSITIVE_INFINITY = "+INFINITY"
    NEGATIVE_INFINITY = "-INFINITY"
    RESERVED = "RFU"


def sfloat(raw: int) -> float | Special:
    """16-bit SFLOAT: 4-bit exponent above a 12-bit mantissa. ``0x0078`` is 120, ``0xF00A`` is 1.0."""
    mantissa = raw & 0x0FFF
    special = _special(mantissa, 0x0800)
    return special or _scaled(_signed(mantissa, 12), _signed(raw >> 12 & 0xF, 4))


def float32(raw: int) -> float | Special:
    """32-bit FLOAT: 8-bit exponent above a 24-bit mantissa. Not an IEEE 754 number."""
    mantissa = raw & 0x00FF_FFFF
    special = _special(mantissa, 0x0080_0000)
    return special or _scaled(_signed(mantissa, 24), _signed(raw >> 24 & 0xFF, 8))


def to_float32(mantissa: int, exponent: int) -> bytes:
    """The four bytes of ``mantissa * 10**exponent``, for whoever plays the device.

    :raises ValueError: does not fit, or would spell a special value.
    """
    if not -8388605 <= mantissa <= 8388605 or not -128 <= exponent <= 127:
        raise ValueError(f"{mantissa}e{exponent} does not fit a FLOAT (mantissa ±8388605, exponent -128..127)")
    return (mantissa & 0xFF_FFFF | (exponent & 0xFF) << 24).to_bytes(4, "little")


def to_sfloat(mantissa: int, exponent: int) -> bytes:
    """The two bytes of ``mantissa * 10**exponent``, for whoever plays the device.

    :raises ValueError: does not fit, or would spell a special value.
    """
    if not -2045 <= mantissa <= 2045 or not -8 <= exponent <= 7:
        raise ValueError(f"{mantissa}e{exponent} does not fit an SFLOAT (mantissa ±2045, exponent -8..7)")
    return (mantissa & 0xFFF | (exponent & 0xF) << 12).to_bytes(2, "little")


def _special(mantissa: int, middle: int) -> Special | None:
    """The five mantissas around ``middle`` (the most negative one) are not numbers, whatever the exponent says."""
    return {
        middle - 2: Special.POSITIVE_INFINITY,
        middle - 1: Special.NAN,
        middle: Special.NRES,
        middle + 1: Special.RESERVED,
        middle + 2: Special.NEGATIVE_INFINITY,
    }.get(mantissa)


def _signed(raw: int, bits: int) -> int:
    return raw - (1 << bits) if raw >> (bits - 1) else raw


def _scaled(mantissa: int, exponent: int) -> float:
    """The double nearest to the decimal number: multiplying by 10.0**exponent would add noise (0.30000000000000004)."""
    return float(f"{mantissa}e{exponent}")


class Fields:
    """Reads one characteristic value field by field, in the order of its specification.

    :raises Truncated: from every method, when the value is too short for the field.
    """

    def __init__(self, value: bytes) -> None:
        self._value = value
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self._value) - self._at

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._value):
            raise Truncated(f"{len(self._value)} bytes, field needs {end}")
        taken, self._at = self._value[self._at : end], end
        return taken

    def uint8(self) -> int:
        return self.take(1)[0]

    def uint16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def uint24(self) -> int:
        return int.from_bytes(self.take(3), "little")

    def sint16(self) -> int:
        return int.from_bytes(self.take(2), "little", signed=True)

    def sfloat(self) -> float | Special:
        return sfloat(self.uint16())

    def float32(self) -> float | Special:
        return float32(int.from_bytes(self.take(4), "little"))

    def date_time(self) -> datetime | None:
        """Date Time 0x2A08 as the device shows it, without zone; None where the device does not know the date.

        Year, month and day may each be 0, "not known"; a date that no calendar has is not known either.
        """
        year = self.uint16()
        month, day, hour, minute, second = self.take(5)
        if not (1582 <= year <= 9999 and 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
            return None
        if not 1 <= day <= calendar.monthrange(year, month)[1]:
            return None
        return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001  a device's clock has no zone


def date_time(shown: datetime) -> bytes:
    """Date Time 0x2A08 as a device's clock shows it, to the second."""
    clock = (shown.month, shown.day, shown.hour, shown.minute, shown.second)
    return shown.year.to_bytes(2, "little") + bytes(clock)


def said_at(shown: datetime | None, offset_min: int = 0) -> str | None:
    """``device_said_at`` of a reading: ISO 8601 without zone, to the second."""
    if shown is None:
        return None
    try:
        return (shown + timedelta(minutes=offset_min)).isoformat(timespec="seconds")
    except OverflowError:
        return None
