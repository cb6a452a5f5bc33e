"""The exchange as routes on the county's application: sockets of vans and specialists, the specialist's pages."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Form, HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from devices.clock import Clock
from devices.events import emit
from sync.formats.notes import NoteRefused, VerifierKey, unb64
from sync.keys.vehicle_key import verify_for
from sync.web.access import PUBLIC, Caller, roles
from sync.web.pages import HEADERS, PageFiles, Pages
from telemedicine.consultation import LIVE, State
from telemedicine.exchange.guests import LinkRefused
from telemedicine.exchange.links import SocketLink
from telemedicine.exchange.offers import offer_routes
from telemedicine.exchange.recordings import RecordingBook, recording_routes
from telemedicine.exchange.rooms import Page, Rooms
from telemedicine.exchange.store import ExchangeStore
from telemedicine.exchange.turn import TurnCredentials
from telemedicine.wire import (
    CASE_REFUSED,
    CHALLENGE,
    MESSAGE_LIMIT_CHARACTERS,
    MESSAGE_REFUSED,
    Challenge,
    Fault,
    MessageRefused,
    Welcome,
    challenge_bytes,
    parse_from_page,
    parse_from_van,
    parse_hello,
    type_of,
)

FOLDER = Path(__file__).parent
HELLO_WITHIN_S = 10.0
SOCKET_LIMIT_BYTES = 4 * MESSAGE_LIMIT_CHARACTERS
"""For the ASGI server (``ws_max_size``): what is longer never reaches us; the connection is closed with 1009."""
NOT_PROVEN = 4401


class AccountBook(Protocol):
    """The county's accounts, as far as the exchange needs them."""

    def verify(self, id: str, password: str) -> object | None: ...

    def set_public_key(self, id: str, key: str) -> None: ...


class KeyBook(Protocol):
    def verifier(self, origin: str) -> VerifierKey | None: ...


class CountyParts(Protocol):
    @property
    def accounts(self) -> AccountBook: ...

    @property
    def fleet(self) -> KeyBook: ...

    @property
    def blobs(self) -> RecordingBook: ...


@dataclass(frozen=True)
class Exchange:
    rooms: Rooms
    store: ExchangeStore


def add_exchange(
    app: FastAPI,
    county: CountyParts,
    database_url: str,
    clock: Clock,
    random_bytes: Callable[[int], bytes] = os.urandom,
    language: str = "zh",
    turn: TurnCredentials | None = None,
) -> Exchange:
    """Add the exchange to ``app``, which must be behind ``sync.web.access.gate`` and serve ``/shared``.

    :param database_url: SQLAlchemy URL of the exchange's own tables, e.g. "sqlite:////srv/county/exchange.db"
    :param turn: issues names for the county's relay; None: there is none, and nobody is told of one
    """
    store = ExchangeStore(database_url)
    rooms = Rooms(store, county.fleet.verifier, clock, random_bytes)
    exchange = Exchange(rooms, store)
    app.include_router(_van_routes(rooms, county.fleet, random_bytes, turn))
    pages = Pages(FOLDER / "templates", language)
    app.include_router(_specialist_routes(rooms, store, county.accounts, pages, turn))
    app.include_router(recording_routes(rooms, county.blobs))
    app.include_router(offer_routes(rooms, store))
    app.mount("/specialist/static", PageFiles(directory=FOLDER / "static"), name="specialist-static")
    app.state.exchange = exchange
    return exchange


def _van_routes(
    rooms: Rooms, fleet: KeyBook, random_bytes: Callable[[int], bytes], turn: TurnCredentials | None
) -> APIRouter:
    router = APIRouter()

    @router.websocket("/exchange/van")
    @roles(PUBLIC)
    async def van(socket: WebSocket) -> None:
        """A vehicle; nothing is taken from it before it has signed our challenge with its journal key."""
        await socket.accept()
        link = SocketLink(socket)
        writer = asyncio.create_task(link.write())
        try:
            origin = await _proven_origin(socket, link, fleet, random_bytes)
            if origin is not None:
                link.send(Welcome().text())
                async with _relays_for(origin, link, turn):
                    await _serve_van(socket, link, rooms, origin)
        except WebSocketDisconnect:
            pass
        finally:
            writer.cancel()

    return router


async def _proven_origin(
    socket: WebSocket, link: SocketLink, fleet: KeyBook, random_bytes: Callable[[int], bytes]
) -> str | None:
    nonce = base64.b64encode(random_bytes(32)).decode()
    link.send(Challenge(nonce=nonce).text())
    try:
        hello = parse_hello(await asyncio.wait_for(socket.receive_text(), HELLO_WITHIN_S))
        key = fleet.verifier(hello.origin)
        if key is None:
            raise MessageRefused(f"{hello.origin} is not enrolled at this county; enrol the vehicle's key first")
        if not verify_for(key, CHALLENGE, challenge_bytes(nonce, hello.origin), unb64(hello.signature)):
            raise MessageRefused(f"the signature is not of the key that is enrolled for {hello.origin}")
    except (MessageRefused, NoteRefused) as refusal:
        emit("signalling_refused", who="van", reason=str(refusal))
        await socket.send_text(Fault(code="not_proven", message=str(refusal)).text())
        await link.close(NOT_PROVEN, str(refusal)[:120])
        return None
    except TimeoutError:
        await link.close(NOT_PROVEN, f"no answer to the challenge within {HELLO_WITHIN_S:.0f} s")
        return None
    return hello.origin


