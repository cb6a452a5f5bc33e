"""What the drivers of oximeter, thermometer, scale and strap promise beside decoding; and what all profiles share."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices import catalog, nomenclature
from devices.driver import GattUse, Output
from devices.drivers import bluetooth_blood_pressure as cuff
from devices.drivers import bluetooth_glucose as meter
from devices.drivers import bluetooth_heart_rate as strap
from devices.drivers import bluetooth_pulse_oximeter as oximeter
from devices.drivers import bluetooth_scale as scale
from devices.drivers import bluetooth_thermometer as thermometer
from devices.identity import identity_of
from devices.readings import DeviceClock, DeviceState, HeartRate, PulseOximetry, Sensor, Temperature, Weight
from devices.sig import Fields, Special, Truncated, date_time, to_float32, to_sfloat

SHOWN = datetime(2026, 11, 21, 8, 30)  # noqa: DTZ001  a device's clock has no zone
AT = date_time(SHOWN)
NAN = b"\xff\x07"

Kind = TypeVar("Kind")


def told(kind: type[Kind], *outputs: Output) -> list[Kind]:
    return [event for output in outputs for event in output.events if isinstance(event, kind)]


def ticks(driver: Any, seconds: float) -> Output:
    """As a session ticks, ten times a second."""
    output = Output()
    for _ in range(round(seconds * 10)):
        step = driver.tick(0.1)
        output.events += step.events
        output.writes += step.writes
    return output


def plx(spo2: int, pulse: int, status: int = 0, sensor: int = 0) -> bytes:
    numbers = to_sfloat(spo2, 0) + to_sfloat(pulse, 0)
    return b"\x0c" + numbers + struct.pack("<H", status) + sensor.to_bytes(3, "little")


# what they share


@pytest.mark.parametrize(
    "driver_id",
    [
        "bluetooth_blood_pressure",
        "bluetooth_glucose",
        "bluetooth_heart_rate",
        "bluetooth_pulse_oximeter",
        "bluetooth_scale",
        "bluetooth_thermometer",
    ],
)
def test_battery_identity_and_clock_are_told_by_every_profile(driver_id: str) -> None:
    driver = catalog.driver(driver_id)()
    driver.open()
    assert told(DeviceState, driver.feed(b"\x52", "2A19"))[-1].battery_percent == 82
    assert told(DeviceState, driver.feed(b"\x65", "2A19")) == []
    for channel, text in (("2A29", b"A&D Medical\0"), ("2A24", b"UA-651BLE"), ("2A25", b"5\xc3\xa4"), ("2A26", b"1.0")):
        driver.feed(text, channel)
    identity = identity_of(driver)
    assert identity is not None
    assert identity.told() == {"vendor": "A&D Medical", "model": "UA-651BLE", "serial": "5ä", "firmware": "1.0"}
    for channel, value in (("2A08", AT), ("2A2B", AT + b"\x06\x00\x00")):
        assert told(DeviceClock, driver.feed(value, channel)) == [DeviceClock("2026-11-21T08:30:00")]
    assert told(DeviceClock, driver.feed(bytes(7), "2A08")) == []
    driver.open()
    assert identity_of(driver) is None
    assert all(isinstance(line, GattUse) for line in driver.about.lines(GattUse))


def test_a_clock_is_set_only_where_it_may_be_and_only_when_it_is_wrong() -> None:
    for driver in (cuff.Driver(), scale.Driver(), thermometer.Driver()):
        driver.open()
        driver.feed(date_time(SHOWN.replace(year=2020)), "2A08")
        assert ticks(driver, 3).writes == []
        driver.clock_to_set = SHOWN
        driver.open()
        driver.feed(date_time(SHOWN.replace(minute=31)), "2A08")
        assert ticks(driver, 3).writes == []
        driver.open()
        driver.feed(date_time(SHOWN.replace(minute=33)), "2A08")
        assert ticks(driver, 0.5).writes == []
        (write,) = ticks(driver, 2).writes
        assert (write.channel, write.payload) == ("2A08", AT)
        assert write.payload.startswith(driver.allowed_writes)
        driver.open()
        driver.feed(bytes(7), "2A08")  # the battery was out: no date at all
        assert len(ticks(driver, 2).writes) == 1


@given(st.datetimes(min_value=datetime(1582, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59)))  # noqa: DTZ001
def test_date_time_there_and_back(shown: datetime) -> None:
    assert Fields(date_time(shown)).date_time() == shown.replace(microsecond=0)


@given(st.integers(-8388605, 8388605), st.integers(-20, 20))
def test_float_there_and_back(mantissa: int, exponent: int) -> None:
    assert Fields(to_float32(mantissa, exponent)).float32() == float(f"{mantissa}e{exponent}")


@pytest.mark.parametrize("mantissa", [8388606, 8388607, -8388606, -8388607, -8388608])
def test_a_special_float_is_never_written_by_accident(mantissa: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        to_float32(mantissa, 0)


def test_records_are_asked_for_only_after_what_was_told_is_durable() -> None:
    glucose = meter.Driver()
    assert [write.after_stored for write in glucose.open().writes] == [True]
    finger = oximeter.Driver()
    finger.open()
    assert [write.after_stored for write in finger.feed(b"\x04\x00", "2A60").writes] == [True]


def test_every_label_has_the_codes_of_the_table() -> None:
    known = {(row.name, row.mdc, row.loinc, row.ucum) for row in nomenclature.CODES}
    for driver_id in ("bluetooth_pulse_oximeter", "bluetooth_thermometer", "bluetooth_scale", "bluetooth_heart_rate"):
        for metric in catalog.about(driver_id).metrics:
            assert (metric.key, metric.mdc, metric.loinc, metric.ucum) in known
    with pytest.raises(KeyError):
        nomenclature.metrics("weight", "shoe_size")


# oximeter


def test_a_number_is_told_once_a_second_and_withdrawn_within_two_of_silence() -> None:
    driver = oximeter.Driver()
    driver.open()
    outputs = []
    for _ in range(8):
        outputs += [driver.feed(plx(97, 72)), ticks(driver, 0.5)]
    numbers = told(PulseOximetry, *outputs)
    assert [reading.spo2_percent for reading in numbers] == [97] * 4
    assert told(PulseOximetry, ticks(driver, 1.3)) == []
    assert told(PulseOximetry, ticks(driver, 0.4)) == [PulseOximetry(None, None)]
    assert told(PulseOximetry, ticks(driver, 10)) == []


@pytest.mark.parametrize(
    ("value", "sensor"),
    [
        (plx(97, 72, sensor=1 << 11), Sensor.OFF),
        (plx(97, 72, sensor=1 << 13), Sensor.OFF),
        (plx(97, 72, sensor=1 << 14), Sensor.ERROR),
        (plx(97, 72, status=1 << 15), Sensor.SEARCHING),
        (plx(97, 72, status=1 << 10), Sensor.SEARCHING),
        (b"\x00" + NAN + to_sfloat(72, 0), Sensor.SEARCHING),
        (b"\x00" + to_sfloat(0, 0) + to_sfloat(72, 0), Sensor.SEARCHING),
        (b"\x00" + to_sfloat(127, 0) + to_sfloat(72, 0), Sensor.SEARCHING),
    ],
    ids=["unconnected", "displaced", "malfunction", "invalid", "demonstration", "nan", "zero", "above-100"],
)
def test_what_is_no_saturation_takes_the_number_back_at_once(value: bytes, sensor: Sensor) -> None:
    driver = oximeter.Driver()
    driver.open()
    driver.feed(plx(97, 72))
    output = driver.feed(value)
    assert told(PulseOximetry, output) == [PulseOximetry(None, None)]
    assert told(DeviceState, output)[-1].sensor is sensor
    assert told(PulseOximetry, driver.feed(value), driver.close()) == []


def test_a_spot_check_without_a_set_clock_has_no_time_and_a_demonstration_is_nobodys() -> None:
    driver = oximeter.Driver()
    driver.open()
    (spot,) = told(PulseOximetry, driver.feed(b"\x11" + to_sfloat(95, 0) + to_sfloat(60, 0) + AT, "2A5E"))
    assert (spot.spo2_percent, spot.device_said_at, spot.final) == (95, None, True)
    shown = driver.feed(b"\x03" + to_sfloat(95, 0) + to_sfloat(60, 0) + AT + struct.pack("<H", 1 << 11), "2A5E")
    assert told(PulseOximetry, shown) == []
    assert told(DeviceState, shown)[-1].fault == "oximetry_not_measured"
    broken = b"\x04" + to_sfloat(95, 0) + to_sfloat(60, 0) + (1 << 14).to_bytes(3, "little")
    output = driver.feed(broken, "2A5E")
    assert told(PulseOximetry, output) == []
    assert told(DeviceState, output)[-1].vendor_text == "sensor malfunctioning"


def test_the_memory_is_asked_for_only_where_there_is_one_and_again_after_long_silence() -> None:
    driver = oximeter.Driver()
    driver.open()
    assert driver.feed(b"\x03\x00\x00\x00", "2A60").writes == []
    (write,) = driver.feed(b"\x04\x00", "2A60").writes
    assert (write.payload, write.channel) == (b"\x01\x01", "2A52")
    assert driver.feed(b"\x04\x00", "2A60").writes == []
    assert [again.payload for again in ticks(driver, 31).writes] == [b"\x01\x01"]
    driver.feed(bytes([6, 0, 1, 6]), "2A52")
    assert ticks(driver, 60).writes == []
    assert driver.close().writes == []


# thermometer


@pytest.mark.parametrize(
    ("value", "celsius"),
    [
        (b"\x00" + to_float32(3670, -2), 36.7),
        (b"\x01" + to_float32(986, -1), 37.0),
        (b"\x00" + to_float32(37, 0), 37.0),
    ],
    ids=["celsius", "fahrenheit", "whole"],
)
def test_temperatures_are_celsius(value: bytes, celsius: float) -> None:
    (reading,) = told(Temperature, thermometer.Driver().feed(value))
    assert (reading.temperature_c, reading.final) == (celsius, True)


@pytest.mark.parametrize("raw", [0x7FFFFF, 0x800000, 0x7FFFFE, 0x800002, 0x800001])
def test_a_temperature_that_is_none_is_never_a_number(raw: int) -> None:
    output = thermometer.Driver().feed(b"\x00" + raw.to_bytes(4, "little"))
    assert told(Temperature, output) == []
    assert told(DeviceState, output)[-1].fault == "temperature_not_measured"
    assert isinstance(thermometer.decode_measurement(b"\x01" + raw.to_bytes(4, "little")).temperature_c, Special)


def test_a_temperature_on_its_way_goes_with_the_thermometer() -> None:
    driver = thermometer.Driver()
    driver.open()
    driver.feed(b"\x00" + to_float32(365, -1), "2A1E")
    assert told(Temperature, driver.close()) == [Temperature(None, final=False)]
    assert told(Temperature, driver.close()) == []


# scale


def test_a_weight_waits_for_its_composition_and_not_for_ever() -> None:
    driver = scale.Driver()
    driver.open()
    weighed = b"\x02" + struct.pack("<H", 12270) + AT
    assert told(Weight, driver.feed(weighed)) == []
    (alone,) = told(Weight, ticks(driver, 1.6))
    assert (alone.weight_kg, alone.body_fat_percent) == (61.35, None)
    (late,) = told(Weight, driver.feed(struct.pack("<HH", 2, 314) + AT, "2A9C"))
    assert (late.weight_kg, late.body_fat_percent) == (61.35, 31.4)
    other_day = date_time(SHOWN.replace(day=20))
    assert told(Weight, driver.feed(struct.pack("<HH", 2, 200) + other_day, "2A9C")) == []
    driver.feed(weighed)
    assert [reading.weight_kg for reading in told(Weight, driver.close())] == [61.35]


def test_composition_alone_carries_its_own_weight_past_everything_between() -> None:
    flags = 0b1111_1111_1111
    value = struct.pack("<HH", flags & ~1, 275) + AT + b"\x07" + struct.pack("<9H", 1, 2, 3, 4, 5, 6, 7, 14000, 1725)
    (reading,) = told(Weight, scale.Driver().feed(value, "2A9C"))
    assert (reading.weight_kg, reading.height_cm, reading.body_fat_percent) == (70.0, 172.5, 27.5)
    with pytest.raises(Truncated):
        scale.decode_composition(value[:-1])


def test_a_scale_that_nobody_stands_on_and_shoes_on_its_electrodes_are_no_numbers() -> None:
    driver = scale.Driver()
    output = driver.feed(b"\x00\x00\x00")
    output.events += ticks(driver, 2.0).events
    assert told(Weight, output) == []
    assert told(DeviceState, output)[-1].fault == "weight_not_measured"
    (shod,) = told(Weight, driver.feed(struct.pack("<HHH", 1 << 10, 0, 14000), "2A9C"))
    assert (shod.weight_kg, shod.body_fat_percent) == (70.0, None)


# strap


def test_intervals_of_several_notifications_go_with_the_next_number() -> None:
    driver = strap.Driver()
    driver.open()
    outputs = []
    for interval in (800, 810, 820, 830):
        outputs += [driver.feed(struct.pack("<BBH", 0x16, 75, interval)), ticks(driver, 0.4)]
    first, second = told(HeartRate, *outputs)
    assert (first.rr_ms, second.rr_ms) == ((781,), (791, 801))


def test_a_strap_that_falls_silent_or_says_nought_is_taken_back() -> None:
    driver = strap.Driver()
    driver.open()
    driver.feed(b"\x00\x48")
    assert told(HeartRate, ticks(driver, 2.0)) == [HeartRate(None)]
    driver.feed(b"\x00\x48")
    assert told(HeartRate, driver.feed(b"\x00\x00")) == [HeartRate(None)]
    driver.feed(b"\x00\x48")
    assert told(HeartRate, driver.close()) == [HeartRate(None)]
