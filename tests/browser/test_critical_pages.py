"""A critical finding in real Chromium: it rings where one is, has a page, is answered there; the doctor's marks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from PIL import Image
from touch_bench import CARD, PIN
from ultrasound_machine import sector

from sync.formats.records import Draft, format_time

pytestmark = pytest.mark.browser

LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at((30.60, 104.00)))
        yield running


def serve(van: Van, page: Any) -> None:
    van.sign_in(page)
    van.wait(lambda bench: bench.vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min"))

    async def person(bench: Any) -> None:
        patient = await bench.vehicle.people.from_card(CARD, "zhou.min")
        await bench.vehicle.encounters.open(patient.patient, "zhou.min")

    van.wait(person)


def found(van: Van, what: str, **facts: Any) -> None:
    van.do(lambda bench: bench.vehicle.critical_findings.on_live_ecg("ecg-1", what, facts))


def picture() -> bytes:
    made = io.BytesIO()
    Image.fromarray(sector(1)).save(made, "PNG")
    return made.getvalue()


async def still(bench: Any) -> str:
    """A still of the person being served."""
    vehicle, served = bench.vehicle, bench.vehicle.encounters.current()
    sha256, size = vehicle.recordings.store(picture(), "image/png")
    fields = {
        "sha256": sha256,
        "bytes": size,
        "media_type": "image/png",
        "what": "ultrasound_still",
        "patient": served.patient.patient,
        "device": "ultrasound",
        "started_at": format_time(bench.clock.now()),
        "duration_ms": 0,
        "facts": {"width": 640, "height": 480},
    }
    await vehicle.store.commit(Draft("recording/1", fields, "zhou.min", served.visit, served.encounter))
    return sha256


def test_it_rings_on_the_ecg_page_and_is_answered_on_its_own(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ecg?lang=zh")
    found(van, "ecg_rate_high", heart_rate_bpm=162)
    page.get_by_test_id("red-open").wait_for()
    page.wait_for_function("document.body.dataset.alarm")
    assert "162/min" in page.get_by_test_id("red-open").inner_text()
    page.get_by_test_id("red-go").click()
    page.get_by_test_id("finding").wait_for()
    assert page.get_by_test_id("critical-leave").is_disabled()
    page.get_by_test_id("critical-again").click()
    page.wait_for_url("**/ecg")
    page.get_by_test_id("red-go").click()
    page.get_by_test_id("critical-not_told").check()
    page.get_by_test_id("critical-referred").check()
    page.get_by_test_id("receiver-hospital").click()
    page.get_by_test_id("critical-read-back").check()
    assert page.get_by_test_id("critical-leave").is_disabled()
    assert page.get_by_test_id("critical-lacks").inner_text() == "还要说明为什么没法告诉"
    page.get_by_test_id("not_told-unconscious").click()
    page.get_by_test_id("critical-leave").click()
    page.locator('[data-testid="finding"][data-closed="yes"]').wait_for()
    page.get_by_test_id("finding-back").click()
    assert page.get_by_test_id("red-open").count() == 0
    found(van, "ecg_asystole", flat=True)
    page.get_by_test_id("red-go").click()
    page.get_by_test_id("critical-withdrawn").click()
    page.locator('[data-testid="finding"][data-closed="yes"]').wait_for()


def test_the_doctor_marks_a_picture(van: Van, page: Any) -> None:
    serve(van, page)
    sha256 = van.wait(still)
    page.goto(f"{van.address}/ultrasound/{sha256}?lang=zh")
    page.get_by_test_id("mark-critical").click()
    page.get_by_test_id("mark-us_ectopic").check(force=True)
    page.get_by_test_id("mark-do").click()
    page.get_by_test_id("finding").wait_for()
    assert page.get_by_test_id("finding").get_attribute("data-what") == "us_ectopic"
    page.get_by_test_id("see-finding").click()
    page.wait_for_url(f"**/ultrasound/{sha256}")


def test_the_doctor_signs_an_infarction(van: Van, page: Any) -> None:
    serve(van, page)
    made = van.wait(lambda bench: bench.vehicle.ecg.record(seconds=2, by="zhou.min"))
    page.goto(f"{van.address}/ecg/recordings/{made.sha256}?lang=zh")
    page.get_by_test_id("review").click()
    page.get_by_test_id("agrees-yes").check(force=True)
    page.get_by_test_id("af-no").check(force=True)
    page.get_by_test_id("mark-ecg_infarction").check(force=True)
    page.get_by_test_id("review-pin").fill(PIN["zhou.min"])
    page.get_by_test_id("review-sign").click()
    page.get_by_test_id("red-go").click()
    assert page.get_by_test_id("finding").get_attribute("data-what") == "ecg_infarction"


@pytest.mark.parametrize(("language", "theme"), LOOKS)
def test_the_pages_are_clean(
    van: Van, page: Any, complaints: Callable[[Any], list[str]], language: str, theme: str
) -> None:
    serve(van, page)
    look = f"lang={language}&theme={theme}"
    sha256 = van.wait(still)
    found(van, "ecg_wide_run", heart_rate_bpm=172, beats=5)
    name = van.do(lambda bench: bench.vehicle.measurements.critical()[0].reading)
    told: dict[str, list[str]] = {}
    for path in ("/ecg", f"/critical/{name}", f"/ultrasound/{sha256}"):
        page.goto(f"{van.address}{path}?{look}")
        page.wait_for_selector("main")
        if path.startswith("/ultrasound"):
            page.get_by_test_id("mark-critical").click()
        told[path] = complaints(page)
    assert [path for path, said in told.items() if said] == [], told
