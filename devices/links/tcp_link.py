"""A device or daemon that listens on TCP, as a link: the van calls it. See ``DeviceLink``.

Nothing is buffered here beyond asyncio's own bound: while nobody reads, the other end has to wait.
"""

from __future__ import annotations

import asyncio
import contextlib

from devices.driver import Line, TcpService, Write, lines_of
from devices.errors import LinkLost
from devices.links.link import SessionEnded
from devices.links.serial_link import PortAbsent

CONNECT_WITHIN_S = 5.0
WRITE_WITHIN_S = 5.0
READ_BYTES = 16 * 1024
CLOSE_WITHIN_S = 1.0


class ServiceAbsent(PortAbsent):
    """Nobody listens there: switched off, not started yet, or another network. No fault while it was never there."""

    code = "service_absent"


class TcpLink:
    """
    :param address: "host", "host:port", "[IPv6]:port"; without a port that of the driver
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._host, self._port = split_address(address)
        self._fault: str | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def place(self) -> str:
        return self._address

    @property
    def fault(self) -> str | None:
        return self._fault

    async def open(self, line: Line | tuple[Line, ...]) -> None:
        """
        :raises ServiceAbsent: nobody answers at the address.
        """
        services = lines_of(line, TcpService)
        if not services:
            raise TypeError("a TCP link needs a TcpService")
        await self.close()
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                opened = await asyncio.open_connection(self._host, self._port or services[0].port)
        except (OSError, TimeoutError) as fault:
            self._fault = ServiceAbsent.code
            raise ServiceAbsent(f"{self._address} does not answer: {fault or 'no reply'}") from fault
        self._fault = None
        self._reader, self._writer = opened

    async def receive(self) -> tuple[str, bytes]:
        if self._reader is None:
            raise LinkLost("the connection is not open")
        try:
            chunk = await self._reader.read(READ_BYTES)
        except OSError as fault:
            raise LinkLost(f"{self._address} is gone: {fault}") from fault
        if not chunk:
            raise SessionEnded(f"{self._address} hung up")
        return "", chunk

    async def write(self, write: Write) -> None:
        if self._writer is None:
            raise LinkLost("the connection is not open")
        try:
            self._writer.write(write.payload)
            async with asyncio.timeout(WRITE_WITHIN_S):
                await self._writer.drain()
        except (OSError, TimeoutError) as fault:
            raise LinkLost(f"{self._address} does not take what is sent: {fault or 'too slow'}") from fault

    async def close(self) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is None:
            return
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await writer.wait_closed()


def split_address(address: str) -> tuple[str, int | None]:
    """ "host:port" -> (host, port); the port None where none stands.

    :raises ValueError: no host, or a port that is none.
    """
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or port.endswith("]"):
        host, port = address, ""
    named = bool(colon) and host != address
    if not _is_host(host.strip("[]")) or (
        named and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536)
    ):
        raise ValueError(f"{address!r} is no address: write host or host:port")
    return host.strip("[]"), int(port) if port else None


def _is_host(host: str) -> bool:
    """Whether it can be asked for at all: resolving a name with an empty or too long label is no OSError."""
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False
