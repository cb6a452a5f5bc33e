from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from devices.readings import GlucoseRange, Link, Temperature
from tests.vehicle.clinic_world import DOCTOR, World, card
from tests.vehicle.conftest import MORNING
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.measurements import (
    Implausible,
    NothingLive,
    ReadingTaken,
    ReadingUnknown,
)
from vehicle.clinic.prompts import NoEncounter


@pytest.fixture
def world(tmp_path: Path):
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


async def test_a_value_arrives_by_itself_and_one_tap_confirms_it(world: World) -> None:
    await world.serve()
    assert (world.tile("blood_pressure").state, world.tile("blood_pressure").device) == ("waiting", "cuff-1")
    reading = world.cuff(162, 98)
    tile = world.tile("blood_pressure")
    assert (tile.state, tile.grade, tile.grade_word, tile.result) == ("arrived", "orange", "异常", "2级（中度）升高")
    assert tile.values == {"systolic_mmhg": 162, "diastolic_mmhg": 98, "pulse_bpm": 76}
    assert (tile.unit, tile.device, tile.reading, tile.by_hand) == ("mmHg", "cuff-1", reading, False)
    confirmed = await world.measurements.confirm(reading, DOCTOR)
    assert confirmed.state == "confirmed"
    assert await world.measurements.confirm(reading, DOCTOR) == confirmed
    assert world.kinds().count("reading_confirmed/1") == 1
    assert [
        result["code"] for result in world.store.read("SELECT code FROM screening_results WHERE rule = 'BP-GRADE'")
    ] == ["HTN2"]


async def test_it_is_durable_before_it_is_told(world: World) -> None:
    await world.serve()
    durable_when_told: list[int] = []
    send = world.sent.append

    def told(message):
        if message["type"] == "reading":
            durable_when_told.append(world.store.read("SELECT count(*) AS n FROM readings")[0]["n"])
        send(message)

    world.measurements._live = type("Hub", (), {"send": staticmethod(told)})()
    world.cuff(130, 80)
    assert durable_when_told == [1]


async def test_numbers_are_exact_in_the_journal(world: World) -> None:
    await world.serve()
    world.meter(6.4, meal="fasting", sequence=17, device_said_at="2026-03-02T08:31:00")
    world.publish(Temperature(36.65), "ear-1")
    rows = world.store.read("SELECT type, values_json, sequence, device_said_at FROM readings ORDER BY reading")
    assert json.loads(rows[0]["values_json"]) == {"glucose_mmol_l_e2": 640, "meal": "fasting"}
    assert (rows[0]["sequence"], rows[0]["device_said_at"]) == (17, "2026-03-02T08:31:00")
    assert json.loads(rows[1]["values_json"]) == {"temperature_c_e2": 3665}
    assert world.tile("glucose").values == {"glucose_mmol_l": 6.4, "meal": "fasting"}


async def test_the_meters_memory_is_stored_once(world: World, tmp_path: Path) -> None:
    await world.serve()
    world.meter(6.4, sequence=17)
    world.meter(6.4, sequence=17)
    world.meter(7.1, sequence=18)
    assert world.measurements.last_sequence("meter-1") == 18
    assert world.measurements.last_sequence("cuff-1") is None
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    again.meter(7.1, sequence=18)
    assert again.store.read("SELECT count(*) AS n FROM readings")[0]["n"] == 2
    again.close()


async def test_a_meter_that_was_cleared_counts_anew_and_loses_nothing(world: World) -> None:
    await world.serve()
    for _ in range(2):
        world.meter(6.4, sequence=17, device_said_at="2026-03-02T08:31:00")
        world.meter(7.9, sequence=17, device_said_at="2026-03-02T09:05:00")
        world.meter(5.2, sequence=3)
        world.meter(5.6, sequence=3)
    assert world.store.read("SELECT count(*) AS n FROM readings")[0]["n"] == 4


