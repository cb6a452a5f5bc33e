"""One session with an SFU, kept up for as long as it is wanted: what is sent there, or what is played from there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from devices.clock import Clock
from devices.events import emit
from telemedicine.peer import AnswerUnusable, Leg, OfferRefused
from telemedicine.sfu.errors import SfuBusy, SfuNoMedia, SfuOfferRefused, SfuRefused
from telemedicine.sfu.http_session import HttpSession

CONNECTS_WITHIN_S = 15.0
SILENT_FOR_S = 5.0
"""A connection that is "disconnected" for longer is begun anew: WHIP has no other way that every SFU knows."""
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0

PLAY = "play"
LineState = Literal["idle", "connecting", "connected", "refused"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    :ivar what: the feed that is published, or ``PLAY``
    """

    sfu: str
    what: str
    url: str

    @property
    def publishes(self) -> bool:
        return self.what != PLAY


class SfuLine:
    """
    :param token: the bearer token, raises SfuRefused; None: none is needed
    :param make_leg: makes a new connection for this line; what it is given is told its states
    :param on_connected: called each time media flows
    """

    def __init__(
        self,
        endpoint: Endpoint,
        token: Callable[[], str | None],
        make_leg: Callable[[Callable[[Leg, str], None]], Awaitable[Leg]],
        on_connected: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._endpoint = endpoint
        self._token = token
        self._make_leg = make_leg
        self._on_connected = on_connected
        self._clock = clock
        self._state: LineState = "idle"
        self._refusal: SfuRefused | None = None
        self._told = ""

    def told(self) -> dict[str, Any]:
        """For the status; ``code`` names the words for people, ``reason`` is the SFU's own."""
        said = {"name": self._endpoint.sfu, "what": self._endpoint.what, "state": self._state}
        if self._refusal is None:
            return said
        return {**said, "code": self._refusal.code, "reason": str(self._refusal)}

    async def keep(self) -> None:
        """Until cancelled; then the session is ended at the SFU too."""
        retry_s = FIRST_RETRY_S
        try:
            while True:
                self._state = "connecting"
                try:
                    await self._session()
                    retry_s = FIRST_RETRY_S
                except SfuRefused as refusal:
                    self._refused(refusal)
                except Exception as fault:  # whatever an SFU brings us to must not end the attempts
                    self._refused(SfuRefused(f"{type(fault).__name__}: {fault}"))
                asked_s = self._refusal.retry_after_s if isinstance(self._refusal, SfuBusy) else None
                await self._clock.sleep(asked_s if asked_s is not None else retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
        finally:
            self._state, self._refusal, self._told = "idle", None, ""

    def _refused(self, refusal: SfuRefused) -> None:
        self._state, self._refusal = "refused", refusal
        if self._told != refusal.code:
            self._told = refusal.code
            emit(
                "sfu_refused", sfu=self._endpoint.sfu, what=self._endpoint.what, code=refusal.code, reason=str(refusal)
            )

    async def _session(self) -> None:
        """From the offer until the connection breaks.

        :raises SfuRefused: it did not come up
        """
        token = self._token()
        changes: asyncio.Queue[str] = asyncio.Queue()
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(httpx.AsyncClient(follow_redirects=True, trust_env=False))
            http = HttpSession(client, self._endpoint.url, token)
            stack.push_async_callback(http.close)
            await self._agree(http, changes, stack)
            await self._connected(changes)
            self._state, self._refusal, self._told = "connected", None, ""
            emit("sfu_connected", sfu=self._endpoint.sfu, what=self._endpoint.what)
            await self._on_connected()
            await self._broken(changes)
            emit("sfu_lost", sfu=self._endpoint.sfu, what=self._endpoint.what)

    async def _agree(self, http: HttpSession, changes: asyncio.Queue[str], stack: contextlib.AsyncExitStack) -> None:
        """Offer and answer, whoever has offered; every leg that is made is closed by ``stack``."""
        leg = await self._leg(changes, stack)
        described = await http.open(await leg.offer("sendonly" if self._endpoint.publishes else "recvonly"))
        try:
            if not described.is_offer:
                await leg.take(described.sdp)
                return
            await leg.close()
            while not changes.empty():
                changes.get_nowait()
            leg = await self._leg(changes, stack)
            await http.answer(await leg.answer(described.sdp))
        except (AnswerUnusable, OfferRefused) as fault:
            raise SfuOfferRefused(str(fault)) from None

    async def _leg(self, changes: asyncio.Queue[str], stack: contextlib.AsyncExitStack) -> Leg:
        leg = await self._make_leg(lambda _, state: changes.put_nowait(state))
        stack.push_async_callback(leg.close)
        return leg

    async def _connected(self, changes: asyncio.Queue[str]) -> None:
        try:
            async with asyncio.timeout(CONNECTS_WITHIN_S):
                while (state := await changes.get()) != "connected":
                    if state in ("failed", "closed"):
                        raise SfuNoMedia("no pair of addresses carries packets (ICE)")
        except TimeoutError:
            raise SfuNoMedia(f"no pair of addresses carries packets after {CONNECTS_WITHIN_S:g} s (ICE)") from None

    async def _broken(self, changes: asyncio.Queue[str]) -> None:
        """Returns when the connection will not come back."""
        state = "connected"
        while state not in ("failed", "closed"):
            try:
                async with asyncio.timeout(SILENT_FOR_S if state == "disconnected" else None):
                    state = await changes.get()
            except TimeoutError:
                return
