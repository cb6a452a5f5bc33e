"""Bounds on what a request may send and how slowly, before any route reads it.

Headers are bounded by the server (uvicorn: 64 KB); a reverse proxy in front bounds the time in which they must come.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sync.county.vehicle_requests import MOST_BODY_BYTES

MOST_FORM_BYTES = 1024 * 1024
"""Of what people send; only vehicles send more."""
STALL_S = 30.0
"""Within which the next part of a body must come."""
WHOLE_S = 900.0
"""Within which all of it must come: ``MOST_BODY_BYTES`` at 150 kbit/s."""
_LARGE = ("/log/", "/recordings", "/link-probe/", "/county/registry/preview")
"""What vehicles send, and lists of villages with their outlines."""


class BodyLimits:
    """ASGI middleware: 413 for a body that is too long, said or sent; 408 for one that does not come."""

    def __init__(self, app: ASGIApp, stall_s: float = STALL_S, whole_s: float = WHOLE_S) -> None:
        self._app = app
        self._stall_s, self._whole_s = stall_s, whole_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = self._bounded(receive, _most(scope))
        await self._app(scope, receive, send)

    def _bounded(self, receive: Receive, most_bytes: int) -> Receive:
        """``receive`` that raises HTTPException where a route reads too much or waits too long."""
        read, complete = 0, False
        until = asyncio.get_running_loop().time() + self._whole_s

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal read, complete
            if complete:  # what follows is the client's leaving
                return await receive()
            try:
                async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + self._stall_s, until)):
                    message: Message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the rest of the request did not come") from None
            read += len(message.get("body", b""))
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            if read > most_bytes:
                raise HTTPException(413, f"a request here may have at most {most_bytes} bytes")
            return message

        return bounded


def _most(scope: Scope) -> int:
    return MOST_BODY_BYTES if scope["path"].startswith(_LARGE) else MOST_FORM_BYTES