async def _serve_van(socket: WebSocket, link: SocketLink, rooms: Rooms, origin: str) -> None:
    rooms.van_joined(origin, link)
    try:
        while True:
            text = await socket.receive_text()
            try:
                rooms.from_van(origin, parse_from_van(text))
            except (MessageRefused, NoteRefused) as refusal:
                emit("signalling_refused", who=origin, reason=str(refusal))
                code = CASE_REFUSED if type_of(text) == "case" else MESSAGE_REFUSED
                link.send(Fault(code=code, message=str(refusal)).text())
    finally:
        rooms.van_left(origin, link)


@contextlib.asynccontextmanager
async def _relays_for(who: str, link: SocketLink, turn: TurnCredentials | None) -> AsyncIterator[None]:
    """While inside, the link has credentials for the county's relay that are good for a while yet."""
    if turn is None:
        yield
        return
    link.send(turn.issue(who).text())
    renewing = asyncio.create_task(turn.keep(who, link))
    try:
        yield
    finally:
        renewing.cancel()


def _specialist_routes(
    rooms: Rooms, store: ExchangeStore, accounts: AccountBook, pages: Pages, turn: TurnCredentials | None
) -> APIRouter:
    router = APIRouter()

    @router.websocket("/exchange/specialist")
    @roles("specialist")
    async def page_socket(socket: WebSocket) -> None:
        """One open page of a specialist."""
        caller: Caller = socket.state.caller
        await socket.accept()
        link = SocketLink(socket)
        writer = asyncio.create_task(link.write())
        page = Page(store.specialist(caller.id, caller.name), link)
        try:
            async with _relays_for(caller.id, link, turn):
                rooms.page_joined(page)
                while True:
                    text = await socket.receive_text()
                    try:
                        rooms.from_page(page, parse_from_page(text))
                    except MessageRefused as refusal:
                        link.send(Fault(code=MESSAGE_REFUSED, message=str(refusal), word=refusal.word).text())
        except WebSocketDisconnect:
            pass
        finally:
            rooms.page_left(page)
            writer.cancel()

    @router.get("/specialist")
    @roles("specialist")
    async def invitations(request: Request) -> Response:
        return _page(request, "invitations.html", "invitations")

    @router.get("/specialist/to-sign")
    @roles("specialist")
    async def to_sign(request: Request) -> Response:
        return _page(request, "to_sign.html", "to_sign")

    @router.get("/specialist/consultations/{consultation}")
    @roles("specialist")
    async def session(request: Request, consultation: str) -> Response:
        case = rooms.case_for(request.state.caller.id, consultation)
        live = case is not None and (State(case["state"]) in LIVE or case["state"] == State.ENDED)
        if case is None or not live:
            return _page(request, "over.html", "invitations", {"case": case, "link": ""}, 404)
        practice = case["summary"].get("practice") is True
        mine = [person["role"] for person in case["people"] if person["id"] == request.state.caller.id]
        context = {"case": case, "practice": practice, "role": mine[0] if mine else "lead"}
        return _page(request, "session.html", "session", context)

    @router.get("/specialist/join/{token}")
    @roles("specialist")
    async def invited(request: Request, token: str) -> Response:
        """Who asks into which session, before one goes in."""
        try:
            link, case = rooms.shown_by(token)
        except LinkRefused as refusal:
            return _page(request, "over.html", "invitations", {"case": None, "link": refusal.reason}, 404)
        context = {"link": link, "case": case, "token": token}
        return _page(request, "join.html", "invitations", context)

    @router.post("/specialist/join/{token}")
    @roles("specialist")
    async def join(request: Request, token: str) -> Response:
        caller: Caller = request.state.caller
        try:
            consultation = rooms.join(token, store.specialist(caller.id, caller.name))
        except LinkRefused as refusal:
            return _page(request, "over.html", "invitations", {"case": None, "link": refusal.reason}, 404)
        return RedirectResponse(f"/specialist/consultations/{quote(consultation)}", 303)

    @router.post("/specialist/key")
    @roles("specialist")
    async def key(
        request: Request,
        password: Annotated[str, Form(max_length=200)],
        public_key: Annotated[str, Form(max_length=60)],
    ) -> JSONResponse:
        """Check the password and register the browser's public key; allows signing with it for five minutes."""
        try:
            if len(unb64(public_key)) != 32:
                raise NoteRefused("a public key has 32 bytes")
        except NoteRefused as fault:
            raise HTTPException(422, f"the public key is not taken: {fault}") from None
        account = request.state.caller.id
        if await asyncio.to_thread(accounts.verify, account, password) is None:
            raise HTTPException(403, "wrong password")
        await asyncio.to_thread(accounts.set_public_key, account, public_key)
        rooms.confirm_password(account, public_key)
        return JSONResponse({"registered": True}, headers=HEADERS)

    def _page(
        request: Request, template: str, current: str, context: dict[str, object] | None = None, status: int = 200
    ) -> Response:
        caller: Caller = request.state.caller
        who = store.specialist(caller.id, caller.name)
        return pages.render(
            request, template, {"who": who, "current": current, "practice": False, **(context or {})}, status
        )

    return router
