"""Each kind of reading from the feed to its tile and its entry: values, codes, grades, marks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from devices.clock import CHINA_TIME, SimulatedClock
from devices.nomenclature import CODES, code
from devices.readings import (
    BloodPressure,
    DeviceClock,
    DeviceState,
    Glucose,
    GlucoseRange,
    HeartRate,
    Link,
    PulseOximetry,
    Temperature,
    UricAcid,
    Weight,
)
from sync.web.catalog import texts
from tests.vehicle.clinic_world import DOCTOR, World
from tests.vehicle.conftest import MORNING
from vehicle.clinic.measurements import Implausible, NothingLive
from vehicle.clinic.units import QUANTITIES, TYPES, UNITS, codes, implausible, stored_values
from vehicle.touchscreen.measure import HAND, ICONS, tile_grid
from vehicle.touchscreen.wording import value_text


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


def entry(world: World) -> dict[str, Any]:
    """The last reading as it stands in the journal."""
    bodies = world.store.read("SELECT body FROM entries WHERE kind = 'reading/1' ORDER BY n DESC LIMIT 1")
    told: dict[str, Any] = json.loads(bodies[0]["body"])
    return told


@pytest.mark.parametrize(
    ("reading", "stored", "shown", "loinc"),
    [
        (BloodPressure(120, 80), {"systolic_mmhg": 120, "diastolic_mmhg": 80}, "120/80", ["8480-6", "8462-4"]),
        (Glucose(6.4), {"glucose_mmol_l_e2": 640}, "6.4", ["14743-9"]),
        (UricAcid(412.0), {"uric_acid_umol_l": 412}, "412", ["14933-6"]),
        (UricAcid(None, GlucoseRange.HIGH), {"range": "high"}, "HI", []),
        (Temperature(36.65, "ear"), {"temperature_c_e2": 3665, "site": "ear"}, "36.6", ["8310-5"]),
        (Weight(61.35), {"weight_kg_e2": 6135}, "61.4", ["29463-7"]),
        (
            Weight(61.35, 158.0, 24.6, 31.2),
            {"weight_kg_e2": 6135, "height_cm_e2": 15800, "bmi_e2": 2460, "body_fat_percent_e2": 3120},
            "61.4",
            ["29463-7", "8302-2", "39156-5", "41982-0"],
        ),
    ],
    ids=["pressure", "glucose", "uric-acid", "uric-acid-hi", "temperature", "weight", "body"],
)
async def test_a_reading_reaches_its_tile_and_carries_its_codes_in_the_journal(
    world: World, reading: Any, stored: dict[str, object], shown: str, loinc: list[str]
) -> None:
    await world.serve()
    world.publish(reading, "device-1")
    tile = world.tile(reading.kind)
    assert (tile.state, value_text(tile.type, tile.values)) == ("arrived", shown)
    written = entry(world)
    assert written["values"] == stored
    assert sorted(row["loinc"] for row in written["codes"].values()) == sorted(loinc)
    assert set(written["codes"]) <= set(stored)


async def test_weight_and_height_give_the_body_mass_index_and_its_grade(world: World) -> None:
    await world.serve()
    world.publish(Weight(74.0, 158.0), "scale-1")
    tile = world.tile("weight")
    assert (tile.values["bmi"], tile.grade, tile.result) == (29.6, "yellow", "肥胖")
    typed = await world.measurements.by_hand("weight", {"weight_kg": 55.5, "height_cm": 160}, DOCTOR)
    assert (typed.values["bmi"], typed.grade, typed.state) == (21.7, "green", "confirmed")
    assert world.store.read("SELECT code FROM screening_results WHERE rule = 'BMI-CN'")[0]["code"] == "NORMAL"
    with pytest.raises(Implausible, match="1 to 300"):
        await world.measurements.by_hand("weight", {"weight_kg": 555}, DOCTOR)


async def test_a_weight_alone_has_no_grade_and_asks_nothing(world: World) -> None:
    await world.serve()
    world.publish(Weight(74.0), "scale-1")
    tile = world.tile("weight")
    assert (tile.grade, "bmi" in tile.values) == ("none", False)
    assert not any(missing.ask for missing in tile.missing)


async def test_the_heart_rate_is_live_settles_and_is_taken_back_with_the_strap(world: World) -> None:
    await world.serve()
    assert "heart_rate" not in {tile.type for tile in world.measurements.tiles()}
    for second in range(4):
        world.publish(HeartRate(71 + second, (840,), True), "strap-1")
        world.clock.advance(1)
    tile = world.tile("heart_rate")
    assert (tile.state, tile.values["heart_rate_bpm"], tile.device) == ("live", 74, "strap-1")
    world.publish(HeartRate(None, contact=False), "strap-1")
    assert [tile.type for tile in world.measurements.tiles() if tile.type == "heart_rate"] == []
    for second in range(12):
        world.publish(HeartRate(70 + second % 5, (850 - second,), True), "strap-1")
        world.clock.advance(1)
    arrived = world.tile("heart_rate")
    assert (arrived.state, arrived.values["heart_rate_bpm"], arrived.grade) == ("arrived", 72, "green")
    assert entry(world)["values"]["rr_ms"] == [850 - second for second in range(11)]
    assert entry(world)["codes"] == {"heart_rate_bpm": {"mdc": 147842, "loinc": "8867-4", "ucum": "/min"}}


async def test_of_two_straps_the_first_one_is_followed_until_it_goes(world: World) -> None:
    await world.serve()
    world.publish(HeartRate(70), "strap-1")
    world.publish(HeartRate(120), "strap-2")
    assert world.tile("heart_rate").values["heart_rate_bpm"] == 70
    world.publish(DeviceState(Link.LOST), "strap-1")
    world.publish(HeartRate(120), "strap-2")
    assert world.tile("heart_rate").values["heart_rate_bpm"] == 120


async def test_a_temperature_on_its_way_is_shown_and_kept_by_a_tap_only(world: World) -> None:
    await world.serve()
    for second in range(15):
        world.publish(Temperature(36.5 + min(second, 3) / 10, "armpit", final=False), "probe-1")
        world.clock.advance(1)
    tile = world.tile("temperature")
    assert (tile.state, tile.values["temperature_c"], tile.stable_s) == ("live", 36.8, None)
    assert world.kinds().count("reading/1") == 0
    kept = await world.measurements.keep("temperature", DOCTOR)
    assert (kept.state, kept.values["temperature_c"]) == ("arrived", 36.8)
    with pytest.raises(NothingLive):
        await world.measurements.keep("weight", DOCTOR)


@pytest.mark.parametrize(
    ("reading", "odd"),
    [
        (Temperature(19.0), ("temperature_c",)),
        (Temperature(36.6), ()),
        (BloodPressure(80, 95), ("diastolic_mmhg",)),
        (BloodPressure(310, 95, pulse_bpm=8), ("systolic_mmhg", "pulse_bpm")),
        (PulseOximetry(31, 70), ("spo2_percent",)),
        (Glucose(41.0), ("glucose_mmol_l",)),
        (Weight(0.5), ("weight_kg",)),
        (UricAcid(None, GlucoseRange.LOW), ()),
    ],
    ids=["cold", "warm", "crossed", "high", "no-oxygen", "sweet", "light", "low"],
)
async def test_what_hardly_can_be_right_is_marked_and_kept_as_it_is(
    world: World, reading: Any, odd: tuple[str, ...]
) -> None:
    assert implausible(reading.kind, stored_values(reading)) == odd
    if reading.kind != "pulse_oximetry":
        await world.serve()
        world.publish(reading, "device-1")
        tile = world.tile(reading.kind)
        assert tile.implausible == odd
        assert entry(world)["values"] == stored_values(reading)
        assert (await world.measurements.confirm(tile.reading or "", DOCTOR)).state == "confirmed"


def test_every_number_has_a_code_and_every_code_a_number() -> None:
    numbers = {(type_, quantity.name) for type_, row in QUANTITIES.items() for quantity in row}
    assert {(row.reading, row.name) for row in CODES} == numbers
    for type_, row in QUANTITIES.items():
        assert set(codes(type_, {quantity.stored: 1 for quantity in row})) == {quantity.stored for quantity in row}


def test_the_codes_of_the_field_are_partition_times_65536_plus_code() -> None:
    """The 32-bit numbers as HL7 PHD and the public nomenclature list them."""
    listed = {
        ("blood_pressure", "systolic_mmhg"): 150021,
        ("blood_pressure", "diastolic_mmhg"): 150022,
        ("blood_pressure", "mean_mmhg"): 150023,
        ("blood_pressure", "pulse_bpm"): 149546,
        ("glucose", "glucose_mmol_l"): 160184,
        ("uric_acid", "uric_acid_umol_l"): None,
        ("pulse_oximetry", "spo2_percent"): 150456,
        ("pulse_oximetry", "pulse_bpm"): 149530,
        ("pulse_oximetry", "perfusion_index_percent"): 150488,
        ("heart_rate", "heart_rate_bpm"): 147842,
        ("temperature", "temperature_c"): 150364,
        ("weight", "weight_kg"): 188736,
        ("weight", "height_cm"): 188740,
        ("weight", "bmi"): 188752,
        ("weight", "body_fat_percent"): 188748,
    }
    assert {(row.reading, row.name): row.mdc for row in CODES} == listed
    assert code("glucose", "meal") is None


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_type_has_its_words_icon_unit_and_form(language: str) -> None:
    t = texts(language)
    for type_ in TYPES:
        assert type_ in ICONS
        assert type_ in UNITS
        keys = [f"touch.tile.{type_}", f"touch.unit.{type_}", f"touch.measure.wait.{type_}"]
        keys += [f"touch.measure.no_device.{type_}", f"county.work.reading_{type_}"]
        keys += [f"specialist.script.reading_{type_}", f"specialist.script.unit_{type_}"]
        keys += [f"touch.hand.field.{name}" for name in HAND[type_]] + [f"touch.unit.{name}" for name in HAND[type_]]
        assert [key for key in keys if key not in t] == []


def test_the_tiles_fill_their_grid_whatever_there_is() -> None:
    for narrow, with_oximeter in product(range(3, 14), (True, False)):
        grid = tile_grid(narrow, with_oximeter)
        cells = narrow + 2 * with_oximeter + 2 * grid.ecg_rows + grid.screening_columns
        assert cells == 3 * grid.rows or (grid.rows == 3 and cells < 9)


async def test_a_result_of_before_the_encounter_is_held_whoever_is_served(world: World) -> None:
    """The meter's clock is seven minutes slow; its offset is known, so its results are placed in time."""
    await world.serve()
    world.clock.advance(600)
    slow = timedelta(minutes=-7)

    def shown(ago_s: float) -> str:
        at = world.clock.now().astimezone(CHINA_TIME).replace(tzinfo=None, microsecond=0)
        return (at + slow - timedelta(seconds=ago_s)).isoformat()

    world.publish(DeviceClock(shown(0)), "meter-1")
    world.meter(7.7, sequence=1, device_said_at=shown(3600))
    assert world.tile("glucose").state == "waiting"
    world.meter(6.4, sequence=2, device_said_at=shown(30))
    assert (world.tile("glucose").state, world.tile("glucose").values["glucose_mmol_l"]) == ("arrived", 6.4)
    (held,) = world.measurements.holding()
    assert (held.values["glucose_mmol_l"], held.clock_offset_s) == (7.7, -420)
    assert entry(world)["clock_offset_s"] == -420
    await world.measurements.assign(held.reading, DOCTOR)
    assert world.measurements.holding() == []
    assert world.kinds().count("reading_confirmed/1") == 1


