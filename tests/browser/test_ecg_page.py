"""The ECG page as an instrument: scale, filters, calipers, what the analysis says, the signature. Real Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from touch_bench import CARD, PIN, Bench

from sync.formats.records import Draft
from vehicle.clinic.ecg.findings import VERSION

pytestmark = pytest.mark.browser

WITHIN_MS = 30_000
FOUND = {
    "duration_ms": 10_000,
    "leads": {"I": {"good_permille": 1000}, "V1": {"good_permille": 700, "reason": "noise"}},
    "beats": 13,
    "trusted_beats": 13,
    "ectopic_beats": 1,
    "beat_ms": [800 + 830 * k for k in range(11)],
    "beat_shapes": "nnnnnennnnn",
    "pauses": [{"began_ms": 3000, "ms": 2400}],
    "asystole": [],
    "slow": False,
    "fast": False,
    "rhythm": "possible",
    "af_score_permille": 620,
    "af_beats": 13,
    "af_until_ms": 9000,
    "heart_rate_bpm": 80,
    "heart_rate_min_bpm": 71,
    "heart_rate_max_bpm": 96,
}
HEARD = {
    "type": "ecg_analysis",
    "device": "ecg-1",
    "heart_rate_bpm": 82,
    "rate": "usual",
    "rhythm": "possible",
    "rhythm_beats": 40,
    "pause_s": None,
    "asystole": False,
    "flat": False,
    "ectopic_per_minute": 3,
    "off": [],
    "poor": {"V1": "noise"},
    "swap": None,
}

HIGHEST_PX = """(() => {
  const canvas = document.querySelector('#paper canvas[data-feed="ecg"]');
  const { width, height } = canvas, ink = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  let top = height, bottom = 0;
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
    if (ink[4 * (y * width + x) + 3] > 100) { top = Math.min(top, y); bottom = Math.max(bottom, y); }
  }
  return bottom - top;
})()"""
"""Height of all ink of the trace."""

FILTERED = """(async ({ name, hz }) => {
  const { FilteredRing } = await import('/shared/ecg_filter.js');
  const { SampleRing, INVALID_COUNT } = await import('/shared/live_feed.js');
  const n = 5000, counts = new Int16Array(n);
  for (let i = 0; i < n; i += 1) counts[i] = Math.round(1000 * Math.sin(2 * Math.PI * hz * i / 500) + 500);
  counts[2500] = INVALID_COUNT;
  const about = { type: 'samples', stream: 'ecg', device: 'd', channels: ['I'], unit: 'uV', segment: 0, resolution: 1 };
  const ring = new SampleRing({ ...about, sample_rate_hz: 500, first_index: 0, n, counts }, 10);
  const seen = new FilteredRing(ring, name);
  seen.catchUp();
  const late = Array.from({ length: 1000 }, (_, k) => seen.count(4000 + k, 0));
  const least = Math.min(...late), most = Math.max(...late);
  const gap = Number.isNaN(seen.count(2500, 0)), raw = ring.count(10, 0) === counts[10];
  return { size: (most - least) / 2000, middle: (most + least) / 2, gap, begins: seen.count(0, 0), raw };
})"""

TALL = """(async ({ layout, mv }) => {
  const { EcgStrip } = await import('/shared/ecg_strip.js');
  const host = document.createElement('figure');
  host.style.cssText = 'position:fixed;inset:0 auto auto 0;width:1100px;height:440px;margin:0';
  document.body.append(host);
  const channels = ['I', 'II', 'V1', 'V2', 'V3', 'V4', 'V5', 'V6'];
  const uv = (name, k) => (name === 'V4' && k % 400 < 10 ? mv * 1000 : 0);
  const counts = Array.from({ length: 5000 }, (_, k) => channels.map((name) => uv(name, k)));
  const strip = new EcgStrip(host, { layout, pxPerMm: 4 });
  strip.stored({ channels, sample_rate_hz: 500, resolution: 1, counts });
  const { width, height } = strip.trace, ink = strip.trace.getContext('2d').getImageData(0, 0, width, height).data;
  const rows = [...new Set(strip.cells.map((cell) => cell.yPx))];
  let cut = false;
  for (let x = 0; x < width; x += 1) cut ||= ink[4 * x + 3] > 0;
  strip.stop();
  host.remove();
  return { cut, room: rows[0] / 4, last: rows.at(-1) / 4 };
})"""
"""A sheet of 275 by 110 mm with V4 waves of so many millivolts: is ink at its upper edge, where are its baselines."""

FROZEN = """(async () => {
  const { EcgStrip } = await import('/shared/ecg_strip.js');
  const { SampleStore } = await import('/shared/live_feed.js');
  const host = document.createElement('figure');
  host.style.cssText = 'position:fixed;inset:0 auto auto 0;width:1100px;height:440px;margin:0';
  document.body.append(host);
  const channels = ['I', 'II', 'V1', 'V2', 'V3', 'V4', 'V5', 'V6'], n = 250, store = new SampleStore();
  const about = { type: 'samples', stream: 'ecg', device: 'ecg-1', channels, unit: 'uV', segment: 0 };
  const form = { resolution: 1, sample_rate_hz: 500 };
  let first = 0;
  const send = (uv) => {
    const high = (k) => Math.floor(k / channels.length) % 100 < 10;
    const counts = new Int16Array(n * channels.length).map((_, k) => (high(k) ? uv : 0));
    store.push({ ...about, ...form, n, first_index: first, counts });
    first += n;
  };
  const frame = () => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
  const ink = () => {
    const { width, height } = strip.trace, rgba = strip.trace.getContext('2d').getImageData(0, 0, width, height).data;
    let drawn = 0;
    for (let k = 3; k < rgba.length; k += 4) if (rgba[k] > 0) drawn += 1;
    return drawn;
  };
  for (let k = 0; k < 20; k += 1) send(500);
  const strip = new EcgStrip(host, { pxPerMm: 4 }).live(store);
  await frame();
  strip.freeze(true);
  strip.relayout();
  const before = ink();
  for (let k = 0; k < 40; k += 1) send(0);
  strip.relayout();
  const after = ink();
  strip.freeze(false);
  await frame();
  strip.relayout();
  const going = ink();
  strip.stop();
  host.remove();
  return { before, after, going };
})()"""
"""Ink of a frozen sheet, of the same sheet drawn anew 20 s of a flat line later, and of the sheet that goes on."""


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at((30.60, 104.00)))
        yield running


def serve(van: Van, page: Any) -> None:
    van.sign_in(page)
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()
    van.do(lambda bench: bench.publish("card-1", CARD))
    page.get_by_test_id("served-name").wait_for()


def until(page: Any, expression: str) -> None:
    """The page's policy forbids the eval of Playwright's own waiting."""
    for _ in range(WITHIN_MS // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {expression}")


async def record(bench: Bench) -> str:
    """A recording of ten seconds whose findings are ``FOUND``."""
    made = await bench.vehicle.ecg.record(10, "zhou.min")
    served = bench.vehicle.encounters.current()
    assert served is not None
    said = {"sha256": made.sha256, "version": VERSION, "findings": FOUND}
    await bench.vehicle.store.commit(Draft("ecg_analysis/1", said, visit=served.visit, encounter=served.encounter))
    return made.sha256


def test_gain_speed_filter_lead_and_caliper_are_what_the_paper_says(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ecg")
    until(page, "(window.xunzhen?.samples('ecg')?.counts.length ?? 0) >= 4500")
    page.get_by_test_id("display").click()
    page.locator('[data-lead="V3"]').click()
    page.get_by_test_id("freeze").click()
    assert page.locator("#paper").get_attribute("aria-label") == "十二导联心电图"
    at_ten = page.evaluate(HIGHEST_PX)
    page.get_by_test_id("display").click()
    page.locator('[data-gain="5"]').click()
    assert page.evaluate(HIGHEST_PX) == pytest.approx(at_ten / 2, rel=0.08)
    page.locator('[data-gain="20"]').click()
    assert page.evaluate(HIGHEST_PX) == pytest.approx(at_ten * 2, rel=0.08)
    page.locator('[data-speed="50"]').click()
    page.locator('[data-filter="monitor"]').click()
    assert page.locator(".ecg-said").inner_text().split("\n") == [
        "50 mm/s", "20 mm/mV", "滤波 0.5–40 Hz 50 Hz 不看 ST", "本屏未校准",
    ]  # fmt: skip

    page.locator('[data-gain="10"]').click()
    page.locator('[data-speed="25"]').click()
    page.get_by_test_id("caliper").click()
    box = page.locator("#paper").bounding_box()
    x, y = box["x"] + 400, box["y"] + 150
    page.mouse.click(x, y)
    page.mouse.click(x + 80, y + 60)  # 4 px a millimetre: 20 mm and 15 mm
    assert page.get_by_test_id("caliper-said").inner_text() == "800 ms　75 次/分　1.50 mV"
    page.mouse.move(x + 80, y + 60)
    page.mouse.down()
    page.mouse.move(x + 100, y + 60)
    page.mouse.up()
    assert page.get_by_test_id("caliper-said").inner_text() == "1000 ms　60 次/分　1.50 mV"


def test_twelve_rows_begin_at_five_and_leave_as_they_found_it(van: Van, page: Any) -> None:
    van.sign_in(page)
    page.goto(f"{van.address}/ecg")
    until(page, "window.xunzhen?.samples('ecg')")
    page.locator('[data-layout="12x1"]').click()
    assert page.locator("#gain-said").inner_text() == "5 mm/mV"
    page.locator('[data-layout="6x2"]').click()
    assert page.locator("#gain-said").inner_text() == "10 mm/mV"
    pressed = page.locator('button[data-layout][aria-pressed="true"]')
    assert pressed.evaluate_all("all => all.map((one) => one.dataset.layout)") == ["6x2"]


def test_tall_waves_of_the_top_row_are_given_room_and_the_other_rows_stay_on_the_sheet(van: Van, page: Any) -> None:
    page.goto(f"{van.address}/sign-in")
    usual, tall, absurd = (page.evaluate(f"({TALL})({{ layout: '3x4+1', mv: {mv} }})") for mv in (1, 2.4, 12))
    assert (usual["cut"], usual["room"]) == (False, 17)
    assert (tall["cut"], tall["room"]) == (False, 25)
    assert absurd["room"] == 30
    assert {row["last"] for row in (usual, tall, absurd)} == {usual["last"]}


def test_filters_pass_the_heart_and_stop_the_mains_and_leave_the_counts_alone(van: Van, page: Any) -> None:
    page.goto(f"{van.address}/sign-in")

    def seen(name: str, hz: float) -> dict[str, Any]:
        found: dict[str, Any] = page.evaluate(FILTERED, {"name": name, "hz": hz})
        assert found["raw"]
        assert found["gap"]
        return found

    assert seen("mains", 50)["size"] < 0.02
    assert seen("mains", 10)["size"] == pytest.approx(1, abs=0.02)
    assert seen("mains", 10)["middle"] == pytest.approx(500, abs=10)
    assert seen("monitor", 10)["size"] == pytest.approx(1, abs=0.03)
    assert seen("monitor", 10)["middle"] == pytest.approx(0, abs=60)
    assert seen("monitor", 40)["size"] < 0.75  # -3 dB at its corner, less by the notch beside it
    assert seen("monitor", 50)["size"] < 0.02
    assert seen("monitor", 10)["begins"] == pytest.approx(0, abs=1)


def test_what_the_analysis_says_is_shown_and_goes_when_it_is_silent(
    van: Van, page: Any, complaints: Callable[[Any], list[str]]
) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ecg")
    until(page, "window.xunzhen?.samples('ecg')")
    van.do(lambda bench: bench.vehicle.live.send(HEARD))
    until(page, "document.querySelector('[data-testid=\"ecg-rate\"]').textContent === '82'")
    assert page.get_by_test_id("ecg-rhythm").inner_text() == "可疑房颤"
    assert page.get_by_test_id("ecg-signal").inner_text() == "V1 干扰"
    assert page.get_by_test_id("live-unreviewed").inner_text() == "自动分析，未审核"
    van.do(lambda bench: bench.vehicle.live.send({**HEARD, "pause_s": 2.6}))
    until(page, "document.querySelector('#ecg-device[data-alarm]')?.textContent.includes('停搏 2.6 秒')")
    van.do(lambda bench: bench.vehicle.live.send({**HEARD, "heart_rate_bpm": None, "asystole": True}))
    until(page, "document.querySelector('#ecg-device[data-alarm]')?.textContent.includes('测不到心搏')")
    van.do(lambda bench: bench.vehicle.live.send({**HEARD, "off": ["V3"], "asystole": True}))
    page.locator('.ecg-off[data-lead="V3"]').wait_for()
    assert "V3 电极脱落" in page.locator("#ecg-device").inner_text()
    until(page, "document.querySelector('[data-testid=\"live-unreviewed\"]').textContent === '没有自动分析'")
    assert page.get_by_test_id("ecg-rate").inner_text() == "–"

    page.goto(f"{van.address}/ecg?lang=en&theme=night")
    until(page, "window.xunzhen?.samples('ecg')")
    van.do(lambda bench: bench.vehicle.live.send(HEARD))
    until(page, "document.querySelector('[data-testid=\"ecg-rhythm\"]').textContent === 'AF possible'")
    page.get_by_test_id("display").click()
    assert complaints(page) == []


def test_a_possible_rhythm_asks_for_thirty_seconds_and_the_doctor_signs(
    van: Van, page: Any, complaints: Callable[[Any], list[str]]
) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ecg")
    until(page, "window.xunzhen?.samples('ecg')")
    sha256 = van.wait(record)
    page.goto(f"{van.address}/measure")
    assert page.get_by_test_id("tile-ecg-found").inner_text() == "80 次/分，可疑房颤"
    page.goto(f"{van.address}/ecg/recordings/{sha256}")
    assert page.get_by_test_id("stored-rate").inner_text() == "80 71–96"
    assert page.get_by_test_id("stored-rhythm").inner_text() == "可疑房颤"
    assert page.get_by_test_id("repeat").get_attribute("href") == "/ecg?seconds=30"
    until(page, "window.xunzhen?.samples('ecg')?.counts.length === 5000")

    page.get_by_test_id("display").click()
    page.get_by_test_id("beat").click()
    until(page, "document.querySelector('#ecg-told').textContent === '平均心搏'")
    page.locator('[data-layout="rhythm"]').click()
    assert page.locator("#ecg-told").is_hidden()

    page.get_by_test_id("ecg-details").click()
    assert complaints(page) == []
    page.get_by_test_id("review-again").click()
    page.get_by_test_id("agrees-no").check()
    page.get_by_test_id("af-no").check()
    page.get_by_test_id("review-pin").fill(PIN["zhou.min"])
    page.get_by_test_id("review-sign").click()
    page.get_by_test_id("refused").wait_for()
    page.get_by_test_id("review-words").fill("窦性心律，房早")
    page.get_by_test_id("review-pin").fill(PIN["zhou.min"])
    page.get_by_test_id("review-sign").click()
    page.wait_for_url(re.compile(f"/ecg/recordings/{sha256}$"))
    assert "不同意，窦性心律，房早" in page.get_by_test_id("review-said").inner_text()
    assert page.get_by_test_id("stored-rhythm").inner_text() == "不是房颤"
    assert page.get_by_test_id("repeat").count() == 0
    page.goto(f"{van.address}/ecg?lang=en&theme=night")
    page.get_by_test_id("kept-ecgs").click()
    page.get_by_test_id("recording").wait_for()
    assert "not AF" in page.get_by_test_id("recording").inner_text()
    assert complaints(page) == []


def test_a_frozen_sheet_drawn_anew_shows_what_it_showed(van: Van, page: Any) -> None:
    """A change of theme, layout or scale draws the sheet anew; the live samples have long gone on."""
    van.sign_in(page)
    ink = page.evaluate(FROZEN)
    assert ink["before"] > 10_000
    assert ink["after"] == ink["before"]
    assert 0 < ink["going"] < ink["before"] / 2
