"""Enrolment: the code and the fingerprint that the doctor reads to the county over the phone.

Public, as a van on its first start may have no crew yet: the page shows nothing of anybody.
"""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sync.web.access import PUBLIC, roles
from sync.web.pages import HEADERS
from vehicle.enrolment import EnrolmentView
from vehicle.touchscreen.frame import Screen, back

PAGE = "/enrol"


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get(PAGE)
    @roles(PUBLIC)
    async def show(request: Request) -> Response:
        view = await vehicle.enrolment.show()
        facts = {"view": view, "vehicle": vehicle.settings.vehicle, "home": "/status" if request.state.caller else "/"}
        return screen.bare(request, "enrol.html", facts)

    @router.get(f"{PAGE}/state")
    @roles(PUBLIC)
    async def state(request: Request) -> Response:
        """How it stands; asked by the page every few seconds, which is how we know that somebody looks at it."""
        view = await vehicle.enrolment.show()
        return JSONResponse({**_plain(view), "left_minutes": -(-view.left_s // 60)}, headers=HEADERS)

    @router.post(f"{PAGE}/new-code")
    @roles(PUBLIC)
    async def new_code(request: Request) -> Response:
        await vehicle.enrolment.new_code()
        return back(PAGE)

    return router


def _plain(view: EnrolmentView) -> dict[str, object]:
    return asdict(view)
