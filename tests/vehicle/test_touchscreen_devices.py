"""How devices stand on the screens, and why a visit's clock does not run yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from touch_bench import DEVICES, PIN, Bench

from devices import catalog
from devices.clock import CHINA_TIME, SimulatedClock
from devices.readings import BloodPressure, DeviceClock, DeviceState, Glucose, Link, Position, Sensor
from vehicle.health import condition_of
from vehicle.touchscreen.app import create_touchscreen

VILLAGE = "510199201201"
INSIDE, OUTSIDE = (30.60, 104.00), (30.70, 104.20)


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    yield made
    await made.vehicle.stop()


async def page(bench: Bench, path: str) -> str:
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van") as caller:
        await caller.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        return (await caller.get(path)).text


@pytest.mark.parametrize(
    ("state", "when_used", "condition"),
    [
        (DeviceState(Link.ABSENT), True, "standby"),
        (DeviceState(Link.LOST), True, "standby"),
        (DeviceState(Link.ABSENT, fault="bluetooth_off"), True, "missing"),
        (DeviceState(Link.CONNECTED, Sensor.ERROR, fault="glucose_not_measured"), True, "missing"),
        (DeviceState(Link.CONNECTED, Sensor.OK), True, "on"),
        (DeviceState(Link.CONNECTING), True, "busy"),
        (DeviceState(Link.ABSENT), False, "missing"),
        (DeviceState(Link.LOST), False, "missing"),
        (DeviceState(Link.CONNECTED, Sensor.LEAD_OFF, ("V3",)), False, "busy"),
        (DeviceState(Link.CONNECTED, Sensor.ERROR, fault="card_unreadable"), False, "on"),
    ],
)
def test_a_meter_asleep_is_ready_a_wire_without_device_is_not(
    state: DeviceState, when_used: bool, condition: str
) -> None:
    assert condition_of(state, when_used) == condition


@pytest.mark.parametrize(
    ("driver", "link", "sleeps"),
    [
        ("bluetooth_glucose", "bluetooth", True),
        ("sinocare_meter", "serial", True),  # speaks once, when used
        ("creative_oximeter", "bluetooth", True),  # a stream, on a battery, over the air
        ("creative_pc300", "bluetooth", True),
        ("creative_pc300", "serial", False),
        ("contec_8000g", "serial", False),
    ],
)
def test_what_runs_on_a_battery_over_the_air_is_not_missed_while_nobody_uses_it(
    driver: str, link: str, sleeps: bool
) -> None:
    assert catalog.about(driver).speaks_when_used(link) is sleeps


async def test_status_counts_meters_asleep_and_says_when_each_was_heard(bench: Bench, clock: SimulatedClock) -> None:
    bench.all_connected()
    heard = clock.now()
    for name, _, link in DEVICES:
        if link == "bluetooth":
            clock.advance(60)
            bench.publish(name, DeviceState(Link.ABSENT, battery_percent=82))
    rows = {row["name"]: row for row in bench.vehicle.health.status("zh")["devices"]}
    assert [row["ready"] for row in rows.values()] == [True] * 6
    assert (rows["cuff-1"]["condition"], rows["cuff-1"]["battery"]) == ("standby", 82)
    assert rows["cuff-1"]["last_at"] == heard.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    text = await page(bench, "/status")
    assert text.count("待命，用时自动连上") == 2
    assert "6/6" in text


async def test_before_a_position_is_believed_today_says_how_long_it_takes(bench: Bench, clock: SimulatedClock) -> None:
    await bench.vehicle.visits.start(VILLAGE, ["zhou.min"], "zhou.min")
    assert "没有定位" in await page(bench, "/today")
    bench.stand_at(OUTSIDE)
    assert "车不在这个村里" in await page(bench, "/today")
    clock.advance(1200)  # the way there
    for second in range(60):
        clock.advance(1)
        bench.publish("gnss-1", Position(*INSIDE, 3.0, 12, 0.0, clock.now()))
        if second == 30:
            assert "再等 1 分钟定位确认" in await page(bench, "/today")
    clock.advance(15)
    bench.stand_at(INSIDE)
    assert "定位在村里" in await page(bench, "/today")


def shown(clock: SimulatedClock, ahead: timedelta) -> str:
    return (clock.now().astimezone(CHINA_TIME) + ahead).replace(tzinfo=None, microsecond=0).isoformat()


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (timedelta(minutes=-12), "慢 12 分钟"),
        (timedelta(days=3), "快 3 天"),
        (timedelta(seconds=90), None),
    ],
    ids=["slow", "fast", "right"],
)
async def test_a_device_whose_clock_is_wrong_says_so_and_what_to_do(
    bench: Bench, clock: SimulatedClock, ahead: timedelta, said: str | None
) -> None:
    bench.publish("cuff-1", DeviceClock(shown(clock, ahead)))
    bench.publish("cuff-1", BloodPressure(141.0, 90.0, 107.0, 70.0, device_said_at=shown(clock, ahead)))
    await bench.vehicle.commits.settle()
    text = await page(bench, "/status/devices/cuff-1")
    assert ("仪器的钟" in text) is (said is not None)
    if said is not None:
        assert said in text
        assert "set_clock = true" in text
        assert f"仪器显示 {shown(clock, ahead).replace('T', ' ')}" in text


async def test_what_was_known_of_a_clock_outlives_a_restart_and_a_meter_that_cannot_be_set_is_set_by_hand(
    bench: Bench, clock: SimulatedClock, tmp_path: Path
) -> None:
    slow = shown(clock, timedelta(hours=-5))
    bench.publish("glucose-1", DeviceClock(slow))
    bench.publish("glucose-1", Glucose(5.8, sequence=1, device_said_at=slow))
    await bench.vehicle.commits.settle()
    await bench.vehicle.stop()
    after = Bench(tmp_path, clock)
    text = await page(after, "/status/devices/glucose-1")
    await after.vehicle.stop()
    assert "慢 5 小时" in text
    assert "照说明书在仪器上把时间校准" in text
