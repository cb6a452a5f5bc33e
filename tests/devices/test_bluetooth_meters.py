"""Simulated meters -> virtual BlueZ -> bleak, unmodified -> hub -> session -> readings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bluetooth_bench import Bench, all_values, bluetooth_bench, happens, needs_dbus_daemon, open_descriptors

from devices.driver import GattUse
from devices.drivers import bluetooth_blood_pressure, bluetooth_glucose
from devices.links.bluetooth_limits import Limits
from devices.readings import Link
from devices.simulators.bluetooth_meters import GLUCOSE_ADDRESS

pytestmark = needs_dbus_daemon

GLUCOSE_LINE = bluetooth_glucose.Driver.about.line
CUFF_LINE = bluetooth_blood_pressure.Driver.about.line


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


async def fill(bench: Bench, count: int) -> None:
    for index in range(count):
        await bench.meters.glucose_meter.measure(4.0 + index / 10, meal=3 if index % 2 else None, switched_on=False)


async def test_stored_records_arrive_in_order_and_once(bench: Bench) -> None:
    await fill(bench, 20)
    bench.attach("glucose-1")
    await bench.until(lambda: len(bench.glucose()) == 20)
    readings = bench.glucose()
    assert [reading.sequence for reading in readings] == list(range(1, 21))
    assert [reading.glucose_mmol_l for reading in readings] == [round(4.0 + index / 10, 1) for index in range(20)]
    assert [reading.meal for reading in readings] == [None, "fasting"] * 10
    assert bench.states("glucose-1")[-1].battery_percent == 82
    assert bench.meters.glucose_meter.requests == [b"\x01\x01"]


async def test_only_records_after_the_last_stored_one_are_asked_for(bench: Bench) -> None:
    await fill(bench, 20)
    bench.last_sequence = 15
    bench.attach("glucose-1")
    await bench.until(lambda: len(bench.glucose()) == 5)
    assert [reading.sequence for reading in bench.glucose()] == [16, 17, 18, 19, 20]
    assert bench.meters.glucose_meter.requests == [b"\x01\x03\x01\x10\x00"]


async def test_after_a_drop_the_rest_comes_without_double_or_loss(bench: Bench) -> None:
    await fill(bench, 20)
    bench.meters.glucose_meter.drop_after = 7
    bench.attach("glucose-1")
    await bench.until(lambda: bench.glucose())
    await bench.meters.glucose_meter.hung_up.wait()
    await bench.until(lambda: bench.link("glucose-1") is Link.ABSENT)
    stored = bench.last_sequence = bench.glucose()[-1].sequence
    await bench.until(lambda: len(bench.glucose()) == 20)
    assert [reading.sequence for reading in bench.glucose()] == list(range(1, 21))
    assert stored is not None
    assert bench.meters.glucose_meter.requests[1] == b"\x01\x03\x01" + (stored + 1).to_bytes(2, "little")


async def test_without_knowledge_of_what_is_stored_each_record_still_comes_once(bench: Bench) -> None:
    await fill(bench, 12)
    bench.meters.glucose_meter.drop_after = 5
    bench.attach("glucose-1")
    await bench.until(lambda: len(bench.glucose()) == 12)
    assert [reading.sequence for reading in bench.glucose()] == list(range(1, 13))


async def test_a_meter_that_counts_anew_is_read_from_the_beginning(bench: Bench) -> None:
    await fill(bench, 3)
    bench.last_sequence = 500
    bench.attach("glucose-1")
    await bench.until(lambda: len(bench.glucose()) == 3)
    assert bench.meters.glucose_meter.requests == [b"\x01\x03\x01\xf5\x01", b"\x01\x06", b"\x01\x01"]


async def test_a_new_measurement_is_fetched_while_the_meter_is_attached(bench: Bench) -> None:
    bench.attach("glucose-1")
    await bench.until(lambda: bench.link("glucose-1") is Link.CONNECTED)
    await bench.meters.glucose(6.4)
    await bench.until(lambda: bench.glucose())
    assert bench.glucose()[0].glucose_mmol_l == 6.4
    assert bench.glucose()[0].sequence == 1


async def test_cuff_indicates_and_hangs_up(bench: Bench) -> None:
    bench.attach("cuff-1")
    await bench.meters.blood_pressure(162, 98, 76)
    await bench.until(lambda: bench.pressures())
    await bench.until(lambda: bench.link("cuff-1") is Link.ABSENT)
    await bench.meters.blood_pressure(148, 92, 71)
    await bench.until(lambda: len(bench.pressures()) == 2)
    first, second = bench.pressures()
    assert (first.systolic_mmhg, first.diastolic_mmhg, first.pulse_bpm) == (162, 98, 76)
    assert (second.systolic_mmhg, second.diastolic_mmhg, second.pulse_bpm) == (148, 92, 71)
    assert first.irregular_pulse is False
    assert first.device_said_at is not None


async def test_cuff_that_drops_at_once_loses_nothing(bench: Bench) -> None:
    bench.meters.cuff.hold_s = 0.0
    await bench.meters.unplug("blood_pressure")
    for systolic_mmhg in (151, 152, 153):
        await bench.meters.blood_pressure(systolic_mmhg, 90, 70)
    bench.attach("cuff-1")
    await bench.meters.plug("blood_pressure")
    await bench.until(lambda: len(bench.pressures()) == 3)
    assert [reading.systolic_mmhg for reading in bench.pressures()] == [151, 152, 153]


async def test_unplugged_and_plugged_again_the_meter_is_back(bench: Bench) -> None:
    bench.attach("glucose-1")
    await bench.until(lambda: bench.link("glucose-1") is Link.CONNECTED)
    await bench.meters.unplug("glucose")
    await bench.until(lambda: bench.link("glucose-1") is Link.ABSENT)
    await bench.meters.glucose(5.5)
    await bench.meters.plug("glucose")
    await bench.until(lambda: bench.glucose())
    assert [reading.glucose_mmol_l for reading in bench.glucose()] == [5.5]


async def test_two_sessions_never_share_one_device(bench: Bench) -> None:
    await fill(bench, 5)
    bench.attach("glucose-1", "glucose-2")
    await bench.until(lambda: len(bench.glucose("glucose-1") + bench.glucose("glucose-2")) == 5)
    assert {bench.link("glucose-1"), bench.link("glucose-2")} == {Link.CONNECTED, Link.ABSENT}
    assert bench.meters.glucose_meter.connections == 1


async def test_another_address_is_left_alone(bench: Bench) -> None:
    await fill(bench, 1)
    bench.attach("glucose-9", address="AA:BB:CC:DD:EE:FF")
    bench.attach("glucose-1", address=GLUCOSE_ADDRESS.lower())
    await bench.until(lambda: bench.glucose())
    assert bench.link("glucose-9") is Link.ABSENT


async def test_meter_and_cuff_at_the_same_moment(bench: Bench) -> None:
    await fill(bench, 10)
    bench.attach("glucose-1", "cuff-1")
    await bench.meters.blood_pressure(131, 84, 66)
    await bench.until(lambda: len(bench.glucose()) == 10 and bench.pressures())
    assert [reading.sequence for reading in bench.glucose()] == list(range(1, 11))


async def test_fifty_drops_leak_no_descriptor_and_double_no_value(bench: Bench) -> None:
    link = bench.hub.link("cuff-1")
    assert isinstance(CUFF_LINE, GattUse)

    async def measured_once(systolic_mmhg: int) -> list[bytes]:
        await bench.meters.blood_pressure(systolic_mmhg, 60, 60)
        await link.open(CUFF_LINE)
        values = await all_values(link)
        await link.close()
        return [value for value in values if len(value) > 1]

    bench.meters.cuff.hold_s = 0.0
    await measured_once(100)
    before = open_descriptors()
    for drop in range(50):
        values = await measured_once(101 + drop)
        assert [value[1] for value in values] == [101 + drop]
    await happens(lambda: open_descriptors() <= before)


async def test_a_device_that_says_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bluetooth_bench(tmp_path, monkeypatch, limits=Limits(idle_s=0.2)) as bench:
        link = bench.hub.link("glucose-1")
        await link.open(GLUCOSE_LINE)
        await all_values(link)
        await link.close()
        await bench.meters.glucose_meter.hung_up.wait()
