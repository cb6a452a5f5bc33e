"""The 08A cuff: its memory as published, user after user, each result once; never mistaken, never erased."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from device_captures import vectors

from devices.clock import SystemClock
from devices.drivers import contec_08a as wire
from devices.links.hid_link import HidLink
from devices.readings import BloodPressure, DeviceState, Event, Sensor, Stamped
from devices.session import DeviceSession, DeviceSettings
from devices.simulators.contec_08a import Contec08aTwin, StoredResult, filled
from devices.simulators.hid_port import HidPort

FIRST = StoredResult(118, 76, 135, 90, datetime.fromisoformat("2026-11-20T08:30:00"))
SECOND = StoredResult(255, 129, 64, 128 + 50, datetime.fromisoformat("2026-11-21T07:05:00"))


def reading(result: StoredResult) -> BloodPressure:
    return BloodPressure(
        result.systolic_mmhg,
        result.diastolic_mmhg,
        result.mean_mmhg,
        result.pulse_bpm,
        device_said_at=result.shown_at.isoformat(),
    )


def talk(driver: wire.Driver, twin: Contec08aTwin, seconds: float = 0.0) -> list[Event]:
    """Driver and twin on one wire: what was asked at first, then for a while."""
    events: list[Event] = []

    def answer(writes: list[Any]) -> None:
        for write in writes:
            told = twin.receive(write.payload)
            for at in range(0, len(told), wire.REPORT_BYTES):
                output = driver.feed(told[at : at + wire.REPORT_BYTES])
                events.extend(output.events)
                answer(output.writes)

    if not twin.asked:
        answer(driver.open().writes)
    for _ in range(round(seconds / 0.1)):
        answer(driver.tick(0.1).writes)
    return events


def pressures(events: list[Event]) -> list[BloodPressure]:
    return [event for event in events if isinstance(event, BloodPressure)]


@pytest.mark.parametrize("vector", vectors("Contec 08A"))
def test_the_question_is_that_of_the_source(vector: dict[str, Any]) -> None:
    assert bytes.fromhex(vector["hex"]) == wire.ARE_YOU_THERE == wire.Driver().open().writes[0].payload


def test_all_three_users_are_read_and_high_values_come_back() -> None:
    twin = Contec08aTwin()
    twin.users[1], twin.users[3] = [FIRST], [SECOND]
    assert pressures(talk(wire.Driver(), twin)) == [reading(FIRST), reading(SECOND)]
    assert twin.asked[2:] == [wire.results_of(user) for user in (1, 2, 3)]


def test_a_result_is_told_once_and_a_new_one_when_it_comes() -> None:
    driver, twin = wire.Driver(), Contec08aTwin()
    twin.users[1] = [FIRST]
    assert pressures(talk(driver, twin, 50)) == [reading(FIRST)]
    twin.users[1] = [FIRST, SECOND]
    assert pressures(talk(driver, twin, 25)) == [reading(SECOND)]
    driver.open()
    twin.asked.clear()
    assert len(pressures(talk(driver, twin))) == 2


def test_a_full_memory_is_read_whole() -> None:
    driver, twin = wire.Driver(), Contec08aTwin()
    for user in wire.USERS:
        twin.users[user] = [
            StoredResult(100 + n, 70, 60 + user, 90, datetime.fromisoformat(f"2026-01-{1 + n % 28:02}T08:{n % 60:02}"))
            for n in range(wire.MOST_RESULTS)
        ]
    assert len(pressures(talk(driver, twin))) == 300
    assert pressures(talk(driver, twin, 60)) == []


def test_another_device_of_the_same_usb_numbers_is_asked_who_it_is_and_nothing_more() -> None:
    driver, twin = wire.Driver(), Contec08aTwin(kind=0x64)
    events = talk(driver, twin, 30)
    assert set(twin.asked) == {wire.ARE_YOU_THERE, wire.WHO_ARE_YOU}
    assert [event.fault for event in events if isinstance(event, DeviceState)] == ["cuff_is_another"]


def test_switched_off_it_says_so_and_is_read_once_it_is_on() -> None:
    driver, twin = wire.Driver(), Contec08aTwin()
    twin.users[2], twin.switched_on = [FIRST], False
    events = talk(driver, twin)
    assert [event.sensor for event in events if isinstance(event, DeviceState)] == [Sensor.OFF]
    twin.switched_on = True
    assert pressures(talk(driver, twin, 25)) == [reading(FIRST)]


def test_an_answer_that_stays_out_is_asked_for_again() -> None:
    driver, twin = wire.Driver(), Contec08aTwin()
    twin.users[1] = [FIRST]
    driver.open()
    driver.feed(twin.receive(wire.WHO_ARE_YOU))  # its question for user 1 is lost
    assert pressures(talk(driver, twin, 5)) == [reading(FIRST)]


@pytest.mark.parametrize(
    "wrong",
    [
        "828094d5c8e997850081818d8980",  # a top bit is missing
        "828094d5c8d097858081818d8091",  # the mean, 80, lies below the diastolic pressure
        "828094d5c8e9978d808180808091",  # month 13
        "828094d580e9978580818d898091",  # pulse 0
        "808094d5c8e9978580818d898091",  # systolic 20
    ],
)
def test_a_result_that_contradicts_itself_is_dropped_and_counted(wrong: str) -> None:
    driver = wire.Driver()
    driver.open()
    for report in ("484102130102", "4a430100", "4641808081828080808080808081", wrong):
        assert not pressures(driver.feed(filled(bytes.fromhex(report))).events)
    assert driver.counters.bad_checksums == 1


async def test_the_memory_comes_through_a_session() -> None:
    twin, told = Contec08aTwin(), asyncio.Queue[Stamped]()
    twin.users[1] = [FIRST]
    port = HidPort(twin, SystemClock())
    port.attach()
    settings = DeviceSettings(name="cuff-1", driver="contec_08a", link="hid", port="/dev/xunzhen/cuff")
    link = HidLink(settings.port, port.open)
    session = DeviceSession(settings, wire.Driver(), link, told.put_nowait, SystemClock())
    running = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(30):
            while not isinstance(event := (await told.get()).event, BloodPressure):
                pass
        assert event == reading(FIRST)
    finally:
        running.cancel()
        await asyncio.wait({running})
        port.detach()
