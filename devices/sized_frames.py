"""Frames whose own first bytes tell their length: the framing of the ``A5`` families and of the open-hardware boards.

What differs between protocols is two functions: how long a frame is, and whether a whole one is good (checksum, or the
fixed bytes at its end where there is none). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from devices.driver import Counters
from devices.framing import Frame, Spoiled, xor8

SizeOf = Callable[[bytes], int | None]
"""The bytes from a head on (a few at least) -> length of the whole frame; None: too few to tell; 0: no frame."""


class SizedFramer:
    """After a bad frame the search goes on one byte later, so a good frame inside a bad one is found.

    ``Spoiled`` tells, right before the next good frame, how many bytes lie between two good ones.

    :param look_ahead: how many bytes ``size_of`` needs at most to tell a length
    :param is_good: asked of a whole frame
    :param max_length: a longer frame is none; nothing longer is kept
    """

    def __init__(
        self,
        head: bytes,
        size_of: SizeOf,
        is_good: Callable[[bytes], bool],
        max_length: int,
        counters: Counters,
        look_ahead: int = 8,
    ) -> None:
        self._head = head
        self._size_of = size_of
        self._is_good = is_good
        self._max_length = max_length
        self._counters = counters
        self._look_ahead = look_ahead
        self._held = bytearray()
        self._dropped = 0

    def reset(self) -> None:
        """Forget everything: the link is given up, or opened anew."""
        self.give_up()
        self._dropped = 0

    def give_up(self) -> None:
        """Drop the half frame, which waited for too long; its bytes count as spoiled."""
        self._drop(len(self._held))

    def feed(self, chunk: bytes) -> Iterator[Frame | Spoiled]:
        self._held += chunk
        while self._to_head():
            size = self._size_of(bytes(self._held[: self._look_ahead]))
            if size is None:
                return
            if not 0 < size <= self._max_length:
                self._skip()
                continue
            if len(self._held) < size:
                return
            frame = bytes(self._held[:size])
            if not self._is_good(frame):
                self._counters.bad_checksums += 1
                self._skip()
                continue
            del self._held[:size]
            self._counters.frames += 1
            if self._dropped:
                spoiled, self._dropped = Spoiled(self._dropped), 0
                yield spoiled
            yield Frame(frame)

    def _to_head(self) -> bool:
        """Drop what lies before the next head; False when at most a part of one is left."""
        at = self._held.find(self._head)
        if at >= 0:
            self._drop(at)
            return True
        keep = next((n for n in range(len(self._head) - 1, 0, -1) if self._held.endswith(self._head[:n])), 0)
        self._drop(len(self._held) - keep)
        return False

    def _skip(self) -> None:
        self._counters.resyncs += 1
        self._drop(1)

    def _drop(self, n_bytes: int) -> None:
        self._counters.dropped_bytes += n_bytes
        self._dropped += n_bytes
        del self._held[:n_bytes]


class XorFramer:
    """``preamble | length u16 BE | body | xor``: the length counts body and xor, the xor runs over length and body."""

    def __init__(self, preamble: bytes, max_length: int, counters: Counters) -> None:
        """:param max_length: of body and xor"""
        self._head = head = len(preamble) + 2

        def size_of(held: bytes) -> int | None:
            length = int.from_bytes(held[head - 2 : head], "big")
            return None if len(held) < head else head + length if 1 <= length <= max_length else 0

        def is_good(frame: bytes) -> bool:
            return not xor8(frame[head - 2 :])

        self._frames = SizedFramer(preamble, size_of, is_good, head + max_length, counters, look_ahead=head)

    def reset(self) -> None:
        """Drop the half frame: the link is given up, or opened anew, or the answer stayed out."""
        self._frames.reset()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Bodies of good frames."""
        for piece in self._frames.feed(chunk):
            if isinstance(piece, Frame):
                yield piece.payload[self._head : -1]
