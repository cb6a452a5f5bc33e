"""The van's connections to the county: one set for what is urgent, one for what is large.

A clip that fills the queue of the modem delays every record behind it by seconds. So what is large travels on
connections of its own that never have more under way than the link takes in ``QUEUE_S`` beyond its own delay
(``SO_SNDBUF`` after what TCP measures), and is marked Lower Effort (RFC 8622) for networks that heed it.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import httpx

from devices.clock import Clock, SystemClock
from sync.delivery.tcp_info import TcpInfo, tcp_info

QUEUE_S = 0.2
"""How long all that is large may stand in the queue before the slowest link."""
SMALLEST_SEND_BUFFER_BYTES = 8 * 1024
FIRST_SEND_BUFFER_BYTES = 32 * 1024
LARGEST_SEND_BUFFER_BYTES = 2 * 1024 * 1024
LOWER_EFFORT = 0b000001 << 2
"""DSCP LE (RFC 8622 section 5) in the octet of the IP header."""
ABANDON_AFTER_MS = 12_000
"""Unacknowledged for so long (RFC 5482 user timeout), a connection is given up: the address has changed, or the NAT
between has forgotten us, and a new connection gets through at once."""
TCP_RTO_MAX_MS, LONGEST_RTO_MS = 44, 1000
"""Linux 6.15 and later: after a silence the next try comes within a second, not after as long again as it lasted."""
IDLE_S = 60.0
"""An idle connection is kept for the next record: a handshake less. Shorter than ``sync.formats.wire.KEEP_ALIVE_S``."""
_FLOOR_FOR_S = 600.0


class Measured:
    """What TCP has noted of all connections to the county.

    :ivar rtt_ms: the newest round-trip time, None before the first
    :ivar delivery_mbit_s: the newest rate that the network let through, None before the first
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.rtt_ms: float | None = None
        self.delivery_mbit_s: float | None = None
        self._clock = clock or SystemClock()
        self._floor: tuple[float, float] | None = None

    def note(self, info: TcpInfo) -> None:
        self.rtt_ms = info.rtt_ms or self.rtt_ms
        self.delivery_mbit_s = info.delivery_mbit_s or self.delivery_mbit_s
        if info.min_rtt_ms is None:
            return
        now_s = self._clock.monotonic_s()
        if self._floor is None or info.min_rtt_ms <= self._floor[0] or now_s - self._floor[1] > _FLOOR_FOR_S:
            self._floor = (info.min_rtt_ms, now_s)

    @property
    def empty_rtt_ms(self) -> float | None:
        """The round-trip time without a queue: the smallest of the last ten minutes."""
        return None if self._floor is None else self._floor[0]


class MeasuringTransport(httpx.AsyncHTTPTransport):
    """The network as ``httpx`` uses it; after each answer ``measured`` hears what TCP knows of its connection."""

    def __init__(self, measured: Measured, options: tuple[tuple[int, int, int], ...] = ()) -> None:
        patience = (
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ABANDON_AFTER_MS),
            (socket.IPPROTO_TCP, TCP_RTO_MAX_MS, LONGEST_RTO_MS),
        )
        super().__init__(
            trust_env=False,
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=IDLE_S),
            socket_options=[option for option in (*patience, *options) if _known(option)],
        )
        self.measured = measured

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        stream = response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        if connection is not None and (info := tcp_info(connection)) is not None:
            self.measured.note(info)
            self.adapt(connection, info)
        return response

    def adapt(self, connection: socket.socket, info: TcpInfo) -> None:
        """Nothing for what is urgent."""


class BulkTransport(MeasuringTransport):
    """Connections for what is large: little under way, Lower Effort."""

    def __init__(self, measured: Measured) -> None:
        super().__init__(
            measured,
            (
                (socket.SOL_SOCKET, socket.SO_SNDBUF, FIRST_SEND_BUFFER_BYTES),
                (socket.IPPROTO_IP, socket.IP_TOS, LOWER_EFFORT),
            ),
        )

    def adapt(self, connection: socket.socket, info: TcpInfo) -> None:
        """Bound what is under way to the link's rate x (its own delay + ``QUEUE_S``)."""
        with suppress(OSError):  # closed meanwhile
            if connection.family == socket.AF_INET6:
                connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, LOWER_EFFORT)
            size = send_buffer_bytes(info.sent_bytes_s, self.measured.empty_rtt_ms)
            if size is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def _known(option: tuple[int, int, int]) -> bool:
    """Whether this kernel takes the option."""
    with socket.socket() as probe:
        try:
            probe.setsockopt(*option)
        except OSError:
            return False
    return True


def send_buffer_bytes(rate_bytes_s: float, empty_rtt_ms: float | None) -> int | None:
    """``SO_SNDBUF`` for a connection that carries ``rate_bytes_s``; None while nothing is measured.

    Linux holds twice the bytes that are asked for (socket(7)), so half of what may be under way is asked for. Where
    the buffer itself was the limit, the rate is buffer / delay and the result larger than the buffer: it grows until
    the queue is ``QUEUE_S`` long.
    """
    if not rate_bytes_s or empty_rtt_ms is None:
        return None
    under_way = rate_bytes_s * (empty_rtt_ms / 1000 + QUEUE_S)
    return max(SMALLEST_SEND_BUFFER_BYTES, min(LARGEST_SEND_BUFFER_BYTES, round(under_way / 2)))


class Connections:
    """Both sets with what is measured of them together."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.measured = Measured(clock)
        self.urgent = MeasuringTransport(self.measured)
        self.bulk = BulkTransport(self.measured)
