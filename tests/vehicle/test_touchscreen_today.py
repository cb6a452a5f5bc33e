"""Today on the touchscreen: the village doctor's confirmation with a PIN of their own, and outreach by three taps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from touch_bench import PIN, Bench

from devices.clock import SimulatedClock
from sync.formats.records import Entry, read_entry
from vehicle.clinic.registration import PatientForm
from vehicle.touchscreen.app import create_touchscreen

PLACE = (30.6, 104.0)


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    made.stand_at(PLACE)
    yield made
    await made.vehicle.stop()


@pytest.fixture
def app(bench: Bench) -> FastAPI:
    return create_touchscreen(bench.vehicle)


async def nurse(app: FastAPI, visiting: bool = True) -> httpx.AsyncClient:
    """Signed in, with a visit open."""
    caller = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://van")
    await caller.post("/sign-in", data={"person": "wu.qian", "pin": PIN["wu.qian"]})
    if visiting:
        await caller.post("/visit/start", data={"village": "510199201201", "crew": ["li.wen"]})
    return caller


def entries(bench: Bench, kind: str) -> list[Entry]:
    store = bench.vehicle.store
    found = (read_entry(body) for body in store.entries(0, store.size()))
    return [entry for entry in found if entry.kind == kind]


async def test_the_village_doctor_confirms_while_somebody_else_is_signed_in(app: FastAPI, bench: Bench) -> None:
    caller = await nurse(app)
    assert "confirm-village" in (await caller.get("/today")).text
    answer = await caller.post("/visit/confirm", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
    assert answer.status_code == 303
    page = (await caller.get("/today")).text
    assert "村医 周敏 已确认" in page
    assert "confirm-village" not in page
    (entry,) = entries(bench, "village_confirmed/1")
    assert (entry.by, entry.visit) == ("zhou.min", bench.vehicle.visits.current().visit)
    assert bench.vehicle.staff.signed_in().id == "wu.qian"


async def test_a_wrong_pin_is_counted_as_at_sign_in(app: FastAPI, bench: Bench) -> None:
    caller = await nurse(app)
    for left in (4, 3, 2, 1, 0):
        page = (await caller.post("/visit/confirm", data={"person": "zhou.min", "pin": "0000"})).text
        assert ("data-modal" in page, f"{left} 次" in page) == (True, True)
    assert bench.vehicle.staff.locked_until("zhou.min") is not None
    await caller.post("/visit/confirm", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
    assert entries(bench, "village_confirmed/1") == []


@pytest.mark.parametrize("person", ["li.wen", "wu.qian", "nobody"])
async def test_nobody_but_a_village_doctor_can_confirm(app: FastAPI, bench: Bench, person: str) -> None:
    caller = await nurse(app)
    page = await caller.post("/visit/confirm", data={"person": person, "pin": PIN.get(person, "1111")})
    assert 'data-testid="refused"' in page.text
    assert entries(bench, "village_confirmed/1") == []


async def test_without_a_visit_no_pin_is_asked_for(app: FastAPI, bench: Bench) -> None:
    caller = await nurse(app, visiting=False)
    await caller.post("/visit/confirm", data={"person": "zhou.min", "pin": "0000"})
    assert bench.vehicle.staff.locked_until("zhou.min") is None
    assert entries(bench, "village_confirmed/1") == []


async def test_who_waited_and_went_home_is_taken_out_of_the_queue(app: FastAPI, bench: Bench) -> None:
    caller = await nurse(app)
    people = [await bench.vehicle.people.register(form, "wu.qian") for form in (patient("何长顺"), patient("田月娥"))]
    for person in people:
        await caller.post(f"/people/{person.patient}/queue")
    page = (await caller.get("/today")).text
    assert f'action="/people/{people[0].patient}/leave-queue"' in page
    answer = await caller.post(f"/people/{people[0].patient}/leave-queue")
    assert (answer.status_code, answer.headers["location"]) == (303, "/today")
    assert [item.patient.name for item in bench.vehicle.encounters.queue()] == ["田月娥"]
    assert "何长顺" not in (await caller.get("/today")).text


async def test_everybody_who_waits_is_on_the_page(app: FastAPI, bench: Bench) -> None:
    caller = await nurse(app)
    names = [f"候诊{number}号" for number in "一二三四五六七八九"]
    for name in names:
        person = await bench.vehicle.people.register(patient(name), "wu.qian")
        await caller.post(f"/people/{person.patient}/queue")
    page = (await caller.get("/today")).text
    assert [name for name in names if name not in page] == []


def patient(name: str) -> PatientForm:
    return PatientForm(name, "female", date(1958, 4, 26), id_kind="temporary")


async def test_an_outreach_is_recorded_by_taps(app: FastAPI, bench: Bench) -> None:
    caller = await nurse(app)
    await caller.post("/visit/outreach", data={"what": "talk", "people": "30"})
    await caller.post("/visit/outreach", data={"what": "homes", "people": "0"})
    said = [entry.fields for entry in entries(bench, "outreach/1")]
    assert [(one["what"], one.get("people")) for one in said] == [("健康讲座", 30), ("入户走访", None)]
    assert "宣讲 2 次" in (await caller.get("/today")).text


@pytest.mark.parametrize(
    "form", [{"what": "dance"}, {}, {"what": "talk", "people": "-1"}, {"what": "talk", "people": "x"}]
)
async def test_what_is_no_outreach_is_refused(app: FastAPI, bench: Bench, form: dict[str, str]) -> None:
    caller = await nurse(app)
    answer = await caller.post("/visit/outreach", data=form)
    assert answer.status_code >= 400 or "没有记下" in (await caller.get("/today")).text
    assert entries(bench, "outreach/1") == []


async def test_a_bug_in_a_page_leaves_a_way_out(app: FastAPI, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The panel has no address line and no way back of its own."""
    signed_in = await nurse(app)
    careful = httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://van", cookies=signed_in.cookies
    )
    spoiled = await careful.post("/visit/outreach", data={"what": "talk", "people": "-1"})
    monkeypatch.setattr(bench.vehicle.encounters, "queue", lambda: 1 / 0)
    broken = await careful.get("/today")
    for answer, status in ((spoiled, 422), (broken, 500)):
        assert answer.status_code == status
        assert "这一页出错了" in answer.text
        assert all(f'href="{way}"' in answer.text for way in ("/today", "/emergency"))
    assert (await careful.get("/today", headers={"X-Background": "1"})).json() == {"detail": "ZeroDivisionError"}
