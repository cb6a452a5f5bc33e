"""Freeze, measure and clip on the touchscreen in real Chromium, with the real bridge behind it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from touch_bench import CARD
from ultrasound_machine import MACHINE, media_process

from telemedicine.consultation import Event
from telemedicine.ultrasound.machine import PixelSize
from telemedicine.ultrasound.measuring import measure
from vehicle.consultation_request import FIELDS, PNG, Consent

pytestmark = pytest.mark.browser

LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]
A_STILL = re.compile("/ultrasound/[0-9a-f]{64}$")


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at((30.60, 104.00)))
        entered = media_process(running.app, tmp_path / "run", tmp_path / "consultation.sock")
        running.bridge = running.wait(lambda bench: entered.__aenter__())
        yield running
        running.wait(lambda bench: entered.__aexit__(None, None, None))


def serve(van: Van, page: Any) -> None:
    van.sign_in(page)
    van.wait(lambda bench: bench.vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min"))

    async def person(bench: Any) -> None:
        patient = await bench.vehicle.people.from_card(CARD, "zhou.min")
        await bench.vehicle.encounters.open(patient.patient, "zhou.min")

    van.wait(person)


def test_freeze_choose_the_depth_and_measure(
    van: Van, page: Any, complaints: Callable[[Any], list[str]], tmp_path: Path
) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ultrasound")
    page.get_by_test_id("freeze").click()
    page.wait_for_url(A_STILL)
    assert page.get_by_test_id("tool-distance").count() == 0, "no depth was chosen: nothing can be measured"
    page.get_by_test_id("back-to-live").click()
    page.get_by_test_id("depth").filter(has_text="12 cm").click()
    page.get_by_test_id("freeze").click()
    page.wait_for_url(A_STILL)
    sha256 = page.url.rsplit("/", 1)[1]
    png = van.do(lambda bench: bench.vehicle.recordings.read(sha256))
    shown = page.request.get(f"{van.address}/ultrasound/images/{sha256}").body()
    assert hashlib.sha256(shown).hexdigest() == sha256
    assert shown == png

    page.get_by_test_id("tool-ellipse").click()
    points = [(382.0, 380.0), (582.0, 380.0), (482.0, 455.0)]
    for point in points:
        page.mouse.click(*_on_page(page, point))
    said = page.get_by_test_id("measuring").inner_text()
    assert "mm" in said
    page.get_by_test_id("keep").click()
    page.get_by_test_id("measurement").wait_for()
    kept = van.do(lambda bench: bench.vehicle.ultrasound.measurements(sha256))[0]
    wanted = measure("ellipse", kept.points, PixelSize(180_000, 180_000), 960, 720)
    assert {name: kept.sizes[name] for name in wanted.facts()} == wanted.facts()
    assert kept.sizes["length_um"] == pytest.approx(36_000, rel=0.03)
    assert kept.sizes["width_um"] == pytest.approx(27_000, rel=0.05)
    assert f"{kept.sizes['length_um'] / 1000:.1f}" in page.get_by_test_id("measurement").inner_text()
    page.get_by_test_id("tool-distance").click()
    for language, theme in LOOKS:
        page.goto(f"{van.address}/ultrasound/{sha256}?lang={language}&theme={theme}")
        page.get_by_test_id("measurement").wait_for()
        assert complaints(page) == []
        page.screenshot(path=str(tmp_path / f"still-{language}-{theme}.png"))
        page.goto(f"{van.address}/ultrasound")
        page.get_by_test_id("image").first.wait_for()
        assert complaints(page) == []
        page.screenshot(path=str(tmp_path / f"ultrasound-{language}-{theme}.png"))


def test_a_clip_is_recorded_ends_by_itself_and_plays(
    van: Van, page: Any, complaints: Callable[[Any], list[str]], tmp_path: Path
) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ultrasound")
    page.get_by_test_id("clip-record").click()
    page.get_by_test_id("clip-stop").wait_for()
    page.get_by_test_id("clip-record").wait_for()
    page.get_by_test_id("image").first.click()
    page.get_by_test_id("clip").wait_for()
    playing = page.locator("video").evaluate(
        "video => new Promise((done) => video.addEventListener('timeupdate',"
        " () => { if (video.currentTime > .3) done(true); }))"
    )
    assert playing
    assert complaints(page) == []
    page.screenshot(path=str(tmp_path / "clip.png"))
    image = van.do(lambda bench: bench.vehicle.ultrasound.images(bench.vehicle.encounters.current().encounter)[0])
    assert (image.what, image.device, image.by) == ("ultrasound_clip", MACHINE.name, "zhou.min")
    assert 2900 <= image.duration_ms <= 3100


def test_in_a_session_what_either_side_froze_stands_in_place_of_the_live_picture(
    van: Van, page: Any, complaints: Callable[[Any], list[str]], tmp_path: Path
) -> None:
    serve(van, page)
    fields = dict.fromkeys(FIELDS, "头晕三天")
    consent = Consent(PNG + bytes(40), read_aloud=True, signed_by="patient")

    async def begin(bench: Any) -> None:
        consultations = bench.vehicle.consultations
        asked = await consultations.request(fields, "routine", consent, "zhou.min")
        for event in (Event.INVITED, Event.ACCEPTED, Event.CONNECTED):
            await consultations.change(asked.consultation, event, "沈若川, 主任医师 (shen.ruochuan)")

    van.wait(begin)
    van.wait(lambda bench: bench.vehicle.ultrasound.choose_depth("16 cm", "zhou.min"))
    page.goto(f"{van.address}/consult")
    page.get_by_test_id("freeze").click()
    page.get_by_test_id("still-over").wait_for()
    mine = page.get_by_test_id("still-over").get_attribute("data-sha256")
    page.get_by_test_id("still-distance").click()
    box = page.locator("svg.still-view").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 100, y)
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=4)
    page.mouse.up()
    page.get_by_test_id("still-keep").click()
    page.get_by_test_id("measurement").wait_for()
    assert complaints(page) == []
    page.screenshot(path=str(tmp_path / "consult-still.png"))
    page.get_by_test_id("still-live").click()
    page.get_by_test_id("still-over").wait_for(state="hidden")
    theirs = van.wait(lambda bench: van.bridge.freeze(who="沈若川, 主任医师 (shen.ruochuan)"))["sha256"]
    page.get_by_test_id("still-over").wait_for()
    assert page.get_by_test_id("still-over").get_attribute("data-sha256") == theirs != mine


def test_the_page_and_the_van_measure_alike(van: Van, page: Any) -> None:
    """The browser's formulas against ours, at points of every kind."""
    serve(van, page)
    page.goto(f"{van.address}/ultrasound")
    cases = [
        ("distance", [(0.0, 0.0), (123.4, 567.8)], (0.2, 0.25)),
        ("ellipse", [(100.0, 100.0), (300.0, 180.0), (180.0, 260.0)], (0.2, 0.2)),
        ("ellipse", [(10.5, 700.0), (900.0, 3.25), (40.0, 40.0)], (0.11, 0.34)),
    ]
    page.add_script_tag(
        type="module",
        url="/shared/measuring.js",
    )
    for tool, points, pixel in cases:
        told = page.evaluate(
            "async ([tool, points, pixel]) => (await import('/shared/measuring.js')).measure(tool, points, pixel)",
            [tool, points, pixel],
        )
        size = PixelSize(round(pixel[0] * 1e6), round(pixel[1] * 1e6))
        ours = measure(tool, points, size, 960, 720).facts()
        assert told.keys() == ours.keys()
        assert all(abs(told[name] - ours[name]) <= 1 + ours[name] * 1e-9 for name in ours)


def test_without_the_media_process_the_page_says_so(page: Any, tmp_path: Path) -> None:
    with Van(tmp_path) as van:
        serve(van, page)
        page.goto(f"{van.address}/ultrasound")
        page.get_by_test_id("freeze").click()
        assert page.get_by_test_id("flash").is_visible()


def _on_page(page: Any, point: tuple[float, float]) -> tuple[float, float]:
    """Where a pixel of the still lies on the page."""
    x, y = page.evaluate(
        "([x, y]) => { const box = document.querySelector('svg.still-view').getScreenCTM();"
        " return [box.a * x + box.e, box.d * y + box.f]; }",
        point,
    )
    return float(x), float(y)
