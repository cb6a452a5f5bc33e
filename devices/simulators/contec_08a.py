"""Twin of the Contec 08A cuff: the table of ``devices.drivers.contec_08a`` written the other way round."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from devices.drivers import contec_08a as wire


@dataclass(frozen=True, slots=True)
class StoredResult:
    systolic_mmhg: int
    diastolic_mmhg: int
    pulse_bpm: int
    mean_mmhg: int
    shown_at: datetime
    """As the cuff's display shows it, without zone."""

    def report(self) -> bytes:
        at = self.shown_at
        data = (
            0,
            self.systolic_mmhg,
            self.diastolic_mmhg,
            self.pulse_bpm,
            self.mean_mmhg,
            at.year - 2000,
            at.month,
        )
        tops = sum((value >> 7) << i for i, value in enumerate(data))
        rest = (0, at.day, at.hour, at.minute, 0, 0x11)
        return filled(bytes((0x80 | tops, *(value & 0x7F | 0x80 for value in (*data, *rest)))))


class Contec08aTwin:
    """
    :param kind: what it says it is; another one for another device of the same USB numbers
    """

    def __init__(self, kind: int = wire.CUFF) -> None:
        self.users: dict[int, list[StoredResult]] = {user: [] for user in wire.USERS}
        self.switched_on = True
        self.asked: list[bytes] = []
        self._kind = kind

    @property
    def streaming(self) -> bool:
        return False

    def power_on(self) -> None:
        """It forgets nothing."""

    def advance(self, elapsed_s: float) -> bytes:
        return b""

    def receive(self, chunk: bytes) -> bytes:
        """One report of the host."""
        asked = chunk[:6]
        self.asked.append(asked)
        if asked == wire.WHO_ARE_YOU:
            return filled(bytes((wire.IDENTITY, self._kind, 0x02, 0x13, 0x01, 0x02)))
        for user, results in self.users.items():
            if asked == wire.results_of(user):
                return self._results(user, results)
        return b""

    def _results(self, user: int, results: list[StoredResult]) -> bytes:
        if not self.switched_on:
            return filled(bytes((wire.BEGINS, 0x43, 0x00)))
        begins = filled(bytes((wire.BEGINS, 0x43, 0x01)))
        leader = bytes((wire.COUNT, wire.CUFF, 0x80, 0x80, 0x80 | len(results), 0x82, *([0x80] * 7), 0x80 | user))
        return begins + filled(leader) + b"".join(result.report() for result in results)


def filled(report: bytes) -> bytes:
    return report.ljust(wire.REPORT_BYTES, b"\0")
