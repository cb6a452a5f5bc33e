"""ECG: live on paper, recordings of 10 s, stored recordings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Form, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devices.errors import AskPerson
from devices.readings import Samples
from devices.wire import pack_samples
from sync.formats import ecg_file
from sync.record.recordings import RecordingMissing
from sync.web.access import roles
from sync.web.pages import HEADERS
from vehicle.clinic.critical_record import MARKED_ON_ECG
from vehicle.clinic.ecg.findings import repeat_wanted
from vehicle.hints import hint
from vehicle.touchscreen.archive_words import archive_words
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL, DOCTORS

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle

RECORD_SECONDS = 10
Length = Annotated[int, Query(ge=1, le=60)]


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/ecg")
    @roles(*CLINICAL)
    async def live(request: Request, seconds: Length = RECORD_SECONDS) -> Response:
        """:param seconds: how long the next recording is"""
        served = vehicle.encounters.current()
        recordings = vehicle.ecg.recordings_of(*vehicle.people.registrations(served.patient.patient)) if served else []
        context = {
            "recordings": recordings,
            "findings": vehicle.ecg_findings.of_all([row.sha256 for row in recordings]),
            "ecg_device": ecg_device(screen, screen.texts(request).language),
            "seconds": seconds,
            "held": len(vehicle.ecg_import.held()),
        }
        return screen.page(request, "ecg.html", "measure", context)

    @router.post("/ecg/record")
    @roles(*CLINICAL)
    async def record(request: Request, seconds: Annotated[int, Form(ge=1, le=60)] = RECORD_SECONDS) -> Response:
        """Records from now on; answers when the recording is in the journal. JSON for the page's script."""
        try:
            made = await vehicle.ecg.record(seconds=seconds, by=request.state.caller.id)
        except AskPerson as refused:
            return JSONResponse(screen.explain(request, refused), status_code=409, headers=HEADERS)
        return JSONResponse({"sha256": made.sha256, "duration_ms": made.duration_ms}, headers=HEADERS)

    @router.get("/ecg/recordings/{sha256}")
    @roles(*CLINICAL)
    async def stored(request: Request, sha256: str) -> Response:
        return await _stored(request, sha256)

    @router.get("/ecg/recordings/{sha256}/review")
    @roles(*DOCTORS)
    async def again(request: Request, sha256: str) -> Response:
        """Where a refused signature stands: the page renews itself there."""
        return await _stored(request, sha256)

    @router.post("/ecg/recordings/{sha256}/review")
    @roles(*DOCTORS)
    async def review(
        request: Request,
        sha256: str,
        agrees: str = Form("", pattern="^(yes|no|)$"),
        af: str = Form("", max_length=10),
        words: str = Form("", max_length=500),
        pin: str = Form("", max_length=12),
        critical: Annotated[list[str] | None, Form()] = None,
    ) -> Response:
        """The doctor's signature under what the analysis found."""
        recording(sha256)
        agreed = {"yes": True, "no": False}.get(agrees)
        try:
            by = request.state.caller.id
            await vehicle.ecg_findings.review(sha256, agreed, af, words, by, pin, critical or ())
        except AskPerson as refused:
            told = {"agrees": agrees, "af": af, "words": words, "critical": critical or ()}
            return await _stored(request, sha256, told, screen.explain(request, refused))
        return back(f"/ecg/recordings/{sha256}")

    @router.get("/ecg/recordings/{sha256}/beat")
    @roles(*CLINICAL)
    async def beat(request: Request, sha256: str) -> Response:
        """The median of its usual beats as one binary samples frame; 204 while there are too few."""
        recording(sha256)
        try:
            found = await asyncio.to_thread(vehicle.ecg_findings.median_beat, sha256)
        except RecordingMissing as gone:
            return JSONResponse(screen.explain(request, gone), status_code=404, headers=HEADERS)
        if found is None:
            return Response(status_code=204, headers=HEADERS)
        header, counts = found
        samples = Samples("ecg", header.channels, header.sample_rate_hz, 0, 0, counts, header.resolution_uv, "uV")
        return Response(pack_samples("", samples), media_type="application/octet-stream", headers=HEADERS)

    async def _stored(
        request: Request, sha256: str, told: dict[str, Any] | None = None, refused: dict[str, str] | None = None
    ) -> Response:
        row = recording(sha256)
        patient = vehicle.people.get(row["patient"]) if row["patient"] else None
        here = vehicle.recordings.has(sha256)  # or evicted: the county has it
        missing = None if here else hint(RecordingMissing.code, screen.texts(request).language)
        imported = json.loads(row["facts_json"] or "{}").get("imported")
        view = await vehicle.ecg_findings.analyse(sha256) if here else vehicle.ecg_findings.of(sha256)
        context = {
            "recording": row,
            "patient": patient,
            "missing": missing,
            "imported": imported,
            "view": view,
            "repeat": view is not None and view.review is None and repeat_wanted(view.findings),
            "may_sign": request.state.caller.role in DOCTORS,
            "archive": archive_words(vehicle, sha256, bool(row["patient"] and row["encounter"]), screen.texts(request)),
            "told": told or {},
            "marks": [(what, screen.texts(request)(f"critical.finding_{what}")) for what in MARKED_ON_ECG],
            "refused": refused,
        }
        return screen.page(request, "ecg_stored.html", "measure", context, 422 if refused else 200)

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
