"""What a specialist points at and draws, seen in real Chromium on the touchscreen's own media leg."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from playwright.async_api import Browser, Page
from starlette.staticfiles import StaticFiles
from test_specialist import (
    WITHIN_MS,
    Stage,
    becomes,
    browser,
    clips,
    enter_session,
    moves,
    serving,
    signed_in,
    stage,
    tcp_listener,
    until,
)

from telemedicine.consultation import State
from telemedicine.marks import SCALE

pytestmark = pytest.mark.browser
__all__ = ["browser", "clips", "stage"]

ROOT = Path(__file__).parents[2]
TOUCHSCREEN = """<!doctype html><title>van</title><link rel="stylesheet" href="/shared/tokens.css">
<link rel="stylesheet" href="/shared/components.css">
<style>figure { margin: 0; width: 800px; height: 500px } video { width: 100%; height: 100% }</style>
<figure class="screen"><video data-feed="ultrasound" autoplay playsinline muted></video></figure>
<figure class="screen"><video data-feed="room" autoplay playsinline muted></video></figure>
<script type="module">import { join } from '/static/media.js'; join(false, () => {});</script>"""
PLACE = """() => {
  const { x, y, width, height } = document.querySelector('video[data-feed=ultrasound]').getBoundingClientRect();
  return [x, y, width, height];
}"""
WORDIEST = """() => {
  const texts = JSON.parse(document.getElementById('texts').textContent);
  const all = (start) => Object.keys(texts).filter((key) => key.startsWith(start)).map((key) => texts[key]);
  const say = (id, ...words) => { document.getElementById(id).textContent = words.join(' '); };
  say('link-words', texts.link_poor, ...all('link_why_'), ...all('link_carries'));
  say('link-numbers', texts.link_lost_at, ...all('link_picture_'), texts.link_delay);
  const longest = (words) => words.sort((one, other) => other.length - one.length)[0];
  say('state', longest(all('state_')));
  say('ecg-note', texts.ecg_gap);
  document.getElementById('ecg-note').hidden = false;
  const mute = ['voice_open', 'voice_muted', 'voice_none'].map((key) => texts[key]);
  document.querySelector('#mute span').textContent = longest(mute);
  for (const caption of document.querySelectorAll('.stage .caption')) caption.textContent = all('feed_').join(' ');
}"""
IN_ONE_ROW = """() => {
  const shown = [...document.querySelectorAll('.bar-tools button:not([hidden])')];
  const boxes = shown.map((button) => button.getBoundingClientRect());
  return Math.max(...boxes.map((box) => box.top)) < Math.min(...boxes.map((box) => box.bottom));
}"""
IN_OTHER_SIZES = """async () => {
  const { MarkLayer } = await import('/shared/marks.js');
  const figure = document.body.appendChild(document.createElement('figure'));
  const video = figure.appendChild(Object.assign(document.createElement('video'), { muted: true }));
  const canvas = document.createElement('canvas'), paper = canvas.getContext('2d');
  figure.style.cssText = 'position: fixed; inset: 0 auto auto 0; width: 400px; height: 400px; margin: 0';
  video.srcObject = canvas.captureStream(30);
  void video.play();
  const shows = async (width, height) => {
    Object.assign(canvas, { width, height });
    while (video.videoWidth !== width || video.videoHeight !== height) {
      paper.fillRect(0, 0, width, height);
      await new Promise((next) => setTimeout(next, 20));
    }
  };
  await shows(640, 360);
  const layer = new MarkLayer(video, 'ultrasound');
  const points = [[2000, 4000], [6000, 9000]];
  layer.take({ type: 'stroke', feed: 'ultrasound', author: 'a', by: 'A', stroke: 1, points });
  const box = () => {
    const { x, y, width, height } = layer.lines[0].line.getBBox(), whole = layer.svg.viewBox.baseVal;
    const parts = [x / whole.width, y / whole.height, width / whole.width, height / whole.height];
    return parts.map((part) => Number(part.toFixed(3)));
  };
  const boxes = [box()];
  for (const [width, height] of [[320, 180], [1280, 720], [640, 480]]) {
    await shows(width, height);
    boxes.push(box());
  }
  figure.remove();
  return boxes;
}"""
WORDLESS = """() => {
  for (const id of ['link-words', 'link-numbers', 'state', 'ecg-note']) document.getElementById(id).textContent = '';
  for (const id of ['mute', 'camera', 'hang-up']) document.getElementById(id).hidden = true;
}"""
LINES = "document.querySelector('[data-marks=ultrasound]')?.dataset.count"


@contextlib.asynccontextmanager
async def touchscreen(stage: Stage, browser: Browser) -> AsyncIterator[Page]:
    """A page with the touchscreen's own scripts, joined to the van's media process."""
    app = FastAPI()
    app.mount("/shared", StaticFiles(directory=ROOT / "devices" / "web"))
    app.mount("/static", StaticFiles(directory=ROOT / "vehicle" / "touchscreen" / "static"))

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return TOUCHSCREEN

    @app.post("/consult/media/offer")
    async def offer(request: Request) -> dict[str, str]:
        return {"type": "answer", "sdp": await stage.van.kiosk_answer((await request.json())["sdp"])}

    listener = tcp_listener()
    async with serving(app, listener):
        context = await browser.new_context(viewport={"width": 820, "height": 1020})
        opened = await context.new_page()
        await opened.goto(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        yield opened
        await context.close()


async def on_picture(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a point of the ultrasound picture (0..1 of its sides) is on the screen."""
    found = await page.evaluate(
        """([x, y]) => {
          const svg = document.querySelector('[data-marks=ultrasound]'), box = svg.viewBox.baseVal;
          const at = new DOMPoint(x * box.width, y * box.height).matrixTransform(svg.getScreenCTM());
          return [at.x, at.y];
        }""",
        [x, y],
    )
    return float(found[0]), float(found[1])


