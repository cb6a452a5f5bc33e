from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.web.catalog import texts
from tests.vehicle.clinic_world import DOCTOR, World, card
from tests.vehicle.conftest import MORNING
from vehicle.clinic.occasions import OCCASIONS, TILE_RULES
from vehicle.clinic.prompts import AnswerRefused, NoEncounter, Prompt
from vehicle.clinic.screening import UnknownRule, shipped_rules
from vehicle.clinic.settings import ClinicSettings
from vehicle.clinic.views import plain

RULES = shipped_rules()


@pytest.fixture
def world(tmp_path: Path):
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


def served(world: World) -> str:
    encounter = world.encounters.current()
    assert encounter is not None
    return encounter.encounter


def prompts(world: World, language: str | None = None) -> dict[str, Prompt]:
    return {prompt.rule: prompt for prompt in world.prompts.prompts(served(world), language)}


def test_every_rule_has_its_occasion_and_its_words() -> None:
    assert set(OCCASIONS) == set(RULES.rules)
    for rule in RULES.rules.values():
        assert set(OCCASIONS[rule.id].lead) <= set(RULES.fields)
    for names in TILE_RULES.values():
        assert set(names) <= set(RULES.rules)
    zh, en = texts("zh"), texts("en")
    for rule in RULES.rules.values():
        assert zh(f"clinic.rule.{rule.id}") == rule.title_zh
        assert en(f"clinic.rule.{rule.id}")
    for field in RULES.fields.values():
        assert zh(f"clinic.field.{field.name}") == field.label_zh
        assert en(f"clinic.field.{field.name}")
        assert zh.group("clinic.unit").get(field.name, field.unit) == field.unit
        assert en.group("clinic.unit").get(field.name, field.unit).isascii() or field.unit in ("℃",)
    assert zh.group("clinic").keys() == en.group("clinic").keys()


async def test_a_hypertension_prompt_says_rule_inputs_source_and_what_is_missing(world: World) -> None:
    await world.serve()
    await world.measurements.confirm(world.cuff(162, 98), DOCTOR)
    grade = prompts(world)["BP-GRADE"]
    assert (grade.code, grade.level, grade.grade, grade.grade_word) == ("HTN2", 2, "orange", "异常")
    assert grade.result == "2级（中度）升高"
    assert grade.advice == "非同日3次复测，1周内乡镇卫生院就诊"
    assert [(shown.label, shown.value) for shown in grade.inputs] == [("收缩压", 162), ("舒张压", 98), ("年龄", 67)]
    assert (grade.source[0].title, grade.source[0].status) == ("高血压基层诊疗指南（实践版·2019）表1", "verified")
    assert grade.disclaimer == "筛查提示，不作为诊断依据"
    assert grade.rule_version == RULES.rule("BP-GRADE").version
    first = prompts(world)["BP-FIRST"]
    assert (first.code, first.level, first.result) == ("INSUFFICIENT", None, "还不能判断")
    assert [(missing.field, missing.ask) for missing in first.missing] == [("known_htn", True)]
    urgent = prompts(world)["BP-URGENT"]
    assert [missing.field for missing in urgent.missing] == ["bp_danger", "cannot_handle"]  # not pregnant at 67
    english = prompts(world, "en")["BP-GRADE"]
    assert (english.title, english.grade_word) == ("Office blood pressure grade (adults, untreated)", "Abnormal")


async def test_an_unconfirmed_value_prompts_nothing(world: World) -> None:
    await world.serve()
    world.cuff(184, 112)
    assert prompts(world) == {}


async def test_every_prompt_is_told_and_json_able(world: World) -> None:
    await world.serve()
    await world.measurements.confirm(world.cuff(162, 98), DOCTOR)
    told = world.told("prompts")[-1]
    assert told["encounter"] == served(world)
    assert told["prompts"][0]["rule"] == "BP-GRADE"
    json.dumps(told)
    json.dumps([plain(tile) for tile in world.measurements.tiles()])


