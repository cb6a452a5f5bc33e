"""A recording of ECG as a file: the partial file it grows in, and the file and entry that are made of it.

Partial file: blocks ``u32 LE length | u32 LE CRC-32 | frame of devices.wire``, a torn last block is cut off by its CRC;
who, when and for whom stands in the facts beside it (``sync.record.recordings``).
"""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from devices.errors import DropFrame
from devices.readings import Samples
from devices.wire import pack_samples, unpack_samples
from sync.formats import ecg_file
from sync.formats.records import Draft, parse_time
from sync.record.recordings import Partial

PARTIAL_TYPE = "application/vnd.xunzhen.ecg-partial"
_BLOCK = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Served:
    """For whom a recording is made, as far as known when it begins."""

    visit: str | None = None
    encounter: str | None = None
    patient: str | None = None


@dataclass(frozen=True, slots=True)
class RecordingView:
    """A stored recording, as screens list it."""

    sha256: str
    duration_ms: int
    started_at: datetime
    interrupted: bool = False
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class About:
    """What is known when a recording begins; the facts beside its partial file."""

    device: str
    driver: str
    started_at: str
    seconds: float
    by: str | None
    served: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Made:
    """A finished recording: its file, and what its entry says."""

    about: About
    blob: bytes
    duration_ms: int
    facts: dict[str, Any]

    def draft(self, sha256: str, size: int) -> Draft:
        fields: dict[str, Any] = {
            "sha256": sha256,
            "bytes": size,
            "media_type": ecg_file.MEDIA_TYPE,
            "what": "ecg",
            "device": self.about.device,
            "started_at": self.about.started_at,
            "duration_ms": self.duration_ms,
            "facts": self.facts,
        }
        served = Served(**self.about.served)
        if served.patient is not None:
            fields["patient"] = served.patient
        return Draft("recording/1", fields, by=self.about.by, visit=served.visit, encounter=served.encounter)

    def view(self, sha256: str) -> RecordingView:
        started_at = parse_time(self.about.started_at)
        interrupted, gaps = bool(self.facts["interrupted"]), len(self.facts["gaps"])
        return RecordingView(sha256, self.duration_ms, started_at, interrupted, gaps)


def make_recording(about: About, chunks: list[Samples], interrupted: bool) -> Made:
    """The file of these chunks (at least one, in the order they came), its length and its gaps."""
    rate_hz = chunks[0].sample_rate_hz
    facts = {
        "interrupted": interrupted,
        "asked_ms": round(about.seconds * 1000),
        "driver": about.driver,
        "channels": list(chunks[0].channels),
        "gaps": gaps_of(chunks),
    }
    return Made(about, ecg_file.write(chunks), round(length_of(chunks) / rate_hz * 1000), facts)


def gaps_of(chunks: list[Samples]) -> list[dict[str, int]]:
    """Where samples are missing: {segment, first_index, count}; a new segment is {segment, first_index: 0, count: 0},
    for nobody knows how many samples were lost while the device was away."""
    gaps: list[dict[str, int]] = []
    for before, after in itertools.pairwise(chunks):
        if after.segment != before.segment:
            gaps.append({"segment": after.segment, "first_index": 0, "count": 0})
        elif after.first_index > before.last_index + 1:
            missing = after.first_index - before.last_index - 1
            gaps.append({"segment": after.segment, "first_index": before.last_index + 1, "count": missing})
    return gaps


def length_of(chunks: list[Samples]) -> int:
    """Samples covered, holes inside a segment included."""
    spans: dict[int, tuple[int, int]] = {}
    for chunk in chunks:
        first, _ = spans.get(chunk.segment, (chunk.first_index, 0))
        spans[chunk.segment] = (first, chunk.last_index)
    return sum(last - first + 1 for first, last in spans.values())


def first_part(samples: Samples, n: int) -> Samples:
    return Samples(
        samples.stream,
        samples.channels,
        samples.sample_rate_hz,
        samples.segment,
        samples.first_index,
        np.ascontiguousarray(samples.counts[:n]),
        samples.resolution,
        samples.unit,
    )


def block_of(device: str, samples: Samples) -> bytes:
    """A chunk as it stands in the partial file."""
    payload = pack_samples(device, samples)
    return _BLOCK.pack(len(payload), zlib.crc32(payload)) + payload


def _blocks(raw: bytes) -> Iterator[bytes]:
    """Whole blocks up to the first torn one."""
    at = 0
    while at + _BLOCK.size <= len(raw):
        length, checksum = _BLOCK.unpack_from(raw, at)
        payload = raw[at + _BLOCK.size : at + _BLOCK.size + length]
        if len(payload) != length or zlib.crc32(payload) != checksum:
            return
        yield payload
        at += _BLOCK.size + length


def read_partial(partial: Partial) -> tuple[About, list[Samples]]:
    about = About(**{name: value for name, value in partial.facts.items() if name != "media_type"})
    chunks = []
    for block in _blocks(partial.read()):
        try:
            chunks.append(unpack_samples(block)[1])
        except DropFrame:
            break
    return about, chunks


def view_of(row: dict[str, Any]) -> RecordingView:
    facts = json.loads(row["facts_json"] or "{}")
    return RecordingView(
        row["sha256"],
        row["duration_ms"],
        parse_time(row["started_at"]),
        bool(facts.get("interrupted")),
        len(facts.get("gaps", ())),
    )
