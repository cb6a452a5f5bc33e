"""The specialist's pages in real Chromium, against the real exchange and media process and a small fake vehicle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "telemedicine"))

from consultation_stage import (
    CHUNK,
    PASSWORD,
    RATE_HZ,
    Stage,
    consultation_stage,
    ecg_chunk,
    ecg_count,
    serving,
    tcp_listener,
    until,
)

from telemedicine.consultation import State
from xunzhen.demo.clips import COUNTER_BITS, COUNTER_CORNER_PX, COUNTER_SQUARE_PX, render_clips

__all__ = ["CHUNK", "PASSWORD", "RATE_HZ", "Stage", "ecg_chunk", "serving", "tcp_listener", "until"]
pytestmark = pytest.mark.browser

WITHIN_MS = 90_000
"""Every wait is for a condition; the bound only ends a test that hangs, also on a computer with ten times the work."""
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
SIZES: dict[str, Any] = {
    "small": {"width": 1280, "height": 800},
    "laptop": {"width": 1536, "height": 730},
    "large": {"width": 1920, "height": 1080},
}
"""Beside 1440x900; "laptop" is what a browser leaves of 13 inches, 1920x1080, at 125 %."""
READ_COUNTER = """([feed, left, top, square, bits]) => {
  const video = document.querySelector(`video[data-feed="${feed}"]`);
  if (!video?.videoWidth) return -1;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight), paper = canvas.getContext('2d');
  paper.drawImage(video, 0, 0);
  let number = 0;
  for (let bit = 0; bit < bits; bit += 1) {
    const [r] = paper.getImageData(left + bit * square + square / 2, top + square / 2, 1, 1).data;
    if (r > 127) number |= 1 << bit;
  }
  return number;
}"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Drawn by the first module of a process that needs them."""
    return render_clips(tmp_path_factory.getbasetemp() / "clips")


@pytest.fixture
async def stage(tmp_path: Path, clips: dict[str, Path]) -> AsyncIterator[Stage]:
    async with consultation_stage(tmp_path, clips) as ready:
        yield ready


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():  # noqa: ASYNC240 (one look, before anything runs)
        pytest.skip("skipped: no /usr/bin/chromium")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield running
        await running.close()


@contextlib.asynccontextmanager
async def signed_in(browser: Browser, stage: Stage, query: str = "", **options: Any) -> AsyncIterator[Page]:
    context = await browser.new_context(base_url=stage.url, viewport={"width": 1440, "height": 900}, **options)
    context.set_default_timeout(WITHIN_MS)
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    await page.goto(f"/test/sign-in?as=shen.ruochuan&to=/specialist{query}")
    yield page
    await context.close()
    assert not faults, faults


async def counter(page: Page, feed: str) -> int:
    left, top = COUNTER_CORNER_PX
    return int(await page.evaluate(READ_COUNTER, [feed, left, top, COUNTER_SQUARE_PX, COUNTER_BITS]))


async def moves(page: Page, feed: str) -> bool:
    """The frame counter in the picture takes several values within a while."""
    seen = set()
    until_s = asyncio.get_running_loop().time() + WITHIN_MS / 1000
    while asyncio.get_running_loop().time() < until_s:
        seen.add(await counter(page, feed))
        if len(seen - {-1}) >= 4:
            return True
        await asyncio.sleep(0.1)
    return False


async def becomes(page: Page, expression: str, timeout_s: float = 90.0) -> None:
    """Wait until ``expression`` is true in the page (our content policy forbids Playwright's own way, eval)."""
    async with asyncio.timeout(timeout_s):
        while not await page.evaluate(expression):  # noqa: ASYNC110 (it changes in the browser)
            await asyncio.sleep(0.1)


async def enter_session(stage: Stage, page: Page) -> None:
    stage.vehicle.request()
    await accept(page)


async def accept(page: Page) -> None:
    await page.get_by_test_id("accept-invitation").click(timeout=WITHIN_MS)
    await page.wait_for_url("**/specialist/consultations/consultation-1", timeout=WITHIN_MS)
    await page.wait_for_selector("body[data-media=connected]", timeout=WITHIN_MS)