async def test_results_are_recorded_once_with_version_and_inputs(world: World) -> None:
    await world.serve()
    await world.measurements.confirm(world.cuff(162, 98), DOCTOR)
    rows = world.store.read("SELECT * FROM screening_results WHERE rule = 'BP-GRADE'")
    assert len(rows) == 1
    assert (rows[0]["code"], rows[0]["level"], rows[0]["rule_version"]) == (
        "HTN2",
        "orange",
        RULES.rule("BP-GRADE").version,
    )
    inputs = json.loads(rows[0]["inputs_json"])
    assert inputs == {"sbp": 162, "dbp": 98, "age": 67}
    assert RULES.evaluate("BP-GRADE", inputs).code == "HTN2"  # the county can replay it
    await world.prompts.answer(served(world), {"smoker": True}, DOCTOR)
    assert world.store.read("SELECT count(*) AS n FROM screening_results WHERE rule = 'BP-GRADE'")[0]["n"] == 1


async def test_answers_complete_a_rule_and_survive_a_restart(world: World, tmp_path: Path) -> None:
    await world.serve()
    await world.measurements.confirm(world.cuff(152, 94), DOCTOR)
    asked = [question.field for question in world.prompts.questions(served(world))]
    assert set(asked) == {"known_htn", "bp_danger", "cannot_handle"}
    await world.prompts.answer(served(world), {"known_htn": False, "bp_danger": False, "cannot_handle": False}, DOCTOR)
    assert prompts(world)["BP-FIRST"].code == "RECHECK"
    assert prompts(world)["BP-URGENT"].code == "NO_URGENT"
    assert world.prompts.questions(served(world)) == []
    before = prompts(world)
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    assert prompts(again) == before
    again.close()


async def test_a_diagnosis_is_remembered_and_a_denial_is_not(world: World) -> None:
    await world.serve()
    await world.prompts.answer(served(world), {"known_htn": True, "known_dm": False}, DOCTOR)
    await world.encounters.close(DOCTOR)
    await world.serve()
    known = world.prompts.inputs(served(world))
    assert known["known_htn"] is True
    assert "known_dm" not in known


async def test_numbers_with_decimals_come_back_as_numbers(world: World) -> None:
    await world.serve()
    await world.prompts.answer(served(world), {"pack_years": 12.5, "bmi": 23}, DOCTOR)
    known = world.prompts.inputs(served(world))
    assert (known["pack_years"], known["bmi"]) == (12.5, 23)


@pytest.mark.parametrize(
    "answers", [{"shoe_size": 42}, {"known_htn": "yes"}, {"pack_years": 900}, {"dyspnoea_grade": True}]
)
async def test_an_answer_that_cannot_be_is_refused(world: World, answers: dict) -> None:
    await world.serve()
    with pytest.raises(AnswerRefused):
        await world.prompts.answer(served(world), answers, DOCTOR)
    with pytest.raises(NoEncounter):
        await world.prompts.answer("encounter-0", {"known_htn": True}, DOCTOR)


async def test_glucose_needs_its_meal(world: World) -> None:
    await world.serve()
    await world.measurements.confirm(world.meter(6.4, sequence=1), DOCTOR)
    tile = world.tile("glucose")
    assert (tile.grade, tile.grade_word) == ("none", "资料不足")
    assert [missing.field for missing in tile.missing] == ["meal", "known_dm"]
    assert tile.missing[0].choices == (("fasting", "空腹"), ("postprandial", "餐后"), ("casual", "随机"))
    await world.prompts.answer(served(world), {"known_dm": False}, DOCTOR)
    assert "meal" in [missing.field for missing in world.tile("glucose").missing]
    await world.prompts.answer(served(world), {"meal": "fasting"}, DOCTOR)
    tile = world.tile("glucose")
    assert (tile.grade, tile.result) == ("yellow", "空腹血糖受损范围")
    screen = prompts(world)["GLU-SCREEN"]
    assert (screen.code, screen.incomplete) == ("IFG", True)
    await world.prompts.answer(served(world), {"meal": "casual"}, DOCTOR)
    assert world.tile("glucose").grade == "none"  # 6.4 at any time says nothing by itself
    with pytest.raises(AnswerRefused):
        await world.prompts.answer(served(world), {"meal": "brunch"}, DOCTOR)


