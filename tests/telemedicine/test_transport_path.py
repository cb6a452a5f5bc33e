"""What one connection sends while nothing is heard of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from simulated_link import feedback_message

from telemedicine.transport.feedback import parse_feedback
from telemedicine.transport.path import SOUND_USEFUL_S, SPARSE_EVERY_S, TRICKLE_BYTES, PathState
from telemedicine.transport.uplink import KEPT_BYTES, Stream, Uplink

ROOM = Stream("room", 1, 1.0, 150_000, 6_000_000)
LOOK_S = 0.02


@pytest.fixture
def uplink() -> Uplink[int]:
    """At 10 s; a viewer "v" that answers within 50 ms."""
    made: Uplink[int] = Uplink(0.0)
    made.add_stream(ROOM)
    made.add_path("v", ["room"], 0.0)
    for number in range(200):
        now_s = number * 0.05
        made.look(now_s)
        told = made.urgent("v", 130, now_s)
        assert told is not None
        made.on_feedback("v", parse_feedback(feedback_message(told, [now_s + 0.025], number)), now_s + 0.049)
    assert made.state("v") == PathState.LIVE
    return made


def wait(uplink: Uplink[int], since_s: float, seconds: float) -> None:
    """Looks as often as it does, so that nobody believes the computer was held up."""
    for step in range(round(seconds / LOOK_S) + 1):
        uplink.look(since_s + step * LOOK_S)


def silent(uplink: Uplink[int]) -> float:
    """Somebody speaks and is not heard; when that is known."""
    uplink.urgent("v", 130, 10.0)
    wait(uplink, 10.0, 0.5)
    assert uplink.state("v") == PathState.SILENT
    return 10.5


def put(uplink: Uplink[int], packets: int, now_s: float) -> None:
    for number in range(packets):
        uplink.put("v", "room", 1_200, number, now_s)


def left(uplink: Uplink[int], now_s: float, seconds: float) -> int:
    count = 0
    for step in range(round(seconds / 0.001)):
        while uplink.depart(now_s + step * 0.001) is not None:
            count += 1
    return count


def test_sound_that_would_come_too_late_is_not_sent_and_soon_is_again(uplink: Uplink[int]) -> None:
    number = uplink.urgent("v", 130, 10.0)
    assert number is not None
    assert uplink.urgent("v", 130, 10.0 + 0.9 * SOUND_USEFUL_S) is not None
    assert uplink.urgent("v", 130, 10.0 + 1.1 * SOUND_USEFUL_S) is None
    came = [10.0 + 1.2 * SOUND_USEFUL_S] * 2
    uplink.on_feedback("v", parse_feedback(feedback_message(number, came, 200)), came[0] + 0.05)
    assert uplink.urgent("v", 130, came[0] + 0.06) is not None


def test_sound_goes_on_when_checks_are_answered(uplink: Uplink[int]) -> None:
    now_s = silent(uplink) + SOUND_USEFUL_S
    assert uplink.urgent("v", 130, now_s) is None
    assert uplink.on_check("v", now_s - 0.1, now_s)
    assert uplink.urgent("v", 130, now_s + 2 * SOUND_USEFUL_S) is not None


def test_a_picture_now_and_then_goes_into_a_silence_until_it_is_enough(uplink: Uplink[int]) -> None:
    now_s, sent_s = silent(uplink) + 2.0, []
    while now_s < 200.0:
        if uplink.may_encode("room", now_s):
            put(uplink, 2, now_s)
            sent_s.append(now_s)
        now_s += LOOK_S
    assert len(sent_s) == -(-TRICKLE_BYTES // 2_400)
    apart = [later - earlier for earlier, later in pairwise(sent_s)]
    assert min(apart) >= SPARSE_EVERY_S
    assert max(apart) < SPARSE_EVERY_S + 2 * LOOK_S
    assert not uplink.watched("room")


def test_pictures_are_small_while_nobody_is_heard(uplink: Uplink[int]) -> None:
    before = uplink.picture_bit_s("room")
    silent(uplink)
    assert 150_000 < uplink.picture_bit_s("room") < 0.3 * before


def test_what_waits_is_sent_on_when_it_is_less_than_a_key_frame(uplink: Uplink[int]) -> None:
    put(uplink, KEPT_BYTES // 1_200, 10.0)
    now_s = silent(uplink)
    assert uplink.due_key_frames(now_s - 0.01) == []
    assert left(uplink, now_s, 0.2) == KEPT_BYTES // 1_200


def test_what_is_thrown_away_is_followed_by_one_key_frame(uplink: Uplink[int]) -> None:
    put(uplink, KEPT_BYTES // 1_200 + 1, 10.0)
    now_s = silent(uplink)
    assert left(uplink, now_s, 0.2) == 0
    assert uplink.due_key_frames(now_s) == ["v"]
    assert uplink.due_key_frames(now_s) == []
