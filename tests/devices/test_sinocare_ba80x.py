"""Sinocare BA-80x: frames without a fixed head, a result that waits for its date, and the way over Bluetooth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
from bluetooth_bench import Bench, bluetooth_bench, needs_dbus_daemon

from devices.driver import GattUse
from devices.drivers import sinocare_ba80x as wire
from devices.readings import BloodPressure, CuffPressure, DeviceState, Event, Sensor
from devices.simulators.sinocare_ba80x import Ba80xTwin, frame_of
from devices.simulators.stream_peripheral import StreamPeripheral

SHOWN = datetime(2026, 11, 22, 8, 30)  # noqa: DTZ001  a device's clock has no zone


def opened() -> wire.Driver:
    driver = wire.Driver()
    driver.open()
    return driver


def told(*frames: bytes, ticks: int = 0) -> list[Event]:
    driver = opened()
    events = [event for frame in frames for event in driver.feed(frame).events]
    return events + [event for _ in range(ticks) for event in driver.tick(0.1).events]


def pressures(events: list[Event]) -> list[BloodPressure]:
    return [event for event in events if isinstance(event, BloodPressure)]


RESULT = frame_of(wire.RESULT, bytes((0, 142, 88, 76)))


def test_the_published_commands_have_the_sum_of_this_framing() -> None:
    """Of the vendor's app and of another cuff with the same module."""
    for command in ("04B0A054", "04B0A155", "0455AA03", "04A3A047", "05553AA337"):
        frame = bytes.fromhex(command)
        assert frame[0] == len(frame)
        assert sum(frame[:-1]) & 0xFF == frame[-1]


def test_a_result_takes_its_date_and_time_along() -> None:
    date, time = frame_of(wire.DATE, bytes((26, 11, 22))), frame_of(wire.TIME, bytes((8, 30)))
    expected = [BloodPressure(142, 88, pulse_bpm=76, device_said_at="2026-11-22T08:30:00")]
    assert pressures(told(RESULT, date, time)) == expected


@pytest.mark.parametrize("rest", [b"", frame_of(wire.DATE, bytes((26, 13, 22))) + frame_of(wire.TIME, bytes((8, 30)))])
def test_without_a_date_it_is_told_all_the_same(rest: bytes) -> None:
    assert pressures(told(RESULT, rest, ticks=16)) == [BloodPressure(142, 88, pulse_bpm=76)]


def test_the_next_result_and_the_end_of_the_connection_let_it_go() -> None:
    driver = opened()
    events = driver.feed(RESULT + RESULT).events
    assert len(pressures(events)) == 1
    assert len(pressures(driver.close().events)) == 1


def test_failures_have_names_and_are_no_numbers() -> None:
    for frame, fault, text in (
        (frame_of(wire.FAILED, b"\x05"), "blood_pressure_not_measured", "B9, code 5"),
        (frame_of(wire.BATTERY_LOW), "device_battery_low", "BB"),
        (frame_of(wire.RESULT, bytes(4)), "blood_pressure_not_measured", "B8 without a value"),
    ):
        events = told(frame, ticks=20)
        assert not pressures(events)
        state = [event for event in events if isinstance(event, DeviceState)][-1]
        assert (state.sensor, state.fault, state.vendor_text) == (Sensor.ERROR, fault, text)
        again = told(frame, frame_of(wire.STARTS))
        assert [event.fault for event in again if isinstance(event, DeviceState)] == [fault, None]


@pytest.mark.parametrize("end", [frame_of(wire.STOPPED), frame_of(wire.FAILED, b"\x01"), RESULT, b""])
def test_the_pressure_on_the_way_ends_with_the_measurement_or_with_silence(end: bytes) -> None:
    events = told(frame_of(wire.ON_THE_WAY, bytes((0, 150, 0, 0))), end, ticks=0 if end else 51)
    assert [event for event in events if isinstance(event, CuffPressure)] == [CuffPressure(150), CuffPressure(None)]


def test_frames_of_the_ear_thermometer_with_the_same_name_are_not_read() -> None:
    body = bytes((8, 0x3A, 0xB8, 0, 120, 80, 70))
    driver = opened()
    events = driver.feed(body + bytes((sum(body) & 0xFF,))).events
    events += [event for _ in range(20) for event in driver.tick(0.1).events]
    assert (events, driver.counters.frames) == ([], 0)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


@needs_dbus_daemon
async def test_a_measurement_over_bluetooth(bench: Bench) -> None:
    twin = Ba80xTwin()
    (use,) = wire.Driver.about.lines(GattUse)
    address = "F0:F1:F2:FC:00:01"
    device = StreamPeripheral(bench.meters.radio, bench.hub.clock, twin, "ClinkBlood", address, use)
    device.cut_at = 5
    twin.measure(151, 93, 71, SHOWN)
    bench.attach("cuff-9", driver="sinocare_ba80x")
    await bench.put(device)
    await bench.until(lambda: bench.pressures())
    assert bench.pressures() == [BloodPressure(151, 93, pulse_bpm=71, device_said_at="2026-11-22T08:30:00")]
    assert [said.cuff_mmhg for said in bench.events("cuff-9", CuffPressure)][-1] is None
    assert twin.heard == wire.WE_ARE_HERE
