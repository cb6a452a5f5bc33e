"""Follow-up forms as data, and what follows from answers: tables that an administrator can read."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given as each
from hypothesis import settings
from hypothesis import strategies as st

from sync.county import follow_up_report
from sync.formats.canonical import check
from sync.screening.evaluator import shipped_rules
from vehicle.clinic.forms.filling import (
    COMPUTED,
    DOCTOR,
    LAST,
    READING,
    RULE,
    Filled,
    Given,
    Known,
    bmi,
    fill,
    months_later,
    span_later,
)
from vehicle.clinic.forms.form import (
    MARKS,
    ORDER,
    Field,
    FormFileRefused,
    ValueRefused,
    programme_forms,
    read_form,
    shipped_forms,
)
from vehicle.clinic.programmes import LEFT_FOR

FORMS = shipped_forms()
RULES = shipped_rules()
IN_FORCE = frozenset(rule.id for rule in RULES.switched_on())
TODAY = date(2026, 11, 22)
EVERY_FIELD = [(form, name) for form in ORDER for name in FORMS[form].fields]


def filled(form: str, told: dict[str, Any], **more: Any) -> Filled:
    return fill(FORMS[form], Given(TODAY, told, rules_in_force=IN_FORCE, **more), RULES)


@pytest.mark.parametrize(
    ("form", "sex", "age", "offered"),
    [
        ("hypertension", "male", 18, True),
        ("hypertension", "male", 17, False),
        ("hypertension", "male", None, True),
        ("diabetes", "female", 17, False),
        ("elderly", "male", 64, False),
        ("elderly", "female", 65, True),
        ("tcm_constitution", "male", 64, False),
        ("maternal", "female", 30, True),
        ("maternal", "male", 30, False),
        ("maternal", "female", 60, False),
        ("maternal", "female", 11, False),
        ("maternal", "unknown", None, True),
        ("newborn", "male", 0, True),
        ("newborn", "female", 1, False),
        ("newborn", "female", None, True),
    ],
)
def test_whom_a_programme_is_offered_to(form: str, sex: str, age: int | None, offered: bool) -> None:
    assert FORMS[form].suits(sex, age) is offered


# the files ------------------------------------------------------------------------------------------------------------


def test_all_forms_of_the_service_are_there() -> None:
    assert set(FORMS) == {
        "background",
        "antenatal_first",
        "postpartum_visit",
        "postpartum_42",
        "newborn",
        "hypertension",
        "diabetes",
        "elderly",
        "severe_mental_illness",
        "tuberculosis",
        "maternal",
        "tcm_constitution",
    }
    assert [form for form in ORDER if FORMS[form].confidential] == ["severe_mental_illness"]


def test_the_county_knows_the_same_programmes_and_what_is_confidential() -> None:
    assert set(follow_up_report.PROGRAMMES) == set(programme_forms())
    for programme, forms in programme_forms().items():
        ids = tuple(form.id for form in forms)
        assert follow_up_report.FORMS.get(programme, (programme,)) == ids
    assert {name for name, form in FORMS.items() if form.confidential} == follow_up_report.CONFIDENTIAL


@pytest.mark.parametrize("form", ORDER)
def test_a_form_has_words_in_both_languages_a_source_a_mark_and_a_next_date(form: str) -> None:
    it = FORMS[form]
    assert all((it.zh, it.en, it.source, it.source_en, it.verification in MARKS))
    if it.programme:
        assert it.fields["next_on"].required
        assert it.nexts
    assert not it.then or FORMS[it.then].programme == it.programme
    assert {end.reason for end in it.ends} <= set(LEFT_FOR)
    for section in it.sections:
        assert section.zh
        assert section.en
        assert 1 <= len(section.fields) <= 20


@pytest.mark.parametrize(("form", "name"), EVERY_FIELD, ids=[f"{form}-{name}" for form, name in EVERY_FIELD])
def test_a_field_has_words_in_both_languages_and_a_sane_range(form: str, name: str) -> None:
    one = FORMS[form].fields[name]
    chinese = any("一" <= character <= "鿿" for character in one.zh)
    assert chinese
    assert one.en.isascii()
    assert one.verification in MARKS
    for choice in one.choices:
        assert choice.code
        assert choice.zh
        assert choice.en
    if one.type in ("number", "computed"):
        assert one.unit
        assert one.unit_words("en").isascii() or one.unit_words("en") in ("kg/m²", "℃", "10⁹/L")
        assert one.low is not None
        assert one.high is not None
        assert 0 <= one.low < one.high <= 3000
        assert 0 <= one.digits <= 2
        for tap in one.taps:
            one.checked(tap)
    for source in one.sources:
        kind, _, of = source.partition(":")
        assert source == "last" or kind in ("reading", "known", "year", "form", "fact")
        assert kind != "form" or any(of in other.fields for id_, other in FORMS.items() if id_ != form)


def answers_of(one: Field) -> st.SearchStrategy[object]:
    codes = [choice.code for choice in one.choices]
    if one.type in ("number", "computed"):
        return st.decimals(one.low, one.high, allow_nan=False, places=one.digits)
    if one.type == "code":
        return st.sampled_from(codes)
    if one.type == "codes":
        return st.lists(st.sampled_from([code for code in codes if code != one.alone]), min_size=1, unique=True)
    if one.type == "text":
        return st.text("良好，无异常 abc", min_size=1, max_size=300).filter(str.strip)
    if one.type == "date":
        return st.dates(date(2020, 1, 1), date(2030, 1, 1)).map(date.isoformat)
    return st.lists(st.fixed_dictionaries({"name": st.just("氨氯地平片"), "use": st.text("每日次 mg", max_size=20)}))


@pytest.mark.parametrize("form", ORDER)
@settings(max_examples=25)
@each(data=st.data())
def test_any_allowed_answers_can_be_kept_and_filling_never_fails(form: str, data: st.DataObject) -> None:
    """What is filled in is canonical, within range, and the same when asked again; a doctor's answer stays."""
    it = FORMS[form]
    names = data.draw(st.lists(st.sampled_from(sorted(it.fields)), unique=True, max_size=14))
    told = {
        name: it.fields[name].checked(data.draw(answers_of(it.fields[name])))
        for name in names
        if it.fields[name].type != "computed"
    }
    found = filled(form, told)
    assert filled(form, told) == found
    for name, answer in found.answers.items():
        check({name: answer.value})
        assert it.fields[name].checked(answer.value) == answer.value
        assert name not in told or (answer.value == told[name] and answer.source == DOCTOR)
    assert set(found.missing).isdisjoint(found.answers)
    assert set(found.answers).isdisjoint(found.hidden)


