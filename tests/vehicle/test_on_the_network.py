"""The van announces itself and sees devices; the media process and the kiosk are watched from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from devices.clock import SimulatedClock, SystemClock
from tests.vehicle.conftest import MORNING
from vehicle import screen
from vehicle.announce import SERVICE, Announcer, NetworkDevice
from vehicle.consultation_process import ConsultationProcess
from vehicle.settings import VehicleSettings

VAN = f"van-test-{os.getpid()}"
"""Its own name: another van may be announcing on this machine."""
IDENTITY = {"id": VAN, "plate": "川A·演07", "origin": "van-07.example", "county_name": "青峪县"}


# announcing -----------------------------------------------------------------------------------------------------------


async def test_van_and_devices_find_each_other_on_the_loopback() -> None:
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    announcer = Announcer(VehicleSettings.model_validate({"vehicle": IDENTITY}), port=8400)
    running = asyncio.create_task(announcer.run())
    other = AsyncZeroconf(interfaces=["127.0.0.1"])
    try:
        van = AsyncServiceInfo(SERVICE, f"{VAN}.{SERVICE}")
        if not await _until(lambda: van.async_request(other.zeroconf, timeout=500)):
            pytest.skip("skipped: no multicast on the loopback of this machine")
        assert (van.parsed_addresses(), van.port) == (["127.0.0.1"], 8400)
        assert van.decoded_properties["vehicle"] == VAN
        kind = "_dicom._tcp.local."
        device = AsyncServiceInfo(
            kind,
            f"{VAN} ultrasound.{kind}",
            addresses=[socket.inet_aton("127.0.0.1")],
            port=11112,
            server="us-1.local.",
        )
        await (await other.async_register_service(device))
        name = f"{VAN} ultrasound.{kind}"
        assert await _until(lambda: _ready(name in announcer.found))
        assert announcer.found[name] == NetworkDevice(f"{VAN} ultrasound", "dicom", "127.0.0.1", 11112)
        await (await other.async_unregister_service(device))
        assert await _until(lambda: _ready(name not in announcer.found))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await other.async_close()


async def test_an_address_that_this_pc_does_not_have_is_not_announced_and_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", logger="xunzhen")
    settings = {"vehicle": IDENTITY, "touchscreen": {"host": "192.0.2.7"}}
    await Announcer(VehicleSettings.model_validate(settings), port=8400).run()
    assert "announcing_impossible" in caplog.text


async def _until(ask, tries: int = 40) -> bool:
    for _ in range(tries):
        if await ask():
            return True
        await asyncio.sleep(0.25)
    return False


async def _ready(answer: bool) -> bool:
    return answer


# the media process ----------------------------------------------------------------------------------------------------


async def test_the_media_process_is_up_when_its_socket_answers(tmp_path: Path) -> None:
    path = tmp_path / "consultation.sock"
    process = ConsultationProcess(path, SimulatedClock(MORNING))
    await process.look()
    assert not process.up
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
    await process.look()
    assert process.up
    server.close()
    await server.wait_closed()
    await process.look()
    assert not process.up


async def test_a_consultation_stays_live_while_its_process_is_asked_again(tmp_path: Path) -> None:
    """Head and body come apart, as web servers write them; the uplink is not lent to clips meanwhile."""
    path = tmp_path / "consultation.sock"
    process = ConsultationProcess(path, SimulatedClock(MORNING))
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        await writer.drain()
        asked.set()
        await answer.wait()
        writer.write(b'{"viewers": ["specialist-1"]}')
        writer.close()

    server = await asyncio.start_unix_server(slowly, path)
    for _ in range(2):
        looking = asyncio.create_task(process.look())
        await asked.wait()
        before = (process.up, process.live)
        answer.set()
        await looking
        assert (process.up, process.live) == (True, True)
        asked.clear()
        answer.clear()
    assert before == (True, True)
    server.close()
    await server.wait_closed()


# the kiosk ------------------------------------------------------------------------------------------------------------

BROWSER = """
import signal, sys, pathlib
pathlib.Path(sys.argv[1]).write_text("\\n".join(sys.argv[2:]))
signal.pause()
"""


async def page_server() -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


async def test_the_kiosk_opens_once_the_page_answers_and_ends_on_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    started = tmp_path / "started"
    command = [sys.executable, "-c", BROWSER, str(started)]
    server = await page_server()
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        shown = asyncio.create_task(screen.show(url, command, tmp_path / "profile", SystemClock()))
        assert await _until(lambda: _ready(started.exists() and started.read_text() != ""))
        switches = started.read_text().splitlines()
        assert switches[-1] == url
        assert "--kiosk" in switches
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(shown, 20) == 0
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_when_the_browser_ends_the_kiosk_ends_with_its_code(tmp_path: Path) -> None:
    server = await page_server()
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        command = [sys.executable, "-c", "import sys; sys.exit(7)"]
        assert await asyncio.wait_for(screen.show(url, command, tmp_path, SystemClock()), 20) == 7
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_silent_page_stops_the_heartbeat() -> None:
    clock = SimulatedClock(MORNING)
    page = screen.Page("http://127.0.0.1:9/", clock)
    assert page.alive
    clock.advance(screen.SILENT_AFTER_S + 1)
    assert not await page.answers()
    assert not page.alive


async def test_a_page_that_ends_in_the_middle_of_its_answer_is_asked_again() -> None:
    """As when the vehicle process is restarted: the kiosk waits for it."""

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nhalf of")
        writer.close()

    async with await asyncio.start_server(break_off, "127.0.0.1", 0) as server:
        page = screen.Page(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", SimulatedClock(MORNING))
        assert not await page.answers()
