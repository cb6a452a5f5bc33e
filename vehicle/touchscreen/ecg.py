"""ECG: live on paper, recordings of 10 s, stored recordings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devices.errors import AskPerson
from sync.formats import ecg_file
from sync.record.recordings import RecordingMissing
from sync.web.access import roles
from sync.web.pages import HEADERS
from vehicle.hints import hint
from vehicle.touchscreen.frame import Screen
from vehicle.touchscreen.sessions import CLINICAL

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle

RECORD_SECONDS = 10


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/ecg")
    @roles(*CLINICAL)
    async def live(request: Request) -> Response:
        served = vehicle.encounters.current()
        recordings = vehicle.ecg.recordings_of(served.patient.patient) if served else []
        context = {
            "recordings": recordings,
            "ecg_device": ecg_device(screen, screen.texts(request).language),
            "seconds": RECORD_SECONDS,
            "held": len(vehicle.ecg_import.held()),
        }
        return screen.page(request, "ecg.html", "measure", context)

    @router.post("/ecg/record")
    @roles(*CLINICAL)
    async def record(request: Request) -> Response:
        """Records from now on; answers when the recording is in the journal. JSON for the page's script."""
        try:
            made = await vehicle.ecg.record(seconds=RECORD_SECONDS, by=request.state.caller.id)
        except AskPerson as refused:
            return JSONResponse(screen.explain(request, refused), status_code=409, headers=HEADERS)
        return JSONResponse({"sha256": made.sha256, "duration_ms": made.duration_ms}, headers=HEADERS)

    @router.get("/ecg/recordings/{sha256}")
    @roles(*CLINICAL)
    async def stored(request: Request, sha256: str) -> Response:
        row = recording(sha256)
        patient = vehicle.people.get(row["patient"]) if row["patient"] else None
        here = vehicle.recordings.has(sha256)  # or evicted: the county has it
        missing = None if here else hint(RecordingMissing.code, screen.texts(request).language)
        imported = json.loads(row["facts_json"] or "{}").get("imported")
        context = {"recording": row, "patient": patient, "missing": missing, "imported": imported}
        return screen.page(request, "ecg_stored.html", "measure", context)

    @router.get("/ecg/recordings/{sha256}/samples")
    @roles(*CLINICAL)
    async def samples(request: Request, sha256: str) -> Response:
        """The whole recording as one binary samples frame; rows that were never received are INVALID_COUNT."""
        row = recording(sha256)
        try:
            frame = await asyncio.to_thread(_frame_of, vehicle, row)
        except RecordingMissing as gone:
            return JSONResponse(screen.explain(request, gone), status_code=404, headers=HEADERS)
        return Response(frame, media_type="application/octet-stream", headers=HEADERS)

    def recording(sha256: str) -> dict[str, Any]:
        rows = vehicle.store.read("SELECT * FROM recordings WHERE sha256 = ? AND what = 'ecg'", (sha256,))
        if not rows:
            raise HTTPException(404, "no such recording")
        return dict(rows[0])

    return router


def ecg_device(screen: Screen, language: str) -> Any:
    """The status row of the ECG device, one that is there before one that is not; None where the van has none."""
    devices = screen.vehicle.health.status(language)["devices"]
    fitted = [device for device in devices if device["driver"] in screen.ecg_drivers]
    return next((device for device in fitted if device["link"] in ("connected", "degraded")), next(iter(fitted), None))


def _frame_of(vehicle: Vehicle, row: Mapping[str, Any]) -> bytes:
    """The stored file as one frame; recordings of several segments follow each other with a gap of one sample."""
    return ecg_file.as_frame(vehicle.recordings.read(row["sha256"]), str(row["device"] or ""))
