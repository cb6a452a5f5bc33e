"""A person of the van as FHIR R4 on a stick: with names for a reason only, noted, and never half a file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from touch_bench import CARD, PIN, Bench

from devices.clock import SimulatedClock
from sync.delivery.stick_export import StickGone
from vehicle.fhir_export import FOLDER, FhirReasonUnknown
from vehicle.mounts import Stick
from vehicle.touchscreen.app import create_touchscreen


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    stick = tmp_path / "KINGSTON"
    stick.mkdir()
    there = [Stick(stick, "/dev/sdb1", 10**9, 10**9, writable=True)]
    monkeypatch.setattr(made.vehicle.sticks, "found", lambda: there)
    await made.vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min")
    yield made
    await made.vehicle.stop()


async def patient(bench: Bench) -> str:
    person = await bench.vehicle.people.from_card(CARD, "zhou.min")
    await bench.vehicle.encounters.open(person.patient, "zhou.min")
    return person.patient


def noted(bench: Bench) -> list[dict[str, object]]:
    sql = "SELECT person, what, reason FROM access_log WHERE action = 'fhir_export'"
    return bench.vehicle.store.read(sql)


async def test_without_a_reason_the_file_on_the_stick_names_nobody(bench: Bench, tmp_path: Path) -> None:
    who = await patient(bench)
    file = await bench.vehicle.fhir_export.to_stick(who, tmp_path / "KINGSTON", "", "zhou.min", "周敏")
    assert file.parent == tmp_path / "KINGSTON" / FOLDER
    text = file.read_text(encoding="utf-8")
    made = json.loads(text)
    assert made["resourceType"] == "Bundle"
    assert made["entry"][0]["resource"]["birthDate"] == "1959"
    assert [secret for secret in (CARD.name, CARD.address, CARD.id_number, "王家村") if secret in text] == []
    assert noted(bench) == [{"person": "zhou.min", "what": who, "reason": None}]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


async def test_with_a_reason_it_names_the_person_and_the_reason_is_noted(bench: Bench, tmp_path: Path) -> None:
    who = await patient(bench)
    file = await bench.vehicle.fhir_export.to_stick(who, tmp_path / "KINGSTON", "asked", "zhou.min", "周敏")
    made = json.loads(file.read_text(encoding="utf-8"))
    assert made["entry"][0]["resource"]["name"][0]["text"] == CARD.name
    assert CARD.id_number not in file.read_text(encoding="utf-8")
    assert noted(bench) == [{"person": "zhou.min", "what": who, "reason": "asked"}]


async def test_what_cannot_be_written_is_not_noted_as_given_out(bench: Bench, tmp_path: Path) -> None:
    who = await patient(bench)
    export = bench.vehicle.fhir_export.to_stick
    with pytest.raises(StickGone):
        await export(who, tmp_path / "elsewhere", "", "zhou.min", "周敏")
    with pytest.raises(FhirReasonUnknown):
        await export(who, tmp_path / "KINGSTON", "curious", "zhou.min", "周敏")
    assert noted(bench) == []
    assert list((tmp_path / "KINGSTON").iterdir()) == []


async def test_the_page_writes_to_the_chosen_stick_and_says_where(bench: Bench, tmp_path: Path) -> None:
    who = await patient(bench)
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van.test") as client:
        await client.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        page = await client.get(f"/people/{who}/export")
        assert page.text.count('data-testid="fhir-stick"') == 1
        answer = await client.post(f"/people/{who}/export", data={"path": str(tmp_path / "KINGSTON"), "reason": ""})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/people/{who}/export")
        [file] = (tmp_path / "KINGSTON" / FOLDER).iterdir()
        assert file.name in (await client.get(f"/people/{who}/export")).text
        assert f"/people/{who}/export" in (await client.get("/status/stick")).text
        assert (await client.get("/people/nobody/export")).status_code == 404
