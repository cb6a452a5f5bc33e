"""Households, guardians, known diseases, linking: each change is an entry, the newest counts, a restart knows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from tests.vehicle.clinic_world import DOCTOR, World, card
from tests.vehicle.conftest import MORNING
from vehicle.clinic.guardians import Guardian, GuardianRefused
from vehicle.clinic.households import HouseholdRefused, Households
from vehicle.clinic.registration import FormRefused, PatientForm

CHILD = PatientForm("杨小芽", "female", date(2020, 5, 1), address="青峪县白果镇王家村3组")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


def households(world: World) -> Households:
    return Households(world.store, world.ids, world.people)


async def test_a_household_has_a_head_members_by_age_and_its_address(world: World, tmp_path: Path) -> None:
    homes = households(world)
    head = await world.people.from_card(card(), DOCTOR)
    wife = await world.people.register(PatientForm("罗秀珍", "female", date(1960, 1, 1), address="别处"), DOCTOR)
    child = await world.people.register(PatientForm("杨大树", "male", date(1990, 1, 1), address=head.address), DOCTOR)
    assert homes.of(head.patient) is None
    assert [one.patient for one in homes.neighbours(head.patient)] == [child.patient]
    await homes.join(child.patient, head.patient, "son", DOCTOR)
    home = await homes.join(wife.patient, head.patient, "spouse", DOCTOR)
    assert [(one.patient.name, one.relation) for one in home.members] == [
        ("杨桂芳", "head"),
        ("罗秀珍", "spouse"),
        ("杨大树", "son"),
    ]
    assert home.address == head.address
    assert homes.neighbours(head.patient) == []
    world.close()
    again = households(World(tmp_path, world.clock, seed=2))
    assert again.of(wife.patient) == home


async def test_who_moves_out_leaves_and_a_new_head_takes_over(world: World) -> None:
    homes = households(world)
    one = await world.people.from_card(card(), DOCTOR)
    two = await world.people.register(PatientForm("罗秀珍", "female", date(1960, 1, 1)), DOCTOR)
    await homes.join(two.patient, one.patient, "spouse", DOCTOR)
    home = await homes.join(two.patient, one.patient, "head", DOCTOR)
    assert [(one.patient.name, one.relation) for one in home.members] == [("罗秀珍", "head"), ("杨桂芳", "other")]
    await homes.leave(one.patient, DOCTOR)
    assert homes.of(one.patient) is None
    left = homes.of(two.patient)
    assert left is not None
    assert len(left.members) == 1
    with pytest.raises(HouseholdRefused):
        await homes.join(one.patient, one.patient, "spouse", DOCTOR)
    with pytest.raises(HouseholdRefused):
        await homes.join(one.patient, two.patient, "cat", DOCTOR)


async def test_a_monitored_household_is_one_until_it_is_said_to_be_none(world: World) -> None:
    homes = households(world)
    one = await world.people.from_card(card(), DOCTOR)
    await homes.monitor(one.patient, "marginal", DOCTOR)
    home = homes.of(one.patient)
    assert home is not None
    assert (home.monitored, home.members[0].relation) == ("marginal", "head")
    await homes.monitor(one.patient, "none", DOCTOR)
    ended = homes.of(one.patient)
    assert ended is not None
    assert ended.monitored == ""
    with pytest.raises(HouseholdRefused):
        await homes.monitor(one.patient, "rich", DOCTOR)


async def test_a_child_below_fourteen_needs_a_guardian_to_be_registered(world: World) -> None:
    with pytest.raises(FormRefused) as refused:
        await world.people.register(CHILD, DOCTOR)
    assert refused.value.facts["fields"] == ("guardian_name", "guardian_relation")
    form = PatientForm(CHILD.name, CHILD.sex, CHILD.born_on, guardian=Guardian("杨大树", "father", "13800138000"))
    child = await world.people.register(form, DOCTOR)
    assert households(world).guardian(child.patient) == Guardian("杨大树", "father", "13800138000")
    await households(world).set_guardian(child.patient, Guardian("罗秀珍", "grandparent"), DOCTOR)
    assert households(world).guardian(child.patient) == Guardian("罗秀珍", "grandparent", "")
    with pytest.raises(GuardianRefused):
        await households(world).set_guardian(child.patient, Guardian("罗秀珍", "friend", "1"), DOCTOR)


async def test_fourteen_years_and_no_guardian(world: World) -> None:
    today = MORNING.date()
    born = date(today.year - 14, today.month, today.day)
    assert (await world.people.register(PatientForm("杨小苗", "male", born), DOCTOR)).age == 14


async def test_known_diseases_are_said_and_withdrawn(world: World) -> None:
    homes = households(world)
    one = await world.people.from_card(card(), DOCTOR)
    await homes.set_conditions(one.patient, frozenset({"diabetes", "hypertension"}), DOCTOR)
    assert [(known.condition, known.icd10) for known in homes.conditions(one.patient)] == [
        ("hypertension", "I10"),
        ("diabetes", "E11"),
    ]
    before = len(world.kinds())
    await homes.set_conditions(one.patient, frozenset({"diabetes", "hypertension"}), DOCTOR)
    assert len(world.kinds()) == before  # nothing changed, nothing written
    await homes.set_conditions(one.patient, frozenset({"diabetes"}), DOCTOR)
    assert [known.condition for known in homes.conditions(one.patient)] == ["diabetes"]
    with pytest.raises(HouseholdRefused):
        await homes.set_conditions(one.patient, frozenset({"smi"}), DOCTOR)


async def test_a_link_made_by_mistake_is_undone_and_both_keep_what_they_had(world: World, tmp_path: Path) -> None:
    await world.arrive()
    form = PatientForm("杨桂芳", "female", date(1958, 4, 17))
    one, two, three = [await world.people.register(form, DOCTOR) for _ in range(3)]
    await world.people.link(one.patient, two.patient, DOCTOR)
    await world.people.link(two.patient, three.patient, DOCTOR)
    assert world.people.get(three.patient).linked == tuple(sorted((one.patient, two.patient)))
    await world.encounters.open(three.patient, DOCTOR, "复查")
    assert [past.purpose for past in world.people.history(one.patient).encounters] == ["复查"]
    parted = await world.people.unlink(three.patient, two.patient, DOCTOR)
    assert parted.linked == ()
    assert world.people.history(one.patient).encounters == ()
    assert len(world.people.history(three.patient).encounters) == 1
    assert {view.patient for view in world.people.possible_duplicates(three.patient)} == {one.patient}
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    assert again.people.get(one.patient).linked == (two.patient,)
    assert again.people.get(three.patient).linked == ()
    again.close()


async def test_two_of_one_name_said_to_be_different_are_not_offered_again(world: World) -> None:
    form = PatientForm("杨桂芳", "female", date(1958, 4, 17))
    one, two = [await world.people.register(form, DOCTOR) for _ in range(2)]
    assert [view.patient for view in world.people.possible_duplicates(one.patient)] == [two.patient]
    await world.people.unlink(one.patient, two.patient, DOCTOR)
    assert world.people.possible_duplicates(one.patient) == []
    assert world.people.possible_duplicates(two.patient) == []
