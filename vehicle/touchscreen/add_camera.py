"""Saying which of the cameras that are plugged in shows the room, which the ultrasound, and which looks out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import httpx
from fastapi import APIRouter, Form, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devices.errors import AskPerson
from sync.web.access import roles
from sync.web.pages import HEADERS
from vehicle.camera_choice import PICTURES, CameraChoice, CameraGone, Picture
from vehicle.touchscreen.devices import say_refusal
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL
from vehicle.touchscreen.ultrasound import MediaProcessDown

PAGE = "/status/devices/add/camera"
STILL_TIMEOUT_S = 12.0
"""A camera takes its time to wake up, and a photo waits for its exposure."""


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    choice: CameraChoice = screen.vehicle.camera_choice
    socket = screen.vehicle.settings.consultation.socket

    @router.get(PAGE)
    @roles(*CLINICAL)
    async def page(request: Request) -> Response:
        chosen = choice.chosen()
        cameras = await run_in_threadpool(choice.found)
        shows = {path: name for name, path in chosen.items()}
        away = [name for name, path in chosen.items() if path not in [camera.path for camera in cameras]]
        context = {"cameras": cameras, "shows": shows, "away": away, "pictures": PICTURES}
        return screen.page(request, "add_camera.html", "status", context)

    @router.get(f"{PAGE}/still")
    @roles(*CLINICAL)
    async def still(request: Request, camera: Annotated[str, Query(max_length=300)]) -> Response:
        """What a camera shows now, as the consultation process sees it; else why not, in words."""
        try:
            if camera not in [one.path for one in await run_in_threadpool(choice.found)]:
                raise CameraGone(f"no camera at {camera}", camera=camera)
            return Response(
                await still_of(socket, "/camera/still", camera=camera), media_type="image/jpeg", headers=HEADERS
            )
        except AskPerson as refusal:
            return JSONResponse(screen.explain(request, refusal), status_code=409, headers=HEADERS)

    @router.post(PAGE)
    @roles(*CLINICAL)
    async def choose(
        request: Request, camera: Annotated[str, Form(max_length=300)], picture: Annotated[Picture, Form()]
    ) -> Response:
        t = screen.texts(request)
        try:
            await choice.choose(camera, picture, request.state.caller.id)
        except CameraGone as refusal:
            say_refusal(screen, request, refusal)
        else:
            screen.say(request, t(f"touch.camera.chosen_{picture}"), t("touch.camera.chosen_hint"))
        return back(PAGE)

    @router.post(f"{PAGE}/back")
    @roles(*CLINICAL)
    async def give_back(request: Request, picture: Annotated[Picture, Form()]) -> Response:
        await choice.give_back(picture, request.state.caller.id)
        return back(PAGE)

    return router


async def still_of(socket: Path, path: str, **asked: str) -> bytes:
    """What the consultation process answers at ``path``: a picture as JPEG.

    :raises AskPerson: there is none; the code is the one that the consultation process gave
    """
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://consultation", timeout=STILL_TIMEOUT_S
        ) as one:
            answer = await one.get(path, params=asked)
            if answer.is_success:
                return answer.content
            said = answer.json().get("detail")
    except (httpx.HTTPError, ValueError, AttributeError) as fault:
        raise MediaProcessDown(f"no picture: {fault}") from fault
    refusal = MediaProcessDown(f"no picture: {said}")
    refusal.code = said.get("code", MediaProcessDown.code) if isinstance(said, dict) else MediaProcessDown.code
    raise refusal
