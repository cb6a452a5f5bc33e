"""``AA 55 | token | length | type | data .. | crc``: the packets of Creative and Lepu monitors. Pure.

The length counts type, data and check byte; the check byte is CRC-8/MAXIM over everything before it. The token names a
part of the device (0F oximeter, F0 the device itself, 40-43 cuff, ...), the type what is said or asked.

Oximeters and all-in-one monitors of the family send the same parameters. A check byte vouches for each packet: one is
enough to tell a number.

Sources: "AP-20 Bluetooth Protocol" (pmenke-de/lepu-public-integration, Apache-2.0, with example bytes); layouts in
viatomEcho/LepuBle (facts only).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devices.checked_oximeter import Parameters
from devices.crc8 import crc8_maxim
from devices.driver import Counters
from devices.framing import Spoiled
from devices.readings import Sensor
from devices.sized_frames import SizedFramer

HEAD = b"\xaa\x55"
BEFORE_TYPE_BYTES = 4
LONGEST_BYTES = BEFORE_TYPE_BYTES + 255

REST_WITHIN_S = 1.0

PARAMETER_BYTES = 5
HIGHEST_PULSE_BPM = 400
"""Of the 16 bits that hold it; more is no pulse."""
PROBE_OFF, SEARCHING, PROBE_FAULT = 1 << 1, 1 << 2, 1 << 3


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


def parameters_of(data: bytes) -> Parameters | None:
    """``SpO2 | pulse u16 LE | perfusion x 10 | status``, 0 is none; None: too short to be that."""
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
        return Parameters(None, None, None, sensor)
    pulse_bpm = pulse if 0 < pulse <= HIGHEST_PULSE_BPM else None
    return Parameters(spo2, pulse_bpm, perfusion_e1 / 10 or None, sensor)


def battery_percent(level: int) -> int | None:
    """Of the family's four levels, 0 (low) to 3 (full)."""
    return round(level * 100 / 3) if 0 <= level <= 3 else None


def bcd_version(*said: int) -> str:
    """ "21 03" -> "2.1.0.3"."""
    return ".".join(f"{byte >> 4}.{byte & 0xF}" for byte in said)
