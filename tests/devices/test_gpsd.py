"""GNSS through gpsd: what its words mean, and a real gpsd that is killed, comes back, and owns its port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from device_captures import SHARED, needs_shared

from devices.clock import SystemClock
from devices.drivers import gpsd_gnss
from devices.links.tcp_link import TcpLink, split_address
from devices.readings import DeviceState, Event, Link, Position, Sensor, Stamped
from devices.session import DeviceSession, DeviceSettings, open_sessions
from devices.simulators.gnss import GnssTwin
from devices.simulators.gpsd_gnss import GpsdTwin
from devices.simulators.pty_port import PtyPort
from devices.simulators.tcp_port import TcpPort

GPSD = shutil.which("gpsd", path="/usr/sbin:/usr/bin")
needs_gpsd = pytest.mark.skipif(GPSD is None, reason="skipped: no gpsd (Debian package gpsd)")
WITHIN_S = 30.0
HERE = (32.36, 106.82)
FIX = {"class": "TPV", "device": "/dev/a", "mode": 3, "lat": 30.6, "lon": 104.0}


def told(*objects: dict[str, Any]) -> list[Event]:
    """What a fresh driver makes of objects that come a second apart."""
    driver = gpsd_gnss.Driver()
    events = driver.open().events
    for said in objects:
        events = events + driver.feed(json.dumps(said, separators=(",", ":")).encode() + b"\r\n").events
        for _ in range(10):
            events = events + driver.tick(0.1).events
    return events


def positions(events: list[Event]) -> list[Position]:
    return [event for event in events if isinstance(event, Position)]


@pytest.mark.parametrize("mode", [0, 1])
def test_without_a_fix_there_is_no_position_whatever_else_is_said(mode: int) -> None:
    (position,) = positions(told({**FIX, "mode": mode}))
    assert (position.latitude_deg, position.longitude_deg) == (None, None)


@pytest.mark.parametrize("status", [5, 8])
def test_dead_reckoning_and_simulated_fixes_are_none(status: int) -> None:
    assert positions(told({**FIX, "status": status}))[0].latitude_deg is None


@pytest.mark.parametrize(
    "wrong", [{"lat": "30.6"}, {"lat": 91}, {"lon": float("nan")}, {"lat": None}, {"lat": True}], ids=str
)
def test_what_is_no_number_is_no_position(wrong: dict[str, Any]) -> None:
    assert positions(told({**FIX, **wrong}))[0].latitude_deg is None


def test_two_dimensions_are_a_fix_and_time_may_be_missing() -> None:
    (position,) = positions(told({**FIX, "mode": 2}))
    assert (position.latitude_deg, position.gnss_at, position.accuracy_m) == (30.6, None, None)


def test_time_is_utc_and_one_without_zone_is_none() -> None:
    told_at = positions(told({**FIX, "time": "2026-11-22T01:02:03.500Z"}, {**FIX, "time": "2026-11-22T01:02:04"}))
    assert [position.gnss_at for position in told_at] == [datetime(2026, 11, 22, 1, 2, 3, 500000, UTC), None]


def test_accuracy_is_gst_then_hdop_then_eph() -> None:
    of_a = {"device": "/dev/a"}
    eph = {**FIX, "eph": 15.2}
    sky = {"class": "SKY", **of_a, "hdop": 0.8, "satellites": [{"used": True}, {"used": False}, {"used": True}]}
    gst = {"class": "GST", **of_a, "lat": 3.0, "lon": 4.0}
    found = positions(told(eph, sky, eph, gst, eph))
    assert [(position.accuracy_m, position.satellites) for position in found] == [(15.2, 0), (4.0, 2), (5.0, 2)]


def test_of_several_receivers_one_with_a_fix_is_followed() -> None:
    other = {**FIX, "device": "/dev/b", "lat": 31.0}
    lost = {**FIX, "mode": 1}
    assert [fix.latitude_deg for fix in positions(told(lost, other, FIX, other, FIX))] == [None, 31.0, 31.0]


def test_a_receiver_that_falls_silent_loses_its_fix_and_another_takes_over() -> None:
    driver = gpsd_gnss.Driver()
    driver.open()
    driver.feed(json.dumps(FIX, separators=(",", ":")).encode() + b"\n")
    silent = [event for _ in range(51) for event in driver.tick(0.1).events]
    assert [type(event) for event in silent] == [DeviceState, Position]
    other = {**FIX, "device": "/dev/b", "lat": 31.0}
    (position,) = positions(driver.feed(json.dumps(other, separators=(",", ":")).encode() + b"\n").events)
    assert position.latitude_deg == 31.0


def test_ten_reports_a_second_are_one_position() -> None:
    driver = gpsd_gnss.Driver()
    driver.open()
    line = json.dumps(FIX, separators=(",", ":")).encode() + b"\n"
    events = [event for _ in range(30) for event in [*driver.feed(line).events, *driver.tick(0.1).events]]
    assert len(positions(events)) == 3


@needs_shared
@pytest.mark.parametrize("name", ["ait250", "bn-9015", "bt451", "com-1289"])
def test_every_fix_of_gpsds_own_regression_files_is_ours(name: str) -> None:
    reports = (SHARED / "data" / "gnss" / f"{name}.log.chk").read_text(encoding="latin-1").splitlines()
    said = [json.loads(line) for line in reports if line.startswith('{"class":"')]
    fixes = {(one["lat"], one["lon"]) for one in said if one["class"] == "TPV" and one["mode"] >= 2 and "lat" in one}
    ours = {(fix.latitude_deg, fix.longitude_deg) for fix in positions(told(*said)) if fix.latitude_deg is not None}
    assert len(ours) > 5
    assert ours <= fixes


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("localhost", ("localhost", None)),
        ("10.0.0.1:2947", ("10.0.0.1", 2947)),
        ("[::1]:5", ("::1", 5)),
        ("::1", ("::1", None)),
        ("[::1]", ("::1", None)),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(address: str, parts: tuple[str, int | None]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["", ":5", "a:0", "a:x", "a:99999", "192.168..10", "a" * 64 + ".local:5"])
def test_what_is_no_address_is_refused_with_what_to_write(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        DeviceSettings(name="gnss-1", driver="gpsd_gnss", link="tcp", address=address)


class Heard:
    """What a session published, and waiting for it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def __call__(self, stamped: Stamped) -> None:
        self.events.append(stamped.event)
        self._news.set()

    async def until(self, wanted: Callable[[Event], bool]) -> Event:
        """The first event from now on that is wanted."""
        seen = len(self.events)
        async with asyncio.timeout(WITHIN_S):
            while True:
                for event in self.events[seen:]:
                    if wanted(event):
                        return event
                seen = len(self.events)
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def attended(address: str) -> Any:
    heard = Heard()
    settings = DeviceSettings(name="gnss-1", driver="gpsd_gnss", link="tcp", address=address)
    (session,) = open_sessions([settings], heard, SystemClock(), None)
    running = asyncio.create_task(session.run())
    try:
        yield session, heard
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def is_fix(event: Event) -> bool:
    return isinstance(event, Position) and event.latitude_deg is not None


