"""What reaches a specialist of the vehicle's live feed: the real hub and clinic on one side, a page's channel here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from consultation_stage import CHUNK, ecg_chunk, until

from devices.clock import SimulatedClock, SystemClock
from devices.packed_samples import PROTOCOL, SampleForm, unpack
from devices.readings import DeviceState, Link, PulseOximetry, Sensor
from devices.wire import pack_samples, unpack_samples
from telemedicine.live_data import (
    BACKFILL_BOUND_SAMPLES,
    QUEUED_RTT_S,
    SPARING_BACKFILL_SAMPLES,
    DataViewer,
    LiveData,
)
from telemedicine.vehicle_client import VehicleAway
from tests.vehicle.clinic_world import DOCTOR, World, card
from tests.vehicle.conftest import MORNING
from vehicle.live import LiveHub


class VehicleOfHub:
    """``VehicleClient`` over a hub in the same process; ``alive`` False: the process is gone."""

    def __init__(self, hub: LiveHub) -> None:
        self.hub = hub
        self.reader: Any = None

    async def live(self, streams: tuple[str, ...]) -> AsyncIterator[str | bytes]:
        self.reader = self.hub.subscribe(streams)
        async for item in self.reader:
            yield item
        raise VehicleAway("closed")

    async def samples(self, device: str, segment: int, first: int, count: int) -> bytes | None:
        return pack_samples(device, ecg_chunk(first, count, segment))


class Channel:
    """A data channel that takes everything."""

    readyState = "open"
    bufferedAmount = 0

    def __init__(self, label: str, protocol: str = "") -> None:
        self.label, self.protocol = label, protocol
        self.sent: list[Any] = []

    def on(self, *_: object) -> None: ...

    def send(self, item: Any) -> None:
        self.sent.append(item)


class Van:
    """A clinic with its hub, the feed's reader, and pages."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, SimulatedClock(MORNING))
        self.hub = LiveHub()
        self.hub.listen(self.world.feed)
        self.world.send = self.hub.send  # type: ignore[method-assign]
        self.vehicle = VehicleOfHub(self.hub)
        self.looks = 0
        self.data = LiveData(self.vehicle, SystemClock(), self._look)  # type: ignore[arg-type]

    def _look(self, message: dict[str, Any]) -> None:
        self.looks += not message

    def page(self, protocol: str = "") -> tuple[DataViewer, Channel, Channel]:
        viewer, live, vitals = self.data.join(), Channel("live", protocol), Channel("vitals")
        viewer.attach(live)  # type: ignore[arg-type]
        viewer.attach(vitals)  # type: ignore[arg-type]
        return viewer, live, vitals


def numbers(channel: Channel) -> tuple[int | None, int | None] | None:
    """What stands on the page: SpO2 and pulse of the last ``reading``; None when none came."""
    told = [message for message in map(json.loads, channel.sent) if message["type"] == "reading"]
    assert all(message["kind"] == "pulse_oximetry" and "tile" not in message for message in told)
    return (told[-1]["values"]["spo2_percent"], told[-1]["values"]["pulse_bpm"]) if told else None


def rates(vitals: Channel) -> list[int]:
    """Heart rates that the ECG analysis told a page."""
    return [told["heart_rate_bpm"] for told in map(json.loads, vitals.sent) if told["type"] == "ecg_analysis"]


def forms(vitals: Channel) -> dict[int, SampleForm]:
    """The forms that a page was told."""
    told = [message for message in map(json.loads, vitals.sent) if message["type"] == "samples_form"]
    names = [field.name for field in fields(SampleForm)]
    made = {form["number"]: {name: form[name] for name in names} for form in told}
    return {number: SampleForm(**{**form, "channels": tuple(form["channels"])}) for number, form in made.items()}


@pytest.fixture
async def van(tmp_path: Path) -> AsyncIterator[Van]:
    made = Van(tmp_path)
    work = asyncio.create_task(made.data.run())
    await until(lambda: made.hub.readers == 1)
    yield made
    work.cancel()
    made.world.close()


async def test_the_finger_in_the_oximeter_is_seen_also_by_who_joins_later(van: Van) -> None:
    await van.world.serve()
    _, _, first = van.page()
    van.world.finger(96, seconds=15)  # live numbers, and the tile's own messages between them
    await until(lambda: numbers(first) == (96, 74))
    _, _, later = van.page()
    assert numbers(later) == (96, 74)


