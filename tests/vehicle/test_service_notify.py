"""What the service manager and the log see of a process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.service import READY, JsonLines, beat, notify, watchdog_interval_s
from tests.vehicle.conftest import MORNING


def listener(path: str) -> socket.socket:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(path)
    heard.settimeout(5)
    return heard


def test_states_reach_the_manager(tmp_path: Path) -> None:
    with listener(str(tmp_path / "notify")) as heard:
        assert notify(READY, {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert heard.recv(100) == b"READY=1"


def test_abstract_sockets_work_too() -> None:
    name = f"xunzhen-test-{os.getpid()}"
    with listener("\0" + name) as heard:
        assert notify("STATUS=x", {"NOTIFY_SOCKET": "@" + name})
        assert heard.recv(100) == b"STATUS=x"


def test_a_manager_that_reads_nothing_holds_up_nobody(tmp_path: Path) -> None:
    with listener(str(tmp_path / "notify")):
        told = [notify(READY, {"NOTIFY_SOCKET": str(tmp_path / "notify")}) for _ in range(10_000)]
    assert told[0]
    assert not told[-1]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    assert not notify(READY, environment)


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [({"WATCHDOG_USEC": "30000000"}, 15.0), ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
     ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None), ({"WATCHDOG_USEC": "x"}, None), ({}, None)],
)  # fmt: skip
def test_the_watchdog_is_beaten_at_half_its_time(environment: dict[str, str], interval_s: float | None) -> None:
    assert watchdog_interval_s(environment) == interval_s


async def test_a_process_that_is_not_well_stops_beating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listener(str(tmp_path / "notify")) as heard:
        heard.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        well = [True]
        heart = asyncio.create_task(beat(lambda: well[0], SimulatedClock(MORNING)))
        loop = asyncio.get_running_loop()
        assert await asyncio.wait_for(loop.sock_recv(heard, 100), 5) == b"WATCHDOG=1"
        well[0] = False
        await asyncio.sleep(0)
        while True:
            try:
                heard.recv(100)
            except BlockingIOError:
                break
        for _ in range(20):
            await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            heard.recv(100)
        heart.cancel()


def line(message: str, name: str = "xunzhen") -> dict:
    record = logging.LogRecord(name, logging.INFO, "", 0, message, None, None)
    return json.loads(JsonLines("vehicle").format(record))


def test_events_become_fields_and_everything_is_one_json_object_a_line() -> None:
    event = line('{"event": "device_attached", "device": "ecg-1"}')
    assert (event["event"], event["device"], event["service"]) == ("device_attached", "ecg-1", "vehicle")
    assert event["at"].endswith("Z")
    assert line("two\nlines", "asyncio")["message"] == "two\nlines"
    assert line("not JSON")["message"] == "not JSON"
    try:
        raise ValueError("broken")
    except ValueError as fault:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "m", None, (ValueError, fault, fault.__traceback__))
    text = JsonLines("vehicle").format(record)
    assert "\n" not in text
    assert "ValueError: broken" in json.loads(text)["traceback"]
