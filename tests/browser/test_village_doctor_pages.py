"""Small things that a village doctor meets every morning. Real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from datetime import date

from touch_bench import CARD, Bench

from devices.readings import BloodPressure
from vehicle.clinic.registration import PatientForm

pytestmark = pytest.mark.browser

ROOM_BELOW_PX = """(() => {
  const rate = document.getElementById('mini-rate');
  rate.hidden = false;
  document.getElementById('tiles').dataset.rows = '4';
  document.querySelector('[data-testid="tile-ecg"]').removeAttribute('data-tall');
  rate.querySelector('b').textContent = '71';
  const bottom = (place) => document.querySelector(place).getBoundingClientRect().bottom;
  return bottom('[data-testid="tile-ecg"] .body') - bottom('#mini-rate small');
})()"""

CREW_TO_BUTTONS_PX = """(() => {
  const box = (place) => document.querySelector(place).getBoundingClientRect();
  return box('.visit footer').top - box('.visit .crew > :last-child').bottom;
})()"""
"""Between the last line of who and where and the buttons below it."""


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


async def waits(bench: Bench) -> None:
    form = PatientForm("何长顺", "male", date(1950, 3, 2), id_kind="temporary", address="云坪村3组")
    person = await bench.vehicle.people.register(form, "zhou.min")
    await bench.vehicle.encounters.enqueue(person.patient)


def test_the_ecg_tile_and_the_queue(van: Van, page: Any, complaints: Callable[[Any], list[str]]) -> None:
    """The rate's unit keeps off the line below; no button covers the crew; who left is taken out by two taps."""
    serve(van, page)
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(128, 78, pulse_bpm=70)))
    page.goto(f"{van.address}/measure?focus=blood_pressure")
    assert page.evaluate(ROOM_BELOW_PX) >= 3
    van.wait(waits)
    page.goto(f"{van.address}/today")
    assert page.evaluate(CREW_TO_BUTTONS_PX) >= 0
    page.get_by_test_id("gone-1").click()
    assert page.get_by_test_id("gone-now-1").is_visible()
    assert complaints(page) == []
    page.get_by_test_id("gone-now-1").click()
    page.get_by_text("没有人在等").wait_for()
    assert van.do(lambda bench: bench.vehicle.encounters.queue()) == []
