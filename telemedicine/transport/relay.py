"""Which of the county's relays is used from here: the first in the county's order that really gives an address.

aiortc takes one TURN server with one transport (rtcicetransport.py, ``connection_kwargs``), and a van does not know
beforehand what the network of the day lets through. So each is tried with a real allocation (RFC 8656) whenever new
credentials come, and whenever a connection has got none or broke; a session that begins has its answer at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aioice import stun, turn
from aiortc import RTCIceServer
from aiortc.rtcicetransport import connection_kwargs

from devices.clock import Clock
from devices.events import emit
from telemedicine.settings import IceServer
from telemedicine.wire import Relays

ANSWERS_WITHIN_S = 3.0
BETTER_WITHIN_S = 0.3
"""One that is preferred has this long after another one has answered."""
DECIDED_WITHIN_S = 1.5
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 30.0
_RELAY_CANDIDATE = re.compile(r"^a=candidate:.* typ relay", re.MULTILINE)
_REFUSALS = {
    401: "it refuses the name and password: they have expired, or its static-auth-secret is not the county's secret; "
    "compare both, and the clocks of both servers",
    403: "it forbids this; look at its allowed and denied peers",
    486: "this vehicle has as many connections through it as user-quota allows",
    508: "it has no more ports; look at total-quota, min-port and max-port",
}


class RelayRefused(Exception):
    """The relay gives no address; ``str()`` says why and what to look at."""


async def allocate(server: IceServer, within_s: float = ANSWERS_WITHIN_S) -> None:
    """Get an address from the first URL of ``server`` and give it back.

    :raises RelayRefused: see there
    """
    given = connection_kwargs([RTCIceServer(server.urls[:1], server.username, server.credential)])
    try:
        async with asyncio.timeout(within_s):
            transport, _ = await turn.create_turn_endpoint(
                asyncio.DatagramProtocol,
                server_addr=given["turn_server"],
                username=given["turn_username"],
                password=given["turn_password"],
                ssl=given["turn_ssl"],
                transport=given["turn_transport"],
            )
    except stun.TransactionFailed as fault:
        code, words = fault.response.attributes.get("ERROR-CODE", (0, str(fault)))
        raise RelayRefused(_REFUSALS.get(code, f"it says {code} {words}")) from None
    except (TimeoutError, stun.TransactionError):
        raise RelayRefused(
            f"no answer within {within_s:g} s: it is down, or this network does not let it through"
        ) from None
    except ssl.SSLCertVerificationError as fault:
        raise RelayRefused(
            f"its certificate is not trusted ({fault.verify_message}): install the county's CA on this computer"
        ) from None
    except OSError as fault:
        raise RelayRefused(f"not reached: {fault.strerror or fault}") from None
    transport.close()


class RelayChoice:
    """``take`` what the exchange issues, ``run`` for ever, ask for ``servers`` before each connection."""

    def __init__(self, clock: Clock, try_relay: Callable[[IceServer], Awaitable[None]] = allocate) -> None:
        """:param try_relay: raises RelayRefused; else the relay is good"""
        self._clock = clock
        self._try = try_relay
        self._offered: list[IceServer] = []
        """One URL each, the preferred first."""
        self._chosen: IceServer | None = None
        self._refused: dict[str, str] = {}
        """URL -> why, of the last look."""
        self._look = asyncio.Event()
        self._decided = asyncio.Event()

    def take(self, relays: Relays) -> None:
        """New names and passwords; what was chosen before stays in use until one of these has answered."""
        self._offered = [
            IceServer(urls=[url], username=relay.username, credential=relay.credential)
            for relay in relays.relays
            for url in relay.urls
        ]
        self.look_again()

    def look_again(self) -> None:
        """Something was not as it should be."""
        if self._offered:
            self._look.set()

    async def servers(self) -> tuple[IceServer, ...]:
        """What a new connection is to use: at most one. While none is known to work this looks, for a moment."""
        if self._chosen is None and self._offered:
            self._decided.clear()
            self._look.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DECIDED_WITHIN_S):
                    await self._decided.wait()
        return () if self._chosen is None else (self._chosen,)

    def told_as(self) -> dict[str, Any] | None:
        """For the status: the URL in use and why others are not; None when the county has no relay."""
        if not self._offered:
            return None
        return {"url": self._chosen.urls[0] if self._chosen is not None else None, "refused": dict(self._refused)}

    async def run(self) -> None:
        """Until cancelled."""
        retry_s = FIRST_RETRY_S
        while True:
            await self._next_look(None if self._chosen is not None or not self._offered else retry_s)
            self._look.clear()
            before, refused_before = self._chosen, self._refused
            self._refused = {}
            self._chosen = await self._best(self._offered)
            self._decided.set()
            self._tell(before, refused_before)
            retry_s = FIRST_RETRY_S if self._chosen is not None else min(2 * retry_s, LAST_RETRY_S)

    async def _next_look(self, retry_s: float | None) -> None:
        waits = [asyncio.create_task(self._look.wait())]
        if retry_s is not None:
            waits.append(asyncio.create_task(self._clock.sleep(retry_s)))  # type: ignore[arg-type]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _best(self, offered: list[IceServer]) -> IceServer | None:
        """All are tried at once: the first in order, unless it is later than another by ``BETTER_WITHIN_S``."""
        tries = [asyncio.create_task(self._works(server)) for server in offered]
        left_s: float | None = None
        try:
            while any(not attempt.done() for attempt in tries):
                done, _ = await asyncio.wait(
                    [attempt for attempt in tries if not attempt.done()],
                    timeout=left_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                best = next((n for n, attempt in enumerate(tries) if attempt.done() and attempt.result()), None)
                if best is not None and (not done or all(attempt.done() for attempt in tries[:best])):
                    break
                left_s = None if best is None else BETTER_WITHIN_S
        finally:
            for attempt in tries:
                attempt.cancel()
        good = (
            server
            for server, attempt in zip(offered, tries, strict=True)
            if attempt.done() and not attempt.cancelled() and attempt.result()
        )
        return next(good, None)

    async def _works(self, server: IceServer) -> bool:
        try:
            await self._try(server)
        except RelayRefused as refusal:
            self._refused[server.urls[0]] = str(refusal)
            return False
        return True

    def _tell(self, before: IceServer | None, refused_before: dict[str, str]) -> None:
        if self._chosen is not None and (before is None or before.urls != self._chosen.urls):
            emit("relay_chosen", url=self._chosen.urls[0])
        for url, reason in self._refused.items():
            if refused_before.get(url) != reason:
                emit("relay_refused", url=url, reason=reason)


def has_relay(sdp: str) -> bool:
    """Whether a description names an address at a relay."""
    return _RELAY_CANDIDATE.search(sdp) is not None
