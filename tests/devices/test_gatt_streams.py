"""Makers' own protocols over GATT: which device is taken, and that its bytes go both ways whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bluetooth_bench import PATIENCE_S, Bench, bluetooth_bench, happens, needs_dbus_daemon

from devices.driver import GattUse, Match, Write, full_uuid
from devices.simulators.stream_peripheral import StreamPeripheral

UART = GattUse(
    service="6E400001-B5A3-F393-E0A9-E50E24DCCA9E",
    subscribe=("6E400003-B5A3-F393-E0A9-E50E24DCCA9E",),
    write="6E400002-B5A3-F393-E0A9-E50E24DCCA9E",
    names=("PC-60F",),
    shared_service=True,
    bond=False,
)
BOTH_WAYS = GattUse(service="FFB0", subscribe=("FFB2",), write="FFB2", bond=False)
MODULE = GattUse(service="FFE0", subscribe=("FFE1",), write="FFE2", bond=False)
THERMOMETER = GattUse(service="FFE0", subscribe=("FFE1",), write="FFE2", names=("AOJ-20",), bond=False)
UNKNOWN = GattUse(service="", subscribe=(), names=("SN-",), bond=False)

ADDRESS = "F0:F1:F2:00:00:07"


class Talker:
    """Sends a numbered line at each step and repeats what it hears."""

    streaming = True

    def __init__(self) -> None:
        self.sent = b""

    def power_on(self) -> None:
        self.sent = b""

    def receive(self, chunk: bytes) -> bytes:
        return b"<" + chunk + b">"

    def advance(self, elapsed_s: float) -> bytes:
        line = b"line %d of a frame longer than one notification\n" % self.sent.count(b"\n")
        self.sent += line
        return line


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bluetooth_bench(tmp_path, monkeypatch) as bench:
        yield bench


async def put(bench: Bench, name: str, use: GattUse, address: str = ADDRESS, **more: Any) -> StreamPeripheral:
    return await bench.put(StreamPeripheral(bench.meters.radio, bench.hub.clock, Talker(), name, address, use, **more))


async def heard(link: Any, until: bytes) -> list[tuple[str, bytes]]:
    """What comes, until its bytes hold ``until``."""
    pieces: list[tuple[str, bytes]] = []
    async with asyncio.timeout(PATIENCE_S):
        while until not in b"".join(piece for _, piece in pieces):
            pieces.append(await link.receive())
    return pieces


def joined(pieces: list[tuple[str, bytes]]) -> bytes:
    return b"".join(piece for _, piece in pieces)


@pytest.mark.parametrize(
    ("use", "name", "services", "match"),
    [
        (MODULE, "anything", ["FFE0"], Match.SERVICE),
        (MODULE, "anything", ["180A"], Match.NOT),
        (THERMOMETER, "AOJ-20A", ["FFE0"], Match.SERVICE_AND_NAME),
        (THERMOMETER, "aoj-20a", [], Match.NAME),
        (THERMOMETER, "", ["FFE0"], Match.SERVICE),
        (UART, "PC-60F_SN123456", [UART.service], Match.SERVICE_AND_NAME),
        (UART, "Somebody's lamp", [UART.service], Match.NOT),
        (UART, "", [UART.service], Match.NOT),
        (UNKNOWN, "SN-60", [], Match.NAME),
        (UNKNOWN, "60-SN-", ["FFE0"], Match.NOT),
    ],
    ids=range(10),
)
def test_what_an_advertisement_says(use: GattUse, name: str, services: list[str], match: Match) -> None:
    assert use.match(name, [full_uuid(service) for service in services]) is match


@needs_dbus_daemon
@pytest.mark.parametrize(("mtu", "most"), [(23, 20), (247, 244)])
async def test_the_bytes_arrive_whole_in_pieces_of_the_mtu(bench: Bench, mtu: int, most: int) -> None:
    bench.meters.bluez.mtu = mtu
    await put(bench, "PC-60F_1", UART)
    link = bench.hub.link("oximeter-1")
    await link.open(UART)
    pieces = await heard(link, b"line 9 ")
    assert {channel for channel, _ in pieces} == set(UART.subscribe)
    assert max(len(piece) for _, piece in pieces) <= most
    lines = joined(pieces).split(b"\n")[1:-1]  # the first may have begun before we listened
    first = int(lines[0].split()[1])
    assert lines == [b"line %d of a frame longer than one notification" % (first + i) for i in range(len(lines))]
    await link.close()


@needs_dbus_daemon
@pytest.mark.parametrize("with_response", [True, False])
@pytest.mark.parametrize("use", [UART, BOTH_WAYS], ids=["two characteristics", "one for both ways"])
async def test_what_is_written_arrives(bench: Bench, use: GattUse, with_response: bool) -> None:
    device = await put(bench, "PC-60F_1", use, with_response=with_response)
    link = bench.hub.link("oximeter-1")
    await link.open(use)
    await link.write(Write(b"\xaa\x55"))
    await heard(link, b"<\xaa\x55>")
    assert device.written == [b"\xaa\x55"]
    await link.close()


@needs_dbus_daemon
async def test_a_device_that_advertises_only_its_name_is_found(bench: Bench) -> None:
    await put(bench, "PC-60F_1", UART, tells_service=False)
    link = bench.hub.link("oximeter-1")
    await link.open(UART)
    assert link.place == ADDRESS
    await link.close()


@needs_dbus_daemon
async def test_a_shared_service_without_the_name_is_left_alone(bench: Bench) -> None:
    lamp = await put(bench, "Lamp", UART, "F0:F1:F2:00:00:08")
    await put(bench, "PC-60F_1", UART)
    link = bench.hub.link("oximeter-1")
    await link.open(UART)
    assert link.place == ADDRESS
    assert lamp.connections == 0
    await link.close()


@needs_dbus_daemon
async def test_the_better_match_gets_the_device_whoever_waited_first(bench: Bench) -> None:
    any_module, thermometer = bench.hub.link("module-1"), bench.hub.link("thermometer-1")
    waiting = asyncio.create_task(any_module.open(MODULE))
    opening = asyncio.create_task(thermometer.open(THERMOMETER))
    await happens(lambda: any_module.uses and thermometer.uses)
    first = await put(bench, "AOJ-20A", THERMOMETER)
    await opening
    assert thermometer.place == ADDRESS
    second = await put(bench, "AOJ-20A", THERMOMETER, "F0:F1:F2:00:00:08")
    other = await put(bench, "BT05", MODULE, "F0:F1:F2:00:00:09")
    await waiting  # also now, while the thermometer's own link is busy, the second thermometer is not for it
    assert any_module.place == "F0:F1:F2:00:00:09"
    assert (first.connections, second.connections, other.connections) == (1, 0, 1)
    await any_module.close()
    await thermometer.close()


@needs_dbus_daemon
async def test_a_device_named_by_its_address_is_nobody_elses(bench: Bench) -> None:
    any_module, this = bench.hub.link("module-1"), bench.hub.link("module-2", ADDRESS)
    waiting = asyncio.create_task(any_module.open(MODULE))
    opening = asyncio.create_task(this.open(MODULE))
    await happens(lambda: any_module.uses and this.uses)
    await put(bench, "BT05", MODULE)
    await opening
    assert this.place == ADDRESS
    await put(bench, "BT05", MODULE, "F0:F1:F2:00:00:09")
    await waiting
    assert any_module.place == "F0:F1:F2:00:00:09"
    await any_module.close()
    await this.close()


@needs_dbus_daemon
async def test_characteristics_that_no_source_names_are_found_by_what_they_can(bench: Bench) -> None:
    names = {"service": "FFF0", "notify": "FFF4", "write": "FFF3"}
    device = await put(bench, "SN-60", UNKNOWN, tells_service=False, **names)
    link = bench.hub.link("meter-1")
    await link.open(UNKNOWN)
    await link.write(Write(b"SN"))
    assert {channel for channel, _ in await heard(link, b"<SN>")} == {""}
    assert device.written == [b"SN"]
    await link.close()


@needs_dbus_daemon
async def test_of_several_ways_the_one_that_the_device_has_is_used(bench: Bench) -> None:
    device = await put(bench, "AP-20", BOTH_WAYS)
    link = bench.hub.link("oximeter-1")
    await link.open((UART, BOTH_WAYS))
    await link.write(Write(b"?"))
    assert {channel for channel, _ in await heard(link, b"<?>")} == {"FFB2"}
    assert device.written == [b"?"]
    await link.close()


@needs_dbus_daemon
async def test_a_namesake_without_the_characteristics_is_told_as_a_fault(bench: Bench) -> None:
    await put(bench, "PC-60F_1", BOTH_WAYS)
    link = bench.hub.link("oximeter-1")
    opening = asyncio.create_task(link.open(UART))
    await happens(lambda: link.fault == "bluetooth_connect_failed")
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)


@needs_dbus_daemon
async def test_strangers_in_reach_are_neither_claimed_nor_connected(bench: Bench) -> None:
    """While a name is looked for, everything in reach is heard."""
    strangers = [await put(bench, f"TV {n}", MODULE, f"F0:F1:F2:00:01:{n:02X}", tells_service=False) for n in range(8)]
    await put(bench, "PC-60F_1", UART)
    link = bench.hub.link("oximeter-1")
    await link.open(UART)
    assert [stranger.connections for stranger in strangers] == [0] * 8
    await link.close()
