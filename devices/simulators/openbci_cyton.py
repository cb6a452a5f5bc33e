"""Twin of the OpenBCI Cyton, wired as ``devices.drivers.openbci_cyton`` says: electrodes with offsets that wander."""

from __future__ import annotations

import numpy as np

from devices.drivers import openbci_cyton as wire
from devices.simulators.ecg_source import LEADS, EcgSource, Microvolts
from devices.simulators.lead_source import LeadSource

GREETING = (
    b"OpenBCI V3 8-16 channel\nOn Board ADS1299 Device ID: 0x3E\nLIS3DH Device ID: 0x33\nFirmware: v3.1.2\n"
    + wire.READY
)
OFFSETS_UV = np.array([12_400, -8_300, 22_000, -31_000, 4_100, 60_500, -1_900, 15_000], np.float64)
"""Half-cell potentials of the electrodes against RA."""
WANDER_UV_PER_S = 20.0


class CytonTwin:
    def __init__(self, source: EcgSource) -> None:
        self.leads_off: frozenset[str] = frozenset()
        """Names of ``CHANNELS``: the electrode of that channel is off."""
        self.lost_on_air = 0
        """So many of the next samples never reach the dongle."""
        self.samples_sent = 0
        self._source = LeadSource(source, wire.SAMPLE_RATE_HZ, LEADS)
        self._streaming = False
        self._number = 0
        self._owed_samples = 0.0

    @property
    def streaming(self) -> bool:
        return self._streaming

    def power_on(self) -> None:
        self._streaming = False

    def receive(self, chunk: bytes) -> bytes:
        answer = b""
        for letter in (chunk[i : i + 1] for i in range(len(chunk))):
            if letter == wire.STOP:
                self._streaming = False
            elif letter == wire.RESET:
                self._streaming = False
                answer += GREETING
            elif letter == wire.START and not self._streaming:
                self._streaming, self._number, self._owed_samples = True, 0, 0.0
        return answer

    def advance(self, elapsed_s: float) -> bytes:
        if not self._streaming:
            return b""
        self._owed_samples += elapsed_s * wire.SAMPLE_RATE_HZ
        n = int(self._owed_samples)
        self._owed_samples -= n
        return b"".join(self._send(row) for row in self.channels_uv(n)) if n else b""

    def channels_uv(self, n: int) -> Microvolts:
        """What stands at the inputs against SRB2, shape (n, 8): chest channels with Wilson's terminal put back."""
        leads_uv = self._source.next_uv(n)
        leads_uv[:, 2:] += (leads_uv[:, 0] + leads_uv[:, 1])[:, None] / 3
        at_s = (self.samples_sent + np.arange(n))[:, None] / wire.SAMPLE_RATE_HZ
        channels_uv: Microvolts = leads_uv + OFFSETS_UV + WANDER_UV_PER_S * at_s
        return channels_uv

    def _send(self, row_uv: Microvolts) -> bytes:
        number, self._number = self._number, (self._number + 1) % 256
        self.samples_sent += 1
        if self.lost_on_air:
            self.lost_on_air -= 1
            return b""
        return frame_of(number, self._counts(row_uv))

    def _counts(self, row_uv: Microvolts) -> list[int]:
        counts = [round(value) for value in row_uv / wire.UV_PER_COUNT]
        return [
            wire.RAILS[0] if name in self.leads_off else count
            for name, count in zip(wire.CHANNELS, counts, strict=True)
        ]


def frame_of(number: int, counts: list[int]) -> bytes:
    channels = b"".join(count.to_bytes(3, "big", signed=True) for count in counts)
    return wire.HEAD + bytes((number,)) + channels + bytes(6) + b"\xc0"
