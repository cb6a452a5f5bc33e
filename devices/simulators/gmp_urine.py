"""Twin of a urine strip reader: answers to "confirm" and to "newest record"."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from devices.drivers import gmp_urine as wire

NO_RECORD = b"\xff" * wire.RECORD_BYTES


def record(number: int, measured_at: datetime, levels: dict[str, int]) -> bytes:
    """The ten bytes of a record; ``levels`` as in ``wire.Strip``, those left out are 0."""
    at = {code: levels.get(code, 0) for code in wire.KEYS}
    year = measured_at.year - 2000
    return bytes(
        (
            number >> 8 & 7,
            number & 0xFF,
            measured_at.day << 3 | measured_at.month >> 1,
            (measured_at.month & 1) << 7 | year,
            at["LEU"] << 3 | measured_at.minute >> 3,
            (measured_at.minute & 7) << 5 | measured_at.hour,
            at["BLD"] << 4 | at["PH"] << 1 | at["PRO"] >> 2,
            (at["PRO"] & 3) << 6 | at["UBG"] << 3 | at["NIT"],
            at["VC"] << 4 | at["GLU"] << 1 | at["BIL"] >> 2,
            (at["BIL"] & 3) << 6 | at["KET"] << 3 | at["SG"],
        )
    )


@dataclass(slots=True)
class GmpUrineTwin:
    newest: bytes = NO_RECORD
    _heard: bytearray = field(default_factory=bytearray)

    @property
    def streaming(self) -> bool:
        return False

    def measure(self, number: int, measured_at: datetime, levels: dict[str, int]) -> None:
        """A strip was read."""
        self.newest = record(number, measured_at, levels)

    def power_on(self) -> None:
        self._heard.clear()

    def receive(self, chunk: bytes) -> bytes:
        self._heard += chunk
        answer = b""
        for asked, told in (
            (wire.ASK_CONFIRM, wire.ASK_CONFIRM),
            (wire.ASK_NEWEST, wire.frame(wire.NEWEST, b"\x00\x00" + self.newest)),
        ):
            while asked in self._heard:
                self._heard = bytearray(bytes(self._heard).replace(asked, b"", 1))
                answer += told
        del self._heard[:-64]
        return answer

    def advance(self, elapsed_s: float) -> bytes:
        return b""
