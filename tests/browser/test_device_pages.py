"""Adding a device as the crew does it, in real Chromium, with a simulated device on a real pty."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openpyxl
import pytest
import uvicorn
from touch_van import Van, settings_in

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from devices.clock import SystemClock
from devices.readings import Glucose, Stamped
from devices.session import DeviceSettings
from devices.simulators.contec_cms50 import Cms50Twin, Finger
from devices.simulators.gnss import GnssTwin
from devices.simulators.pty_port import PtyPort
from sync.formats.records import read_entry
from vehicle.assembly import assemble
from vehicle.settings import VehicleSettings
from vehicle.touchscreen.app import create_touchscreen

pytestmark = pytest.mark.browser

SIZE = {"width": 1280, "height": 800}
LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]
WITHIN_MS = 30_000
LABEL = "contec_cms50_v7"
"""Of the socket: one driver is asked. Behind the label of a kind each driver of that kind has its four seconds."""


def settings(folder: Path, **other: Any) -> VehicleSettings:
    gnss = DeviceSettings(name="gnss-1", driver="nmea_gnss", link="serial", port=str(folder / "ports" / "gnss"))
    glucose = DeviceSettings(name="glucose-1", driver="bluetooth_glucose", link="bluetooth")
    ports = {"labelled_ports": folder / "ports", "devices": (gnss, glucose)}
    return settings_in(folder).model_copy(update=ports | other)


class PluggedVan(Van):
    """A van whose sessions run, with the far ends of its wires; ``bench.oximeter`` and ``bench.gnss`` are ports."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings=settings(folder))

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        assert self._settings is not None
        clock = SystemClock()
        vehicle = assemble(self._settings, clock)
        twin = Cms50Twin()
        twin.put_finger(Finger())
        ports = self._folder / "ports"
        gnss = PtyPort(ports / "gnss", GnssTwin(clock, 30.60, 104.00), clock)
        oximeter = PtyPort(ports / LABEL, twin, clock)
        gnss.attach()
        self.bench: Any = SimpleNamespace(vehicle=vehicle, oximeter=oximeter, gnss=gnss, twin=twin, clock=clock)
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_touchscreen(vehicle),
                lifespan="off",
                log_level="warning",
                ws="websockets-sansio",
                timeout_graceful_shutdown=2,
            )
        )
        serving = asyncio.create_task(self._server._serve([self._listening]))
        await vehicle.start()
        self._ready.set()
        await serving
        await vehicle.stop()
        for port in (gnss, oximeter):
            port.detach()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport=SIZE, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(WITHIN_MS)
    faults: list[str] = []
    opened.on("pageerror", lambda fault: faults.append(str(fault)))
    yield opened
    context.close()
    assert faults == []


def kinds(van: PluggedVan, kind: str) -> list[Any]:
    stored = van.do(lambda bench: bench.vehicle.store.entries(0, 10_000))
    return [entry for entry in map(read_entry, stored) if entry.kind == kind]


def plug_in_and_add(van: PluggedVan, page: Any, title: str) -> None:
    page.get_by_test_id("go-status").click()
    page.get_by_test_id("add-device").click()
    page.locator(".finding .empty").wait_for()
    page.evaluate("window.notReloaded = true")
    van.do(lambda bench: bench.oximeter.attach())
    page.locator('[data-testid="candidate"][data-confidence="identified"]').wait_for()
    assert page.evaluate("window.notReloaded") is True
    page.get_by_test_id("device-title").fill(title)
    page.get_by_test_id("add-device").click()
    page.get_by_test_id("device-name").wait_for()


