"""Framers: what is a frame, what is spoiled, and that nothing grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from devices.driver import Counters
from devices.framing import Frame, LineFramer, MarkedFramer, Spoiled, xor8
from devices.sized_frames import XorFramer

PREAMBLE = b"\xaa\xaa\xaa\x96\x69"


def framed(body: bytes) -> bytes:
    checked = (len(body) + 1).to_bytes(2, "big") + body
    return PREAMBLE + checked + bytes((xor8(checked),))


def test_marked_frames_are_believed_when_the_next_begins_or_the_line_is_silent() -> None:
    framer = MarkedFramer({0x90: 3}, first_has_top_bit=True, counters=Counters())
    assert list(framer.feed(b"\x90\x01\x02")) == []
    assert list(framer.feed(b"\x90\x03")) == [Frame(b"\x90\x01\x02")]
    assert list(framer.flush()) == []
    assert list(framer.feed(b"\x04")) == []
    assert list(framer.flush()) == [Frame(b"\x90\x03\x04")]
    assert list(framer.flush()) == []


def test_marked_pieces_of_another_length_are_spoiled_and_counted() -> None:
    counters = Counters()
    framer = MarkedFramer({0x90: 3}, first_has_top_bit=True, counters=counters)
    spoiled = list(framer.feed(b"\x01\x02" + b"\x90\x01" + b"\x90\x01\x02\x03" + b"\xff" + b"\x90"))
    assert spoiled == [Spoiled(2), Spoiled(2), Spoiled(4), Spoiled(1)]
    assert (counters.frames, counters.resyncs, counters.dropped_bytes) == (0, 4, 9)


def test_marked_strays_are_counted_without_being_kept() -> None:
    framer = MarkedFramer({0x90: 3}, first_has_top_bit=True, counters=Counters())
    for _ in range(100):
        assert list(framer.feed(b"\x11" * 1000)) == []
    assert list(framer.feed(b"\x90")) == [Spoiled(100_000)]


def test_xor_frames_with_a_flipped_byte_are_refused_and_the_next_is_found() -> None:
    counters = Counters()
    framer = XorFramer(PREAMBLE, 64, counters)
    good = framed(b"\x00\x00\x90")
    for at in range(len(PREAMBLE) + 2, len(good)):
        flipped = bytearray(good)
        flipped[at] ^= 0x04
        assert list(framer.feed(bytes(flipped) + good)) == [b"\x00\x00\x90"]
    assert counters.bad_checksums == len(good) - len(PREAMBLE) - 2
    assert counters.frames == counters.bad_checksums


def test_xor_frames_with_an_impossible_length_are_passed_over() -> None:
    framer = XorFramer(PREAMBLE, 64, Counters())
    assert list(framer.feed(PREAMBLE + b"\xff\xff" + PREAMBLE + b"\x00\x00" + framed(b"ok"))) == [b"ok"]


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.data())
def test_xor_frames_come_out_however_they_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"\xaa\xaa".join([b"", *map(framed, bodies)])
    framer, got, at = XorFramer(PREAMBLE, 64, Counters()), [], 0
    while at < len(stream):
        n = data.draw(st.integers(1, 9))
        got += list(framer.feed(stream[at : at + n]))
        at += n
    assert got == bodies


def test_lines_too_long_or_with_control_bytes_are_dropped() -> None:
    counters = Counters()
    framer = LineFramer(b"$", 20, counters)
    assert list(framer.feed(b"$" + b"A" * 300 + b"\n$OK\r\n")) == ["$OK"]
    assert list(framer.feed(b"$A\x00B\n$\xffC\nno start\n")) == []
    assert list(framer.feed(b"half a line $D\n")) == ["$D"]
    assert counters.dropped_bytes > 300
