"""The vehicle process as the media process sees it: the local API and the live feed, over one Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from websockets.asyncio.client import unix_connect
from websockets.exceptions import WebSocketException

from devices.errors import AskPerson, Retry
from telemedicine.opinion import SignedOpinion

REQUEST_TIMEOUT_S = 10.0
FRAME_LIMIT_BYTES = 1 << 20


class VehicleAway(Retry):
    """The vehicle process does not answer; it is restarting or its socket is elsewhere."""

    code = "vehicle_away"


class VehicleRefused(AskPerson):
    """The vehicle did not take it: the wrong moment, or it does not hold; ``str()`` says why.

    :ivar word: the vehicle's own code of the refusal; "vehicle_refused" where it gave none
    """

    code = "vehicle_refused"

    def __init__(self, message: str = "", word: str = code, **facts: object) -> None:
        super().__init__(message, **facts)
        self.word = word


class VehicleClient:
    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url="http://vehicle",
            timeout=REQUEST_TIMEOUT_S,
            headers={"Accept": "application/json"},
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def consultation(self) -> dict[str, Any] | None:
        """The open consultation with its state and summary, None when there is none.

        :raises VehicleAway: no answer
        """
        response = await self.request("GET", "/api/consultation")
        return None if response.status_code == 204 else dict(response.json())

    async def event(self, consultation: str, event: str, who: str = "", reason: str = "") -> None:
        """Propose an event of ``telemedicine.consultation``; when it returns, the journal has it.

        :raises VehicleRefused: the event does not fit the state
        :raises VehicleAway: no answer
        """
        body = {"event": event, "who": who, "reason": reason}
        await self.request("POST", f"/api/consultation/{quote(consultation)}/event", json=body)

    async def access(self, consultation: str, who: str, role: str, invited_by: str, here: bool) -> None:
        """A specialist has come into the session or left it; when it returns, the journal has it.

        :raises VehicleRefused: no such consultation
        :raises VehicleAway: no answer
        """
        body = {"who": who, "role": role, "invited_by": invited_by, "here": here}
        await self.request("POST", f"/api/consultation/{quote(consultation)}/access", json=body)

    async def opinion(self, signed: SignedOpinion) -> None:
        """Hand over a signed opinion; when it returns, the journal has it. Doing it again changes nothing.

        :raises VehicleRefused: the signature or the moment is wrong
        :raises VehicleAway: no answer
        """
        await self.request("POST", f"/api/consultation/{quote(signed.consultation)}/opinion", json=signed.model_dump())

    async def samples(self, device: str, segment: int, first: int, count: int) -> bytes | None:
        """One samples frame out of the vehicle's ring buffer of the last minute; None when it is no longer there.

        :raises VehicleAway: no answer
        """
        query = {"device": device, "segment": segment, "first": first, "count": count}
        try:
            response = await self.request("GET", "/api/samples", params=query)
        except VehicleRefused:
            return None
        return response.content if response.status_code == 200 and response.content else None

    async def live(self, streams: tuple[str, ...]) -> AsyncIterator[str | bytes]:
        """Frames and messages of the live feed until the vehicle goes away.

        :raises VehicleAway: the feed cannot be opened, or it ended
        """
        uri = f"ws://vehicle/live?streams={','.join(streams)}"
        try:
            async with unix_connect(
                str(self._socket), uri, max_size=FRAME_LIMIT_BYTES, max_queue=64, compression=None
            ) as feed:
                async for message in feed:
                    yield message
        except (OSError, WebSocketException, TimeoutError) as fault:
            raise VehicleAway(f"live feed: {fault}") from fault
        raise VehicleAway("live feed: closed by the vehicle")

    async def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request of the local API; its arguments are httpx's.

        :raises VehicleRefused: 4xx
        :raises VehicleAway: no answer, or 5xx
        """
        try:
            response = await self._http.request(method, path, **arguments)
        except httpx.HTTPError as fault:
            raise VehicleAway(f"{method} {path}: {fault or type(fault).__name__}") from fault
        if response.status_code >= 500:
            raise VehicleAway(f"{method} {path}: {response.status_code}")
        if response.status_code >= 400:
            reason, word = _told(response)
            raise VehicleRefused(reason, word, status=response.status_code)
        return response


def _told(response: httpx.Response) -> tuple[str, str]:
    """A refusal in words and its code: our servers answer with ``detail`` or with code, title, cause and next step."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    words = [str(body[name]) for name in ("detail", "title", "cause", "next_step") if body.get(name)]
    return "; ".join(words) or f"refused with {response.status_code}", str(body.get("code") or VehicleRefused.code)
