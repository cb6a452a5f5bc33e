"""Slots: the asked rate on the long run, no catching up, no picture that waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemedicine.media.slots import Slots


@pytest.mark.parametrize(
    ("captured_hz", "asked_hz", "taken"), [(30, 30, 300), (30, 15, 150), (30, 20, 200), (25, 30, 250)]
)
def test_the_rate_is_kept(captured_hz: int, asked_hz: int, taken: int) -> None:
    slots = Slots()
    got = sum(slots.take(number / captured_hz, asked_hz) for number in range(10 * captured_hz))
    assert abs(got - taken) <= 1


@given(st.lists(st.floats(-0.005, 0.005), min_size=60, max_size=60))
def test_jitter_of_a_camera_costs_no_picture(jitter: list[float]) -> None:
    slots = Slots()
    assert all(slots.take(number / 30 + early, 30) for number, early in enumerate(jitter))


@given(st.lists(st.floats(0.0, 2.0), min_size=1, max_size=100), st.floats(1, 60))
def test_slots_that_passed_are_gone(gaps: list[float], rate_hz: float) -> None:
    slots, now_s, taken = Slots(), 0.0, list[float]()
    for gap_s in gaps:
        now_s += gap_s
        if slots.take(now_s, rate_hz):
            taken.append(now_s)
    for first, third in zip(taken, taken[2:], strict=False):
        assert third - first >= 0.64 / rate_hz, "never a burst to catch up"
    assert len(taken) <= (now_s - gaps[0]) * rate_hz + 2
