"""Export to a USB stick: choose one, see how far it is, see how it ended. And the same for the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sync.web.access import roles
from vehicle.hints import hint
from vehicle.sticks import Job, Phase
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL, LOCAL


class ExportAsked(BaseModel):
    """``folder``: absolute; ``whole``: all entries, for a county that has lost its own."""

    folder: str = Field(min_length=1, max_length=4000, pattern="^/")
    whole: bool = False


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    sticks = screen.vehicle.sticks

    @router.get("/status/stick")
    @roles(*CLINICAL)
    async def page(request: Request) -> Response:
        language = screen.texts(request).language
        job = sticks.job
        context: dict[str, Any] = {
            "sticks": await asyncio.to_thread(sticks.found),
            "job": job,
            "running": job is not None and job.phase is Phase.RUNNING,
            "fault": hint(job.fault, language) if job is not None and job.fault else None,
            "county_name": screen.vehicle.settings.vehicle.county_name,
        }
        return screen.page(request, "stick.html", "status", context)

    @router.post("/status/stick")
    @roles(*CLINICAL)
    async def export(request: Request, path: Annotated[str, Form(max_length=4000)]) -> Response:
        await sticks.start(Path(path), request.state.caller.id)
        return back("/status/stick")

    @router.post("/status/stick/stop")
    @roles(*CLINICAL)
    async def stop(request: Request) -> Response:
        sticks.stop()
        return back("/status/stick")

    @router.post("/api/stick")
    @roles(LOCAL)
    async def export_to(asked: ExportAsked) -> JSONResponse:
        """For ``python -m vehicle export``: answers when the export has ended."""
        job = await sticks.export(Path(asked.folder), None, asked.whole)
        await sticks.finished()
        return JSONResponse(told(job))

    return router


def told(job: Job) -> dict[str, Any]:
    """A finished job for the command line."""
    exported, returned = job.exported, job.returned
    return {
        "phase": str(job.phase),
        "fault": job.fault,
        "detail": job.detail,
        "returned_entries": returned.entries if returned else 0,
        "returned_recordings": returned.recordings if returned else 0,
        "folder": exported.folder if exported else "",
        "entries": exported.entries if exported else 0,
        "recordings": exported.recordings if exported else 0,
        "left": exported.left if exported else 0,
        "damaged": exported.damaged if exported else 0,
    }
