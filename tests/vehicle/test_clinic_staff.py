from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from tests.vehicle.clinic_world import DOCTOR, NURSE, PINS, World
from tests.vehicle.conftest import MORNING
from vehicle.clinic.staff import LOCK_S, LockedOut, NotOnStaff, WrongPin


@pytest.fixture
def world(tmp_path: Path):
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


async def test_right_pin_signs_in_and_is_noted(world: World) -> None:
    assert world.staff.signed_in() is None
    person = await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    assert (person.name, person.role) == ("周敏", "village_doctor")
    assert world.staff.signed_in() == person
    rows = world.store.read("SELECT action, what, person FROM access_log")
    assert rows == [{"action": "sign_in", "what": DOCTOR, "person": DOCTOR}]


async def test_wrong_pin_says_how_many_tries_are_left(world: World) -> None:
    with pytest.raises(WrongPin) as refusal:
        await world.staff.sign_in(DOCTOR, "0000")
    assert refusal.value.facts["tries_left"] == 4
    assert world.staff.signed_in() is None


async def test_unknown_person_gets_the_same_answer(world: World) -> None:
    with pytest.raises(WrongPin):
        await world.staff.sign_in("nobody", "0000")


async def test_five_failures_lock_for_a_while_also_over_a_restart(world: World, tmp_path: Path) -> None:
    for _ in range(5):
        with pytest.raises(WrongPin):
            await world.staff.sign_in(DOCTOR, "0000")
    with pytest.raises(LockedOut):
        await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    assert (await world.staff.sign_in(NURSE, PINS[NURSE])).id == NURSE
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    with pytest.raises(LockedOut) as refusal:
        await again.staff.sign_in(DOCTOR, PINS[DOCTOR])
    assert refusal.value.facts["until"] > world.clock.now()
    world.clock.advance(LOCK_S)
    assert (await again.staff.sign_in(DOCTOR, PINS[DOCTOR])).id == DOCTOR
    again.close()


async def test_a_right_pin_in_between_starts_the_count_again(world: World) -> None:
    for _ in range(4):
        with pytest.raises(WrongPin):
            await world.staff.sign_in(DOCTOR, "0000")
    await world.staff.check_pin(DOCTOR, PINS[DOCTOR])
    with pytest.raises(WrongPin) as refusal:
        await world.staff.check_pin(DOCTOR, "9999")
    assert refusal.value.facts["tries_left"] == 4


async def test_a_clock_set_back_does_not_lock_for_ever(world: World) -> None:
    for _ in range(5):
        with pytest.raises(WrongPin):
            await world.staff.sign_in(DOCTOR, "0000")
    world.clock.set_wall(MORNING.replace(year=2025))
    assert (await world.staff.sign_in(DOCTOR, PINS[DOCTOR])).id == DOCTOR


async def test_who_is_signed_in_survives_a_restart_until_signed_out(world: World, tmp_path: Path) -> None:
    await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    assert again.staff.signed_in() is not None
    await again.staff.sign_out(DOCTOR)
    again.close()
    third = World(tmp_path, world.clock, seed=3)
    assert third.staff.signed_in() is None
    third.close()


async def test_no_name_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "xunzhen"):
        await world.staff.sign_in(DOCTOR, PINS[DOCTOR])
        with pytest.raises(WrongPin):
            await world.staff.sign_in("周敏", "0000")
    events = [json.loads(record.message)["event"] for record in caplog.records]
    assert {"signed_in", "sign_in_refused"} <= set(events)
    assert "周敏" not in caplog.text


def test_get_knows_only_the_staff(world: World) -> None:
    assert [person.id for person in world.staff.all()] == [DOCTOR, NURSE, "zhao.hai"]
    with pytest.raises(NotOnStaff):
        world.staff.get("somebody")


async def test_many_tries_at_once_are_counted_one_by_one(world: World) -> None:
    pins = ["0000", "0001", "0002", "0003", "0004", PINS[DOCTOR], "0006"]
    answers = await asyncio.gather(*(world.staff.sign_in(DOCTOR, pin) for pin in pins), return_exceptions=True)
    assert [type(answer) for answer in answers] == [WrongPin] * 5 + [LockedOut] * 2
    assert world.staff.signed_in() is None
