from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from tests.vehicle.clinic_world import DOCTOR, World, card, id_number
from tests.vehicle.conftest import MORNING
from vehicle.clinic.guardians import Guardian
from vehicle.clinic.identity import WrongIdNumber
from vehicle.clinic.people import NobodyFound, ReasonMissing
from vehicle.clinic.registration import FormRefused, PatientForm


@pytest.fixture
def world(tmp_path: Path):
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


async def test_a_card_registers_in_one_call_and_is_found_again(world: World) -> None:
    first = await world.people.from_card(card(), DOCTOR)
    assert (first.name, first.sex, first.age, first.source) == ("杨桂芳", "female", 67, "id_card")
    assert first.masked_id.startswith("*")
    assert first.masked_id.endswith(first.id_last4)
    again = await world.people.from_card(card(address="搬到了别处"), DOCTOR)
    assert again.patient == first.patient
    assert again.address == first.address  # nothing is overwritten
    assert world.kinds().count("patient/1") == 1


async def test_the_number_is_nowhere_in_the_journal_or_the_tables(world: World, tmp_path: Path) -> None:
    number = id_number()
    await world.people.from_card(card(), DOCTOR)
    world.store.close()
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            assert number.encode() not in file.read_bytes(), file.name


async def test_the_number_is_shown_only_with_a_note(world: World) -> None:
    patient = await world.people.from_card(card(), DOCTOR)
    assert await world.people.reveal_id_number(patient.patient, DOCTOR) == id_number()
    rows = world.store.read("SELECT action, what, person FROM access_log")
    assert {"action": "id_number_shown", "what": patient.patient, "person": DOCTOR} in rows


async def test_opening_a_person_is_noted(world: World) -> None:
    patient = await world.people.from_card(card(), DOCTOR)
    await world.people.open(patient.patient, DOCTOR)
    actions = [row["action"] for row in world.store.read("SELECT action FROM access_log")]
    assert actions == ["patient_opened"]


async def test_search_by_name_initials_phone_and_last_four(world: World) -> None:
    await world.people.from_card(card(), DOCTOR)
    await world.people.register(
        PatientForm("罗秀珍", "female", date(1955, 2, 3), phone="13800138000", address="4组"), DOCTOR
    )
    await world.people.register(PatientForm("Ali", "male", date(1990, 1, 1)), DOCTOR)

    def found(query: str) -> list[str]:
        return [view.name for view in world.people.search(query)]

    assert found("桂芳") == ["杨桂芳"]
    assert found("ygf") == ["杨桂芳"]
    assert found("YG") == ["杨桂芳"]
    assert found(id_number()[-4:]) == ["杨桂芳"]
    assert found("8001380") == ["罗秀珍"]
    assert found("ali") == ["Ali"]
    assert found("%") == []
    assert len(found("")) == 3
    assert len(world.people.search("", limit=2)) == 2


async def test_people_without_a_number_are_registered_by_hand(world: World) -> None:
    view = await world.people.register(PatientForm("无名氏", "unknown", date(1940, 1, 1)), DOCTOR)
    assert (view.masked_id, view.id_last4, view.source) == ("", "", "manual")


async def test_sex_and_birth_come_from_the_number(world: World) -> None:
    view = await world.people.register(PatientForm("陈国梁", id_number=id_number(order="043")), DOCTOR)
    assert (view.sex, view.born_on) == ("male", date(1958, 4, 17))


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (PatientForm("", "male", date(1960, 1, 1)), ("name",)),
        (PatientForm("甲", "m", date(1960, 1, 1)), ("sex",)),
        (PatientForm("甲", "male", None), ("born_on",)),
        (PatientForm("甲", "male", date(2030, 1, 1)), ("born_on",)),
        (PatientForm("甲", "male", date(1960, 1, 1), phone="12"), ("phone",)),
        (PatientForm(" ", "x", None), ("name", "sex", "born_on")),
    ],
)
async def test_a_form_that_cannot_be_right_names_its_fields(
    world: World, form: PatientForm, fields: tuple[str, ...]
) -> None:
    with pytest.raises(FormRefused) as refusal:
        await world.people.register(form, DOCTOR)
    assert refusal.value.facts["fields"] == fields
    assert "patient/1" not in world.kinds()


async def test_a_wrong_number_is_refused(world: World) -> None:
    with pytest.raises(WrongIdNumber):
        await world.people.register(PatientForm("甲", id_number="510727195804170425"), DOCTOR)


async def test_a_card_is_linked_to_the_one_registered_without_it(world: World, tmp_path: Path) -> None:
    by_hand = await world.people.register(PatientForm("杨桂芳", "female", date(1958, 4, 17)), DOCTOR)
    by_card = await world.people.from_card(card(), DOCTOR)
    assert by_card.patient != by_hand.patient
    assert by_card.linked == (by_hand.patient,)
    assert world.people.get(by_hand.patient).source == "manual"
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    assert again.people.get(by_hand.patient).linked == (by_card.patient,)
    again.close()


async def test_two_of_one_name_are_offered_but_not_linked(world: World) -> None:
    one = await world.people.register(PatientForm("杨桂芳", "female", date(1958, 4, 17)), DOCTOR)
    two = await world.people.register(PatientForm("杨桂芳", "female", date(1958, 4, 17)), DOCTOR)
    by_card = await world.people.from_card(card(), DOCTOR)
    assert by_card.linked == ()
    assert {view.patient for view in world.people.possible_duplicates(by_card.patient)} == {one.patient, two.patient}
    linked = await world.people.link(one.patient, two.patient, DOCTOR)
    assert linked.linked == (two.patient,)