def test_plug_in_name_it_done_and_it_is_there_after_a_restart(tmp_path: Path, page: Any) -> None:
    with PluggedVan(tmp_path) as van:
        van.sign_in(page)
        plug_in_and_add(van, page, "车尾血氧")
        assert "车尾血氧" in page.get_by_test_id("device-name").inner_text()
        page.locator('[data-testid="now"][data-link="connected"]').wait_for()
        (entry,) = [entry for entry in kinds(van, "device_added/1") if entry.fields["source"] == "wizard"]
        assert (entry.by, entry.fields["driver"]) == ("zhou.min", "contec_cms50_v7")
        assert any(one["kind"] == "frames" for one in entry.fields["evidence"])
        van.do(lambda bench: bench.oximeter.detach())
    with PluggedVan(tmp_path) as again:
        again.do(lambda bench: bench.oximeter.attach())
        again.sign_in(page)
        page.get_by_test_id("go-status").click()
        page.get_by_test_id("device-oximeter-1").click()
        page.locator('[data-testid="now"][data-link="connected"]').wait_for()
        assert "车尾血氧" in page.get_by_test_id("device-name").inner_text()
        assert "没有" in page.get_by_test_id("tested").inner_text()


def test_rename_remove_and_it_can_be_added_again(tmp_path: Path, page: Any) -> None:
    with PluggedVan(tmp_path) as van:
        van.sign_in(page)
        plug_in_and_add(van, page, "一号")
        page.get_by_test_id("rename").click()
        page.get_by_test_id("new-title").fill("二号")
        page.get_by_test_id("rename-now").click()
        page.locator('[data-testid="device-name"]:has-text("二号")').wait_for()
        page.get_by_test_id("remove").click()
        page.get_by_test_id("remove-now").click()
        page.wait_for_url("**/status")
        assert page.get_by_test_id("device-oximeter-1").count() == 0
        page.get_by_test_id("add-device").click()
        page.locator('[data-testid="candidate"][data-confidence="identified"]').wait_for()
        assert [entry.by for entry in kinds(van, "device_removed/1")] == ["zhou.min"]


def test_a_device_is_exchanged_under_its_title(tmp_path: Path, page: Any) -> None:
    with PluggedVan(tmp_path) as van:
        van.sign_in(page)
        plug_in_and_add(van, page, "诊室血氧")
        van.do(lambda bench: bench.oximeter.detach())

        def other(bench: Any) -> None:
            bench.other = PtyPort(tmp_path / "ports" / "oximeter-2", Cms50Twin(), bench.clock)
            bench.other.attach()

        van.do(other)
        page.get_by_test_id("replace").click()
        page.get_by_test_id("replace-by").click()
        page.locator('[data-testid="device-name"]:has-text("oximeter-2")').wait_for()
        assert "诊室血氧" in page.get_by_test_id("device-name").inner_text()
        van.do(lambda bench: bench.other.detach())


def test_a_port_nobody_knows_is_asked_as_what_the_doctor_says(tmp_path: Path, page: Any) -> None:
    with PluggedVan(tmp_path) as van:
        van.sign_in(page)
        page.goto(f"{van.address}/status/devices/add?ports=all")

        def kettle(bench: Any) -> None:
            bench.kettle = PtyPort(tmp_path / "ports" / "kettle", Cms50Twin(), bench.clock)
            bench.kettle.attach()

        van.do(kettle)
        unknown = page.locator('[data-testid="candidate"][data-key$="kettle"]')
        unknown.wait_for()
        assert unknown.get_attribute("data-confidence") == "unknown"
        unknown.get_by_test_id("kind").select_option("contec_cms50_v7")
        unknown.get_by_test_id("try").click()
        page.locator('[data-key$="kettle"][data-confidence="identified"]').wait_for()
        van.do(lambda bench: bench.kettle.detach())


