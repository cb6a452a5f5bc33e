"""A red value: found, told, called and read back, repeated, refused with words and a signature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from devices.readings import GlucoseRange
from tests.vehicle.clinic_world import DOCTOR, World
from tests.vehicle.conftest import MORNING
from vehicle.clinic.critical import ActionMissing, Answer
from vehicle.clinic.encounters import CriticalOpen

PNG = b"\x89PNG\r\n\x1a\n and a line"
CALLED = {"receiver": "县医院急诊科 王医生", "read_back": True}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


async def red(world: World, systolic: int = 184, diastolic: int = 112) -> str:
    if world.encounters.current() is None:
        await world.serve()
    reading = world.cuff(systolic, diastolic)
    await world.measurements.confirm(reading, DOCTOR)
    return reading


def noted(world: World, reading: str) -> list[str]:
    rows = world.store.read("SELECT action FROM critical_actions WHERE reading = ? ORDER BY n", (reading,))
    return [row["action"] for row in rows]


async def test_the_moment_it_is_found_is_an_entry_and_is_told_to_who_watches(world: World) -> None:
    await world.serve()
    reading = world.cuff(184, 112)
    assert world.measurements.critical() == []  # nobody's yet
    await world.measurements.confirm(reading, DOCTOR)
    [critical] = world.measurements.critical()
    assert (critical.reading, critical.done) == (reading, ())
    assert noted(world, reading) == ["found"]
    [told] = world.told("critical")
    assert (told["kind"], told["values"]["systolic_mmhg"]) == ("blood_pressure", 184)
    await world.measurements.confirm(world.cuff(128, 82), DOCTOR)
    assert len(world.told("critical")) == 1


@pytest.mark.parametrize("shown", [GlucoseRange.LOW, GlucoseRange.HIGH])
async def test_a_glucose_meter_that_shows_lo_or_hi_holds_the_person_until_it_is_answered(
    world: World, shown: GlucoseRange
) -> None:
    await world.serve()
    reading = world.meter(None, range=shown, sequence=3)
    await world.measurements.confirm(reading, DOCTOR)
    [critical] = world.measurements.critical()
    assert (critical.reading, critical.values) == (reading, {"range": str(shown)})
    assert noted(world, reading) == ["found"]
    with pytest.raises(CriticalOpen):
        await world.encounters.close(DOCTOR)
    await world.critical_values.acknowledge(reading, Answer(frozenset({"told", "repeated"})), DOCTOR)
    await world.measurements.confirm(world.meter(5.8, sequence=4), DOCTOR)
    assert world.measurements.critical() == []


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(frozenset()), "action"),
        (Answer(frozenset({"prayed"})), "action"),
        (Answer(frozenset({"referred"}), **CALLED), "told"),
        (Answer(frozenset({"not_told", "referred"}), **CALLED), "not_told_because"),
        (Answer(frozenset({"not_told", "refused"}), "昏迷", signature_png=PNG, not_told_because="昏迷"), "told"),
        (Answer(frozenset({"told", "referred"})), "receiver"),
        (Answer(frozenset({"told", "referred"}), receiver="县医院"), "read_back"),
        (Answer(frozenset({"told", "refused"}), signature_png=PNG), "reason"),
        (Answer(frozenset({"told", "refused"}), reason="太远"), "signature"),
        (Answer(frozenset({"told", "refused"}), reason="太远", signature_png=b"GIF89a"), "signature"),
    ],
)
async def test_what_is_missing_is_named_and_nothing_is_written(world: World, answer: Answer, what: str) -> None:
    reading = await red(world)
    with pytest.raises(ActionMissing) as missing:
        await world.critical_values.acknowledge(reading, answer, DOCTOR)
    assert missing.value.facts["what"] == what
    assert noted(world, reading) == ["found"]
    with pytest.raises(CriticalOpen):
        await world.encounters.close(DOCTOR)


async def test_told_first_then_referred_with_a_call_that_was_read_back(world: World, tmp_path: Path) -> None:
    reading = await red(world)
    [still] = await world.critical_values.acknowledge(reading, Answer(frozenset({"told"})), DOCTOR)
    assert still.done == ("told",)
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    assert [open_.reading for open_ in again.measurements.critical()] == [reading]
    answer = Answer(frozenset({"referred"}), **CALLED)
    assert await again.critical_values.acknowledge(reading, answer, DOCTOR) == []
    [row] = again.store.read("SELECT * FROM critical_actions WHERE action = 'referred'")
    assert (row["receiver"], row["read_back"], row["by"]) == (CALLED["receiver"], 1, DOCTOR)
    assert row["at"] is not None
    await again.encounters.close(DOCTOR)
    again.close()


async def test_who_is_unconscious_is_referred_without_being_told_and_why_is_noted(world: World) -> None:
    reading = await red(world)
    answer = Answer(frozenset({"not_told", "referred"}), not_told_because="昏迷", **CALLED)
    assert await world.critical_values.acknowledge(reading, answer, DOCTOR) == []
    assert noted(world, reading) == ["found", "not_told", "referred"]
    rows = world.store.read("SELECT reason FROM critical_actions WHERE action = 'not_told'")
    assert [row["reason"] for row in rows] == ["昏迷"]


async def test_who_refuses_says_why_and_signs(world: World) -> None:
    reading = await red(world)
    answer = Answer(frozenset({"told", "refused"}), reason="家里没人，不想去", signature_png=PNG)
    assert await world.critical_values.acknowledge(reading, answer, DOCTOR) == []
    [row] = world.store.read("SELECT reason, signature FROM critical_actions WHERE action = 'refused'")
    assert row["reason"] == "家里没人，不想去"
    [kept] = world.store.read("SELECT what, patient FROM recordings WHERE sha256 = ?", (row["signature"],))
    assert kept["what"] == "signature"


async def test_a_repeat_that_is_no_longer_red_lets_go(world: World) -> None:
    reading = await red(world)
    [waiting] = await world.critical_values.acknowledge(reading, Answer(frozenset({"told", "repeated"})), DOCTOR)
    assert waiting.awaits_repeat
    world.clock.advance(120)
    await world.measurements.confirm(world.cuff(158, 96), DOCTOR)
    assert world.measurements.critical() == []
    await world.encounters.close(DOCTOR)


async def test_a_repeat_that_is_red_too_is_the_one_to_deal_with(world: World) -> None:
    first = await red(world)
    await world.critical_values.acknowledge(first, Answer(frozenset({"repeated"})), DOCTOR)
    world.clock.advance(120)
    second = await red(world, 186, 114)
    assert [open_.reading for open_ in world.measurements.critical()] == [second]
    answer = Answer(frozenset({"told", "consulted"}))
    assert await world.critical_values.acknowledge(second, answer, DOCTOR) == []


async def test_a_second_red_value_without_a_word_about_the_first_leaves_both_open(world: World) -> None:
    first = await red(world)
    world.clock.advance(120)
    second = await red(world, 186, 114)
    assert [open_.reading for open_ in world.measurements.critical()] == [first, second]