async def test_another_meter_under_the_same_name_is_fetched_from_the_beginning(tmp_path: Path) -> None:
    """By its hardware: one record each, also when the meter gets another name; nothing twice after a restart."""
    clock, at = SimulatedClock(MORNING), "F0:00:00:00:00:01"
    world = World(tmp_path, clock, hardware_of=lambda device: at)
    for _ in range(2):
        world.meter(6.4, sequence=17, device_said_at="2026-03-02T08:31:00")
    assert world.measurements.last_sequence("meter-1") == 17
    at = "F0:00:00:00:00:02"
    assert world.measurements.last_sequence("meter-1") is None
    world.meter(6.4, sequence=17, device_said_at="2026-03-02T08:31:00")
    assert world.store.read("SELECT count(*) AS n FROM readings")[0]["n"] == 2
    world.close()
    again = World(tmp_path, clock, seed=2, hardware_of=lambda device: at)
    assert again.measurements.last_sequence("meter-renamed") == 17
    again.publish(Glucose(6.4, sequence=17, device_said_at="2026-03-02T08:31:00"), "meter-renamed")
    rows = again.store.read("SELECT serial FROM readings ORDER BY reading")
    assert [row["serial"] for row in rows] == ["F0:00:00:00:00:01", "F0:00:00:00:00:02"]
    again.close()


