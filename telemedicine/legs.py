"""The media connections of a consultation: to each page of each specialist, and to the van's own touchscreen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from aiortc import RTCCertificate

from telemedicine.background import Background
from telemedicine.consultation import write_who
from telemedicine.live_data import LiveData
from telemedicine.marks import LABEL as MARKS
from telemedicine.marks import Marks
from telemedicine.media_engine import MediaEngine
from telemedicine.participants import Participant
from telemedicine.peer import Leg
from telemedicine.settings import FEED_ORDER, IceServer
from telemedicine.transport.relay import RelayChoice, has_relay
from telemedicine.ultrasound.on_board import UltrasoundOnBoard
from telemedicine.ultrasound.still_channel import LABEL as STILLS
from telemedicine.wire import Specialist

KIOSK = "kiosk"
MOST_PAGES = 3


class Legs:
    """
    :param certificate: what every connection shows
    :param relays: through whom a page may be reached
    :param on_state: called with a leg that is in use and its state: connecting, connected, disconnected, failed, closed
    """

    def __init__(
        self,
        engine: MediaEngine,
        live_data: LiveData,
        marks: Marks,
        ultrasound: UltrasoundOnBoard,
        relay: RelayChoice,
        certificate: RTCCertificate,
        relays: Callable[[], Awaitable[tuple[IceServer, ...]]],
        on_state: Callable[[Leg, str], None],
    ) -> None:
        self._engine = engine
        self._live_data = live_data
        self._marks = marks
        self._ultrasound = ultrasound
        self._relay = relay
        self._certificate = certificate
        self._relays = relays
        self._on_state = on_state
        self._legs: dict[str, Leg] = {}
        self._older: dict[str, Leg] = {}
        """What a page had when it offered anew: goes when the new one is connected, goes on when that never is."""
        self._background = Background()

    async def answer(self, viewer: str, sdp: str, participant: Participant | None) -> str:
        """The answer to a page's offer; an older leg of the same page is closed when this one is connected.

        :param viewer: ``KIOSK`` or "account/page"
        :param participant: None for the touchscreen
        :raises OfferRefused: says what the page has to change
        """
        with_data = participant is not None
        relays = await self._relays() if with_data else ()
        leg = self._made(viewer, participant, relays)
        answer = await leg.answer(sdp)
        if relays and not has_relay(answer):
            self._relay.look_again()
        self._set_aside(viewer)
        self._legs[viewer] = leg
        if with_data:
            self._engine.viewers.add(leg)
        return answer

    def _set_aside(self, viewer: str) -> None:
        """Keep what connects ``viewer`` now, if anything does, until there is something better."""
        before = [leg for leg in (self._legs.pop(viewer, None), self._older.pop(viewer, None)) if leg is not None]
        kept = next((leg for leg in before if leg.state == "connected"), None)
        if kept is not None:
            self._older[viewer] = kept
        for leg in before:
            if leg is not kept:
                self._background.start(self._closed(leg))

    def _made(self, viewer: str, participant: Participant | None, relays: tuple[IceServer, ...]) -> Leg:
        with_data, lead = participant is not None, participant is not None and participant.role == "lead"
        may_speak = participant is None or participant.may_speak
        engine = self._engine
        feeds = [engine.ladders.get(name) for name in FEED_ORDER]
        by = participant.specialist if participant is not None else None
        return Leg(
            viewer,
            feeds if with_data else [*feeds, engine.face_ladder],
            engine.voices.join(viewer, may_speak),
            self._live_data.join() if with_data else None,
            relays,
            self._changed,
            engine.uplink,
            engine.face.watch if lead else None,
            through_uplink=with_data,
            certificate=self._certificate,
            channels={
                MARKS: partial(
                    self._marks.attach,
                    author=viewer,
                    by=by.name if by is not None else "",
                    may_draw=with_data and may_speak,
                ),
                STILLS: partial(self._ultrasound.attach, who=who(by), may_ask=with_data and may_speak),
            },
        )

    def connected(self) -> dict[str, Leg]:
        both = {name: (self._older.get(name, leg), leg) for name, leg in self._legs.items()}
        return {name: leg for name, pair in both.items() for leg in pair if leg.state == "connected"}

    @property
    def specialist_there(self) -> bool:
        """A specialist's page is connected, or about to be."""
        return any(
            name != KIOSK and leg.state in ("connected", "connecting", "new") for name, leg in self._legs.items()
        )

    async def close_pages(self, account: str | None = None) -> None:
        """Those of ``account``, or of all specialists."""
        for name in [name for name in self._legs if name != KIOSK and account in (None, account_of(name))]:
            await self._close(name)

    async def close_oldest_pages(self, account: str) -> None:
        """A specialist may have a few pages open; a reloaded one leaves its old leg to die by itself."""
        for name in [name for name in self._legs if account_of(name) == account][:-MOST_PAGES]:
            await self._close(name)

    async def close_all(self) -> None:
        await asyncio.gather(*(self._close(name) for name in tuple(self._legs)), return_exceptions=True)

    def _changed(self, leg: Leg, state: str) -> None:
        ended = state in ("failed", "closed")
        if ended and self._older.get(leg.name) is leg:
            del self._older[leg.name]
            self._background.start(self._closed(leg))
        if self._legs.get(leg.name) is not leg:
            return
        if state in ("disconnected", "failed", "closed"):
            self._relay.look_again()
        if state == "connected" and (older := self._older.pop(leg.name, None)) is not None:
            self._background.start(self._closed(older))
        elif ended:
            del self._legs[leg.name]
            if (older := self._older.pop(leg.name, None)) is not None:
                self._legs[leg.name] = older
            self._background.start(self._closed(leg))
        self._on_state(leg, state)

    async def _close(self, name: str) -> None:
        for legs in (self._legs, self._older):
            leg = legs.pop(name, None)
            if leg is not None:
                await self._closed(leg)

    async def _closed(self, leg: Leg) -> None:
        self._engine.viewers.discard(leg)
        await leg.close()


def account_of(viewer: str) -> str:
    """The account in "account/page"."""
    return viewer.partition("/")[0]


def who(specialist: Specialist | None) -> str:
    """As the journal names a specialist; empty for nobody."""
    return "" if specialist is None else write_who(specialist.id, specialist.name, specialist.title)
