"""An offer by one HTTP round trip, in the way of WHEP (draft-ietf-wish-whep-02, 4.2): ``POST`` with the offer as
``application/sdp``, 201 with the answer. A page whose socket fell silent together with its pictures, after a handover
or a sleep, is connected again by this before it has a new socket. The session belongs to the page, not to this
resource: it ends with the connection, or by ``hang_up``."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sync.web.access import Caller, roles
from sync.web.pages import HEADERS
from telemedicine.exchange.rooms import Page, Rooms
from telemedicine.exchange.store import ExchangeStore
from telemedicine.wire import SDP_LIMIT_CHARACTERS, MessageRefused, parse_from_page

ANSWER_WITHIN_S = 8.0
"""As long as a page waits for an answer before it makes another offer."""
SDP = "application/sdp"


class AwaitedAnswer:
    """A page's link that takes what comes back for one attempt and nothing else."""

    def __init__(self, session: str) -> None:
        self._session = session
        self.came: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def send(self, text: str) -> None:
        message = json.loads(text)
        ours = message["type"] in ("answer", "refused") and message.get("session") == self._session
        if ours and not self.came.done():
            self.came.set_result(message)


def offer_routes(rooms: Rooms, store: ExchangeStore) -> APIRouter:
    router = APIRouter()

    @router.post("/specialist/consultations/{consultation}/offer")
    @roles("specialist")
    async def offer(request: Request, consultation: str, session: str) -> Response:
        """The van's answer to an offer; 409, 413 or 504 with ``word``, which the page has words for."""
        caller: Caller = request.state.caller
        sdp = await _body(request)
        if sdp is None:
            return _refused(413, "too_long", f"an offer has at most {SDP_LIMIT_CHARACTERS} characters")
        asked = {"type": "offer", "consultation": consultation, "session": session, "sdp": sdp}
        link = AwaitedAnswer(session)
        page = Page(store.specialist(caller.id, caller.name), link)
        try:
            with _listening(rooms, page):
                rooms.from_page(page, parse_from_page(json.dumps(asked)))
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    came = await link.came
        except MessageRefused as refusal:
            return _refused(409, refusal.word, str(refusal))
        except TimeoutError:
            return _refused(504, "van_away", f"the van did not answer within {ANSWER_WITHIN_S:.0f} s")
        if came["type"] == "refused":
            return _refused(409, came["word"], came["reason"])
        return Response(came["sdp"], 201, HEADERS, SDP)

    return router


@contextlib.contextmanager
def _listening(rooms: Rooms, page: Page) -> Iterator[None]:
    rooms.page_joined(page)
    try:
        yield
    finally:
        rooms.page_left(page)


async def _body(request: Request) -> str | None:
    """The body; None when it is too long, of which nothing more is read."""
    whole = b""
    async for part in request.stream():
        whole += part
        if len(whole) > SDP_LIMIT_CHARACTERS:
            return None
    return whole.decode(errors="replace")


def _refused(status: int, word: str, message: str) -> JSONResponse:
    return JSONResponse({"word": word, "message": message}, status, HEADERS)
