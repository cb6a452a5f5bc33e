"""A still in the specialist's real browser, from the real bridge over the real record: the same bytes on both sides."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.async_api", reason="skipped: playwright is not installed")

from playwright.async_api import Browser, Page, async_playwright

from devices.clock import SimulatedClock, SystemClock
from sync.formats.identifiers import Identifiers
from telemedicine.ultrasound.machine import MachineSettings
from tests.telemedicine import consultation_stage
from tests.telemedicine.consultation_stage import FakeVehicle, Stage, until
from tests.vehicle.clinic_world import World
from tests.vehicle.conftest import MORNING, counting_bytes
from vehicle.captures import Captures
from vehicle.recorded_ecg import Served
from vehicle.touchscreen.capture_api import routes
from vehicle.ultrasound import Ultrasound

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
ENCOUNTER = "encounter-1"


class Record:
    """The record's side of the vehicle: captures, ultrasound and their local API, over a real store."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, SimulatedClock(MORNING))
        self.recordings = self.world.recordings
        self.fake: FakeVehicle | None = None
        store, clock = self.world.store, SystemClock()
        self.captures = Captures(self.recordings, store, clock, self, lambda: Served(None, ENCOUNTER, "patient-1"))
        self.ultrasound = Ultrasound(store, Identifiers(clock, counting_bytes(5)), self, self.captures)

    def send(self, message: dict[str, Any]) -> None:
        if self.fake is not None:
            self.fake.tell(message)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    made = Record(tmp_path / "record")
    fake_app, fake_settings = FakeVehicle.app, consultation_stage.consultation_settings

    def app(self: FakeVehicle) -> Any:
        made.fake = self
        application = fake_app(self)
        application.include_router(routes(made))  # type: ignore[arg-type]
        return application

    def settings(folder: Path, port: int, clips: dict[str, Path], size: tuple[int, int]) -> Any:
        chosen = fake_settings(folder, port, clips, size)
        machine = MachineSettings(name="ultrasound-1", source_size=(320, 240), mm_per_pixel=0.2, flip="horizontal")
        feeds = [
            feed.model_copy(update={"machine": machine}) if feed.name == "ultrasound" else feed for feed in chosen.feeds
        ]
        return chosen.model_copy(update={"feeds": feeds})

    monkeypatch.setattr(FakeVehicle, "app", app)
    monkeypatch.setattr(consultation_stage, "consultation_settings", settings)
    monkeypatch.setitem(consultation_stage.SUMMARY, "encounter", ENCOUNTER)
    return made


@pytest.fixture
async def stage(record: Record, tmp_path: Path) -> AsyncIterator[Stage]:
    async with consultation_stage.consultation_stage(tmp_path) as ready:
        yield ready


@pytest.fixture
async def page(stage: Stage) -> AsyncIterator[Page]:
    if not CHROMIUM.exists():  # noqa: ASYNC240 (one look, before anything runs)
        pytest.skip("skipped: no /usr/bin/chromium")
    async with async_playwright() as playwright:
        browser: Browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        context = await browser.new_context(base_url=stage.url, viewport={"width": 1440, "height": 900})
        opened = await context.new_page()
        faults: list[str] = []
        opened.on("pageerror", lambda fault: faults.append(str(fault)))
        await opened.goto("/test/sign-in?as=shen.ruochuan&to=/specialist")
        yield opened
        await browser.close()
        assert not faults, faults


async def in_session(stage: Stage, page: Page) -> None:
    stage.vehicle.request()
    await page.get_by_test_id("accept-invitation").click()
    await page.wait_for_selector("body[data-media=connected]", timeout=90_000)


async def test_the_specialist_freezes_and_measures_and_both_sides_have_the_same(
    stage: Stage, record: Record, page: Page, tmp_path: Path
) -> None:
    await in_session(stage, page)
    await page.get_by_test_id("freeze").click()
    await page.get_by_test_id("still").wait_for(state="visible")
    sha256 = await page.get_by_test_id("still").get_attribute("data-sha256") or ""
    assert hashlib.sha256(record.recordings.read(sha256)).hexdigest() == sha256
    image = record.ultrasound.image(sha256)
    assert image.who == "沈若川, 主任医师 (shen.ruochuan)"
    assert image.facts["consultation"] == "consultation-1"
    await page.get_by_test_id("still-distance").click()
    box = await page.locator("svg.still-view").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await page.mouse.move(x - 100, y)
    await page.mouse.down()
    await page.mouse.move(x + 100, y, steps=4)
    await page.mouse.up()
    await page.get_by_test_id("still-keep").click()
    await page.get_by_test_id("measurement").wait_for()
    kept = record.ultrasound.measurements(sha256)[0]
    assert (kept.tool, kept.who) == ("distance", "沈若川, 主任医师 (shen.ruochuan)")
    assert f"{kept.sizes['length_um'] / 1000:.1f} mm" in await page.get_by_test_id("measurement").inner_text()
    await page.screenshot(path=str(tmp_path / "specialist-still.png"))
    await page.get_by_test_id("still-close").click()
    await page.get_by_test_id("still").wait_for(state="hidden")


