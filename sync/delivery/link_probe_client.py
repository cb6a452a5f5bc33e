"""The vehicle's side of probing: echoes by UDP, bytes down and up by HTTP, each bounded in bytes and time.

Each probe has a connection of its own, so that TCP begins as any new transfer does and ours is the only traffic on it.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from devices.clock import Clock
from sync.formats.link_probe import (
    DOWN_PATH,
    LOST_AFTER_S,
    MOST_PACKETS,
    MOST_TRANSFER_BYTES,
    REPLY,
    REQUEST,
    TICKET_PATH,
    UP_PATH,
    Echo,
    EchoFigures,
    Packet,
    Ticket,
    TicketUnreadable,
    figures,
    is_genuine,
    pack,
    rate_bit_s,
    read,
)
from sync.formats.notes import Signer
from sync.formats.request_signature import signature_headers

PIECE_BYTES = 16 * 1024
TRANSFER_WITHIN_S = 20.0
PACKET_EVERY_S = 0.02
LARGEST_TICKET_BYTES = 4096
Go = Callable[[], bool]


class ProbeFailed(Exception):
    """The county has no probe, refuses it, or is not reached; a probe is never tried again at once."""


class ProbeHeld(Exception):
    """The link is wanted for something else: the probe stops where it is."""


@dataclass(slots=True)
class _Progress:
    """Bytes that have certainly crossed the link, over time."""

    clock: Clock
    steps: list[tuple[float, int]] = field(default_factory=list)

    def note(self, count: int) -> None:
        at_s = self.clock.monotonic_s()
        if not self.steps or count >= self.steps[-1][1]:
            self.steps.append((at_s, count))


class LinkProbeClient:
    """
    :param go: asked again and again while something is sent; False ends the probe with ``ProbeHeld``
    :param transport: instead of the network, for tests
    """

    def __init__(
        self, url: str, signer: Signer, clock: Clock, go: Go, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._signer = signer
        self._clock = clock
        self._go = go
        self._transport = transport

    async def ticket(self) -> Ticket:
        """:raises ProbeFailed: see there"""
        async with self._http() as http:
            answer = await self._ask(http, "POST", TICKET_PATH)
            try:
                return Ticket.parse(answer.content[:LARGEST_TICKET_BYTES])
            except TicketUnreadable as fault:
                raise ProbeFailed(str(fault)) from None

    async def echoes(self, ticket: Ticket, packets: int) -> EchoFigures:
        """Send ``packets`` at 50 a second and wait for what comes back.

        :raises ProbeFailed, ProbeHeld: see there
        """
        host = urlsplit(self._url).hostname or ""
        loop = asyncio.get_running_loop()
        listener = _EchoListener(ticket, self._clock)
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: listener, remote_addr=(host, ticket.port))
        except OSError as fault:
            raise ProbeFailed(f"echo: {fault}") from fault
        try:
            count = min(packets, MOST_PACKETS)
            for number in range(count):
                self._check()
                sent_us = int(self._clock.monotonic_s() * 1e6)
                transport.sendto(pack(Packet(REQUEST, ticket.session, ticket.expires_s, number, sent_us), ticket.key))
                await self._clock.sleep(PACKET_EVERY_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOST_AFTER_S):
                    while len(listener.echoes) < count:
                        listener.came.clear()
                        await listener.came.wait()
        finally:
            transport.close()
        return figures(count, listener.echoes.values())

    async def down(self, size: int) -> float | None:
        """bit/s of ``size`` bytes from the county; None when it took no time to speak of.

        :raises ProbeFailed, ProbeHeld: see there
        """
        size = min(size, MOST_TRANSFER_BYTES)
        path = f"{DOWN_PATH}?size={size}"
        progress, count = _Progress(self._clock), 0
        try:
            async with asyncio.timeout(TRANSFER_WITHIN_S), self._http() as http:
                headers = await self._signed("GET", path, b"")
                async with http.stream("GET", path, headers=headers) as answer:
                    _expect(answer)
                    progress.note(0)
                    async for piece in answer.aiter_raw():
                        count += len(piece)
                        progress.note(count)
                        self._check()
                        if count > size:
                            raise ProbeFailed("more came than was asked for")
        except TimeoutError:
            pass  # what came within the time says how slow it is
        except httpx.HTTPError as fault:
            raise ProbeFailed(f"down: {type(fault).__name__}: {fault}") from fault
        return rate_bit_s(progress.steps)

    async def up(self, body: bytes) -> float | None:
        """bit/s of ``body`` to the county: bytes that it has acknowledged, as the kernel counts them.

        :raises ProbeFailed, ProbeHeld: see there
        """
        progress = _Progress(self._clock)
        connection: list[socket.socket] = []

        async def trace(event: str, info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                found = info["return_value"].get_extra_info("socket")
                connection[:] = [found] if found is not None else []

        try:
            async with asyncio.timeout(TRANSFER_WITHIN_S), self._http() as http:
                signed = await self._signed("POST", UP_PATH, body)
                headers = {**signed, "Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
                pieces = self._pieces(body, progress, connection)
                answer = await http.post(UP_PATH, content=pieces, headers=headers, extensions={"trace": trace})
                _expect(answer)
                progress.note(len(body))
        except TimeoutError:
            pass
        except httpx.HTTPError as fault:
            raise ProbeFailed(f"up: {type(fault).__name__}: {fault}") from fault
        return rate_bit_s(progress.steps)

    async def _pieces(self, body: bytes, progress: _Progress, connection: list[socket.socket]) -> AsyncIterator[bytes]:
        for start in range(0, len(body), PIECE_BYTES):
            self._check()
            progress.note(max(0, start - _unacknowledged(connection)))
            yield body[start : start + PIECE_BYTES]

    def _check(self) -> None:
        if not self._go():
            raise ProbeHeld

    async def _ask(self, http: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
        try:
            answer = await http.request(method, path, headers=await self._signed(method, path, b""))
        except httpx.HTTPError as fault:
            raise ProbeFailed(f"{path}: {type(fault).__name__}: {fault}") from fault
        _expect(answer)
        return answer

    async def _signed(self, method: str, path: str, body: bytes) -> dict[str, str]:
        return await asyncio.to_thread(signature_headers, self._signer, method, path, body, self._clock.now())

    def _http(self) -> httpx.AsyncClient:
        said = {"User-Agent": "xunzhen", "Accept-Encoding": "identity"}
        return httpx.AsyncClient(
            base_url=self._url, transport=self._transport, timeout=TRANSFER_WITHIN_S, trust_env=False, headers=said
        )


class _EchoListener(asyncio.DatagramProtocol):
    def __init__(self, ticket: Ticket, clock: Clock) -> None:
        self.echoes: dict[int, Echo] = {}
        self.came = asyncio.Event()
        self._ticket = ticket
        self._clock = clock

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        packet, back_s = read(data), self._clock.monotonic_s()
        if packet is None or packet.type != REPLY or packet.session != self._ticket.session:
            return
        if packet.number in self.echoes or not is_genuine(data, self._ticket.key):
            return
        self.echoes[packet.number] = Echo(packet.number, packet.sent_us / 1e6, packet.received_us / 1e6, back_s)
        self.came.set()

    def error_received(self, exc: Exception) -> None:
        """Port unreachable: the packet counts as lost."""


def _unacknowledged(connection: list[socket.socket]) -> int:
    """Bytes that stand in the kernel or on the way (SIOCOUTQ of tcp(7)); 0 without a connection yet."""
    if not connection:
        return 0
    try:
        raw = fcntl.ioctl(connection[0].fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (OSError, ValueError):
        return 0
    return int(struct.unpack("=i", raw)[0])


def _expect(answer: httpx.Response) -> None:
    if answer.status_code not in (200, 204):
        raise ProbeFailed(f"the county answered {answer.status_code}")
