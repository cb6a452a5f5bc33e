"""The yearly check-up, forms of pregnancy, after birth and of what lasts: what fills them in and what follows."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from sync.interop import fhir_allergies
from sync.screening.evaluator import shipped_rules
from vehicle.clinic.forms.filling import (
    COMPUTED,
    FORM,
    KNOWN,
    LAST,
    PERSON,
    READING,
    Filled,
    Given,
    Known,
    Said,
    expected_delivery,
    fill,
)
from vehicle.clinic.forms.form import ValueRefused, form_after, shipped_forms
from vehicle.clinic.forms.wording import shown_answer

FORMS = shipped_forms()
RULES = shipped_rules()
TODAY = date(2026, 11, 22)


def filled(form: str, told: dict[str, Any], **more: Any) -> Filled:
    return fill(FORMS[form], Given(TODAY, told, **more), RULES)


@pytest.mark.parametrize(
    ("last_period", "expected"),
    [("2026-03-10", "2026-12-17"), ("2026-05-01", "2027-02-08"), ("2025-05-31", "2026-03-07")],
)
def test_expected_delivery_by_the_rule_of_the_national_form(last_period: str, expected: str) -> None:
    assert expected_delivery(date.fromisoformat(last_period)).isoformat() == expected
    found = filled("antenatal_first", {"last_period_on": last_period})
    assert (found.value("expected_on"), found.answers["expected_on"].source) == (expected, COMPUTED)
    assert (
        filled("antenatal_first", {"last_period_on": last_period, "expected_on": "2026-12-20"}).value("expected_on")
        == "2026-12-20"
    )


@pytest.mark.parametrize(
    ("told", "next_on"),
    [
        ({"last_period_on": "2026-09-20", "finding": "1"}, "2027-01-10"),
        ({"last_period_on": "2026-09-20", "finding": "2", "referral": "1"}, "2026-12-06"),
        ({"last_period_on": "2026-09-20", "finding": "2", "referral": "2"}, "2026-12-06"),
        ({"last_period_on": "2026-09-20"}, None),
    ],
)
def test_after_the_first_check_comes_the_sixteenth_week_or_two_weeks_after_a_finding(
    told: dict[str, Any], next_on: str | None
) -> None:
    assert filled("antenatal_first", told).value("next_on") == next_on


def test_the_forms_of_a_pregnancy_follow_each_other() -> None:
    order = ["antenatal_first", "maternal", "maternal", "postpartum_visit"]
    assert form_after("maternal", None).id == "antenatal_first"
    assert form_after("maternal", "antenatal_first").id == "maternal"
    assert form_after("maternal", "maternal").id == "maternal", "until somebody says that the child is born"
    assert form_after("maternal", "postpartum_visit").id == "postpartum_42"
    assert form_after("hypertension", "hypertension").id == "hypertension"
    assert all(FORMS[form].sex == "female" for form in order)


WELL = {"temperature_c": "36.8", "systolic_mmhg": 118, "diastolic_mmhg": 74} | dict.fromkeys(
    ("breasts", "lochia", "uterus", "wound"), "1"
)
POSTPARTUM_TABLE: list[tuple[dict[str, Any], str | None, str | None]] = [
    # what is otherwise | finding, next date
    ({}, "1", "2027-01-01"),
    ({"delivered_on": "2026-10-01"}, "1", "2026-11-29"),
    ({"lochia": "2"}, "2", None),
    ({"lochia": "2", "referral": "2"}, "2", "2026-12-06"),
    ({"temperature_c": "38.0"}, "2", None),
    ({"temperature_c": "37.9"}, "1", "2027-01-01"),
    ({"systolic_mmhg": 140}, "2", None),
    ({"wound": None}, None, None),
    ({"wound": None, "lochia": "2", "referral": "2"}, "2", "2026-12-06"),
]


@pytest.mark.parametrize(("more", "finding", "next_on"), POSTPARTUM_TABLE)
def test_postpartum_finding_and_the_check_after_42_days(
    more: dict[str, Any], finding: str | None, next_on: str | None
) -> None:
    found = filled("postpartum_visit", {"delivered_on": "2026-11-20", **WELL, **more})
    assert (found.value("finding"), found.value("next_on")) == (finding, next_on)


def test_the_check_after_42_days_ends_the_programme_or_asks_for_another() -> None:
    before = {"delivered_on": Said("2026-10-11", "postpartum_visit", date(2026, 10, 20))}
    well = filled("postpartum_42", WELL, forms=before)
    assert (well.value("delivered_on"), well.answers["delivered_on"].source) == ("2026-10-11", FORM)
    assert well.answers["delivered_on"].of == "postpartum_visit"
    assert (well.value("days_after"), well.value("outcome"), well.ends) == (42, "1", "delivered")
    assert "next_on" in well.hidden
    ill = filled("postpartum_42", {**WELL, "uterus": "2", "outcome": "2"}, forms=before)
    assert (ill.value("finding"), ill.ends, ill.value("next_on")) == ("2", "", "2026-12-06")
    assert {"referral_said", "uterus_said"} & set(ill.missing) == {"referral_said"}


def test_the_check_up_is_filled_in_from_readings_laboratory_and_the_signed_ecg() -> None:
    readings = {
        "sbp": Known(152, "reading-1", "cuff-1", TODAY),
        "dbp": Known(86, "reading-1", "cuff-1", TODAY),
        "sbp_left": Known(148.0, "reading-2", "person", TODAY),
        "waist": Known(92.0, "reading-2", "person", TODAY),
        "lab.alt": Known(31.0, "reading-3", "chem-1", TODAY),
        "lab.u_protein": Known("2", "reading-4", "urine-1", date(2026, 3, 1), earlier=True),
        "hb": Known(118.0, "reading-5", "count-1", date(2025, 11, 21), earlier=True),
        "ecg": Known("2", "a" * 64, "ecg-1", TODAY),
        "ecg.words": Known("心率88次/分，房颤可能性大；医生：房颤（周敏签）", "a" * 64, "ecg-1", TODAY),
    }
    elsewhere = {"qi_deficiency": Said("1", "tcm_constitution", date(2026, 11, 1))}
    found = filled("elderly", {}, readings=readings, forms=elsewhere, facts={"age": 70, "sex": "M"})
    values = {name: found.value(name) for name in ("systolic_mmhg", "systolic_left_mmhg", "waist_cm", "alt_u_l")}
    assert values == {"systolic_mmhg": 152, "systolic_left_mmhg": 148, "waist_cm": 92, "alt_u_l": 31}
    assert (found.value("urine_protein"), found.answers["urine_protein"].source) == ("2", KNOWN)
    assert found.value("haemoglobin_g_l") is None, "older than twelve months: measured again"
    assert (found.value("ecg"), found.answers["ecg_said"].source) == ("2", READING)
    assert found.value("qi_deficiency") == "1"
    assert "vulva" in found.hidden
    assert "vulva" not in filled("elderly", {}, facts={"age": 70, "sex": "F"}).hidden
    assert "vulva" not in filled("elderly", {}, facts={"age": 70, "sex": ""}).hidden, "who is not known is asked"


def test_nothing_calls_an_ecg_normal_but_the_doctor() -> None:
    words = {"ecg.words": Known("心率70次/分，未提示房颤；医生：非房颤（周敏签）", "b" * 64, "ecg-1", TODAY)}
    assert filled("elderly", {}, readings=words).value("ecg") is None


@pytest.mark.parametrize(
    ("told", "hidden"),
    [
        ({"smoking": "1"}, {"cigarettes_per_day", "smoking_from_age", "smoking_to_age"}),
        ({"smoking": "3"}, {"smoking_to_age"}),
        ({"smoking": "2"}, set()),
    ],
)
def test_who_never_smoked_is_not_asked_how_much(told: dict[str, Any], hidden: set[str]) -> None:
    found = filled("elderly", told)
    assert {name for name in ("cigarettes_per_day", "smoking_from_age", "smoking_to_age") if name in found.hidden} == (
        hidden
    )


def test_the_share_of_doses_and_the_end_of_a_treatment() -> None:
    told = {"stopped": "2", "stopped_why": "1", "doses_due": 180, "doses_taken": 171}
    found = filled("tuberculosis", told)
    assert (found.value("doses_percent"), found.ends) == (95, "cured")
    assert "next_on" in found.hidden
    assert filled("tuberculosis", {"stopped": "2", "stopped_why": "3"}).ends == "lost"
    assert filled("tuberculosis", {}).ends == ""


@pytest.mark.parametrize(
    ("given", "reason"), [("", "type"), ("  ", "type"), ("长" * 301, "length"), (["x"], "type"), (7, "type")]
)
def test_a_text_is_a_text_of_bounded_length(given: object, reason: str) -> None:
    with pytest.raises(ValueRefused) as refused:
        FORMS["postpartum_visit"].fields["general_said"].checked(given)
    assert refused.value.reason == reason


def test_a_phrase_of_one_tap_is_kept_in_chinese_and_read_in_both_languages() -> None:
    one = FORMS["postpartum_visit"].fields["general_said"]
    assert (shown_answer(one, "良好", "zh"), shown_answer(one, "良好", "en")) == ("良好", "good")
    assert shown_answer(one, "有点咳嗽", "en") == "有点咳嗽"


def test_severe_mental_illness_is_not_among_the_past_illnesses_that_everybody_reads() -> None:
    fields = FORMS["background"].fields
    for name in ("past_illnesses", "family_father", "family_mother", "family_siblings", "family_children"):
        assert fields[name].choice("8") is None
    assert fields["disabilities"].choice("7") is None


@pytest.mark.parametrize(
    ("form", "field", "code", "said"),
    [
        ("severe_mental_illness", "dangerous_acts", "7", "无"),
        ("severe_mental_illness", "dangerous_acts", "1", "轻度滋事"),
        ("severe_mental_illness", "taking", "4", "医嘱勿需用药"),
        ("tuberculosis", "symptoms", "6", "关节疼痛"),
        ("tuberculosis", "symptoms", "10", "耳鸣、听力下降"),
        ("tuberculosis", "stopped_why", "4", "转入耐多药治疗"),
        ("antenatal_first", "habits", "6", "接触放射线"),
        ("antenatal_first", "advice", "5", "产前筛查宣传告知"),
        ("postpartum_42", "advice", "2", "性保健与避孕"),
        ("newborn", "delivery", "5", "双多胎"),
        ("newborn", "screened", "3", "甲低"),
        ("newborn", "cord", "3", "脐部有渗出"),
        ("newborn", "advice", "4", "预防伤害指导"),
        ("elderly", "teeth_all", "4", "义齿（假牙）"),
        ("elderly", "foot_pulse", "3", "触及左侧弱或消失"),
        ("background", "drug_allergies", "4", "链霉素"),
    ],
)
def test_codes_are_those_of_the_national_form(form: str, field: str, code: str, said: str) -> None:
    """Held against public copies of the third edition; each file says what stays unverified."""
    choice = FORMS[form].fields[field].choice(code)
    assert choice is not None
    assert choice.zh == said
    assert FORMS[form].unverified


def test_fhir_knows_every_allergy_of_the_form_by_its_word() -> None:
    for field, substances in fhir_allergies.SUBSTANCES.items():
        choices = {choice.code: choice.zh for choice in FORMS["background"].fields[field].choices}
        assert {code: word for code, (word, _) in substances.items()} == {
            code: word for code, word in choices.items() if code != fhir_allergies.NONE
        }
    assert fhir_allergies.FORM == "background"


# newborn --------------------------------------------------------------------------------------------------------------

WELL_BABY: dict[str, Any] = {
    "temperature_c": "36.8",
    "heart_rate_bpm": 136,
    "breaths_per_min": 44,
    "birth_weight_kg": "3.2",
    "gestation_weeks": 39,
    "delivery": ["1"],
    "malformation": "1",
    "face": "1",
    "jaundice": ["2"],
    "fontanelle": "1",
    "skin": ["1"],
    "cord": "2",
} | dict.fromkeys(
    [
        "eyes",
        "limbs",
        "ears",
        "neck_lump",
        "nose",
        "mouth",
        "anus",
        "heart_lungs",
        "chest",
        "abdomen",
        "spine",
        "genitals",
    ],
    "1",
)
NEWBORN_TABLE: list[tuple[str, dict[str, Any], str | None, str | None]] = [
    # born, what is otherwise | referral, next date
    ("2026-11-12", {}, "1", "2026-12-10"),
    ("2026-11-12", {"temperature_c": "37.4"}, "1", "2026-12-10"),
    ("2026-11-12", {"temperature_c": "37.5"}, "2", "2026-11-25"),
    ("2026-11-12", {"temperature_c": "35.6"}, "1", "2026-12-10"),
    ("2026-11-12", {"temperature_c": "35.5"}, "2", "2026-11-25"),
    ("2026-11-12", {"breaths_per_min": 60}, "1", "2026-12-10"),
    ("2026-11-12", {"breaths_per_min": 61}, "2", "2026-11-25"),
    ("2026-11-12", {"breaths_per_min": 19}, "2", "2026-11-25"),
    ("2026-11-12", {"heart_rate_bpm": 160}, "1", "2026-12-10"),
    ("2026-11-12", {"heart_rate_bpm": 161}, "2", "2026-11-25"),
    ("2026-11-12", {"heart_rate_bpm": 99}, "2", "2026-11-25"),
    ("2026-11-12", {"jaundice": ["2", "3"]}, "2", "2026-11-25"),
    ("2026-11-12", {"jaundice": None}, None, None),
    ("2026-11-12", {"jaundice": None, "neck_lump": "2"}, "2", "2026-11-25"),
    ("2026-11-12", {"cord": "3"}, None, None),
    ("2026-11-12", {"birth_weight_kg": "2.49"}, "1", "2026-11-29"),
    ("2026-11-12", {"birth_weight_kg": "2.5"}, "1", "2026-12-10"),
    ("2026-11-12", {"gestation_weeks": 36}, "1", "2026-11-29"),
    ("2026-11-12", {"delivery": ["4", "5"]}, "1", "2026-11-29"),
    ("2026-11-01", {"birth_weight_kg": "2.4"}, "1", "2026-11-29"),
]


@pytest.mark.parametrize(("born_on", "more", "referral", "next_on"), NEWBORN_TABLE)
def test_a_newborn_is_referred_by_the_rules_of_the_visit_and_seen_again_when_a_month_old(
    born_on: str, more: dict[str, Any], referral: str | None, next_on: str | None
) -> None:
    found = filled("newborn", {**WELL_BABY, **more}, facts={"born_on": born_on})
    assert (found.value("referral"), found.value("next_on"), found.ends) == (referral, next_on, "")


def test_the_visit_of_a_newborn_is_filled_in_from_registration_readings_and_the_visit_before() -> None:
    readings = {
        "weight_kg": Known(3.65, "reading-1", "scale-1", TODAY),
        "temp": Known(36.9, "reading-2", "thermometer-1", TODAY),
        "hr": Known(148, "reading-3", "oximeter-1", TODAY),
    }
    before = {"birth_weight_kg": "3.2", "gestation_weeks": 39, "temperature_c": "39", "delivery": ["1"]}
    facts = {"born_on": "2026-11-12"}
    found = filled("newborn", {}, readings=readings, last=before, last_on=date(2026, 11, 15), facts=facts)
    said = ("born_on", "days_old", "weight_kg", "temperature_c", "heart_rate_bpm", "birth_weight_kg", "gestation_weeks")
    assert [found.value(name) for name in said] == ["2026-11-12", 10, "3.65", "36.9", 148, "3.2", 39]
    sources = [found.answers[name].source for name in said]
    assert sources == [PERSON, COMPUTED, READING, READING, READING, LAST, LAST]


@pytest.mark.parametrize(("born_on", "ends"), [("2026-10-26", ""), ("2026-10-25", "transferred")])
def test_at_four_weeks_a_healthy_child_leaves_the_programme(born_on: str, ends: str) -> None:
    assert filled("newborn", WELL_BABY, facts={"born_on": born_on}).ends == ends
    ill = filled("newborn", {**WELL_BABY, "limbs": "2"}, facts={"born_on": born_on})
    assert (ill.ends, ill.value("next_on")) == ("", "2026-11-25")
