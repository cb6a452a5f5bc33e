"""Frames out of a byte stream: bounded buffers, resynchronisation, checksums. Pure.

Each framer takes bytes cut anywhere and yields frames and, in their place, what was spoiled between them, so that a
driver can say where the gap is. What a framer keeps is never longer than one frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from devices.driver import Counters


def xor8(chunk: bytes) -> int:
    check = 0
    for byte in chunk:
        check ^= byte
    return check


@dataclass(frozen=True, slots=True)
class Frame:
    payload: bytes
    """The whole frame, header and checksum included."""


@dataclass(frozen=True, slots=True)
class Spoiled:
    """Bytes that are no frame: cut short, too long, or strays before any first byte."""

    n_bytes: int


class MarkedFramer:
    """Frames told apart by the top bit: set (or clear) only in the first byte, whose value gives the length.

    There is no checksum, so a frame is believed only when the very next byte is again a first byte (or the line falls
    silent, see ``flush``): a lost or inserted byte then spoils its frame instead of shifting its contents.
    """

    def __init__(self, lengths: Mapping[int, int], first_has_top_bit: bool, counters: Counters) -> None:
        self._lengths = dict(lengths)
        self._mark = 0x80 if first_has_top_bit else 0x00
        first, rest = (b"[\x80-\xff]", b"[\x00-\x7f]") if first_has_top_bit else (b"[\x00-\x7f]", b"[\x80-\xff]")
        self._pieces = re.compile(first + rest + b"*|" + rest + b"+")
        self._keep = max(self._lengths.values()) + 1
        self._counters = counters
        self._held = b""
        self._excess = 0

    def reset(self) -> None:
        """Drop the half frame: the link is given up, or opened anew."""
        self._counters.dropped_bytes += len(self._held) + self._excess
        self._held, self._excess = b"", 0

    def feed(self, chunk: bytes) -> Iterator[Frame | Spoiled]:
        if not chunk:
            return
        pieces = [found.group() for found in self._pieces.finditer(self._held + chunk)]
        for piece in pieces[:-1]:
            yield self._judge(piece)
        last = pieces[-1]
        self._held = last[: self._keep]
        self._excess += len(last) - len(self._held)

    def flush(self) -> Iterator[Frame]:
        """The line is silent: what is held is given out if it is exactly one frame."""
        if self._held and not self._excess and self._is_frame(self._held):
            frame, self._held = self._held, b""
            self._counters.frames += 1
            yield Frame(frame)

    def _is_frame(self, piece: bytes) -> bool:
        return piece[0] & 0x80 == self._mark and len(piece) == self._lengths.get(piece[0])

    def _judge(self, piece: bytes) -> Frame | Spoiled:
        excess, self._excess = self._excess, 0
        if not excess and self._is_frame(piece):
            self._counters.frames += 1
            return Frame(piece)
        self._counters.resyncs += 1
        self._counters.dropped_bytes += len(piece) + excess
        return Spoiled(len(piece) + excess)


class LineFramer:
    """Text lines ended by LF, starting at ``start``; longer ones than ``max_length`` and control bytes are dropped."""

    def __init__(self, start: bytes, max_length: int, counters: Counters, anywhere: bool = True) -> None:
        """:param anywhere: what stands before ``start`` in a line is dropped, else the whole line"""
        self._start = start
        self._anywhere = anywhere
        self._max_length = max_length
        self._counters = counters
        self._held = bytearray()
        self._overlong = False

    def reset(self) -> None:
        """Drop the half line: the link is given up, or opened anew."""
        self._counters.dropped_bytes += len(self._held)
        self._clear()

    def _clear(self) -> None:
        self._held.clear()
        self._overlong = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Lines without their end, from the last ``start`` in them; printable ASCII only."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._hold(end)
            line, overlong = bytes(self._held), self._overlong
            self._clear()
            at = line.rfind(self._start) if self._anywhere else 0 if line.startswith(self._start) else -1
            if overlong or at < 0:
                self._drop(len(line) + 1)
                continue
            text = line[at:].rstrip(b"\r")
            self._counters.dropped_bytes += at
            if not all(0x20 <= byte < 0x7F for byte in text):
                self._drop(len(text))
                continue
            yield text.decode("ascii")
        self._hold(rest)

    def _hold(self, piece: bytes) -> None:
        room = self._max_length - len(self._held)
        self._held += piece[:room]
        if len(piece) > room:
            self._overlong = True
            self._counters.dropped_bytes += len(piece) - room

    def _drop(self, n_bytes: int) -> None:
        if n_bytes > 2:
            self._counters.resyncs += 1
            self._counters.dropped_bytes += n_bytes
