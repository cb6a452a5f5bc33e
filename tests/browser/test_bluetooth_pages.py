"""In real Chromium: a device asks for its digits on whatever page is open; values nobody took are given or put away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from touch_bench import CARD

from devices.readings import DeviceClock, DeviceState, Glucose, Link, Weight

pytestmark = pytest.mark.browser

METER = "F0:F1:F2:18:08:01"


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at((30.60, 104.00)))
        running.do(lambda bench: setattr(bench.vehicle.pairing, "_places", lambda: {"glucose-1": METER}))
        yield running


@pytest.fixture
def page(van: Van, page: Any) -> Any:
    van.sign_in(page)
    return page


def ask(van: Van, address: str = METER) -> list[asyncio.Task[int | None]]:
    """bluetoothd asks for the digits; the task is what it gets."""
    asked: list[asyncio.Task[int | None]] = []

    def begin(bench: Any) -> None:
        asked.append(asyncio.ensure_future(bench.vehicle.pairing.ask(address)))

    van.do(begin)
    return asked


def test_the_digits_are_typed_on_the_sheet_and_a_refusal_says_what_to_do(van: Van, page: Any) -> None:
    page.goto(f"{van.address}/people")
    asked = ask(van)
    sheet = page.get_by_test_id("pairing")
    sheet.wait_for()
    assert "蓝牙血糖仪" in sheet.inner_text()
    field = page.get_by_test_id("passkey")
    page.locator('.pairing [data-key="4"]').click()
    page.get_by_test_id("pairing-answer").click()
    assert sheet.is_visible()  # four digits are missing
    for digit in "28195":
        page.locator(f'.pairing [data-key="{digit}"]').click()
    assert field.input_value() == "428195"
    page.get_by_test_id("pairing-answer").click()
    sheet.wait_for(state="detached")
    assert van.do(lambda bench: asked[0].result()) == 428195
    van.do(lambda bench: bench.publish("glucose-1", DeviceState(Link.ABSENT, fault="bluetooth_pairing_failed")))
    refused = page.get_by_test_id("pairing-refused")
    refused.wait_for()
    assert "忘记这台设备" in refused.inner_text()
    page.get_by_test_id("pairing-seen").click()
    refused.wait_for(state="detached")
    assert page.url == f"{van.address}/people"


def test_the_sheet_goes_when_the_device_gives_up_and_can_be_put_off(van: Van, page: Any) -> None:
    page.goto(f"{van.address}/status")
    asked = ask(van)
    page.get_by_test_id("pairing").wait_for()
    van.do(lambda bench: asked[0].cancel())
    page.get_by_test_id("pairing").wait_for(state="detached")
    again = ask(van, "F0:F1:F2:18:10:01")
    page.get_by_test_id("pairing").wait_for()
    page.get_by_test_id("pairing-cancel").click()
    page.get_by_test_id("pairing").wait_for(state="detached")
    assert van.do(lambda bench: again[0].result()) is None


def test_a_stored_record_is_found_on_the_holding_list_and_given(van: Van, page: Any) -> None:
    van.do(lambda bench: bench.publish("glucose-1", DeviceClock("2026-11-22T17:00:00")))
    for sequence, glucose in ((1, 6.1), (2, 7.7)):
        told = Glucose(glucose, sequence=sequence, device_said_at="2026-11-20T08:30:00")
        van.do(lambda bench, told=told: bench.publish("glucose-1", told))
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()
    van.do(lambda bench: bench.publish("card-1", CARD))
    page.get_by_test_id("served-name").wait_for()
    page.goto(f"{van.address}/measure?focus=glucose")
    page.get_by_test_id("held-all").click()
    page.get_by_test_id("held-glucose").first.wait_for()
    assert page.get_by_test_id("held-glucose").count() == 2
    page.get_by_test_id("discard").first.click()
    page.locator("dialog[open]").get_by_test_id("reason-test").click()
    page.get_by_test_id("held-glucose").nth(1).wait_for(state="detached")
    page.get_by_test_id("assign").first.click()
    page.get_by_test_id("flash").wait_for()
    assert van.do(lambda bench: bench.vehicle.measurements.holding()) == []


@pytest.mark.parametrize(
    "size", [{"width": 1280, "height": 800}, {"width": 1920, "height": 1080}], ids=["small", "large"]
)
def test_the_pages_fit_the_screen(van: Van, page: Any, size: dict[str, int]) -> None:
    page.set_viewport_size(size)
    van.do(lambda bench: bench.publish("cuff-1", Weight(74.0, 158.0, body_fat_percent=31.2)))
    ask(van)
    for path in ("/measure/held", "/measure?focus=weight", "/measure/by-hand/weight"):
        page.goto(f"{van.address}{path}")
        page.get_by_test_id("pairing").wait_for()
        sheet = page.get_by_test_id("pairing").bounding_box()
        assert sheet["y"] >= 0
        assert sheet["y"] + sheet["height"] <= size["height"]
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
