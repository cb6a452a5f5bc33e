"""Stills on their way to a specialist's page: the data channel "stills", one for each page.

The page asks (JSON text), the van answers with JSON text and the bytes of stills:

    page: {"type": "freeze"} | {"type": "fetch", "sha256"} | {"type": "measure", "sha256", "tool", "points"}
    van:  {"type": "stills", "stills": [...]}              the stills of this consultation, after every change
          {"type": "refused", "about", "word", "reason"}     the page says ``word`` in its language
          binary: SHA-256 (32 bytes) | offset (u32 BE) | bytes    pieces of a still, in order

A page checks the hash of what it has put together, so both sides look at the very same image. Pieces are sent at a
share of what the link carries and never pile up, because samples of the ECG travel in the same association.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiortc import RTCDataChannel

from devices.clock import Clock
from devices.errors import XunzhenError
from telemedicine.ultrasound.bridge import UltrasoundBridge
from telemedicine.ultrasound.vehicle_record import VehicleRecord
from telemedicine.vehicle_client import VehicleAway, VehicleRefused

LABEL = "stills"
PIECE_BYTES = 8 * 1024
HEAD = struct.Struct(">32sI")
RATE_WHEN_UNKNOWN_BYTES_S = 64 * 1024
SHARE = 0.3
LEAST_BYTES_S = 8 * 1024
LONGEST_REQUEST = 4_000
MOST_ASKED = 16


class NothingToFreeze(XunzhenError):
    """The van serves somebody else, or has no ultrasound."""

    code = "nothing_to_freeze"


class StillElsewhere(XunzhenError):
    """A still of another consultation, or none at all."""

    code = "still_elsewhere"


WORDS = {VehicleAway.code: "vehicle_restarting"}
"""Words that pages have already for a code of ours."""


class StillChannels:
    """All pages of one van.

    :param bridge: None without an ultrasound; then stills of before can still be looked at
    :param encounter: whom the consultation is about; None when it is not known, or while somebody else is served
    :param bit_rate: what the link to the pages carries, bit/s; None when it is not known
    """

    def __init__(
        self,
        record: VehicleRecord,
        bridge: UltrasoundBridge | None,
        encounter: Callable[[], str | None],
        bit_rate: Callable[[], int | None],
        clock: Clock,
    ) -> None:
        self.record = record
        self.bridge = bridge
        self.encounter = encounter
        self._bit_rate = bit_rate
        self.clock = clock
        self._pages: set[StillPage] = set()
        self._telling: set[asyncio.Task[None]] = set()

    def attach(self, channel: RTCDataChannel, who: str, may_ask: bool = True) -> None:
        """Serve a page whose specialist is ``who``, in words, until the channel closes.

        :param may_ask: freezes and measures; False: only looks
        """
        page = StillPage(self, channel, who, may_ask)
        self._pages.add(page)
        channel.on("close", lambda: self._leave(page))
        page.ask(partial(self.tell_page, page))

    def changed(self, encounter: str | None) -> None:
        """A still was taken, or measured on: every page of its consultation is told."""
        if encounter is None or encounter != self.encounter():
            return
        for page in tuple(self._pages):
            page.ask(partial(self.tell_page, page))

    async def tell_page(self, page: StillPage) -> None:
        encounter = self.encounter()
        found = await self.record.stills(encounter) if encounter is not None else []
        page.send({"type": "stills", "stills": found})

    def bytes_per_s(self) -> float:
        known = self._bit_rate()
        return max(LEAST_BYTES_S, RATE_WHEN_UNKNOWN_BYTES_S if known is None else known / 8 * SHARE)

    def _leave(self, page: StillPage) -> None:
        self._pages.discard(page)
        page.close()


class StillPage:
    """One page's channel; its requests are answered one after the other."""

    def __init__(self, channels: StillChannels, channel: RTCDataChannel, who: str, may_ask: bool) -> None:
        self._channels = channels
        self._channel = channel
        self._who = who
        self._may_ask = may_ask
        self._asked: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(MOST_ASKED)
        self._room = asyncio.Event()
        channel.bufferedAmountLowThreshold = PIECE_BYTES // 2
        channel.on("bufferedamountlow", self._room.set)
        channel.on("message", self._take)
        self._work = asyncio.create_task(self._answer(), name="stills to a page")

    def ask(self, answer: Callable[[], Awaitable[None]]) -> None:
        """Have ``answer`` run in its turn; refused when too much has been asked."""
        try:
            self._asked.put_nowait(answer)
        except asyncio.QueueFull:
            self.refuse("", "too_much", "too much was asked at once")

    def send(self, message: dict[str, Any]) -> None:
        if self._channel.readyState == "open":
            self._channel.send(json.dumps(message, ensure_ascii=False))

    def refuse(self, about: str, word: str, reason: str) -> None:
        self.send({"type": "refused", "about": about, "word": word, "reason": reason[:400]})

    def close(self) -> None:
        self._work.cancel()
        self._room.set()

    def _take(self, text: object) -> None:
        try:
            if not isinstance(text, str) or len(text) > LONGEST_REQUEST:
                raise ValueError("not a request")
            request = json.loads(text)
            if not self._may_ask and request["type"] in ("freeze", "measure"):
                self.refuse(request["type"], "only_looks", "who observes neither freezes nor measures")
                return
            match request["type"]:
                case "freeze":
                    self.ask(self._freeze)
                case "fetch":
                    self.ask(partial(self._fetch, str(request["sha256"])))
                case "measure":
                    points = [(float(x), float(y)) for x, y in request["points"]]
                    self.ask(partial(self._measure, str(request["sha256"]), str(request["tool"]), points))
                case _:
                    raise ValueError("not a request")
        except (ValueError, KeyError, TypeError):
            self.refuse("", "unreadable", "not a request about stills")

    async def _answer(self) -> None:
        while True:
            answer = await self._asked.get()
            try:
                await answer()
            except VehicleRefused as refusal:
                self.refuse("", refusal.word, str(refusal))
            except XunzhenError as refusal:
                self.refuse("", WORDS.get(refusal.code, refusal.code), str(refusal))

    async def _freeze(self) -> None:
        bridge = self._channels.bridge
        if bridge is None or self._channels.encounter() is None:
            raise NothingToFreeze("the van has no ultrasound, or serves somebody else now")
        await bridge.freeze(who=self._who)  # the vehicle's live feed tells all pages

    async def _measure(self, sha256: str, tool: str, points: list[tuple[float, float]]) -> None:
        await self._belongs(sha256)
        await self._channels.record.measure(sha256, tool, points, self._who)

    async def _fetch(self, sha256: str) -> None:
        await self._belongs(sha256)
        png = await self._channels.record.still(sha256)
        began_s = self._channels.clock.monotonic_s()
        for offset in range(0, len(png), PIECE_BYTES):
            while self._channel.readyState == "open" and self._channel.bufferedAmount > PIECE_BYTES // 2:
                self._room.clear()
                await self._room.wait()
            if self._channel.readyState != "open":
                return
            piece = png[offset : offset + PIECE_BYTES]
            self._channel.send(HEAD.pack(bytes.fromhex(sha256), offset) + piece)
            due_s = began_s + (offset + len(piece)) / self._channels.bytes_per_s()
            await self._channels.clock.sleep(max(0.0, due_s - self._channels.clock.monotonic_s()))

    async def _belongs(self, sha256: str) -> None:
        """:raises StillElsewhere: it is none of this consultation"""
        encounter = self._channels.encounter()
        stills = await self._channels.record.stills(encounter) if encounter is not None else []
        if all(still["sha256"] != sha256 for still in stills):
            raise StillElsewhere("no such still in this consultation")
