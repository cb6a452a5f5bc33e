"""The photo at the village sign and the village's signature, as a finger makes them, on the smallest panel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from telemedicine.camera_preview import NoOutsideCamera
from tests.sync.evidence_county import SIGN_JPEG
from vehicle.touchscreen import visit_pictures

pytestmark = pytest.mark.browser

LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.stand_at((30.60, 104.00)))
        running.wait(lambda bench: bench.vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min"))
        yield running


class Camera:
    """What the consultation process answers: photos, each of other bytes, or that there is no camera."""

    def __init__(self) -> None:
        self.there, self.taken = True, 0

    async def still_of(self, socket: Path, path: str) -> bytes:
        if not self.there:
            raise NoOutsideCamera
        self.taken += 1
        return SIGN_JPEG + bytes([self.taken])


def test_a_photo_is_taken_again_kept_and_the_village_signs(
    van: Van, page: Any, monkeypatch: pytest.MonkeyPatch, complaints: Callable[[Any], list[str]]
) -> None:
    camera = Camera()
    monkeypatch.setattr(visit_pictures, "still_of", camera.still_of)
    found: dict[str, list[str]] = {}

    def judge(name: str) -> None:
        for language, theme in LOOKS:
            page.goto(f"{page.url.partition('?')[0]}?lang={language}&theme={theme}")
            if said := complaints(page):
                found[f"{name} {language} {theme}"] = said

    page.set_viewport_size({"width": 1024, "height": 768})
    van.sign_in(page)
    judge("today")
    page.get_by_test_id("photo").click()
    page.get_by_test_id("keep-photo").wait_for()
    page.get_by_test_id("take-photo").click()
    page.get_by_test_id("keep-photo").wait_for()
    judge("photo")
    assert camera.taken == 2
    assert page.get_by_test_id("waiting-photo").evaluate("image => image.complete && image.naturalWidth") == 640
    page.get_by_test_id("keep-photo").click()
    page.wait_for_url("**/today")
    page.get_by_test_id("signature").click()
    page.get_by_test_id("post-head").check()
    page.get_by_test_id("signer-name").fill("王建国")
    assert page.get_by_test_id("keep-signature").is_disabled()
    box = page.get_by_test_id("signature-pad").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 30)
    page.mouse.down()
    for step in range(12):
        page.mouse.move(box["x"] + 40 + step * 20, box["y"] + 30 + step % 3 * 20)
    page.mouse.up()
    page.get_by_test_id("keep-signature").click()
    page.wait_for_url("**/today")
    judge("today with pictures")
    kept = van.do(lambda bench: bench.vehicle.visit_pictures.kept(bench.vehicle.visits.current().visit))
    assert [(one.what, one.name, one.has_place) for one in kept] == [
        ("village_sign", "", True),
        ("signature", "王建国", True),
    ]
    page.goto(f"{van.address}/visit/signature")
    page.get_by_test_id("name-1").click()
    assert page.get_by_test_id("signer-name").input_value() == "王建国"
    judge("signature")
    camera.there = False
    page.goto(f"{van.address}/visit/photo")
    judge("photo with pictures kept")
    page.get_by_test_id("take-photo").click()
    page.get_by_test_id("refused").wait_for()
    assert complaints(page) == []
    assert found == {}
