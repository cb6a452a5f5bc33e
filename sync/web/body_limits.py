"""Bounds on what a request may send and how slowly, before any route reads it.

Headers are bounded by the server (uvicorn: 64 KB); a reverse proxy in front bounds the time in which they must come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1024 * 1024
"""Of what people send; only machines send more."""
STALL_S = 30.0
"""Within which the next part of a body must come."""
WHOLE_S = 900.0
"""Within which all of it must come: 16 MiB at 150 kbit/s."""


def forms_only(path: str) -> int:
    """The most bytes of a request to ``path`` where nothing but forms is sent."""
    return MOST_BYTES


class BodyLimits:
    """ASGI middleware: 413 for a body that is too long, said or sent; 408 for one that does not come.

    :param most_bytes: of a body, by the path of its request
    """

    def __init__(
        self,
        app: ASGIApp,
        most_bytes: Callable[[str], int] = forms_only,
        stall_s: float = STALL_S,
        whole_s: float = WHOLE_S,
    ) -> None:
        self._app = app
        self._most_bytes, self._stall_s, self._whole_s = most_bytes, stall_s, whole_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = self._bounded(receive, self._most_bytes(scope["path"]), _said_bytes(scope))
        await self._app(scope, receive, send)

    def _bounded(self, receive: Receive, most_bytes: int, said_bytes: int) -> Receive:
        """``receive`` that raises HTTPException where a route reads too much or waits too long."""
        read, complete = 0, False
        too_long = HTTPException(413, f"a request here may have at most {most_bytes} bytes")
        until = asyncio.get_running_loop().time() + self._whole_s

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal read, complete
            if complete:  # what follows is the client's leaving
                return await receive()
            if said_bytes > most_bytes:
                raise too_long
            try:
                async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + self._stall_s, until)):
                    message: Message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the rest of the request did not come") from None
            read += len(message.get("body", b""))
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            if read > most_bytes:
                raise too_long
            return message

        return bounded


def _said_bytes(scope: Scope) -> int:
    said = dict(scope["headers"]).get(b"content-length", b"0")
    return int(said) if said.isdigit() else 0
