"""The county's pages in real Chromium: day and night, Chinese and English, at two sizes; and the way through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from county_month import PASSWORD, Founded, at, lived_through
from county_work import some_work
from page_server import run_apart, serving

from devices.clock import SimulatedClock
from sync.proof.areas import as_geojson

pytestmark = pytest.mark.browser

SIZES = ((1440, 900), (1280, 800))
Complaints = Callable[[Any], list[str]]


@pytest.fixture(scope="module")
def september(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    folder = tmp_path_factory.mktemp("county")
    founded = run_apart(lambda: lived_through(folder))
    yield founded
    founded.close()


@pytest.fixture(scope="module")
def address(september: Founded) -> Iterator[str]:
    with serving(september.app) as url:
        yield url


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a county whose vans have work of every kind."""
    founded = Founded(tmp_path_factory.mktemp("work"), SimulatedClock(at(8, 20, 8)))
    run_apart(lambda: some_work(founded))
    with serving(founded.app) as url:
        yield url
    founded.close()


@contextmanager
def signed_in(browser: Any, address: str, id: str = "xu.jing", **options: Any) -> Iterator[Any]:
    context = browser.new_context(**options)
    page = context.new_page()
    broken: list[str] = []
    page.on("console", lambda line: broken.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda fault: broken.append(str(fault)))
    page.goto(f"{address}/sign-in")
    page.get_by_test_id("account").fill(id)
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("sign-in").click()
    page.wait_for_selector("main.main")
    yield page
    context.close()
    assert broken == []


def visits_by_state(page: Any, address: str) -> dict[str, str]:
    """One visit's address for each state in the month table."""
    page.goto(f"{address}/county/coverage?month=2026-09")
    links = page.eval_on_selector_all(
        ".month td a", "links => links.map(link => [link.firstElementChild.dataset.state, link.href])"
    )
    return dict(links)


@pytest.mark.parametrize(
    ("lang", "size", "theme"),
    [("zh", SIZES[0], "night"), ("en", SIZES[1], "day")],
    ids=["zh-1440x900-night", "en-1280x800-day"],
)
def test_every_page_is_clean(
    browser: Any, complaints: Complaints, address: str, lang: str, size: tuple[int, int], theme: str
) -> None:
    """English words are the longer ones, and the small screen cuts them first."""
    found: dict[str, list[str]] = {}
    with signed_in(browser, address, viewport={"width": size[0], "height": size[1]}) as page:
        page.goto(f"{address}/county/coverage?lang={lang}&theme={theme}")
        states = visits_by_state(page, address)
        assert set(states) == {"counted", "short", "not_counted", "open", "review"}
        pages = ["/county/coverage?month=2026-09", "/county/coverage?month=2026-10", "/county/map", "/county/fleet"]
        pages += ["/county/review", "/county/link", "/county/warnings?month=2026-09", "/county/activity?month=2026-09"]
        pages += ["/county/activity?month=2026-09&by=month", "/county/warnings?month=2026-08"]
        pages += ["/county/acceptance?period=2026-Q3", "/county/acceptance?period=2026"]
        for url in (*(address + path for path in pages), *states.values(), states["open"] + "/entries"):
            page.goto(url)
            found[url] = complaints(page)
        assert page.locator("html").get_attribute("data-theme") == theme
        assert page.locator("html").get_attribute("lang") == {"zh": "zh-CN", "en": "en"}[lang]
    assert {url: said for url, said in found.items() if said} == {}


