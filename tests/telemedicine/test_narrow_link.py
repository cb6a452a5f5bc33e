"""A call over a link of 64 kbit/s: no pictures, and voice and ECG arrive in time; pictures come back with the room.

The simulated link carries the largest messages of a real ECG and of speech without a pause, with all headers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import pairwise

import pytest
from simulated_link import BEGAN_S, ECG_SPARING, SOUND_SPARING, Radio, Simulation

from telemedicine.degradation import LADDER, Rung, unmet
from telemedicine.link_sample import LinkSample
from telemedicine.transport.narrow import DIP_S, FIRST_TRIAL_S, FULL_FOR_S, PLAINLY_NARROW_BIT_S, NarrowLink

SETTLED_S = 25.0


@cache
def narrow(capacity_bit_s: float) -> Simulation:
    """A minute on a narrow link, then it is a wide one."""
    simulation = Simulation(Radio([(0, capacity_bit_s), (BEGAN_S + 60, 20e6)]))
    simulation.run(95)
    return simulation


def p95(sorted_s: list[float]) -> float:
    return sorted_s[int(0.95 * (len(sorted_s) - 1))]


def test_voice_and_ecg_fit_into_64_kbit_s() -> None:
    assert sum(size * 8 / every_s for every_s, size in (SOUND_SPARING, ECG_SPARING)) < 60_000


@pytest.mark.parametrize("capacity_bit_s", [64e3, 80e3, 100e3])
def test_on_a_narrow_link_voice_and_ecg_arrive_in_time(capacity_bit_s: float) -> None:
    simulation = narrow(capacity_bit_s)
    ecg = simulation.ecg_s(SETTLED_S, 60)
    assert p95(ecg) < 1.0, "with the time in which a chunk is gathered"
    assert len(ecg) > 0.9 * (60 - SETTLED_S) / ECG_SPARING[0], "nearly nothing is left out"
    sound = simulation.sound_s(SETTLED_S, 60)
    assert len(sound) > 0.97 * (60 - SETTLED_S) / SOUND_SPARING[0]
    assert p95(sound) < 0.8
    before, after = simulation.sound_s(SETTLED_S, 42), simulation.sound_s(42, 60)
    assert after[len(after) // 2] < before[len(before) // 2] + 0.15, "the delay does not grow"
    assert simulation.ages_s(SETTLED_S, 60) == []


def test_what_it_is_told_to_be_is_voice_and_ecg() -> None:
    for at_s in (SETTLED_S, 59.0):
        up_bit_s = narrow(64e3).target_bit_s(at_s)
        sample = LinkSample(datetime(2026, 11, 22, tzinfo=UTC), "session", up_bit_s=up_bit_s)
        assert next(rung for rung in LADDER if unmet(LADDER[rung], sample) is None) == Rung.AUDIO_ECG


@pytest.mark.parametrize("capacity_bit_s", [64e3, 100e3])
def test_pictures_come_back_with_the_room(capacity_bit_s: float) -> None:
    simulation = narrow(capacity_bit_s)
    assert len(simulation.ages_s(85, 95)) > 200
    assert simulation.target_bit_s(95) > 3e6
    assert p95(simulation.ecg_s(85, 95)) < 0.2


def fed(link: NarrowLink, since_s: float, seconds: float, queue_s: float, delivered_bit_s: float) -> list[float]:
    """When ``narrow`` changed, with feedback every 50 ms."""
    moments = [since_s + step * 0.05 for step in range(round(seconds / 0.05))]
    return [at_s for at_s in moments if link.update(at_s, queue_s, True, delivered_bit_s)]


def test_a_short_dip_is_no_narrow_link() -> None:
    link = NarrowLink()
    for second in range(10):
        assert fed(link, 2.0 * second, 0.8 * FULL_FOR_S, 0.6, 2 * PLAINLY_NARROW_BIT_S) == []
        assert fed(link, 2.0 * second + 1, 1.0, 0.05, 2 * PLAINLY_NARROW_BIT_S) == []


def test_each_trial_that_fails_makes_the_next_wait_twice_as_long() -> None:
    link, now_s, waits = NarrowLink(), 0.0, []
    for _ in range(3):
        (found_s,) = fed(link, now_s, 1.2 * FULL_FOR_S, 0.6, 2 * PLAINLY_NARROW_BIT_S)
        assert link.narrow
        tried_s = fed(link, now_s + 2, 100.0, 0.05, PLAINLY_NARROW_BIT_S)[0]
        assert found_s < tried_s
        waits.append(tried_s - now_s - 2)
        now_s = tried_s
    assert waits == pytest.approx([FIRST_TRIAL_S, 2 * FIRST_TRIAL_S, 4 * FIRST_TRIAL_S], abs=0.2)


SURE_S = 1.2 * FULL_FOR_S + DIP_S


def found_narrow(delivered_bit_s: float) -> NarrowLink:
    """With a queue until ``SURE_S``."""
    link = NarrowLink()
    assert len(fed(link, 0.0, SURE_S, 0.6, delivered_bit_s)) == 1
    assert link.narrow
    return link


def test_a_queue_that_is_soon_gone_was_a_dip_once() -> None:
    link = NarrowLink()
    (found_s,) = fed(link, 0.0, 1.2 * FULL_FOR_S, 0.6, 60e3)
    assert fed(link, 2.0, 1.0, 0.6, 60e3) == []
    assert fed(link, 3.0, 1.0, 0.05, 60e3) == [3.0]
    (again_s,) = fed(link, 4.0, 1.0, 0.6, 60e3)
    assert fed(link, 5.0, 5.0, 0.05, 60e3) == [], "the pictures failed at once: it is narrow"
    assert found_s < 3.0 < again_s


def test_a_link_that_was_gone_for_long_is_tried_anew() -> None:
    link = found_narrow(60e3)
    link.link_was_gone(SURE_S + 5)
    assert not link.narrow


def test_room_is_seen_while_the_queue_empties() -> None:
    link = found_narrow(60e3)
    assert not link.update(SURE_S, 0.5, True, 60e3, recent_bit_s=70e3)
    assert link.update(SURE_S + 0.05, 0.4, True, 200e3, recent_bit_s=400e3)
    assert not link.narrow


def test_a_probe_that_finds_room_ends_it_at_once() -> None:
    link = found_narrow(100e3)
    assert not link.update(SURE_S, 0.01, True, 40e3, capacity_bit_s=120e3)
    assert link.update(SURE_S + 0.5, 0.01, True, 40e3, capacity_bit_s=500e3)


def probes(carries_bit_s: float, seconds: float) -> list[float]:
    link, asked = found_narrow(carries_bit_s), []
    for step in range(round(seconds / 0.05)):
        now_s = SURE_S + step * 0.05
        link.update(now_s, 0.01, True, 40e3, capacity_bit_s=carries_bit_s if asked else 0.0)
        if link.wants_probe(now_s, 3_600):
            link.probed(now_s)
            asked.append(now_s - SURE_S)
    return asked


def test_probes_come_soon_and_then_as_often_as_they_disturb_little() -> None:
    slow, less_slow = probes(64e3, 0.95 * FIRST_TRIAL_S), probes(150e3, 0.95 * FIRST_TRIAL_S)
    assert slow[0] < 0.5
    assert [later - earlier for earlier, later in pairwise(slow)] == pytest.approx([0.8, 1.6, 3.2], abs=0.1)
    assert less_slow[-1] - less_slow[-2] < 1.2
