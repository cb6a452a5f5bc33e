"""What a bump in the road does: killed processes, pulled plugs, no network. Nothing acknowledged is lost or doubled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.whole.people import YANG
from tests.whole.relay import Relay
from tests.whole.stage import Demo, free_ports, start_demo, stop_demo, wait_until

pytestmark = pytest.mark.whole
DEVICES = {
    "ecg": "ecg-1",
    "oximeter": "oximeter-1",
    "card": "card-1",
    "gnss": "gnss-1",
    "blood_pressure": "cuff-1",
    "glucose": "glucose-1",
}


@pytest.fixture(scope="module")
def uplink() -> Iterator[tuple[Relay, Demo]]:
    touchscreen, county = free_ports(2)
    relay = Relay(county)
    options = ("--history-days", "2", "--no-morning", "--uplink-port", str(relay.port))
    running = start_demo(*options, ports=(touchscreen, county))
    yield relay, running
    stop_demo(running)
    relay.close()


@pytest.fixture(scope="module")
def van(uplink: tuple[Relay, Demo]) -> Demo:
    """The demo with a visit open and somebody being served."""
    _, demo = uplink
    with touchscreen(demo) as page:
        village = wait_until("the van knows where it stands", lambda: proposed(page))
        assert page.post("visit/start", data={"village": village, "crew": ["wu.qian"]}).status_code < 400
    demo.simulate("card", **YANG)
    wait_until("somebody is served", lambda: demo.van("select 1 from encounters where closed_at is null"))
    demo.simulate("card_off")
    return demo


@contextmanager
def touchscreen(demo: Demo) -> Iterator[httpx.Client]:
    """The doctor's page without a browser: a signed-in client."""
    with httpx.Client(base_url=demo.touchscreen, timeout=30, follow_redirects=True) as client:
        wait_until("sign-in works", lambda: client.get("sign-in").status_code == 200)
        answer = client.post("sign-in", data={"person": "zhou.min", "pin": "2580"})
        assert answer.status_code == 200, answer.text
        yield client


def proposed(page: httpx.Client) -> str | None:
    text = page.get("today").text
    return "999901101201" if 'data-testid="proposed"' in text else None


def status(demo: Demo) -> dict[str, Any]:
    transport = httpx.HTTPTransport(uds=str(demo.folder / "run" / "vehicle.sock"))
    with httpx.Client(transport=transport, base_url="http://vehicle", timeout=10) as local:
        try:
            return dict(local.get("/api/status").json())
        except httpx.TransportError:
            return {}


def link_of(demo: Demo, device: str) -> str:
    rows = status(demo).get("devices", [])
    return str(next((row["link"] for row in rows if row["name"] == device), "?"))


def measure(demo: Demo, systolic_mmhg: int) -> None:
    """One blood pressure; returns when the van says it is stored."""
    before = stored_pressures(demo).count(systolic_mmhg)
    demo.simulate("blood_pressure", systolic_mmhg=systolic_mmhg, diastolic_mmhg=80, pulse_bpm=70)
    wait_until(f"{systolic_mmhg} mmHg is stored", lambda: stored_pressures(demo).count(systolic_mmhg) > before, 40)


def stored_pressures(demo: Demo) -> list[int]:
    rows = demo.van("select json_extract(values_json, '$.systolic_mmhg') from readings where type = 'blood_pressure'")
    return [int(value) for (value,) in rows]


def stored_glucose(demo: Demo) -> list[int]:
    rows = demo.van("select json_extract(values_json, '$.glucose_mmol_l_e2') from readings where type = 'glucose'")
    return [int(value) for (value,) in rows]


def waiting(demo: Demo) -> int | None:
    found = status(demo).get("waiting")
    return None if found is None else int(found["entries"]) + int(found["recordings"])


