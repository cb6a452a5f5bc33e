"""Sign-in by name and PIN, and the lock."""

from __future__ import annotations

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from devices.errors import AskPerson
from sync.web.access import PUBLIC, roles
from vehicle.touchscreen.frame import Screen, back, link_words


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/")
    @roles(PUBLIC)
    async def root(request: Request) -> Response:
        return back("/today" if request.state.caller else "/sign-in")

    @router.get("/sign-in")
    @roles(PUBLIC)
    async def show(request: Request) -> Response:
        return page(request)

    @router.post("/sign-in")
    @roles(PUBLIC)
    async def sign_in(request: Request, person: str = Form(), pin: str = Form(max_length=12)) -> Response:
        try:
            signed_in = await vehicle.staff.sign_in(person, pin)
        except AskPerson as refused:
            return page(request, person, screen.explain(request, refused))
        request.app.state.sessions.begin(request.session, signed_in.id)
        return back("/today")

    @router.post("/lock")
    @roles(PUBLIC)
    async def lock(request: Request) -> Response:
        caller = request.state.caller
        request.app.state.sessions.end(request.session)
        if caller is not None and caller.by_cookie:
            await vehicle.staff.sign_out(caller.id)
        return back("/sign-in")

    def page(request: Request, chosen: str = "", refused: dict[str, str] | None = None) -> Response:
        t = screen.texts(request)
        status = vehicle.health.status()
        context = {
            "people": list(vehicle.staff.all()),
            "chosen": chosen,
            "refused": refused,
            "vehicle": vehicle.settings.vehicle,
            "link": link_words(status.get("link") or {}, t),
            "visit": vehicle.visits.current(),
            "proposed": vehicle.visits.proposed(),
            "not_enrolled": vehicle.enrolment.due(vehicle.uploader.status()),
        }
        return screen.bare(request, "sign_in.html", context)

    return router
