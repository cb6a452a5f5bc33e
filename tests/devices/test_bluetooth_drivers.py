"""What the drivers of cuffs and glucose meters promise beside decoding: special values, requests, resuming, silence."""

from __future__ import annotations

import struct
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import sig_records as racp
from devices.driver import Output
from devices.drivers import bluetooth_blood_pressure as cuff
from devices.drivers import bluetooth_glucose as meter
from devices.readings import BloodPressure, DeviceState, Glucose, GlucoseRange, Sensor
from devices.sig import Fields, Special, float32, said_at, sfloat, to_sfloat

AT = struct.pack("<HBBBBB", 2026, 11, 21, 8, 30, 0)
NAN, PLUS_INFINITY, MINUS_INFINITY = b"\xff\x07", b"\xfe\x07", b"\x02\x08"
DONE = bytes([6, 0, 1, racp.SUCCESS])


def record(
    sequence: int,
    value: bytes = to_sfloat(640, -5),
    unit: int = 0x04,
    status: int | None = None,
    meal: bool = False,
    kind: int = 0x11,
) -> bytes:
    flags = 0x02 | unit | (0x08 if status is not None else 0) | (0x10 if meal else 0)
    tail = b"" if status is None else struct.pack("<H", status)
    return struct.pack("<BH", flags, sequence) + AT + value + bytes([kind]) + tail


def readings(*outputs: Output) -> list[Glucose | BloodPressure]:
    return [event for output in outputs for event in output.events if isinstance(event, Glucose | BloodPressure)]


def states(*outputs: Output) -> list[DeviceState]:
    return [event for output in outputs for event in output.events if isinstance(event, DeviceState)]


def sent(*outputs: Output) -> list[bytes]:
    return [write.payload for output in outputs for write in output.writes]


# numbers


@given(st.integers(-2045, 2045), st.integers(-8, 7))
def test_sfloat_there_and_back(mantissa: int, exponent: int) -> None:
    assert Fields(to_sfloat(mantissa, exponent)).sfloat() == float(f"{mantissa}e{exponent}")