async def test_a_cuff_that_tells_the_same_measurement_twice_is_stored_once(world: World) -> None:
    await world.serve()
    world.cuff(140, 90, device_said_at="2026-03-02T08:31:00")
    world.cuff(140, 90, device_said_at="2026-03-02T08:31:00")
    world.cuff(138, 88, device_said_at="2026-03-02T08:33:00")
    world.cuff(138, 88)
    world.cuff(138, 88)
    assert world.store.read("SELECT count(*) AS n FROM readings")[0]["n"] == 4


async def test_what_arrives_while_nobody_is_served_is_held_and_assigned(world: World) -> None:
    reading = world.cuff(150, 90)
    assert [held.reading for held in world.measurements.holding()] == [reading]
    with pytest.raises(NoEncounter):
        await world.measurements.confirm(reading, DOCTOR)
    patient = await world.serve()
    assert world.tile("blood_pressure").state == "waiting"
    tile = await world.measurements.assign(reading, DOCTOR)
    assert (tile.state, tile.values["systolic_mmhg"]) == ("confirmed", 150)
    assert world.measurements.holding() == []
    assert world.store.read("SELECT patient FROM readings")[0]["patient"] == patient.patient


async def test_an_overtaken_value_is_held_not_lost(world: World) -> None:
    await world.serve()
    first = world.cuff(162, 98)
    world.clock.advance(120)
    second = world.cuff(150, 92)
    assert world.tile("blood_pressure").reading == second
    assert [held.reading for held in world.measurements.holding()] == [first]


async def test_the_old_memory_of_a_meter_is_put_aside_at_once(world: World) -> None:
    for number in range(20):
        world.meter(5.0 + number / 10, sequence=number)
    assert len(world.measurements.holding()) == 20
    assert await world.measurements.put_aside("test", DOCTOR) == 20
    assert world.measurements.holding() == []
    assert world.measurements.last_sequence("meter-1") == 19


async def test_two_taps_are_one_confirmation(world: World) -> None:
    await world.serve()
    reading = world.cuff(150, 90)
    await asyncio.gather(*(world.measurements.confirm(reading, DOCTOR) for _ in range(4)))
    assert world.kinds().count("reading_confirmed/1") == 1


async def test_a_value_is_never_two_peoples(world: World) -> None:
    await world.serve()
    reading = world.cuff(150, 90)
    await world.measurements.confirm(reading, DOCTOR)
    await world.serve(card("陈国梁", order="043"))
    with pytest.raises(ReadingTaken):
        await world.measurements.confirm(reading, DOCTOR)


async def test_a_rejected_value_stays_in_the_journal_only(world: World) -> None:
    await world.serve()
    reading = world.cuff(90, 85)
    tile = await world.measurements.reject(reading, "artefact", DOCTOR)
    assert tile.state == "waiting"
    with pytest.raises(ReadingUnknown):
        await world.measurements.confirm(reading, DOCTOR)
    assert "reading/1" in world.kinds()


async def test_rejecting_a_confirmed_value_asks_the_rules_again(world: World) -> None:
    patient = await world.serve()
    first = world.cuff(118, 76)
    await world.measurements.confirm(first, DOCTOR)
    world.clock.advance(120)
    wrong = world.cuff(162, 98)
    await world.measurements.confirm(wrong, DOCTOR)
    await world.measurements.reject(wrong, "wrong_person", DOCTOR)
    encounter = world.encounters.current()
    assert encounter is not None
    assert [prompt.code for prompt in world.prompts.prompts(encounter.encounter) if prompt.rule == "BP-GRADE"] == [
        "NORMAL"
    ]
    codes = world.store.read("SELECT code FROM screening_results WHERE rule = 'BP-GRADE' ORDER BY result")
    assert [row["code"] for row in codes] == ["NORMAL", "HTN2", "NORMAL"]
    assert world.people.history(patient.patient).readings[0].reading == first


async def test_tiles_survive_a_restart(world: World, tmp_path: Path) -> None:
    await world.serve()
    await world.measurements.confirm(world.cuff(162, 98), DOCTOR)
    world.meter(6.4, meal="fasting", sequence=1)
    before = [tile for tile in world.measurements.tiles() if tile.reading]
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    assert [tile for tile in again.measurements.tiles() if tile.reading] == before
    assert len(before) == 2
    again.close()


