"""The touchscreen of the van: one guarded application, one file of routes per page.

The same application answers on a TCP port of the loopback (the kiosk browser) and on a Unix socket (the consultation
process); over the socket the caller has the role ``local``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devices.errors import AskPerson, Park
from sync.web.access import PUBLIC, guarded_app, roles
from sync.web.body_limits import MOST_BYTES
from sync.web.pages import HEADERS, Pages
from vehicle.touchscreen import (
    add_analyser,
    add_camera,
    capture_api,
    consult,
    critical,
    devices,
    ecg,
    ecg_import,
    ecg_paper,
    emergency,
    enrol,
    follow_ups,
    held,
    laboratory,
    link,
    live,
    local_api,
    measure,
    nights,
    pairing,
    paper,
    people,
    person,
    person_export,
    printing,
    profile,
    screening,
    screening_paths,
    sign_in,
    status,
    stick,
    today,
    ultrasound,
    visit_pictures,
    voice,
)
from vehicle.touchscreen.frame import FOLDER, Screen, back, referring_path
from vehicle.touchscreen.recent import RecentSamples
from vehicle.touchscreen.sessions import BACKGROUND, Sessions, over_unix_socket, session_secret

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle

PAGES = (
    sign_in,
    enrol,
    today,
    people,
    person,
    person_export,
    profile,
    follow_ups,
    held,
    measure,
    laboratory,
    ecg,
    ecg_import,
    nights,
    emergency,
    ecg_paper,
    screening,
    screening_paths,
    printing,
    consult,
    critical,
    ultrasound,
    status,
    add_analyser,
    add_camera,
    devices,
    link,
    pairing,
    paper,
    stick,
    visit_pictures,
    voice,
)


def create_touchscreen(vehicle: Vehicle) -> FastAPI:
    """The application over a vehicle's services; opens nothing by itself."""
    random_bytes = vehicle.random_bytes
    sessions = Sessions(vehicle.staff.all, vehicle.clock, random_bytes)
    secret = session_secret(vehicle.settings.data / "keys", random_bytes)
    app = guarded_app("Xunzhen touchscreen", sessions.identify, secret, secure_cookies=False, most_bytes=_most_bytes)
    screen = Screen(vehicle)
    app.state.vehicle, app.state.screen, app.state.sessions = vehicle, screen, sessions
    screen.pages.globals["as_time"] = status.as_time
    for page in PAGES:
        app.include_router(page.routes(screen))
    recent = RecentSamples()
    for stream in ("ecg", "pleth"):
        vehicle.feed.on(stream, recent.push, "recent samples")
    app.include_router(live.routes(vehicle, recent))
    app.include_router(local_api.routes(vehicle, recent))
    app.include_router(capture_api.routes(vehicle))
    Pages.mount(app, FOLDER / "static")
    _answer_errors(app, screen)

    @app.get("/health")
    @roles(PUBLIC)
    async def health() -> JSONResponse:
        """Liveness for supervisors; says nothing about people."""
        return JSONResponse({"status": "ok"}, headers=HEADERS)

    return app


def _most_bytes(path: str) -> int:
    return capture_api.LARGEST_PART_BYTES if path.startswith("/api/captures/") else MOST_BYTES


def _answer_errors(app: FastAPI, screen: Screen) -> None:
    @app.exception_handler(AskPerson)
    async def ask(request: Request, error: Exception) -> Response:
        """What a person has to do: beside the form it came from, or as JSON for scripts and other processes."""
        assert isinstance(error, AskPerson)
        told = screen.explain(request, error)
        if wants_json(request) or over_unix_socket(request.scope):
            return JSONResponse(told, status_code=409, headers=HEADERS)
        screen.say(request, told["title"] or told["cause"], told["next_step"] or told["cause"], "ask")
        return back(referring_path(request, "/today"))

    @app.exception_handler(Park)
    async def parked(request: Request, error: Exception) -> Response:
        """Something that will not be taken, now or later (an opinion whose signature does not hold)."""
        assert isinstance(error, Park)
        return JSONResponse({**screen.explain(request, error), "detail": str(error)}, status_code=422, headers=HEADERS)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if for_scripts(request) or error.status_code in (408, 413):  # no page of ours sends so much, or so slowly
            return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=HEADERS)
        caller = getattr(request.state, "caller", None)
        if error.status_code == 401 or caller is None:
            return back("/sign-in")
        t = screen.texts(request)
        title = (
            t(f"touch.refused.{error.status_code}") if f"touch.refused.{error.status_code}" in t else str(error.detail)
        )
        return screen.page(request, "refused.html", "", {"title": title}, error.status_code)

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        """A bug: the server logs it; the panel has no way back of its own, and the frame may be what is broken."""
        status = 422 if isinstance(error, RequestValidationError) else 500
        if for_scripts(request):
            return JSONResponse({"detail": type(error).__name__}, status_code=status, headers=HEADERS)
        return screen.bare(request, "broken.html", status=status)


def for_scripts(request: Request) -> bool:
    return wants_json(request) or BACKGROUND in request.headers or request.scope["path"].startswith("/api")


def wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")
