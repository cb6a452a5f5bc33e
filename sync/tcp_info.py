"""Delay and speed to the county as TCP itself measures them: passive, nothing is sent for it.

The kernel keeps a smoothed round-trip time (RFC 6298) and the newest delivery rate of every connection; ``TCP_INFO``
hands them out. A rate counts only when the network set it: the kernel marks rates that the sender itself limited. The
uploader's own traffic is the probe, so a link that carries nothing costs nothing and shows its last values.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

import httpx

_FLAGS = 7
"""Bit 0: delivery_rate_app_limited. Offsets in struct tcp_info of linux/tcp.h; the structure only grows at its end."""
_RTT = 68
"""tcpi_rtt, u32, microseconds."""
_DELIVERY_RATE = 160
"""tcpi_delivery_rate, u64, bytes per second."""
_SIZE = 168


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """``delivery_mbit_s`` is None while the sender, not the network, was the limit."""

    rtt_ms: float | None
    delivery_mbit_s: float | None


def tcp_info(connection: socket.socket) -> TcpInfo | None:
    """What the kernel knows of a TCP connection; None for other sockets."""
    try:
        raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return None
    return read_tcp_info(raw)


def read_tcp_info(raw: bytes) -> TcpInfo | None:
    """The fields of a ``struct tcp_info``; None when it is too short to hold them (Linux before 4.9)."""
    if len(raw) < _SIZE:
        return None
    (rtt_us,) = struct.unpack_from("=I", raw, _RTT)
    (rate_bytes_s,) = struct.unpack_from("=Q", raw, _DELIVERY_RATE)
    limited_by_sender = bool(raw[_FLAGS] & 1)
    return TcpInfo(
        rtt_ms=rtt_us / 1000 if rtt_us else None,
        delivery_mbit_s=None if limited_by_sender or not rate_bytes_s else rate_bytes_s * 8 / 1e6,
    )


class MeasuringTransport(httpx.AsyncHTTPTransport):
    """The network as ``httpx`` uses it, noting after each response what TCP knows of its connection.

    :ivar rtt_ms: the newest round-trip time, None before the first
    :ivar delivery_mbit_s: the newest rate that the network let through, None before the first
    """

    rtt_ms: float | None = None
    delivery_mbit_s: float | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        stream = response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        info = tcp_info(connection) if connection is not None else None
        if info is not None:
            self.rtt_ms = info.rtt_ms or self.rtt_ms
            self.delivery_mbit_s = info.delivery_mbit_s or self.delivery_mbit_s
        return response