async def test_history_is_over_all_registrations_of_a_person(world: World) -> None:
    await world.arrive()
    by_hand = await world.people.register(PatientForm("杨桂芳", "female", date(1958, 4, 17)), DOCTOR)
    await world.encounters.open(by_hand.patient, DOCTOR, "血压复查")
    await world.measurements.confirm(world.cuff(150, 92), DOCTOR)
    world.clock.advance(60)
    by_card = await world.serve()
    world.clock.advance(60)
    await world.measurements.confirm(world.cuff(146, 90), DOCTOR)
    history = world.people.history(by_card.patient)
    assert [reading.values["systolic_mmhg"] for reading in history.readings] == [146, 150]
    assert [encounter.purpose for encounter in history.encounters] == ["", "血压复查"]
    assert history.encounters[0].village_name == "王家村"
    assert {result.rule for result in history.results} >= {"BP-GRADE", "BP-FIRST"}


def test_nobody(world: World) -> None:
    with pytest.raises(NobodyFound):
        world.people.get("patient-0")


async def test_search_by_every_number_somebody_may_have(world: World) -> None:
    await world.people.from_card(card(), DOCTOR)
    passport = PatientForm("Ali Veli", "male", date(1990, 1, 1), "E12345678", id_kind="passport")
    await world.people.register(passport, DOCTOR)
    guardian = Guardian("杨桂芳", "mother")
    baby = PatientForm("杨宝宝", "female", MORNING.date(), id_number(), id_kind="newborn", guardian=guardian)
    await world.people.register(baby, DOCTOR)
    nobody = await world.people.register(PatientForm("无证人", "male", date(1950, 1, 1), id_kind="temporary"), DOCTOR)
    recorded = PatientForm("陈国梁", "male", date(1948, 1, 1), record_number="510727 100 105 00123")
    await world.people.register(recorded, DOCTOR)

    def found(query: str) -> list[str]:
        return [view.name for view in world.people.search(query)]

    assert sorted(found(id_number())) == ["杨宝宝", "杨桂芳"]  # the mother, and the child known by her number
    assert sorted(found(id_number()[-4:])) == ["杨宝宝", "杨桂芳"]
    assert found(f"{id_number()}-1") == ["杨宝宝"]
    assert found("e1234 5678") == found("5678") == ["Ali Veli"]
    assert found(nobody.temporary.lower()) == ["无证人"]
    assert found("51072710010500123") == ["陈国梁"]
    assert found("yg") == ["杨桂芳"]
    assert found("yz") == []


async def test_a_passport_is_found_again_like_a_card(world: World) -> None:
    form = PatientForm("Ali Veli", "male", date(1990, 1, 1), "E12345678", id_kind="passport")
    one = await world.people.register(form, DOCTOR)
    again = await world.people.register(form, DOCTOR)
    assert (one.patient, one.id_kind, one.id_last4, one.temporary) == (again.patient, "passport", "5678", "")


async def test_no_paper_at_all_gives_a_temporary_number(world: World) -> None:
    view = await world.people.register(PatientForm("无证人", "male", date(1950, 1, 1), id_kind="temporary"), DOCTOR)
    assert view.temporary.startswith(f"T{MORNING:%y%m%d}-")
    assert (view.id_last4, view.masked_id) == ("", "")
    unknown = await world.people.register_unknown("无名氏", None)
    assert (unknown.sex, unknown.age, unknown.id_kind) == ("unknown", None, "temporary")


@pytest.mark.parametrize("kind", ["passport", "newborn"])
async def test_a_document_that_was_chosen_needs_its_number(world: World, kind: str) -> None:
    with pytest.raises(FormRefused) as refusal:
        await world.people.register(PatientForm("甲", "male", date(1960, 1, 1), id_kind=kind), DOCTOR)
    assert refusal.value.facts["fields"] == ("id_number",)


async def test_what_is_masked_is_shown_for_a_reason_that_is_noted(world: World) -> None:
    patient = await world.people.from_card(card(), DOCTOR)
    with pytest.raises(ReasonMissing):
        await world.people.reveal_id_number(patient.patient, DOCTOR, "curious")
    await world.people.reveal_id_number(patient.patient, DOCTOR, "form")
    await world.people.reveal_names([patient.patient], "contact", DOCTOR)
    rows = world.store.read("SELECT action, what, reason FROM access_log ORDER BY n")
    assert [(row["action"], row["what"], row["reason"]) for row in rows] == [
        ("id_number_shown", patient.patient, "form"),
        ("names_shown", patient.patient, "contact"),
    ]


async def test_a_phone_is_amended_and_the_first_entry_stays(world: World, tmp_path: Path) -> None:
    patient = await world.people.from_card(card(), DOCTOR)
    changes = {"phone": "13912345678", "phone_of": "child", "record_number": "510727-100-105-00123"}
    amended = await world.people.amend(patient.patient, changes, DOCTOR)
    assert (amended.phone, amended.phone_of, amended.record_number) == ("13912345678", "child", "51072710010500123")
    assert (amended.masked_phone, amended.address) == ("139****5678", patient.address)
    await world.people.amend(patient.patient, changes, DOCTOR)
    assert world.kinds().count("correction/1") == 1
    with pytest.raises(FormRefused):
        await world.people.amend(patient.patient, {"phone": "12"}, DOCTOR)
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    assert again.people.get(patient.patient).phone == "13912345678"
    again.close()