def is_link(link: Link) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, DeviceState) and event.link is link


async def test_the_twin_is_met_over_tcp_and_may_hang_up_and_come_back() -> None:
    twin = TcpPort(GpsdTwin(SystemClock(), GnssTwin(SystemClock(), *HERE)), SystemClock())
    port = await twin.open()
    async with attended(f"127.0.0.1:{port}") as (session, heard):
        assert is_fix(await heard.until(is_fix))
        assert session.identity.firmware == "3.22"
        await twin.close()
        await heard.until(lambda event: isinstance(event, Position) and event.latitude_deg is None)
        await heard.until(is_link(Link.ABSENT))
        assert await twin.open(port) == port
        await heard.until(is_fix)
        await twin.close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gpsd(port: int, *receivers: Path) -> Iterator[subprocess.Popen[bytes]]:
    assert GPSD is not None
    real = [os.path.realpath(receiver) for receiver in receivers]
    process = subprocess.Popen([GPSD, "-N", "-n", "-S", str(port), *real], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(WITHIN_S)


@needs_gpsd
async def test_a_real_gpsd_that_is_killed_and_started_again(tmp_path: Path, free_port: int) -> None:
    receiver = PtyPort(tmp_path / "gnss", GnssTwin(SystemClock(), *HERE), SystemClock())
    receiver.attach()
    async with attended(f"127.0.0.1:{free_port}") as (session, heard):
        with gpsd(free_port, receiver.path):
            fix = await heard.until(is_fix)
            assert isinstance(fix, Position)
            assert abs((fix.latitude_deg or 0) - HERE[0]) < 1e-3
            assert session.identity.vendor == "gpsd"
        await heard.until(lambda event: isinstance(event, Position) and event.latitude_deg is None)
        await heard.until(is_link(Link.ABSENT))
        with gpsd(free_port, receiver.path):
            await heard.until(is_fix)
            assert session.state.sensor is Sensor.OK
    receiver.detach()


async def test_nobody_at_the_address_is_an_absent_device(free_port: int) -> None:
    async with attended(f"127.0.0.1:{free_port}") as (session, heard):
        await heard.until(is_link(Link.ABSENT))
        assert isinstance(session, DeviceSession)
        assert not any(is_fix(event) for event in heard.events)


async def test_a_connection_is_given_back() -> None:
    twin = TcpPort(GpsdTwin(SystemClock(), GnssTwin(SystemClock(), *HERE)), SystemClock())
    port = await twin.open()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        link = TcpLink(f"127.0.0.1:{port}")
        await link.open(gpsd_gnss.Driver.about.line)
        await link.receive()
        await link.close()
        await link.close()
    await twin.close()
    assert len(os.listdir("/proc/self/fd")) < before + 10


class Unhurried(SystemClock):
    """Notes how long it was asked to wait, and does not."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 2))
        await asyncio.sleep(0)


@pytest.mark.parametrize("greeting", [b"", b'{"class":"VERSION","release":"3.22"}\r\n'], ids=["mute", "greets"])
async def test_who_hangs_up_at_once_is_called_again_after_growing_pauses(greeting: bytes) -> None:
    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()

    clock = Unhurried()
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = DeviceSettings(name="gnss-1", driver="gpsd_gnss", link="tcp", address=address)
        driver = gpsd_gnss.Driver()
        session = DeviceSession(settings, driver, TcpLink(address), lambda _: None, clock, random_unit=lambda: 1.0)
        running = asyncio.create_task(session.run())
        async with asyncio.timeout(WITHIN_S):
            while len(clock.pauses) < 7:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert clock.pauses[:7] == [0.2, 0.32, 0.51, 0.82, 1.31, 2.0, 2.0]
