"""Delay and speed as TCP itself measures them: passive, nothing is sent for it.

The kernel keeps a smoothed round-trip time (RFC 6298) and the newest delivery rate of every connection; ``TCP_INFO``
hands them out. A rate counts as the network's only when the network set it: the kernel marks rates that the sender
itself limited. The uploader's own traffic is the probe, so a link that carries nothing costs nothing and shows its
last values.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_FLAGS = 7
"""Bit 0: delivery_rate_app_limited. Offsets in struct tcp_info of linux/tcp.h; the structure only grows at its end."""
_RTT = 68
"""tcpi_rtt, u32, microseconds."""
_MIN_RTT = 148
"""tcpi_min_rtt, u32, microseconds: the smallest of the last five minutes; all ones before the first."""
_DELIVERY_RATE = 160
"""tcpi_delivery_rate, u64, bytes per second."""
_SIZE = 168
_NEVER = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """``delivery_mbit_s`` is None while the sender, not the network, was the limit; ``sent_bytes_s`` is the newest
    rate either way, 0 before the first."""

    rtt_ms: float | None
    delivery_mbit_s: float | None
    min_rtt_ms: float | None = None
    sent_bytes_s: int = 0


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
    (min_rtt_us,) = struct.unpack_from("=I", raw, _MIN_RTT)
    (rate_bytes_s,) = struct.unpack_from("=Q", raw, _DELIVERY_RATE)
    limited_by_sender = bool(raw[_FLAGS] & 1)
    return TcpInfo(
        rtt_ms=rtt_us / 1000 if rtt_us else None,
        delivery_mbit_s=None if limited_by_sender or not rate_bytes_s else rate_bytes_s * 8 / 1e6,
        min_rtt_ms=min_rtt_us / 1000 if min_rtt_us not in (0, _NEVER) else None,
        sent_bytes_s=rate_bytes_s,
    )
