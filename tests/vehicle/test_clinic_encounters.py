from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from tests.vehicle.clinic_world import DOCTOR, PINS, World, card
from tests.vehicle.conftest import MORNING
from vehicle.clinic.critical import Answer
from vehicle.clinic.encounters import CARD_WAITS_S, CriticalOpen, NoVisit

REFERRED = Answer(frozenset({"told", "referred"}), receiver="县医院急诊科", read_back=True)
OTHER = card("陈国梁", date(1967, 8, 9), "113")


@pytest.fixture
def world(tmp_path: Path):
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


async def test_one_person_at_a_time(world: World) -> None:
    await world.arrive()
    one = await world.people.from_card(card(), DOCTOR)
    two = await world.people.from_card(OTHER, DOCTOR)
    first = await world.encounters.open(one.patient, DOCTOR, "老年人体检")
    assert world.encounters.current() == first
    assert (await world.encounters.open(one.patient, DOCTOR)).encounter == first.encounter
    second = await world.encounters.open(two.patient, DOCTOR)
    assert world.encounters.current() == second
    closed = world.store.read("SELECT closed_at FROM encounters WHERE encounter = ?", (first.encounter,))
    assert closed[0]["closed_at"] is not None
    await world.encounters.close(DOCTOR)
    await world.encounters.close(DOCTOR)
    assert world.encounters.current() is None
    assert world.kinds().count("encounter_closed/1") == 2


async def test_two_taps_and_two_cards_are_one_person_and_one_encounter(world: World) -> None:
    await world.arrive()
    one, two = await asyncio.gather(*(world.people.from_card(card(), DOCTOR) for _ in range(2)))
    assert one.patient == two.patient
    await asyncio.gather(*(world.encounters.open(one.patient, DOCTOR) for _ in range(4)))
    assert world.kinds().count("encounter/1") == 1


async def test_nobody_is_served_without_a_visit(world: World) -> None:
    one = await world.people.from_card(card(), DOCTOR)
    with pytest.raises(NoVisit):
        await world.encounters.open(one.patient, DOCTOR)
    with pytest.raises(NoVisit):
        await world.encounters.enqueue(one.patient)


async def test_the_visits_end_is_the_encounters_end(world: World) -> None:
    await world.serve()
    await world.visits.end(DOCTOR)
    assert world.encounters.current() is None


async def test_queue_keeps_its_numbers_and_survives_a_restart(world: World, tmp_path: Path) -> None:
    await world.serve()
    for number in range(3):
        waiting = await world.people.from_card(card(f"第{number}人", date(1960, 1, 1 + number), "011"), DOCTOR)
        await world.encounters.enqueue(waiting.patient, DOCTOR)
        await world.encounters.enqueue(waiting.patient, DOCTOR)
        world.clock.advance(60)
    queue = world.encounters.queue()
    assert [(item.number, item.waiting_s) for item in queue] == [(1, 180), (2, 120), (3, 60)]
    await world.encounters.open(queue[1].patient.patient, DOCTOR)
    served = world.encounters.current()
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    assert [item.number for item in again.encounters.queue()] == [1, 3]
    assert again.encounters.current() == served
    await again.encounters.leave_queue(queue[0].patient.patient, DOCTOR)
    assert [item.number for item in again.encounters.queue()] == [3]
    await again.visits.end(DOCTOR)
    await again.arrive()
    assert again.encounters.queue() == []
    again.close()


async def test_a_card_opens_when_nobody_is_served(world: World) -> None:
    await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    await world.arrive()
    world.publish(card(), "reader-1")
    await world.encounters.settle()
    served = world.encounters.current()
    assert served is not None
    assert served.patient.name == "杨桂芳"
    assert world.told("encounter")[-1]["encounter"]["encounter"] == served.encounter


async def test_a_card_during_a_measurement_queues_and_asks(world: World) -> None:
    await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    first = await world.serve()
    world.publish(OTHER, "reader-1")
    world.publish(OTHER, "reader-1")
    await world.encounters.settle()
    served, offered = world.encounters.current(), world.encounters.offered()
    assert served is not None
    assert served.patient.patient == first.patient
    assert offered is not None
    assert offered.name == "陈国梁"
    assert [item.patient.name for item in world.encounters.queue()] == ["陈国梁"]
    assert world.told("card")[-1]["reason"] == "busy"
    await world.encounters.open(offered.patient, DOCTOR)
    assert world.encounters.offered() is None
    assert world.encounters.queue() == []


async def test_the_same_card_again_changes_nothing(world: World) -> None:
    await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    await world.serve()
    world.publish(card(), "reader-1")
    await world.encounters.settle()
    assert world.kinds().count("encounter/1") == 1
    assert world.encounters.offered() is None


async def test_a_card_before_sign_in_waits_for_somebody(world: World) -> None:
    await world.arrive()
    world.publish(card(), "reader-1")
    assert world.told("card")[-1]["reason"] == "signed_out"
    assert "patient/1" not in world.kinds()
    await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    await world.encounters.settle()
    assert world.encounters.current() is not None


async def test_a_card_without_a_visit_is_offered(world: World) -> None:
    await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    world.publish(card(), "reader-1")
    await world.encounters.settle()
    assert world.encounters.offered() is not None
    assert world.told("card")[-1]["reason"] == "no_visit"


async def test_a_card_with_a_wrong_number_is_told_not_stored(world: World) -> None:
    await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    await world.arrive()
    world.publish(replace(card(), id_number="510727195804170420"), "reader-1")
    world.publish(OTHER, "reader-1")
    await world.encounters.settle()
    assert [message["state"] for message in world.told("card")] == ["refused"]
    served = world.encounters.current()
    assert served is not None
    assert served.patient.name == "陈国梁"


async def test_nobody_leaves_with_a_red_value_unanswered(world: World) -> None:
    await world.serve()
    reading = world.cuff(184, 112)
    await world.measurements.confirm(reading, DOCTOR)
    other = await world.people.from_card(OTHER, DOCTOR)
    with pytest.raises(CriticalOpen) as refusal:
        await world.encounters.close(DOCTOR)
    assert refusal.value.facts["readings"] == (reading,)
    with pytest.raises(CriticalOpen):
        await world.encounters.open(other.patient, DOCTOR)
    await world.critical_values.acknowledge(reading, REFERRED, DOCTOR)
    await world.encounters.open(other.patient, DOCTOR)


async def test_a_card_of_long_ago_opens_nobody_at_the_next_sign_in(world: World) -> None:
    await world.arrive()
    world.publish(card(), "reader-1")
    world.clock.advance(CARD_WAITS_S + 1)
    await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    await world.encounters.settle()
    assert world.encounters.current() is None
    assert world.people.search("") == []
