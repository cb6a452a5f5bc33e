"""The delay to the county as TCP itself measures it: passive, nothing is sent for it.

The kernel keeps a smoothed round-trip time for every connection (RFC 6298); ``TCP_INFO`` hands it out. The uploader's
own traffic is the probe, so a link that carries nothing costs nothing and shows its last value.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

_RTT_OFFSET = 68
"""Of ``tcpi_rtt`` (u32, microseconds) in struct tcp_info, linux/tcp.h: 8 one-byte fields, then 15 u32 before it."""


def round_trip_ms(connection: socket.socket) -> float | None:
    """Smoothed round-trip time of a TCP connection; None for other sockets and before the first measurement."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_OFFSET + 4)
    except OSError:
        return None
    if len(info) < _RTT_OFFSET + 4:
        return None
    (microseconds,) = struct.unpack_from("=I", info, _RTT_OFFSET)
    return microseconds / 1000 if microseconds else None


class RoundTrips:
    """Collects the round-trip time after each response of an ``httpx`` client (use ``hook`` as a response hook)."""

    def __init__(self) -> None:
        self.latest_ms: float | None = None

    async def hook(self, response: Any) -> None:
        stream = response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        if connection is not None:
            self.latest_ms = round_trip_ms(connection) or self.latest_ms
