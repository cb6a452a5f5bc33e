"""The computer's own IPv4 addresses, and the moment they change (rtnetlink, rtnetlink(7))."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator

import aioice.ice

RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE = 0x10, 0x40
SETTLE_S = 0.02
"""A new address comes as several messages; they are read together."""
_NETLINK_ROUTE = 0
_BYTES = 65_536


def addresses() -> frozenset[str]:
    """IPv4 addresses of all interfaces, with loopback."""
    return frozenset([*aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False), "127.0.0.1"])


async def changes() -> AsyncIterator[frozenset[str]]:
    """The addresses there are, each time an address or a route has changed. Ends where there is no netlink (not
    Linux)."""
    if not hasattr(socket, "AF_NETLINK"):
        return
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)
    with listener:
        listener.setblocking(False)
        listener.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE))
        loop = asyncio.get_running_loop()
        while True:
            await _readable(loop, listener)
            await asyncio.sleep(SETTLE_S)
            _drain(listener)
            yield addresses()


async def _readable(loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
    came = asyncio.Event()
    loop.add_reader(listener.fileno(), came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(listener.fileno())


def _drain(listener: socket.socket) -> None:
    """What was said in detail does not matter; ENOBUFS means only that more was said than fits."""
    while True:
        try:
            listener.recv(_BYTES)
        except BlockingIOError:
            return
        except OSError as fault:
            if fault.errno != errno.ENOBUFS:
                raise
