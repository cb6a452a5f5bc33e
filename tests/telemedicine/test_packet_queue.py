"""A viewer's queue: bounded, in order, and decodable from its head whatever is put and taken."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from telemedicine.media.packet_queue import QUEUE_S, RTP_CLOCK_HZ, PacketQueue


@dataclass(frozen=True)
class Packet:
    pts: int
    is_keyframe: bool
    follows: int
    """The ``pts`` of the packet before it: what it cannot be decoded without, unless it is a key frame."""


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, RTP_CLOCK_HZ), st.booleans()),
        st.tuples(st.just("put"), st.just(3000), st.just(False)),
        st.tuples(st.just("take"), st.just(0), st.just(False)),
    ),
    max_size=200,
)


@given(steps)
def test_what_is_taken_can_be_decoded_and_what_waits_is_bounded(steps: list[tuple[str, int, bool]]) -> None:
    queue: PacketQueue[Packet] = PacketQueue()
    pts, put, taken = 0, 0, list[Packet]()
    for what, ticks, key in steps:
        if what == "put":
            packet = Packet(pts + ticks, key, pts)
            pts, put = packet.pts, put + 1
            queue.put(packet)
            assert queue.waits_for_key_frame == (len(queue) == 0), "waits exactly when what comes next is of no use"
        else:
            packet_or_none = queue.take()
            if packet_or_none is not None:
                taken.append(packet_or_none)
    while (rest := queue.take()) is not None:
        taken.append(rest)
    assert put == len(taken) + queue.dropped, "nothing is lost without being counted"
    assert all(before.pts < after.pts for before, after in pairwise(taken))
    for number, packet in enumerate(taken):
        shown_before = taken[number - 1].pts if number else None
        assert packet.is_keyframe or packet.follows == shown_before


@given(st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), min_size=1, max_size=300))
def test_a_viewer_that_never_reads_has_a_quarter_second_at_most(packets: list[tuple[int, bool]]) -> None:
    queue: PacketQueue[Packet] = PacketQueue()
    pts = 0
    for ticks, key in packets:
        before, pts = pts, pts + ticks
        queue.put(Packet(pts, key, before))
    waiting: list[Packet] = []
    while (packet := queue.take()) is not None:
        waiting.append(packet)
    if waiting:
        assert waiting[0].is_keyframe
        assert waiting[-1].pts - waiting[0].pts <= QUEUE_S * RTP_CLOCK_HZ


def test_a_key_frame_in_the_queue_is_skipped_to() -> None:
    queue: PacketQueue[Packet] = PacketQueue(span_s=0.09)
    for number, key in enumerate([True, False, True, False]):
        queue.put(Packet(number * 3000, key, (number - 1) * 3000))
    first = queue.take()
    assert first is not None
    assert first.pts == 6000
    assert queue.dropped == 2


def test_after_clearing_it_begins_at_a_key_frame() -> None:
    queue: PacketQueue[Packet] = PacketQueue()
    queue.put(Packet(0, True, -1))
    queue.clear()
    queue.put(Packet(3000, False, 0))
    assert queue.take() is None
    assert queue.waits_for_key_frame
    assert queue.dropped == 2
