"""What leaves the program as a file, asked for in real Chromium: the ECG on paper, a person as FHIR at the county."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from county_month import PASSWORD, Founded, at
from page_server import run_apart, serving
from touch_van import Van

from devices.clock import SimulatedClock
from sync.formats import ecg_file
from sync.formats.records import Draft, format_time
from tests.sync.interop.ecg_samples import stored
from tests.sync.interop.fhir_case import NAME, drafts
from vehicle.clinic.people import PatientForm
from vehicle.mounts import Stick

pytestmark = pytest.mark.browser

LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]
SHOTS = os.environ.get("XUNZHEN_SHOTS", "")
Complaints = Callable[[Any], list[str]]


def looked_at(page: Any, address: str, complaints: Complaints, name: str) -> None:
    for language, theme in LOOKS:
        page.goto(f"{address}?lang={language}&theme={theme}")
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/{name}.{language}.{theme}.png")
        assert complaints(page) == [], (name, language, theme)


async def keep(bench: Any) -> str:
    vehicle = bench.vehicle
    await vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min")
    patient = await vehicle.people.register(PatientForm("杨桂芳", "female", date(1959, 3, 12)), "zhou.min")
    encounter = await vehicle.encounters.open(patient.patient, by="zhou.min")
    sha256, size = vehicle.recordings.store(stored(), ecg_file.MEDIA_TYPE)
    said = {
        "sha256": sha256,
        "bytes": size,
        "media_type": ecg_file.MEDIA_TYPE,
        "what": "ecg",
        "patient": patient.patient,
        "device": "ecg-1",
        "started_at": format_time(vehicle.clock.now()),
        "duration_ms": 10_000,
        "facts": {"driver": "contec_8000g"},
    }
    await vehicle.store.commit(Draft("recording/1", said, "zhou.min", encounter.visit, encounter.encounter))
    return str(sha256)


def test_the_button_prints_the_layout_that_is_shown(tmp_path: Path, page: Any, complaints: Complaints) -> None:
    stick = Stick(tmp_path / "KINGSTON", "/dev/sdb1", 10**9, 10**9, writable=True)
    with Van(tmp_path) as van:
        van.do(lambda bench: bench.all_connected())
        van.do(lambda bench: setattr(bench.vehicle.sticks, "found", lambda: [stick]))
        sha256 = van.wait(keep)
        van.sign_in(page)
        patient = van.do(lambda bench: bench.vehicle.encounters.current().patient.patient)
        looked_at(page, f"{van.address}/people/{patient}/export", complaints, "person-export")
        page.goto(f"{van.address}/ecg/recordings/{sha256}")
        button = page.get_by_test_id("print-ecg").bounding_box()
        assert button["x"] + button["width"] <= page.viewport_size["width"]
        assert button["height"] < 90, "the words wrap"
        page.locator('button[data-layout="12x1"]').click()
        with page.expect_download() as begun:
            page.get_by_test_id("print-ecg").click()
        download = begun.value
        assert download.suggested_filename == f"ecg-{sha256[:12]}-12x1.pdf"
        assert Path(download.path()).read_bytes().startswith(b"%PDF")
        page.goto("about:blank")


@pytest.fixture
def county(tmp_path: Path) -> Iterator[str]:
    async def found() -> Founded:
        made = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
        van = made.van("van-07")
        van.store.commit_now(*drafts(at(9, 1, 8)))
        await van.deliver()
        return made

    founded = run_apart(found)
    with serving(founded.app) as address:
        yield address
    founded.close()


def test_the_county_gives_out_one_encounter_without_a_name(county: str, page: Any, complaints: Complaints) -> None:
    page.goto(f"{county}/sign-in")
    page.get_by_test_id("account").fill("xu.jing")
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("sign-in").click()
    page.wait_for_selector("main.main")
    looked_at(page, f"{county}/county/visits/visit-1/people", complaints, "people-served")
    assert NAME not in page.content()
    with page.expect_download() as begun:
        page.get_by_test_id("export-fhir").click()
    download = begun.value
    assert download.suggested_filename.endswith("-pseudonymous.fhir.json")
    assert json.loads(Path(download.path()).read_text(encoding="utf-8"))["resourceType"] == "Bundle"
