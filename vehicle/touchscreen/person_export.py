"""A person as FHIR R4 onto a stick: which stick, with names or without, and why."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sync.web.access import roles
from vehicle.clinic.people import REASONS, NobodyFound, PatientView
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/people/{patient}/export")
    @roles(*CLINICAL)
    async def page(request: Request, patient: str) -> Response:
        found = await asyncio.to_thread(vehicle.sticks.found)
        context = {"view": _known(patient), "sticks": [one for one in found if one.writable], "reasons": REASONS}
        return screen.page(request, "person_export.html", "people", context)

    @router.post("/people/{patient}/export")
    @roles(*CLINICAL)
    async def export(
        request: Request,
        patient: str,
        path: Annotated[str, Form(max_length=4000)] = "",
        reason: Annotated[str, Form(max_length=20)] = "",
    ) -> Response:
        """``reason``: why with names; empty: without."""
        view, caller, t = _known(patient), request.state.caller, screen.texts(request)
        file = await vehicle.fhir_export.to_stick(view.patient, Path(path), reason, caller.id, caller.name)
        screen.say(request, t("touch.fhir.done"), t("touch.fhir.done_hint", file=f"{file.parent.name}/{file.name}"))
        return back(f"/people/{view.patient}/export")

    def _known(patient: str) -> PatientView:
        try:
            return vehicle.people.get(patient)
        except NobodyFound:
            raise HTTPException(404, "no such person") from None

    return router
