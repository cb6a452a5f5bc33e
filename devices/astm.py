"""ASTM E1381 (CLSI LIS1-A) from the receiver's side: what comes in, what is answered. Pure.

``ENQ`` opens a transmission, ``EOT`` ends it; between them frames ``STX FN text ETB|ETX C1 C2 CR LF``, FN counting
1..7, 0, 1.., the checksum the sum of FN to ETB or ETX modulo 256 in two hexadecimal digits. Each is answered with ACK,
or with NAK and sent again. Records end with CR and may run over several frames.

Met in the field and borne: ETB after complete records; all records in one long frame; CR LF missing; a frame sent twice
because our ACK got lost; ENQ in the middle, by a sender that began anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devices.driver import Counters

STX, ETX, EOT, ENQ, ACK, NAK, ETB = b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x15", b"\x17"
CR, LF = b"\r", b"\n"
MAX_FRAME_BYTES = 64_000
"""The standard says 240 of text; some send a whole report in one frame."""
MAX_MESSAGE_BYTES = 128_000
RECEIVE_LIMIT_S = 30.0
"""Receiver's time limit, LIS1-A 6.5.2.4: after it the transmission is over."""
LINE_END_LIMIT_S = 0.2
"""How long CR LF after a checksum is waited for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """ACK or NAK, due after everything that came before it in this turn."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """One record, without its CR."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The transmission is over. ``in_order``: by EOT behind a good frame; else it broke off and comes again, whole."""

    in_order: bool


Received = Answer | Record | Ended


def checksum(numbered: bytes) -> bytes:
    """Two hexadecimal digits over frame number, text and ETB or ETX."""
    return b"%02X" % (sum(numbered) % 256)


def frame(number: int, text: bytes, last: bool = True) -> bytes:
    numbered = b"%d" % (number % 8) + text + (ETX if last else ETB)
    return STX + numbered + checksum(numbered) + CR + LF


class AstmReceiver:
    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._receiving = False
        self.reset()

    def reset(self) -> None:
        """Forget the transmission: the link is given up, or opened anew."""
        self._receiving = False
        self._forget()

    def _forget(self) -> None:
        self._frame: bytearray | None = None
        """Bytes after STX; None between frames."""
        self._closing = 0
        """Bytes of checksum that came after ETB or ETX, plus one; 0: before it."""
        self._due: bytes | None = None
        """The answer that waits for CR LF."""
        self._last: int | None = None
        """Number of the last good frame."""
        self._refused = False
        """The last frame was answered with NAK: an EOT now means that the sender gave up, and sends all of it again."""
        self._text = bytearray()
        self._idle_s = 0.0

    def feed(self, chunk: bytes) -> Iterator[Received]:
        self._idle_s = 0.0
        for value in chunk:
            yield from self._byte(bytes((value,)))

    def tick(self, elapsed_s: float) -> Iterator[Received]:
        self._idle_s += elapsed_s
        if self._due is not None and self._idle_s >= LINE_END_LIMIT_S:
            yield from self._answer()
        if self._receiving and self._idle_s >= RECEIVE_LIMIT_S:
            yield from self._end(in_order=False)

    def _byte(self, byte: bytes) -> Iterator[Received]:
        if self._due is not None:
            if byte == CR:
                return
            yield from self._answer()
            if byte == LF:
                return
        if byte == ENQ and self._closing == 0:
            yield from self._begin()
        elif not self._receiving:
            self._counters.dropped_bytes += 1
        elif byte == EOT and self._closing == 0:
            yield from self._end(in_order=True)
        elif byte == STX:
            self._drop_half_frame()
            self._frame, self._closing = bytearray(), 0
        elif self._frame is not None:
            yield from self._in_frame(byte)
        elif byte not in (CR, LF):
            self._counters.dropped_bytes += 1

    def _begin(self) -> Iterator[Received]:
        if self._receiving:
            yield from self._end(in_order=False)
        self._receiving = True
        self._forget()
        yield Answer(ACK)

    def _end(self, in_order: bool) -> Iterator[Received]:
        in_order = in_order and self._frame is None and not self._refused
        if not in_order:
            self._counters.gaps += 1
        elif self._text:
            yield Record(bytes(self._text))
        self._drop_half_frame()
        self._receiving = False
        self._forget()
        yield Ended(in_order)

    def _in_frame(self, byte: bytes) -> Iterator[Received]:
        frame_ = self._frame
        if frame_ is None:
            return
        frame_ += byte
        if self._closing:
            self._closing += 1
            if self._closing == 3:
                yield from self._judge(bytes(frame_))
        elif byte in (ETX, ETB):
            self._closing = 1
        elif len(frame_) > MAX_FRAME_BYTES:
            self._drop_half_frame()
            self._due = NAK

    def _judge(self, whole: bytes) -> Iterator[Received]:
        numbered, said = whole[:-2], whole[-2:]
        self._frame, self._closing = None, 0
        if checksum(numbered) != said.upper():
            self._counters.bad_checksums += 1
            self._due = NAK
            return
        number = numbered[0] - ord("0")
        expected = 1 if self._last is None else (self._last + 1) % 8
        if number == self._last:
            self._counters.frames += 1
            self._due = ACK
        elif number == expected and len(self._text) + len(numbered) <= MAX_MESSAGE_BYTES:
            self._counters.frames += 1
            self._last = number
            self._due = ACK
            yield from self._records(numbered[1:-1], ended=numbered.endswith(ETX))
        else:
            self._counters.gaps += 1
            self._due = NAK

    def _records(self, text: bytes, ended: bool) -> Iterator[Received]:
        self._text += text
        *whole, rest = bytes(self._text).replace(LF, b"").split(CR)
        if ended and rest:
            whole, rest = [*whole, rest], b""
        self._text = bytearray(rest)
        yield from (Record(record) for record in whole if record)

    def _answer(self) -> Iterator[Received]:
        if self._due is not None:
            answer, self._due = Answer(self._due), None
            self._refused = answer.payload == NAK
            yield answer

    def _drop_half_frame(self) -> None:
        if self._frame is not None:
            self._counters.resyncs += 1
            self._counters.dropped_bytes += len(self._frame) + 1
        self._frame, self._closing = None, 0
