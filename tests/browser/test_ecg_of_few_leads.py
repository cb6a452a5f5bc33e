"""An ECG device of one lead on the touchscreen: its own sheet, its lead's name, true scale, a recording. Real bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van, settings_in

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from touch_bench import CARD, Bench

from devices import catalog
from devices.readings import BloodPressure, Samples
from devices.simulators.creative_pc80b import Pc80bTwin
from devices.simulators.ecg_source import SynthesisedEcg
from devices.simulators.healthypi import HealthyPiTwin
from vehicle.settings import VehicleSettings

pytestmark = pytest.mark.browser

WITHIN_MS = 30_000
STEP_S = 0.05
DEVICES = [
    pytest.param("healthypi_v4", HealthyPiTwin, "I", 125, id="healthypi_v4"),
    pytest.param("creative_pc80b", Pc80bTwin, "ECG", 150, id="creative_pc80b"),
]


async def stream(bench: Bench, driver_id: str, twin: Any) -> None:
    """Twin and driver on one wire, in real time, into the feed; for ever."""
    driver = catalog.driver(driver_id)()
    output = driver.open()
    while True:
        for write in output.writes:
            output.events += driver.feed(twin.receive(write.payload)).events
        for event in output.events:
            bench.publish("ecg-1", event)
        await asyncio.sleep(STEP_S)
        output = driver.feed(twin.advance(STEP_S))
        ticked = driver.tick(STEP_S)
        output.events += ticked.events
        output.writes += ticked.writes


def settings_with(folder: Path, driver_id: str) -> VehicleSettings:
    settings = settings_in(folder)
    devices = tuple(
        device.model_copy(update={"driver": driver_id}) if device.name == "ecg-1" else device
        for device in settings.devices
    )
    return settings.model_copy(update={"devices": devices})


@pytest.fixture
def van(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Van]:
    driver_id, twin_of = request.param
    with Van(tmp_path, settings=settings_with(tmp_path, driver_id)) as running:
        running.do(lambda bench: setattr(running, "sending", False))  # the usual twelve leads stay out
        running.twin = twin_of(SynthesisedEcg(seed=9))
        running.do(lambda bench: bench.all_connected())
        running.streaming = running.do(lambda bench: asyncio.create_task(stream(bench, driver_id, running.twin)))
        yield running
        running.do(lambda bench: running.streaming.cancel())


def until(page: Any, done: Callable[[], bool]) -> None:
    for _ in range(WITHIN_MS // 50):
        if done():
            return
        page.wait_for_timeout(50)
    raise AssertionError("never")


def serve(van: Van, page: Any) -> None:
    van.do(lambda bench: bench.stand_at((30.60, 104.00)))
    van.sign_in(page)
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()
    page.get_by_test_id("go-measure").click()
    van.do(lambda bench: bench.publish("card-1", CARD))
    page.get_by_test_id("served-name").wait_for()


def shown(page: Any) -> Any:
    return page.evaluate("window.xunzhen?.samples('ecg') ?? null")


HEIGHT_MM = """(async () => {
  const { pxPerMm } = await import('/shared/scale.js');
  const canvas = document.querySelector('#paper canvas[data-feed="ecg"]');
  const { width, height } = canvas, ink = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  let top = height, bottom = 0;
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
    if (ink[4 * (y * width + x) + 3] > 100) { top = Math.min(top, y); bottom = Math.max(bottom, y); }
  }
  return [(bottom - top) / pxPerMm() / devicePixelRatio, 2 / pxPerMm()];
})()"""
"""Height of all ink of the trace in millimetres of paper, and what two pixels are."""


@pytest.mark.parametrize(
    ("van", "lead", "rate_hz"),
    [pytest.param((driver, twin), lead, rate, id=driver) for driver, twin, lead, rate in (p.values for p in DEVICES)],
    indirect=["van"],
)
def test_one_lead_has_a_sheet_of_its_own_at_true_scale(van: Van, page: Any, lead: str, rate_hz: int) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ecg")
    until(page, lambda: (shown(page) or {}).get("channels") == [lead])
    until(page, lambda: len(shown(page)["counts"]) >= 9 * rate_hz)
    paper = page.locator("#paper")
    assert paper.get_attribute("aria-label") == f"心电：{lead}"
    assert page.locator("button[data-layout]").first.is_hidden()
    page.get_by_test_id("freeze").click()
    seen = shown(page)
    assert (
        seen["counts"]
        == [[count] for count in van.twin.sent(van.twin.samples_sent)[:, 0][seen["first_index"] :]][
            : len(seen["counts"])
        ]
    )
    height_mm, two_pixels_mm = page.evaluate(HEIGHT_MM)
    highest_mv = (max(seen["counts"])[0] - min(seen["counts"])[0]) * seen["resolution"] / 1000
    assert height_mm == pytest.approx(10 * highest_mv, rel=0.12, abs=2 * two_pixels_mm)


@pytest.mark.parametrize("van", [("healthypi_v4", HealthyPiTwin)], indirect=True, ids=["healthypi_v4"])
def test_a_recording_of_one_lead_is_kept_and_shown_as_it_came(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ecg")
    until(page, lambda: (shown(page) or {}).get("channels") == ["I"])
    page.get_by_test_id("record-ecg").click()
    page.wait_for_url(re.compile("/ecg/recordings/[0-9a-f]{64}"), timeout=60_000)
    until(page, lambda: len((shown(page) or {"counts": []})["counts"]) == 1250)
    stored = shown(page)
    assert stored["channels"] == ["I"]
    sent = van.twin.sent(van.twin.samples_sent)[:, 0].tolist()
    kept = [row[0] for row in stored["counts"]]
    assert any(sent[at : at + 1250] == kept for at in range(len(sent) - 1249))
    assert page.locator("#paper").get_attribute("aria-label") == "心电：I"


@pytest.mark.parametrize("van", [("healthypi_v4", HealthyPiTwin)], indirect=True, ids=["healthypi_v4"])
def test_the_measure_page_names_the_lead_it_draws(van: Van, page: Any) -> None:
    serve(van, page)
    until(page, lambda: page.locator("[data-ecg-lead]").inner_text() == "I 导联")
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(128, 80)))
    page.get_by_test_id("confirm-blood_pressure").wait_for()
    until(page, lambda: page.locator("[data-ecg-lead]").inner_text() == "I 导联")


def test_samples_are_what_the_pages_need() -> None:
    """One lead, microvolts: the same type as of the twelve-lead device."""
    driver, twin = catalog.driver("healthypi_v4")(), HealthyPiTwin(SynthesisedEcg(seed=9))
    driver.open()
    (first, *_) = [event for event in driver.feed(twin.advance(1.0)).events if isinstance(event, Samples)]
    assert (first.stream, first.channels, first.unit, first.counts.dtype) == ("ecg", ("I",), "uV", "int16")