async def test_a_line_lies_on_the_same_spot_in_the_van(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page, touchscreen(stage, browser) as van:
        await enter_session(stage, page)
        await until(lambda: stage.vehicle.state == State.CONNECTED)
        assert await moves(page, "ultrasound")
        assert await moves(van, "ultrasound")

        await page.get_by_test_id("tool-laser").click()
        await page.mouse.move(*await on_picture(page, 0.25, 0.5))
        await page.mouse.move(*await on_picture(page, 0.3, 0.6))
        await becomes(van, "document.querySelector('[data-marks=ultrasound]').dataset.pointer")
        x, y = map(
            int, (await van.evaluate("document.querySelector('[data-marks=ultrasound]').dataset.pointer")).split(",")
        )
        assert abs(x - 0.3 * SCALE) < 0.06 * SCALE
        assert abs(y - 0.6 * SCALE) < 0.11 * SCALE

        await page.get_by_test_id("tool-pen").click()
        await becomes(van, "!('pointer' in document.querySelector('[data-marks=ultrasound]').dataset)")
        place = await page.evaluate(PLACE)
        corners = [(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)]
        await page.mouse.move(*await on_picture(page, *corners[0]))
        await page.mouse.down()
        for corner in corners[1:]:
            await page.mouse.move(*await on_picture(page, *corner), steps=8)
        await page.mouse.up()
        assert await page.evaluate(PLACE) == place, "the picture stays where it is while somebody draws"
        await becomes(van, f"{LINES} === '1'")
        drawn = await van.evaluate(
            """() => { const line = document.querySelector('[data-marks=ultrasound] path');
              const box = line.getBBox(), size = line.ownerSVGElement.viewBox.baseVal;
              return [box.x / size.width, box.y / size.height, box.width / size.width, box.height / size.height]; }"""
        )
        assert drawn == pytest.approx([0.4, 0.4, 0.2, 0.2], abs=0.01)
        assert "沈若川" in await van.evaluate("document.querySelector('[data-marks=ultrasound] path').textContent")

        await van.reload()
        await becomes(van, f"{LINES} === '1'")  # a touchscreen that comes back sees the lines that are there
        await page.get_by_test_id("tool-clear").click()
        await becomes(van, f"{LINES} === '0'")
        await becomes(page, f"{LINES} === '0'")


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_the_picture_keeps_its_place_whatever_the_words_around_it_say(
    stage: Stage, browser: Browser, lang: str
) -> None:
    async with signed_in(browser, stage, f"?lang={lang}") as page:
        await enter_session(stage, page)
        for width, height in [(1440, 900), (1280, 800)]:
            await page.set_viewport_size({"width": width, "height": height})
            place = await page.evaluate(PLACE)
            assert place[2] > 500
            assert await page.evaluate(IN_ONE_ROW)
            for words in (WORDIEST, WORDLESS):
                await page.evaluate(words)
                assert await page.evaluate(PLACE) == place
            await page.reload()
            await page.wait_for_selector("body[data-media=connected]", timeout=WITHIN_MS)


async def test_lines_stay_on_their_spot_when_the_picture_comes_in_another_size(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        assert await moves(page, "ultrasound")
        drawn = await page.evaluate(IN_OTHER_SIZES)
        assert drawn == [[0.2, 0.4, 0.4, 0.5]] * 4
