"""Twin of the Contec 8000G: the table of ``devices.drivers.contec_8000g`` written the other way round."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from devices.drivers import contec_8000g as wire
from devices.readings import INVALID_COUNT
from devices.simulators.ecg_source import EcgSource

REMEMBERED_SAMPLES = 60 * 500
EVERY_SAMPLES = 500
"""A B0 record, whose meaning nobody knows, comes between the scans about once a second."""
B0_RECORD = b"\xb0\x00\x00\x00\x00\x00"
STREAM_MARKER = b"\xee\x10"
COMMANDS = (wire.HELLO, wire.CHANNELS_ON, wire.START)
HIGHEST_COUNT = 2 * (wire.FULL_SCALE - 1 - wire.MID_SCALE)
LOWEST_COUNT = 2 * (1 - wire.MID_SCALE)


class ContecEcgTwin:
    def __init__(self, source: EcgSource) -> None:
        self._source = source
        self.leads_off: frozenset[str] = frozenset()
        self._remembered = np.empty((0, len(wire.CHANNELS)), np.int16)
        self.samples_sent = 0
        """Since the stream was started last: the driver's ``first_index`` counts the same samples."""
        self._streaming = False
        self._greeted = False
        self._half = b""
        self._owed_samples = 0.0

    @property
    def streaming(self) -> bool:
        return self._streaming

    def power_on(self) -> None:
        self._streaming = self._greeted = False
        self._half = b""

    def receive(self, chunk: bytes) -> bytes:
        answer = b""
        self._half += chunk
        while len(self._half) >= 2:
            command, self._half = self._half[:2], self._half[2:]
            if command == wire.HELLO:
                self._streaming, self._greeted = False, True
            elif command == wire.START and self._greeted and not self._streaming:
                self._start()
                answer += STREAM_MARKER
            elif command not in COMMANDS:
                self._half = command[1:] + self._half
        return answer

    def advance(self, elapsed_s: float) -> bytes:
        if not self._streaming:
            return b""
        self._owed_samples += elapsed_s * wire.SAMPLE_RATE_HZ
        n = int(self._owed_samples)
        self._owed_samples -= n
        return self._send(n) if n else b""

    def sent(self, last: int) -> npt.NDArray[np.int16]:
        """The last samples that the bytes carried, in the driver's units: counts of 1.25 uV, shape (n, 8)."""
        return self._remembered[-last:] if last > 0 else self._remembered[:0]

    def _start(self) -> None:
        self._streaming = True
        self._owed_samples = 0.0
        self.samples_sent = 0
        self._remembered = self._remembered[:0]

    def _send(self, n: int) -> bytes:
        wave_uv = self._source.next_uv(n)
        off = np.isnan(wave_uv) | np.array([name in self.leads_off for name in wire.CHANNELS])
        in_range = np.clip(np.where(off, 0.0, wave_uv) / wire.RESOLUTION_UV, LOWEST_COUNT, HIGHEST_COUNT)
        counts: npt.NDArray[np.int16] = np.round(in_range).astype(np.int16)
        counts[off] = INVALID_COUNT
        self._remembered = np.concatenate([self._remembered, counts])[-REMEMBERED_SAMPLES:]
        records = scans_of(counts)
        before = self.samples_sent // EVERY_SAMPLES
        self.samples_sent += n
        return records + (B0_RECORD if self.samples_sent // EVERY_SAMPLES > before else b"")


def scans_of(counts: npt.NDArray[np.int16]) -> bytes:
    """Samples (n, 8) -> 2 n scan records whose pairs sum to the counts; no value is a converter at its end."""
    halves = np.stack([counts // 2, counts - counts // 2], axis=1) + wire.MID_SCALE
    values = (
        np.where((counts == INVALID_COUNT)[:, None, :], wire.FULL_SCALE, halves).reshape(-1, 4, 2).astype(np.uint16)
    )
    payload = np.stack(
        [values[:, :, 0] >> 8 << 4 | values[:, :, 1] >> 8, values[:, :, 0] & 0xFF, values[:, :, 1] & 0xFF], axis=2
    ).reshape(-1, 12)
    top_bits = payload >> 7
    masks = np.zeros((len(payload), 2), np.uint16)
    for i in range(12):
        masks[:, i // 7] |= top_bits[:, i] << i % 7
    records = np.empty((len(payload), wire.SCAN_BYTES), np.uint8)
    records[:, 0] = wire.SCAN
    records[:, 1:3] = masks
    records[:, 3:] = payload & 0x7F
    return records.tobytes()