def assert_county_has_it_all_once(demo: Demo) -> None:
    wait_until("nothing waits any more", lambda: waiting(demo) == 0, 90)
    mine = demo.van("select n, leaf_hash, body from entries order by n")
    theirs = demo.county_tables("select n, leaf, body from entries where origin = 'van-07.qingyu.example' order by n")
    assert [number for number, *_ in theirs] == list(range(len(theirs)))
    assert theirs[: len(mine)] == mine[: len(theirs)]
    assert len(theirs) >= len(mine)


@pytest.mark.parametrize("device", ["ecg", "oximeter", "card", "gnss"])
def test_serial_devices_come_back_by_themselves(van: Demo, device: str) -> None:
    name = DEVICES[device]
    wait_until(f"{name} is there", lambda: link_of(van, name) == "connected")
    van.simulate("unplug", device=device)
    wait_until(f"{name} is gone", lambda: link_of(van, name) in ("lost", "absent"))
    van.simulate("plug", device=device)
    wait_until(f"{name} is back", lambda: link_of(van, name) == "connected")


def test_bluetooth_meters_come_back_by_themselves(van: Demo) -> None:
    measure(van, 131)
    van.simulate("unplug", device="blood_pressure")
    van.simulate("plug", device="blood_pressure")
    measure(van, 132)
    van.simulate("unplug", device="glucose")
    van.simulate("plug", device="glucose")
    before = stored_glucose(van).count(770)
    van.simulate("glucose", glucose_mmol_l=7.7)
    wait_until("the glucose value is stored once", lambda: stored_glucose(van).count(770) == before + 1, 40)


def test_network_gone_and_back(uplink: tuple[Relay, Demo], van: Demo) -> None:
    relay, _ = uplink
    relay.cut()
    measure(van, 141)
    wait_until("the van says that records wait", lambda: (waiting(van) or 0) > 0)
    wait_until("the van says that it is offline", lambda: not status(van)["link"]["online"], 60)
    relay.restore()
    assert_county_has_it_all_once(van)


def test_kill_in_the_middle_of_a_recording(van: Demo) -> None:
    before = van.van("select count(*) from recordings where what = 'ecg'")[0][0]
    with touchscreen(van) as page, pytest.raises(httpx.TransportError):
        page.post("ecg/record", timeout=httpx.Timeout(6.5)).raise_for_status()
    old = van.kill("vehicle")
    van.wait_restarted("vehicle", old)
    rows = wait_until(
        "what was recorded is kept, marked as interrupted",
        lambda: van.van(
            "select facts_json, duration_ms, sha256 from recordings where what = 'ecg' order by started_at"
        )[before:],
    )
    facts, duration_ms, _ = rows[-1]
    assert "interrupted" in facts
    assert 4_000 <= duration_ms <= 10_000
    assert_county_has_it_all_once(van)


def test_kills_during_upload(uplink: tuple[Relay, Demo], van: Demo) -> None:
    relay, _ = uplink
    for number, module in enumerate(["vehicle", "telemedicine.exchange"]):
        before = stored_pressures(van).count(150 + number)
        relay.cut()
        measure(van, 150 + number)
        relay.restore()
        time.sleep(0.05 * number)  # another moment of the upload each time
        old = van.kill(module)
        van.wait_restarted(module, old)
        wait_until("the van answers again", lambda: status(van))
        assert stored_pressures(van).count(150 + number) == before + 1
    assert_county_has_it_all_once(van)


def test_running_it_again_goes_on_where_it_was(uplink: tuple[Relay, Demo], van: Demo) -> None:
    size = van.van("select max(n) from entries")[0][0]
    visit = van.van("select visit from visits where closed_at is null")
    relay, _ = uplink
    stop_demo(van, keep=True)
    ports = (int(van.touchscreen.rsplit(":", 1)[1].strip("/")), int(van.county.rsplit(":", 1)[1].strip("/")))
    again = start_demo("--no-morning", "--uplink-port", str(relay.port), folder=van.folder, ports=ports)
    try:
        assert again.van("select max(n) from entries")[0][0] > size
        assert again.van("select visit from visits where closed_at is null") == visit
        assert_county_has_it_all_once(again)
    finally:
        van.process = again.process
