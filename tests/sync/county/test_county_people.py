"""People served in a visit, exported from the county as FHIR: pseudonymous unless somebody says why, always noted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from county_month import Founded, Van, at

from devices.clock import SimulatedClock
from sync.county.person_exports import reader, served
from sync.interop.fhir_record import of_person
from tests.sync.interop.fhir_case import NAME, READINGS, SECRETS, drafts

PAGE = "/county/visits/visit-1/people"


@pytest.fixture
async def founded(tmp_path: Path) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
    yield county
    county.close()


@pytest.fixture
async def van(founded: Founded) -> Van:
    van = founded.van("van-07")
    van.store.commit_now(*drafts(at(9, 1, 8)))
    await van.deliver()
    return van


@pytest.fixture
async def administrator(founded: Founded, van: Van) -> AsyncIterator[httpx.AsyncClient]:
    client = await founded.signed_in("xu.jing")
    yield client
    await client.aclose()


async def export(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    return await client.post(PAGE, data={"encounter": "encounter-1", "scope": "encounter", **fields})


def noted(founded: Founded) -> list[tuple[str, str, str]]:
    return [
        (line.account, line.what, line.outcome) for line in founded.county.audit.latest() if line.action == "export"
    ]


def kinds(answer: httpx.Response) -> set[str]:
    made: dict[str, Any] = json.loads(answer.content)
    return {entry["resource"]["resourceType"] for entry in made["entry"]}


async def test_rows_are_read_the_same_from_every_database(tmp_path: Path, database_url: str) -> None:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), database_url)
    van = county.van("van-07")
    van.store.commit_now(*drafts(at(9, 1, 8)))
    await van.deliver()
    visit = county.county.visits.find("visit-1")
    assert visit is not None
    [one] = served(county.county.database, visit)
    assert one.counts == {"readings": len(READINGS), "recordings": 2, "consultations": 1}
    assert (one.sex, one.born_in) == ("female", "1959")
    record = of_person(reader(county.county.database, visit.origin), visit.origin, "patient-1")
    assert record is not None
    assert len(record.readings) == len(READINGS)
    assert record.name_of("visit-1", "zhou.min") == "周敏"
    county.close()


async def test_the_page_lists_encounters_without_names(administrator: httpx.AsyncClient) -> None:
    page = await administrator.get(PAGE)
    assert page.status_code == 200
    assert page.text.count('data-testid="served"') == 1
    assert "1959" in page.text
    assert [secret for secret in SECRETS if secret in page.text] == []


async def test_without_a_reason_the_file_names_nobody_and_the_download_is_noted(
    founded: Founded, administrator: httpx.AsyncClient
) -> None:
    answer = await export(administrator)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+json")
    assert "pseudonymous.fhir.json" in answer.headers["content-disposition"]
    assert [secret for secret in SECRETS if secret in answer.text] == []
    wanted = {"Patient", "Encounter", "Observation", "DiagnosticReport", "DocumentReference", "Device", "Provenance"}
    told = {"RiskAssessment", "QuestionnaireResponse", "Flag", "Communication", "Consent"}
    assert kinds(answer) == wanted | told
    assert noted(founded) == [("xu.jing", "fhir encounter encounter-1 pseudonymous", "done")]


async def test_with_a_reason_the_file_names_the_person_and_the_reason_is_noted(
    founded: Founded, administrator: httpx.AsyncClient
) -> None:
    answer = await export(administrator, scope="person", reason="转诊到县医院")
    made = json.loads(answer.content)
    assert made["entry"][0]["resource"]["name"][0]["text"] == NAME
    assert made["entry"][-1]["resource"]["agent"][1]["who"]["display"].startswith("许静")
    assert noted(founded) == [("xu.jing", "fhir person encounter-1 转诊到县医院", "done")]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"encounter": "encounter-9"}, "problem_none"),
        ({"scope": "everybody"}, "problem_none"),
        ({"reason": "因为"}, "problem_reason"),
    ],
)
async def test_what_cannot_be_meant_is_refused_on_the_page_and_noted(
    founded: Founded, administrator: httpx.AsyncClient, fields: dict[str, str], word: str
) -> None:
    answer = await export(administrator, **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    assert f"said-{word}" in (await administrator.get(PAGE)).text
    assert [outcome for _, _, outcome in noted(founded)] == ["refused"]


async def test_auditors_and_specialists_get_no_person(founded: Founded, van: Van) -> None:
    for id in ("he.ming", "shen.ruochuan"):
        client = await founded.signed_in(id)
        assert (await client.get(PAGE)).status_code == 403
        assert (await export(client)).status_code == 403
        await client.aclose()


async def test_a_visit_that_does_not_exist_has_no_people(administrator: httpx.AsyncClient) -> None:
    assert (await administrator.get("/county/visits/visit-9/people")).status_code == 404
