"""The uplink as the kernel tells it: interface, kind, counters, TCP's own measurements."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from devices.clock import SimulatedClock
from sync.delivery.connections import Measured, MeasuringTransport
from sync.delivery.tcp_info import read_tcp_info, tcp_info
from telemedicine.link_sample import LinkSample
from tests.vehicle.conftest import MORNING
from vehicle.link.network_interface import Interface, counted_bytes, default_interface, kind_of
from vehicle.link.uplink import Uplink

ROUTES = """Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0102A8C0	0003	0	0	600	00000000	0	0	0
wwan0	00000000	00000000	0001	0	0	100	00000000	0	0	0
tun0	00000000	00000000	0000	0	0	1	00000000	0	0	0
eth0	0002A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
"""


def interface(folder: Path, name: str, uevent: str = "", arphrd: str = "1", wireless: bool = False) -> None:
    (folder / name / "statistics").mkdir(parents=True)
    (folder / name / "uevent").write_text(uevent)
    (folder / name / "type").write_text(arphrd + "\n")
    (folder / name / "statistics" / "tx_bytes").write_text("1000\n")
    (folder / name / "statistics" / "rx_bytes").write_text("2000\n")
    if wireless:
        (folder / name / "wireless").mkdir()


def test_the_default_route_with_the_smallest_metric_counts(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTES)
    interface(tmp_path, "wwan0", "DEVTYPE=wwan\nINTERFACE=wwan0\n", "65534")
    assert default_interface(tmp_path / "route", tmp_path) == Interface("wwan0", "mobile")


@pytest.mark.parametrize("text", ["Iface\tDestination\n", ""])
def test_without_a_default_route_there_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "route").write_text(text)
    assert default_interface(tmp_path / "route", tmp_path) is None
    assert default_interface(tmp_path / "nothing", tmp_path) is None


def test_kinds_of_interfaces(tmp_path: Path) -> None:
    interface(tmp_path, "wlan0", "DEVTYPE=wlan\n")
    interface(tmp_path, "wlp2s0", wireless=True)
    interface(tmp_path, "eth0")
    interface(tmp_path, "ppp0", arphrd="512")
    interface(tmp_path, "lo", arphrd="772")
    kinds = {name: kind_of(name, tmp_path) for name in ("wlan0", "wlp2s0", "eth0", "ppp0", "lo", "gone")}
    assert kinds == {
        "wlan0": "wifi", "wlp2s0": "wifi", "eth0": "ethernet", "ppp0": "mobile", "lo": "other", "gone": "other",
    }  # fmt: skip
    assert counted_bytes("eth0", tmp_path) == (1000, 2000)
    assert counted_bytes("gone", tmp_path) is None


def test_what_flows_is_counted_between_two_looks() -> None:
    clock = SimulatedClock(MORNING)
    counts = {"wwan0": (0, 0)}
    present = [Interface("wwan0", "mobile")]
    status = SimpleNamespace(online=True, since=MORNING)
    uplink = Uplink(clock, find=lambda: present[0], count=counts.get)
    uplink.tick()
    assert uplink.view(status).sending_mbit_s is None
    clock.advance(5)
    counts["wwan0"] = (625_000, 1_250_000)
    uplink.tick()
    view = uplink.view(status)
    assert (view.kind, view.sending_mbit_s, view.receiving_mbit_s) == ("mobile", 1.0, 2.0)
    assert (view.online, view.since, view.rtt_ms) == (True, MORNING, None)
    present[0] = None
    uplink.tick()
    assert uplink.view(status).kind == "none"
    assert uplink.view(status).sending_mbit_s is None


def raw_tcp_info(rtt_us: int, rate_bytes_s: int, limited_by_sender: bool) -> bytes:
    raw = bytearray(232)
    raw[7] = 1 if limited_by_sender else 0
    struct.pack_into("=I", raw, 68, rtt_us)
    struct.pack_into("=Q", raw, 160, rate_bytes_s)
    return bytes(raw)


def test_a_rate_counts_only_when_the_network_was_the_limit() -> None:
    assert read_tcp_info(raw_tcp_info(41_000, 7_250_000, False)).delivery_mbit_s == 58.0
    assert read_tcp_info(raw_tcp_info(41_000, 7_250_000, True)).delivery_mbit_s is None
    assert read_tcp_info(raw_tcp_info(41_000, 0, False)).rtt_ms == 41.0
    assert read_tcp_info(b"\0" * 100) is None


def test_a_real_connection_tells_its_round_trip() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        peer, _ = server.accept()
        with peer:
            client.sendall(b"x" * 100)
            peer.recv(100)
            peer.sendall(b"y")
            client.recv(1)
            info = tcp_info(client)
    assert info is not None
    assert 0 < info.rtt_ms < 1000
    with socket.socket(socket.AF_UNIX) as other:
        assert tcp_info(other) is None


async def test_the_http_client_is_watched_without_a_word_more_on_the_wire() -> None:
    import asyncio

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    measured = Measured(SimulatedClock(MORNING))
    transport = MeasuringTransport(measured)
    assert measured.rtt_ms is None
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(transport=transport, trust_env=False) as client:
        response = await client.get(f"http://127.0.0.1:{port}/")
    assert response.status_code == 204
    assert measured.rtt_ms > 0


def test_another_way_to_the_world_is_told_once() -> None:
    told: list[str] = []
    ways = iter([None, Interface("wwan0", "mobile"), Interface("wwan0", "mobile"), None, Interface("eth0", "ethernet")])
    uplink = Uplink(
        SimulatedClock(MORNING), find=lambda: next(ways), count=lambda _: None, changed=lambda: told.append("changed")
    )
    for _ in range(5):
        uplink.tick()
    assert told == ["changed", "changed"]


def test_what_deliveries_do_not_show_comes_from_the_newest_sample() -> None:
    sample = LinkSample(MORNING, "probe", rtt_ms=44.0, up_bit_s=61e6, down_bit_s=180e6)
    status = SimpleNamespace(online=True, since=MORNING)
    view = Uplink(SimulatedClock(MORNING), find=lambda: None, sample=lambda: sample).view(status)
    assert (view.rtt_ms, view.up_mbit_s, view.down_mbit_s) == (44.0, 61.0, 180.0)
    noted = SimpleNamespace(rtt_ms=50.0, delivery_mbit_s=12.0)
    view = Uplink(SimulatedClock(MORNING), noted, find=lambda: None, sample=lambda: sample).view(status)
    assert (view.rtt_ms, view.up_mbit_s, view.down_mbit_s) == (50.0, 12.0, 180.0)
