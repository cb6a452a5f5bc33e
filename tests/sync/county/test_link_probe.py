"""Probing the link: the county's echo and transfers as nobody can misuse them, and figures over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
from county_month import Founded, Van, at
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import SimulatedClock, SystemClock
from sync.county.link_probe import MOST_BYTES_A_DAY, MOST_SESSIONS, TICKETS_A_DAY, Echoer, LinkProbes, ProbeQuota
from sync.delivery.link_probe_client import LinkProbeClient, ProbeFailed, ProbeHeld
from sync.formats.link_probe import (
    LONGEST_S,
    LOST_AFTER_S,
    MOST_TRANSFER_BYTES,
    PACKET_BYTES,
    REPLY,
    REQUEST,
    Echo,
    Packet,
    Ticket,
    TicketUnreadable,
    figures,
    interarrival_jitter_ms,
    is_genuine,
    pack,
    rate_bit_s,
    read,
    session_key,
)

SECRET = b"the county's own"
MORNING = at(9, 1, 8)


def request_of(ticket: Ticket, number: int = 0, sent_us: int = 5) -> bytes:
    return pack(Packet(REQUEST, ticket.session, ticket.expires_s, number, sent_us), ticket.key)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(MORNING)


@pytest.fixture
def ticket(clock: SimulatedClock) -> Ticket:
    return LinkProbes(clock, lambda: SECRET, "127.0.0.1", 9).ticket()


def test_a_ticket_gets_its_echo(clock: SimulatedClock, ticket: Ticket) -> None:
    assert Ticket.parse(ticket.as_json()) == ticket
    clock.advance(1.5)
    asked = request_of(ticket, 7, 123_456)
    answer = Echoer(SECRET, clock).answer(asked)
    assert len(answer) == len(asked) == PACKET_BYTES
    assert is_genuine(answer, ticket.key)
    assert read(answer) == Packet(REPLY, ticket.session, ticket.expires_s, 7, 123_456, 1_500_000)


def test_nothing_comes_out_without_a_ticket_or_twice(clock: SimulatedClock, ticket: Ticket) -> None:
    echoer = Echoer(SECRET, clock)
    good = request_of(ticket)
    forged_key = session_key(b"guessed", ticket.session, ticket.expires_s)
    far = int(clock.now().timestamp()) + 10 * LONGEST_S
    for bad in (
        b"",
        good[:-1],
        good + b"x",
        good[:-1] + bytes([good[-1] ^ 1]),
        pack(Packet(REQUEST, ticket.session, ticket.expires_s, 0, 5), forged_key),
        pack(Packet(REQUEST, ticket.session, ticket.expires_s + 1, 0, 5), ticket.key),
        pack(Packet(REPLY, ticket.session, ticket.expires_s, 0, 5), ticket.key),
        pack(Packet(REQUEST, ticket.session, ticket.expires_s, 200, 5), ticket.key),
        pack(Packet(REQUEST, ticket.session, far, 0, 5), session_key(SECRET, ticket.session, far)),
    ):
        assert echoer.answer(bad) is None
    assert echoer.answer(good) is not None
    assert echoer.answer(good) is None, "a packet that somebody overheard"
    clock.advance(LONGEST_S + 1)
    assert echoer.answer(request_of(ticket, 1)) is None


@given(st.binary(max_size=200))
def test_the_echo_reads_anything(data: bytes) -> None:
    assert Echoer(SECRET, SimulatedClock(MORNING)).answer(data) is None


def test_the_echo_forgets_the_oldest_session(clock: SimulatedClock) -> None:
    echoer, probes = Echoer(SECRET, clock), LinkProbes(clock, lambda: SECRET, "", 9)
    for i in range(MOST_SESSIONS + 5):
        assert echoer.answer(request_of(probes.ticket(lambda n, i=i: i.to_bytes(n, "big")))) is not None
    assert len(echoer._answered) == MOST_SESSIONS


def test_a_quota_for_each_vehicle_and_day(clock: SimulatedClock) -> None:
    quota = ProbeQuota(clock)
    assert quota.spend("a", MOST_BYTES_A_DAY)
    assert not quota.spend("a", 1)
    assert quota.spend("b", 1)
    assert all(quota.spend("c", 0, tickets=1) for _ in range(TICKETS_A_DAY))
    assert not quota.spend("c", 0, tickets=1)
    clock.advance(timedelta(days=1).total_seconds())
    assert quota.spend("a", 1)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"session":"00","expires":1,"key":"00","port":1}', b"\xff", b'{"session":1,"expires":1}'],
)
def test_what_is_no_ticket_is_said_so(body: bytes) -> None:
    with pytest.raises(TicketUnreadable):
        Ticket.parse(body)


# figures


def test_loss_delay_and_jitter_as_the_standards_have_them() -> None:
    echoes = [Echo(i, i * 0.02, 100 + i * 0.02 + 0.01 * (i % 2), i * 0.02 + 0.04 + 0.02 * (i % 2)) for i in range(100)]
    late = Echo(100, 2.0, 102.0, 2.0 + LOST_AFTER_S + 0.001)
    said = figures(102, [*echoes, echoes[3], late])
    assert (said.sent, said.lost) == (102, 2)
    assert said.loss_percent == pytest.approx(100 * 2 / 102)
    assert (said.rtt_p50_ms, said.rtt_p95_ms) == (pytest.approx(40), pytest.approx(60))
    assert said.jitter_up_ms == pytest.approx(10, rel=0.01)
    assert said.jitter_down_ms == pytest.approx(10, rel=0.01)
    nothing = figures(10, [])
    assert (nothing.lost, nothing.loss_percent, nothing.rtt_p50_ms, nothing.jitter_up_ms) == (10, 100.0, None, None)


def test_jitter_is_that_of_rfc_3550() -> None:
    """First difference 16 ms: J = 16/16 = 1; then none: J = 15/16."""
    assert interarrival_jitter_ms([(0.0, 1.0), (0.02, 1.036)]) == pytest.approx(1.0)
    assert interarrival_jitter_ms([(0.0, 1.0), (0.02, 1.036), (0.04, 1.056)]) == pytest.approx(0.9375)
    assert interarrival_jitter_ms([(0.0, 1.0)]) is None


def test_the_rate_is_that_of_the_settled_part() -> None:
    slow_start = [(0.1 * i, 2**i * 1000) for i in range(5)]
    settled = [(0.4 + 0.01 * i, 16_000 + i * 62_500) for i in range(1, 101)]
    assert rate_bit_s([*slow_start, *settled]) == pytest.approx(50e6, rel=0.01)
    assert rate_bit_s([]) is None
    assert rate_bit_s([(0.0, 0), (0.01, 10**6)]) == pytest.approx(800e6), "over before it settled: at least that"
    assert rate_bit_s([(1.0, 0), (1.0, 10**6)]) is None
    assert rate_bit_s([(0.0, 0), (1.0, 0)]) is None


# the county's routes


@pytest.fixture
async def founded(tmp_path: Path) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(MORNING))
    yield county
    county.close()


def client_of(founded: Founded, van: Van, go: object = lambda: True) -> LinkProbeClient:
    transport = httpx.ASGITransport(founded.app)
    return LinkProbeClient("http://county.test", van.signer, founded.clock, go, transport)  # type: ignore[arg-type]


async def test_only_enrolled_vehicles_probe_and_only_so_much(founded: Founded) -> None:
    van = founded.van("van-07")
    probe = client_of(founded, van)
    ticket = await probe.ticket()
    assert ticket.port == 0
    assert await probe.down(300_000) is None  # a simulated clock: it took no time
    assert await probe.up(b"\x5a" * 300_000) is None
    async with founded.client() as nobody:
        for method, path in (("POST", "/link-probe"), ("GET", "/link-probe/down?size=5"), ("POST", "/link-probe/up")):
            assert (await nobody.request(method, path)).status_code in (401, 403, 303)
    quota = founded.county.link_probes.quota
    assert quota.spend(van.signer.name, MOST_BYTES_A_DAY - 1_000_000)
    with pytest.raises(ProbeFailed, match="429"):
        await probe.down(1_000_000)


@pytest.mark.parametrize("size", ["0", "-1", "x", str(MOST_TRANSFER_BYTES + 1)])
async def test_sizes_out_of_bounds_are_refused(founded: Founded, size: str) -> None:
    from sync.formats.request_signature import signature_headers

    van, path = founded.van("van-07"), f"/link-probe/down?size={size}"
    headers = signature_headers(van.signer, "GET", path, b"", founded.clock.now())
    async with founded.client() as client:
        assert (await client.get(path, headers=headers)).status_code == 422


async def test_a_probe_stops_when_the_link_is_wanted(founded: Founded) -> None:
    van = founded.van("van-07")
    asked = iter([True, True, False, False, False])
    with pytest.raises(ProbeHeld):
        await client_of(founded, van, lambda: next(asked)).up(b"\x5a" * 1_000_000)
    with pytest.raises(ProbeHeld):
        await client_of(founded, van, lambda: False).down(1_000_000)


# over real sockets


async def test_over_real_sockets(founded: Founded) -> None:
    """UDP echoes and both transfers through the kernel, with a county that listens."""
    van, system = founded.van("van-07"), SystemClock()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        udp_port = probe_socket.getsockname()[1]
    probes = founded.county.link_probes
    probes.port = udp_port
    founded.clock.set_wall(system.now())
    server = uvicorn.Server(uvicorn.Config(founded.app, log_level="warning", ws="none", lifespan="off"))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listener]))
    echoing = asyncio.create_task(probes.run())
    port = listener.getsockname()[1]
    client = LinkProbeClient(f"http://127.0.0.1:{port}", van.signer, system, lambda: True)
    try:
        async with asyncio.timeout(30):
            ticket = await client.ticket()
            assert ticket.port == udp_port
            said = await client.echoes(ticket, 20)
            assert (said.sent, said.lost) == (20, 0)
            assert said.rtt_p50_ms is not None
            assert said.rtt_p95_ms is not None
            assert 0 < said.rtt_p50_ms <= said.rtt_p95_ms
            for rate in (await client.down(4_000_000), await client.up(b"\x5a" * 4_000_000)):
                assert rate is not None
                assert rate > 0
            echoing.cancel()
            await asyncio.gather(echoing, return_exceptions=True)
            silent = await client.echoes(await client.ticket(), 3)
            assert (silent.lost, silent.rtt_p50_ms) == (3, None)
    finally:
        server.should_exit = True
        echoing.cancel()
        await asyncio.gather(serving, echoing, return_exceptions=True)


async def test_a_port_that_is_taken_is_told_and_the_county_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        caplog.set_level("INFO", "xunzhen")
        await LinkProbes(SystemClock(), lambda: SECRET, "127.0.0.1", taken.getsockname()[1]).run()
    assert "link_echo_unavailable" in caplog.text
