"""Polar H10: published bytes, samples that are lost with their frame, refusals, and the whole over the air."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluetooth_bench import Bench, bluetooth_bench, needs_dbus_daemon
from device_captures import needs_shared, vectors

from devices.drivers import polar_h10
from devices.readings import INVALID_COUNT, DeviceState, Event, HeartRate, Link, Samples, Sensor
from devices.sig_heart_rate import MEASUREMENT
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.polar_h10 import PolarH10Strap, PolarH10Twin


def of_type(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def heard(driver: polar_h10.Driver, twin: PolarH10Twin, seconds: float) -> list[Event]:
    events: list[Event] = []
    for _ in range(round(seconds * 20)):
        for channel, value in twin.advance(0.05):
            events += driver.feed(value, channel).events
        output = driver.tick(0.05)
        for write in output.writes:
            output.events += driver.feed(twin.control(write.payload), write.channel).events
        events += output.events
    return events


def opened(twin: PolarH10Twin) -> polar_h10.Driver:
    driver = polar_h10.Driver()
    for write in driver.open().writes:
        driver.feed(twin.control(write.payload), write.channel)
    return driver


@needs_shared
def test_published_bytes() -> None:
    by_id = {param.id: param.values[0] for param in vectors("Polar H10")}
    assert polar_h10.START.hex().upper() == by_id["100"]["hex"]
    last_ns, samples = polar_h10.decode_frame(bytes.fromhex(by_id["099"]["hex"]))
    assert samples == by_id["099"]["expected"]["uV"]
    assert last_ns == int.from_bytes(bytes.fromhex(by_id["099"]["hex"])[1:9], "little")
    driver = polar_h10.Driver()
    driver.open()
    (wave,) = of_type(driver.feed(bytes.fromhex(by_id["099"]["hex"]), polar_h10.DATA).events, Samples)
    assert wave.counts[:, 0].tolist() == [-32766, INVALID_COUNT]  # 32.77 mV are no value of a heart
    rate = driver.feed(bytes.fromhex(by_id["080"]["hex"]), MEASUREMENT).events
    assert of_type(rate, HeartRate) == [HeartRate(88, (774, 765), None)]


def test_the_very_counts_and_the_heart_rate() -> None:
    twin = PolarH10Twin(SynthesisedEcg(seed=1))
    driver = opened(twin)
    events = heard(driver, twin, 10.0)
    counts = np.concatenate([samples.counts for samples in of_type(events, Samples)])
    assert np.array_equal(counts, twin.sent(twin.samples_sent))
    assert 10 <= len(of_type(events, HeartRate)) <= 11
    assert of_type(events, HeartRate)[0] == HeartRate(64, (938,), True)


def test_lost_frames_show_in_the_straps_own_times() -> None:
    twin = PolarH10Twin(SynthesisedEcg(seed=1))
    driver = opened(twin)
    events = heard(driver, twin, 3.0)
    twin.lost_frames = 2
    events += heard(driver, twin, 4.0)
    chunks = of_type(events, Samples)
    assert {chunk.segment for chunk in chunks} == {chunks[0].segment}
    for chunk in chunks:
        sent = twin.sent(twin.samples_sent)[chunk.first_index : chunk.last_index + 1]
        assert np.array_equal(chunk.counts, sent)
    assert chunks[-1].last_index + 1 - sum(len(chunk.counts) for chunk in chunks) == 2 * polar_h10.USUAL_SAMPLES
    assert driver.counters.gaps == 1


def test_a_clock_that_runs_backwards_begins_a_new_segment() -> None:
    twin = PolarH10Twin(SynthesisedEcg(seed=1))
    driver = opened(twin)
    first = of_type(heard(driver, twin, 2.0), Samples)
    again = PolarH10Twin(SynthesisedEcg(seed=1))
    again.control(polar_h10.START)
    second = of_type(heard(driver, again, 2.0), Samples)
    assert second[0].segment == first[-1].segment + 1
    assert second[0].first_index == 0


@pytest.mark.parametrize(("error", "cause"), [(13, "in its charger"), (99, "code 99")])
def test_a_refusal_is_told_and_asked_again_until_it_goes(error: int, cause: str) -> None:
    twin = PolarH10Twin(SynthesisedEcg(seed=1))
    twin.refuses = error
    driver = polar_h10.Driver()
    driver.open()
    state = of_type(heard(driver, twin, 4.0), DeviceState)[-1]
    assert (state.fault, state.vendor_text) == ("ecg_not_started", cause)
    twin.refuses = 0
    events = heard(driver, twin, 8.0)
    assert of_type(events, Samples)
    assert of_type(events, DeviceState)[-1].fault is None


def test_no_contact_takes_the_heart_rate_back() -> None:
    twin = PolarH10Twin(SynthesisedEcg(seed=1))
    driver = opened(twin)
    heard(driver, twin, 3.0)
    twin.contact = False
    events = heard(driver, twin, 2.0)
    assert of_type(events, HeartRate)[-1] == HeartRate(None, contact=False)
    assert of_type(events, DeviceState)[-1].sensor is Sensor.OFF


@pytest.mark.parametrize("value", ["", "00", "0100000000000000000102030405", "00" * 9 + "01" + "010203", "00" * 12])
def test_what_is_no_ecg_frame_is_counted_and_nothing_else(value: str) -> None:
    driver = polar_h10.Driver()
    driver.open()
    assert not driver.feed(bytes.fromhex(value), polar_h10.DATA).events
    assert driver.counters.frames == 0


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


@needs_dbus_daemon
async def test_over_the_air_ecg_heart_rate_and_battery(bench: Bench) -> None:
    twin = PolarH10Twin(SynthesisedEcg(seed=7))
    await bench.put(PolarH10Strap(bench.meters.radio, bench.hub.clock, twin, "F0:F1:F2:00:0C:02"))
    bench.attach("strap-1", driver="polar_h10")
    await bench.until(lambda: len(bench.events("strap-1", Samples)) >= 3)
    await bench.until(lambda: bench.events("strap-1", HeartRate))
    await bench.until(lambda: any(state.battery_percent == 90 for state in bench.states("strap-1")))
    counts = np.concatenate([samples.counts for samples in bench.events("strap-1", Samples)])
    assert np.array_equal(counts, twin.sent(twin.samples_sent)[: len(counts)])
    assert bench.link("strap-1") is Link.CONNECTED
    assert twin.streaming
