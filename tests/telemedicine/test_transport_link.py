"""The transport's goals on simulated links: how old the picture gets, how soon it is itself again, what is sent."""

from __future__ import annotations

import math
import random
from functools import cache

import pytest
from simulated_link import Radio, Simulation, Stream, TracedRadio

from benchmarks.cellular import DeliveryTrace
from telemedicine.transport.uplink import PICTURE_SHARE

BEGAN_S = 100.0
ROOM = Stream("room", 1, 0.4, 150_000, 6_000_000)
ULTRASOUND = Stream("ultrasound", 0, 0.6, 300_000, 6_000_000)


@cache
def dropped(high: float, low: float, delay_s: float, jitter_s: float) -> Simulation:
    """15 s at ``high``, 20 s at ``low``, 20 s at ``high``."""
    chance = random.Random(3)
    steps = [(0.0, high), (BEGAN_S + 15, low), (BEGAN_S + 35, high)]
    simulation = Simulation(Radio(steps, delay_s, jitter=lambda: chance.random() * jitter_s))
    simulation.run(55)
    return simulation


LINKS = [
    # high, low, one-way delay, jitter, oldest picture, late seconds
    (20e6, 2e6, 0.025, 0.0, 0.40, 1.5),
    (20e6, 1e6, 0.025, 0.0, 0.90, 1.5),
    (8e6, 2e6, 0.025, 0.0, 0.45, 1.5),
    (12e6, 3e6, 0.010, 0.005, 0.30, 1.0),
    (20e6, 2e6, 0.050, 0.010, 0.65, 1.5),
    (20e6, 0.6e6, 0.025, 0.0, 1.40, 3.0),
]