@pytest.mark.parametrize("answers", [0, 60])
async def test_the_previous_value_stands_beside_the_new_one(world: World, answers: int) -> None:
    """However many questions were answered after it was measured."""
    await world.serve()
    await world.measurements.confirm(world.cuff(136, 84), DOCTOR)
    served = world.encounters.current()
    assert served is not None
    for n in range(answers):
        await world.prompts.answer(served.encounter, {"cough_weeks": n % 3}, DOCTOR)
        world.clock.advance(1.0)
    notes = CaseNotes(world.store, world.people, world.prompts).of("", served.patient.patient)
    assert [point["values"]["systolic_mmhg"] for point in notes["trends"]] == [136]
    await world.encounters.close(DOCTOR)
    world.clock.advance(86400)
    await world.serve()
    previous = world.tile("blood_pressure").previous
    assert previous.values["systolic_mmhg"] == 136
    assert previous.at == MORNING


# the oximeter


async def test_spo2_is_live_then_settles_after_ten_quiet_seconds(world: World) -> None:
    await world.serve()
    for wandering in (88, 91, 94):
        world.finger(wandering)
    assert world.tile("pulse_oximetry").state == "live"
    world.finger(96, seconds=8)
    tile = world.tile("pulse_oximetry")
    assert (tile.state, tile.stable_s, tile.grade) == ("live", 8, "green")
    world.finger(97, seconds=3)
    tile = world.tile("pulse_oximetry")
    assert (tile.state, tile.values["spo2_percent"], tile.values["pulse_bpm"]) == ("arrived", 96, 74)
    world.finger(96, seconds=30)
    assert world.store.read("SELECT count(*) AS n FROM readings")[0]["n"] == 1
    world.finger(None)
    world.finger(95, seconds=11)
    assert world.store.read("SELECT count(*) AS n FROM readings")[0]["n"] == 2


async def test_spo2_is_withdrawn_when_the_finger_leaves(world: World) -> None:
    await world.serve()
    world.finger(96, seconds=5)
    world.finger(None)
    assert (world.tile("pulse_oximetry").state, world.tile("pulse_oximetry").values) == ("waiting", {})
    assert world.told("reading")[-1]["state"] == "withdrawn"
    with pytest.raises(NothingLive):
        await world.measurements.keep("pulse_oximetry", DOCTOR)


async def test_spo2_is_withdrawn_when_the_oximeter_falls_silent_or_is_unplugged(world: World) -> None:
    await world.serve()
    world.finger(96, seconds=5)
    world.clock.advance(3)
    assert world.tile("pulse_oximetry").state == "waiting"
    world.finger(96, seconds=5)
    assert world.tile("pulse_oximetry").stable_s == 4  # the silence is not counted as quiet
    world.state("finger-1", Link.LOST)
    assert world.tile("pulse_oximetry").state == "missing"


async def test_spo2_can_be_kept_at_once(world: World) -> None:
    await world.serve()
    world.finger(93, seconds=3)
    tile = await world.measurements.keep("pulse_oximetry", DOCTOR)
    assert (tile.state, tile.values["spo2_percent"], tile.grade) == ("arrived", 93, "yellow")
    assert world.store.read("SELECT driver, device FROM readings") == [{"driver": "simulated", "device": "finger-1"}]


async def test_another_person_starts_with_an_empty_finger(world: World) -> None:
    await world.serve()
    world.finger(96, seconds=6)
    await world.serve(card("陈国梁", order="043"))
    assert world.tile("pulse_oximetry").state == "waiting"
    world.finger(96, seconds=6)
    assert world.store.read("SELECT count(*) AS n FROM readings")[0]["n"] == 0


# devices


