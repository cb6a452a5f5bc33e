"""Twin of the Creative PC-80B: asks to be listened to, streams once that is granted, and sends what it has kept."""

from __future__ import annotations

import struct
from binascii import crc_hqx
from datetime import datetime

import numpy as np
import numpy.typing as npt

from devices.driver import Counters
from devices.drivers import creative_pc80b as wire
from devices.ecg_files import pc80b_ecg
from devices.framing import Frame
from devices.readings import INVALID_COUNT
from devices.simulators.ecg_source import EcgSource
from devices.simulators.lead_source import LeadSource

ASKS_EACH_S = 1.0
FIRMWARE = bytes((1, 1, 0, 7))
SERIAL = b"XZ0000000012"
REMEMBERED_SAMPLES = 60 * 150
PART_BYTES = 50


def stored_file(counts: npt.NDArray[np.int16], shown_at: datetime) -> bytes:
    """A file of its memory, as ``devices.ecg_files.pc80b_ecg`` describes it.

    :param counts: shape (n,), n up to 32767, in the driver's units; ``INVALID_COUNT`` becomes the end of the converter
    """
    raw = np.where(counts == INVALID_COUNT, wire.FULL_SCALE, counts + wire.MID_SCALE).astype("<u2").tobytes()
    clock = bytearray(16)
    pc80b_ecg.SHOWN_DATE.pack_into(clock, 3, shown_at.year, shown_at.month, shown_at.day)
    pc80b_ecg.SHOWN_TIME.pack_into(clock, 10, shown_at.hour, shown_at.minute, shown_at.second)
    rhythm = struct.pack("<HHBBH", 805, pc80b_ecg.INTERVAL_US, 0, 0, len(raw)) + raw
    bodies = {0: bytes(60), 1: bytes(clock), 2: bytes(14), 3: bytes(12), 6: rhythm, 9: bytes(584)}
    sections = b"".join(_section(section, body) for section, body in bodies.items())
    checked = struct.pack("<I", 6 + len(sections)) + sections
    return struct.pack("<H", crc_hqx(checked, 0xFFFF)) + checked


def _section(section: int, body: bytes) -> bytes:
    checked = struct.pack("<HIBB6s", section, 16 + len(body), 13, 13, b"SCPECG" if section == 0 else b"") + body
    return struct.pack("<H", crc_hqx(checked, 0xFFFF)) + checked


class Pc80bTwin:
    """
    :param track: speaks DD, as newer firmware does, instead of AA
    """

    def __init__(self, source: EcgSource, track: bool = False) -> None:
        self.heart_rate_bpm = 72
        self.lead_off = False
        self.battery = 2
        """0..3."""
        self.stored = b""
        """A file of its memory (``stored_file``) that its owner wants sent, before anything live."""
        self.spoiled_frames = 0
        """So many of the next frames of samples never arrive."""
        self.acknowledged: list[int] = []
        self._track = track
        self._source = LeadSource(source, wire.SAMPLE_RATE_HZ)
        self._framer = wire.framer(Counters())
        self._remembered = np.empty(0, np.int16)
        self.power_on()

    @property
    def streaming(self) -> bool:
        return self._granted

    def power_on(self) -> None:
        self._granted = False
        self._parts: list[bytes] = []
        """Of a file under way, the end too, and the number of the first one."""
        self._number = 0
        self._asked_s = ASKS_EACH_S
        self._owed_s = 0.0

    def receive(self, chunk: bytes) -> bytes:
        return b"".join(self._answer(piece.payload) for piece in self._framer.feed(chunk) if isinstance(piece, Frame))

    def _answer(self, asked: bytes) -> bytes:
        if asked == wire.ASK_VERSIONS:
            return wire.command(wire.VERSIONS, FIRMWARE + b"\x11\x12")
        if asked == wire.KEEP_ALIVE:
            return wire.command(wire.HEARTBEAT, bytes((self.battery,)))
        if asked == wire.ACCEPT and self.stored and not self._parts:
            parts = range(0, len(self.stored), PART_BYTES)
            self._parts, self._number = [*(self.stored[at : at + PART_BYTES] for at in parts), b""], 0
            return self._part()
        if asked == wire.ACCEPT and not self._granted and not self._parts:
            self._granted, self._number, self._owed_s = True, 0, 0.0
        elif asked[1] == wire.CONTINUOUS and self._parts:
            return self._answered(asked[3], taken=not asked[4])
        elif asked[1] == wire.CONTINUOUS:
            self.acknowledged.append(asked[3])
        return b""

    def _answered(self, number: int, taken: bool) -> bytes:
        if not taken:
            self._parts = []  # its owner has to send it once more
            return b""
        if number == self._number % 256:
            self._number += 1
            self._parts.pop(0)
            self.stored = self.stored if self._parts else b""
        return self._part() if self._parts else b""

    def _part(self) -> bytes:
        return wire.command(wire.CONTINUOUS, bytes((self._number % 256,)) + self._parts[0])

    def advance(self, elapsed_s: float) -> bytes:
        if not self._granted:
            return self._ask(elapsed_s) if not self._parts else b""
        self._owed_s += elapsed_s
        n = int(self._owed_s * wire.FRAMES_PER_S + 1e-9)
        self._owed_s -= n / wire.FRAMES_PER_S
        return b"".join(self._frame() for _ in range(n))

    def finish(self) -> bytes:
        """The person puts the device down."""
        self._granted = False
        return wire.command(wire.CONTINUOUS, bytes((self._number,)))

    def sent(self, last: int) -> npt.NDArray[np.int16]:
        """The last samples that the bytes carried, in the driver's units, shape (n, 1)."""
        return self._remembered[-last:].reshape(-1, 1)

    @property
    def samples_sent(self) -> int:
        return len(self._remembered)

    def _ask(self, elapsed_s: float) -> bytes:
        self._asked_s += elapsed_s
        if self._asked_s < ASKS_EACH_S:
            return b""
        self._asked_s = 0.0
        return wire.command(wire.SESSION, bytes((0x0B, int(bool(self.stored)))) + SERIAL)

    def _frame(self) -> bytes:
        counts = np.round(self._source.next_uv(wire.SAMPLES_PER_FRAME)[:, 0] / wire.RESOLUTION_UV)
        counts = np.clip(counts, 1 - wire.MID_SCALE, wire.FULL_SCALE - 1 - wire.MID_SCALE).astype(np.int16)
        lost, self.spoiled_frames = self.spoiled_frames > 0, max(0, self.spoiled_frames - 1)
        said = np.full_like(counts, INVALID_COUNT) if self.lead_off or lost else counts
        self._remembered = np.concatenate([self._remembered, said])[-REMEMBERED_SAMPLES:]
        raw = (counts + wire.MID_SCALE).astype("<u2").tobytes()
        number, self._number = self._number, self._number + 1
        frame = self._tracked(number, raw) if self._track else self._continuous(number, raw)
        return b"" if lost else frame

    def _continuous(self, number: int, raw: bytes) -> bytes:
        millivolts = 3900
        flags = (millivolts >> 8) | 0x10 | self.lead_off << 7
        end = bytes((self.heart_rate_bpm, millivolts & 0xFF, flags))
        return wire.command(wire.CONTINUOUS, bytes((number % 256,)) + raw + end)

    def _tracked(self, number: int, raw: bytes) -> bytes:
        measuring_built_in = 1 << 6 | 2 << 4 | 2
        flags = wire.SAMPLES | self.lead_off << 7
        head = struct.pack("<HBBBB", number % 65536, 0x10, measuring_built_in, self.heart_rate_bpm, flags)
        return wire.command(wire.TRACK, head + raw)
