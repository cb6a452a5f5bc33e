"""Printed follow-up forms and the health profile: what stands on the paper, and that it is paper."""

from __future__ import annotations

import io
import re
from datetime import UTC, date, datetime
from typing import Any

import pikepdf
import pytest
from conftest import MORNING
from hypothesis import given as each
from hypothesis import settings
from hypothesis import strategies as st

from devices.clock import SimulatedClock
from vehicle.clinic.follow_up_views import Correction, SignedForm
from vehicle.clinic.forms.form import ORDER, shipped_forms
from vehicle.clinic.forms.wording import shown_answer
from vehicle.clinic.health_profile import HealthProfile, LastValue
from vehicle.clinic.people import PatientView
from vehicle.clinic.programmes import Membership
from vehicle.clinic.trends import svg, trend_of
from vehicle.printing.form_sheets import FormSheets
from vehicle.printing.slip_contents import Letterhead

WHO = PatientView(
    patient="patient-1",
    name="杨桂芳",
    masked_name="杨**",
    sex="female",
    born_on=date(1959, 3, 12),
    age=67,
    id_last4="0426",
    masked_id="**************0426",
    address="青峪县白果镇王家村2组14号",
    phone="",
    source="id_card",
    registered_at=datetime(2026, 1, 5, tzinfo=UTC),
)
BP = [(date(2026, 1, 5), 168, 98), (date(2026, 1, 19), 152, 94), (date(2026, 3, 2), 138, 84)]


def sheets(practice: bool = False) -> FormSheets:
    return FormSheets(Letterhead("白果镇卫生院", "川A·演07", "", practice=practice), SimulatedClock(MORNING))


def signed(form: str, answers: dict[str, Any], **more: Any) -> SignedForm:
    facts = {"n": 812, "version": "1", "filled_at": MORNING, "signed_by": "周敏", "sources": {}, "next_on": None}
    return SignedForm(form=shipped_forms()[form], patient=WHO, answers=answers, **{**facts, **more})


def test_what_was_chosen_is_marked_and_stands_in_the_box() -> None:
    html = sheets().form_html(signed("hypertension", {"symptoms": ["2", "6"], "systolic_mmhg": 148, "way": "2"}))
    assert "<b>2 头痛头晕</b>" in html
    assert "<b>6 心悸胸闷</b>" in html
    assert "<b>1 无症状</b>" not in html
    assert "<i>2</i>/<i>6</i>" in html
    assert "148 mmHg" in html
    assert "随访医生签名：<b>周敏</b>" in html
    assert "记录号 812" in html
    assert "演练" not in html


def test_practice_secrecy_and_a_correction_are_said_on_the_paper() -> None:
    why = (Correction("mistyped", MORNING, "周敏"),)
    html = sheets(practice=True).form_html(signed("severe_mental_illness", {"danger_level": "0"}, corrections=why))
    for said in ("演练", "精神卫生法", "更正", "输错了（周敏）"):
        assert said in html


@pytest.mark.parametrize("form", ORDER)
@settings(max_examples=6)
@each(data=st.data())
def test_every_form_prints_with_any_of_its_answers(form: str, data: st.DataObject) -> None:
    """Also codes that an older form had and this one has no more."""
    fields = shipped_forms()[form].fields
    names = data.draw(st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=10))
    answers: dict[str, Any] = {}
    for name in names:
        one = fields[name]
        code = data.draw(st.sampled_from([*(choice.code for choice in one.choices), "77"]))
        answers[name] = {
            "code": code,
            "codes": [code],
            "number": 7,
            "computed": "7.5",
            "date": "2026-03-16",
            "text": "一般情况良好",
            "drugs": [{"name": "氨氯地平片", "use": ""}],
        }[one.type]
    html = sheets().form_html(signed(form, answers))
    for name in names:
        text = shown_answer(fields[name], answers[name], "zh")
        assert text in html or fields[name].type in ("code", "codes")


def test_a_form_of_one_page_is_a_pdf_of_one_page() -> None:
    answers = {"symptoms": ["1"], "systolic_mmhg": 148, "diastolic_mmhg": 92, "next_on": "2026-03-16"}
    written = sheets().form_pdf(signed("hypertension", answers))
    document = pikepdf.open(io.BytesIO(written))
    (page,) = document.pages
    assert [round(float(edge)) for edge in page.mediabox] == [0, 0, 595, 842], "A4 in points"


def profile(**more: Any) -> HealthProfile:
    trend = trend_of("blood_pressure", [(day, {"systolic_mmhg": s, "diastolic_mmhg": d}) for day, s, d in BP])
    assert trend is not None
    member = Membership(
        "patient-1", "hypertension", date(2026, 1, 5), "510199201201", "王家村", "zhou.min", date(2026, 1, 19),
        date(2026, 2, 2), "overdue",
    )  # fmt: skip
    facts: dict[str, Any] = {
        "patient": WHO,
        "programmes": (member,),
        "free": (),
        "drafts": (),
        "values": (LastValue("blood_pressure", {"systolic_mmhg": 138, "diastolic_mmhg": 84}, date(2026, 3, 2)),),
        "trends": (trend,),
        "conditions": ("stroke",),
        "drugs": (),
        "screening": (),
        "forms": (signed("hypertension", {"follow_up_class": "2"}),),
        "consultations": (),
        "ecgs": (),
        "encounters": 3,
    }
    return HealthProfile(**{**facts, **more})


def test_the_profile_has_person_programmes_values_trend_and_forms_and_masks_the_number() -> None:
    html = sheets().profile_html(profile())
    for said in ("杨桂芳", "高血压", "138/84", "2026-02-02 超期", "控制不满意", "没有记录", "**************0426"):
        assert said in html
    assert html.count("<polyline") == 2
    assert "<style>.frame {" in html, "a drawing without its colours is black on paper"


# trends ---------------------------------------------------------------------------------------------------------------


def test_a_trend_needs_two_whole_rows() -> None:
    rows = [(day, {"systolic_mmhg": s, "diastolic_mmhg": d}) for day, s, d in BP]
    assert trend_of("blood_pressure", rows[:1]) is None
    assert trend_of("blood_pressure", [rows[0], (rows[1][0], {"systolic_mmhg": 150})]) is None
    assert trend_of("weight", [(day, {"weight_kg": True}) for day, _ in rows]) is None


@each(
    st.lists(st.tuples(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.floats(0.6, 33.3)), min_size=2, max_size=60),
)
def test_every_point_of_a_drawing_lies_inside_it(points: list[tuple[date, float]]) -> None:
    trend = trend_of("glucose", [(day, {"glucose_mmol_l": number}) for day, number in sorted(points)])
    assert trend is not None
    places = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg(trend, "血糖"))
    assert len(places) == min(len(points), 24)
    for x, y in places:
        assert 40 <= float(x) <= 352
        assert 12 <= float(y) <= 106
