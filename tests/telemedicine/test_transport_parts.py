"""Budget, pacer, retransmissions and delay on their own."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemedicine.transport import addresses
from telemedicine.transport.budget import BARE_BIT_S, Demand, divide
from telemedicine.transport.delay import QueueDelay, Trendline, Usage
from telemedicine.transport.delivery import DeliveryRate, Trains
from telemedicine.transport.history import Outcome, Sent
from telemedicine.transport.pacer import Pacer, Queued
from telemedicine.transport.retransmission import RetransmissionLimit

ULTRASOUND = Demand("ultrasound", 1, 0, 0.6, 150_000, 4_000_000)
ROOM = Demand("room", 1, 1, 0.4, 150_000, 4_000_000)


def test_what_is_left_goes_by_weight() -> None:
    given_bit_s = divide(2_300_000, [ROOM, ULTRASOUND])
    assert given_bit_s == {"ultrasound": pytest.approx(1_350_000), "room": pytest.approx(950_000)}


def test_what_one_cannot_use_goes_to_the_other() -> None:
    small = Demand("ultrasound", 1, 0, 0.6, 150_000, 400_000)
    assert divide(2_000_000, [ROOM, small]) == {"ultrasound": pytest.approx(400_000), "room": pytest.approx(1_600_000)}


def test_the_last_one_gets_what_there_is_until_it_is_no_picture() -> None:
    assert divide(100_000, [ROOM, ULTRASOUND]) == {"ultrasound": 100_000, "room": 0}
    assert divide(BARE_BIT_S - 1, [ROOM, ULTRASOUND]) == {"ultrasound": 0, "room": 0}


demands = st.lists(
    st.builds(
        Demand,
        st.uuids().map(str),
        st.integers(0, 5),
        st.integers(0, 2),
        st.floats(0.05, 1),
        st.floats(1e4, 5e5),
        st.floats(5e5, 8e6),
    ),
    max_size=4,
)


@given(st.floats(-1e6, 5e7), demands)
def test_the_budget_is_kept_and_nobody_gets_more_than_it_can_use(budget: float, wanted: list[Demand]) -> None:
    rates = divide(budget, wanted)
    assert set(rates) == {demand.name for demand in wanted}
    assert sum(rates[demand.name] * demand.copies for demand in wanted) <= max(0.0, budget) + 1
    for demand in wanted:
        assert 0 <= rates[demand.name] <= demand.most_bit_s + 1
    enough = sum(demand.most_bit_s * demand.copies for demand in wanted)
    if budget >= enough:
        for demand in wanted:
            assert rates[demand.name] == pytest.approx(demand.most_bit_s if demand.copies else 0.0, abs=1)


def queued(path: str, stream: str, rank: int, number: int, size: int = 1200) -> Queued[int]:
    return Queued(path, stream, rank, size, 0.0, number)


def leaving(pacer: Pacer[int], until_s: float, step_s: float = 0.001) -> list[tuple[float, int]]:
    left, now_s = [], 0.0
    while now_s < until_s:
        while (item := pacer.take(now_s, lambda item: item.path != "blocked")) is not None:
            left.append((now_s, item.packet))
        now_s += step_s
    return left


def test_a_picture_leaves_as_an_even_train() -> None:
    pacer: Pacer[int] = Pacer(2, 0.0)
    pacer.rate_bit_s = 1_200 * 8 / 0.010
    for number in range(10):
        pacer.put(queued("v", "room", 1, number))
    left = leaving(pacer, 0.2)
    assert [number for _, number in left] == list(range(10))
    assert left[-1][0] == pytest.approx(0.09, abs=0.012)
    assert all(later - earlier < 0.013 for (earlier, _), (later, _) in pairwise(left))


def test_ranks_go_first_and_a_blocked_connection_holds_up_nobody() -> None:
    pacer: Pacer[int] = Pacer(3, 0.0)
    pacer.rate_bit_s = 1e8
    pacer.put(queued("blocked", "ultrasound", 1, 1))
    pacer.put(queued("v", "room", 2, 2))
    pacer.put(queued("v", "ultrasound", 1, 3))
    pacer.put(queued("v", "ultrasound", 0, 4))
    assert [number for _, number in leaving(pacer, 0.1)] == [4, 3, 2]
    assert (len(pacer), pacer.backlog_bytes(2), pacer.oldest_s("blocked")) == (1, 1200, 0.0)
    assert pacer.drop(path="blocked") == 1
    assert len(pacer) == 0


def test_sound_that_left_past_the_pacer_is_paid_for() -> None:
    pacer: Pacer[int] = Pacer(1, 0.0)
    pacer.rate_bit_s = 1_000_000
    pacer.spend(12_500)
    pacer.put(queued("v", "room", 0, 1))
    assert pacer.take(0.05, lambda _: True) is None
    assert pacer.wait_s() > 0
    assert pacer.take(0.2, lambda _: True) is not None


def test_a_packet_is_repeated_once_per_round_trip_and_not_when_it_is_old() -> None:
    limit = RetransmissionLimit()
    limit.sent(7, 1000, 10.0)
    assert not limit.may_repeat(8, 10.1, 0.05, 0.0), "never sent"
    assert not limit.may_repeat(7, 10.02, 0.05, 0.0), "it cannot be known to be lost yet"
    assert limit.may_repeat(7, 10.06, 0.05, 0.0)
    assert not limit.may_repeat(7, 10.08, 0.05, 0.0)
    assert limit.may_repeat(7, 10.12, 0.05, 0.0)
    assert not limit.may_repeat(7, 10.5, 0.05, 10.4), "sent before the link came back"
    assert not limit.may_repeat(7, 11.5, 0.05, 0.0), "too old to be shown"


def test_probes_are_made_of_the_largest_packets() -> None:
    limit = RetransmissionLimit()
    for number, size in enumerate((200, 1200, 100, 1300, 900)):
        limit.sent(number, size, 1.0)
    assert limit.largest(2_400, 10) == [3, 1]
    assert limit.largest(10_000, 3) == [3, 1, 4]


def test_a_receiver_that_was_held_up_is_no_queue() -> None:
    delay = QueueDelay()
    for number in range(50):
        delay.add(number * 0.01, 5.0 + number * 0.01)
    for number in range(50, 60):
        delay.add(number * 0.01, 5.0 + 0.59)  # all at once, the newest on time
    assert delay.judge() < 0.005
    for number in range(60, 70):
        delay.add(number * 0.01, 5.0 + 0.6 + (number - 60) * 0.03)
    assert delay.judge() > 0.1


def test_after_an_interruption_a_standing_queue_is_still_one_and_a_longer_way_is_soon_none() -> None:
    delay = QueueDelay()
    for number in range(50):
        delay.add(number * 0.02, number * 0.02 + 0.03)
    delay.restart()
    later = [3.0 + number * 0.02 for number in range(400)]
    waits = []
    for sent_s in later:
        delay.add(sent_s, sent_s + 0.53)
        waits.append(delay.judge())
    assert waits[10] == pytest.approx(0.5)
    assert waits[-1] == pytest.approx(0.0), "the way is another one"


def test_a_growing_delay_is_overuse_and_a_constant_one_is_not() -> None:
    trend = Trendline()
    for number in range(100):
        trend.add(number * 0.02, number * 0.02)
    assert trend.usage == Usage.NORMAL
    for number in range(100, 130):
        trend.add(number * 0.02, number * 0.02 + (number - 100) * 0.008)
    assert trend.usage == Usage.OVER
    for number in range(130, 200):
        trend.add(number * 0.02, number * 0.02 + 0.24)
    assert trend.usage != Usage.OVER


def train(first: int, apart_s: float, stretched_s: float, packets: int = 8) -> list[Outcome]:
    begins_s = first * 0.01
    return [
        Outcome(Sent(first + number, begins_s + number * apart_s, 1250), 50 + begins_s + number * stretched_s)
        for number in range(packets)
    ]


def test_trains_show_what_the_link_carries() -> None:
    trains = Trains()
    for turn in range(8):
        for outcome in train(turn * 10, 0.001, 0.005):
            trains.add(outcome)
    assert trains.capacity_bit_s(50.8) == pytest.approx(2e6, rel=0.01)
    assert trains.newest_bit_s() == pytest.approx(2e6, rel=0.01)
    assert trains.capacity_bit_s(60.0) is None, "too long ago"
    fast = Trains()
    for turn in range(8):
        for outcome in train(turn * 10, 0.002, 0.0001):
            fast.add(outcome)
    assert fast.capacity_bit_s(50.8) == pytest.approx(5e6, rel=0.01), "never more than was sent"


def test_the_rate_delivered_goes_by_the_receivers_clock() -> None:
    rate = DeliveryRate()
    assert rate.rate_bit_s() is None
    for number in range(50):
        rate.add(1000 + number * 0.01, 1250)
    assert rate.rate_bit_s() == pytest.approx(1e6, rel=0.03)
    assert rate.rate_bit_s(0.12) == pytest.approx(1e6, rel=0.1)


async def test_addresses_are_told_when_the_kernel_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(addresses.socket, "AF_NETLINK"):
        pytest.skip("skipped: no netlink here")
    read = asyncio.Event()

    async def at_once(loop: object, listener: object) -> None:
        assert not read.is_set()
        read.set()

    monkeypatch.setattr(addresses, "_readable", at_once)
    changes = addresses.changes()
    assert "127.0.0.1" in await anext(changes)
    await changes.aclose()
