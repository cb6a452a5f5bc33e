"""The tile of the prompts on Measure: "nothing raised" is said only of values that the rules have heard."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from touch_bench import CARD, PIN, Bench

from devices.clock import SimulatedClock
from devices.readings import BloodPressure, Event, Glucose
from vehicle.touchscreen.app import create_touchscreen

DOCTOR = "zhou.min"


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    await made.vehicle.visits.start("510199201201", [DOCTOR], DOCTOR)
    patient = await made.vehicle.people.from_card(CARD, DOCTOR)
    await made.vehicle.encounters.open(patient.patient, DOCTOR)
    yield made
    await made.vehicle.stop()


@pytest.fixture
async def caller(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van") as opened:
        await opened.post("/sign-in", data={"person": DOCTOR, "pin": PIN[DOCTOR]})
        yield opened


async def said(caller: httpx.AsyncClient) -> str:
    page = (await caller.get("/measure")).text
    found = re.search(r'data-testid="tile-screening".*?data-words>([^<]*)<', page, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("device", "event", "in_the_end"),
    [
        ("cuff-1", BloodPressure(162, 98, pulse_bpm=76), "2 项要看"),
        ("glucose-1", Glucose(5.2, meal="fasting"), "没有异常"),
    ],
    ids=["raised", "normal"],
)
async def test_what_is_not_confirmed_is_not_called_normal(
    bench: Bench, caller: httpx.AsyncClient, device: str, event: Event, in_the_end: str
) -> None:
    assert await said(caller) == "还没有数值"
    bench.publish(device, event)
    assert await said(caller) == "确认后才看得出"
    (tile,) = [tile for tile in bench.vehicle.measurements.tiles() if tile.state == "arrived"]
    assert tile.reading is not None
    await bench.vehicle.measurements.confirm(tile.reading, DOCTOR)
    assert await said(caller) == in_the_end
