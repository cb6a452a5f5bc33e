"""What vehicles probe their link against: a UDP echo with tickets, and bytes down and up by HTTP.

Only enrolled vehicles get a ticket, and each only so many bytes a day. The echo answers nobody without a ticket, never
with more bytes than came, and each numbered packet once: of no use to who wants to flood somebody else.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from devices.clock import Clock
from devices.events import emit
from sync.county.vehicle_requests import body_of
from sync.formats.link_probe import (
    DOWN_PATH,
    LONGEST_S,
    MOST_PACKETS,
    MOST_TRANSFER_BYTES,
    REPLY,
    REQUEST,
    TICKET_PATH,
    UP_PATH,
    Packet,
    Ticket,
    is_genuine,
    pack,
    read,
    session_key,
)
from sync.web.access import roles

if TYPE_CHECKING:
    from sync.county.app import County

MOST_BYTES_A_DAY = 400 * 1024 * 1024
TICKETS_A_DAY = 400
MOST_SESSIONS = 2000
"""That the echo remembers; the oldest is forgotten first, and its ticket is void by then in any ordinary day."""
_BLOCK = os.urandom(64 * 1024)
"""Incompressible, so that nothing on the way makes it smaller."""
Address = tuple[str, int]

router = APIRouter()


class ProbeQuota:
    """How much each vehicle may probe in a day (UTC), as this process has seen it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._day: date | None = None
        self._spent: dict[str, tuple[int, int]] = {}

    def spend(self, origin: str, size_bytes: int, tickets: int = 0) -> bool:
        """Whether it still may; what may not is not counted."""
        today = self._clock.now().date()
        if today != self._day:
            self._day, self._spent = today, {}
        spent_bytes, spent_tickets = self._spent.get(origin, (0, 0))
        spent_bytes, spent_tickets = spent_bytes + size_bytes, spent_tickets + tickets
        if spent_bytes > MOST_BYTES_A_DAY or spent_tickets > TICKETS_A_DAY:
            return False
        self._spent[origin] = (spent_bytes, spent_tickets)
        return True


class LinkProbes:
    """Tickets and quota of a county, and its echo.

    :param secret: known to all of the county's processes, to nobody else
    :param port: of the echo; 0: there is none
    """

    def __init__(self, clock: Clock, secret: Callable[[], bytes], host: str, port: int) -> None:
        self.quota = ProbeQuota(clock)
        self.port = port
        self._clock = clock
        self._secret = secret
        self._host = host

    def ticket(self, random_bytes: Callable[[int], bytes] = os.urandom) -> Ticket:
        session, expires_s = random_bytes(8), int(self._clock.now().timestamp()) + LONGEST_S
        return Ticket(session, expires_s, session_key(self._secret(), session, expires_s), self.port)

    async def run(self) -> None:
        """Echo for ever; every process of the county has the same port. A port that is taken is told, no more."""
        if not self.port:
            return
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: Echoer(self._secret(), self._clock), local_addr=(self._host, self.port), reuse_port=True
            )
        except OSError as fault:
            emit("link_echo_unavailable", reason=str(fault))
            return
        try:
            await asyncio.Event().wait()
        finally:
            transport.close()


class Echoer(asyncio.DatagramProtocol):
    """:ivar refused: packets without a valid ticket, or answered before"""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self.refused = 0
        self._secret = secret
        self._clock = clock
        self._answered: OrderedDict[bytes, int] = OrderedDict()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        reply = self.answer(data)
        if reply is None:
            self.refused += 1
        elif self._transport is not None:
            self._transport.sendto(reply, addr)

    def answer(self, data: bytes) -> bytes | None:
        """The reply, as long as the request; None for what gets none."""
        packet = read(data)
        now = self._clock.now().timestamp()
        if packet is None or packet.type != REQUEST or not now <= packet.expires_s <= now + LONGEST_S + 1:
            return None
        key = session_key(self._secret, packet.session, packet.expires_s)
        if not is_genuine(data, key) or not self._first_time(packet):
            return None
        received_us = int(self._clock.monotonic_s() * 1e6)
        reply = Packet(REPLY, packet.session, packet.expires_s, packet.number, packet.sent_us, received_us)
        return pack(reply, key)

    def _first_time(self, packet: Packet) -> bool:
        answered, bit = self._answered.get(packet.session, 0), 1 << packet.number
        if answered & bit:
            return False
        self._answered[packet.session] = answered | bit
        while len(self._answered) > MOST_SESSIONS:
            self._answered.popitem(last=False)
        return True


@router.post(TICKET_PATH)
@roles("vehicle")
async def ticket(request: Request) -> Response:
    probes = _county(request).link_probes
    _spend(request, MOST_PACKETS * 100, tickets=1)
    return Response(probes.ticket().as_json(), media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get(DOWN_PATH)
@roles("vehicle")
async def down(request: Request, size: Annotated[int, Query(ge=1, le=MOST_TRANSFER_BYTES)]) -> Response:
    """``size`` bytes that mean nothing."""
    _spend(request, size)
    headers = {"Content-Length": str(size), "Cache-Control": "no-store"}
    return StreamingResponse(_blocks(size), media_type="application/octet-stream", headers=headers)


@router.post(UP_PATH)
@roles("vehicle")
async def up(request: Request) -> Response:
    """Takes bytes that mean nothing; that the whole body came is the answer."""
    size = len(body_of(request))
    if size > MOST_TRANSFER_BYTES:
        raise HTTPException(413, f"a probe has at most {MOST_TRANSFER_BYTES} bytes")
    _spend(request, size)
    return Response(status_code=204)


async def _blocks(size: int) -> AsyncIterator[bytes]:
    while size > 0:
        yield _BLOCK[:size]
        size -= len(_BLOCK)


def _spend(request: Request, size: int, tickets: int = 0) -> None:
    origin = request.state.caller.id
    if not _county(request).link_probes.quota.spend(origin, size, tickets):
        raise HTTPException(429, "enough probed for today", headers={"Retry-After": "3600"})


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
