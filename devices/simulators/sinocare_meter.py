"""Twin of a Sinocare meter: tells each result as it is measured, and what nobody heard again at the next connection."""

from __future__ import annotations

import struct
from collections import deque
from datetime import datetime

from devices.drivers import sinocare_meter as wire

CARBON, AW_AIR, WL_1 = 0x2000, 0x0012, 0x0004
"""Machine codes: results of 30, 21 and 19 bytes."""


class SinocareMeterTwin:
    """
    :param line_end: appended to each frame; some models send 0D 0A
    """

    streaming = False

    def __init__(self, machine: int = CARBON, line_end: bytes = b"") -> None:
        self.machine = machine
        self._line_end = line_end
        self._number = 0
        self._waiting: deque[bytes] = deque()
        self.heard = b""
        """What the host wrote: nothing is expected."""

    def power_on(self) -> None:
        """Results that were not sent stay."""

    def receive(self, chunk: bytes) -> bytes:
        self.heard += chunk
        return b""

    def advance(self, elapsed_s: float) -> bytes:
        sent = b"".join(self._waiting)
        self._waiting.clear()
        return sent

    def glucose(self, glucose_mmol_l: float, shown: datetime, stored: bool = False) -> None:
        """A strip was used; ``stored``: earlier, and it comes from the memory."""
        self._measured(wire.GLUCOSE, round(glucose_mmol_l * 10), 1, wire.MMOL_L, shown, stored)

    def uric_acid(self, uric_acid_umol_l: int, shown: datetime, flag: int = 0) -> None:
        """Carbon series only. ``flag``: 0x10 LO, 0x20 HI."""
        self._measured(wire.URIC_ACID, uric_acid_umol_l, 0, wire.UMOL_L, shown, flag=flag)

    def out_of_range(self, high: bool) -> None:
        """HI or LO on the display of an older meter."""
        self._say(wire.ERROR, bytes((1 if high else 2,)))

    def fail(self, code: int) -> None:
        self._say(wire.ERROR, bytes((code,)))

    def insert_strip(self) -> None:
        self._say(wire.BEGINS, b"\x00")

    def _measured(
        self, analyte: int, value: int, decimals: int, unit: int, shown: datetime, stored: bool = False, flag: int = 0
    ) -> None:
        self._number += 1
        date = bytes((shown.year - 2000, shown.month, shown.day, shown.hour, shown.minute, shown.second))
        number = struct.pack(">H", self._number)
        if self.machine in wire.STANDARD_MACHINES:
            scale = bytes((decimals << 4 | 0x0E, unit, 0, 45, flag, 60))
            body = number + date + bytes(4) + bytes((1, 0, analyte)) + struct.pack(">H", value) + scale
            self._say(wire.HISTORY if stored else wire.RESULT, body)
        elif stored:
            self._say(wire.HISTORY_AGAIN, number + date + struct.pack(">H", value) + b"\x01\x00")
        else:
            tail = b"\x09\x00\x00" if self.machine == AW_AIR else b"\x18"
            self._say(wire.RESULT, date + struct.pack(">HBH", value, 0, 246) + tail)

    def _say(self, command: int, data: bytes) -> None:
        body = struct.pack(">BHB", len(data) + 4, self.machine, command) + data
        self._waiting.append(wire.HEAD + body + bytes((wire.sum_of(body),)) + self._line_end)
