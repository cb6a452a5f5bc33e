"""Feedback of all kinds of chunks is read; garbage is refused with words; numbers and times go on over their wraps."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_link import feedback_message

from telemedicine.transport.feedback import (
    Feedback,
    FeedbackUnreadable,
    Unwrapper,
    messages,
    parse_feedback,
)
from telemedicine.transport.history import SendHistory

STEP_S = 0.00025


def message(chunks: list[int], deltas: bytes, packets: int, first: int = 1, reference: int = 0) -> bytes:
    head = struct.pack("!HH", first, packets) + reference.to_bytes(3, "big") + b"\x07"
    return head + b"".join(struct.pack("!H", chunk) for chunk in chunks) + deltas


def test_a_run_of_packets_that_came() -> None:
    read = parse_feedback(message([0x2003], bytes([4, 0, 8]), 3, first=65_535, reference=5))
    assert read == Feedback(65_535, 5, 7, (0.001, 0.001, 0.003))


def test_a_vector_of_one_bit_each() -> None:
    read = parse_feedback(message([0x8000 | 0b10100000000000], bytes([4, 4]), 3))
    assert read.arrivals == (0.001, None, 0.002)


def test_a_vector_of_two_bits_each_with_a_packet_that_overtook() -> None:
    chunk = 0xC000 | 1 << 12 | 2 << 10 | 0 << 8 | 1 << 6
    read = parse_feedback(message([chunk], bytes([8]) + struct.pack("!h", -4) + bytes([0]), 4))
    assert read.arrivals == (0.002, 0.001, None, 0.001)


def test_a_run_of_lost_packets_and_then_a_late_one() -> None:
    read = parse_feedback(message([0x000A, 0x4001], struct.pack("!h", 4000), 11))
    assert read.arrivals == (*[None] * 10, 1.0)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x00" * 7, "at least 8"),
        (message([0x2001], b"", 0), "1 to 4096"),
        (message([0x2001], b"", 5000), "1 to 4096"),
        (message([], b"", 3), "chunks are cut short"),
        (message([0x2003], b"\x01\x01", 3), "arrival times are cut short"),
        (message([0x4001], b"\x01", 1), "arrival times are cut short"),
        (message([0x6001], b"\x01\x01", 1), "reserved"),
        (message([0xF000], b"\x01\x01", 7), "reserved"),
        (message([0x2000], b"", 1), "run of no packets"),
    ],
)
def test_what_cannot_be_is_refused_in_words(raw: bytes, why: str) -> None:
    with pytest.raises(FeedbackUnreadable, match=why):
        parse_feedback(raw)


@given(
    st.integers(0, 65_535),
    st.lists(st.one_of(st.none(), st.integers(0, 20_000)), min_size=1, max_size=200).filter(any),
    st.integers(0, 255),
)
def test_what_a_receiver_writes_is_read_back(first: int, steps: list[int | None], count: int) -> None:
    came = [None if step is None else 1000.0 + step * STEP_S for step in steps]
    read = parse_feedback(feedback_message(first, came, count))
    assert (read.first_sequence_number, read.count, len(read.arrivals)) == (first, count, len(steps))
    for wanted, got in zip(came, read.arrivals, strict=True):
        assert (wanted is None) == (got is None)
        if wanted is not None and got is not None:
            assert read.reference_time * 0.064 + got == pytest.approx(wanted, abs=STEP_S)


@given(st.binary(max_size=120))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    list(messages(raw))
    try:
        read = parse_feedback(raw)
    except FeedbackUnreadable:
        return
    assert 0 < len(read.arrivals) <= 4096


def test_feedback_is_found_inside_a_compound_packet() -> None:
    inside = message([0x2001], b"\x01", 1) + b"\x00"
    report = struct.pack("!BBHI", 0x80, 201, 1, 7)
    feedback = struct.pack("!BBHII", 0x8F, 205, 2 + len(inside) // 4, 7, 9) + inside
    nack = struct.pack("!BBHII", 0x81, 205, 3, 7, 9) + b"\x00\x01\x00\x00"
    assert list(messages(report + feedback + nack + feedback)) == [inside, inside]
    assert list(messages(report + feedback[:-4])) == []


@given(st.lists(st.integers(-30_000, 30_000), max_size=50))
def test_wrapped_numbers_go_on(moves: list[int]) -> None:
    unwrapper, number = Unwrapper(65_536), 12_345
    assert unwrapper.unwrap(number) == number
    for move in moves:
        number += move
        assert unwrapper.unwrap(number % 65_536) == number


def test_outcomes_over_the_wrap_of_sequence_numbers_and_reference_time() -> None:
    history = SendHistory()
    last_of_reference_s = (1 << 24) * 0.064
    before = None
    for turn in range(70_000 // 10):
        sent = [history.add(turn * 0.01 + offset * 0.001, 100) for offset in range(10)]
        at_s = last_of_reference_s - 35.0 + turn * 0.01
        feedback = parse_feedback(
            feedback_message(sent[0], [at_s + offset * 0.001 for offset in range(10)], turn % 256)
        )
        outcomes = history.acknowledge(feedback)
        assert [outcome.sent.number % 65_536 for outcome in outcomes] == sent
        gap_s = outcomes[0].arrived_s - before if before is not None else 0.01  # type: ignore[operator]
        assert gap_s == pytest.approx(0.01, abs=2 * STEP_S)
        before = outcomes[0].arrived_s
    assert history.in_flight_bytes == 0


def test_a_lost_feedback_message_leaves_nothing_in_flight() -> None:
    history = SendHistory()
    for number in range(30):
        history.add(number * 0.01, 100)
    outcomes = history.acknowledge(parse_feedback(feedback_message(20, [5.0] * 10, 0)))
    assert len(outcomes) == 10
    assert history.in_flight_bytes == 0
    assert history.acknowledge(parse_feedback(feedback_message(0, [5.0] * 10, 1))) == [], "each packet has one outcome"


def test_what_nobody_reports_is_forgotten() -> None:
    history = SendHistory()
    history.add(0.0, 100)
    history.add(3.0, 100)
    history.forget_old(4.5)
    assert history.in_flight_bytes == 100


def test_of_what_was_given_up_only_what_arrived_is_told() -> None:
    history = SendHistory()
    for number in range(4):
        history.add(number * 0.01, 100)
    history.give_up()
    history.add(1.0, 100)
    assert history.in_flight_bytes == 100
    outcomes = history.acknowledge(parse_feedback(feedback_message(0, [None, 5.0, None, 5.0], 0)))
    assert [outcome.sent.number for outcome in outcomes] == [1, 3], "nobody counts the others as losses of the link"
    assert history.in_flight_bytes == 100


def test_invented_feedback_changes_nothing() -> None:
    history = SendHistory()
    assert history.acknowledge(parse_feedback(feedback_message(9, [1.0], 0))) == []
    history.add(0.0, 100)
    assert history.acknowledge(parse_feedback(feedback_message(500, [1.0] * 5, 0))) == []
    assert history.in_flight_bytes == 100
