"""A slip from the Print page to a simulated printer, and a prompt that is really heard, in real Chromium."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van, settings_in

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from playwright.sync_api import sync_playwright
from touch_bench import CARD

from devices.clock import SystemClock
from devices.readings import BloodPressure, CuffPressure
from devices.simulators.escpos_printer import EscPosPrinterTwin
from devices.simulators.tcp_port import TcpPort
from vehicle.printing.settings import PrinterSettings
from vehicle.screen import switches

pytestmark = pytest.mark.browser

SIZE = {"width": 1280, "height": 800}
IN_THE_VILLAGE = (30.60, 104.00)
LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]
WITHIN_MS = 60_000
LISTEN = """async () => {
  const speaker = document.getElementById('speaker');
  speaker.defaultPlaybackRate = 3;   // of each clip: what is said takes a third of its time
  const context = new AudioContext();
  await context.resume();
  const ears = context.createAnalyser();
  context.createMediaElementSource(speaker).connect(ears);
  ears.connect(context.destination);
  window.heard = { playing: 0, loudest: 0, texts: [] };
  speaker.addEventListener('playing', () => {
    window.heard.playing += 1;
    window.heard.texts.push(document.body.dataset.voice);
  });
  const samples = new Float32Array(ears.fftSize);
  setInterval(() => {
    ears.getFloatTimeDomainData(samples);
    window.heard.loudest = Math.max(window.heard.loudest, ...samples.map(Math.abs));
  }, 20);
}"""


class Printer:
    """A simulated printer behind a TCP port, on a thread of its own."""

    def __init__(self) -> None:
        self.twin = EscPosPrinterTwin()
        self.twin.paper_in = False
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._far_end = TcpPort(self.twin, SystemClock())
        self.port = asyncio.run_coroutine_threadsafe(self._far_end.open(), self.loop).result(10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._far_end.close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def printer() -> Iterator[Printer]:
    made = Printer()
    yield made
    made.close()


@pytest.fixture
def van(tmp_path: Path, printer: Printer) -> Iterator[Van]:
    chosen = PrinterSettings(link="tcp", address=f"127.0.0.1:{printer.port}", answers="yes", phone="0839-5551234")
    settings = settings_in(tmp_path).model_copy(update={"printer": chosen})
    with Van(tmp_path, settings=settings) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at(IN_THE_VILLAGE))
        printing = running.do(lambda bench: asyncio.ensure_future(bench.vehicle.printing.run()))
        yield running
        running.do(lambda _: printing.cancel())


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """Chromium with the switches of the kiosk: no tap is needed before it speaks."""
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("skipped: no /usr/bin/chromium")
    kiosk = [switch for switch in switches(tmp_path) if not switch.startswith(("--kiosk", "--user-data-dir"))]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", *kiosk])
        opened = browser.new_context(viewport=SIZE).new_page()
        opened.set_default_timeout(WITHIN_MS)
        faults: list[str] = []
        opened.on("pageerror", lambda fault: faults.append(str(fault)))
        yield opened
        browser.close()
        assert faults == []


def in_village(van: Van, page: Any) -> None:
    van.sign_in(page)
    page.goto(f"{van.address}/today")
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()


def heard(page: Any, what: str) -> None:
    """Wait until an expression holds: the pages allow no eval, which Playwright's own waiting needs."""
    until_s = time.monotonic() + WITHIN_MS / 1000
    while not page.evaluate(what):
        assert time.monotonic() < until_s, what
        page.wait_for_timeout(50)


def serve(van: Van) -> None:
    van.do(lambda bench: bench.publish("card-1", CARD))
    van.wait(lambda bench: bench.vehicle.encounters.settle())


async def confirm(bench: Any) -> None:
    measurements = bench.vehicle.measurements
    tile = next(tile for tile in measurements.tiles() if tile.type == "blood_pressure")
    await measurements.confirm(tile.reading, "zhou.min")


