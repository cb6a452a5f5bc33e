"""One waveform a screen: it stays with the device that touches somebody."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from devices.readings import INVALID_COUNT, DeviceState, Link, Samples, Stamped
from devices.wire import unpack_samples
from vehicle.feed import Feed
from vehicle.live import LiveHub
from vehicle.stream_choice import StreamChoice
from vehicle.touchscreen.recent import RecentSamples


def chunk(device: str, at_s: float, count: int = 5, stream: str = "ecg") -> Stamped:
    samples = Samples(stream, ("I",), 125.0, 1, 0, np.full((6, 1), count, np.int16), 1.0, "uV")
    return Stamped(device, "any", datetime.now(UTC), at_s, samples)


def test_the_first_device_keeps_the_stream_while_it_has_values() -> None:
    choice = StreamChoice()
    assert choice.takes(chunk("ecg-1", 0.0))
    for step in range(1, 200):
        assert choice.takes(chunk("ecg-1", step * 0.05))
        assert not choice.takes(chunk("ecg-2", step * 0.05))


def test_electrodes_off_for_two_seconds_give_it_to_the_device_that_has_values() -> None:
    choice = StreamChoice()
    choice.takes(chunk("ecg-1", 0.0))
    second = {}
    for step in range(1, 80):
        choice.takes(chunk("ecg-1", step * 0.05, INVALID_COUNT))
        second[step * 0.05] = choice.takes(chunk("ecg-2", step * 0.05))
    assert [taken for at_s, taken in second.items() if at_s <= 2.0] == [False] * 40
    assert all(taken for at_s, taken in second.items() if at_s > 2.0)
    assert not choice.takes(chunk("ecg-1", 4.1))


def test_a_device_without_electrodes_does_not_take_a_stream_that_fell_silent() -> None:
    choice = StreamChoice()
    choice.takes(chunk("ecg-1", 0.0))
    assert not choice.takes(chunk("ecg-2", 10.0, INVALID_COUNT))
    assert choice.takes(chunk("ecg-2", 10.1))


def test_a_single_device_is_taken_with_and_without_values() -> None:
    choice = StreamChoice()
    assert all(choice.takes(chunk("ecg-1", at_s, INVALID_COUNT)) for at_s in (0.0, 5.0, 50.0))
    assert choice.takes(chunk("ecg-2", 50.1))


def test_streams_are_chosen_apart_and_other_events_pass() -> None:
    choice = StreamChoice()
    assert choice.takes(chunk("ecg-1", 0.0))
    assert choice.takes(chunk("oximeter-1", 0.0, stream="pleth"))
    state = Stamped("ecg-2", "any", datetime.now(UTC), 0.0, DeviceState(Link.CONNECTED))
    assert choice.takes(state)


def test_screens_and_pages_that_join_late_see_one_of_two_devices() -> None:
    feed, hub, recent = Feed(), LiveHub(), RecentSamples()
    hub.listen(feed)
    feed.on("ecg", recent.push, "recent")
    reader = hub.subscribe(["ecg"])
    for step in range(50):  # the box streams without electrodes, the hand-held is in hands
        feed.publish(chunk("box-1", step * 0.05, INVALID_COUNT))
        feed.publish(chunk("hand-1", step * 0.05, step))
    frames = []
    while (frame := reader.take()) is not None:
        frames.append(unpack_samples(frame)[0])
    assert (frames.count("box-1"), frames.count("hand-1")) == (1, 50)
    newest = recent.newest("ecg", 1.0)
    assert newest is not None
    assert newest[0] == "hand-1"
