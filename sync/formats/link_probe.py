"""Probing the link between a vehicle and its county: the ticket, the echo's packets, and what echoes say. Pure.

A vehicle asks for a ticket by a signed request. With it come a session and its key, which the county derives anew from
its own secret whenever a packet comes, so that any of its processes can answer. A request and its reply are of the same
size, each carries a MAC, and each number is answered once: without a ticket nobody gets a byte out of the echo, and
with one not more than he put in.

=========  =====  ==============================================================
offset     bytes  field, big endian
=========  =====  ==============================================================
0          4      "XZLP"
4          1      1 request, 2 reply
5          3      0
8          8      session
16         4      expires, seconds since 1970
20         4      number, 0 ... ``MOST_PACKETS`` - 1
24         8      sent, microseconds of the vehicle's monotonic clock
32         8      received, microseconds of the county's clock; 0 in a request
40         8      0
48         16     HMAC-SHA256 of all before, cut to 128 bits
=========  =====  ==============================================================

Terms: round-trip delay RFC 2681, loss RFC 7680 (lost is what did not come back within ``LOST_AFTER_S``), jitter
RFC 3550 section 6.4.1.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

TICKET_PATH, DOWN_PATH, UP_PATH = "/link-probe", "/link-probe/down", "/link-probe/up"
PACKET_BYTES = 64
OVERHEAD_BYTES = 28
"""IPv4 and UDP headers."""
MOST_PACKETS = 200
LONGEST_S = 120
"""For which a ticket may be used."""
LOST_AFTER_S = 2.0
SHORTEST_S = 0.05
"""For which a transfer has to go on after it has settled, to say more than what it took as a whole."""
MOST_TRANSFER_BYTES = 8 * 1024 * 1024
REQUEST, REPLY = 1, 2
_MAGIC = b"XZLP"
_FORM = struct.Struct(">4sB3x8sIIQQ8x")
_MAC_BYTES = 16


class TicketUnreadable(ValueError):
    """What the county answered is no ticket."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """:ivar port: of the UDP echo, 0 where the county has none"""

    session: bytes
    expires_s: int
    key: bytes
    port: int

    def as_json(self) -> bytes:
        said = {"session": self.session.hex(), "expires": self.expires_s, "key": self.key.hex(), "port": self.port}
        return json.dumps(said).encode()

    @classmethod
    def parse(cls, body: bytes) -> Ticket:
        """:raises TicketUnreadable: with the reason"""
        try:
            said = json.loads(body)
            session, key = bytes.fromhex(said["session"]), bytes.fromhex(said["key"])
            expires_s, port = said["expires"], said["port"]
        except (ValueError, TypeError, KeyError) as fault:
            raise TicketUnreadable(f"no ticket: {fault}") from None
        numbers = type(expires_s) is int and 0 <= expires_s < 1 << 32 and type(port) is int and 0 <= port < 1 << 16
        if not numbers or len(session) != 8 or len(key) != 32:
            raise TicketUnreadable("no ticket: a field has another form")
        return cls(session, expires_s, key, port)


@dataclass(frozen=True, slots=True)
class Packet:
    type: int
    session: bytes
    expires_s: int
    number: int
    sent_us: int
    received_us: int = 0


def session_key(secret: bytes, session: bytes, expires_s: int) -> bytes:
    """The key of a session; only who knows the county's secret can make one."""
    return hmac.digest(secret, b"xunzhen link probe" + session + expires_s.to_bytes(4, "big"), hashlib.sha256)


def pack(packet: Packet, key: bytes) -> bytes:
    said = _FORM.pack(
        _MAGIC,
        packet.type,
        packet.session,
        packet.expires_s,
        packet.number,
        packet.sent_us,
        packet.received_us,
    )
    return said + hmac.digest(key, said, hashlib.sha256)[:_MAC_BYTES]


def read(raw: bytes) -> Packet | None:
    """The packet, its MAC not yet checked; None for what is none."""
    if len(raw) != PACKET_BYTES:
        return None
    magic, type_, session, expires_s, number, sent_us, received_us = _FORM.unpack(raw[: _FORM.size])
    if magic != _MAGIC or number >= MOST_PACKETS:
        return None
    return Packet(type_, session, expires_s, number, sent_us, received_us)


def is_genuine(raw: bytes, key: bytes) -> bool:
    mac = hmac.digest(key, raw[:-_MAC_BYTES], hashlib.sha256)[:_MAC_BYTES]
    return hmac.compare_digest(raw[-_MAC_BYTES:], mac)


@dataclass(frozen=True, slots=True)
class Echo:
    """One packet that came back; times in seconds, ``received_s`` on the county's clock, the others on ours."""

    number: int
    sent_s: float
    received_s: float
    back_s: float


@dataclass(frozen=True, slots=True)
class EchoFigures:
    sent: int
    lost: int
    rtt_p50_ms: float | None
    rtt_p95_ms: float | None
    jitter_up_ms: float | None
    jitter_down_ms: float | None

    @property
    def loss_percent(self) -> float | None:
        return 100 * self.lost / self.sent if self.sent else None


def figures(sent: int, echoes: Iterable[Echo]) -> EchoFigures:
    """Of ``sent`` packets those that came back in time; one that came twice counts once."""
    in_time = {echo.number: echo for echo in echoes if 0 <= echo.back_s - echo.sent_s <= LOST_AFTER_S}
    found = [in_time[number] for number in sorted(in_time)]
    rtts_ms = sorted((echo.back_s - echo.sent_s) * 1000 for echo in found)
    return EchoFigures(
        sent=sent,
        lost=sent - len(found),
        rtt_p50_ms=_rank(rtts_ms, 0.5),
        rtt_p95_ms=_rank(rtts_ms, 0.95),
        jitter_up_ms=interarrival_jitter_ms([(echo.sent_s, echo.received_s) for echo in found]),
        jitter_down_ms=interarrival_jitter_ms([(echo.received_s, echo.back_s) for echo in found]),
    )


def interarrival_jitter_ms(transits: Sequence[tuple[float, float]]) -> float | None:
    """J += (|D| - J) / 16 over (sent, arrived) in seconds, each on its own clock; None for fewer than two."""
    if len(transits) < 2:
        return None
    jitter_s = 0.0
    for (sent, arrived), (sent_next, arrived_next) in pairwise(transits):
        difference_s = (arrived_next - arrived) - (sent_next - sent)
        jitter_s += (abs(difference_s) - jitter_s) / 16
    return jitter_s * 1000


def rate_bit_s(progress: Sequence[tuple[float, int]], settled_share: float = 0.4) -> float | None:
    """The rate of a transfer once it has settled: without its first 40 % of time, in which TCP looks for the rate.

    :param progress: (time in s, bytes so far), both never going back
    :return: of one that was over before it settled the rate of the whole, which is less than the link gives; None where
        nothing came, or in no time
    """
    if len(progress) < 2:
        return None
    (began_s, first), (ended_s, total) = progress[0], progress[-1]
    from_s = began_s + settled_share * (ended_s - began_s)
    settled_s, settled_bytes = next((at_s, count) for at_s, count in progress if at_s >= from_s)
    if ended_s - settled_s < SHORTEST_S:
        settled_s, settled_bytes = began_s, first
    if ended_s <= settled_s or total <= settled_bytes:
        return None
    return 8 * (total - settled_bytes) / (ended_s - settled_s)


def _rank(ordered: Sequence[float], share: float) -> float | None:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
