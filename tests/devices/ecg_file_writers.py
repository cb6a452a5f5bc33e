"""Writes the ECG files that the tests read: ``devices.ecg_files`` the other way round, faults included."""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from devices.ecg_files import contec_ecg
from devices.readings import INVALID_COUNT
from devices.simulators.ecg_source import SynthesisedEcg

Counts = npt.NDArray[np.int16]
LEAD_CODES = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "III": 61, "aVR": 62}
EIGHT = contec_ecg.CHANNELS


def heartbeats(seconds: float, sample_rate_hz: float = 500.0, resolution_uv: float = 5.0) -> Counts:
    """Counts of I, II, V1..V6 of a sinus rhythm."""
    wave_uv = SynthesisedEcg(heart_rate_bpm=70, seed=4).next_uv(round(seconds * sample_rate_hz))
    return np.round(wave_uv / resolution_uv).astype(np.int16)


def contec(
    counts: Counts,
    name: bytes = b"",
    sex: int = 255,
    age: int = 0,
    time: bytes = b"2026-11-20 08:30:00",
    footer: bytes = bytes(contec_ecg.FOOTER_BYTES),
) -> bytes:
    """:param counts: of I, II, V1..V6; without a value where the electrode is off"""
    head = struct.pack("<10s22s8sBBB", b"0000007", time, name, sex, age, 0)
    values = np.array(counts, np.int32)
    values[:, 0], values[:, 1] = counts[:, 1], counts[:, 1].astype(np.int32) - counts[:, 0]
    values += contec_ecg.MID_SCALE
    off = counts == INVALID_COUNT
    off = np.column_stack([off[:, 1], off[:, 0] | off[:, 1], off[:, 2:]])
    return head + np.where(off, contec_ecg.ELECTRODE_OFF, values).astype("<u2").tobytes() + footer


@dataclass
class Scp:
    """A record of SCP-ECG; what is set apart from the defaults makes it special or wrong."""

    counts: Counts
    leads: Sequence[str] = EIGHT
    nanovolt: int = 5000
    interval_us: int = 2000
    differences: int = 0
    packed: bool = False
    code: int = 19999
    first: int = 1
    first_of: Mapping[str, int] = field(default_factory=dict)
    flags: int = 0x44
    bimodal: int = 0
    tags: Sequence[tuple[int, bytes]] = ()
    announced: int | None = None
    lead_codes: Mapping[str, int] = field(default_factory=lambda: LEAD_CODES)
    padding: bytes = b""

    def record(self) -> bytes:
        sections = {1: self._tags(), 3: self._leads(), 6: self._rhythm()}
        if self.packed:
            sections[2] = struct.pack("<H", self.code)
        return scp_record(sections)

    def _tags(self) -> bytes:
        return b"".join(struct.pack("<BH", tag, len(said)) + said for tag, said in (*self.tags, (255, b"")))

    def _leads(self) -> bytes:
        n = len(self.counts) if self.announced is None else self.announced
        said = b""
        for name in self.leads:
            first = self.first_of.get(name, self.first)
            said += struct.pack("<IIB", first, n + first - (first > 0), self.lead_codes[name])
        return struct.pack("<BB", len(self.leads), self.flags) + said

    def _rhythm(self) -> bytes:
        waves = [differences(self.counts[:, i].astype(np.int64), self.differences) for i in range(len(self.leads))]
        parts = [default_code(wave) if self.packed else wave.astype("<i2").tobytes() for wave in waves]
        head = struct.pack("<HHBB", self.nanovolt, self.interval_us, self.differences, self.bimodal)
        lengths = b"".join(struct.pack("<H", len(part) % 65536) for part in parts)
        return head + lengths + b"".join(parts) + self.padding


def scp_record(sections: Mapping[int, bytes]) -> bytes:
    """Sections with their pointers, each with its checksum, and that of the whole."""
    pointers, body = b"", b""
    at = 6 + 16 + 10 * 12
    for section in range(12):
        length = 16 + 120 if section == 0 else len(sections[section]) + 16 if section in sections else 0
        index = 7 if section == 0 else at + len(body) + 1 if length else 0
        pointers += struct.pack("<HII", section, length, index)
        if section in sections:
            body += _section(section, sections[section])
    body = _section(0, pointers) + body
    sized = struct.pack("<I", len(body) + 6) + body
    return struct.pack("<H", crc_hqx(sized, 0xFFFF)) + sized


def _section(section: int, said: bytes) -> bytes:
    rest = struct.pack("<HIBB6s", section, len(said) + 16, 20, 20, b"SCPECG" if section == 0 else b"") + said
    return struct.pack("<H", crc_hqx(rest, 0xFFFF)) + rest


def differences(wave: npt.NDArray[np.int64], order: int) -> npt.NDArray[np.int64]:
    if order == 0:
        return wave
    if order == 1:
        return np.diff(wave, prepend=0)
    return np.concatenate([wave[:2], np.diff(wave, n=2)])


def default_code(numbers: npt.NDArray[np.int64]) -> bytes:
    """Packed with the default code, the last byte filled with ones."""
    bits = "".join(_symbol(int(number)) for number in numbers)
    bits += "1" * (-len(bits) % 8)
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:] if bits else b""


def _symbol(number: int) -> str:
    if number == 0:
        return "0"
    if abs(number) <= 8:
        return "1" * abs(number) + "0" + ("1" if number < 0 else "0")
    if -128 <= number < 128:
        return "1" * 9 + "0" + format(number & 0xFF, "08b")
    return "1" * 10 + format(number & 0xFFFF, "016b")


def ascii_tag(tag: int, text: str, encoding: str = "utf-8") -> tuple[int, bytes]:
    return tag, text.encode(encoding) + b"\0"