@pytest.mark.parametrize(("high", "low", "delay_s", "jitter_s", "oldest_s", "late_s"), LINKS)
def test_a_link_that_becomes_slow(
    high: float, low: float, delay_s: float, jitter_s: float, oldest_s: float, late_s: float
) -> None:
    simulation = dropped(high, low, delay_s, jitter_s)
    base = sorted(simulation.ages_s(5, 15))
    base_s = base[len(base) // 2]
    assert simulation.received_bit_s(10, 15) > 4e6, "it must be entered fast"
    assert max(simulation.ages_s(15, 35)) < oldest_s
    assert simulation.late_s(15, 35, base_s + 0.1) <= late_s
    assert simulation.late_s(35.5, 55, base_s + 0.1) == 0
    assert 0.6 * low < simulation.received_bit_s(19, 35) <= low
    assert simulation.received_bit_s(44, 46) > 4e6, "10 s after it is restored"
    settled = sorted(simulation.ages_s(20, 35))
    assert settled[int(0.95 * len(settled))] < base_s + 0.07


def test_the_ecg_is_not_held_up_by_pictures() -> None:
    ecg = dropped(20e6, 2e6, 0.025, 0.0).ecg_s(15, 35)
    assert ecg[int(0.95 * len(ecg))] < 0.12


def test_a_good_link_is_not_disturbed() -> None:
    simulation = Simulation(Radio([(0, 50e6)]))
    simulation.run(15)
    ages = sorted(simulation.ages_s(2, 15))
    assert ages[len(ages) // 2] < 0.050
    assert ages[int(0.95 * len(ages))] < 0.060
    assert simulation.most_queue_s(2, 15) < 0.010
    assert simulation.target_bit_s(3) > 6e6


@pytest.mark.parametrize("capacity", [0.8e6, 2e6, 3.5e6])
def test_a_narrow_link_is_filled_and_not_more(capacity: float) -> None:
    simulation = Simulation(Radio([(0, capacity)]))
    simulation.run(40)
    assert simulation.received_bit_s(10, 40) > 0.7 * capacity
    assert simulation.radio.dropped == 0
    ages = sorted(simulation.ages_s(10, 40))
    assert ages[int(0.95 * len(ages))] < 0.15


def test_pictures_that_need_little_do_not_teach_the_link_is_narrow() -> None:
    simulation = Simulation(Radio([(0, 20e6)]), activity=lambda now_s: 0.2 if now_s > BEGAN_S + 5 else 1.0)
    simulation.run(30)
    assert simulation.target_bit_s(30) > 5e6


def test_random_loss_is_not_taken_for_a_full_link() -> None:
    chance = random.Random(1)
    simulation = Simulation(Radio([(0, 20e6)], loss=lambda: chance.random() < 0.05))
    simulation.run(20)
    assert simulation.uplink.picture_bit_s("room") > 0.6 * 6e6 * PICTURE_SHARE
    whole = len(simulation.ages_s(8, 20)) / (12 * 30)
    assert whole > 0.85, "with every packet sent twice most pictures need no repair"
    ages = sorted(simulation.ages_s(8, 20))
    assert ages[len(ages) // 2] < 0.07


def test_a_shallow_queue_that_drops_is_taken_for_a_full_link() -> None:
    simulation = Simulation(Radio([(0, 2e6)], queue_bytes=8_000))
    simulation.run(30)
    lost = simulation.radio.dropped / simulation.uplink.monitor("v0").history._next
    assert lost < 0.15
    assert simulation.received_bit_s(10, 30) > 1.0e6


def wandering(seed: int, low: float, high: float, change_s: float, seconds: float) -> list[tuple[float, float]]:
    """A capacity that wanders between ``low`` and ``high``, and now and then leaps, as a moving van's does."""
    chance, at_s, level = random.Random(seed), 0.0, 0.5
    steps = [(0.0, math.sqrt(low * high))]
    while at_s < seconds:
        at_s += chance.expovariate(1 / change_s)
        level = chance.random() if chance.random() < 0.03 else min(1.0, max(0.0, level + chance.gauss(0, 0.08)))
        steps.append((BEGAN_S + at_s, low * (high / low) ** level))
    return steps


@pytest.mark.parametrize(
    ("seed", "low", "high", "change_s", "jitter_s", "least_share"),
    [(1, 0.31e6, 20e6, 0.3, 0.0, 0.5), (5, 0.31e6, 3e6, 0.5, 0.010, 0.4), (9, 1e6, 50e6, 0.5, 0.005, 0.6)],
)
def test_a_wandering_link_freezes_no_picture(
    seed: int, low: float, high: float, change_s: float, jitter_s: float, least_share: float
) -> None:
    chance = random.Random(seed)
    radio = Radio(wandering(seed, low, high, change_s, 40), jitter=lambda: chance.random() * jitter_s)
    simulation = Simulation(radio)
    simulation.run(40)
    assert simulation.longest_gap_s(1, 40) < 1.0
    ages = sorted(simulation.ages_s(3, 40))
    assert ages[int(0.95 * len(ages))] < 0.25
    usable = sum(min(6.5e6, radio.capacity_bit_s(BEGAN_S + moment / 10)) for moment in range(30, 400)) / 370
    assert simulation.received_bit_s(3, 40) > least_share * usable


@pytest.mark.parametrize("seconds", [1.0, 3.0, 10.0])
def test_an_outage_is_over_when_it_is_over(seconds: float) -> None:
    simulation = Simulation(Radio([(0, 20e6), (BEGAN_S + 10, 0), (BEGAN_S + 10 + seconds, 20e6)]))
    simulation.run(20 + seconds)
    back_s = 10 + seconds
    assert simulation.longest_gap_s(back_s, back_s + 5) < 0.3
    assert max(simulation.ages_s(back_s, back_s + 5)) < 0.25
    assert simulation.received_bit_s(back_s + 3, back_s + 5) > 4e6


def test_a_held_up_way_back_stops_no_picture() -> None:
    """For a second and a half no feedback comes, while the way out is as good as before."""
    held_up = TracedRadio(DeliveryTrace.of([*range(1, 10_000), *range(11_500, 20_000)]))
    simulation = Simulation(Radio([(0, 20e6)]), back=held_up)
    simulation.run(15)
    assert simulation.longest_gap_s(9.5, 12) < 0.9
    assert simulation.received_bit_s(10.5, 11.5) < 0.8e6, "carefully: the link may be gone"
    assert simulation.received_bit_s(13, 15) > 4e6


def test_two_viewers_share_alike() -> None:
    simulation = Simulation(Radio([(0, 6e6)]), viewers=2)
    simulation.run(25)
    first, second = (simulation.received_bit_s(5, 25, name) for name in ("v0", "v1"))
    assert first == pytest.approx(second, rel=0.05)
    assert first + second > 0.7 * 6e6
    ages = sorted(simulation.ages_s(5, 25) + simulation.ages_s(5, 25, "v1"))
    assert ages[int(0.95 * len(ages))] < 0.15


def test_the_ultrasound_goes_before_faces() -> None:
    simulation = Simulation(Radio([(0, 20e6), (BEGAN_S + 8, 1.2e6)]), streams=(ROOM, ULTRASOUND))
    simulation.run(25)
    uplink = simulation.uplink
    assert uplink.picture_bit_s("ultrasound") > 1.4 * uplink.picture_bit_s("room") > 0
    ultrasound = sorted(simulation.ages_s(12, 25, stream="ultrasound"))
    room = sorted(simulation.ages_s(12, 25))
    assert ultrasound[len(ultrasound) // 2] <= room[len(room) // 2] + 0.005


def test_faces_are_given_up_before_the_ultrasound() -> None:
    simulation = Simulation(Radio([(0, 20e6), (BEGAN_S + 8, 0.6e6)]), streams=(ROOM, ULTRASOUND))
    simulation.run(25)
    assert simulation.uplink.picture_bit_s("room") == 0
    assert len(simulation.ages_s(15, 25, stream="ultrasound")) > 80
    assert simulation.ages_s(15, 25) == []
