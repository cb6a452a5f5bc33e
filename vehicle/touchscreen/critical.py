"""What was done about a red value: one form on the Measure page and on the page of a laboratory result."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from sync.web.access import roles
from vehicle.clinic.critical import ActionMissing, Answer
from vehicle.clinic.tiles import CLOSING
from vehicle.touchscreen.frame import Screen, back, referring_path
from vehicle.touchscreen.sessions import CLINICAL

PNG_PREFIX = "data:image/png;base64,"
LONGEST_SIGNATURE = 600_000


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.post("/critical/{reading}")
    @roles(*CLINICAL)
    async def acknowledge(
        request: Request,
        reading: str,
        action: Annotated[list[str] | None, Form()] = None,
        receiver: str = Form("", max_length=200),
        read_back: str = Form("", max_length=4),
        reason: str = Form("", max_length=200),
        signature: str = Form("", max_length=LONGEST_SIGNATURE),
        again: str = Form("", max_length=1),
    ) -> Response:
        """In the journal before the page is let go. ``again``: measure again first, nothing is closed by it."""
        chosen = set(action or ())
        if again:
            chosen = (chosen - CLOSING) | {"repeated"}
        answer = Answer(frozenset(chosen), receiver, read_back == "yes", reason, _png(signature))
        try:
            await vehicle.critical_values.acknowledge(reading, answer, request.state.caller.id)
        except ActionMissing as missing:
            t = screen.texts(request)
            screen.say(
                request, t("touch.critical.missing"), t(f"touch.critical.missing_{missing.facts['what']}"), "ask"
            )
            return back(referring_path(request, "/measure"))
        if "consulted" in chosen:
            return back("/consult")
        path = referring_path(request, "/measure")
        return back(path if path.startswith("/laboratory") else "/measure")

    return router


def _png(data_url: str) -> bytes:
    """The signature as drawn; empty when there is none."""
    if not data_url.startswith(PNG_PREFIX):
        return b""
    try:
        return base64.b64decode(data_url[len(PNG_PREFIX) :], validate=True)
    except binascii.Error:
        return b""
