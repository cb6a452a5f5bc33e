"""Two registrations of one person: what is known under one is known under the other, and lists have the person once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from clinic_world import DOCTOR, PINS, VILLAGE, card
from test_follow_ups import ME, Clinic

from devices.clock import SimulatedClock
from sync.interop import fhir_record
from vehicle.clinic.background import Backgrounds, signed_forms
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.guardians import Guardian
from vehicle.clinic.health_profile import HealthProfiles
from vehicle.clinic.households import Households
from vehicle.clinic.registration import PatientForm


@pytest.fixture
def clinic(tmp_path: Path, clock: SimulatedClock) -> Iterator[Clinic]:
    opened = Clinic(tmp_path, clock)
    yield opened
    opened.close()


async def doubles(clinic: Clinic) -> tuple[str, str]:
    """Registered with a card, and before by hand without a number or an exact date of birth; then linked."""
    await clinic.arrive()
    old = await clinic.people.register(PatientForm("杨桂芳", "female", date(1958, 4, 1)), DOCTOR)
    new = await clinic.people.from_card(card(), DOCTOR)
    await clinic.people.link(new.patient, old.patient, DOCTOR)
    return old.patient, new.patient


async def served(clinic: Clinic, patient: str) -> str:
    return (await clinic.encounters.open(patient, DOCTOR)).encounter


async def test_what_was_said_under_one_registration_holds_under_the_other(clinic: Clinic) -> None:
    old, new = await doubles(clinic)
    await clinic.prompts.answer(await served(clinic, old), {"known_htn": True}, DOCTOR)
    await clinic.encounters.close(DOCTOR)
    encounter = await served(clinic, new)
    await clinic.measurements.confirm(clinic.cuff(138, 84), DOCTOR)
    assert "BP-FOLLOWUP" in {prompt.rule for prompt in clinic.prompts.prompts(encounter)}
    await clinic.people.unlink(new, old, DOCTOR)
    assert "known_htn" not in clinic.prompts.inputs(encounter)


async def test_a_noted_disease_and_a_programme_answer_the_rules_and_stand_in_the_profile(clinic: Clinic) -> None:
    old, new = await doubles(clinic)
    homes = Households(clinic.store, clinic.ids, clinic.people)
    await homes.set_conditions(old, frozenset({"diabetes", "stroke"}), DOCTOR)
    await clinic.programmes.join(old, "hypertension", clinic.programmes.today(), ME)
    encounter = await served(clinic, new)
    known = clinic.prompts.inputs(encounter)
    assert all(known[name] for name in ("known_dm", "known_htn", "stroke_tia"))
    profiles = HealthProfiles(
        clinic.store,
        clinic.people,
        homes,
        clinic.programmes,
        clinic.follow_ups,
        clinic.prompts,
        Backgrounds(clinic.store, clinic.people),
    )
    profile = profiles.of(new, ME, "zh")
    assert profile.conditions == ("diabetes", "stroke")
    assert [row.programme for row in profile.programmes] == ["hypertension"]
    assert "hypertension" not in {form.programme for form in profile.free}
    await homes.set_conditions(new, frozenset({"stroke"}), DOCTOR)  # withdrawn under the other registration
    assert [one.condition for one in homes.conditions(old)] == ["stroke"]
    assert "known_dm" not in clinic.prompts.inputs(encounter)


async def test_a_woman_in_the_maternal_programme_is_pregnant_for_a_year(clinic: Clinic) -> None:
    await clinic.serve(card(born_on=date(2008, 9, 1)))
    here = clinic.encounters.current()
    assert here is not None
    today = clinic.programmes.today()
    await clinic.programmes.join(here.patient.patient, "maternal", today - timedelta(days=366), ME)
    assert "pregnant" not in clinic.prompts.inputs(here.encounter)
    await clinic.programmes.join(here.patient.patient, "maternal", today, ME)
    await clinic.measurements.confirm(clinic.cuff(150, 95), DOCTOR)
    assert {p.rule: p.code for p in clinic.prompts.prompts(here.encounter)}["BP-URGENT"] == "URGENT_REFERRAL"
    await clinic.prompts.answer(here.encounter, {"pregnant": False}, DOCTOR)
    assert clinic.prompts.inputs(here.encounter)["pregnant"] is False


async def test_a_list_of_who_is_due_has_a_person_once(clinic: Clinic) -> None:
    old, new = await doubles(clinic)
    today = clinic.programmes.today()
    await clinic.programmes.join(old, "hypertension", today - timedelta(days=30), ME)
    await clinic.programmes.join(new, "hypertension", today - timedelta(days=20), ME)
    assert [(row.patient.patient, row.days_late) for row in clinic.programmes.due(VILLAGE)] == [(new, 20)]
    await clinic.programmes.leave(old, "hypertension", "moved", ME)
    assert clinic.programmes.due(VILLAGE) == []


async def test_a_path_that_was_gone_under_one_registration_is_not_due_under_the_other(clinic: Clinic) -> None:
    old, new = await doubles(clinic)
    await clinic.paths.end(await served(clinic, old), "af", "advice", DOCTOR)
    await clinic.encounters.close(DOCTOR)
    clinic.clock.advance(60.0)
    encounter = await served(clinic, new)
    [card_] = [one for one in clinic.paths.cards(encounter, "zh") if one.path == "af"]
    assert card_.state != "due"
    visit = clinic.visits.current()
    assert visit is not None
    told = {one.path: (one.asked, one.due) for one in clinic.paths.progress(visit.visit, "zh")}
    assert (told["af"], told["stroke"]) == ((1, 1), (0, 1))


async def test_a_form_begun_for_one_registration_belongs_to_the_encounter_of_the_other(clinic: Clinic) -> None:
    old, new = await doubles(clinic)
    encounter = await served(clinic, new)
    draft = await clinic.follow_ups.begin("hypertension", old, ME)
    [row] = clinic.store.read("SELECT encounter FROM follow_up_drafts WHERE draft = ?", (draft,))
    assert row["encounter"] == encounter
    assert await clinic.follow_ups.begin("hypertension", new, ME) == draft


async def test_household_and_guardian_are_those_of_the_person(clinic: Clinic) -> None:
    old, new = await doubles(clinic)
    homes = Households(clinic.store, clinic.ids, clinic.people)
    spouse = await clinic.people.register(PatientForm("王大山", "male", date(1956, 1, 1)), DOCTOR)
    await homes.join(old, spouse.patient, "spouse", DOCTOR)
    clinic.clock.advance(60.0)
    home = await homes.join(new, spouse.patient, "spouse", DOCTOR)
    assert [one.patient.patient for one in home.members] == [spouse.patient, new]
    clinic.clock.advance(60.0)
    await homes.leave(old, DOCTOR)
    assert homes.of(new) is None
    await homes.set_guardian(old, Guardian("王大山", "other"), DOCTOR)
    found = homes.guardian(new)
    assert found is not None
    assert found.name == "王大山"


async def test_an_allergy_told_under_one_registration_is_not_hidden_by_a_later_form_of_the_other(
    clinic: Clinic,
) -> None:
    """Who signed the later form did not know of the earlier one; who signs the next one sees both."""
    await clinic.arrive()
    old = (await clinic.people.register(PatientForm("杨桂芳", "female", date(1958, 4, 1)), DOCTOR)).patient
    new = (await clinic.people.from_card(card(), DOCTOR)).patient

    async def signed(patient: str, answers: dict[str, list[str] | str]) -> None:
        draft = await clinic.follow_ups.begin("background", patient, ME)
        await clinic.tell(draft, answers)
        await clinic.follow_ups.sign(draft, DOCTOR, PINS[DOCTOR])

    await signed(old, {"drug_allergies": ["2", "5"], "drug_allergies_other": "左氧氟沙星", "other_allergies": ["1"]})
    await signed(new, {"drug_allergies": ["1"], "other_allergies": ["4"]})
    backgrounds = Backgrounds(clinic.store, clinic.people)

    def told(patient: str) -> list[str]:
        """By the name bar, the specialist's summary and the export alike."""
        bar = backgrounds.of(patient)
        assert not bar.unsigned
        notes = CaseNotes(clinic.store, clinic.people, clinic.prompts).of("", patient)
        assert notes["background"]["allergies"] == bar.allergies("zh")
        record = fhir_record.of_person(
            lambda table, column, value: clinic.store.read(f"SELECT * FROM {table} WHERE {column} = ?", (value,)),
            "van-07",
            patient,
        )
        assert record is not None
        assert [row["n"] for row in record.allergies] == [row["n"] for row in signed_forms(clinic.store, who(patient))]
        return bar.allergies("zh")

    def who(patient: str) -> tuple[str, ...]:
        return clinic.people.registrations(patient)

    assert told(new) == ["乳胶"]
    await clinic.people.link(new, old, DOCTOR)
    assert told(new) == told(old) == ["青霉素", "左氧氟沙星", "乳胶"]
    await signed(new, {})
    assert told(new) == told(old) == ["青霉素", "左氧氟沙星", "乳胶"], "signing what was filled in loses nothing"
    await signed(new, {"drug_allergies": ["1"]})
    assert told(new) == told(old) == ["乳胶"], "both were seen when this was signed"
    await clinic.people.unlink(new, old, DOCTOR)
    assert told(old) == ["青霉素", "左氧氟沙星"]