@pytest.mark.parametrize("theme", ["day", "night"])
def test_signing_in_and_its_refusal_are_clean(browser: Any, complaints: Complaints, address: str, theme: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{address}/county/map?lang=zh&theme={theme}")
    assert "/sign-in?next=" in page.url
    page.goto(f"{address}/sign-in?theme={theme}")
    assert complaints(page) == []
    page.get_by_test_id("account").fill("nobody")
    page.get_by_test_id("password").fill("wrong-password")
    page.get_by_test_id("sign-in").click()
    page.get_by_test_id("sign-in-problem").wait_for()
    assert page.get_by_test_id("account").input_value() == "nobody", "only the password is typed again"
    assert complaints(page) == []
    page.close()


def test_the_auditors_page_is_clean(browser: Any, complaints: Complaints, address: str) -> None:
    with signed_in(browser, address, "he.ming", viewport={"width": 1280, "height": 800}) as page:
        page.get_by_test_id("nav-audit").click()
        page.get_by_test_id("audit").wait_for()
        assert complaints(page) == []
        page.goto(f"{address}/county/coverage?month=2026-09")
        assert page.get_by_test_id("export-xlsx").count() == 0


def test_the_way_from_the_month_to_a_leaf_hash_and_back(browser: Any, address: str, september: Founded) -> None:
    with signed_in(browser, address) as page:
        page.goto(f"{address}/county/coverage?month=2026-09")
        row = page.get_by_test_id("village-999901101201")
        assert row.get_attribute("data-state") == "done"
        row.locator("td a").first.click()
        page.get_by_test_id("verdict").wait_for()
        assert page.get_by_test_id("verdict").get_attribute("data-state") == "counted"
        assert page.get_by_test_id("crew").inner_text().count("\n") >= 2
        points = page.get_by_test_id("track").get_attribute("points").split()
        assert len(points) >= 10
        page.get_by_test_id("see-entries").click()
        page.locator("main[data-testid=entries]").wait_for()
        number = int(page.locator("tbody tr td").first.inner_text())
        leaf = september.county.mirror.leaves("van-07.qingyu.example", number, number + 1)[0]
        assert leaf.hex() in page.content()
        page.get_by_test_id("later").click()
        page.wait_for_url("**/entries?first=*")
        page.get_by_test_id("to-visit").click()
        page.get_by_test_id("to-month").click()
        page.wait_for_url("**/county/coverage?month=2026-09*")


def test_months_languages_and_themes_are_a_click_away(browser: Any, address: str) -> None:
    with signed_in(browser, address) as page:
        page.goto(f"{address}/county/coverage?month=2026-09")
        page.get_by_test_id("month-before").click()
        page.wait_for_url("**month=2026-08**")
        page.get_by_test_id("other-language").click()
        page.wait_for_url("**lang=en**")
        assert page.locator("h1").inner_text() == "2026-08"
        page.get_by_test_id("other-theme").click()
        page.wait_for_url("**theme=night**")
        page.get_by_test_id("nav-map").click()
        page.get_by_test_id("map").wait_for()
        assert page.locator("html").get_attribute("data-theme") == "night"
        page.get_by_test_id("sign-out").click()
        page.get_by_test_id("sign-in").wait_for()
        page.goto(f"{address}/county/coverage")
        assert "/sign-in" in page.url


def test_the_map_shows_every_village_by_its_state(browser: Any, address: str) -> None:
    with signed_in(browser, address) as page:
        page.goto(f"{address}/county/map?month=2026-09")
        states = page.eval_on_selector_all("a.village", "areas => areas.map(area => area.dataset.state)")
        assert sorted(set(states)) == ["done", "partial", "pending"]
        assert len(states) == 12
        page.get_by_test_id("area-999901101201").click()
        page.get_by_test_id("verdict").wait_for()


def test_whom_to_call_is_pasted_and_stands_beside_the_village(
    browser: Any, complaints: Complaints, address: str
) -> None:
    with signed_in(browser, address, viewport={"width": 1280, "height": 800}) as page:
        page.get_by_test_id("to-warnings").click()
        page.get_by_test_id("lines").fill("999901101210\t罗医生\t0610-5010001")
        page.get_by_test_id("keep").click()
        page.get_by_test_id("said-kept").wait_for()
        assert "0610-5010001" in page.get_by_test_id("warning-999901101210").inner_text()
        page.get_by_test_id("lines").fill("罗医生")
        page.get_by_test_id("keep").click()
        page.get_by_test_id("said-problem_not_understood").wait_for()
        assert complaints(page) == []


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_number_of_the_work_leads_to_its_records_and_the_visit(
    browser: Any, complaints: Complaints, working: str, lang: str
) -> None:
    with signed_in(browser, working, viewport={"width": 1280, "height": 800}) as page:
        page.goto(f"{working}/county/activity?month=2026-09&lang={lang}")
        assert complaints(page) == []
        page.get_by_test_id("by-van").click()
        page.get_by_test_id("hypertension-van-07").locator("a").click()
        page.get_by_test_id("record").first.wait_for()
        assert page.get_by_test_id("record").count() == 6
        assert complaints(page) == []
        page.get_by_test_id("record").first.locator("a").click()
        page.get_by_test_id("verdict").wait_for()


def test_a_reviewers_pages_are_clean_and_lead_to_no_record(browser: Any, complaints: Complaints, working: str) -> None:
    with signed_in(browser, working, "qian.xu", viewport={"width": 1280, "height": 800}) as page:
        for page_of in ("activity", "warnings", "coverage"):
            page.goto(f"{working}/county/{page_of}?month=2026-09&lang=en")
            assert complaints(page) == []
            assert page.locator('main a[href*="/county/visits/"], main a[href*="/county/activity/"]').count() == 0


def test_a_report_of_chosen_months_is_shown_and_printed(browser: Any, complaints: Complaints, address: str) -> None:
    with signed_in(browser, address, "qian.xu", viewport={"width": 1280, "height": 800}) as page:
        page.get_by_test_id("nav-acceptance").click()
        page.get_by_test_id("choose").locator("summary").click()
        assert complaints(page) == []
        page.get_by_test_id("first").fill("2026-08")
        page.get_by_test_id("last").fill("2026-10")
        page.get_by_test_id("show").click()
        page.wait_for_url("**/county/acceptance?period=2026-08..2026-10**")
        assert page.get_by_test_id("table-villages").locator("tbody tr").count() == 13
        with page.expect_download() as waiting:
            page.get_by_test_id("sealed-file").click()
        assert waiting.value.suggested_filename == "sealed-months-2026-08-to-2026-10-practice.json"


def test_the_workbook_downloads(browser: Any, address: str) -> None:
    with signed_in(browser, address) as page:
        page.goto(f"{address}/county/coverage?month=2026-09")
        with page.expect_download() as waiting:
            page.get_by_test_id("export-xlsx").click()
        assert waiting.value.suggested_filename == "coverage-2026-09-practice.xlsx"


def test_a_long_list_of_villages_scrolls_inside_its_sheet(
    browser: Any, complaints: Complaints, september: Founded, address: str
) -> None:
    """Forty villages in four townships with long names, then the invented township again."""
    registry = september.county.registry
    features = []
    for number in range(40):
        name = ("老鹰岩子村民委员会", "四字村名", "云坪村", "上湾村")[number % 4]
        code = f"9999011{number // 10:02d}{number % 10 + 101:03d}"
        place = [103.8 + number % 10 / 50, 31.1 + number // 10 / 50]
        said = {"code": code, "name": name, "township": f"第{number // 10 + 1}镇"}
        geometry = {"type": "Point", "coordinates": place}
        features.append({"type": "Feature", "properties": said, "geometry": geometry})
    villages = registry.villages()
    registry.import_villages({"type": "FeatureCollection", "features": features}, by="xu.jing")
    try:
        september.county.coverage.table(date(2026, 9, 1), True)  # with other borders each visit is worked out anew
        for size in SIZES:
            with signed_in(browser, address, viewport={"width": size[0], "height": size[1]}) as page:
                for path in ("/county/coverage?month=2026-09", "/county/map?month=2026-09"):
                    page.goto(address + path)
                    assert complaints(page) == []
    finally:
        registry.import_villages(as_geojson(villages), by="xu.jing")


def test_the_page_check_finds_what_is_wrong(browser: Any, complaints: Complaints) -> None:
    """The judge itself: a page with one fault of each kind."""
    page = browser.new_page(viewport={"width": 800, "height": 600})
    page.set_content(
        """<html><body style="margin:0;font-size:16px;background:#fff;color:#000">
        <p style="color:#999">pale</p><p style="font-size:9px">tiny</p>
        <div style="width:40px;overflow:hidden;white-space:nowrap">much too long a line</div>
        <a href="#" style="display:inline-block;width:10px;height:10px">x</a><input style="width:90px;height:40px">
        <button style="width:90px;height:40px"></button>
        <div style="position:absolute;left:780px;width:60px">outside</div></body></html>"""
    )
    said = " ".join(complaints(page))
    page.close()
    for fault in (
        "contrast",
        "text of 9px",
        "cut off sideways",
        "target 10x10",
        "without a label",
        "nothing to read",
        "outside",
    ):
        assert fault in said