@pytest.mark.parametrize(
    "event",
    [
        PulseOximetry(None, None),
        DeviceState(Link.LOST),
        DeviceState(Link.CONNECTED, Sensor.OFF),
    ],
    ids=["finger out", "cable out", "sensor off"],
)
async def test_a_number_that_is_no_more_is_withdrawn_at_once(van: Van, event: PulseOximetry | DeviceState) -> None:
    await van.world.serve()
    _, _, page = van.page()
    van.world.finger(96, seconds=2)
    await until(lambda: numbers(page) == (96, 74))
    van.world.publish(event, "finger-1")
    await until(lambda: numbers(page) == (None, None), 2)
    _, _, later = van.page()
    assert numbers(later) in (None, (None, None))


async def test_numbers_go_when_the_vehicle_process_goes(van: Van) -> None:
    await van.world.serve()
    _, _, page = van.page()
    van.world.finger(96)
    await until(lambda: numbers(page) == (96, 74))
    van.vehicle.reader.close()
    await until(lambda: numbers(page) == (None, None), 2)


async def test_a_red_value_is_told_at_once_with_its_numbers_and_nothing_else(van: Van) -> None:
    await van.world.serve()
    await van.world.measurements.confirm(van.world.cuff(128, 82), DOCTOR)
    _, _, page = van.page()
    await van.world.measurements.confirm(van.world.cuff(186, 114), DOCTOR)

    def told_red() -> list[dict[str, Any]]:
        return [message for message in map(json.loads, page.sent) if message["type"] == "critical"]

    await until(lambda: len(told_red()) == 1, 2)
    [told] = told_red()
    assert (told["kind"], told["values"]["systolic_mmhg"]) == ("blood_pressure", 186)
    assert set(told) == {"type", "kind", "values"}


async def test_a_confirmed_reading_makes_the_case_be_looked_at(van: Van) -> None:
    await van.world.serve()
    reading = van.world.cuff(162, 98)
    await asyncio.sleep(0)
    before = van.looks
    await van.world.measurements.confirm(reading, DOCTOR)
    await until(lambda: van.looks > before, 2)


async def test_findings_of_a_recording_make_the_case_be_looked_at(van: Van) -> None:
    van.hub.send({"type": "status"})
    await until(lambda: van.data.connected)
    before = van.looks
    van.hub.send({"type": "ecg_findings", "sha256": "0" * 64, "encounter": "e"})
    await until(lambda: van.looks == before + 1)


async def test_nothing_of_the_next_person_reaches_the_specialist(van: Van) -> None:
    await van.world.serve()
    served = van.world.encounters.current()
    assert served is not None
    van.data.about(served.encounter)
    _, live, page = van.page()
    van.world.finger(96)
    van.world.publish(ecg_chunk(0), "ecg-1")
    van.hub.send({"type": "ecg_analysis", "device": "ecg-1", "heart_rate_bpm": 72, "rhythm": "none"})
    await until(lambda: numbers(page) == (96, 74) and len(live.sent) == 1)
    assert rates(page) == [72]
    await van.world.encounters.close(DOCTOR)
    await van.world.serve(card("李大山", date(1950, 3, 2), "051"))
    await until(lambda: numbers(page) == (None, None) and json.loads(page.sent[-1])["type"] == "someone_else")
    van.world.finger(88, seconds=2)
    van.world.publish(ecg_chunk(20), "ecg-1")
    van.hub.send({"type": "ecg_analysis", "device": "ecg-1", "heart_rate_bpm": 81, "rhythm": "likely"})
    van.world.publish(DeviceState(Link.CONNECTED, battery_percent=50), "ecg-1")
    await until(lambda: json.loads(page.sent[-1])["type"] == "device")
    assert numbers(page) == (None, None)
    assert len(live.sent) == 1
    assert rates(page) == [72]
    assert await van.data.samples("ecg-1", 1, 0, 20) is None
    said = "".join(page.sent)
    assert "李大山" not in said
    assert "王家村" not in said, "addresses stay in the van"
    assert "杨桂芳" not in said


