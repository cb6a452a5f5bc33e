"""Twin of a Sinocare BA-80x cuff: started by its key, tells the way up and down, the result, and when it was."""

from __future__ import annotations

from collections import deque
from datetime import datetime

from devices.drivers import sinocare_ba80x as wire

STEP_S = 0.2
ZEROING, ZEROED = 0xB3, 0xB4


def frame_of(command: int, data: bytes = b"") -> bytes:
    body = bytes((len(data) + 4, wire.CUFF, command)) + data
    return body + bytes((sum(body) & 0xFF,))


class Ba80xTwin:
    streaming = False

    def __init__(self) -> None:
        self.heard = b""
        """What the host wrote."""
        self._later: deque[bytes] = deque()
        self._owed_s = 0.0

    def power_on(self) -> None:
        """What was measured and not sent stays."""

    def receive(self, chunk: bytes) -> bytes:
        self.heard += chunk
        return b""

    def advance(self, elapsed_s: float) -> bytes:
        self._owed_s = min(self._owed_s + elapsed_s, STEP_S * max(1, len(self._later)))
        sent = b""
        while self._later and self._owed_s >= STEP_S - 1e-9:
            self._owed_s -= STEP_S
            sent += self._later.popleft()
        return sent

    def measure(self, systolic_mmhg: int, diastolic_mmhg: int, pulse_bpm: int, shown: datetime | None) -> None:
        """Start, inflate, deflate, result; ``shown`` None: the clock was never set."""
        self._inflate(down_to_mmhg=diastolic_mmhg)
        result = frame_of(wire.RESULT, bytes((0, systolic_mmhg, diastolic_mmhg, pulse_bpm)))
        if shown is not None:
            result += frame_of(wire.DATE, bytes((shown.year - 2000, shown.month, shown.day)))
            result += frame_of(wire.TIME, bytes((shown.hour, shown.minute)))
        self._later.append(result)

    def fail(self, code: int) -> None:
        self._inflate(down_to_mmhg=120)
        self._later.append(frame_of(wire.FAILED, bytes((code,))))

    def battery_low(self) -> None:
        self._later.append(frame_of(wire.BATTERY_LOW))

    def _inflate(self, down_to_mmhg: int) -> None:
        self._later.extend(frame_of(command) for command in (wire.STARTS, ZEROING, ZEROED))
        for pressure_mmhg in (*range(20, 190, 30), *range(185, down_to_mmhg, -15)):
            self._later.append(frame_of(wire.ON_THE_WAY, bytes((0, pressure_mmhg, 0, 0))))
