"""The feed: who listens hears everything, who queues loses the oldest and is told how much."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.readings import BloodPressure, DeviceState, Link, PulseOximetry, Samples, Stamped
from vehicle.feed import Feed, Gap
from vehicle.topics import TOPICS, Overflow, topic_of

AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def chunk(first_index: int, n: int = 25, device: str = "ecg-1") -> Stamped:
    counts = np.full((n, 2), first_index % 1000, np.int16)
    samples = Samples("ecg", ("I", "II"), 500.0, 1, first_index, counts, 1.0, "uV")
    return Stamped(device, "contec_8000g", AT, first_index / 500, samples)


def pressure(systolic_mmhg: float) -> Stamped:
    return Stamped("cuff-1", "bluetooth_blood_pressure", AT, 0.0, BloodPressure(systolic_mmhg, 80.0))


def oximetry(device: str, spo2_percent: int) -> Stamped:
    return Stamped(device, "contec_cms50_v7", AT, 0.0, PulseOximetry(spo2_percent, 70))


def drain(subscription) -> list:
    items = []
    while (item := subscription.take()) is not None:
        items.append(item)
    return items


@given(st.lists(st.integers(0, 4), max_size=120), st.integers(1, 8))
def test_drop_oldest_loses_only_the_oldest_and_accounts_for_every_event(steps: list[int], bound: int) -> None:
    """0 reads one item, everything else publishes that many chunks; at the end everything is read."""
    feed = Feed()
    subscription = feed.subscribe("slow", ["ecg"], bound=bound, overflow=Overflow.DROP_OLDEST)
    published, read = 0, []
    for step in steps:
        if step == 0:
            item = subscription.take()
            read += [item] if item is not None else []
        for _ in range(step):
            feed.publish(chunk(published * 25))
            published += 1
        assert len(subscription) <= bound
    read += drain(subscription)
    next_index = 0
    for item in read:
        if isinstance(item, Gap):
            assert item.first_index == next_index
            next_index += item.events * 25
        else:
            assert item.event.first_index == next_index
            next_index += 25
    assert next_index == published * 25


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(80, 100)), max_size=60))
def test_latest_wins_keeps_the_newest_of_every_device_and_no_gap(said: list[tuple[str, int]]) -> None:
    feed = Feed()
    subscription = feed.subscribe("page", ["pulse_oximetry"])
    for device, spo2_percent in said:
        feed.publish(oximetry(device, spo2_percent))
    items = drain(subscription)
    assert {item.device: item.event.spo2_percent for item in items} == dict(said)
    assert len(items) == len({device for device, _ in said})


def test_a_flood_of_waveforms_never_pushes_out_a_reading() -> None:
    feed = Feed()
    subscription = feed.subscribe("clinic", ["ecg", "blood_pressure"], bound=3)
    feed.publish(pressure(162))
    for i in range(1000):
        feed.publish(chunk(i * 25))
    readings = [item for item in drain(subscription) if isinstance(item, Stamped) and item.device == "cuff-1"]
    assert [reading.event.systolic_mmhg for reading in readings] == [162]


def test_listener_hears_all_and_a_failing_one_stops_nobody() -> None:
    feed, heard = Feed(), []

    def broken(stamped: Stamped) -> None:
        raise RuntimeError("a bug")

    feed.on("ecg", broken, "broken")
    feed.on("ecg", heard.append)
    for i in range(5):
        feed.publish(chunk(i * 25))
    assert len(heard) == 5
    assert feed.failures == {"broken": "RuntimeError: a bug"}


def test_listener_may_end() -> None:
    feed, heard = Feed(), []
    end = feed.on("ecg", heard.append)
    feed.publish(chunk(0))
    end()
    end()
    feed.publish(chunk(25))
    assert len(heard) == 1


async def test_subscription_wakes_its_reader_and_ends_when_closed() -> None:
    feed = Feed()
    subscription = feed.subscribe("reader", ["ecg"])
    read = []

    async def reader() -> None:
        async for item in subscription:
            read.append(item)

    task = asyncio.create_task(reader())
    await asyncio.sleep(0)
    feed.publish(chunk(0))
    await asyncio.sleep(0)
    subscription.close()
    await asyncio.wait_for(task, 5)
    feed.publish(chunk(25))
    assert len(read) == 1


def test_unknown_topics_are_refused() -> None:
    with pytest.raises(KeyError):
        Feed().subscribe("x", ["ecg", "nonsense"])
    with pytest.raises(KeyError):
        Feed().on("nonsense", print)


def test_every_row_of_the_table_is_complete() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    assert all(topic.bound > 0 for topic in TOPICS)
    assert topic_of(DeviceState(Link.CONNECTED)) == "device"
    for topic in TOPICS:
        if topic.payload not in (Samples, DeviceState):
            assert topic.payload.kind == topic.name


def test_what_was_heard_when_is_known() -> None:
    feed = Feed()
    feed.publish(chunk(0))
    feed.publish(chunk(500))
    assert feed.heard[("ecg-1", "ecg")].received_mono_s == 1.0
    assert feed.heard[("ecg-1", "ecg")].events == 2
