"""The live hub: state first, newest wins, lost waveform is told."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import numpy as np

from devices.readings import DeviceState, IdentityCard, Link, PulseOximetry, Samples, Stamped
from devices.wire import unpack_samples
from vehicle.feed import Feed
from vehicle.live import FRAMES_BOUND, MESSAGES_BOUND, LiveHub

AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def chunk(first_index: int) -> Stamped:
    counts = np.arange(50, dtype=np.int16).reshape(25, 2)
    return Stamped("ecg-1", "x", AT, 0.0, Samples("ecg", ("I", "II"), 500.0, 1, first_index, counts, 1.25, "uV"))


def take_all(reader) -> list:
    items = []
    while (item := reader.take()) is not None:
        items.append(item if isinstance(item, bytes) else json.loads(item))
    return items


def test_a_new_reader_starts_from_the_newest_state() -> None:
    hub = LiveHub()
    hub.send({"type": "visit", "visit": None})
    hub.send({"type": "visit", "visit": {"visit": "visit-1"}})
    hub.send({"type": "reading", "kind": "glucose"})
    assert take_all(hub.subscribe()) == [{"type": "visit", "visit": {"visit": "visit-1"}}]


def test_frames_reach_only_those_who_asked_and_are_the_very_samples() -> None:
    feed, hub = Feed(), LiveHub()
    hub.listen(feed)
    asked, other = hub.subscribe(["ecg"]), hub.subscribe(["pleth"])
    sent = chunk(1234)
    feed.publish(sent)
    device, samples = unpack_samples(take_all(asked)[0])
    assert device == "ecg-1"
    assert samples.first_index == 1234
    assert np.array_equal(samples.counts, sent.event.counts)
    assert take_all(other) == []


def test_a_reader_that_sleeps_is_told_what_it_missed() -> None:
    feed, hub = Feed(), LiveHub()
    hub.listen(feed)
    reader = hub.subscribe(["ecg"])
    for i in range(FRAMES_BOUND + 7):
        feed.publish(chunk(i * 25))
    gap, *frames = take_all(reader)
    assert gap == {
        "type": "gap", "stream": "ecg", "device": "ecg-1", "segment": 1, "first_index": 0, "count": 7 * 25,
    }  # fmt: skip
    assert unpack_samples(frames[0])[1].first_index == 7 * 25
    assert len(frames) == FRAMES_BOUND


def test_unread_states_are_superseded_and_messages_are_bounded() -> None:
    hub = LiveHub()
    reader = hub.subscribe()
    for n in range(1000):
        hub.send({"type": "status", "n": n})
    assert take_all(reader) == [{"type": "status", "n": 999}]
    for n in range(MESSAGES_BOUND + 5):
        hub.send({"type": "reading", "n": n})
    gap, first, *_ = take_all(reader)
    assert gap == {"type": "gap", "messages": 5}
    assert first == {"type": "reading", "n": 5}


def test_devices_are_told_one_by_one_and_cards_never() -> None:
    feed, hub = Feed(), LiveHub()
    hub.listen(feed)
    reader = hub.subscribe(["ecg", "pleth"])
    feed.publish(Stamped("ecg-1", "x", AT, 0.0, DeviceState(Link.CONNECTED, leads_off=("V3",))))
    feed.publish(Stamped("oximeter-1", "y", AT, 0.0, DeviceState(Link.LOST)))
    feed.publish(Stamped("oximeter-1", "y", AT, 0.0, PulseOximetry(96, 74)))
    card = IdentityCard("某人", "female", "01", None, "某地", "110101199003070038", "某局", None, None)
    feed.publish(Stamped("card-1", "z", AT, 0.0, card))
    told = take_all(reader)
    assert [(message["type"], message["device"]) for message in told] == [
        ("device", "ecg-1"), ("device", "oximeter-1"), ("reading", "oximeter-1"),
    ]  # fmt: skip
    assert told[0]["leads_off"] == ["V3"]
    assert told[2]["values"]["spo2_percent"] == 96


async def test_reading_as_an_iterator_ends_with_close() -> None:
    hub = LiveHub()
    reader = hub.subscribe()
    read = []

    async def follow() -> None:
        async for item in reader:
            read.append(item)

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    hub.send({"type": "clock", "source": "gnss"})
    await asyncio.sleep(0)
    reader.close()
    await asyncio.wait_for(task, 5)
    assert len(read) == 1
    assert hub.readers == 0
