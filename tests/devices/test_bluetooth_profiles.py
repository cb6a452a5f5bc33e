"""Oximeter, thermometer, scale, strap, a cuff with a clock -> virtual BlueZ -> bleak -> hub -> session -> readings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from bluetooth_bench import Bench, bluetooth_bench, happens, needs_dbus_daemon

from devices.clock import SystemClock
from devices.links.bluetooth_limits import Limits
from devices.readings import (
    BloodPressure,
    DeviceClock,
    HeartRate,
    Link,
    PulseOximetry,
    Sensor,
    Temperature,
    Weight,
)
from devices.simulators.bluetooth_meters import BloodPressureCuff
from devices.simulators.bluetooth_profiles import HeartRateStrap, Oximeter, Scale, Thermometer

pytestmark = needs_dbus_daemon

CLOCK = SystemClock()


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


async def test_a_thermometer_tells_its_value_with_place_and_time_and_hangs_up(bench: Bench) -> None:
    thermometer = await bench.put(Thermometer(bench.meters.radio, CLOCK))
    bench.attach("ear-1", driver="bluetooth_thermometer")
    await thermometer.measure(36.7)
    shown = thermometer.clock.shown()
    await bench.until(lambda: bench.events("ear-1", Temperature))
    (told,) = bench.events("ear-1", Temperature)
    assert (told.temperature_c, told.final) == (36.7, True)
    assert told.device_said_at is not None
    assert abs(type(shown).fromisoformat(told.device_said_at) - shown) < timedelta(minutes=1)
    await bench.until(lambda: bench.link("ear-1") is Link.ABSENT)
    await thermometer.fail()
    await bench.until(lambda: bench.fault("ear-1") == "temperature_not_measured")
    assert len(bench.events("ear-1", Temperature)) == 1


async def test_a_scale_tells_weight_and_body_fat_as_one(bench: Bench) -> None:
    scale = await bench.put(Scale(bench.meters.radio, CLOCK, body_fat=True))
    scale.hold_s = 3.0
    bench.attach("scale-1", driver="bluetooth_scale")
    await scale.measure(61.35, 31.2)
    await bench.until(lambda: bench.events("scale-1", Weight))
    (told,) = bench.events("scale-1", Weight)
    assert (told.weight_kg, told.body_fat_percent) == (61.35, 31.2)


async def test_an_oximeter_is_live_withdraws_and_hands_out_its_memory(bench: Bench) -> None:
    oximeter = Oximeter(bench.meters.radio, CLOCK)
    oximeter.finger = (97, 72)
    oximeter.check(93, 88)
    await bench.put(oximeter)
    bench.attach("finger-1", driver="bluetooth_pulse_oximeter")

    def live(spo2: int | None) -> bool:
        return any(r.spo2_percent == spo2 and not r.final for r in bench.events("finger-1", PulseOximetry))

    await bench.until(lambda: live(97) and any(r.final for r in bench.events("finger-1", PulseOximetry)))
    stored = next(reading for reading in bench.events("finger-1", PulseOximetry) if reading.final)
    assert (stored.spo2_percent, stored.pulse_bpm) == (93, 88)
    assert oximeter.requests == [b"\x01\x01"]
    oximeter.finger = None
    await bench.until(lambda: live(None))
    assert bench.states("finger-1")[-1].sensor is Sensor.OFF
    assert bench.states("finger-1")[-1].battery_percent == 58
    (clock,) = bench.events("finger-1", DeviceClock)
    assert clock.device_said_at is not None


async def test_a_number_goes_with_the_oximeter(bench: Bench) -> None:
    oximeter = Oximeter(bench.meters.radio, CLOCK)
    oximeter.finger = (97, 72)
    await bench.put(oximeter)
    bench.attach("finger-1", driver="bluetooth_pulse_oximeter")
    await bench.until(lambda: bench.events("finger-1", PulseOximetry))
    await oximeter.switch_off()
    await bench.until(lambda: bench.events("finger-1", PulseOximetry)[-1].spo2_percent is None)
    await bench.until(lambda: bench.link("finger-1") is Link.ABSENT)


async def test_a_strap_tells_rate_and_intervals_and_that_it_was_taken_off(bench: Bench) -> None:
    strap = HeartRateStrap(bench.meters.radio, CLOCK)
    strap.heart_rate_bpm = 64
    await bench.put(strap)
    bench.attach("strap-1", driver="bluetooth_heart_rate")
    await bench.until(lambda: bench.events("strap-1", HeartRate))
    told = bench.events("strap-1", HeartRate)[0]
    assert (told.heart_rate_bpm, told.rr_ms, told.contact) == (64, (938,), True)
    strap.heart_rate_bpm = None
    await bench.until(lambda: bench.events("strap-1", HeartRate)[-1].heart_rate_bpm is None)
    await bench.until(lambda: bench.states("strap-1")[-1].sensor is Sensor.OFF)


async def test_a_cuff_that_went_through_a_flat_battery_gets_the_time_where_it_is_allowed(bench: Bench) -> None:
    """Only then; its results carry the right date from the next measurement on."""
    cuff = BloodPressureCuff(bench.meters.radio, CLOCK, address="F0:F1:F2:18:10:02", clock_off=timedelta(days=-400))
    cuff.hold_s = 5.0
    await bench.put(cuff)
    bench.attach("cuff-2", address=cuff.address, set_clock=True)
    await cuff.measure(128, 80, 72)
    await happens(lambda: cuff.clock.written)
    assert abs(cuff.clock.off) < timedelta(seconds=20)
    assert len(bench.events("cuff-2", DeviceClock)) == 1
    assert bench.pressures("cuff-2")[0].device_said_at is not None
    await bench.until(lambda: bench.link("cuff-2") is Link.ABSENT)
    await cuff.measure(126, 79, 70)
    await bench.until(lambda: len(bench.pressures("cuff-2")) == 2)
    assert len(cuff.clock.written) == 1


async def test_without_leave_a_wrong_clock_is_read_and_left_alone(bench: Bench) -> None:
    cuff = BloodPressureCuff(bench.meters.radio, CLOCK, address="F0:F1:F2:18:10:02", clock_off=timedelta(days=-400))
    cuff.hold_s = 2.0
    await bench.put(cuff)
    bench.attach("cuff-2", address=cuff.address)
    await cuff.measure(128, 80, 72)
    await bench.until(lambda: bench.events("cuff-2", DeviceClock) and bench.events("cuff-2", BloodPressure))
    await bench.until(lambda: bench.link("cuff-2") is Link.ABSENT)
    assert cuff.clock.written == []


@pytest.mark.parametrize("limits", [Limits(settle_s=0.1, retry_first_s=0.05, idle_s=1.0)], ids=["idle-1s"])
async def test_five_kinds_of_device_share_the_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    async with bluetooth_bench(tmp_path, monkeypatch, limits=limits) as bench:
        strap = HeartRateStrap(bench.meters.radio, CLOCK)
        strap.heart_rate_bpm = 64
        oximeter = Oximeter(bench.meters.radio, CLOCK)
        oximeter.finger = (97, 72)
        thermometer, scale = Thermometer(bench.meters.radio, CLOCK), Scale(bench.meters.radio, CLOCK)
        for device in (strap, oximeter, thermometer, scale):
            await bench.put(device)
        bench.attach("strap-1", driver="bluetooth_heart_rate")
        bench.attach("finger-1", driver="bluetooth_pulse_oximeter")
        bench.attach("ear-1", driver="bluetooth_thermometer")
        bench.attach("scale-1", driver="bluetooth_scale")
        bench.attach("cuff-1")
        await thermometer.measure(36.7)
        await scale.measure(61.35)
        await bench.meters.cuff.measure(128, 80, 72)
        await bench.until(lambda: bench.events("strap-1", HeartRate) and bench.events("finger-1", PulseOximetry))
        await bench.until(lambda: bench.events("ear-1", Temperature) and bench.events("scale-1", Weight))
        await bench.until(lambda: bench.pressures("cuff-1"))
