"""Stored ECGs, stills and clips of a case, as far as the county has received them: what an answer without a live link,
or one that comes later, is based on. Only for who takes part in the case, and only what the case names."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from fastapi import APIRouter, HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sync.formats import ecg_file
from sync.web.access import roles
from sync.web.pages import HEADERS
from telemedicine.exchange.rooms import Rooms

MEDIA_TYPES = {
    "ecg": "application/octet-stream",
    "ultrasound_still": "image/png",
    "ultrasound_clip": "video/mp4",
}


class RecordingBook(Protocol):
    """What the county has received (``sync.county.blobs.Blobs``)."""

    def has(self, sha256: str) -> bool: ...

    def read(self, sha256: str) -> Any: ...


def recording_routes(rooms: Rooms, received: RecordingBook) -> APIRouter:
    router = APIRouter()

    @router.get("/specialist/consultations/{consultation}/recordings")
    @roles("specialist")
    async def recordings(request: Request, consultation: str) -> JSONResponse:
        """The case's recordings, newest first, each with ``here``: whether the county has it yet."""
        named = _named(rooms, request, consultation)
        shown = [one | {"here": await asyncio.to_thread(received.has, one["sha256"])} for one in named]
        return JSONResponse(shown, headers=HEADERS)

    @router.get("/specialist/consultations/{consultation}/recordings/{sha256}")
    @roles("specialist")
    async def recording(request: Request, consultation: str, sha256: str) -> Response:
        """A still or clip as it is, an ECG as one samples frame (``devices.wire``)."""
        what = {one["sha256"]: one["what"] for one in _named(rooms, request, consultation)}.get(sha256)
        if what is None or not await asyncio.to_thread(received.has, sha256):
            raise HTTPException(404, "this recording is not of this case, or the van has not delivered it yet")
        data = await asyncio.to_thread(lambda: b"".join(received.read(sha256)))
        if what == "ecg":
            try:
                data = ecg_file.as_frame(data, "")
            except ecg_file.EcgFileUnreadable as fault:
                raise HTTPException(422, f"the stored ECG cannot be read: {fault}") from None
        return Response(data, media_type=MEDIA_TYPES[what], headers=HEADERS)

    return router


def _named(rooms: Rooms, request: Request, consultation: str) -> list[dict[str, Any]]:
    case = rooms.case_for(request.state.caller.id, consultation)
    if case is None:
        raise HTTPException(404, "this consultation is not yours, or it is over")
    named = case["summary"].get("recordings") or []
    return [one for one in named if isinstance(one, dict) and one.get("what") in MEDIA_TYPES and one.get("sha256")]