async def test_records_stored_before_hardware_was_noted_are_not_fetched_again(tmp_path: Path) -> None:
    world = World(tmp_path, SimulatedClock(MORNING))
    world.meter(6.4, sequence=17, device_said_at="2026-03-02T08:31:00")
    world.close()
    noted = World(tmp_path, world.clock, seed=2, hardware_of=lambda device: "F0:00:00:00:00:01")
    assert noted.measurements.last_sequence("meter-1") == 17
    noted.meter(6.4, sequence=17, device_said_at="2026-03-02T08:31:00")
    assert noted.store.read("SELECT count(*) AS n FROM readings")[0]["n"] == 1
    noted.close()


async def test_what_a_thermometer_kept_from_before_is_nobodys_and_comes_once(world: World) -> None:
    await world.serve()
    for _ in range(2):
        world.publish(Temperature(39.1, from_memory=True, device_said_at="2026-03-01T19:05:00"), "thermometer-1")
    (row,) = world.store.read("SELECT encounter, values_json FROM readings")
    assert (row["encounter"], json.loads(row["values_json"])) == (None, {"temperature_c_e2": 3910})
    world.publish(Temperature(36.8, site="forehead"), "thermometer-1")
    assert world.store.read("SELECT count(*) AS n FROM readings WHERE encounter IS NOT NULL")[0]["n"] == 1
