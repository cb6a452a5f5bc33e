"""A stored ECG of the van on paper: who stands on it, what was found and reviewed, and that printing is noted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from touch_bench import CARD, PIN, Bench, settings_in

from devices.clock import SimulatedClock
from sync.formats import ecg_file
from sync.formats.records import Draft, format_time
from sync.interop import ecg_leads
from sync.interop.ecg_paper import GRID_TOP_MM
from sync.interop.ecg_pdf import Words, pdf
from sync.web.catalog import texts
from tests.sync.interop.ecg_samples import stored
from vehicle.printing.ecg_words import ecg_words
from vehicle.settings import VehicleSettings
from vehicle.touchscreen.app import create_touchscreen

NEEDS_POPPLER = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="skipped: no pdftotext (poppler-utils)")


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    yield made
    await made.vehicle.stop()


async def keep(bench: Bench, imported: bool = False, nobody: bool = False) -> str:
    """A recording of the person who is served, or of nobody."""
    vehicle = bench.vehicle
    await vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min")
    patient = await vehicle.people.from_card(CARD, "zhou.min")
    await vehicle.encounters.open(patient.patient, "zhou.min")
    served = vehicle.encounters.current()
    assert served is not None
    sha256, size = vehicle.recordings.store(stored(), ecg_file.MEDIA_TYPE)
    facts: dict[str, object] = {"driver": "contec_8000g", "interrupted": False, "gaps": []}
    if imported:
        facts = {"imported": {"file_name": "7.dcm", "device_said_at": "2025-11-20T08:30:00"}}
    said = {
        "sha256": sha256,
        "bytes": size,
        "media_type": ecg_file.MEDIA_TYPE,
        "what": "ecg",
        "device": "ecg-1",
        "started_at": format_time(bench.clock.now()),
        "duration_ms": 10_000,
        "facts": facts,
    }
    if nobody:
        await vehicle.store.commit(Draft("recording/1", said, "zhou.min", served.visit))
    else:
        said["patient"] = patient.patient
        await vehicle.store.commit(Draft("recording/1", said, "zhou.min", served.visit, served.encounter))
    return sha256


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van.test") as asking:
        answer = await asking.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        assert answer.status_code == 303
        yield asking


def text_of(pdf: bytes, folder: Path) -> str:
    file = folder / "ecg.pdf"
    file.write_bytes(pdf)
    return subprocess.run(["pdftotext", str(file), "-"], capture_output=True, text=True, timeout=60, check=True).stdout


@NEEDS_POPPLER
async def test_the_sheet_names_the_person_masked_and_the_printing_is_an_entry(
    bench: Bench, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    sha256 = await keep(bench)
    answer = await client.get(f"/ecg/recordings/{sha256}/paper.pdf", params={"layout": "6x2"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.headers["content-disposition"].endswith('-6x2.pdf"')
    said = text_of(answer.content, tmp_path)
    for word in ("杨桂芳 女", "**************0426", "白果镇 王家村", "青峪县 川A·演07", "未审核", "12 导联", "8000G"):
        assert word in said
    assert CARD.id_number not in said
    noted = bench.vehicle.store.read("SELECT person, what FROM access_log WHERE action = 'ecg_printed'")
    assert noted == [{"person": "zhou.min", "what": sha256}]


async def test_what_is_not_there_is_not_printed(bench: Bench, client: httpx.AsyncClient) -> None:
    sha256 = await keep(bench)
    for path in (f"{'0' * 64}/paper.pdf", f"{sha256}/paper.pdf?page=1"):
        assert (await client.get(f"/ecg/recordings/{path}")).status_code == 404
    assert (await client.get(f"/ecg/recordings/{sha256}/paper.pdf?layout=4x4")).status_code == 422
    assert bench.vehicle.store.read("SELECT 1 FROM access_log WHERE action = 'ecg_printed'") == []


async def test_findings_stand_as_automatic_until_a_doctor_has_signed(bench: Bench) -> None:
    vehicle = bench.vehicle
    sha256 = await keep(bench)
    found = {"heart_rate_bpm": 61, "rhythm": "none", "beats": 10, "ectopic_beats": 0, "pauses": [], "leads": {}}
    analysis = {"sha256": sha256, "version": "1", "findings": found}
    await vehicle.store.commit(Draft("ecg_analysis/1", analysis))
    before = words(bench, sha256)
    assert before.state == "未审核"
    assert (before.findings, before.disclaimer) == (("自动：心率 61 次/分，未提示房颤",), "筛查提示，不作为诊断依据")
    review = {"sha256": sha256, "version": "1", "agrees": True, "af": "no", "words": "", "by_name": "周敏"}
    await vehicle.store.commit(Draft("ecg_review/1", review, "zhou.min"))
    after = words(bench, sha256)
    assert after.state == "已审核"
    assert after.findings[1].startswith("周敏 审核 ")
    assert after.findings[1].endswith("：不是房颤")
    assert words(bench, sha256, "en").state == texts("en")("touch.ecg.reviewed")


@NEEDS_POPPLER
async def test_a_doctor_who_writes_much_covers_neither_the_disclaimer_nor_the_grid(
    bench: Bench, tmp_path: Path
) -> None:
    sha256 = await keep(bench)
    found = {"heart_rate_bpm": 188, "rhythm": "possible", "beats": 10, "ectopic_beats": 0, "pauses": [], "leads": {}}
    review = {
        "sha256": sha256,
        "version": "1",
        "agrees": False,
        "af": "unclear",
        "words": "长" * 500,
        "by_name": "欧阳敏敏",
    }
    await bench.vehicle.store.commit(
        Draft("ecg_analysis/1", {"sha256": sha256, "version": "1", "findings": found}), Draft("ecg_review/1", review)
    )
    file = tmp_path / "ecg.pdf"
    file.write_bytes(pdf(ecg_leads.read(bench.vehicle.recordings.read(sha256)), "3x4+1", words(bench, sha256)))
    told = boxes(file)
    head = [bottom_mm for top_mm, bottom_mm, _ in told if top_mm < GRID_TOP_MM - 2]
    assert max(head) < GRID_TOP_MM
    assert any("不作为诊断依据" in word for _, _, word in told)
    assert sum(word.count("长") for _, _, word in told) == 69


def boxes(file: Path) -> list[tuple[float, float, str]]:
    """(top, bottom, word) of every word of the page, in millimetres."""
    told = subprocess.run(
        ["pdftotext", "-bbox", str(file), "-"], capture_output=True, text=True, timeout=60, check=True
    )
    found = re.findall(r'yMin="([\d.]+)" xMax="[\d.]+" yMax="([\d.]+)">([^<]*)<', told.stdout)
    return [(float(top) * 25.4 / 72, float(bottom) * 25.4 / 72, word) for top, bottom, word in found]


async def test_an_imported_ecg_says_so_with_the_time_of_its_device(bench: Bench) -> None:
    told = words(bench, await keep(bench, imported=True))
    assert told.place[0] == "2025-11-20 08:30:00（设备时间）"
    assert "由文件导入（ecg-1）" in told.foot
    assert told.who.endswith("66 岁")  # on the day of the recording


async def test_an_ecg_of_nobody_names_nobody(bench: Bench) -> None:
    told = words(bench, await keep(bench, nobody=True))
    assert (told.who, told.person[0]) == ("未归到人", "")


def words(bench: Bench, sha256: str, language: str = "zh") -> Words:
    vehicle = bench.vehicle
    row = vehicle.store.read("SELECT * FROM recordings WHERE sha256 = ?", (sha256,))[0]
    assert json.loads(row["facts_json"])
    ecg = ecg_leads.read(vehicle.recordings.read(sha256))
    patient = vehicle.people.get(row["patient"]) if row["patient"] else None
    found = vehicle.ecg_findings.of(sha256)
    return ecg_words(vehicle.store, vehicle.printing.contents.letterhead, row, ecg, patient, found, texts(language))


async def test_what_a_hospital_refused_is_said_and_sent_again_on_a_tap(tmp_path: Path, clock: SimulatedClock) -> None:
    told = settings_in(tmp_path).model_dump(mode="json")
    archive = {"host": "127.0.0.1", "called_ae_title": "HOSPITAL", "calling_ae_title": "VAN07"}
    bench = Bench(tmp_path, clock, settings=VehicleSettings.model_validate({**told, "picture_archive": archive}))
    sha256 = await keep(bench)
    queue = bench.vehicle.picture_archive
    assert queue is not None
    refused = {
        "sha256": sha256,
        "destination": queue.destination,
        "state": "refused",
        "instance": "2.25.1",
        "study": "2",
    }
    await bench.vehicle.store.commit(Draft("dicom_delivery/1", {**refused, "reason": "status A900"}))
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van.test") as client:
        await client.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        page = await client.get(f"/ecg/recordings/{sha256}")
        assert 'data-state="refused"' in page.text
        assert "status A900" in page.text
        answer = await client.post(f"/ecg/recordings/{sha256}/send-again")
        assert answer.headers["location"] == f"/ecg/recordings/{sha256}"
        assert 'data-state="waiting"' in (await client.get(f"/ecg/recordings/{sha256}")).text
    assert queue.status().waiting == 1
    await bench.vehicle.stop()
