"""Emergency mode, the driving lock and a red value in real Chromium: from a locked screen to the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from touch_bench import CARD

from devices.readings import BloodPressure, Position

pytestmark = pytest.mark.browser

COUNT_TONES = """
  window.tones = 0;
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (...given) { window.tones += 1; return start.apply(this, given); };
"""


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.stand_at((30.60, 104.00)))
        yield running


@pytest.fixture
def page(page: Any) -> Any:
    page.context.add_init_script(COUNT_TONES)
    return page


def serve(van: Van, page: Any) -> None:
    van.sign_in(page)
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()
    card = van.wait(lambda bench: bench.vehicle.people.from_card(CARD, "zhou.min"))
    van.wait(lambda bench: bench.vehicle.encounters.open(card.patient, "zhou.min"))


def drive(van: Van, m_s: float) -> None:
    for _ in range(3):
        van.do(lambda bench: bench.publish("gnss-1", Position(30.6, 104.0, 3.0, 12, m_s, bench.clock.now())))


def test_from_a_locked_screen_to_the_summary(van: Van, page: Any, complaints: Callable[[Any], list[str]]) -> None:
    serve(van, page)
    page.get_by_test_id("lock").click()
    page.wait_for_url("**/sign-in")
    page.get_by_test_id("go-emergency").click()
    assert CARD.name not in page.content()
    page.get_by_test_id("emergency-start").click()
    page.get_by_test_id("emergency-clock").wait_for()
    assert CARD.name not in page.content()
    page.get_by_test_id("list-stroke").click()
    page.get_by_test_id("step-last_well").click()
    page.wait_for_selector('[data-testid="step-last_well"][aria-pressed="true"]')
    page.wait_for_selector('[data-vital="spo2"][data-fresh]')
    assert page.get_by_test_id("vital-spo2").inner_text() == "96 %"
    assert "没有网络" in page.get_by_test_id("answer").inner_text()
    assert page.get_by_test_id("emergency-end").count() == 0
    assert complaints(page) == []
    asked = van.do(lambda bench: bench.vehicle.consultations.current())
    assert (asked.urgency, asked.patient.name) == ("emergency", CARD.name)
    van.sign_in(page)
    page.get_by_test_id("emergency-banner").get_by_role("link").click()
    assert CARD.name in page.locator(".alarm").inner_text()
    page.get_by_test_id("emergency-end").click()
    page.get_by_test_id("outcome-handed_over").click()
    summary = page.get_by_test_id("emergency-summary")
    summary.wait_for()
    assert "交给 120" in summary.inner_text()
    assert "最后一次正常是几点几分" in page.locator(".timeline").inner_text()
    assert complaints(page) == []
    assert van.do(lambda bench: bench.vehicle.emergencies.current()) is None


def test_above_five_km_an_hour_there_is_the_emergency_and_nothing_else(van: Van, page: Any) -> None:
    van.sign_in(page)
    drive(van, 12.0)
    page.get_by_test_id("driving").wait_for()
    page.keyboard.press("Escape")
    assert page.get_by_test_id("driving").is_visible()
    drive(van, 0.0)
    page.get_by_test_id("driving").wait_for(state="hidden")
    drive(van, 12.0)
    page.get_by_test_id("driving-emergency").click()
    page.get_by_test_id("emergency-start").click()
    page.get_by_test_id("emergency-clock").wait_for()
    page.goto(f"{van.address}/measure")
    page.get_by_test_id("emergency-banner").wait_for()
    assert page.get_by_test_id("driving").count() == 0


def test_a_red_value_rings_once_asks_for_all_and_is_measured_again_or_refused(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/measure")
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(184, 112, pulse_bpm=76)))
    page.get_by_test_id("confirm-blood_pressure").click()
    page.get_by_test_id("critical").wait_for()
    page.wait_for_selector("body[data-alarm]")
    tones = page.evaluate("window.tones")
    assert tones >= 10
    page.reload()
    page.get_by_test_id("critical").wait_for()
    assert page.evaluate("window.tones") == 0  # this value has rung
    page.get_by_test_id("critical-told").check()
    page.get_by_test_id("critical-again").click()
    page.get_by_test_id("critical-waits").wait_for()
    page.get_by_test_id("go-people").click()
    page.get_by_test_id("red-open").get_by_role("link").click()
    page.get_by_test_id("critical-waits").wait_for()
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(186, 114, pulse_bpm=80)))
    page.get_by_test_id("confirm-blood_pressure").click()
    page.get_by_test_id("critical").wait_for()
    page.get_by_test_id("critical-mute").click()
    page.get_by_test_id("critical-told").check()
    page.get_by_test_id("critical-refused").check()
    leave = page.get_by_test_id("critical-leave")
    assert leave.is_disabled()
    page.get_by_test_id("critical-reason").fill("家里没人，不想去")
    box = page.get_by_test_id("critical-pad").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 50, steps=8)
    page.mouse.move(box["x"] + 240, box["y"] + 25, steps=8)
    page.mouse.up()
    page.wait_for_selector('[data-testid="critical-leave"]:not([disabled])')
    leave.click()
    page.get_by_test_id("critical").wait_for(state="detached")
    [row] = van.do(lambda bench: bench.vehicle.store.read("SELECT * FROM critical_actions WHERE action = 'refused'"))
    assert row["reason"] == "家里没人，不想去"
    assert van.do(lambda bench: bench.vehicle.measurements.critical()) == []
