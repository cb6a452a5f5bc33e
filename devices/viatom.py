"""What Viatom's (Lepu, Wellue) Bluetooth devices share: service, frames, battery, the ECG of one lead. Pure.

``A5 | command | ~command | kind | number | length u16 LE | data | CRC-8/SMBUS`` both ways; rings ask with ``AA`` and
answer with ``55``. The host asks, the device answers with what gathered since: nothing comes unasked.

Source: viatomEcho/LepuBle (layouts and constants as facts), ecostech/viatom-ble (MIT).
"""

from __future__ import annotations

import struct

import numpy as np

from devices.crc8 import crc8_smbus
from devices.driver import Counters, GattUse, Write
from devices.identity import Identity
from devices.readings import INVALID_COUNT
from devices.sized_frames import SizedFramer

SERVICE = "14839AC4-7D7E-415C-9A42-167340CF2339"
WRITE = "8B00ACE7-EB0B-49B0-BBE9-9AEE0A26E1A3"
NOTIFY = "0734594A-A8E7-4B1A-A6B1-CD5243059A57"

HEAD, RING_ASKS, RING_ANSWERS = 0xA5, 0xAA, 0x55
OVERHEAD_BYTES = 8
LONGEST_FRAME = 2048
"""Seconds of samples and more."""

CHANNELS = ("ECG",)
"""Patch on the chest, or held in two hands, against a leg, to the chest."""
SAMPLE_RATE_HZ = 125.0
RESOLUTION_UV = 1.0035 * 1800 / (4096 * 178.74) * 1000
NO_SAMPLE = 0x7FFF
NO_HEART_RATE = (0, 0xFF, 0xFFFF)
SERIAL_AT = 38
"""In the answer to E1; the byte before is its length."""


def gatt_use(*names: str) -> GattUse:
    """One service for all of them: the name tells which."""
    return GattUse(service=SERVICE, subscribe=(NOTIFY,), write=WRITE, names=names, shared_service=True, bond=False)


def frame_of(command: int, data: bytes = b"", head: int = HEAD, number: int = 0, kind: int = 0) -> bytes:
    checked = bytes((head, command, command ^ 0xFF, kind, number)) + struct.pack("<H", len(data)) + data
    return checked + bytes((crc8_smbus(checked),))


def framer(head: int, counters: Counters, longest: int = LONGEST_FRAME) -> SizedFramer:
    return SizedFramer(bytes((head,)), _size, _is_good, longest, counters)


def _size(held: bytes) -> int | None:
    """An answer has the command and its complement; a ring's its status and its complement."""
    if len(held) < 7:
        return None
    return int.from_bytes(held[5:7], "little") + OVERHEAD_BYTES if held[1] ^ held[2] == 0xFF else 0


def _is_good(frame: bytes) -> bool:
    return crc8_smbus(frame[:-1]) == frame[-1]


class Questions:
    """The same question at a fixed pace. A half answer that is still there at the next but one is given up."""

    def __init__(self, question: bytes, each_s: float, answers: SizedFramer, counters: Counters) -> None:
        self._question, self._each_s = question, each_s
        self._answers, self._counters = answers, counters
        self.begin()

    def begin(self) -> None:
        self._since_asked_s = 0.0
        self._answered = -1

    def tick(self, elapsed_s: float) -> list[Write]:
        self._since_asked_s += elapsed_s
        if self._since_asked_s < self._each_s:
            return []
        self._since_asked_s = 0.0
        if self._counters.frames == self._answered:
            self._answers.give_up()
        self._answered = self._counters.frames
        return [Write(self._question)]


def data_of(frame: bytes) -> bytes:
    return frame[7:-1]


def counts_of(raw: bytes) -> list[tuple[int]]:
    """Samples i16 LE -> rows for ``WaveChunks``; 7FFF and the value we use ourselves are none."""
    samples = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(int)
    samples[samples == NO_SAMPLE] = INVALID_COUNT
    return [(int(sample),) for sample in samples]


def heart_rate_of(said: int) -> int | None:
    return None if said in NO_HEART_RATE or said > 300 else said


def percent_of(said: int) -> int | None:
    return said if said <= 100 else None


def identity_of(data: bytes) -> Identity | None:
    """Firmware and serial number in the answer to E1; None where the answer is too short for them."""
    if len(data) <= SERIAL_AT or not 0 < data[SERIAL_AT - 1] <= len(data) - SERIAL_AT:
        return None
    firmware = ".".join(str(byte) for byte in data[4:0:-1])
    serial = data[SERIAL_AT : SERIAL_AT + data[SERIAL_AT - 1]]
    return Identity("Viatom", serial=serial.decode("ascii", "replace"), firmware=firmware)
