"""The holding list: given to the person being served, or put away with a reason; both in the journal."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from touch_bench import CARD, PIN, Bench

from devices.clock import SimulatedClock
from devices.readings import BloodPressure, DeviceClock, Glucose
from vehicle.touchscreen.app import create_touchscreen

DOCTOR = "zhou.min"


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    yield made
    await made.vehicle.stop()


@pytest.fixture
async def caller(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van") as opened:
        await opened.post("/sign-in", data={"person": DOCTOR, "pin": PIN[DOCTOR]})
        yield opened


async def serve(bench: Bench) -> str:
    await bench.vehicle.visits.start("510199201201", [DOCTOR], DOCTOR)
    patient = await bench.vehicle.people.from_card(CARD, DOCTOR)
    await bench.vehicle.encounters.open(patient.patient, DOCTOR)
    return patient.patient


def readings_on(page: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"/measure/held/(reading-[0-9A-Z]+)/", page)))


async def test_a_stored_record_is_given_to_the_person_being_served(bench: Bench, caller: httpx.AsyncClient) -> None:
    bench.publish("glucose-1", DeviceClock("2026-03-02T08:00:00"))
    bench.publish("glucose-1", Glucose(7.7, sequence=4, device_said_at="2026-03-01T19:40:00"))
    bench.publish("cuff-1", BloodPressure(188, 102, device_said_at="2026-03-01T19:45:00"))
    page = (await caller.get("/measure/held")).text
    assert "先选是谁的" in page
    assert "设备钟差已校正" in page
    assert "没核对过" in page
    patient = await serve(bench)
    page = (await caller.get("/measure/held")).text
    reading = next(one for one in readings_on(page) if f"{one}/assign" in page)
    assert "是杨桂芳的" in page
    wrong = await caller.post(f"/measure/held/{reading}/assign", data={"patient": "patient-somebody-else"})
    assert wrong.headers["location"] == "/measure/held"
    assert bench.vehicle.store.read("SELECT count(*) AS n FROM readings WHERE confirmed_at IS NOT NULL")[0]["n"] == 0
    assert "接诊的人换了" in (await caller.get("/measure/held")).text
    await caller.post(f"/measure/held/{reading}/assign", data={"patient": patient})
    (row,) = bench.vehicle.store.read("SELECT patient, confirmed_by FROM readings WHERE confirmed_at IS NOT NULL")
    assert row == {"patient": patient, "confirmed_by": DOCTOR}
    assert len(readings_on((await caller.get("/measure/held")).text)) == 1


async def test_a_value_is_put_away_with_its_reason(bench: Bench, caller: httpx.AsyncClient) -> None:
    bench.publish("glucose-1", Glucose(7.7, sequence=4, device_said_at="2026-03-01T19:40:00"))
    (reading,) = readings_on_discards((await caller.get("/measure/held")).text)
    refused = await caller.post(f"/measure/held/{reading}/discard", data={"reason": "because"})
    assert refused.status_code == 422
    await caller.post(f"/measure/held/{reading}/discard", data={"reason": "test"})
    (row,) = bench.vehicle.store.read("SELECT rejected_reason FROM readings")
    assert row["rejected_reason"] == "test"
    (entry,) = bench.vehicle.store.read("SELECT body FROM entries WHERE kind = 'reading_rejected/1'")
    assert DOCTOR in bytes(entry["body"]).decode()
    assert "没有" in (await caller.get("/measure/held")).text


def readings_on_discards(page: str) -> list[str]:
    return re.findall(r"/measure/held/([^/]+)/discard", page)


async def test_the_old_memory_of_a_new_meter_goes_at_once(bench: Bench, caller: httpx.AsyncClient) -> None:
    for sequence in range(50):
        bench.publish(
            "glucose-1", Glucose(5.0 + sequence / 50, sequence=sequence, device_said_at="2026-02-01T19:40:00")
        )
    page = (await caller.get("/measure/held")).text
    assert len(readings_on_discards(page)) == 40
    assert "first=40" in page
    assert len(readings_on_discards((await caller.get("/measure/held?first=40")).text)) == 10
    await caller.post("/measure/held/discard-all")
    assert "50 个值已放到一边" in (await caller.get("/measure/held")).text
    assert bench.vehicle.measurements.holding() == []
