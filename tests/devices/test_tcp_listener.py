"""A port that analysers call: one peer at a time, a second one refused in words, nothing lost, the port given back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from devices.driver import SerialLine, TcpListener, Write
from devices.links.link import SessionEnded
from devices.links.tcp_listener import ListenBusy, ListenRefused, TcpListenerLink, host_and_port
from devices.session import DeviceSettings

Call = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LINE = TcpListener()


def run(work: object) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work  # type: ignore[misc]

    asyncio.run(bounded())


async def call(port: int, source: str = "127.0.0.1") -> Call:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


@contextlib.asynccontextmanager
async def listening(only_from: str = "") -> AsyncIterator[tuple[TcpListenerLink, asyncio.Task[None], int]]:
    link = TcpListenerLink("analyser-1", "127.0.0.1", 0, only_from)
    await link.listen()
    opening = asyncio.ensure_future(link.open(LINE))
    try:
        yield link, opening, link.bound_port or 0
    finally:
        opening.cancel()
        await link.close()
        await link.close()


def test_bytes_go_both_ways_and_a_hang_up_is_told_after_the_last_of_them() -> None:
    async def story() -> None:
        async with listening() as (link, opening, port):
            reader, writer = await call(port)
            await opening
            assert link.place == "127.0.0.1"
            writer.write(b"\x05")
            assert await link.receive() == ("", b"\x05")
            await link.write(Write(b"\x06"))
            assert await reader.readexactly(1) == b"\x06"
            writer.write(b"\x04")
            writer.close()
            assert await link.receive() == ("", b"\x04")
            with pytest.raises(SessionEnded):
                await link.receive()

    run(story())


def test_a_call_between_two_sessions_is_not_turned_away() -> None:
    async def story() -> None:
        async with listening() as (link, opening, port):
            _, writer = await call(port)
            await opening
            writer.close()
            with pytest.raises(SessionEnded):
                await link.receive()
            await link.close()
            _, writer = await call(port)
            writer.write(b"again")
            await link.open(LINE)
            assert await link.receive() == ("", b"again")
            writer.close()

    run(story())


def test_a_second_machine_is_refused_in_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "xunzhen")

    async def story() -> None:
        async with listening() as (link, opening, port):
            _, first = await call(port)
            await opening
            reader, second = await call(port, "127.0.0.2")
            assert await reader.read() == b"busy: 127.0.0.1 is connected, one device at a time\r\n"
            first.write(b"still here")
            assert await link.receive() == ("", b"still here")
            first.close()
            second.close()

    run(story())
    assert sum("caller_refused" in record.message for record in caplog.records) == 1


def test_the_same_machine_after_a_restart_takes_its_own_place() -> None:
    async def story() -> None:
        async with listening() as (link, opening, port):
            _, first = await call(port)
            await opening
            _, second = await call(port)
            with pytest.raises(SessionEnded):
                await link.receive()
            await link.close()
            await link.open(LINE)
            second.write(b"\x05")
            assert await link.receive() == ("", b"\x05")
            first.close()
            second.close()

    run(story())


def test_a_port_kept_for_one_address_takes_no_other() -> None:
    async def story() -> None:
        async with listening(only_from="127.0.0.3") as (_, opening, port):
            reader, stranger = await call(port, "127.0.0.2")
            assert await reader.read() == b"this port is kept for another address\r\n"
            assert not opening.done()
            _, known = await call(port, "127.0.0.3")
            await opening
            stranger.close()
            known.close()

    run(story())


def test_the_port_is_given_back() -> None:
    async def story() -> None:
        async with listening() as (link, opening, port):
            _, writer = await call(port)
            await opening
            with pytest.raises(ListenBusy):
                await TcpListenerLink("analyser-2", "127.0.0.1", port).open(LINE)
            await link.close()
            with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                pass
            writer.close()

    run(story())


def test_an_address_that_is_not_ours_is_told() -> None:
    async def story() -> None:
        link = TcpListenerLink("analyser-1", "192.0.2.1", 9100)
        with pytest.raises(ListenRefused):
            await link.open(LINE)
        assert link.fault == "listen_refused"
        with pytest.raises(TypeError):
            await link.open(SerialLine(9600))

    run(story())


@pytest.mark.parametrize(
    "text", ["9100", ":9100", "analyser:9100", "192.168.10.1", "192.168.10.1:0", "192.168.10.1:99999"]
)
def test_an_address_without_its_parts_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"192\.168\.10\.1:9100"):
        host_and_port(text)


def test_settings_name_address_and_port() -> None:
    assert host_and_port("[::1]:9100") == ("::1", 9100)
    kept = DeviceSettings(name="lab-1", driver="hl7_analyser", link="listen", port="192.168.10.1:9100")
    assert kept.port == "192.168.10.1:9100"
    with pytest.raises(ValueError, match="listen"):
        DeviceSettings(name="lab-1", driver="hl7_analyser", link="serial", port="/dev/ttyS0")
    with pytest.raises(ValueError, match="write this computer's address"):
        DeviceSettings(name="lab-1", driver="astm_analyser", link="listen", port="9100")