async def test_a_page_that_can_read_them_gets_packed_samples_and_first_their_form(van: Van) -> None:
    await van.world.serve()
    _, old, _ = van.page()
    viewer, live, vitals = van.page(PROTOCOL)
    van.world.publish(ecg_chunk(0), "ecg-1")
    await until(lambda: live.sent and old.sent)
    assert unpack(live.sent[0], forms(vitals))[0] == "ecg-1"
    assert np.array_equal(unpack(live.sent[0], forms(vitals))[1].counts, ecg_chunk(0).counts)
    assert np.array_equal(unpack_samples(old.sent[0])[1].counts, ecg_chunk(0).counts)
    assert viewer.frames_sent == 1
    _, _, later = van.page(PROTOCOL)
    assert forms(later) == forms(vitals)


async def test_while_bits_are_scarce_chunks_travel_together_and_a_silent_device_leaves_nothing_behind(van: Van) -> None:
    await van.world.serve()
    van.data.spare(True)
    _, live, vitals = van.page(PROTOCOL)
    for first in range(0, 14 * CHUNK, CHUNK):
        van.world.publish(ecg_chunk(first), "ecg-1")
    await until(lambda: len(live.sent) == 2)
    van.world.publish(DeviceState(Link.LOST), "ecg-1")
    await until(lambda: len(live.sent) == 3)
    got = [unpack(frame, forms(vitals))[1] for frame in live.sent]
    assert [len(chunk.counts) for chunk in got] == [100, 100, 80]
    assert np.array_equal(np.concatenate([chunk.counts for chunk in got]), ecg_chunk(0, 280).counts)


async def test_a_link_that_is_wide_again_waits_for_nothing(van: Van) -> None:
    await van.world.serve()
    van.data.spare(True)
    _, live, _ = van.page(PROTOCOL)
    van.world.publish(ecg_chunk(0), "ecg-1")
    van.world.publish(DeviceState(Link.CONNECTED), "finger-1")
    van.data.spare(False)
    van.world.publish(ecg_chunk(CHUNK), "ecg-1")
    await until(lambda: len(live.sent) == 2)


async def test_what_would_be_late_is_left_out_and_stated(van: Van) -> None:
    await van.world.serve()
    viewer, live, vitals = van.page(PROTOCOL)
    van.world.publish(ecg_chunk(0), "ecg-1")
    await until(lambda: live.sent)
    live.bufferedAmount = 20 * len(live.sent[0])
    for first in (CHUNK, 2 * CHUNK):
        van.world.publish(ecg_chunk(first), "ecg-1")
    await until(lambda: viewer.frames_skipped == 2)
    live.bufferedAmount = 0
    van.world.publish(ecg_chunk(3 * CHUNK), "ecg-1")
    await until(lambda: len(live.sent) == 2)
    told = [message for message in map(json.loads, vitals.sent) if message["type"] == "gap"]
    assert [(gap["first_index"], gap["count"]) for gap in told] == [(CHUNK, 2 * CHUNK)]


async def test_into_a_full_queue_nothing_more_is_sent_and_the_page_may_ask_later(van: Van) -> None:
    await van.world.serve()
    viewer, live, vitals = van.page(PROTOCOL)
    van.data.spare(True, rtt_s=2 * QUEUED_RTT_S)
    for first in range(0, 10 * CHUNK, CHUNK):
        van.world.publish(ecg_chunk(first), "ecg-1")
    await until(lambda: viewer.frames_skipped == 2)
    assert live.sent == []
    van.data.spare(True, rtt_s=0.1)
    for first in range(10 * CHUNK, 15 * CHUNK, CHUNK):
        van.world.publish(ecg_chunk(first), "ecg-1")
    await until(lambda: len(live.sent) == 1)
    gaps = [message for message in map(json.loads, vitals.sent) if message["type"] == "gap"]
    assert [(gap["first_index"], gap["count"]) for gap in gaps] == [(0, 10 * CHUNK)]


@pytest.mark.parametrize(("sparing", "count"), [(False, BACKFILL_BOUND_SAMPLES), (True, SPARING_BACKFILL_SAMPLES)])
async def test_what_was_missed_comes_in_pieces_that_the_link_can_bear(van: Van, sparing: bool, count: int) -> None:
    await van.world.serve()
    van.data.spare(sparing)
    chunk = await van.data.samples("ecg-1", 1, 300, 6000)
    assert chunk is not None
    assert np.array_equal(chunk.samples.counts, ecg_chunk(300, count).counts)