async def test_an_answer_fasting_or_not_of_older_journals_still_counts(world: World) -> None:
    await world.serve()
    await world.measurements.confirm(world.meter(6.4, sequence=1), DOCTOR)
    await world.prompts.answer(served(world), {"known_dm": False, "fasting": True}, DOCTOR)
    assert world.tile("glucose").result == "空腹血糖受损范围"


@pytest.mark.parametrize(("meal", "glucose"), [("fasting", 2.8), ("fasting", 16.7), ("casual", 20.0)])
async def test_critical_glucose_is_red_whatever_else_is_unknown(world: World, meal: str, glucose: float) -> None:
    await world.serve()
    world.meter(glucose, meal=meal, sequence=1)
    assert world.tile("glucose").grade == "red"


async def test_very_low_glucose_is_red_even_without_its_meal(world: World) -> None:
    await world.serve()
    world.meter(2.2, sequence=1)
    assert (world.tile("glucose").grade, world.tile("glucose").grade_word) == ("red", "危急")


async def test_spo2_is_graded_by_the_place(tmp_path: Path) -> None:
    for folder, settings, grade, missing in (
        ("low", ClinicSettings(altitude_m=480), "yellow", []),
        ("high", ClinicSettings(altitude_m=3600), "none", ["spo2_baseline_p2_5"]),
        ("home", ClinicSettings(altitude_m=3600, spo2_baseline_p2_5=86), "green", []),
        ("unset", ClinicSettings(), "none", ["altitude_m", "spo2_baseline_p2_5"]),
    ):
        world = World(tmp_path / folder, SimulatedClock(MORNING), settings)
        await world.serve()
        world.finger(92, seconds=11)
        tile = world.tile("pulse_oximetry")
        assert (tile.state, tile.grade) == ("arrived", grade), folder
        assert [question.field for question in tile.missing] == missing
        world.close()


async def test_children_get_no_adult_grade(world: World) -> None:
    await world.serve(card("小明", date(2012, 5, 6), "013"))
    await world.measurements.confirm(world.cuff(150, 90), DOCTOR)
    assert "BP-GRADE" not in prompts(world)
    assert world.tile("blood_pressure").grade == "none"


async def test_without_an_age_nothing_is_called_normal(world: World) -> None:
    from vehicle.clinic.people import PatientForm

    await world.arrive()
    nameless = await world.people.register(PatientForm("无名氏", "male", date(1960, 1, 1)), DOCTOR)
    await world.encounters.open(nameless.patient, DOCTOR)
    world.store.transact(lambda db: db.execute("UPDATE patients SET born_on = NULL"))
    await world.measurements.confirm(world.cuff(118, 76), DOCTOR)
    assert prompts(world)["BP-GRADE"].code == "INSUFFICIENT"


async def test_the_county_switches_rules(tmp_path: Path) -> None:
    from devices.readings import Temperature

    off = World(tmp_path / "off", SimulatedClock(MORNING))
    await off.serve()
    off.publish(Temperature(39.5), "ear-1")
    assert off.tile("temperature").grade == "none"
    off.close()
    settings = ClinicSettings(rules_on=("TEMP",), rules_off=("BP-GRADE",), altitude_m=480)
    on = World(tmp_path / "on", SimulatedClock(MORNING), settings)
    await on.serve()
    on.publish(Temperature(39.5), "ear-1")
    assert on.tile("temperature").grade == "red"
    on.cuff(162, 98)
    assert on.tile("blood_pressure").grade == "none"
    assert on.prompts.ladders("blood_pressure") == []
    on.close()
    with pytest.raises(UnknownRule):
        World(tmp_path / "typo", SimulatedClock(MORNING), ClinicSettings(rules_on=("TEMPP",)))


async def test_ladders_are_the_rules_own(world: World) -> None:
    systolic, diastolic = world.prompts.ladders("blood_pressure")
    assert (systolic.label, systolic.unit, systolic.high) == ("收缩压", "mmHg", 300)
    assert [bound for bound, _ in systolic.steps] == [50, 90, 120, 140, 160, 180]
    assert [level for _, level in diastolic.steps] == [1, 0, 1, 2, 2, 3]
    [spo2] = world.prompts.ladders("pulse_oximetry", "en")
    assert (spo2.label, spo2.steps) == ("Oxygen saturation", ((40, 3), (90, 1), (95, 0)))
