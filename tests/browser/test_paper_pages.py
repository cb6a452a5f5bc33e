"""A4 in real Chromium: a link to a PDF asks where the sheet shall go, and it waits for a printer that is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from touch_van import Van, settings_in

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from touch_bench import CARD

pytestmark = pytest.mark.browser

NOBODY_THERE = "ipp://127.0.0.1:9/ipp/print"
LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    settings = settings_in(tmp_path)
    paper = settings.paper_printer.model_copy(update={"address": NOBODY_THERE})
    with Van(tmp_path, settings=settings.model_copy(update={"paper_printer": paper})) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at((30.60, 104.00)))
        yield running


def serve(van: Van, page: Any) -> str:
    van.sign_in(page)
    van.wait(lambda bench: bench.vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min"))

    async def person(bench: Any) -> str:
        patient = await bench.vehicle.people.from_card(CARD, "zhou.min")
        opened = await bench.vehicle.encounters.open(patient.patient, "zhou.min")
        return str(opened.encounter)

    return van.wait(person)


def test_a_sheet_goes_to_the_printer_and_waits(van: Van, page: Any, complaints: Callable[[Any], list[str]]) -> None:
    encounter = serve(van, page)
    page.goto(f"{van.address}/print/{encounter}?lang=zh")
    page.get_by_test_id("result-sheet").click()
    page.wait_for_url("**/paper?path=**")
    page.get_by_test_id("paper-print").click()
    page.get_by_test_id("paper-waits").wait_for()
    assert "result_sheet-" in page.get_by_test_id("paper-waits").inner_text()
    van.do(lambda bench: bench.vehicle.paper._say("paper_printer_away"))
    page.locator('[data-testid="paper-state"][data-kind="ask"]').wait_for()
    sheet = quote(f"/print/{encounter}/result_sheet.pdf?on=none")
    found = {}
    for language, theme in LOOKS:
        for name, path in (("paper", f"/paper?path={sheet}&"), ("status", "/status?")):
            page.goto(f"{van.address}{path}lang={language}&theme={theme}")
            page.wait_for_selector("main")
            found[(name, language, theme)] = complaints(page)
    assert {look: said for look, said in found.items() if said} == {}
    page.goto(f"{van.address}/paper")
    page.get_by_test_id("paper-discard").click()
    page.get_by_test_id("paper-waits").wait_for(state="detached")