@pytest.mark.parametrize(
    ("form", "name", "given", "reason"),
    [
        ("hypertension", "systolic_mmhg", "49", "range"),
        ("hypertension", "systolic_mmhg", "301", "range"),
        ("hypertension", "systolic_mmhg", "high", "type"),
        ("hypertension", "systolic_mmhg", "NaN", "type"),
        ("hypertension", "way", "4", "choice"),
        ("hypertension", "symptoms", ["1", "2"], "alone"),
        ("hypertension", "symptoms", [], "choice"),
        ("hypertension", "next_on", "2026-02-30", "type"),
        ("hypertension", "drugs", [{"use": "x"}], "type"),
        ("hypertension", "drugs", [{"name": "x" * 81}], "length"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(form: str, name: str, given: object, reason: str) -> None:
    with pytest.raises(ValueRefused) as refused:
        FORMS[form].fields[name].checked(given)
    assert (refused.value.reason, refused.value.name) == (reason, name)


def test_a_form_file_that_names_what_is_not_there_is_refused() -> None:
    text = """
id = "x"
version = "1"
programme = "x"
zh = "x"
en = "x"
source = "x"
source_en = "x"
verification = "V"
[[section]]
id = "s"
zh = "s"
en = "s"
[[section.field]]
name = "a"
type = "number"
zh = "a"
en = "a"
low = 3
high = 1
[[propose]]
field = "b"
code = "1"
when = { c = ["1"] }
"""
    with pytest.raises(FormFileRefused, match=r"low below high.*no field b.*no field c"):
        read_form(text)
    with pytest.raises(FormFileRefused, match="cannot be read"):
        read_form("id = 1")


# blood pressure: class, next step, next date -------------------------------------------------------------------------

CALM = {
    "danger": "1",
    "adverse_reactions": "1",
    "new_complication": "1",
}
BP_TABLE = [
    # systolic, diastolic, age, what else, last class | class, next step, next date
    (138, 88, 60, {}, None, "1", "1", "2027-02-22"),
    (140, 88, 60, {}, None, "2", "2", "2026-12-06"),
    (139, 90, 60, {}, None, "2", "2", "2026-12-06"),
    (148, 88, 65, {}, None, "1", "1", "2027-02-22"),
    (150, 88, 65, {}, None, "2", "2", "2026-12-06"),
    (150, 88, 70, {}, "2", "2", "3", "2026-12-06"),
    (150, 88, 70, {}, "1", "2", "2", "2026-12-06"),
    (130, 80, 60, {"adverse_reactions": "2", "adverse_uncontrolled": "1"}, None, "3", "2", "2026-12-06"),
    (130, 80, 60, {"adverse_reactions": "2", "adverse_uncontrolled": "2"}, None, "3", "3", "2026-12-06"),
    (130, 80, 60, {"new_complication": "2"}, None, "4", "3", "2026-12-06"),
    (182, 96, 60, {}, None, "2", "4", "2026-12-06"),
    (130, 80, 60, {"danger": "2"}, None, "1", "4", "2026-12-06"),
]


@pytest.mark.parametrize(("systolic", "diastolic", "age", "more", "before", "cls", "step", "next_on"), BP_TABLE)
def test_hypertension_class_and_next_date(
    systolic: int,
    diastolic: int,
    age: int,
    more: dict[str, str],
    before: str | None,
    cls: str,
    step: str,
    next_on: str,
) -> None:
    told = {**CALM, "systolic_mmhg": systolic, "diastolic_mmhg": diastolic, **more}
    last = {"follow_up_class": before} if before else {}
    found = filled("hypertension", told, last=last, facts={"age": age, "pregnant": False, "cannot_handle": False})
    assert (found.value("follow_up_class"), found.value("next_step"), found.value("next_on")) == (cls, step, next_on)
    assert found.answers["follow_up_class"].source == RULE
    assert found.answers["next_on"].source == COMPUTED


GLUCOSE_TABLE = [
    # fasting glucose, systolic, last class | class, next step, next date
    ("6.9", 130, None, "1", "1", "2027-02-22"),
    ("7.0", 130, None, "2", "2", "2026-12-06"),
    ("7.0", 130, "2", "2", "3", "2026-12-06"),
    ("16.7", 130, None, "2", "4", "2026-12-06"),
    ("3.9", 130, None, "1", "4", "2026-12-06"),
    ("6.0", 180, None, "1", "4", "2026-12-06"),
]


@pytest.mark.parametrize(("glucose", "systolic", "before", "cls", "step", "next_on"), GLUCOSE_TABLE)
def test_diabetes_class_and_next_date(
    glucose: str, systolic: int, before: str | None, cls: str, step: str, next_on: str
) -> None:
    told = {**CALM, "fasting_glucose_mmol_l": glucose, "systolic_mmhg": systolic, "diastolic_mmhg": 80}
    last = {"follow_up_class": before} if before else {}
    found = filled("diabetes", told, last=last, facts={"cannot_handle": False})
    assert (found.value("follow_up_class"), found.value("next_step"), found.value("next_on")) == (cls, step, next_on)


def test_nothing_mild_is_proposed_while_a_danger_sign_was_not_asked_for() -> None:
    told = {"adverse_reactions": "1", "new_complication": "1", "systolic_mmhg": 130, "diastolic_mmhg": 80}
    found = filled("hypertension", told, facts={"age": 60, "pregnant": False, "cannot_handle": False})
    assert found.value("follow_up_class") == "1"
    assert found.value("next_step") is None
    assert found.lacking["BP-URGENT"] == ("danger",)


def test_the_doctor_may_decide_otherwise_and_the_date_follows() -> None:
    told = {**CALM, "systolic_mmhg": 130, "diastolic_mmhg": 80, "next_step": "2"}
    found = filled("hypertension", told, facts={"age": 60, "pregnant": False, "cannot_handle": False})
    assert found.answers["next_step"].source == DOCTOR
    assert found.value("next_on") == "2026-12-06"
    cleared = filled("hypertension", {**told, "next_on": None}, facts={"age": 60})
    assert "next_on" in cleared.missing


def test_a_question_that_is_not_asked_is_neither_missing_nor_kept() -> None:
    told = {**CALM, "adverse_uncontrolled": "2"}
    found = filled("hypertension", told)
    assert "adverse_uncontrolled" in found.hidden
    assert "adverse_uncontrolled" not in found.answers
    assert "referral_to" not in found.missing


# where answers come from ----------------------------------------------------------------------------------------------


def test_readings_of_today_then_the_last_form_then_earlier_readings() -> None:
    readings = {
        "sbp": Known(142, "reading-1", "cuff-1", TODAY),
        "weight_kg": Known(61.25, "reading-2", "scale-1", TODAY),
        "height_cm": Known(158, "reading-0", "hand", date(2026, 8, 1), earlier=True),
        "dbp": Known(95, "reading-9", "cuff-1", date(2026, 8, 1), earlier=True),
    }
    last = {"target_weight_kg": 58, "drugs": [{"name": "氨氯地平片", "use": "每日1次"}], "salt": "2"}
    found = filled("hypertension", {"salt": "1"}, readings=readings, last=last, last_on=date(2026, 8, 22))
    assert (found.value("systolic_mmhg"), found.answers["systolic_mmhg"].source) == (142, READING)
    assert found.answers["systolic_mmhg"].of == "reading-1"
    assert "diastolic_mmhg" in found.missing, "a pressure of another day is not today's"
    assert (found.value("height_cm"), found.answers["height_cm"].on) == (158, date(2026, 8, 1))
    assert found.value("bmi") == "24.5"
    assert (found.value("target_weight_kg"), found.answers["target_weight_kg"].source) == (58, LAST)
    assert found.value("drugs") == [{"name": "氨氯地平片", "use": "每日1次"}]
    assert (found.value("salt"), found.answers["salt"].source) == ("1", DOCTOR)


# scores ---------------------------------------------------------------------------------------------------------------

SELF_CARE_TABLE = [
    # eating, washing, dressing, toilet, moving | points, class
    ("11111", 0, "1"),
    ("22222", 3, "1"),
    ("31211", 3, "1"),
    ("33111", 6, "2"),
    ("33211", 6, "2"),
    ("13122", 5, "2"),
    ("43111", 8, "2"),
    ("33311", 9, "3"),
    ("34331", 18, "3"),
    ("34332", 19, "4"),
    ("44444", 37, "4"),
]


@pytest.mark.parametrize(("codes", "points", "cls"), SELF_CARE_TABLE)
def test_self_care_score(codes: str, points: int, cls: str) -> None:
    names = ("eating", "grooming", "dressing", "toilet", "moving")
    told = {f"self_care_{name}": code for name, code in zip(names, codes, strict=True)}
    found = filled("elderly", told, facts={"age": 70})
    assert (found.value("self_care_score"), found.value("self_care_class")) == (points, cls)


def test_a_self_care_score_with_a_question_open_is_no_score() -> None:
    found = filled("elderly", {"self_care_eating": "1"}, facts={"age": 70})
    assert found.value("self_care_score") is None
    assert "self_care_class" in found.missing


SMI_TABLE = [
    # danger, symptoms, insight, one function | class, next date
    ("0", "1", "1", "1", "3", "2027-02-22"),
    ("1", "1", "1", "1", "2", "2026-12-06"),
    ("2", "1", "1", "1", "2", "2026-12-06"),
    ("0", "2", "1", "1", "2", "2026-12-06"),
    ("0", "1", "1", "3", "2", "2026-12-06"),
    ("3", "1", "1", "1", "1", "2026-12-06"),
    ("5", "1", "1", "1", "1", "2026-12-06"),
    ("0", "3", "1", "1", "1", "2026-12-06"),
    ("0", "1", "3", "1", "1", "2026-12-06"),
]


@pytest.mark.parametrize(("danger", "symptoms", "insight", "work", "cls", "next_on"), SMI_TABLE)
def test_severe_mental_illness_class_and_next_date(
    danger: str, symptoms: str, insight: str, work: str, cls: str, next_on: str
) -> None:
    functions = {f"function_{name}": "1" for name in ("self", "house", "learning", "company")}
    told = {"danger_level": danger, "symptoms_clear": symptoms, "insight": insight, "function_work": work}
    told |= {"adverse_reactions": "1", "severe_physical": "1", **functions}
    found = filled("severe_mental_illness", told)
    assert (found.value("follow_up_class"), found.value("next_on")) == (cls, next_on)


MATERNAL_TABLE = [
    # last period | week, next date
    ("2026-09-01", 11, "2026-12-22"),
    ("2026-08-02", 16, "2026-12-27"),
    ("2026-07-05", 20, "2026-11-29"),
    ("2026-06-01", 24, "2026-12-14"),
    ("2026-04-01", 33, "2026-12-16"),
    ("2026-03-01", 38, "2026-11-29"),
]


@pytest.mark.parametrize(("last_period", "week", "next_on"), MATERNAL_TABLE)
def test_antenatal_week_and_next_date(last_period: str, week: int, next_on: str) -> None:
    found = filled("maternal", {"last_period_on": last_period, "finding": "1"})
    assert (found.value("gestational_weeks"), found.value("next_on")) == (week, next_on)


@pytest.mark.parametrize(
    ("age", "weight", "colour"), [(27, 60, None), (35, 60, "2"), (40, 60, "3"), (30, 75, "3"), (18, 50, "2")]
)
def test_risk_colour_by_age_and_body_mass(age: int, weight: int, colour: str | None) -> None:
    found = filled("maternal", {"weight_kg": weight, "height_cm": 160}, facts={"age": age})
    assert found.value("risk_colour") == colour


@pytest.mark.parametrize(
    ("month", "supervisor", "next_on"),
    [(1, "2", "2026-12-02"), (2, "3", "2026-12-02"), (3, "2", "2026-12-22"), (1, "1", "2026-12-22")],
)
def test_tuberculosis_next_date(month: int, supervisor: str, next_on: str) -> None:
    calm = {"adverse_reactions": "1", "complication": "1"}
    told = {"treatment_month": month, "supervisor": supervisor, **calm, "symptoms": ["1"]}
    assert filled("tuberculosis", told).value("next_on") == next_on
    ill = filled("tuberculosis", {**told, "adverse_reactions": "2"})
    assert (ill.value("referral"), ill.value("next_on")) == ("2", "2026-12-06"), "referred: again within two weeks"


# numbers and dates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "height", "expected"), [(61.2, 158, "24.5"), (50, 160, "19.5"), (24.0 * 2.56, 160, "24.0")]
)
def test_body_mass_index(weight: float, height: float, expected: str) -> None:
    assert bmi(weight, height) == Decimal(expected)


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        ("2026-11-30", 3, "2027-02-28"),
        ("2027-11-30", 3, "2028-02-29"),
        ("2026-12-31", 12, "2027-12-31"),
        ("2026-01-31", 1, "2026-02-28"),
    ],
)
def test_calendar_months(day: str, months: int, expected: str) -> None:
    assert months_later(date.fromisoformat(day), months).isoformat() == expected


def test_spans() -> None:
    assert span_later(TODAY, "14d") == date(2026, 12, 6)
    assert span_later(TODAY, "-84d") == date(2026, 8, 30)
    assert span_later(TODAY, "3m") == date(2027, 2, 22)
    with pytest.raises(ValueError, match="ends with d or m"):
        span_later(TODAY, "3y")
