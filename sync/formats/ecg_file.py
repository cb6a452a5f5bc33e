"""ECG recordings on disk and on the wire: ``xunzhen-ecg/1``, lossless, about a third of the raw size. Pure.

Layout: the magic line ``xunzhen-ecg/1 LF``, a uint32 LE length, that many bytes of canonical JSON (the header, decimals
as text), then one zstd frame. The frame unpacks to the counts channel by channel: first differences modulo 2**16, all
low bytes first, then all high bytes (*delta + byte split*), which zstd packs far better than interleaved int16.

Gaps stay gaps: the header lists the pieces, each with the segment and the first index that the device gave it, and a
sample without a value keeps the count -32768.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from devices.readings import INVALID_COUNT, Samples
from devices.wire import pack_samples
from sync.formats.canonical import Json, NotCanonical, dumps, loads

MEDIA_TYPE = "application/vnd.xunzhen.ecg"
_MAGIC = b"xunzhen-ecg/1\n"
_LARGEST_COUNTS = 200_000_000

Counts = npt.NDArray[np.int16]


class EcgFileUnreadable(ValueError):
    """Not an ECG file, of a later version, cut off or damaged."""


@dataclass(frozen=True, slots=True)
class Piece:
    """An unbroken run: ``count`` samples, the first of them number ``first_index`` of ``segment``."""

    segment: int
    first_index: int
    count: int


@dataclass(frozen=True, slots=True)
class Header:
    """``resolution_uv``: physical value of one count in microvolts."""

    channels: tuple[str, ...]
    sample_rate_hz: float
    resolution_uv: float
    pieces: tuple[Piece, ...]

    @property
    def count(self) -> int:
        return sum(piece.count for piece in self.pieces)

    @property
    def missing(self) -> int:
        """Samples lost between the pieces of one segment."""
        pairs = zip(self.pieces, self.pieces[1:], strict=False)
        return sum(b.first_index - a.first_index - a.count for a, b in pairs if a.segment == b.segment)


def write(samples: Sequence[Samples]) -> bytes:
    """The file of chunks in the order they came.

    :raises ValueError: no chunks, or chunks of different channels, rate or resolution; not microvolts.
    """
    if not samples:
        raise ValueError("no samples to write")
    first = samples[0]
    shape = (first.channels, first.sample_rate_hz, first.resolution, first.unit)
    if any((chunk.channels, chunk.sample_rate_hz, chunk.resolution, chunk.unit) != shape for chunk in samples):
        raise ValueError("chunks of one file have the same channels, rate and resolution")
    if first.unit != "uV":
        raise ValueError(f"ECG is in uV, not {first.unit}")
    header: dict[str, Json] = {
        "channels": list(first.channels),
        "pieces": [[piece.segment, piece.first_index, piece.count] for piece in _pieces(samples)],
        "resolution_uv": repr(float(first.resolution)),
        "sample_rate_hz": repr(float(first.sample_rate_hz)),
    }
    written = dumps(header)
    packed = zstandard.ZstdCompressor(level=9, write_checksum=True).compress(
        _split_bytes(np.concatenate([chunk.counts for chunk in samples]))
    )
    return _MAGIC + len(written).to_bytes(4, "little") + written + packed


def read(data: bytes) -> tuple[Header, Counts]:
    """Header and counts of shape (n, channels); pieces follow each other without filling.

    :raises EcgFileUnreadable: see there.
    """
    header, rest = _read_header(data)
    shape = (header.count, len(header.channels))
    size = shape[0] * shape[1] * 2
    if size > _LARGEST_COUNTS:
        raise EcgFileUnreadable("the header claims more samples than an ECG file may hold")
    try:
        if zstandard.frame_content_size(rest) != size:
            raise EcgFileUnreadable(f"the samples do not have the {size} bytes that the header says")
        unpacked = zstandard.ZstdDecompressor().decompress(rest)
    except zstandard.ZstdError as fault:
        raise EcgFileUnreadable(f"the samples are damaged: {fault}") from None
    return header, _join_bytes(unpacked, shape)


def read_with_gaps(data: bytes) -> list[Counts]:
    """One array per segment, lost samples filled with ``INVALID_COUNT``: what a chart draws.

    :raises EcgFileUnreadable: see there.
    """
    header, counts = read(data)
    segments: list[tuple[int, list[Counts], int]] = []
    place = 0
    for piece in header.pieces:
        run = counts[place : place + piece.count]
        place += piece.count
        if segments and segments[-1][0] == piece.segment:
            _, runs, next_index = segments[-1]
            lost = min(max(0, piece.first_index - next_index), _LARGEST_COUNTS // 16)
            runs += [np.full((lost, counts.shape[1]), INVALID_COUNT, np.int16), run]
            segments[-1] = (piece.segment, runs, piece.first_index + piece.count)
        else:
            segments.append((piece.segment, [run], piece.first_index + piece.count))
    return [np.concatenate(runs) for _, runs, _ in segments]


def _pieces(samples: Sequence[Samples]) -> list[Piece]:
    pieces: list[Piece] = []
    for chunk in samples:
        count = len(chunk.counts)
        last = pieces[-1] if pieces else None
        if last and last.segment == chunk.segment and last.first_index + last.count == chunk.first_index:
            pieces[-1] = Piece(last.segment, last.first_index, last.count + count)
        elif count:
            pieces.append(Piece(chunk.segment, chunk.first_index, count))
    return pieces


def _read_header(data: bytes) -> tuple[Header, bytes]:
    start = len(_MAGIC) + 4
    if not data.startswith(_MAGIC) or len(data) < start:
        raise EcgFileUnreadable("not an xunzhen-ecg/1 file")
    end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    try:
        said = loads(data[start:end])
        return _header(said), data[end:]
    except (NotCanonical, KeyError, TypeError, ValueError) as fault:
        raise EcgFileUnreadable(f"header is damaged: {fault}") from None


def _header(said: dict[str, Any]) -> Header:
    pieces = tuple(Piece(int(segment), int(first), int(count)) for segment, first, count in said["pieces"])
    header = Header(tuple(said["channels"]), float(said["sample_rate_hz"]), float(said["resolution_uv"]), pieces)
    if not header.channels or any(piece.count < 1 for piece in pieces):
        raise ValueError("no channels or an empty piece")
    if not (isfinite(header.sample_rate_hz) and isfinite(header.resolution_uv)):
        raise ValueError("rate or resolution is not a number")
    return header


def _split_bytes(counts: Counts) -> bytes:
    by_channel = np.ascontiguousarray(counts.T).astype("<u2")
    delta = by_channel.copy()
    delta[:, 1:] -= by_channel[:, :-1]
    return (delta & 0xFF).astype(np.uint8).tobytes() + (delta >> 8).astype(np.uint8).tobytes()


def _join_bytes(unpacked: bytes, shape: tuple[int, int]) -> Counts:
    halves = np.frombuffer(unpacked, np.uint8).reshape(2, shape[1], shape[0]).astype(np.uint16)
    by_channel = np.cumsum(halves[0] | halves[1] << 8, axis=1, dtype=np.uint16)
    return np.ascontiguousarray(by_channel.T).view(np.int16)


def joined(data: bytes) -> tuple[Header, Counts]:
    """Header and counts of the whole file in one piece: segments follow each other with a gap of one sample, rows that
    were never received are ``INVALID_COUNT``.

    :raises EcgFileUnreadable: see there
    """
    header, _ = _read_header(data)
    gap = np.full((1, len(header.channels)), INVALID_COUNT, dtype=np.int16)
    parts = [part for counts in read_with_gaps(data) for part in (gap, counts)][1:]
    return header, np.concatenate(parts) if parts else gap[:0]


def as_frame(data: bytes, device: str) -> bytes:
    """The file as one samples frame (``devices.wire``), for drawing: as ``joined``.

    :raises EcgFileUnreadable: see there
    """
    header, counts = joined(data)
    return pack_samples(
        device,
        Samples(
            stream="ecg",
            channels=header.channels,
            sample_rate_hz=header.sample_rate_hz,
            segment=0,
            first_index=0,
            counts=counts,
            resolution=header.resolution_uv,
            unit="uV",
        ),
    )