@pytest.mark.parametrize("mantissa", [2046, 2047, -2046, -2047, -2048])
def test_a_special_value_is_never_written_by_accident(mantissa: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        to_sfloat(mantissa, 0)


@given(st.integers(0, 0xFFFF))
def test_every_sfloat_is_a_finite_number_or_special(raw: int) -> None:
    value = sfloat(raw)
    assert isinstance(value, Special) == (0x7FE <= raw & 0xFFF <= 0x802)


@pytest.mark.parametrize(("raw", "value"), [(0xFF000173, 37.1), (0x00800000, Special.NRES), (0x007FFFFF, Special.NAN)])
def test_float32(raw: int, value: float | Special) -> None:
    assert float32(raw) == value


@pytest.mark.parametrize(
    "parts", [(0, 11, 21, 8, 30, 0), (2026, 0, 21, 8, 30, 0), (2026, 2, 29, 8, 30, 0), (2026, 11, 21, 24, 0, 0)]
)
def test_a_date_that_is_not_known_is_none(parts: tuple[int, ...]) -> None:
    assert Fields(struct.pack("<HBBBBB", *parts)).date_time() is None


def test_said_at_stays_in_the_calendar() -> None:
    assert said_at(datetime(9999, 12, 31, 23, 59), 5) is None  # noqa: DTZ001


# glucose meter


def test_kilogram_per_litre_becomes_millimol() -> None:
    reading = readings(meter.Driver().feed(record(1, to_sfloat(105, -5), unit=0), "2A18"))[0]
    assert isinstance(reading, Glucose)
    assert reading.glucose_mmol_l == pytest.approx(5.828)
    assert reading.sample_type == "capillary_whole_blood"
    assert reading.device_said_at == "2026-11-21T08:30:00"


def test_time_offset_moves_the_shown_time() -> None:
    value = struct.pack("<BH", 0x07, 9) + AT + struct.pack("<h", -90) + to_sfloat(640, -5) + b"\x11"
    assert readings(meter.Driver().feed(value))[0].device_said_at == "2026-11-21T07:00:00"


@pytest.mark.parametrize("offset_min", [0x7FFF, -0x8000])
def test_a_time_offset_beyond_its_field_says_no_time(offset_min: int) -> None:
    value = struct.pack("<BH", 0x07, 9) + AT + struct.pack("<h", offset_min) + to_sfloat(640, -5) + b"\x11"
    assert readings(meter.Driver().feed(value))[0].device_said_at is None


@pytest.mark.parametrize(
    ("value", "status", "where"),
    [
        (PLUS_INFINITY, None, GlucoseRange.HIGH),
        (MINUS_INFINITY, None, GlucoseRange.LOW),
        (to_sfloat(2000, -5), meter.RESULT_TOO_HIGH, GlucoseRange.HIGH),
        (to_sfloat(60, -5), meter.RESULT_TOO_LOW, GlucoseRange.LOW),
    ],
)
def test_hi_and_lo_are_no_numbers(value: bytes, status: int | None, where: GlucoseRange) -> None:
    reading = readings(meter.Driver().feed(record(1, value, status=status)))[0]
    assert isinstance(reading, Glucose)
    assert reading.glucose_mmol_l is None
    assert reading.range is where


@pytest.mark.parametrize(
    ("value", "status", "kind", "words"),
    [
        (NAN, None, 0x11, "no concentration"),
        (to_sfloat(0, -5), None, 0x11, "no concentration"),
        (to_sfloat(640, -5), 1 << 2, 0x11, "sample size insufficient"),
        (to_sfloat(640, -5), 1 << 1 | 1 << 10, 0x11, "sensor malfunction, general fault"),
        (to_sfloat(640, -5), None, 0xFA, "control solution"),
    ],
)
def test_what_is_no_measurement_of_a_person_is_state_and_not_a_reading(
    value: bytes, status: int | None, kind: int, words: str
) -> None:
    output = meter.Driver().feed(record(7, value, status=status, kind=kind))
    assert readings(output) == []
    state = states(output)[0]
    assert (state.sensor, state.fault) == (Sensor.ERROR, "glucose_not_measured")
    assert state.vendor_text == f"record 7: {words}"


def test_low_battery_of_the_meter_does_not_spoil_its_result() -> None:
    assert len(readings(meter.Driver().feed(record(1, status=meter.BATTERY_LOW)))) == 1


def test_the_meal_comes_with_its_measurement() -> None:
    driver = meter.Driver()
    assert readings(driver.feed(record(4, meal=True), "2A18")) == []
    reading = readings(driver.feed(struct.pack("<BHB", 0x02, 4, 3), "2A34"))[0]
    assert isinstance(reading, Glucose)
    assert reading.meal == "fasting"


def test_a_context_with_all_fields_before_the_meal() -> None:
    driver = meter.Driver()
    driver.feed(record(4, meal=True), "2A18")
    everything = struct.pack("<BHB", 0xFF, 4, 0) + b"\x01\x00\x00" + b"\x02" + b"\x11" + b"\x00" * 6 + b"\x00\x00"
    reading = readings(driver.feed(everything, "2A34"))[0]
    assert isinstance(reading, Glucose)
    assert reading.meal == "postprandial"


@pytest.mark.parametrize(
    "next_thing", ["another record", "the response", "a second of silence", "the end", "reopening"]
)
def test_a_measurement_whose_context_never_comes_is_not_lost(next_thing: str) -> None:
    driver = meter.Driver()
    driver.open()
    driver.feed(record(4, meal=True), "2A18")
    output = {
        "another record": lambda: driver.feed(record(5), "2A18"),
        "the response": lambda: driver.feed(DONE, "2A52"),
        "a second of silence": lambda: driver.tick(1.0),
        "the end": driver.close,
        "reopening": driver.open,
    }[next_thing]()
    told = [reading.sequence for reading in readings(output) if isinstance(reading, Glucose)]
    assert told == ([4, 5] if next_thing == "another record" else [4])


@pytest.mark.parametrize(
    ("last_sequence", "request_bytes"),
    [(None, "0101"), (0, "0103010100"), (41, "0103012a00"), (0xFFFE, "010301ffff"), (0xFFFF, "0106")],
)
def test_what_is_asked_at_opening(last_sequence: int | None, request_bytes: str) -> None:
    driver = meter.Driver()
    driver.last_sequence = last_sequence
    assert sent(driver.open()) == [bytes.fromhex(request_bytes)]


def test_a_meter_that_cannot_filter_is_asked_for_all_and_old_records_stay_out() -> None:
    driver = meter.Driver()
    driver.last_sequence = 2
    driver.open()
    assert sent(driver.feed(bytes([6, 0, 1, 4]), "2A52")) == [racp.ALL_RECORDS]
    told = readings(*(driver.feed(record(sequence), "2A18") for sequence in (1, 2, 3)))
    assert [reading.sequence for reading in told if isinstance(reading, Glucose)] == [3]


@pytest.mark.parametrize("stored", [500, 0xFFFF])
@pytest.mark.parametrize("refuses", [racp.RECORDS_FROM, None])
def test_a_meter_that_counts_anew_tells_all_its_records_once(stored: int, refuses: bytes | None) -> None:
    """Cleared, exchanged, or past 65535; also one that cannot filter."""
    driver, told = meter.Driver(), []
    driver.last_sequence = stored
    asked = sent(driver.open())
    for _ in range(4):
        request, asked = asked[-1:], []
        if request == [racp.ALL_RECORDS] or request == [racp.LAST_RECORD]:
            for sequence in (1, 2, 3) if request == [racp.ALL_RECORDS] else (3,):
                told += readings(driver.feed(record(sequence), "2A18"))
            asked = sent(driver.feed(DONE, "2A52"))
        elif request:
            code = racp.NO_RECORDS if refuses is None else racp.UNSUPPORTED[0]
            asked = sent(driver.feed(bytes([6, 0, 1, code]), "2A52"))
    assert asked == []
    assert sorted(reading.sequence or 0 for reading in told if isinstance(reading, Glucose)) == [1, 2, 3]


def test_no_records_and_an_old_last_one_is_the_end() -> None:
    driver = meter.Driver()
    driver.last_sequence = 3
    driver.open()
    assert sent(driver.feed(bytes([6, 0, 1, racp.NO_RECORDS]), "2A52")) == [racp.LAST_RECORD]
    assert readings(driver.feed(record(3), "2A18")) == []
    assert sent(driver.feed(DONE, "2A52"), driver.close()) == []


def test_procedure_not_completed_is_asked_again_after_a_pause() -> None:
    driver = meter.Driver()
    driver.open()
    assert sent(driver.feed(bytes([6, 0, 1, racp.NOT_COMPLETED]), "2A52"), driver.tick(1.0)) == []
    assert sent(driver.tick(1.0)) == [racp.ALL_RECORDS]


def test_silence_within_a_procedure_is_asked_again_after_the_profile_s_limit() -> None:
    driver = meter.Driver()
    driver.open()
    assert sent(driver.tick(29.0)) == []
    driver.feed(record(1), "2A18")
    assert sent(driver.tick(29.0)) == []
    assert sent(driver.tick(1.0)) == [racp.ALL_RECORDS]


def test_closing_within_a_procedure_aborts_it() -> None:
    driver = meter.Driver()
    driver.open()
    assert sent(driver.close()) == [racp.ABORT]
    assert sent(driver.close()) == []


def test_a_record_comes_once_however_often_it_is_sent() -> None:
    driver = meter.Driver()
    told: list[Glucose | BloodPressure] = []
    for _ in range(3):
        told += readings(driver.open(), driver.feed(record(1)), driver.feed(record(1)), driver.close())
    assert len(told) == 1


def test_a_record_that_was_told_but_never_stored_comes_again() -> None:
    driver = meter.Driver()
    driver.last_sequence = 0
    told = []
    for _ in range(3):
        told.append(len(readings(driver.open(), driver.feed(record(1)), driver.close())))
    assert told == [1, 0, 1]


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("feed"), st.binary(max_size=24), st.sampled_from(["2A18", "2A34", "2A52", "2A19", "", "X"])
            ),
            st.tuples(st.just("response"), st.integers(0, 255), st.integers(0, 255)),
            st.tuples(st.just("tick"), st.floats(0, 40)),
            st.tuples(st.just("open"), st.one_of(st.none(), st.integers(0, 0xFFFF))),
            st.tuples(st.just("close")),
        ),
        max_size=30,
    )
)
def test_whatever_happens_it_never_raises_and_can_never_delete(steps: list[tuple[object, ...]]) -> None:
    driver = meter.Driver()
    for name, *facts in steps:
        if name == "feed":
            output = driver.feed(*facts)  # type: ignore[arg-type]
        elif name == "response":
            output = driver.feed(bytes([6, 0, *facts]), "2A52")  # type: ignore[list-item]
        elif name == "tick":
            output = driver.tick(*facts)  # type: ignore[arg-type]
        elif name == "open":
            driver.last_sequence = facts[0]  # type: ignore[assignment]
            output = driver.open()
        else:
            output = driver.close()
        for write in output.writes:
            assert write.payload[0] != 2
            assert write.payload.startswith(driver.allowed_writes)
            assert write.channel == "2A52"


