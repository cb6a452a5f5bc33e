"""A new van on the phone with its county: the code on one screen, typed on the other, both in real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from county_month import PASSWORD, Founded
from page_server import serving
from touch_van import Van, settings_in

from devices.clock import SystemClock
from sync.formats.notes import SeedSigner
from sync.keys.key_statements import KeyChange
from sync.keys.vehicle_key import fingerprint
from vehicle.settings import CountySettings, VehicleSettings

pytestmark = pytest.mark.browser

Complaints = Callable[[Any], list[str]]
WITHIN_MS = 20_000


@dataclass
class Line:
    """Both ends of the phone line."""

    founded: Founded
    county: str
    van: Van

    def asked(self) -> None:
        """The van has asked the county once, as it does by itself every few seconds while the code is shown."""
        self.van.wait(lambda bench: bench.vehicle.enrolment.ask())


def with_county(settings: VehicleSettings, address: str, founded: Founded) -> VehicleSettings:
    county = CountySettings(url=address, key=str(founded.county.verifier_key))
    return settings.model_copy(update={"county": county})


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with ExitStack() as stack:
        founded = Founded(tmp_path / "county", SystemClock())  # type: ignore[arg-type]  # the clock only tells the time
        stack.callback(founded.close)
        address = stack.enter_context(serving(founded.app))
        settings = with_county(settings_in(tmp_path), address, founded)
        van = stack.enter_context(Van(tmp_path, settings=settings))
        yield Line(founded, address, van)


def sign_in_at_county(page: Any, line: Line) -> None:
    page.goto(f"{line.county}/sign-in")
    page.get_by_test_id("account").fill("xu.jing")
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("sign-in").click()
    page.wait_for_selector("main.main")


def digits_on(page: Any) -> str:
    return str(page.get_by_test_id("code").inner_text()).replace("\n", "").replace(" ", "")


def test_the_code_that_the_doctor_reads_enrols_the_van(browser: Any, complaints: Complaints, line: Line) -> None:
    van = browser.new_page(viewport={"width": 1280, "height": 800})
    van.goto(f"{line.van.address}/enrol?lang=zh")
    code = digits_on(van)
    assert len(code) == 8
    assert code.isdecimal()
    line.asked()
    van.get_by_test_id("state-waiting").wait_for(timeout=WITHIN_MS)
    assert complaints(van) == []

    county = browser.new_page(viewport={"width": 1440, "height": 900})
    sign_in_at_county(county, line)
    county.goto(f"{line.county}/county/fleet")
    asking = county.get_by_test_id("asking-van-07")
    key = line.van.do(lambda bench: bench.vehicle.key.verifier_key())
    assert asking.get_by_test_id("asking-fingerprint").inner_text().replace("\n", " ") == fingerprint(key)
    assert van.get_by_test_id("fingerprint").inner_text().split() == fingerprint(key).split()
    wrong = f"{(int(code) + 1) % 10**8:08d}"
    asking.get_by_test_id("code").fill(wrong)
    asking.get_by_test_id("compared").check()
    asking.get_by_test_id("confirm").click()
    county.get_by_test_id("said-problem_wrong").wait_for()
    assert "4" in county.get_by_test_id("said-problem_wrong").inner_text()
    assert complaints(county) == []
    asking.get_by_test_id("code").fill(f"{code[:4]} {code[4:]}")
    asking.get_by_test_id("compared").check()
    asking.get_by_test_id("confirm").click()
    county.get_by_test_id("said-done_enrolled").wait_for()
    assert county.get_by_test_id("vehicle-van-07.qingxi.example").get_attribute("data-state") == "enrolled"
    assert complaints(county) == []

    line.asked()
    van.get_by_test_id("state-enrolled").wait_for(timeout=WITHIN_MS)
    assert van.get_by_test_id("code").count() == 0
    assert complaints(van) == []
    assert line.founded.county.fleet.verifier(key.name) == key


def test_both_pages_are_clean(browser: Any, complaints: Complaints, line: Line) -> None:
    """Day and night, in both languages: the van's page while it waits, the county's with vehicles of every state."""
    van, county = (browser.new_page(viewport={"width": 1280, "height": 800}) for _ in range(2))
    van.goto(f"{line.van.address}/enrol")
    line.asked()
    sign_in_at_county(county, line)
    live_through_keys(line)
    found: dict[str, list[str]] = {}
    for looks in ("lang=zh&theme=day", "lang=zh&theme=night", "lang=en&theme=day", "lang=en&theme=night"):
        van.goto(f"{line.van.address}/enrol?{looks}")
        van.get_by_test_id("state-waiting").wait_for(timeout=WITHIN_MS)
        found[f"van {looks}"] = complaints(van)
        county.goto(f"{line.county}/county/fleet?{looks}")
        county.get_by_test_id("vehicle-van-09.qingyu.example").get_by_test_id("revoke").locator("summary").click()
        found[f"county {looks}"] = complaints(county)
    assert {page: said for page, said in found.items() if said} == {}


def live_through_keys(line: Line) -> None:
    """Vehicles of every state: in service, with a changed key, revoked, and one that goes on from it."""
    fleet = line.founded.county.fleet

    def signer(name: str, seed: bytes) -> SeedSigner:
        return SeedSigner(f"{name}.qingyu.example", seed * 32)

    fleet.enrol("van-09.qingyu.example", str(signer("van-09", b"9").verifier_key()), plate="川A·演09")
    fleet.rotate(KeyChange.signed(signer("van-09", b"9"), signer("van-09", b"n"), 1200))
    fleet.enrol("van-08.qingyu.example", str(signer("van-08", b"8").verifier_key()), plate="川A·演08")
    fleet.enrol(
        "van-08-2.qingyu.example",
        str(signer("van-08-2", b"2").verifier_key()),
        "van-08",
        "川A·演08",
        succeeds="van-08.qingyu.example",
    )
