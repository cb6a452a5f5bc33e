"""One night of oximetry: its numbers, its curve, and whose it is."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sync.formats.oximetry_file import OximetryFileUnreadable
from sync.record.recordings import RecordingMissing
from sync.web.access import roles
from vehicle.clinic.night_oximetry import svg
from vehicle.hints import hint
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle
    nights = vehicle.nights

    @router.get("/nights/{sha256}")
    @roles(*CLINICAL)
    async def night(request: Request, sha256: str) -> Response:
        found = nights.get(sha256)
        if found is None:
            raise HTTPException(404, "no such night")
        t = screen.texts(request)
        titles = {row["name"]: row["title"] for row in vehicle.health.status(t.language)["devices"]}
        context = {
            "night": found,
            "device": titles.get(found.device, found.device),
            "patient": vehicle.people.get(found.patient) if found.patient else None,
            "drawing": "",
            "missing": None,
        }
        try:
            stored = await asyncio.to_thread(nights.read, sha256)
            context["drawing"] = svg(stored, t("touch.night.curve"))
        except RecordingMissing as gone:
            context["missing"] = screen.explain(request, gone)
        except OximetryFileUnreadable:
            context["missing"] = hint("night_unreadable", t.language)
        return screen.page(request, "night.html", "measure", context)

    @router.post("/nights/{sha256}/assign")
    @roles(*CLINICAL)
    async def assign(request: Request, sha256: str, patient: Annotated[str, Form(max_length=100)]) -> Response:
        """To the person whose name stood on the button; nobody else may have sat down meanwhile."""
        await nights.assign(sha256, patient, request.state.caller.id)
        return back(f"/nights/{sha256}")

    return router