# cuff


def pressure(flags: int, systolic: bytes, diastolic: bytes, mean: bytes = to_sfloat(93, 0), tail: bytes = b"") -> bytes:
    return bytes([flags]) + systolic + diastolic + mean + tail


def test_kilopascal_become_mmhg() -> None:
    value = pressure(0x01, to_sfloat(160, -1), to_sfloat(107, -1), to_sfloat(125, -1))
    reading = readings(cuff.Driver().feed(value, "2A35"))[0]
    assert isinstance(reading, BloodPressure)
    assert (reading.systolic_mmhg, reading.diastolic_mmhg, reading.mean_mmhg) == (120.0, 80.3, 93.8)


def test_all_fields_of_a_cuff() -> None:
    tail = AT + to_sfloat(71, 0) + b"\x02" + struct.pack("<H", cuff.IRREGULAR_PULSE | cuff.CUFF_TOO_LOOSE)
    reading = readings(cuff.Driver().feed(pressure(0x1E, to_sfloat(128, 0), to_sfloat(82, 0), tail=tail)))[0]
    assert reading == BloodPressure(
        systolic_mmhg=128.0,
        diastolic_mmhg=82.0,
        mean_mmhg=93.0,
        pulse_bpm=71.0,
        irregular_pulse=True,
        body_movement=False,
        cuff_too_loose=True,
        device_said_at="2026-11-21T08:30:00",
    )