async def test_tiles_tell_missing_from_waiting_from_absent(world: World) -> None:
    states = {tile.type: tile.state for tile in world.measurements.tiles()}
    assert states == {
        "blood_pressure": "waiting",
        "glucose": "waiting",
        "pulse_oximetry": "waiting",
        "temperature": "absent",
        "weight": "absent",
    }
    world.state("cuff-1", Link.ABSENT)
    assert world.tile("blood_pressure").state == "waiting"  # a cuff is only there while it measures
    world.state("cuff-1", Link.CONNECTED, fault="battery_low")
    assert world.tile("blood_pressure").state == "missing"


async def test_a_reading_beyond_the_meters_range_is_kept_and_never_a_number(world: World) -> None:
    await world.serve()
    world.meter(None, range=GlucoseRange.LOW, sequence=3)
    tile = world.tile("glucose")
    assert (tile.values, tile.grade) == ({"range": "low"}, "red")
    assert tile.result == "低于仪器量程，立即复测"
    world.meter(None, sequence=4)
    assert world.store.read("SELECT count(*) AS n FROM readings")[0]["n"] == 1


# by hand


async def test_a_typed_value_is_marked_for_ever(world: World) -> None:
    await world.serve()
    tile = await world.measurements.by_hand("temperature", {"temperature_c": 36.6}, DOCTOR)
    assert (tile.state, tile.by_hand, tile.values) == ("confirmed", True, {"temperature_c": 36.6})
    tile = await world.measurements.by_hand("glucose", {"glucose_mmol_l": 6.4, "meal": "fasting"}, DOCTOR)
    assert tile.values == {"glucose_mmol_l": 6.4, "meal": "fasting"}


@pytest.mark.parametrize(
    ("type_", "values", "field"),
    [
        ("glucose", {"glucose_mmol_l": 64}, "glucose_mmol_l"),
        ("glucose", {"glucose_mmol_l": float("nan")}, "glucose_mmol_l"),
        ("glucose", {}, "glucose_mmol_l"),
        ("blood_pressure", {"systolic_mmhg": 120}, "diastolic_mmhg"),
        ("blood_pressure", {"systolic_mmhg": 80, "diastolic_mmhg": 120}, "diastolic_mmhg"),
        ("blood_pressure", {"systolic_mmhg": "x", "diastolic_mmhg": 80}, "systolic_mmhg"),
        ("pulse_oximetry", {"spo2_percent": 101}, "spo2_percent"),
        ("shoe_size", {"size": 42}, "shoe_size"),
    ],
)
async def test_a_slip_of_the_finger_is_asked_about(world: World, type_: str, values: dict, field: str) -> None:
    await world.serve()
    with pytest.raises(Implausible) as refusal:
        await world.measurements.by_hand(type_, values, DOCTOR)
    assert refusal.value.facts["field"] == field
    assert "reading/1" not in world.kinds()


# red


# speed


async def test_three_hundred_people_in_simulated_time(world: World) -> None:
    """A month of history is made in seconds: 300 encounters of 6 and more entries each."""
    import time

    await world.arrive()
    began = time.perf_counter()
    for number in range(300):
        patient = await world.people.from_card(card(f"居民{number}", order=f"{number:03d}"), DOCTOR)
        await world.encounters.open(patient.patient, DOCTOR)
        await world.measurements.confirm(world.cuff(120 + number % 50, 78 + number % 20), DOCTOR)
        await world.measurements.confirm(world.meter(5.0 + number % 4, meal="fasting", sequence=number), DOCTOR)
        world.clock.advance(240)
        await world.encounters.close(DOCTOR)
    assert len(world.kinds()) > 300 * 6
    assert time.perf_counter() - began < 60


async def test_a_form_sent_twice_is_one_value(world: World) -> None:
    await world.serve()
    typed = {"systolic_mmhg": 182, "diastolic_mmhg": 104}
    await asyncio.gather(*(world.measurements.by_hand("blood_pressure", typed, DOCTOR) for _ in range(2)))
    assert world.kinds().count("reading/1") == 1
    world.clock.advance(60)
    await world.measurements.by_hand("blood_pressure", typed, DOCTOR)
    assert world.kinds().count("reading/1") == 2
