"""Transport-wide congestion control feedback, as a receiver sends it (RTCP 205, format 15).

Source: draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1. One message tells, for a run of transport-wide
sequence numbers, whether each packet arrived and when, in steps of 250 microseconds on the receiver's own clock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from devices.errors import DropFrame

RTPFB, TRANSPORT_CC = 205, 15
REFERENCE_STEP_S = 0.064
DELTA_STEP_S = 0.00025
REFERENCE_WRAP = 1 << 24
SEQUENCE_WRAP = 1 << 16
MOST_PACKETS = 4096
"""In one message; Chromium stays far below. A run length chunk of 13 bits could claim twice as many."""
_SMALL, _LARGE, _RESERVED = 1, 2, 3


class FeedbackUnreadable(DropFrame):
    """The message is cut short or contradicts itself; ``str()`` says where."""

    code = "feedback_unreadable"


@dataclass(frozen=True, slots=True)
class Feedback:
    """One message. ``arrivals`` begins with ``first_sequence_number`` and goes on modulo 2^16."""

    first_sequence_number: int
    reference_time: int
    """In steps of 64 ms, modulo 2^24."""
    count: int
    """Number of this message modulo 256; a jump means that messages were lost."""
    arrivals: tuple[float | None, ...]
    """Seconds after the reference time, None for a packet that had not arrived."""


def messages(rtcp: bytes) -> Iterator[bytes]:
    """The feedback messages (after sender and media SSRC) inside the compound packet ``rtcp``; what is not readable
    as RTCP (RFC 3550, 6.4) ends it."""
    at = 0
    while at + 4 <= len(rtcp):
        head, kind, words = struct.unpack_from("!BBH", rtcp, at)
        end = at + 4 * (words + 1)
        if head >> 6 != 2 or end > len(rtcp):
            return
        if kind == RTPFB and head & 0x1F == TRANSPORT_CC:
            padding = rtcp[end - 1] if head & 0x20 else 0
            yield rtcp[at + 12 : max(at + 12, end - padding)]
        at = end


def parse_feedback(message: bytes) -> Feedback:
    """The message ``message``, which begins with the base sequence number; zero bytes at its end are padding.

    :raises FeedbackUnreadable: cut short, an unknown symbol, or more packets than anybody sends
    """
    if len(message) < 8:
        raise FeedbackUnreadable(f"a feedback message has at least 8 bytes, this one has {len(message)}")
    first, packets = struct.unpack_from("!HH", message)
    if not 0 < packets <= MOST_PACKETS:
        raise FeedbackUnreadable(f"feedback about {packets} packets; 1 to {MOST_PACKETS} are possible")
    symbols, at = _symbols(message, packets)
    arrivals: list[float | None] = []
    steps = 0
    try:
        for symbol in symbols:
            if symbol == _SMALL:
                steps += message[at]
                at += 1
            elif symbol == _LARGE:
                steps += struct.unpack_from("!h", message, at)[0]
                at += 2
            arrivals.append(None if symbol == 0 else steps * DELTA_STEP_S)
    except (IndexError, struct.error):
        raise FeedbackUnreadable("the arrival times are cut short") from None
    return Feedback(first, int.from_bytes(message[4:7], "big"), message[7], tuple(arrivals))


def _symbols(message: bytes, packets: int) -> tuple[list[int], int]:
    """The status of each packet, and where the arrival times begin (3.1.2 to 3.1.4)."""
    symbols: list[int] = []
    at = 8
    while len(symbols) < packets:
        if at + 2 > len(message):
            raise FeedbackUnreadable("the packet status chunks are cut short")
        chunk = struct.unpack_from("!H", message, at)[0]
        at += 2
        if not chunk & 0x8000:
            symbols += [chunk >> 13 & 3] * min(chunk & 0x1FFF, packets - len(symbols))
            if not chunk & 0x1FFF:
                raise FeedbackUnreadable("a run of no packets")
        elif chunk & 0x4000:
            symbols += [chunk >> shift & 3 for shift in range(12, -2, -2)]
        else:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    del symbols[packets:]
    if _RESERVED in symbols:
        raise FeedbackUnreadable("packet status 3 is reserved")
    return symbols, at


class Unwrapper:
    """Numbers that count modulo ``modulus``, made to go on for ever; the nearest reading is taken."""

    def __init__(self, modulus: int) -> None:
        self._modulus = modulus
        self._last: int | None = None

    def unwrap(self, number: int) -> int:
        """``number`` (0 <= number < modulus) as the integer nearest to the last one."""
        if self._last is None:
            self._last = number
            return number
        step = (number - self._last) % self._modulus
        if step >= self._modulus // 2:
            step -= self._modulus
        self._last += step
        return self._last
