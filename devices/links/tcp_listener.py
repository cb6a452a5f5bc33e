"""A TCP port that a device calls, as a link: analysers are the client in HL7 over MLLP and in ASTM over TCP.

Bound to one configured address, one peer at a time. A second machine is refused in words while the first one is
connected; a second call from the same address is the same device after a restart and takes the place of the first.
TCP keep-alive finds a peer that lost its power.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from dataclasses import dataclass

from devices.driver import Line, TcpListener, Write, lines_of
from devices.errors import LinkLost
from devices.events import emit
from devices.links.link import SessionEnded

CHUNK_BYTES = 8192
WRITE_TIMEOUT_S = 5.0
KEEP_ALIVE = {socket.TCP_KEEPIDLE: 20, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
"""Seconds, seconds, tries: a dead peer is noticed after 50 s."""


class ListenBusy(LinkLost):
    """Another program listens on this address and port."""

    code = "listen_busy"


class ListenRefused(LinkLost):
    """The address is not one of this computer's (cable unplugged?), or the port needs rights we do not have."""

    code = "listen_refused"


def host_and_port(text: str) -> tuple[str, int]:
    """``192.168.10.1:9100`` or ``[fd00::1]:9100`` as (address, port).

    :raises ValueError: not an IP address and a port from 1 to 65535; says what to write instead.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(host)
        number = int(port) if colon and port.isascii() and port.isdigit() else 0
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ValueError(f"{text!r}: write this computer's address and a port, e.g. 192.168.10.1:9100")
    return str(address), number


@dataclass(slots=True)
class _Peer:
    host: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    hung_up: bool = False

    def drop(self) -> None:
        self.hung_up = True
        self.writer.transport.abort()


class TcpListenerLink:
    """See ``DeviceLink``.

    After the peer hung up, ``close`` goes on listening, so that a device that calls once for each result is never
    turned away between two; any other ``close`` gives the port back.

    :param device: the name in the settings, for the log
    :param host: the address to listen on, one of this computer's
    :param port: 0: any free one, see ``bound_port``
    :param only_from: take calls from this address only; empty: from any
    """

    def __init__(self, device: str, host: str, port: int, only_from: str = "") -> None:
        self._device = device
        self._host, self._port = host, port
        self._only_from = str(ipaddress.ip_address(only_from)) if only_from else ""
        self._server: asyncio.Server | None = None
        self._peer: _Peer | None = None
        self._next: _Peer | None = None
        self._called = asyncio.Event()
        self._place = ""
        self._fault: str | None = None
        self._refused = ""

    @property
    def place(self) -> str:
        """The address that called last."""
        return self._place

    @property
    def bound_port(self) -> int | None:
        """The port that is listened on; None while it is not."""
        return None if self._server is None else int(self._server.sockets[0].getsockname()[1])

    @property
    def fault(self) -> str | None:
        return self._fault

    async def open(self, line: Line | tuple[Line, ...]) -> None:
        """
        :raises ListenBusy, ListenRefused: see there.
        """
        if not lines_of(line, TcpListener):
            raise TypeError("a listening link needs a TcpListener")
        await self.listen()
        while self._next is None:
            self._called.clear()
            await self._called.wait()
        self._peer, self._next = self._next, None
        self._place = self._peer.host

    async def receive(self) -> tuple[str, bytes]:
        peer = self._connected()
        try:
            chunk = await peer.reader.read(CHUNK_BYTES)
        except OSError as fault:
            peer.hung_up = True
            raise LinkLost(f"connection lost: {fault}") from fault
        if not chunk:
            peer.hung_up = True
            raise SessionEnded("the device ended the connection")
        return "", chunk

    async def write(self, write: Write) -> None:
        peer = self._connected()
        try:
            peer.writer.write(write.payload)
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await peer.writer.drain()
        except (OSError, TimeoutError) as fault:
            peer.hung_up = True
            raise LinkLost(f"writing failed: {fault}") from fault

    async def close(self) -> None:
        peer, self._peer = self._peer, None
        go_on = peer is not None and peer.hung_up
        if peer is not None:
            peer.drop()
        if go_on:
            return
        if self._next is not None:
            self._next.drop()
            self._next = None
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            with contextlib.suppress(OSError):
                await server.wait_closed()

    async def listen(self) -> None:
        """Take the port, if it is not taken yet; a device that calls waits for ``open``.

        :raises ListenBusy, ListenRefused: see there.
        """
        if self._server is not None:
            return
        self._fault = None
        try:
            self._server = await asyncio.start_server(self._on_call, self._host, self._port)
        except OSError as fault:
            refusal = ListenBusy if fault.errno == errno.EADDRINUSE else ListenRefused
            self._fault = refusal.code
            raise refusal(f"{self._host} port {self._port}: {fault.strerror or fault}") from fault

    def _connected(self) -> _Peer:
        if self._peer is None:
            raise LinkLost("no device is connected")
        return self._peer

    async def _on_call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = str(writer.get_extra_info("peername")[0])
        reason = self._reason_to_refuse(host)
        if reason:
            self._refuse(host, writer, reason)
            return
        self._refused = ""
        _keep_alive(writer)
        for before in (self._peer, self._next):
            if before is not None:
                before.drop()
        self._next = _Peer(host, reader, writer)
        self._called.set()

    def _reason_to_refuse(self, host: str) -> str:
        if self._only_from and host != self._only_from:
            return "this port is kept for another address"
        now = self._next or self._peer
        if now is not None and not now.hung_up and now.host != host:
            return f"busy: {now.host} is connected, one device at a time"
        return ""

    def _refuse(self, host: str, writer: asyncio.StreamWriter, reason: str) -> None:
        if host != self._refused:
            self._refused = host
            emit("caller_refused", device=self._device, address=host, reason=reason)
        with contextlib.suppress(OSError):
            writer.write(f"{reason}\r\n".encode())
        writer.close()


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    wire = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, number in KEEP_ALIVE.items():
            wire.setsockopt(socket.IPPROTO_TCP, option, number)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