def test_strips_and_calibration_are_noted_warned_of_and_listed(tmp_path: Path, page: Any) -> None:
    with PluggedVan(tmp_path) as van:
        van.sign_in(page)
        page.goto(f"{van.address}/status/devices/glucose-1")
        page.get_by_test_id("note-strips").click()
        page.locator('dialog[open] [data-testid="lot"]').fill("L-2041")
        page.locator('dialog[open] [data-testid="due-on"]').fill("2024-01-31")
        page.locator('dialog[open] [data-testid="care-now"]').click()
        page.locator('[data-testid="care-strips"][data-care="over"]').wait_for()
        assert "L-2041" in page.get_by_test_id("care-strips").inner_text()
        page.get_by_test_id("go-status").click()
        assert "试纸已过期" in page.get_by_test_id("fault-strips_over").inner_text()
        with page.expect_download() as waiting:
            page.get_by_test_id("device-list").click()
        sheet = openpyxl.load_workbook(io.BytesIO(Path(waiting.value.path()).read_bytes())).active
        rows = {row[1]: row for row in sheet.iter_rows(min_row=2, values_only=True)}
        assert set(rows) == {"gnss-1", "glucose-1"}
        assert {"L-2041", "2024-01-31"} <= set(rows["glucose-1"])


def test_a_driver_sees_the_device_and_not_what_it_measured(tmp_path: Path, page: Any) -> None:
    with PluggedVan(tmp_path) as van:

        def measured(bench: Any) -> None:
            now = bench.clock.now()
            value = Glucose(6.4, sequence=1, device_said_at="2026-11-22T08:00:00")
            bench.vehicle.feed.publish(Stamped("glucose-1", "bluetooth_glucose", now, bench.clock.monotonic_s(), value))

        van.do(measured)
        van.wait(lambda bench: bench.vehicle.commits.settle())
        for person, seen in (("zhou.min", 1), ("zhao.hai", 0)):
            van.sign_in(page, person)
            page.goto(f"{van.address}/status/devices/glucose-1")
            page.get_by_test_id("now").wait_for()
            assert page.get_by_test_id("last-value").count() == seen
            page.get_by_test_id("lock").click()


@pytest.mark.long
def test_the_pages_are_clean_in_both_languages_by_day_and_night(tmp_path: Path, page: Any, complaints: Any) -> None:
    with PluggedVan(tmp_path) as van:
        van.sign_in(page)
        plug_in_and_add(van, page, "2-oximeter")
        oximeter = page.url
        for look in LOOKS:
            page.goto(f"{van.address}/status?lang={look[0]}&theme={look[1]}")
            assert complaints(page) == [], look
            page.get_by_test_id("add-device").click()
            page.locator(".finding").wait_for()
            assert complaints(page) == [], look
            page.goto(oximeter)
            page.locator('[data-testid="now"][data-link="connected"]').wait_for()
            assert complaints(page) == [], look
            page.goto(f"{van.address}/status/devices/glucose-1")
            assert complaints(page) == [], look


def test_an_analyser_is_added_by_what_is_typed_into_it(tmp_path: Path, page: Any) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = other.getsockname()[1]
        with PluggedVan(tmp_path) as van:
            van.sign_in(page)
            page.goto(f"{van.address}/status/devices/add")
            page.get_by_test_id("add-analyser").click()
            page.get_by_test_id("analyser-kind").select_option("hl7_analyser")
            page.get_by_test_id("analyser-address").select_option("127.0.0.1")
            offered = int(page.get_by_test_id("analyser-port").input_value())
            page.get_by_test_id("analyser-port").fill(str(busy))
            page.get_by_test_id("add-analyser").click()
            page.get_by_test_id("flash").wait_for()
            assert page.url.endswith("/add/analyser")
            page.get_by_test_id("analyser-kind").select_option("hl7_analyser")
            page.get_by_test_id("analyser-address").select_option("127.0.0.1")
            page.get_by_test_id("add-analyser").click()
            page.get_by_test_id("device-name").wait_for()
            (added,) = [one for one in kinds(van, "device_added/1") if one.fields["driver"] == "hl7_analyser"]
            assert (added.fields["link"], added.fields["place"]) == ("listen", f"127.0.0.1:{offered}")
            with closing(socket.create_connection(("127.0.0.1", offered), timeout=WITHIN_MS / 1000)):
                page.goto(f"{van.address}/status/devices/add/analyser")
                assert int(page.get_by_test_id("analyser-port").input_value()) == offered + 1
