"""Programmes and follow-up forms over a real store: filled in from readings, kept at once, signed, due, corrected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from clinic_world import DOCTOR, NURSE, PINS, VILLAGE, World, card

from devices.clock import SimulatedClock
from sync.screening.evaluator import RuleSet
from vehicle.clinic.follow_up_views import CorrectionUnexplained, FormAnswerRefused, FormIncomplete, FormUnknown
from vehicle.clinic.follow_ups import FollowUps
from vehicle.clinic.forms.filling import DOCTOR as TAPPED
from vehicle.clinic.forms.filling import KNOWN, LAST, READING, RULE
from vehicle.clinic.programmes import Confidential, ProgrammeRefused, Programmes
from vehicle.clinic.staff import Person, WrongPin

DAY_S = 86_400.0
ME = Person(DOCTOR, "周敏", "village_doctor")
OTHER = Person(NURSE, "吴倩", "nurse")
TRUSTED = Person(DOCTOR, "周敏", "village_doctor", ("smi",))
CALM = {
    "symptoms": ["1"],
    "danger": "1",
    "taking": "1",
    "adverse_reactions": "1",
    "new_complication": "1",
}


class Clinic(World):
    """``staff.get`` gives whom the test says, so that the further role can be tried."""

    def __init__(self, folder: Path, clock: SimulatedClock, seed: int = 1) -> None:
        super().__init__(folder, clock, seed=seed)
        self.programmes = Programmes(self.store, clock, self.people, self.visits)
        self.follow_ups = FollowUps(
            self.store,
            _Ids(self),
            clock,
            self,
            self.people,
            self.encounters,
            self.staff,
            self.programmes,
            self.prompts.known.facts,
            self._in_force,
        )

    def _in_force(self) -> tuple[RuleSet, frozenset[str]]:
        rules = self.prompts.rules
        return rules, frozenset(rule.id for rule in rules.switched_on())

    async def measured(self, systolic: int = 138, diastolic: int = 84) -> str:
        """Somebody is served and measured; their id."""
        patient = await self.serve()
        await self.measurements.confirm(self.cuff(systolic, diastolic), DOCTOR)
        return patient.patient

    async def tell(self, draft: str, answers: dict[str, Any], by: Person = ME) -> None:
        for field, given in answers.items():
            await self.follow_ups.answer(draft, field, given, by)

    async def signed(self, patient: str, form: str = "hypertension") -> int:
        draft = await self.follow_ups.begin(form, patient, ME)
        await self.tell(draft, CALM)
        return await self.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])


class _Ids:
    def __init__(self, world: World) -> None:
        self._world = world
        self._n = 0

    def new(self, kind: str) -> str:
        self._n += 1
        return f"{kind}-{self._world.clock.now():%Y%m%d%H%M%S}-{self._n:04}"


@pytest.fixture
def clinic(tmp_path: Path, clock: SimulatedClock) -> Iterator[Clinic]:
    world = Clinic(tmp_path, clock)
    yield world
    world.close()


async def test_a_form_is_filled_in_from_the_confirmed_readings_and_signed_by_taps_alone(clinic: Clinic) -> None:
    patient = await clinic.measured(148, 92)
    draft = await clinic.follow_ups.begin("hypertension", patient, ME)
    seen = clinic.follow_ups.look(draft, ME).filled
    assert (seen.value("systolic_mmhg"), seen.answers["systolic_mmhg"].source) == (148, READING)
    assert seen.answers["systolic_mmhg"].device == "cuff-1"
    with pytest.raises(FormIncomplete) as refused:
        await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])
    assert "symptoms" in refused.value.facts["fields"]
    await clinic.tell(draft, CALM)
    with pytest.raises(WrongPin):
        await clinic.follow_ups.sign(draft, DOCTOR, "0000")
    n = await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])
    signed = clinic.follow_ups.signed(n, ME)
    assert (signed.answers["follow_up_class"], signed.answers["next_step"]) == ("2", "2")
    assert signed.next_on == date(2026, 3, 16), "two weeks after 2 March"
    assert signed.sources["systolic_mmhg"]["from"] == READING
    assert signed.sources["symptoms"]["from"] == TAPPED
    assert signed.sources["follow_up_class"] == {"from": RULE, "of": "BP-FOLLOWUP"}
    assert signed.signed_by == "周敏"
    assert clinic.kinds()[-3:] == ["follow_up_form/1", "follow_up_draft_closed/1", "programme_membership/1"]


async def test_each_answer_is_kept_at_once_and_a_restart_loses_nothing(tmp_path: Path, clock: SimulatedClock) -> None:
    first = Clinic(tmp_path, clock)
    patient = await first.measured()
    draft = await first.follow_ups.begin("hypertension", patient, ME)
    await first.tell(draft, {"symptoms": ["2", "6"], "salt": "2", "cigarettes_per_day": "5"})
    first.close()
    again = Clinic(tmp_path, clock, seed=9)
    assert await again.follow_ups.begin("hypertension", patient, ME) == draft
    seen = again.follow_ups.look(draft, ME).filled
    assert seen.value("symptoms") == ["2", "6"]
    assert (seen.value("salt"), seen.value("cigarettes_per_day")) == ("2", 5)
    assert seen.value("systolic_mmhg") == 138
    assert [form.id for _, form in again.follow_ups.drafts_of(patient, ME)] == ["hypertension"]
    again.close()


async def test_what_cannot_be_is_refused_and_nothing_is_kept(clinic: Clinic) -> None:
    patient = await clinic.measured()
    draft = await clinic.follow_ups.begin("hypertension", patient, ME)
    before = len(clinic.kinds())
    with pytest.raises(FormAnswerRefused) as refused:
        await clinic.follow_ups.answer(draft, "systolic_mmhg", "400", ME)
    assert refused.value.facts == {"field": "systolic_mmhg", "reason": "range", "low": "50", "high": "300"}
    with pytest.raises(FormAnswerRefused) as over:
        await clinic.follow_ups.answer(draft, "next_on", "2026-03-01", ME)
    assert over.value.facts["reason"] == "past"
    for field in ("bmi", "no_such_field"):
        with pytest.raises(FormUnknown):
            await clinic.follow_ups.answer(draft, field, "20", ME)
    with pytest.raises(FormUnknown):
        await clinic.follow_ups.begin("no_such_form", patient, ME)
    assert len(clinic.kinds()) == before


async def test_the_next_form_takes_over_what_lasts_and_knows_that_it_was_not_controlled(clinic: Clinic) -> None:
    patient = await clinic.measured(160, 98)
    draft = await clinic.follow_ups.begin("hypertension", patient, ME)
    drugs = [{"name": "氨氯地平片", "use": "每日1次，每次5 mg"}]
    await clinic.tell(draft, {**CALM, "target_weight_kg": "58", "drugs": drugs, "height_cm": "158"})
    await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])
    await clinic.encounters.close(DOCTOR)
    clinic.clock.advance(14 * DAY_S)
    await clinic.measured(162, 96)
    second = await clinic.follow_ups.begin("hypertension", patient, ME)
    seen = clinic.follow_ups.look(second, ME).filled
    assert (seen.value("target_weight_kg"), seen.answers["target_weight_kg"].source) == (58, LAST)
    assert seen.value("drugs") == drugs
    assert seen.answers["height_cm"].source == LAST
    assert seen.value("symptoms") is None, "how somebody feels is asked each time"
    await clinic.tell(second, CALM)
    assert clinic.follow_ups.look(second, ME).filled.value("next_step") == "3", "twice not controlled: refer"


async def test_a_reading_of_another_day_is_not_todays_pressure_but_a_height_is_known(clinic: Clinic) -> None:
    patient = await clinic.measured()
    await clinic.encounters.close(DOCTOR)
    clinic.clock.advance(DAY_S)
    await clinic.serve()
    draft = await clinic.follow_ups.begin("hypertension", patient, ME)
    seen = clinic.follow_ups.look(draft, ME).filled
    assert "systolic_mmhg" in seen.missing
    assert KNOWN not in {answer.source for answer in seen.answers.values()}


async def test_a_form_begun_before_the_measuring_is_filled_in_by_it(clinic: Clinic) -> None:
    patient = await clinic.serve()
    await clinic.encounters.close(DOCTOR)
    draft = await clinic.follow_ups.begin("hypertension", patient.patient, ME)
    assert clinic.follow_ups.look(draft, ME).encounter is None
    await clinic.measured(144, 86)
    seen = clinic.follow_ups.look(draft, ME)
    assert seen.encounter is not None
    assert seen.filled.value("systolic_mmhg") == 144


async def test_a_draft_of_an_earlier_day_is_put_away_and_asked_anew(clinic: Clinic) -> None:
    patient = await clinic.measured()
    draft = await clinic.follow_ups.begin("hypertension", patient, ME)
    await clinic.tell(draft, {"symptoms": ["2"]})
    clinic.clock.advance(DAY_S)
    assert clinic.follow_ups.drafts_of(patient, ME) == []
    again = await clinic.follow_ups.begin("hypertension", patient, ME)
    assert again != draft
    assert clinic.follow_ups.look(again, ME).filled.value("symptoms") is None
    (row,) = clinic.store.read("SELECT how FROM follow_up_drafts WHERE draft = ?", (draft,))
    assert row["how"] == "stale"


async def test_due_before_the_van_comes_again_and_overdue_the_day_after(clinic: Clinic) -> None:
    patient = await clinic.measured()
    await clinic.signed(patient)
    assert clinic.programmes.due(VILLAGE) == [], "controlled: 2 June"
    (membership,) = clinic.programmes.of(patient, ME)
    assert (membership.due_on, membership.state) == (date(2026, 6, 2), "later")
    clinic.clock.advance(78 * DAY_S)
    (due,) = clinic.programmes.due(VILLAGE)
    assert (due.membership.state, due.days_late) == ("due", -14)
    clinic.clock.advance(15 * DAY_S)
    (due,) = clinic.programmes.due(VILLAGE)
    assert (due.membership.state, due.days_late, due.membership.last_on) == ("overdue", 1, date(2026, 3, 2))
    assert clinic.programmes.due("510199201202") == []


async def test_who_joined_without_a_form_is_due_at_once_and_who_left_is_not(clinic: Clinic) -> None:
    patient = await clinic.measured()
    await clinic.programmes.join(patient, "diabetes", date(2026, 2, 20), ME)
    (due,) = clinic.programmes.due(VILLAGE)
    assert (due.membership.programme, due.membership.since, due.days_late) == ("diabetes", date(2026, 2, 20), 10)
    assert due.here, "being served now"
    with pytest.raises(ProgrammeRefused):
        await clinic.programmes.leave(patient, "diabetes", "tired of it", ME)
    with pytest.raises(ProgrammeRefused):
        await clinic.programmes.join(patient, "diabetes", date(2026, 3, 3), ME)
    await clinic.programmes.leave(patient, "diabetes", "moved", ME)
    assert clinic.programmes.due(VILLAGE) == []
    assert clinic.programmes.of(patient, ME) == []


async def test_two_registrations_of_one_person_have_one_follow_up(clinic: Clinic) -> None:
    patient = await clinic.measured()
    await clinic.programmes.join(patient, "hypertension", date(2026, 1, 1), ME)
    other = await clinic.people.from_card(card(order="044"), DOCTOR)
    await clinic.people.link(patient, other.patient, DOCTOR)
    await clinic.encounters.open(other.patient, DOCTOR)
    await clinic.measurements.confirm(clinic.cuff(136, 84), DOCTOR)
    await clinic.signed(other.patient)
    assert clinic.programmes.due(VILLAGE) == []


async def test_a_phone_number_is_noted_before_it_is_shown(clinic: Clinic) -> None:
    patient = await clinic.measured()
    assert await clinic.programmes.reveal_phone(patient, DOCTOR) == ""
    (noted,) = clinic.store.read("SELECT person, what FROM access_log WHERE action = 'phone_shown'")
    assert noted == {"person": DOCTOR, "what": patient}


async def test_a_correction_is_appended_and_the_first_entry_stays(clinic: Clinic) -> None:
    patient = await clinic.measured()
    n = await clinic.signed(patient)
    clinic.clock.advance(DAY_S)
    draft = await clinic.follow_ups.correct(n, ME)
    assert await clinic.follow_ups.correct(n, ME) == draft
    assert clinic.follow_ups.look(draft, ME).filled.value("symptoms") == ["1"]
    await clinic.tell(draft, {"systolic_mmhg": "152", "follow_up_class": "2", "next_step": "2", "next_on": None})
    await clinic.tell(draft, {"next_on": "2026-03-16"})
    with pytest.raises(CorrectionUnexplained):
        await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])
    assert await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR], "mistyped") == n
    signed = clinic.follow_ups.signed(n, ME)
    assert [(one.reason, one.by, one.at) for one in signed.corrections] == [("mistyped", "周敏", clinic.clock.now())]
    assert [one.corrected for one in clinic.follow_ups.of(patient, ME)] == [True]
    assert (signed.answers["systolic_mmhg"], signed.next_on) == (152, date(2026, 3, 16))
    bodies = clinic.store.read("SELECT kind, body FROM entries WHERE kind IN ('follow_up_form/1', 'correction/1')")
    assert [row["kind"] for row in bodies] == ["follow_up_form/1", "correction/1"]
    assert b'"systolic_mmhg":138' in bodies[0]["body"]
    assert b'"reason":"mistyped"' in bodies[1]["body"]
    with pytest.raises(FormUnknown):
        clinic.follow_ups.look(draft, ME)


async def test_a_form_put_away_is_not_open_any_more(clinic: Clinic) -> None:
    patient = await clinic.measured()
    draft = await clinic.follow_ups.begin("elderly", patient, ME)
    await clinic.follow_ups.discard(draft, ME)
    assert clinic.follow_ups.drafts_of(patient, ME) == []
    assert await clinic.follow_ups.begin("elderly", patient, ME) != draft


async def test_severe_mental_illness_is_for_those_who_may_and_on_no_other_list(clinic: Clinic) -> None:
    patient = await clinic.measured()
    with pytest.raises(Confidential):
        await clinic.follow_ups.begin("severe_mental_illness", patient, ME)
    with pytest.raises(Confidential):
        await clinic.programmes.join(patient, "severe_mental_illness", date(2026, 2, 1), OTHER)
    await clinic.programmes.join(patient, "severe_mental_illness", date(2026, 2, 1), TRUSTED)
    draft = await clinic.follow_ups.begin("severe_mental_illness", patient, TRUSTED)
    with pytest.raises(Confidential):
        clinic.follow_ups.look(draft, OTHER)
    with pytest.raises(Confidential):
        await clinic.follow_ups.discard(draft, OTHER)
    with pytest.raises(Confidential):
        await clinic.follow_ups.answer(draft, "danger_level", "0", OTHER)
    assert clinic.programmes.due(VILLAGE) == []
    assert clinic.programmes.due_confidential(VILLAGE, OTHER) == []
    assert [due.patient.patient for due in clinic.programmes.due_confidential(VILLAGE, TRUSTED)] == [patient]
    assert clinic.programmes.of(patient, OTHER) == []
    assert clinic.follow_ups.drafts_of(patient, OTHER) == []
    assert len(clinic.programmes.of(patient, TRUSTED)) == 1
