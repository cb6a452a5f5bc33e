"""The screening paths as tables: who is due, what is asked, what the rules answer, what follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from clinic_world import DOCTOR, World, card

from devices.clock import SimulatedClock
from sync.formats.records import Draft
from tests.vehicle.conftest import MORNING
from vehicle.clinic.occasions import OCCASIONS
from vehicle.clinic.path_runs import PathUnknown
from vehicle.clinic.paths import NEXT, URGENCIES, read_paths, shipped_paths
from vehicle.clinic.prompts import AnswerRefused
from vehicle.clinic.referrals import ReferralDraft, ReferralIncomplete, ReferralUnknown
from vehicle.clinic.screening import shipped_rules

PATHS, RULES = shipped_paths(), shipped_rules()

WALKS: dict[str, tuple[str, dict[str, Any], str, str, str, str]] = {
    # who: path, what is known, rule and code that decide, proposed next step, where to
    "72 y, 182/96, no danger signs": (
        "hypertension",
        {"age": 72, "sbp": 182, "dbp": 96},
        "BP-URGENT",
        "URGENT_REFERRAL",
        "referral",
        "county_hospital",
    ),
    "58 y, 164/98, never high before": (
        "hypertension",
        {"age": 58, "sbp": 164, "dbp": 98, "known_htn": False, "bp_danger": False, "cannot_handle": False},
        "BP-GRADE",
        "HTN2",
        "referral",
        "township",
    ),
    "58 y, 146/88, never high before": (
        "hypertension",
        {"age": 58, "sbp": 146, "dbp": 88, "known_htn": False, "bp_danger": False, "cannot_handle": False},
        "BP-FIRST",
        "RECHECK",
        "slip",
        "township",
    ),
    "51 y, fasting 7.4, not known": (
        "diabetes",
        {"age": 51, "glu": 7.4, "fpg": 7.4, "known_dm": False},
        "GLU-SCREEN",
        "DM_RANGE",
        "referral",
        "county_hospital",
    ),
    "66 y, glucose 3.2, known diabetes": (
        "diabetes",
        {"age": 66, "glu": 3.2, "known_dm": True},
        "GLU-URGENT",
        "URGENT_REFERRAL",
        "referral",
        "county_hospital",
    ),
    "67 y, 35 pack-years, BMI 17.5, short of breath on a slope, coal": (
        "copd",
        {
            "age": 67,
            "ever_smoked": True,
            "cigarettes_per_day": 20,
            "years_smoked": 35,
            "bmi": 17.5,
            "chronic_cough": False,
            "dyspnoea_grade": 1,
            "solid_fuel": True,
            "family_resp": False,
        },
        "COPD-SQ",
        "HIGH_RISK",
        "referral",
        "county_hospital",
    ),
    "70 y, irregular, no ECG yet": (
        "af",
        {"age": 70, "rr_irregular": True},
        "AF-SCREEN",
        "NEED_ECG",
        "consultation",
        "county_hospital",
    ),
    "74 y, regular: no ECG is asked for": (
        "af",
        {"age": 74, "rr_irregular": False},
        "AF-SCREEN",
        "REGULAR",
        "advice",
        "",
    ),
    "75 y, regular, but no ECG yet": (
        "af",
        {"age": 75, "rr_irregular": False},
        "AF-SCREEN",
        "INSUFFICIENT",
        "advice",
        "",
    ),
    "75 y, regular, the ECG that everybody of that age has is in order": (
        "af",
        {"age": 75, "rr_irregular": False, "ecg_reading": "not_af"},
        "AF-SCREEN",
        "REGULAR",
        "advice",
        "",
    ),
    "70 y, irregular, first ECG unclear, second one fibrillation": (
        "af",
        {"age": 70, "rr_irregular": True, "ecg_reading": "unclear", "ecg_reading_2": "af"},
        "AF-SCREEN",
        "AF_ECG",
        "referral",
        "county_hospital",
    ),
    "62 y, hypertension, smokes, hardly moves": (
        "stroke",
        {
            "age": 62,
            "stroke_tia": False,
            "known_htn": True,
            "known_dm": False,
            "af_or_valve": False,
            "dyslipidaemia": False,
            "smoker": True,
            "inactive": True,
            "family_stroke": False,
            "bmi": 22.0,
        },
        "STROKE-8",
        "HIGH",
        "referral",
        "county_hospital",
    ),
    "44 y, cough for 2 weeks": (
        "tb",
        {"age": 44, "cough_weeks": 2},
        "TB-SYMPTOM",
        "SUSPECT",
        "referral",
        "tb_centre",
    ),
    "39 y, cyst CE2 in the liver": (
        "echinococcosis",
        {"age": 39, "echino_organ": "liver", "ce_stage": "CE2"},
        "ECHINO-CE",
        "ACTIVE",
        "referral",
        "echinococcosis_centre",
    ),
    "39 y, ultrasound without a lesion": (
        "echinococcosis",
        {"age": 39, "echino_organ": "none"},
        "ECHINO-CE",
        "NEGATIVE",
        "advice",
        "",
    ),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, SimulatedClock(MORNING))
    yield made
    made.close()


@pytest.mark.parametrize("who", list(WALKS))
def test_what_a_path_ends_in(who: str, world: World) -> None:
    path, known, rule, code, proposed, to = WALKS[who]
    results = world.prompts.results_of(PATHS.paths[path].rules, PATHS.derive(dict(known)))
    outcome = PATHS.paths[path].outcome(results)
    codes = {result.rule: result.code for result in results}
    assert codes[rule] == code
    assert (outcome.next[0], outcome.to) == (proposed, to)
    if outcome.rule:
        assert (outcome.rule, code in outcome.codes) == (rule, True)


@pytest.mark.parametrize(
    ("path", "known", "asked"),
    [
        ("hypertension", {"sbp": 150, "dbp": 90, "known_htn": False}, ["danger", "circumstances"]),
        ("hypertension", {"sbp": 118, "dbp": 74, "known_htn": False}, ["body", "habits", "waist"]),
        ("hypertension", {"known_htn": True}, ["pressure", "danger", "circumstances", "treatment"]),
        ("af", {"rr_irregular": False}, []),
        ("af", {"rr_irregular": False, "age": 74}, []),
        ("af", {"rr_irregular": False, "age": 75}, ["ecg", "reading"]),
        ("af", {"rr_irregular": False, "age": 75, "ecg_strips": 1, "ecg_reading": "not_af"}, []),
        ("af", {"rr_irregular": True, "ecg_strips": 0}, ["ecg", "reading"]),
        ("af", {"rr_irregular": True, "ecg_strips": 1, "ecg_reading": "unclear"}, ["ecg_again", "reading_again"]),
        ("af", {"rr_irregular": True, "ecg_strips": 1, "ecg_af": False}, []),
        ("copd", {"ever_smoked": False, "bmi": 22.0, "chronic_cough": False}, ["breath", "fuel", "family"]),
        ("echinococcosis", {"dog_contact": True, "herding": False, "echino_organ": "spleen"}, ["size", "stage"]),
    ],
)
def test_only_what_is_not_known_is_asked(path: str, known: dict[str, Any], asked: list[str]) -> None:
    walked = PATHS.paths[path].walked(PATHS.derive(dict(known)))
    assert [step.id for step, state in walked if state == "open" and not step.optional] == asked


DIABETES_NO_RISK: dict[str, Any] = {
    "age": 36,
    "bmi": 22.0,
    "waist": 79,
    "glu": 5.0,
    "fpg": 5.0,
    "known_dm": False,
    "dm_symptoms": False,
    "known_htn": False,
    **dict.fromkeys(("igr_history", "family_dm", "sedentary", "lipid_factor", "ascvd", "steroid_dm"), False),
    "antipsychotic": False,
}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"sex": "M"}, "NOT_HIGH_RISK"),
        ({"sex": "F", "gdm_history": False, "pcos": False}, "NOT_HIGH_RISK"),
        ({"sex": "M", "known_htn": True}, "HIGH_RISK"),
        ({"sex": "F", "gdm_history": True, "pcos": False}, "HIGH_RISK"),
    ],
    ids=["man", "woman", "hypertension", "diabetes in pregnancy"],
)
def test_whoever_answers_all_of_the_diabetes_path_learns_whether_the_risk_is_high(
    more: dict[str, Any], code: str
) -> None:
    path = PATHS.paths["diabetes"]
    known = PATHS.derive({**DIABETES_NO_RISK, **more})
    asked = {name for step, _ in path.walked(known) for name in step.ask}
    assert set(more) - {"sex"} <= asked
    assert path.next_step(known) is None
    assert RULES.evaluate("GLU-HIGHRISK", known).code == code


def test_the_diabetes_path_measures_what_its_urgent_rule_hears() -> None:
    path = PATHS.paths["diabetes"]
    known: dict[str, object] = {"age": 58, "sex": "M", "glu": 6.4, "fpg": 6.4, "known_dm": True}
    known |= {"sbp": 128, "dbp": 76, "hr": 72, "dm_danger": False, "cannot_handle": False}
    known |= dict.fromkeys(("adverse_drug", "adr_uncontrolled", "new_complication", "prev_unsat"), False)
    step = path.next_step(known)
    assert step is not None
    assert step.measure == "temperature"
    known["temp"] = 36.6
    assert path.next_step(known) is None
    assert RULES.evaluate("GLU-URGENT", known).code == "NO_URGENT"


def test_the_table_names_only_what_there_is() -> None:
    fields = {**PATHS.fields, **RULES.fields}
    for path in PATHS.paths.values():
        for step in path.steps:
            assert sum(map(bool, (step.ask, step.measure, step.record))) == 1, f"{path.id} {step.id}"
            assert all(name in PATHS.questions for name in step.ask)
            assert all(name == "meal" or name in fields for name in (*step.ask, *step.needs))
        for outcome in path.outcomes:
            body = RULES.rule(outcome.rule).body
            codes = {case["code"] for case in body["cases"]} | {body.get("default", {}).get("code")}
            assert set(outcome.codes) <= codes, outcome
            assert set(outcome.next) <= set(NEXT)
            assert outcome.urgency in URGENCIES
            assert not outcome.to or outcome.to in PATHS.places
        assert set(path.rules) <= set(OCCASIONS)
    for name, question in PATHS.questions.items():
        if question.options and name != "meal":
            assert all(fields[name].accepts(option.value) for option in question.options), name


def test_every_outcome_that_refers_comes_from_an_orange_or_red_case() -> None:
    for path in PATHS.paths.values():
        for outcome in path.outcomes:
            if outcome.next[0] != "referral":
                continue
            levels = {case["code"]: case["level"] for case in RULES.rule(outcome.rule).body["cases"]}
            assert all(levels[code] >= 2 for code in outcome.codes), outcome


def test_a_table_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="screening-paths/1"):
        read_paths('schema = "screening-paths/9"')


async def test_answers_are_kept_at_once_and_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    clock = SimulatedClock(MORNING)
    world = World(tmp_path, clock)
    patient = await world.serve()
    here = world.encounters.current()
    assert here is not None
    assert {one.path: one.state for one in world.paths.cards(here.encounter, "zh")}["copd"] == "due"
    await world.paths.answer(here.encounter, "copd", {"ever_smoked": False}, DOCTOR)
    await world.paths.answer(here.encounter, "copd", {"chronic_cough": True}, DOCTOR)
    world.close()
    again = World(tmp_path, clock, seed=2)
    page = again.paths.page(here.encounter, "copd", "zh")
    assert page.step is not None
    assert page.step.id == "body"
    assert page.missing == ("身高体重", "气短", "煤炉柴草", "家族史")
    assert {row.field: row.value for row in page.known} == {"age": 67, "pack_years": 0, "chronic_cough": True}
    assert again.paths.page(here.encounter, "copd", "zh", after="body").step.id == "breath"  # type: ignore[union-attr]
    assert {one.path: one.state for one in again.paths.cards(here.encounter, "zh")}["copd"] == "going_on"
    assert again.kinds().count("screening_path/1") == 1
    assert patient.patient == again.encounters.current().patient.patient  # type: ignore[union-attr]
    again.close()


async def test_a_path_ends_with_its_results_kept_and_counts_for_the_visit(world: World) -> None:
    await world.serve()
    here = world.encounters.current()
    assert here is not None
    answers = {"cough_weeks": 0, "haemoptysis": False, "fever": False, "night_sweats": False, "chest_pain": False}
    await world.paths.answer(here.encounter, "tb", {**answers, "weight_loss": False}, DOCTOR)
    await world.paths.answer(here.encounter, "tb", {"appetite_loss": False, "fatigue": False}, DOCTOR)
    before = {row.path: (row.asked, row.due) for row in world.paths.progress(here.visit, "zh")}
    assert before["tb"] == (0, 1)
    await world.paths.end(here.encounter, "tb", "advice", DOCTOR)
    run = world.store.read("SELECT * FROM screening_paths")[0]
    kept = world.store.read("SELECT * FROM screening_results WHERE rule = 'TB-SYMPTOM' ORDER BY at, result")[-1]
    assert (run["rule"], run["code"], run["next"]) == ("TB-SYMPTOM", "NEGATIVE", "advice")
    assert kept["result"] in run["results_json"]
    after = {row.path: (row.asked, row.due) for row in world.paths.progress(here.visit, "zh")}
    assert after["tb"] == (1, 1)
    assert "echinococcosis" not in after
    await world.encounters.close(DOCTOR)
    world.clock.advance(86400.0)
    await world.serve()
    again = world.encounters.current()
    assert again is not None
    assert {one.path: one.state for one in world.paths.cards(again.encounter, "zh")}["tb"] == "not_due"


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"sbp": 120}, "sbp"),
        ({"ever_smoked": "perhaps"}, "ever_smoked"),
        ({"years_smoked": 300}, "years_smoked"),
        ({"chronic_cough": True, "dyspnoea_grade": 7}, "dyspnoea_grade"),
    ],
)
async def test_an_answer_that_cannot_be_is_refused_and_nothing_is_kept(
    world: World, told: dict[str, Any], field: str
) -> None:
    await world.serve()
    here = world.encounters.current()
    assert here is not None
    with pytest.raises(AnswerRefused) as refused:
        await world.paths.answer(here.encounter, "copd", told, DOCTOR)
    assert refused.value.facts["field"] == field
    assert "reading/1" not in world.kinds()


async def test_an_echinococcosis_form_says_organ_segment_number_size_stage_and_its_pictures(world: World) -> None:
    await world.serve()
    here = world.encounters.current()
    assert here is not None
    picture = {
        "sha256": "ab" * 32,
        "bytes": 9,
        "media_type": "image/jpeg",
        "what": "ultrasound_still",
        "duration_ms": 0,
    }
    more = {"started_at": "2026-03-01T01:00:00.000Z", "facts": {}, "patient": here.patient.patient}
    await world.store.commit(Draft("recording/1", {**picture, **more}, DOCTOR, here.visit, here.encounter))
    form = {"dog_contact": True, "herding": False, "echino_organ": "liver", "echino_segment": "S7"}
    await world.paths.answer(here.encounter, "echinococcosis", form, DOCTOR)
    size = {"echino_lesions": 2, "echino_length_mm": 62, "echino_width_mm": 48, "echino_depth_mm": 45}
    await world.paths.answer(here.encounter, "echinococcosis", {**size, "ce_stage": "CE3b"}, DOCTOR)
    result = world.paths.result(here.encounter, "echinococcosis", "zh")
    assert (result.prompts[0].code, result.open_steps) == ("TRANSITIONAL", ())
    assert [f"{row.label} {row.value} {row.unit}".strip() for row in result.also] == [
        "养狗或常与狗接触 True",
        "放牧或处理牲畜内脏 False",
        "超声图像 1 幅",
        "病灶所在脏器 肝",
        "肝段 S7 右后上",
        "病灶个数 2 个",
        "最大病灶 长 62 mm",
        "最大病灶 宽 48 mm",
        "最大病灶 厚 45 mm",
    ]
    draft = world.referrals.proposed(here.encounter, "echinococcosis", "zh")
    assert "肝段 S7 右后上，病灶个数 2 个，最大病灶 长 62 mm" in draft.findings
    await world.referrals.refer(here.encounter, draft, DOCTOR)
    run = world.store.read("SELECT pictures_json FROM screening_paths")[0]
    assert json.loads(run["pictures_json"]) == ["ab" * 32]


async def test_there_is_no_path_of_another_name(world: World) -> None:
    await world.serve()
    here = world.encounters.current()
    assert here is not None
    with pytest.raises(PathUnknown):
        world.paths.page(here.encounter, "scurvy", "zh")


async def test_a_referral_is_proposed_kept_and_followed_up(world: World) -> None:
    await world.serve(card(born_on=date(1961, 2, 3)))
    here = world.encounters.current()
    assert here is not None
    await world.paths.answer(here.encounter, "tb", {"cough_weeks": 4, "haemoptysis": True}, DOCTOR)
    draft = world.referrals.proposed(here.encounter, "tb", "zh")
    assert (draft.to, draft.urgency) == ("结核病定点医疗机构", "urgent")
    assert draft.reason == "肺结核可疑症状筛查：肺结核可疑症状者。"
    assert draft.findings == "咳嗽咳痰持续周数 4 周，咯血或血痰 是"
    for broken, field in (
        (ReferralDraft("", "", "urgent", "why", "", "tb"), "to"),
        (ReferralDraft("here", "", "urgent", " ", "", "tb"), "reason"),
        (ReferralDraft("here", "", "soon", "why", "", "tb"), "urgency"),
    ):
        with pytest.raises(ReferralIncomplete) as refused:
            await world.referrals.refer(here.encounter, broken, DOCTOR)
        assert refused.value.facts["field"] == field
    assert "referral/1" not in world.kinds()
    kept = await world.referrals.refer(here.encounter, draft, DOCTOR)
    assert kept.results == tuple(world.paths.results_kept(here.encounter, "tb"))
    day = kept.follow_up_on
    assert day is not None
    assert (day - world.clock.now().date()).days == 7
    assert [one.referral for one in world.referrals.to_follow_up(day)] == [kept.referral]
    followed = await world.referrals.follow(kept.referral, "arrived", "3 日已就诊", DOCTOR)
    assert (followed.outcome, followed.note) == ("arrived", "3 日已就诊")
    assert world.referrals.to_follow_up(day) == []
    with pytest.raises(ReferralUnknown):
        await world.referrals.follow("nobody", "arrived", "", DOCTOR)
