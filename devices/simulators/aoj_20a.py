"""Twin of the AOJ-20A thermometer: says what it measured when its button is pressed."""

from __future__ import annotations

from datetime import datetime

from devices.driver import Counters
from devices.drivers import aoj_20a as wire
from devices.framing import Frame
from devices.sized_frames import SizedFramer


class Aoj20aTwin:
    def __init__(self) -> None:
        self.battery = 8
        """1..10."""
        self._framer = SizedFramer(wire.HEAD, _size, lambda frame: True, wire.LONGEST_FRAME, Counters())
        self.memory: list[tuple[datetime, int]] = []
        """When, as its display shows it, and temperature x 100."""
        self._unsent = b""

    @property
    def streaming(self) -> bool:
        return False

    def power_on(self) -> None:
        self._unsent = b""

    def measure(self, temperature_ce2: int, mode: int = 1) -> None:
        self._unsent += wire.command(wire.MEASUREMENT, temperature_ce2.to_bytes(2, "big") + bytes((mode,)))

    def fail(self, code: int) -> None:
        self._unsent += wire.command(wire.ERROR, bytes((code,)))

    def receive(self, chunk: bytes) -> bytes:
        frames = [piece.payload for piece in self._framer.feed(chunk) if isinstance(piece, Frame)]
        state = wire.command(wire.STATE, bytes((1, self.battery, 12)))
        answers = {wire.ASK_STATE: state, wire.ASK_MEMORY: self._remembered()}
        return b"".join(answers.get(frame, b"") for frame in frames)

    def _remembered(self) -> bytes:
        """One frame for each; an empty one when there is none."""
        records = [
            bytes((number, at.year - 2000, at.month, at.day, at.hour, at.minute)) + temperature_ce2.to_bytes(2, "big")
            for number, (at, temperature_ce2) in enumerate(self.memory, start=1)
        ]
        return b"".join(wire.command(wire.RECORD, record) for record in records or [b""])

    def advance(self, elapsed_s: float) -> bytes:
        unsent, self._unsent = self._unsent, b""
        return unsent


def _size(held: bytes) -> int | None:
    return None if len(held) < 4 else held[3] + wire.OVERHEAD_BYTES