def test_what_the_cuff_does_not_say_is_none() -> None:
    reading = readings(cuff.Driver().feed(pressure(0x04, to_sfloat(128, 0), to_sfloat(82, 0), NAN, NAN)))[0]
    assert isinstance(reading, BloodPressure)
    assert reading.mean_mmhg is None
    assert reading.pulse_bpm is None
    assert reading.irregular_pulse is None
    assert reading.device_said_at is None


def test_nought_is_how_simple_cuffs_say_none() -> None:
    nought = to_sfloat(0, 0)
    (reading,) = readings(cuff.Driver().feed(pressure(0x04, to_sfloat(128, 0), to_sfloat(82, 0), nought, nought)))
    assert reading == BloodPressure(systolic_mmhg=128.0, diastolic_mmhg=82.0)
    for systolic, diastolic in ((0, 0), (128, 0), (0, 82)):
        output = cuff.Driver().feed(pressure(0x00, to_sfloat(systolic, 0), to_sfloat(diastolic, 0)))
        assert readings(output) == []
        assert states(output)[0].fault == "blood_pressure_not_measured"


def test_a_failed_measurement_is_told_with_its_cause() -> None:
    driver = cuff.Driver()
    driver.feed(b"\x37", "2A19")
    output = driver.feed(pressure(0x10, NAN, NAN, NAN, struct.pack("<H", cuff.CUFF_TOO_LOOSE)), "2A35")
    assert readings(output) == []
    state = states(output)[0]
    assert (state.sensor, state.fault) == (Sensor.ERROR, "blood_pressure_not_measured")
    assert (state.vendor_text, state.battery_percent) == ("cuff too loose", 55)
    better = states(driver.feed(pressure(0x00, to_sfloat(128, 0), to_sfloat(82, 0)), "2A35"))[0]
    assert (better.sensor, better.fault, better.vendor_text) == (Sensor.OK, None, None)


def test_a_failed_measurement_of_the_last_connection_is_not_told_again() -> None:
    failing = cuff.Driver()
    failing.feed(pressure(0x00, NAN, NAN), "2A35")
    control = meter.Driver()
    control.feed(record(1, kind=0x1A), "2A18")
    for driver in (failing, control):
        driver.close()
        driver.open()
        (state,) = states(driver.feed(b"\x37", "2A19"))
        assert (state.sensor, state.fault, state.battery_percent) == (Sensor.UNKNOWN, None, 55)


@given(st.lists(st.tuples(st.binary(max_size=30), st.sampled_from(["2A35", "2A19", "", "2A36"]))))
def test_the_cuff_driver_never_raises_and_never_writes(values: list[tuple[bytes, str]]) -> None:
    driver = cuff.Driver()
    assert sent(driver.open(), *(driver.feed(*value) for value in values), driver.tick(1.0), driver.close()) == []