async def test_what_the_crew_freezes_comes_to_the_specialist_and_outlives_a_reload(
    stage: Stage, record: Record, page: Page
) -> None:
    await in_session(stage, page)
    assert stage.van.ultrasound is not None
    made = await stage.van.ultrasound.freeze(by="zhou.min")
    await page.get_by_test_id("still").wait_for(state="visible")
    assert await page.get_by_test_id("still").get_attribute("data-sha256") == made["sha256"]
    await page.reload()
    await page.get_by_test_id("still-film").get_by_role("button").click()
    await page.get_by_test_id("still").wait_for(state="visible")
    assert await page.get_by_test_id("still").get_attribute("data-sha256") == made["sha256"]


async def draws(page: Page, svg: str, corners: list[tuple[float, float]]) -> None:
    """A line with the mouse, from corner to corner (0..1 of the sides of what ``svg`` shows)."""
    places = [
        await page.evaluate(
            """([svg, x, y]) => {
              const shown = document.querySelector(svg), box = shown.viewBox.baseVal;
              const at = new DOMPoint(x * box.width, y * box.height).matrixTransform(shown.getScreenCTM());
              return [at.x, at.y];
            }""",
            [svg, *corner],
        )
        for corner in corners
    ]
    await page.mouse.move(*places[0])
    await page.mouse.down()
    for place in places[1:]:
        await page.mouse.move(*place, steps=6)
    await page.mouse.up()


async def test_what_is_drawn_stays_with_the_still_and_one_can_draw_on_it(
    stage: Stage, record: Record, page: Page
) -> None:
    await in_session(stage, page)
    assert await moves_at_all(page)
    await page.get_by_test_id("tool-pen").click()
    await draws(page, "[data-marks=ultrasound]", [(0.4, 0.3), (0.6, 0.3), (0.6, 0.7)])
    await page.get_by_test_id("freeze").click()
    await page.get_by_test_id("still").wait_for(state="visible")
    sha256 = await page.get_by_test_id("still").get_attribute("data-sha256") or ""
    await until(lambda: len(record.ultrasound.measurements(sha256)) == 1)
    kept = record.ultrasound.measurements(sha256)[0]
    facts = record.ultrasound.image(sha256).facts
    assert (kept.tool, kept.sizes.get("length_um"), kept.who) == ("line", None, "沈若川, 主任医师 (shen.ruochuan)")
    heights = [y / facts["height"] for _, y in kept.points]
    assert min(heights) == pytest.approx(0.3, abs=0.02), "on the spot where it was drawn"
    assert max(heights) == pytest.approx(0.7, abs=0.02)

    place = (
        "() => { const box = document.querySelector('svg.still-view').getBoundingClientRect(); return box.toJSON(); }"
    )
    stood = await page.evaluate(place)
    await page.evaluate("() => { document.querySelector('.still-words').textContent = 'wordy '.repeat(60); }")
    assert await page.evaluate(place) == stood, "the still keeps its place whatever is said beside it"
    await page.get_by_test_id("still-line").click()
    await draws(page, "svg.still-view", [(0.2, 0.2), (0.3, 0.8)])
    await until(lambda: len(record.ultrasound.measurements(sha256)) == 2)
    second = record.ultrasound.measurements(sha256)[1]
    assert second.points[0] == pytest.approx((0.2 * facts["width"], 0.2 * facts["height"]), rel=0.03)
    await page.get_by_test_id("measurement").nth(1).wait_for()
    assert await page.locator("svg.still-view g > path.line").count() == 2
    if folder := os.environ.get("XUNZHEN_SCREENSHOTS"):
        await page.screenshot(path=f"{folder}/specialist-still-drawn.png")


async def moves_at_all(page: Page) -> bool:
    """The ultrasound shows a picture."""
    shown = "document.querySelector('video[data-feed=ultrasound]').videoWidth > 0"
    async with asyncio.timeout(90):
        while not await page.evaluate(shown):  # noqa: ASYNC110 (it changes in the browser)
            await asyncio.sleep(0.1)
    return True


async def test_nothing_of_somebody_else_comes_to_the_specialist(stage: Stage, record: Record, page: Page) -> None:
    await in_session(stage, page)
    stage.vehicle.tell({"type": "encounter", "encounter": {"encounter": "encounter-2"}})
    await until(lambda: stage.van._live_data.withheld)
    await page.get_by_test_id("freeze").click()
    await page.wait_for_selector(".still-words:text('正在看别的人')", state="attached")
    assert record.world.store.read("SELECT * FROM recordings") == []
