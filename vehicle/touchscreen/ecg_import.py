"""ECG files from a stick: choose one, look at it beside the person at hand, keep it; and those nobody has yet."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devices.errors import AskPerson
from devices.wire import pack_samples
from sync.web.access import roles
from sync.web.pages import HEADERS
from vehicle.ecg_import import EcgImportedAlready
from vehicle.hints import hint
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

FilePath = Annotated[str, Query(max_length=4000)]
Hash = Annotated[str, Form(pattern="^[0-9a-f]{64}$")]


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle
    ecgs = vehicle.ecg_import

    @router.get("/ecg/import")
    @roles(*CLINICAL)
    async def choose(request: Request) -> Response:
        context = {
            "sticks": await asyncio.to_thread(vehicle.sticks.found),
            "files": await asyncio.to_thread(ecgs.files),
            "held": ecgs.held(),
            "unread": ecgs.unread(),
            "hint_title": lambda code: hint(code, screen.texts(request).language).title,
        }
        return screen.page(request, "ecg_import.html", "measure", context)

    @router.get("/ecg/import/file")
    @roles(*CLINICAL)
    async def look(request: Request, path: FilePath) -> Response:
        """What is in a file, beside the person at hand; a file that is not read here is said on the page before."""
        try:
            looked = await asyncio.to_thread(ecgs.look, path)
        except AskPerson as refused:
            told = screen.explain(request, refused)
            screen.say(request, told["title"], told["next_step"], "ask")
            return back("/ecg/import")
        served = vehicle.encounters.current()
        rows = ecgs.claims(looked.document, served.patient if served else None)
        context = {
            "looked": looked,
            "document": looked.document,
            "claims": rows,
            "differs": [row.what for row in rows if row.same is False],
            "samples": f"/ecg/import/samples?{urlencode({'path': path})}",
        }
        return screen.page(request, "ecg_import_file.html", "measure", context)

    @router.get("/ecg/import/samples")
    @roles(*CLINICAL)
    async def samples(request: Request, path: FilePath) -> Response:
        """The file's ECG as one binary samples frame."""
        try:
            looked = await asyncio.to_thread(ecgs.look, path)
        except AskPerson as refused:
            return JSONResponse(screen.explain(request, refused), status_code=404, headers=HEADERS)
        frame = pack_samples(looked.document.device_said, looked.document.samples)
        return Response(frame, media_type="application/octet-stream", headers=HEADERS)

    @router.post("/ecg/import/file")
    @roles(*CLINICAL)
    async def keep(
        request: Request,
        path: Annotated[str, Form(max_length=4000)],
        file_sha256: Hash,
        patient: Annotated[str, Form(max_length=100)] = "",
    ) -> Response:
        """``patient``: whose it is; empty: of nobody yet."""
        known = vehicle.people.get(patient) if patient else None
        try:
            sha256 = await ecgs.store(path, file_sha256, known, request.state.caller.id)
        except EcgImportedAlready as known:
            told = screen.explain(request, known)
            screen.say(request, told["title"], told["next_step"], "ask")
            return back(f"/ecg/recordings/{known.facts['sha256']}")
        return back(f"/ecg/recordings/{sha256}" if patient else "/ecg/import")

    @router.post("/ecg/recordings/{sha256}/assign")
    @roles(*CLINICAL)
    async def assign(request: Request, sha256: str, patient: Annotated[str, Form(max_length=100)]) -> Response:
        await ecgs.assign(sha256, patient, request.state.caller.id)
        return back(f"/ecg/recordings/{sha256}")

    return router