def test_a_slip_waits_for_paper_and_comes_out(van: Van, page: Any, printer: Printer, tmp_path: Path) -> None:
    in_village(van, page)
    serve(van)
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(168, 98, None, 76)))
    van.wait(confirm)
    page.goto(f"{van.address}/screening")
    page.get_by_test_id("to-print").click()
    page.wait_for_url("**/print/encounter-*")
    assert "168/98" in page.get_by_test_id("preview").inner_text().replace("\n", "")
    page.get_by_test_id("on-1").click()
    on = page.get_by_test_id("next-on").inner_text()
    assert on in page.get_by_test_id("preview").inner_text().replace("\n", "")
    page.get_by_test_id("print-slip").click()
    page.get_by_test_id("discard-slip").wait_for()
    state = page.get_by_test_id("printer-state")
    state.locator("b", has_text="没纸").wait_for()
    assert printer.twin.slips == []
    printer.loop.call_soon_threadsafe(printer.twin.put_paper_in)
    page.get_by_test_id("discard-slip").wait_for(state="detached")
    page.get_by_test_id("printed").locator(".badge", has_text="已打出").wait_for()
    (slip,) = printer.twin.slips
    assert "168/98 mmHg" in slip.text
    assert on in slip.text
    page.get_by_test_id("printed").locator("a").first.click()
    reference = "".join(page.get_by_test_id("reference").inner_text().split())
    code = slip.codes[0].decode()
    assert code.endswith(f":{reference}")
    page.get_by_test_id("close-encounter").click()
    page.wait_for_url("**/today")
    page.goto(f"{van.address}/print")
    for number, genuine in (("0000 0000", False), (code, True)):  # typed, then scanned
        page.get_by_test_id("number").fill(number)
        page.get_by_test_id("check-number").click()
        found = page.get_by_test_id("reference" if genuine else "flash")
        found.wait_for()
        assert ("".join(found.inner_text().split()) == reference) is genuine
        page.screenshot(path=tmp_path / f"check-{genuine}.png")


def test_what_happens_is_heard(van: Van, page: Any) -> None:
    in_village(van, page)
    page.goto(f"{van.address}/measure")
    page.locator("#speaker").wait_for(state="attached")
    page.evaluate(LISTEN)
    serve(van)
    heard(page, "heard.playing > 0 && heard.loudest > 0.05")
    assert "安静坐" in page.evaluate("heard.texts[0]")
    van.do(lambda bench: bench.publish("cuff-1", CuffPressure(120)))
    heard(page, "heard.texts.some((text) => text.includes('不要说话'))")
    heard(page, "document.body.dataset.voice === ''")
    page.get_by_test_id("voice").click()
    page.get_by_test_id("voice-mute").click()
    before = page.evaluate("heard.playing")
    page.get_by_test_id("say-finger_in").click()
    heard(page, "document.getElementById('voice-text').textContent.includes('手指')")
    assert page.evaluate("heard.playing") == before
    page.get_by_test_id("voice-mute").click()
    page.get_by_test_id("voice-again").click()
    heard(page, f"heard.playing > {before}")
    heard(page, "document.body.dataset.voice === ''")
    page.keyboard.press("Escape")
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(185, 112, None, 76)))
    van.wait(confirm)
    heard(page, "heard.texts.some((text) => text.includes('不要走开'))")
    said = "".join(page.evaluate("heard.texts"))
    assert "您的血压高压一百八十五低压一百一十二" in said


def test_the_pages_look_right(van: Van, page: Any, complaints: Any, tmp_path: Path) -> None:
    in_village(van, page)
    serve(van)
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(168, 98, None, 76)))
    van.wait(confirm)
    for language, theme in LOOKS:
        page.goto(f"{van.address}/people?lang={language}&theme={theme}")
        page.goto(f"{van.address}/print")
        page.get_by_test_id("preview").wait_for()
        assert complaints(page) == []
        page.screenshot(path=tmp_path / f"print.{language}.{theme}.png")
        page.get_by_test_id("voice").click()
        page.get_by_test_id("say-thanks").wait_for()
        assert complaints(page) == []
        page.screenshot(path=tmp_path / f"voice.{language}.{theme}.png")
    page.get_by_test_id("voice-en").click()
    page.get_by_test_id("voice").wait_for()
    assert van.do(lambda bench: bench.vehicle.voice.language) == "en"
