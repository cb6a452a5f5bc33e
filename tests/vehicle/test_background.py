"""What lasts of a person over a real store: allergies told, signed and unsigned; programmes of several forms."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from clinic_world import DOCTOR, PINS
from test_follow_ups import DAY_S, ME, Clinic

from devices.clock import SimulatedClock
from sync.formats.records import Draft
from vehicle.clinic.background import Backgrounds
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.follow_up_sources import numbers_of
from vehicle.clinic.forms.filling import LAST, READING


@pytest.fixture
def clinic(tmp_path: Path, clock: SimulatedClock) -> Iterator[Clinic]:
    world = Clinic(tmp_path, clock)
    yield world
    world.close()


async def asked(clinic: Clinic, patient: str, answers: dict[str, Any]) -> str:
    draft = await clinic.follow_ups.begin("background", patient, ME)
    await clinic.tell(draft, answers)
    return draft


async def test_an_allergy_counts_from_the_tap_on_and_is_said_to_be_unsigned(clinic: Clinic) -> None:
    patient = await clinic.measured()
    backgrounds = Backgrounds(clinic.store, clinic.people)
    before = backgrounds.of(patient)
    assert (before.asked, before.allergies("zh"), before.unsigned, before.n) == (False, [], False, None)
    draft = await asked(clinic, patient, {"drug_allergies": ["2", "5"], "drug_allergies_other": "左氧氟沙星 皮疹"})
    told = backgrounds.of(patient)
    assert (told.allergies("zh"), told.unsigned) == (["青霉素", "左氧氟沙星 皮疹"], True)
    assert told.allergies("en")[0] == "penicillin"
    await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])
    signed = backgrounds.of(patient)
    assert (signed.allergies("zh"), signed.unsigned, signed.on) == (told.allergies("zh"), False, date(2026, 3, 2))
    assert clinic.programmes.of(patient, ME) == [], "what lasts is no programme: nothing falls due"


async def test_an_allergy_taken_away_stays_until_that_is_signed(clinic: Clinic) -> None:
    patient = await clinic.measured()
    draft = await asked(clinic, patient, {"drug_allergies": ["2"]})
    await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])
    again = await clinic.follow_ups.begin("background", patient, ME)
    assert clinic.follow_ups.look(again, ME).filled.answers["drug_allergies"].source == LAST
    await clinic.tell(again, {"drug_allergies": ["1"]})
    backgrounds = Backgrounds(clinic.store, clinic.people)
    assert backgrounds.of(patient).allergies("zh") == ["青霉素"]
    await clinic.follow_ups.sign(again, DOCTOR, PINS[DOCTOR])
    assert (backgrounds.of(patient).allergies("zh"), backgrounds.of(patient).asked) == ([], True)


async def test_words_of_an_allergy_that_was_taken_back_are_no_other_ones(clinic: Clinic) -> None:
    """The words stay in the draft when "none" is tapped after them; the page of the person must stand all the same."""
    patient = await clinic.measured()
    draft = await asked(clinic, patient, {"drug_allergies": ["1"], "other_allergies": ["1"]})
    await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])
    again = await asked(clinic, patient, {"other_allergies": ["2"], "other_allergies_said": "花生 皮疹"})
    backgrounds = Backgrounds(clinic.store, clinic.people)
    assert backgrounds.of(patient).allergies("zh") == ["食物（花生 皮疹）"]
    await clinic.tell(again, {"other_allergies": ["1"]})
    assert backgrounds.of(patient).allergies("zh") == []
    await clinic.tell(again, {"drug_allergies": ["2"]})
    assert backgrounds.of(patient).allergies("zh") == ["青霉素"]


async def test_what_lasts_does_not_go_stale_overnight(clinic: Clinic) -> None:
    patient = await clinic.measured()
    draft = await asked(clinic, patient, {"drug_allergies": ["3"]})
    clinic.clock.advance(40 * DAY_S)
    assert await clinic.follow_ups.begin("background", patient, ME) == draft
    assert Backgrounds(clinic.store, clinic.people).of(patient).allergies("zh") == ["磺胺"]


async def test_the_specialist_reads_allergies_history_and_drugs(clinic: Clinic) -> None:
    patient = await clinic.measured()
    served = clinic.encounters.current()
    assert served is not None
    notes = CaseNotes(clinic.store, clinic.people, clinic.prompts)
    assert notes.of(served.encounter, patient)["background"]["asked"] is False
    await asked(clinic, patient, {"drug_allergies": ["2"]})
    draft = await asked(
        clinic,
        patient,
        {
            "other_allergies": ["2"],
            "other_allergies_said": "花生",
            "past_illnesses": ["4"],
            "family_father": ["1"],
            "operations": "2",
            "operations_said": "2019年胆囊切除",
            "drugs": [{"name": "阿司匹林肠溶片", "use": "每日1次"}],
        },
    )
    await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])
    told = notes.of(served.encounter, patient)["background"]
    assert told["allergies"] == ["青霉素", "食物（花生）"]
    assert told["history"] == [
        {"title": "疾病", "text": "冠心病"},
        {"title": "手术名称、时间", "text": "2019年胆囊切除"},
    ], "what says none is left out"
    assert told["drugs"] == ["阿司匹林肠溶片 每日1次"]


async def test_a_pregnancy_goes_from_form_to_form_and_ends_with_the_last(clinic: Clinic) -> None:
    patient = await clinic.measured(118, 74)
    await clinic.programmes.join(patient, "maternal", date(2026, 3, 2), ME)

    def member() -> Any:
        (row,) = [row for row in clinic.programmes.of(patient, ME) if row.programme == "maternal"]
        return row

    assert (member().form.id, next(form.id for form in member().others)) == ("antenatal_first", "maternal")
    first = await clinic.follow_ups.begin("antenatal_first", patient, ME)
    await clinic.tell(
        first,
        {
            "last_period_on": "2026-01-05",
            "pregnancies": 1,
            "births_vaginal": 0,
            "births_caesarean": 0,
            "past_illness": ["1"],
            "family_illness": ["1"],
            "habits": ["1"],
            "gynaecological_surgery": "1",
            "risk_colour": "1",
            "finding": "1",
            "advice": ["1"],
        },
    )
    await clinic.follow_ups.sign(first, DOCTOR, PINS[DOCTOR])
    assert (member().form.id, member().due_on) == ("maternal", date(2026, 4, 27)), "the sixteenth week"
    visit = await clinic.follow_ups.begin("postpartum_visit", patient, ME)
    well = dict.fromkeys(("breasts", "lochia", "uterus", "wound"), "1")
    words = {"general_said": "良好", "mind_said": "情绪平稳，无抑郁症状"}
    await clinic.tell(visit, {"delivered_on": "2026-03-01", "temperature_c": "36.7", **words, **well, "advice": ["4"]})
    await clinic.follow_ups.sign(visit, DOCTOR, PINS[DOCTOR])
    assert (member().form.id, member().due_on) == ("postpartum_42", date(2026, 4, 12))
    last = await clinic.follow_ups.begin("postpartum_42", patient, ME)
    assert clinic.follow_ups.look(last, ME).filled.value("delivered_on") == "2026-03-01"
    await clinic.tell(last, {**words, **well, "advice": ["3"]})
    await clinic.follow_ups.sign(last, DOCTOR, PINS[DOCTOR])
    assert clinic.programmes.of(patient, ME) == []
    (left,) = clinic.store.read("SELECT state, reason FROM programme_memberships WHERE programme = 'maternal'")
    assert left == {"state": "left", "reason": "delivered"}


async def test_laboratory_words_and_the_signed_ecg_are_told_with_their_names(clinic: Clinic) -> None:
    patient = await clinic.measured()
    served = clinic.encounters.current()
    assert served is not None
    results = [
        {"code": "PRO", "key": "u_protein", "said": "+1"},
        {"code": "GLU", "key": "u_glucose", "said": "neg"},
        {"code": "ALT", "key": "alt", "said": "31", "number": "31", "quantity": "31"},
        {"code": "AST", "key": "ast", "said": "<5", "number": "5", "quantity": "5", "comparator": "<"},
        {"code": "CRE", "key": "creatinine", "said": "80", "quantity": "80"},
        {"code": "CREA", "key": "creatinine", "said": "95", "quantity": "95"},
    ]
    await clinic.store.commit(
        Draft(
            "reading/1",
            {
                "reading": "lab-1",
                "patient": patient,
                "device": "urine-1",
                "driver": "gmp_urine",
                "type": "laboratory",
                "values": {"results": results},
                "by_hand": False,
            },
            visit=served.visit,
            encounter=served.encounter,
        ),
        Draft("reading_confirmed/1", {"reading": "lab-1", "patient": patient}, DOCTOR, served.visit, served.encounter),
    )
    found = numbers_of(clinic.store, (patient,), served.encounter)
    assert (found["lab.u_protein"].number, found["lab.u_glucose"].number) == ("3", "1")
    assert found["lab.alt"].number == 31
    assert "lab.ast" not in found, "a bound is no number"
    assert "lab.creatinine" not in found, "told twice is told by nobody"
    draft = await clinic.follow_ups.begin("elderly", patient, ME)
    seen = clinic.follow_ups.look(draft, ME).filled
    assert (seen.value("urine_protein"), seen.answers["urine_protein"].source) == ("3", READING)
