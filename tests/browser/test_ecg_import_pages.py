"""An ECG file from a stick in real Chromium: chosen, looked at beside the person at hand, turned page by page, kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from devices.readings import Stamped, StoredEcg
from tests.devices.ecg_file_writers import Scp, ascii_tag, contec, heartbeats
from vehicle.clinic.people import PatientForm
from vehicle.mounts import find_sticks

pytestmark = pytest.mark.browser

BEATS = heartbeats(25.0, 800.0)
SHOTS = os.environ.get("XUNZHEN_SHOTS", "")
LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    stick = tmp_path / "media" / "KINGSTON"
    (stick / "ECG90A").mkdir(parents=True)
    (stick / "ECG90A" / "0000007.ECG").write_bytes(contec(BEATS, b"Li Ming", sex=1, age=40))
    named = [ascii_tag(0, "杨"), ascii_tag(1, "桂芳"), (8, b"\x02"), (5, b"\xa7\x07\x03\x0c")]
    (stick / "杨桂芳.scp").write_bytes(Scp(heartbeats(10.0), tags=named, packed=True, differences=2).record())
    (stick / "damaged.ECG").write_bytes(contec(BEATS)[:-7])
    table = tmp_path / "mounts"
    table.write_text(f"/dev/sdb1 {stick} vfat rw 0 0\n")
    with Van(tmp_path) as running:
        running.do(
            lambda bench: setattr(bench.vehicle.sticks, "found", lambda: find_sticks((tmp_path / "media",), table))
        )
        running.do(lambda bench: bench.all_connected())
        yield running


def serve(van: Van) -> None:
    async def begin(bench: Any) -> None:
        vehicle = bench.vehicle
        await vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min")
        patient = await vehicle.people.register(PatientForm("杨桂芳", "female", date(1959, 3, 12)), "zhou.min")
        await vehicle.encounters.open(patient.patient, by="zhou.min")

    van.wait(begin)


def unreadable_comes(bench: Any) -> None:
    """Out of a device's memory."""
    vehicle, event = bench.vehicle, StoredEcg(b"no ECG at all")
    vehicle.feed.publish(Stamped("ecg-7", "creative_pc80b", vehicle.clock.now(), vehicle.clock.monotonic_s(), event))


def choose(page: Any, van: Van, name: str) -> None:
    page.goto(f"{van.address}/ecg/import")
    page.get_by_test_id("ecg-file").filter(has_text=name).click()


def test_a_file_of_somebody_else_is_said_and_waits_for_its_person(van: Van, page: Any) -> None:
    serve(van)
    van.sign_in(page)
    page.goto(f"{van.address}/ecg")
    page.get_by_test_id("display").click()
    page.get_by_test_id("ecg-import").click()
    assert page.get_by_test_id("ecg-file").count() == 3
    choose(page, van, "0000007.ECG")
    page.get_by_test_id("differs").wait_for()
    assert "Li Ming" in page.get_by_test_id("claim-name").inner_text()
    assert page.locator("[data-differs]").count() == 3
    page.get_by_test_id("keep-held").click()
    page.wait_for_url("**/ecg/import")
    held = page.get_by_test_id("held-ecg")
    held.wait_for()
    assert "0000007.ECG" in held.inner_text()
    page.get_by_test_id("assign-ecg").click()
    page.wait_for_url("**/ecg/recordings/*")
    page.get_by_test_id("imported").wait_for()


def test_the_pages_of_a_long_recording_are_turned(van: Van, page: Any) -> None:
    van.sign_in(page)
    choose(page, van, "0000007.ECG")
    said = page.get_by_test_id("page-said")
    said.wait_for()
    assert said.inner_text().endswith("/ 25 s")
    assert page.get_by_test_id("page-back").is_disabled()
    first = said.inner_text()
    drawn = page.locator('canvas[data-layer="trace"]').screenshot()
    page.get_by_test_id("page-on").click()
    assert said.inner_text() != first
    assert page.locator('canvas[data-layer="trace"]').screenshot() != drawn
    while page.get_by_test_id("page-on").is_enabled():
        page.get_by_test_id("page-on").click()
    assert said.inner_text().split("–")[1].startswith("25 /")
    while page.get_by_test_id("page-back").is_enabled():
        page.get_by_test_id("page-back").click()
    assert said.inner_text() == first


def test_a_file_of_the_person_at_hand_is_kept_with_one_tap(van: Van, page: Any) -> None:
    serve(van)
    van.sign_in(page)
    choose(page, van, "杨桂芳.scp")
    page.get_by_test_id("claims").wait_for()
    assert page.locator("[data-differs]").count() == 0
    page.get_by_test_id("keep-for-person").click()
    page.wait_for_url("**/ecg/recordings/*")
    answer = page.request.get(f"{page.url}/samples").body()
    counts = np.frombuffer(answer[-heartbeats(10.0).nbytes :], "<i2").reshape(-1, 8)
    assert np.array_equal(counts, heartbeats(10.0))


def test_a_damaged_file_is_said_where_it_was_chosen(van: Van, page: Any) -> None:
    van.sign_in(page)
    choose(page, van, "damaged.ECG")
    page.get_by_text("心电文件已损坏").wait_for()
    assert page.get_by_test_id("ecg-file").count() == 3


def test_the_pages_are_clean_in_both_languages_by_day_and_by_night(
    van: Van, page: Any, complaints: Callable[[Any], list[str]]
) -> None:
    serve(van)
    van.sign_in(page)
    choose(page, van, "0000007.ECG")
    page.get_by_test_id("keep-held").click()
    page.get_by_test_id("held-ecg").wait_for()
    van.do(unreadable_comes)
    (van_folder,) = {Path(file.path).parent for file in van.do(lambda bench: bench.vehicle.ecg_import.files()[:1])}
    stick = van_folder if van_folder.name == "KINGSTON" else van_folder.parent
    looked = "/ecg/import/file?" + urlencode({"path": str(stick / "ECG90A" / "0000007.ECG")})
    (kept,) = van.do(lambda bench: bench.vehicle.ecg_import.held())
    found: dict[str, list[str]] = {}
    for path in ("/ecg/import?", f"{looked}&", f"/ecg/recordings/{kept.sha256}?"):
        for language, theme in LOOKS:
            page.goto(f"{van.address}{path}lang={language}&theme={theme}")
            if "import?" in path:
                assert "ecg-7" in page.get_by_test_id("unread-ecg").inner_text()
            else:
                page.get_by_test_id("page-said").wait_for()
            if said := complaints(page):
                found[f"{path} {language} {theme}"] = said
            if SHOTS:
                page.screenshot(
                    path=f"{SHOTS}/{path.split('?')[0].strip('/').replace('/', '-')[:20]}.{language}.{theme}.png"
                )
    assert found == {}
