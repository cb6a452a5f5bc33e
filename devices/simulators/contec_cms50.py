"""Twin of a Contec CMS50 (V7): answers commands, streams 60 frames a second, falls silent without keep-alive.

What it recorded by itself lies in ``memory``; while it sends that, nothing else is answered but A7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from devices import cms50_memory
from devices.drivers import contec_cms50_v7 as wire

COMMAND_BYTES = 9
SILENT_AFTER_S = 30.0
SEARCHING_S = 1.5
"""After a finger is put in, before numbers come."""
MODEL, DEVICE_ID, PERFUSION_SUPPORTED = 0xA8, 0xAA, 0xAC
IDLE_REPLY = b"\x0c\x80"
MODEL_REPLY = bytes.fromhex("028080B5B0C4A8C1A90281FFABA0A0A0A0A0")
DEVICE_ID_REPLY = bytes.fromhex("0480F5F3E5F2A0A0A0")
PERFUSION_REPLY = bytes.fromhex("0E8080")
RECORDING, UNSUPPORTED = 0x03, 0x05
WIRE_BYTES_S = 11_520
"""115200 bit/s, ten bits a byte."""
NO_FINGER = bytes.fromhex("01E9C0C090FFFFFFFF")


@dataclass(slots=True)
class Finger:
    spo2_percent: int = 97
    pulse_bpm: int = 72
    perfusion_index_e2: int = 350


@dataclass(slots=True)
class Recorded:
    """A segment of the memory: one value a second, None where there was none."""

    started_at: datetime | None
    spo2_percent: list[int | None]
    pulse_bpm: list[int | None]
    perfusion_e2: int | None = None
    """A device that keeps the perfusion index, too."""

    def values(self) -> bytes:
        more = b"" if self.perfusion_e2 is None else self.perfusion_e2.to_bytes(2, "little")
        return b"".join(
            bytes((spo2 or 0x7F, pulse or 0xFF)) + more
            for spo2, pulse in zip(self.spo2_percent, self.pulse_bpm, strict=True)
        )

    def frames(self) -> bytes:
        values = self.values()
        kind, each = (
            (cms50_memory.THREE_VALUES, 6) if self.perfusion_e2 is None else (cms50_memory.VALUE_WITH_PERFUSION, 4)
        )
        return b"".join(packed(kind, values[at : at + each].ljust(each, b"\0")) for at in range(0, len(values), each))


class Cms50Twin:
    def __init__(self) -> None:
        self.finger: Finger | None = None
        self.memory: list[Recorded] = []
        self.recording = False
        """It is recording just now, and gives nothing of its memory."""
        self._to_send = b""
        self._finger_s = 0.0
        self._streaming = False
        self._half = b""
        self._owed_frames = 0.0
        self._since_keep_alive_s = 0.0
        self._beat = 0.0
        """Phase of the pulse, 0..1."""

    @property
    def streaming(self) -> bool:
        return self._streaming or bool(self._to_send)

    def put_finger(self, finger: Finger | None) -> None:
        if self.finger is None or finger is None:
            self._finger_s = 0.0
        self.finger = finger

    def power_on(self) -> None:
        self._streaming = False
        self._to_send = b""
        self._half = b""
        self._finger_s = 0.0

    def receive(self, chunk: bytes) -> bytes:
        answer = b""
        self._half += chunk
        while (at := self._half.find(b"\x7d\x81")) >= 0 and len(self._half) >= at + COMMAND_BYTES:
            answer += self._answer(self._half[at + 2], bytes(byte & 0x7F for byte in self._half[at + 3 : at + 5]))
            self._half = self._half[at + COMMAND_BYTES :]
        self._half = self._half[-COMMAND_BYTES:]
        return answer

    def _answer(self, code: int, where: bytes) -> bytes:
        command = cms50_memory.command(code)
        if command in (wire.STOP, cms50_memory.STOP_STORED):
            self._streaming = False
            self._to_send = b""
            return IDLE_REPLY
        if self._to_send:
            return b""
        if command == wire.START:
            self._streaming = True
            self._since_keep_alive_s = self._owed_frames = 0.0
            return b""
        if command == wire.KEEP_ALIVE:
            self._since_keep_alive_s = 0.0
            return b""
        told = {MODEL: MODEL_REPLY, DEVICE_ID: DEVICE_ID_REPLY, PERFUSION_SUPPORTED: PERFUSION_REPLY}
        return told.get(code) or self._remembered(code, where)

    def _remembered(self, code: int, where: bytes) -> bytes:
        """:param where: user and segment; one user"""
        if code == cms50_memory.USERS:
            return packed(cms50_memory.USERS_TOLD, b"\x01")
        if code == cms50_memory.SEGMENTS:
            return packed(cms50_memory.SEGMENTS_TOLD, bytes((0, len(self.memory))))
        asked = code in (cms50_memory.START_TIME, cms50_memory.LENGTH, cms50_memory.VALUES)
        if not asked or self.recording or where[1] >= len(self.memory):
            return packed(cms50_memory.FEEDBACK, bytes((code, RECORDING if asked else UNSUPPORTED)))
        kept = self.memory[where[1]]
        if code == cms50_memory.START_TIME:
            return started(where, kept.started_at)
        if code == cms50_memory.LENGTH:
            return packed(cms50_memory.LENGTH_TOLD, where + len(kept.values()).to_bytes(4, "little"))
        self._streaming = False
        self._to_send = kept.frames()
        return b""

    def advance(self, elapsed_s: float) -> bytes:
        if self._to_send:
            n = round(elapsed_s * WIRE_BYTES_S)
            sent, self._to_send = self._to_send[:n], self._to_send[n:]
            return sent
        if not self._streaming:
            return b""
        self._since_keep_alive_s += elapsed_s
        if self._since_keep_alive_s > SILENT_AFTER_S:
            self._streaming = False
            return IDLE_REPLY
        self._owed_frames += elapsed_s * wire.SAMPLE_RATE_HZ
        n = int(self._owed_frames)
        self._owed_frames -= n
        return b"".join(self._frame() for _ in range(n))

    def _frame(self) -> bytes:
        if self.finger is None:
            return NO_FINGER
        self._finger_s += 1 / wire.SAMPLE_RATE_HZ
        before, self._beat = self._beat, (self._beat + self.finger.pulse_bpm / 60 / wire.SAMPLE_RATE_HZ) % 1.0
        beep = self._beat < before
        pleth = pulse_wave(self._beat)
        if self._finger_s < SEARCHING_S:
            return real_time(signal=2, beep=False, pleth=pleth, searching=True, finger=None)
        return real_time(signal=7, beep=beep, pleth=pleth, searching=False, finger=self.finger)


def started(where: bytes, at: datetime | None) -> bytes:
    """Date and time of a segment's start; zeros for a device that keeps none."""
    date = bytes(4) if at is None else bytes((at.year // 100, at.year % 100, at.month, at.day))
    time = bytes(4) if at is None else bytes((at.hour, at.minute, at.second, 0))
    return packed(cms50_memory.DATE_TOLD, where + date) + packed(cms50_memory.TIME_TOLD, where + time)


def pulse_wave(phase: float) -> int:
    """A finger pulse at 0..1 of its beat: upstroke, peak, dicrotic wave; 0..127."""
    systolic = math.exp(-(((phase - 0.18) / 0.085) ** 2))
    dicrotic = 0.42 * math.exp(-(((phase - 0.44) / 0.13) ** 2))
    return round(14 + 95 * min(1.0, systolic + dicrotic))


def real_time(signal: int, beep: bool, pleth: int, searching: bool, finger: Finger | None) -> bytes:
    """One real-time frame; without ``finger`` the device gives no numbers."""
    pulse, spo2, perfusion = (
        (wire.NO_PULSE, wire.NO_SPO2, wire.NO_PERFUSION)
        if finger is None
        else (finger.pulse_bpm, finger.spo2_percent, finger.perfusion_index_e2)
    )
    return packed(
        wire.REAL_TIME,
        bytes(
            (
                signal | beep << 6,
                pleth | searching << 7,
                min(15, pleth >> 3) | (finger is None) << 4,
                pulse,
                spo2,
                perfusion & 0xFF,
                perfusion >> 8,
            )
        ),
    )


def packed(kind: int, data: bytes) -> bytes:
    """A frame: the top bits of the data bytes gathered in byte 1, every byte after the type marked."""
    tops = sum((byte >> 7) << i for i, byte in enumerate(data))
    return bytes((kind, 0x80 | tops)) + bytes(byte | 0x80 for byte in data)
