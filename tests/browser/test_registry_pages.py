"""The registry's pages in real Chromium: a list of villages is looked at before it is imported, with its refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from county_month import Founded, at
from page_server import run_apart, serving
from test_county_pages import signed_in

from devices.clock import SimulatedClock
from sync.proof.areas import as_geojson
from sync.proof.gcj02 import to_gcj02

pytestmark = pytest.mark.browser

Complaints = Callable[[Any], list[str]]
SIZES = ((1440, 900), (1280, 800))


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    folder = tmp_path_factory.mktemp("county")
    founded = run_apart(lambda: _made(folder))
    yield founded
    founded.close()


async def _made(folder: Path) -> Founded:
    founded = Founded(folder, SimulatedClock(at(9, 10, 8)))
    founded.county.registry.set_rules({"days_apart": 7}, by="command-line")
    founded.county.registry.waive("999901101202", "2026-09", "山洪冲断村道，抢修到月底", by="xu.jing")
    return founded


@pytest.fixture(scope="module")
def address(founded: Founded) -> Iterator[str]:
    with serving(founded.app) as url:
        yield url


@pytest.fixture
def from_the_web(founded: Founded, tmp_path: Path) -> Path:
    """The list as a web map has it."""
    geojson = as_geojson(founded.villages)
    for feature in geojson["features"]:
        rings = feature["geometry"]["coordinates"]
        feature["geometry"]["coordinates"] = [[_shifted(point) for point in ring] for ring in rings]
        feature["properties"]["centre"] = _shifted(feature["properties"]["centre"])
    path = tmp_path / "web.geojson"
    path.write_text(json.dumps(geojson), encoding="utf-8")
    return path


def _shifted(point: list[float]) -> list[float]:
    latitude, longitude = to_gcj02((point[1], point[0]))
    return [longitude, latitude]


@pytest.mark.parametrize(("size", "theme"), [(SIZES[0], "night"), (SIZES[1], "day")], ids=["1440x900", "1280x800"])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_page_is_clean(
    browser: Any,
    complaints: Complaints,
    address: str,
    from_the_web: Path,
    size: tuple[int, int],
    lang: str,
    theme: str,
) -> None:
    found: dict[str, list[str]] = {}
    with signed_in(browser, address, viewport={"width": size[0], "height": size[1]}) as page:
        page.goto(f"{address}/county/registry?lang={lang}&theme={theme}")
        for tab in ("changes", "villages", "rules", "waivers"):
            page.get_by_test_id(f"tab-{tab}").click()
            page.locator(f"[data-testid=tab-{tab}][aria-selected=true]").wait_for()
            found[tab] = complaints(page)
        page.get_by_test_id("tab-villages").click()
        page.get_by_test_id("file").set_input_files(from_the_web)
        page.get_by_test_id("preview").click()
        page.get_by_test_id("shifted").wait_for()
        found["preview"] = complaints(page)
    assert {where: said for where, said in found.items() if said} == {}


def test_the_way_through_an_import_a_rule_and_a_waiver(
    browser: Any, address: str, founded: Founded, from_the_web: Path
) -> None:
    registry = founded.county.registry
    with signed_in(browser, address, viewport={"width": 1280, "height": 800}) as page:
        page.get_by_test_id("nav-group-registry").click()
        page.get_by_test_id("tab-villages").click()
        page.get_by_test_id("file").set_input_files(from_the_web)
        page.get_by_test_id("preview").click()
        size = registry.state().size
        page.get_by_test_id("reason").fill("省里重测")
        page.get_by_test_id("confirm").click()
        page.get_by_test_id("said").wait_for()
        assert registry.state().size > size
        page.get_by_test_id("tab-rules").click()
        page.get_by_test_id("rule-dwell_s").fill("200")
        page.get_by_test_id("set-rules").click()
        page.get_by_test_id("said").wait_for()
        assert registry.rules().dwell_s == 12_000
        page.get_by_test_id("tab-waivers").click()
        page.get_by_test_id("village").select_option("999901101203")
        page.get_by_test_id("reason").fill("疫情管控")
        page.get_by_test_id("waive").click()
        page.get_by_test_id("waiver-999901101203").wait_for()
        page.get_by_test_id("tab-changes").click()
        assert page.locator("tbody tr").count() == 6


def test_the_auditor_finds_no_form(browser: Any, complaints: Complaints, address: str) -> None:
    with signed_in(browser, address, "he.ming", viewport={"width": 1280, "height": 800}) as page:
        page.get_by_test_id("nav-group-registry").click()
        for tab in ("changes", "villages", "rules", "waivers"):
            page.get_by_test_id(f"tab-{tab}").click()
            page.locator(f"[data-testid=tab-{tab}][aria-selected=true]").wait_for()
            assert page.locator("main form").count() == 0
            assert complaints(page) == []
