"""Twins of the HealthyPi boards: they stream from the moment they have power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices import healthypi as wire
from devices.drivers import healthypi_v4 as v4
from devices.drivers import healthypi_v5 as v5
from devices.readings import INVALID_COUNT
from devices.simulators.ecg_source import EcgSource
from devices.simulators.lead_source import LeadSource

REMEMBERED_SAMPLES = 60 * 128
INVENTED_BLOOD_PRESSURE = (80, 120)
"""What the firmware of v4 writes where a blood pressure would stand."""


@dataclass(slots=True)
class Person:
    """What the board's sensors see; None: the sensor touches nobody."""

    spo2_percent: int | None = 98
    heart_rate_bpm: int | None = 72
    temperature_ce2: int | None = 3450
    respiration_bpm: int | None = 16
    electrodes_on: bool = True


class HealthyPiTwin:
    """Of v4; ``HealthyPi5Twin`` differs in rate, scale and payload."""

    sample_rate_hz = v4.SAMPLE_RATE_HZ
    resolution_uv = v4.RESOLUTION_UV

    def __init__(self, source: EcgSource) -> None:
        self.person = Person()
        self.samples_sent = 0
        self._source = LeadSource(source, self.sample_rate_hz)
        self._remembered = np.empty(0, np.int16)
        self._owed_samples = 0.0

    @property
    def streaming(self) -> bool:
        return True

    def power_on(self) -> None:
        self._owed_samples = 0.0

    def receive(self, chunk: bytes) -> bytes:
        return b""

    def advance(self, elapsed_s: float) -> bytes:
        self._owed_samples += elapsed_s * self.sample_rate_hz
        n = int(self._owed_samples)
        self._owed_samples -= n
        counts = np.round(self._source.next_uv(n)[:, 0] / self.resolution_uv).astype(np.int16)
        self.samples_sent += n
        said = [self._said(int(count)) for count in counts]
        self._remembered = np.concatenate([self._remembered, np.array(said, np.int16)])[-REMEMBERED_SAMPLES:]
        return b"".join(wire.frame_of(self.payload(int(count))) for count in counts)

    def sent(self, last: int) -> npt.NDArray[np.int16]:
        """The last samples that the bytes carried, in the driver's units, shape (n, 1)."""
        return self._remembered[-last:].reshape(-1, 1)

    def payload(self, count: int) -> bytes:
        person = self.person
        return v4.PAYLOAD.pack(
            count if person.electrodes_on else 0,
            int(40 * np.sin(self.samples_sent / 60)),
            120_000,
            98_000,
            person.temperature_ce2 or 0,
            (person.respiration_bpm or 0) * person.electrodes_on,
            person.spo2_percent or 0,
            (person.heart_rate_bpm or 0) * person.electrodes_on,
            *INVENTED_BLOOD_PRESSURE,
            0 if person.electrodes_on else 0b0110,
        )

    def _said(self, count: int) -> int:
        return count if self.person.electrodes_on else INVALID_COUNT


class HealthyPi5Twin(HealthyPiTwin):
    sample_rate_hz = v5.SAMPLE_RATE_HZ
    resolution_uv = v5.RESOLUTION_UV

    def payload(self, count: int) -> bytes:
        person = self.person
        return v5.PAYLOAD.pack(
            count * v5.COUNTS_IN_ONE if person.electrodes_on else v5.HIGHEST_ADC,
            2000,
            0x00,
            98_000,
            120_000,
            person.temperature_ce2 or 0,
            person.spo2_percent or 0,
            (person.heart_rate_bpm or 0) * person.electrodes_on,
            person.respiration_bpm or 0,
        )
