"""A stored ECG on its way out: on A4 at true scale, noted with who printed it; and to the hospital's archive again."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from devices.errors import AskPerson
from sync.formats.records import Draft
from sync.interop import ecg_leads, ecg_paper
from sync.interop.ecg_pdf import pdf
from sync.web.access import roles
from sync.web.pages import HEADERS
from vehicle.printing.ecg_words import ecg_words
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

MOST_PAGES_ASKED = 1000


class EcgUnreadable(AskPerson):
    """The recording's file is damaged: nothing can be printed of it."""

    code = "ecg_unreadable"


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/ecg/recordings/{sha256}/paper.pdf")
    @roles(*CLINICAL)
    async def paper(
        request: Request,
        sha256: str,
        layout: ecg_paper.Layout = "3x4+1",
        page: Annotated[int, Query(ge=0, le=MOST_PAGES_ASKED)] = 0,
    ) -> Response:
        """:param page: the first one; of a long recording ``ecg_paper.MOST_PAGES`` are printed at a time"""
        rows = vehicle.store.read("SELECT * FROM recordings WHERE sha256 = ? AND what = 'ecg'", (sha256,))
        if not rows:
            raise HTTPException(404, "no such recording")
        row, t = rows[0], screen.texts(request)
        try:
            ecg = await run_in_threadpool(lambda: ecg_leads.read(vehicle.recordings.read(sha256)))
        except ValueError as fault:
            raise EcgUnreadable(str(fault)) from fault
        if not 0 <= page < ecg_paper.page_count(ecg, layout):
            raise HTTPException(404, "no such page")
        patient = vehicle.people.get(row["patient"]) if row["patient"] else None
        letterhead = vehicle.printing.contents.letterhead
        if not letterhead.clinic:
            letterhead = replace(letterhead, clinic=vehicle.settings.vehicle.county_name)
        words = ecg_words(vehicle.store, letterhead, row, ecg, patient, vehicle.ecg_findings.of(sha256), t)
        printed = await run_in_threadpool(pdf, ecg, layout, words, page)
        said = Draft("access/1", {"action": "ecg_printed", "what": sha256}, request.state.caller.id)
        await vehicle.store.commit(said)
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="ecg-{sha256[:12]}-{layout}.pdf"'}
        return Response(printed, media_type="application/pdf", headers=headers)

    @router.post("/ecg/recordings/{sha256}/send-again")
    @roles(*CLINICAL)
    async def send_again(request: Request, sha256: str) -> Response:
        """What the hospital's archive refused, after somebody has seen to it."""
        if vehicle.picture_archive is not None:
            await vehicle.picture_archive.again(sha256, request.state.caller.id)
        return back(f"/ecg/recordings/{sha256}")

    return router
