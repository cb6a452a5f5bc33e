"""Twin of the Contec ECG90A: the table of ``devices.drivers.contec_ecg90a`` written the other way round.

Reports are 64 bytes each; ``receive`` and ``advance`` give them joined, as many as there are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from devices.drivers import contec_ecg90a as wire
from devices.readings import INVALID_COUNT
from devices.simulators.ecg_source import EcgSource

REMEMBERED_SAMPLES = 60 * 800
HIGHEST = wire.FULL_SCALE - 1 - wire.MID_SCALE
LOWEST = 1 - wire.MID_SCALE


class Ecg90aTwin:
    """
    :param name: what it says it is; another one for another device of the same USB numbers
    """

    def __init__(self, source: EcgSource, name: bytes = wire.NAME) -> None:
        self._source = source
        self._name = name
        self.leads_off: frozenset[str] = frozenset()
        self.ready = True
        """False: it answers 91 with a state, as a device on a wrong page of its menu."""
        self.asked: list[bytes] = []
        """Every report of the host."""
        self.samples_sent = 0
        self._remembered = np.empty((0, len(wire.CHANNELS)), np.int16)
        self._prepared: set[bytes] = set()
        self._streaming = False
        self._owed_reports = 0.0

    @property
    def streaming(self) -> bool:
        return self._streaming

    def power_on(self) -> None:
        self._streaming = False
        self._prepared = set()

    def receive(self, chunk: bytes) -> bytes:
        """One report of the host."""
        self.asked.append(chunk)
        if chunk == wire.ASK:
            return b"" if self._streaming else report(bytes((wire.IDENTITY, 0x64, 0)) + self._name)
        if chunk == wire.STOP:
            self._streaming = False
            return b"" if self.ready else report(bytes((wire.STATE, wire.NOT_READY)))
        if chunk in (wire.READY_1, wire.READY_2):
            self._prepared.add(chunk)
        elif chunk == wire.START and self.ready and self._prepared == {wire.READY_1, wire.READY_2}:
            self._streaming, self._owed_reports, self.samples_sent = True, 0.0, 0
            self._remembered = self._remembered[:0]
        return b""

    def advance(self, elapsed_s: float) -> bytes:
        if not self._streaming:
            return b""
        self._owed_reports += elapsed_s * wire.SAMPLE_RATE_HZ / wire.SCANS_PER_REPORT
        n = int(self._owed_reports)
        self._owed_reports -= n
        return self._send(n * wire.SCANS_PER_REPORT) if n else b""

    def sent(self, last: int) -> npt.NDArray[np.int16]:
        """The last samples that the bytes carried, in the driver's units: counts of 5 uV, shape (n, 8)."""
        return self._remembered[-last:] if last > 0 else self._remembered[:0]

    def _send(self, n: int) -> bytes:
        wave_uv = self._source.next_uv(n)
        off = np.isnan(wave_uv) | np.array([name in self.leads_off for name in wire.CHANNELS])
        off[:, 0] |= off[:, 1]  # I follows from II and III: it is gone with either
        in_range = np.clip(np.where(off, 0, wave_uv) / wire.RESOLUTION_UV, LOWEST // 2, HIGHEST // 2)
        counts: npt.NDArray[np.int16] = np.round(in_range).astype(np.int16)
        counts[off] = INVALID_COUNT
        self.samples_sent += n
        self._remembered = np.concatenate([self._remembered, counts])[-REMEMBERED_SAMPLES:]
        return b"".join(report(bytes((wire.SCANS,)) + part) for part in _scans_of(counts))


def _scans_of(counts: npt.NDArray[np.int16]) -> list[bytes]:
    """Counts of I, II, V1..V6 -> 60 bytes for five scans each; a lead without a value stands at the rail."""
    off = counts == INVALID_COUNT
    iii = np.where(off[:, 0], 0, counts[:, 1].astype(np.int32) - counts[:, 0])
    values = np.column_stack([counts[:, 1], iii, counts[:, 2:]]).astype(np.int32) + wire.MID_SCALE
    rail = np.column_stack([off[:, 1], off[:, 0] & ~off[:, 1], off[:, 2:]])
    values = np.where(rail, wire.FULL_SCALE, values).reshape(-1, 4, 2)
    packed = np.stack(
        [values[:, :, 0] >> 8 | values[:, :, 1] >> 8 << 4, values[:, :, 0] & 0xFF, values[:, :, 1] & 0xFF], axis=2
    )
    raw = packed.astype(np.uint8).tobytes()
    size = wire.SCANS_PER_REPORT * wire.SCAN_BYTES
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def report(beginning: bytes) -> bytes:
    return beginning.ljust(wire.REPORT_BYTES, b"\0")
