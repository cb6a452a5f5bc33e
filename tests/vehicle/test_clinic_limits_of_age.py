"""Limits of adults are not asked of children, and a number is judged as it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.formats.records import format_time
from tests.vehicle.clinic_world import DOCTOR, World, card
from tests.vehicle.conftest import MORNING
from vehicle.clinic.critical import Answer
from vehicle.clinic.ecg.critical import CriticalWatch
from vehicle.clinic.ecg.events import HeartRate
from vehicle.clinic.occasions import adults_rate
from vehicle.clinic.units import rule_inputs

NEWBORN, CHILD, ADULT = date(2026, 2, 20), date(2020, 5, 1), date(1958, 4, 17)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("age", "bpm", "heard"),
    [
        (0, 140, False), (0, 160, False), (0, 219, False), (0, 220, True), (0, 59, True), (0, 60, False),
        (5, 120, False), (5, 179, False), (5, 180, True), (11, 110, False), (12, 110, True), (None, 110, True),
        (70, 110, True), (0, None, True),
    ],
)  # fmt: skip
def test_the_rules_hear_a_childs_heart_rate_only_where_it_is_a_danger_at_that_age(
    age: int | None, bpm: int | None, heard: bool
) -> None:
    assert adults_rate(bpm, age) is heard


@pytest.mark.parametrize(
    ("born_on", "bpm", "rules"),
    [
        (NEWBORN, 152, []),
        (NEWBORN, 225, ["CRIT-A", "HR-ADULT"]),
        (CHILD, 120, []),
        (ADULT, 152, ["CRIT-A", "HR-ADULT"]),
    ],
)
async def test_a_newborns_pulse_of_150_is_not_red(world: World, born_on: date, bpm: int, rules: list[str]) -> None:
    await world.serve(card(born_on=born_on))
    served = world.encounters.current()
    assert served is not None
    known = world.prompts.inputs_with(served.encounter, "heart_rate", {"heart_rate_bpm": bpm})
    found = [result.rule for result in world.prompts.results_of(["CRIT-A", "HR-ADULT"], known) if result.level == 3]
    assert sorted(found) == rules
    grade = world.prompts.grade(served.encounter, "heart_rate", {"heart_rate_bpm": bpm})
    assert (grade.grade == "red") is bool(rules)


async def test_body_mass_index_is_graded_from_18_years(world: World) -> None:
    weight = {"weight_kg_e2": 2000, "height_cm_e2": 11000}
    for born_on, graded in ((CHILD, False), (ADULT, True)):
        await world.serve(card(born_on=born_on))
        served = world.encounters.current()
        assert served is not None
        assert bool(world.prompts.grade(served.encounter, "weight", weight).rule) is graded
        await world.encounters.close("zhou.min")


@pytest.mark.parametrize(
    ("born_on", "order", "pregnant", "code"),
    [
        (date(2008, 9, 1), "042", True, "URGENT_REFERRAL"),  # 17 years old
        (date(2008, 9, 1), "042", None, "INSUFFICIENT"),
        (date(1999, 9, 1), "042", True, "URGENT_REFERRAL"),
        (date(2008, 9, 1), "041", None, "INSUFFICIENT"),  # a boy: danger signs are asked for, no pregnancy
    ],
    ids=["pregnant at 17", "a girl of 17", "pregnant at 26", "a boy of 17"],
)
async def test_a_pregnancy_with_high_pressure_is_urgent_at_any_age(
    world: World, born_on: date, order: str, pregnant: bool | None, code: str
) -> None:
    await world.serve(card(born_on=born_on, order=order))
    served = world.encounters.current()
    assert served is not None
    await world.measurements.confirm(world.cuff(150, 95), DOCTOR)
    if pregnant is not None:
        await world.prompts.answer(served.encounter, {"pregnant": pregnant}, DOCTOR)
    [urgent] = [prompt for prompt in world.prompts.prompts(served.encounter) if prompt.rule == "BP-URGENT"]
    assert urgent.code == code
    asked = [missing.field for missing in urgent.missing]
    assert ("pregnant" in asked) is (code == "INSUFFICIENT" and order == "042")


async def test_the_risks_of_adults_are_no_risks_of_a_child(world: World) -> None:
    answers = {"sbp": 132, "dbp": 70, "bmi": 24.5, "waist": 86, "sedentary": True}
    adults = {"BP-HIGHRISK6", "GLU-HIGHRISK", "BMI-CN"}
    for born_on, speak in ((date(2012, 5, 6), set[str]()), (date(1990, 5, 6), adults)):
        await world.serve(card(born_on=born_on))
        served = world.encounters.current()
        assert served is not None
        await world.prompts.answer(served.encounter, answers, DOCTOR)
        assert {prompt.rule for prompt in world.prompts.prompts(served.encounter)} & adults == speak
        await world.encounters.close(DOCTOR)


async def test_a_pregnant_woman_is_not_told_to_lose_weight_nor_that_her_glucose_is_normal(world: World) -> None:
    await world.serve(card(born_on=date(1999, 9, 1)))
    served = world.encounters.current()
    assert served is not None
    encounter = served.encounter

    def codes() -> dict[str, str]:
        said = {prompt.rule: prompt.code for prompt in world.prompts.prompts(encounter)}
        return {
            rule: code for rule, code in said.items() if rule in ("BMI-CN", "WAIST-CN", "BP-HIGHRISK6", "GLU-SCREEN")
        }

    told = {"bmi": 29.0, "waist": 98, "known_dm": False, "pregnant": False}
    await world.prompts.answer(encounter, told, DOCTOR)
    await world.measurements.confirm(world.meter(5.6, meal="fasting", sequence=1), DOCTOR)
    assert codes() == {
        "BMI-CN": "OBESE",
        "WAIST-CN": "CENTRAL_OBESITY",
        "BP-HIGHRISK6": "HIGH_RISK",
        "GLU-SCREEN": "NORMAL",
    }
    await world.prompts.answer(encounter, {"pregnant": True}, DOCTOR)
    assert codes() == {}
    assert world.tile("glucose").grade == "none"
    await world.measurements.confirm(world.meter(7.2, meal="fasting", sequence=2), DOCTOR)
    assert codes() == {"GLU-SCREEN": "DM_RANGE"}


async def test_a_fast_pulse_is_no_emergency_of_diabetes_where_nobody_has_it(world: World) -> None:
    await world.serve()
    served = world.encounters.current()
    assert served is not None
    encounter = served.encounter

    def urgent() -> list[str]:
        return [prompt.code for prompt in world.prompts.prompts(encounter) if prompt.rule == "GLU-URGENT"]

    await world.measurements.confirm(world.cuff(128, 76, pulse=108), DOCTOR)
    await world.measurements.confirm(world.meter(5.4, sequence=1), DOCTOR)
    assert urgent() == []
    await world.measurements.confirm(world.meter(17.2, sequence=2), DOCTOR)
    assert urgent() == ["URGENT_REFERRAL"]
    await world.measurements.confirm(world.meter(5.4, sequence=3), DOCTOR)
    await world.prompts.answer(encounter, {"known_dm": True}, DOCTOR)
    assert urgent() == ["URGENT_REFERRAL"]


async def test_a_running_ecg_of_a_child_is_red_at_the_childs_limit(world: World) -> None:
    await world.serve(card(born_on=CHILD))
    world.critical_findings.on_live_ecg("ecg-1", "ecg_rate_high", {"heart_rate_bpm": 155})
    assert world.measurements.critical() == []
    world.critical_findings.on_live_ecg("ecg-1", "ecg_rate_high", {"heart_rate_bpm": 190})
    assert [red.type for red in world.measurements.critical()] == ["ecg_rate_high"]


@pytest.mark.parametrize(
    ("born_on", "bpm", "critical"),
    [(NEWBORN, 165, []), (NEWBORN, 230, ["ecg_rate_high"]), (CHILD, 165, []), (ADULT, 165, ["ecg_rate_high"])],
)
async def test_a_signed_or_repeated_ecg_of_a_child_is_red_at_the_childs_limit(
    world: World, born_on: date, bpm: int, critical: list[str]
) -> None:
    await world.serve(card(born_on=born_on))
    served = world.encounters.current()
    assert served is not None
    row = {
        **dict.fromkeys(("encounter", "visit", "patient", "sha256", "device")),
        "encounter": served.encounter,
        "patient": served.patient.patient,
        "started_at": format_time(world.clock.now() + timedelta(minutes=2)),
    }
    found = {"heart_rate_bpm": bpm, "beats": 40, "trusted_beats": 40}
    drafts = world.critical_findings.signed(row, found, True, (), DOCTOR)
    assert [draft.fields["what"] for draft in drafts if draft.kind == "critical_finding/1"] == critical
    world.critical_findings.on_live_ecg("ecg-1", "ecg_rate_high", {"heart_rate_bpm": 240})
    [red] = world.measurements.critical()
    await world.critical_values.acknowledge(red.reading, Answer(frozenset({"repeated"})), DOCTOR)
    again = world.critical_findings.analysed(row, found)
    assert [draft.fields["what"] for draft in again if draft.kind == "critical_finding/1"] == critical


def test_a_rate_that_goes_on_rising_is_said_at_each_limit() -> None:
    watch = CriticalWatch(500)
    rates = [155] * 4 + [185] * 4 + [225] * 4 + [190] * 4 + [140] + [230] * 4
    found = watch.take([HeartRate(index, bpm) for index, bpm in enumerate(rates)])
    assert [facts["heart_rate_bpm"] for _, facts in found] == [155, 185, 225, 230]


@pytest.mark.parametrize(
    ("mg_per_dl", "stored", "heard"), [(126, 699, 7.0), (140, 777, 7.8), (200, 1110, 11.1), (70, 389, 3.9)]
)
def test_glucose_is_judged_as_it_is_shown(mg_per_dl: int, stored: int, heard: float) -> None:
    inputs = rule_inputs("glucose", {"glucose_mmol_l_e2": stored, "meal": "fasting"})
    assert (inputs["glu"], inputs["fpg"]) == (heard, heard)


def test_temperature_is_judged_as_it_is_shown() -> None:
    assert rule_inputs("temperature", {"temperature_c_e2": 3728})["temp"] == 37.3  # 99.1 degrees Fahrenheit
