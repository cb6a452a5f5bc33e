"""``AA 55 | token | length | type | data .. | crc``: the packets of Creative and Lepu monitors. Pure.

The length counts type, data and check byte; the check byte is CRC-8/MAXIM over everything before it. The token names a
part of the device (0F oximeter, F0 the device itself, 40-43 cuff, ...), the type what is said or asked.

Oximeters and all-in-one monitors of the family send the same parameters, so what is made of them is here too. A check
byte vouches for each packet: one packet is enough to tell a number.

Sources: "AP-20 Bluetooth Protocol" (pmenke-de/lepu-public-integration, Apache-2.0, with example bytes); layouts in
viatomEcho/LepuBle (facts only).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devices.crc8 import crc8_maxim
from devices.driver import Counters
from devices.framing import Spoiled
from devices.readings import INVALID_COUNT, Event, PulseOximetry, Sensor
from devices.sample_clock import SampleClock
from devices.sized_frames import SizedFramer
from devices.wave_chunks import WaveChunks

HEAD = b"\xaa\x55"
BEFORE_TYPE_BYTES = 4
LONGEST_BYTES = BEFORE_TYPE_BYTES + 255

REST_WITHIN_S = 1.0

PARAMETER_BYTES = 5
PROBE_OFF, SEARCHING, PROBE_FAULT = 1 << 1, 1 << 2, 1 << 3
WITHDRAW_AFTER_S = 1.8
"""Parameters come once a second."""
LOST_S = 0.5
"""So much of the wave missing against the clock opens a new segment: packets are not numbered."""
WAVE_ENDED_S = 1.5
"""Some send no wave without a finger: after such a silence the next wave is another segment, and nothing was lost."""


def packet(token: int, type_: int, data: bytes = b"") -> bytes:
    """One packet with its check byte.

    :raises ValueError: more than 253 bytes of data.
    """
    body = HEAD + bytes((token, len(data) + 2, type_)) + data
    return body + bytes((crc8_maxim(body),))


@dataclass(frozen=True, slots=True)
class Packet:
    token: int
    type: int
    data: bytes


class PacketFramer:
    """Bytes in, good packets out; between them how many bytes were none. Never raises."""

    def __init__(self, counters: Counters) -> None:
        self._frames = SizedFramer(HEAD, _size_of, _is_good, LONGEST_BYTES, counters)
        self._silent_s = 0.0

    def reset(self) -> None:
        """Drop the half packet: the link is given up, or opened anew."""
        self._silent_s = 0.0
        self._frames.reset()

    def tick(self, elapsed_s: float) -> None:
        """After a second of silence the rest of a packet does not come any more."""
        self._silent_s += elapsed_s
        if self._silent_s >= REST_WITHIN_S:
            self.reset()

    def feed(self, chunk: bytes) -> Iterator[Packet | Spoiled]:
        self._silent_s = 0.0
        for piece in self._frames.feed(chunk):
            if isinstance(piece, Spoiled):
                yield piece
            else:
                yield Packet(piece.payload[2], piece.payload[BEFORE_TYPE_BYTES], piece.payload[5:-1])


def _size_of(head: bytes) -> int | None:
    if len(head) < BEFORE_TYPE_BYTES:
        return None
    return BEFORE_TYPE_BYTES + head[3] if head[3] >= 2 else 0


def _is_good(frame: bytes) -> bool:
    return crc8_maxim(frame[:-1]) == frame[-1]


@dataclass(frozen=True, slots=True)
class Parameters:
    """SpO2, pulse and perfusion once a second; None where the device says 0, "no value"."""

    spo2_percent: int | None
    pulse_bpm: int | None
    perfusion_index_percent: float | None
    sensor: Sensor

    @classmethod
    def of(cls, data: bytes) -> Parameters | None:
        """``SpO2 | pulse u16 LE | perfusion x 10 | status``; None: too short to be that."""
        if len(data) < PARAMETER_BYTES:
            return None
        spo2, pulse, perfusion_e1, status = data[0], data[1] | data[2] << 8, data[3], data[4]
        sensor = Sensor.OK if 0 < spo2 <= 100 else Sensor.SEARCHING
        if status & SEARCHING:
            sensor = Sensor.SEARCHING
        if status & PROBE_OFF:
            sensor = Sensor.OFF
        if status & PROBE_FAULT:
            sensor = Sensor.ERROR
        if sensor in (Sensor.OFF, Sensor.ERROR) or not 0 < spo2 <= 100:
            return cls(None, None, None, sensor)
        return cls(spo2, pulse or None, perfusion_e1 / 10 or None, sensor)


class Oximeter:
    """Numbers and pleth of one probe, as readings. ``begin`` at each opening, ``tick`` with the driver's.

    :param packet_bytes: length of a whole wave packet, to count from spoiled bytes how many were lost
    """

    def __init__(self, sample_rate_hz: float, samples_per_packet: int, counters: Counters) -> None:
        self._rate_hz = sample_rate_hz
        self._per_packet = samples_per_packet
        self._packet_bytes = BEFORE_TYPE_BYTES + 2 + samples_per_packet
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


def battery_percent(level: int) -> int | None:
    """Of the family's four levels, 0 (low) to 3 (full)."""
    return round(level * 100 / 3) if 0 <= level <= 3 else None


def bcd_version(*said: int) -> str:
    """ "21 03" -> "2.1.0.3"."""
    return ".".join(f"{byte >> 4}.{byte & 0xF}" for byte in said)
