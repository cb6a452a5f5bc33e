"""Emergency mode and the driving lock: begun by one touch in any state, kept as entries, ended by a summary."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from touch_bench import CARD, PIN, Bench

from devices.clock import SimulatedClock
from devices.readings import BloodPressure, Position, PulseOximetry
from telemedicine.consultation import Event
from vehicle.clinic.emergency.checklists import shipped_checklists
from vehicle.consultation_request import FIELDS, PNG, Consent
from vehicle.emergency import EmergencyUnknown, OutcomeMissing
from vehicle.touchscreen.app import create_touchscreen

ME = "zhou.min"
IN_THE_VILLAGE = (30.60, 104.00)


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    made.stand_at(IN_THE_VILLAGE)
    yield made
    await made.vehicle.stop()


async def serve(bench: Bench) -> str:
    await bench.vehicle.visits.start("510199201201", [ME], ME)
    patient = await bench.vehicle.people.from_card(CARD, ME)
    await bench.vehicle.encounters.open(patient.patient, ME)
    return patient.patient


def drive(bench: Bench, km_h: float | None, fixes: int) -> None:
    for _ in range(fixes):
        speed = None if km_h is None else km_h / 3.6
        bench.publish("gnss-1", Position(*IN_THE_VILLAGE, 3.0, 12, speed, bench.clock.now()))
        bench.clock.advance(1.0)  # type: ignore[attr-defined]


async def test_the_person_served_the_place_and_the_numbers_go_to_the_duty_doctor(bench: Bench) -> None:
    van, patient = bench.vehicle, await serve(bench)
    bench.publish("oximeter-1", PulseOximetry(86, 124))
    bench.publish("cuff-1", BloodPressure(86, 52, pulse_bpm=122))
    begun = await van.emergencies.start(ME)
    assert begun.patient == patient
    assert (begun.place, begun.lat_e7, begun.lon_e7) == ("王家村", 306000000, 1040000000)
    asked = van.consultations.current()
    assert asked is not None
    assert (asked.consultation, asked.urgency, asked.state) == (begun.consultation, "emergency", "requested")
    assert set(asked.fields) == set(FIELDS)
    assert "86/52 mmHg" in asked.fields["findings"]
    assert "30.60000, 104.00000" in asked.fields["question"]
    summary = van.consultations.summary(begun.consultation)
    assert summary["consent"]["signed_by"] == "emergency"
    assert summary["emergency"]["latitude_deg"] == 30.6
    assert summary["emergency"]["vitals"] == {"blood_pressure": "86/52 mmHg"}
    again = await van.emergencies.start(None)
    assert again == begun  # a second touch changes nothing


async def test_nobody_signed_in_no_visit_nobody_served_and_it_works(bench: Bench, tmp_path: Path) -> None:
    van = bench.vehicle
    begun = await van.emergencies.start(None)
    person = van.people.get(begun.patient)
    assert (person.id_kind, begun.started_by) == ("temporary", "")
    served = van.encounters.current()
    assert served is not None
    assert served.encounter == begun.encounter
    await van.emergencies.step("chest_pain", "rest", True, None)
    ended = await van.emergencies.end("handed_over", ME)
    assert van.encounters.current() is None
    assert (ended.outcome, ended.summary["steps"]) == ("handed_over", {"chest_pain": 1})
    assert van.consultations.get(begun.consultation).state == "cancelled"  # nobody had answered


async def test_somebody_else_is_helped_and_who_was_served_is_served_again(bench: Bench) -> None:
    van, patient = bench.vehicle, await serve(bench)
    begun = await van.emergencies.start(ME, for_served=False)
    assert begun.patient != patient
    served = van.encounters.current()
    assert served is not None
    assert served.encounter == begun.encounter
    await van.emergencies.end("recovered", ME)
    back = van.encounters.current()
    assert back is not None
    assert back.patient.patient == patient


async def test_an_emergency_takes_the_line_from_a_consultation_about_somebody_else(bench: Bench) -> None:
    van = bench.vehicle
    await serve(bench)
    other = await van.consultations.request(
        dict.fromkeys(FIELDS, "一般"), "routine", Consent(PNG + b"x", True, "patient"), ME
    )
    begun = await van.emergencies.start(ME, for_served=False)
    assert van.consultations.get(other.consultation).state == "cancelled"
    current = van.consultations.current()
    assert current is not None
    assert current.consultation == begun.consultation


async def test_a_consultation_about_the_same_person_goes_on(bench: Bench) -> None:
    van = bench.vehicle
    await serve(bench)
    open_one = await van.consultations.request(
        dict.fromkeys(FIELDS, "一般"), "urgent", Consent(PNG + b"x", True, "patient"), ME
    )
    assert (await van.emergencies.start(ME)).consultation == open_one.consultation


async def test_steps_are_entries_with_their_time_and_can_be_taken_back(bench: Bench, clock: SimulatedClock) -> None:
    van = bench.vehicle
    with pytest.raises(EmergencyUnknown):
        await van.emergencies.step("stroke", "face", True, ME)
    begun = await van.emergencies.start(ME)
    clock.advance(61)
    first = await van.emergencies.step("stroke", "face", True, ME)
    assert (first.at - begun.started_at).total_seconds() == 61
    clock.advance(5)
    await van.emergencies.step("stroke", "face", True, ME)
    await van.emergencies.step("stroke", "last_well", True, None)
    await van.emergencies.step("stroke", "face", False, ME)
    assert [(step.item, step.done) for step in van.emergencies.steps(begun.emergency)] == [
        ("face", True),
        ("last_well", True),
        ("face", False),
    ]
    assert list(van.emergencies.done(begun.emergency)) == [("stroke", "last_well")]
    with pytest.raises(EmergencyUnknown):
        await van.emergencies.step("stroke", "dance", True, ME)
    steps = van.consultations.summary(begun.consultation)["emergency"]["steps"]
    assert [step["step"] for step in steps] == ["T 时间：最后一次正常是几点几分"]


async def test_the_end_needs_an_outcome_and_says_when_the_doctor_came(bench: Bench, clock: SimulatedClock) -> None:
    van = bench.vehicle
    begun = await van.emergencies.start(ME)
    clock.advance(40)
    await van.consultations.change(begun.consultation, Event.INVITED)
    await van.consultations.change(begun.consultation, Event.ACCEPTED, "沈若川, 主任医师 (shen.ruochuan)")
    clock.advance(200)
    with pytest.raises(OutcomeMissing):
        await van.emergencies.end("nothing", ME)
    ended = await van.emergencies.end("to_hospital", ME)
    assert (ended.summary["duration_s"], ended.summary["accepted_after_s"]) == (240, 40)
    assert van.consultations.get(begun.consultation).state == "accepted"  # the doctor still signs
    assert van.emergencies.current() is None
    with pytest.raises(EmergencyUnknown):
        await van.emergencies.end("to_hospital", ME)


async def test_a_restart_in_the_middle_goes_on(tmp_path: Path, clock: SimulatedClock) -> None:
    one = Bench(tmp_path, clock)
    begun = await one.vehicle.emergencies.start(None)
    await one.vehicle.emergencies.step("trauma", "bleeding", True, None)
    await one.vehicle.stop()
    again = Bench(tmp_path, clock)
    assert again.vehicle.emergencies.current() == begun
    assert list(again.vehicle.emergencies.done(begun.emergency)) == [("trauma", "bleeding")]
    await again.vehicle.stop()


async def test_practice_is_said_to_the_doctor(tmp_path: Path, clock: SimulatedClock) -> None:
    bench = Bench(tmp_path, clock, practice=True)
    begun = await bench.vehicle.emergencies.start(None)
    assert bench.vehicle.consultations.summary(begun.consultation)["practice"] is True
    await bench.vehicle.stop()


async def test_a_locked_screen_starts_it_ticks_steps_and_shows_no_name(bench: Bench) -> None:
    await serve(bench)
    app = create_touchscreen(bench.vehicle)
    locked = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://van")
    for path in ("/sign-in", "/emergency"):
        assert CARD.name not in (await locked.get(path)).text
    assert (await locked.post("/emergency/start", data={"who": "served"})).headers["location"] == "/emergency"
    page = (await locked.get("/emergency?list=stroke")).text
    assert CARD.name not in page
    assert "emergency-end" not in page
    await locked.post("/emergency/step", data={"checklist": "stroke", "item": "arms"})
    state = (await locked.get("/emergency/state")).json()
    assert (state["active"], state["steps"], CARD.name in str(state)) == (True, 1, False)
    assert (await locked.post("/emergency/end", data={"outcome": "recovered"})).status_code in (303, 401)
    assert bench.vehicle.emergencies.current() is not None
    driver = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://van")
    await driver.post("/sign-in", data={"person": "zhao.hai", "pin": PIN["zhao.hai"]})
    assert CARD.name not in (await driver.get("/emergency")).text
    await driver.post("/sign-in", data={"person": ME, "pin": PIN[ME]})
    assert CARD.name in (await driver.get("/emergency")).text


def test_every_checklist_has_steps_sources_and_both_languages() -> None:
    lists = shipped_checklists()
    assert {one.id for one in lists} == {
        "chest_pain",
        "stroke",
        "hypoglycaemia",
        "anaphylaxis",
        "seizure",
        "trauma",
    }
    for one in lists:
        assert len({item.id for item in one.items}) == len(one.items) >= 6
        for item in one.items:
            assert item.mark in ("V", "V2", "M")
            assert item.source
            assert item.zh != item.en


@pytest.mark.parametrize(("km_h", "moving"), [(4.9, False), (5.1, True), (60.0, True), (None, False)])
async def test_the_van_drives_above_five_km_an_hour(bench: Bench, km_h: float | None, moving: bool) -> None:
    drive(bench, km_h, 2)
    assert bench.vehicle.driving.moving is moving


async def test_one_jump_is_no_drive_and_three_slow_fixes_are_a_stop(bench: Bench) -> None:
    driving = bench.vehicle.driving
    drive(bench, 40, 1)
    drive(bench, 0, 1)
    drive(bench, 40, 1)
    assert not driving.moving
    drive(bench, 40, 1)
    assert driving.moving
    drive(bench, 0, 2)
    assert driving.moving
    drive(bench, 0, 1)
    assert not driving.moving


async def test_a_silent_receiver_lets_the_screens_go(bench: Bench, clock: SimulatedClock) -> None:
    drive(bench, 40, 2)
    clock.advance(11)
    assert not bench.vehicle.driving.moving


async def test_driving_locks_the_pages_but_not_the_emergency(bench: Bench) -> None:
    app = create_touchscreen(bench.vehicle)
    crew = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://van")
    await crew.post("/sign-in", data={"person": ME, "pin": PIN[ME]})
    assert 'id="driving"' not in (await crew.get("/today")).text
    drive(bench, 40, 3)
    page = (await crew.get("/today")).text
    assert 'id="driving"' in page
    assert 'data-testid="driving-emergency"' in page
    assert (await crew.get("/emergency")).status_code == 200
    await crew.post("/emergency/start", data={"who": "other"})
    assert 'id="driving"' not in (await crew.get("/measure")).text  # who is on board is treated
