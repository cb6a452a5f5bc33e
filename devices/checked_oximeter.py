"""What oximeters with a check byte share: numbers told as they come, taken back in time, and the pleth. Pure.

A check byte vouches for each packet, so one is enough to tell a number (``finger_oximeter`` is for those without one).
Packets of the wave are not numbered: what was lost shows in spoiled bytes, or against the clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.driver import Counters
from devices.readings import INVALID_COUNT, Event, PulseOximetry, Sensor
from devices.sample_clock import SampleClock
from devices.wave_chunks import WaveChunks

WITHDRAW_AFTER_S = 1.8
"""Parameters come once a second."""
LOST_S = 0.5
"""So much of the wave missing against the clock opens a new segment: packets are not numbered."""
WAVE_ENDED_S = 1.5
"""Some send no wave without a finger: after such a silence the next wave is another segment, and nothing was lost."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the device says once a second; None where it says that there is no value."""

    spo2_percent: int | None
    pulse_bpm: int | None
    perfusion_index_percent: float | None
    sensor: Sensor


class CheckedOximeter:
    """Numbers and pleth of one probe, as readings. ``begin`` at each opening, ``tick`` with the driver's.

    :param packet_bytes: length of a whole wave packet, to count from spoiled bytes how many were lost
    """

    def __init__(self, sample_rate_hz: float, samples_per_packet: int, packet_bytes: int, counters: Counters) -> None:
        self._rate_hz = sample_rate_hz
        self._per_packet = samples_per_packet
        self._packet_bytes = packet_bytes
        self._counters = counters
        self._wave = WaveChunks("pleth", ("pleth",), sample_rate_hz, 1.0, "1", counters)
        self.sensor = Sensor.UNKNOWN
        self.begin()

    def begin(self) -> None:
        """Nothing is known of the finger; a new segment."""
        self.sensor = Sensor.UNKNOWN
        self._shown = False
        self._silent_s = 0.0
        self._begin_wave()

    def _begin_wave(self) -> None:
        self._wave_silent_s = 0.0
        self._wave.begin()
        self._clock = SampleClock(self._rate_hz, LOST_S * self._rate_hz)

    def parameters(self, said: Parameters, events: list[Event]) -> None:
        self._silent_s = 0.0
        self.sensor = said.sensor
        if said.spo2_percent is None:
            self.withdraw(events)
            return
        self._shown = True
        events.append(PulseOximetry(said.spo2_percent, said.pulse_bpm, said.perfusion_index_percent))

    def wave(self, data: bytes, events: list[Event]) -> None:
        """Samples of 0 to 127 in bits 0-6; bit 7 marks a beat. An empty probe has none."""
        self._wave_silent_s = 0.0
        empty = self.sensor in (Sensor.OFF, Sensor.ERROR)
        for byte in data:
            self._wave.append((INVALID_COUNT if empty else byte & 0x7F,), events)

    def spoiled(self, n_bytes: int, events: list[Event]) -> None:
        self._wave.lose(round(n_bytes / self._packet_bytes) * self._per_packet, events)

    def tick(self, elapsed_s: float, events: list[Event]) -> None:
        self._silent_s += elapsed_s
        if self._silent_s >= WITHDRAW_AFTER_S:
            self.withdraw(events)
        self._wave_silent_s += elapsed_s
        lost = self._clock.lost(elapsed_s, self._wave.taken)
        if lost or (self._wave.taken and self._wave_silent_s >= WAVE_ENDED_S):
            self._counters.gaps += lost
            self.publish_wave(events)
            self._begin_wave()

    def publish_wave(self, events: list[Event]) -> None:
        """What is gathered, without waiting for a whole chunk: the line is silent."""
        self._wave.publish(events)

    def withdraw(self, events: list[Event]) -> None:
        """Take the number back that stands; nothing happens when none does."""
        if self._shown:
            self._shown = False
            events.append(PulseOximetry(spo2_percent=None, pulse_bpm=None))