async def test_a_whole_consultation(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await page.get_by_text("现在没有邀请").wait_for()
        await enter_session(stage, page)
        assert await moves(page, "ultrasound")
        assert await moves(page, "room")
        await until(lambda: stage.vehicle.state == State.CONNECTED)

        await becomes(page, "(window.xunzhen.samples('ecg')?.counts.length ?? 0) > 1000")
        got = await page.evaluate("window.xunzhen.samples('ecg')")
        first = got["first_index"]
        wrong = [
            index
            for index, row in enumerate(got["counts"])
            if row != [ecg_count(first + index, channel) for channel in range(8)]
        ]
        assert wrong == [], "the very samples that the device sent"

        voice = "document.getElementById('voice').srcObject?.getAudioTracks()[0]?.readyState"
        assert await page.evaluate(voice) == "live"
        await until(lambda: any(line.received_frames > 20 for line in stage.van._engine.voices._lines))

        await page.get_by_test_id("template-cystic_echinococcosis").click()
        await page.locator("input[value=CE2]").check()
        await page.get_by_test_id("opinion-findings").fill("肝右叶囊性占位约 46×39 mm")
        await page.reload()
        await page.wait_for_selector("body[data-media=connected]", timeout=WITHIN_MS)
        assert await moves(page, "ultrasound"), "a reload comes back into the session"
        assert await page.get_by_test_id("opinion-findings").input_value() == "肝右叶囊性占位约 46×39 mm"
        await page.get_by_test_id("template-liver_cyst").click()
        assert await page.get_by_test_id("opinion-findings").input_value() == "肝右叶囊性占位约 46×39 mm"
        assert await page.get_by_test_id("opinion-icd10").input_value() == "K76.8", "nobody had written that"
        await page.get_by_text("模板没有改动您已写的：所见").wait_for()
        await page.get_by_test_id("template-cystic_echinococcosis").click()
        await page.locator("input[value=CE2]").check()

        await page.get_by_test_id("sign-password").fill("not-the-password")
        await page.get_by_test_id("sign-opinion").click()
        await page.get_by_text("密码不对").wait_for()
        assert not stage.vehicle.opinions
        await page.get_by_test_id("sign-password").fill(PASSWORD)
        await page.get_by_test_id("sign-opinion").click()
        await page.get_by_text("已签名，已写入车上日志").wait_for(timeout=WITHIN_MS)
        assert '"classification":"CE2"' in stage.vehicle.opinions[0].signed_text
        await page.get_by_text("等村医决定").wait_for()
        stage.vehicle.decide("accept_partly", "先在村里观察一周")
        await page.get_by_text("先在村里观察一周").wait_for(timeout=WITHIN_MS)


def oximeter(spo2: int | None, pulse: int | None) -> dict[str, Any]:
    """As ``vehicle.live`` says it; ``test_live_data`` holds both against the real one."""
    values = {"spo2_percent": spo2, "pulse_bpm": pulse, "perfusion_index_percent": None}
    return {"type": "reading", "live": True, "kind": "pulse_oximetry", "device": "oximeter-1", "values": values}


async def test_what_happens_in_the_van_is_seen_without_a_reload(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        spo2 = "document.getElementById('live-spo2').textContent"
        stage.vehicle.tell(oximeter(96, 74))
        tile = {"type": "reading", "live": True, "state": "live", "kind": "pulse_oximetry", "reading": None, "tile": {}}
        stage.vehicle.tell(tile)
        await becomes(page, f"{spo2} === '96'")
        assert await page.get_by_test_id("live-pulse").text_content() == "74"
        stage.vehicle.tell(oximeter(None, None))
        await becomes(page, f"{spo2} === '–'")
        stage.vehicle.tell(oximeter(95, 70))
        await becomes(page, f"{spo2} === '95'")
        await becomes(page, f"{spo2} === '–'")  # the oximeter says nothing more: the number is not "now" any longer

        pressure = {"systolic_mmhg": 141, "diastolic_mmhg": 87, "pulse_bpm": 70}
        reading = {"type": "blood_pressure", "values": pressure, "grade": "yellow", "grade_word": "注意"}
        stage.vehicle.readings.append(reading)
        stage.vehicle.tell({"type": "reading", "live": False, "state": "confirmed", "kind": "blood_pressure"})
        await becomes(page, "document.getElementById('readings').textContent.includes('141/87')")

        assert stage.van.status()["face"] == "off", "nobody's camera runs unasked"
        await page.get_by_test_id("camera").click()
        await until(lambda: stage.van.status()["face"] == "on")
        await page.get_by_test_id("camera").click()
        await until(lambda: stage.van.status()["face"] == "off")


async def test_practice_is_marked_wherever_the_case_is(stage: Stage, browser: Browser) -> None:
    stage.vehicle.practice = True
    async with signed_in(browser, stage) as page:
        assert await page.get_by_test_id("practice").is_hidden()
        stage.vehicle.request()
        await page.get_by_test_id("invitation").get_by_text("演练").wait_for()
        assert await page.get_by_test_id("practice").is_visible()
        await accept(page)
        for _ in range(2):
            await becomes(page, "document.documentElement.dataset.practice === '演练'")
            assert await page.get_by_test_id("practice").is_visible()
            await page.reload()
        for path, case in (("/specialist/to-sign", "case-to-sign"), ("/specialist", "invitation")):
            await page.goto(path)
            await page.get_by_test_id(case).get_by_text("演练").wait_for()
            assert await page.get_by_test_id("practice").is_visible()
        assert await page.get_by_test_id("accept-invitation").is_hidden()
        await page.get_by_test_id("back-to-session").click()
        await page.wait_for_url("**/specialist/consultations/consultation-1")


COVERED = """() => {
  const line = document.getElementById('line-lost');
  line.hidden = false;
  const over = line.getBoundingClientRect();
  const covered = ['mute', 'camera', 'hang-up'].filter((name) => {
    const box = document.getElementById(name).getBoundingClientRect();
    return box.left < over.right && over.left < box.right && box.top < over.bottom && over.top < box.bottom;
  });
  line.hidden = true;
  return covered.join();
}"""
"""Which of the session's buttons the notice of a lost line lies on."""


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.long
async def test_pages_by_day_and_night(stage: Stage, browser: Browser, lang: str) -> None:
    script = (Path(__file__).parent / "page_check.js").read_text(encoding="utf-8")
    async with signed_in(browser, stage, f"?lang={lang}") as page:
        stage.vehicle.request()
        await page.get_by_test_id("invitation").wait_for()
        complaints = {"invitations": await looked_at(page, script, f"invitations-{lang}")}
        await enter_session(stage, page)
        await page.get_by_test_id("template-cystic_echinococcosis").click()
        await page.locator("input[value=CE2]").check()
        await becomes(page, "(window.xunzhen.samples('ecg')?.counts.length ?? 0) > 2500")
        complaints["session"] = await looked_at(page, script, f"session-{lang}")
        await page.get_by_test_id("view-ecg").click()
        complaints["session, ECG"] = await looked_at(page, script, f"session-ecg-{lang}")
        await calipers(page)
        await page.get_by_test_id("view-room").click()
        for name, size in SIZES.items():
            await page.set_viewport_size(size)
            assert not await page.evaluate(COVERED), "one can mute and hang up while the line to the county is down"
            complaints[f"session, {name}"] = await looked_at(page, script, f"session-{name}-{lang}")
        await page.set_viewport_size({"width": 1440, "height": 900})
        await page.goto("/specialist/to-sign")
        await page.get_by_test_id("case-to-sign").wait_for()
        complaints["to sign"] = await looked_at(page, script, f"to-sign-{lang}")
        await page.goto("/specialist/consultations/consultation-9")
        await page.get_by_test_id("consultation-over").wait_for()
        complaints["over"] = await looked_at(page, script, f"over-{lang}")
    assert {name: found for name, found in complaints.items() if found} == {}


async def calipers(page: Page) -> None:
    """80 x 40 px on paper of 4 px a millimetre; the sheet stands still meanwhile."""
    await page.get_by_test_id("measure").click()
    assert await page.get_by_test_id("freeze").get_attribute("aria-pressed") == "true"
    box = await page.locator("#sheet").bounding_box()
    assert box is not None
    await page.mouse.click(box["x"] + 200, box["y"] + 150)
    await page.mouse.click(box["x"] + 280, box["y"] + 190)
    said = page.get_by_test_id("caliper-said")
    assert re.fullmatch(r"800 ms　75 \S+　1.00 mV", await said.inner_text())
    await page.get_by_test_id("freeze").click()
    assert await said.is_hidden()


async def looked_at(page: Page, script: str, name: str) -> list[str]:
    """What the page check complains about by day and by night; pictures go where XUNZHEN_SCREENSHOTS says."""
    folder = os.environ.get("XUNZHEN_SCREENSHOTS")
    found = []
    for theme in ("day", "night"):
        await page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        await asyncio.sleep(0.3)  # colours change over 120 ms
        found += [f"{theme}: {complaint}" for complaint in await page.evaluate(script)]
        if folder:
            await page.screenshot(path=f"{folder}/{name}-{theme}.png")
    await page.evaluate("() => { document.documentElement.dataset.theme = 'day'; }")
    return found
