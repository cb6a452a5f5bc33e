"""Lateness: a backlog is seen, a slow quartz and a slow start are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemedicine.media.lateness import Lateness


def test_a_computer_at_half_speed_falls_behind_by_half_of_the_time() -> None:
    lateness = Lateness()
    late = [lateness.late_s(number / 25, number / 12.5) for number in range(100)]
    assert late[-1] == pytest.approx(99 / 25, rel=0.01)


def test_what_waited_while_the_stream_was_opened_is_no_backlog_once_it_is_read() -> None:
    lateness = Lateness()
    for number in range(25):  # one second of pictures, read at once
        assert lateness.late_s(number / 25, 1.0) == 0.0
    assert lateness.late_s(1.0, 1.04) == pytest.approx(0.0, abs=0.05)


@given(st.floats(0.9996, 1.01), st.lists(st.floats(0.0, 0.2), min_size=1, max_size=50))
def test_neither_jitter_nor_a_slow_quartz_adds_up(speed: float, jitter: list[float]) -> None:
    lateness = Lateness()
    for hour in range(8):
        for number, late_s in enumerate(jitter):
            now_s = hour * 3600 + number
            assert lateness.late_s(now_s * speed - late_s, now_s) <= 0.2 + 1e-6
