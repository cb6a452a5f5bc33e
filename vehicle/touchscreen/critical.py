"""What was done about a red value: one form on Measure, on a laboratory result, and on a finding's own page."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sync.formats.critical_actions import CLOSING, WITHDRAWN
from sync.web.access import roles
from vehicle.clinic.critical import ActionMissing, Answer
from vehicle.clinic.critical_record import ULTRASOUND, Critical, finding
from vehicle.clinic.people import NobodyFound, PatientView
from vehicle.touchscreen.frame import Screen, back, referring_path
from vehicle.touchscreen.sessions import CLINICAL

PNG_PREFIX = "data:image/png;base64,"
LONGEST_SIGNATURE = 600_000


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/critical/{reading}")
    @roles(*CLINICAL)
    async def page(request: Request, reading: str) -> Response:
        """A critical finding of an ECG or ultrasound, and what was done about it."""
        one = finding(vehicle.store, reading, screen.texts(request).language)
        if one is None:
            raise HTTPException(404, "no such finding")
        served = vehicle.encounters.current()
        context = {
            "one": one,
            "whose": _whose(one.patient),
            "here": served is not None and served.encounter == one.encounter,
            "shown_at": shown_at(one),
        }
        return screen.page(request, "finding.html", "finding", context)

    @router.post("/critical/{reading}")
    @roles(*CLINICAL)
    async def acknowledge(
        request: Request,
        reading: str,
        action: Annotated[list[str] | None, Form()] = None,
        receiver: str = Form("", max_length=200),
        read_back: str = Form("", max_length=4),
        reason: str = Form("", max_length=200),
        not_told_because: str = Form("", max_length=200),
        signature: str = Form("", max_length=LONGEST_SIGNATURE),
        again: str = Form("", max_length=1),
        withdraw: str = Form("", max_length=1),
    ) -> Response:
        """In the journal before the page is let go. ``again``: measure again first, nothing is closed by it;
        ``withdraw``: what was found is none."""
        chosen = set(action or ()) - {WITHDRAWN}
        if again:
            chosen = (chosen - CLOSING) | {"repeated"}
        elif withdraw:
            chosen = {WITHDRAWN}
        answer = Answer(frozenset(chosen), receiver, read_back == "yes", reason, not_told_because, png_of(signature))
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
        if finding(vehicle.store, reading) is not None:
            return back("/ecg" if again else f"/critical/{reading}")
        path = referring_path(request, "/measure")
        return back(path if path.startswith("/laboratory") else "/measure")

    def _whose(patient: str) -> PatientView | None:
        try:
            return vehicle.people.get(patient)
        except NobodyFound:
            return None

    return router


def shown_at(one: Critical) -> str:
    """The page where one sees what was found."""
    if not one.sha256:
        return "/ecg"
    return f"/ultrasound/{one.sha256}" if one.source == ULTRASOUND else f"/ecg/recordings/{one.sha256}"


def png_of(data_url: str) -> bytes:
    """The signature as drawn; empty when there is none."""
    if not data_url.startswith(PNG_PREFIX):
        return b""
    try:
        return base64.b64decode(data_url[len(PNG_PREFIX) :], validate=True)
    except binascii.Error:
        return b""
