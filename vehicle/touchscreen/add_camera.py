"""Saying which of the cameras that are plugged in shows the room, and which the ultrasound."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sync.web.access import roles
from vehicle.camera_choice import PICTURES, CameraChoice, CameraGone, Picture
from vehicle.touchscreen.devices import say_refusal
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

PAGE = "/status/devices/add/camera"


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    choice: CameraChoice = screen.vehicle.camera_choice

    @router.get(PAGE)
    @roles(*CLINICAL)
    async def page(request: Request) -> Response:
        chosen = choice.chosen()
        cameras = await run_in_threadpool(choice.found)
        shows = {path: name for name, path in chosen.items()}
        away = [name for name, path in chosen.items() if path not in [camera.path for camera in cameras]]
        context = {"cameras": cameras, "shows": shows, "away": away, "pictures": PICTURES}
        return screen.page(request, "add_camera.html", "status", context)

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
