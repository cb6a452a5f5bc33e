"""The photo of the van at the village sign, and the signature of somebody of the village."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from devices.errors import AskPerson
from sync.record.recordings import RecordingMissing
from sync.web.access import roles
from sync.web.pages import HEADERS
from vehicle.patrol.visit_pictures import POSTS, VisitPictures
from vehicle.touchscreen.add_camera import still_of
from vehicle.touchscreen.critical import LONGEST_SIGNATURE, png_of
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CREW

PHOTO, SIGNATURE = "/visit/photo", "/visit/signature"


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle
    pictures: VisitPictures = vehicle.visit_pictures
    socket = vehicle.settings.consultation.socket

    def photo_page(request: Request, refused: dict[str, str] | None = None) -> Response:
        visit = vehicle.visits.current()
        if visit is None:
            return back("/today")
        context = {
            "photo": pictures.waiting if refused is None else None,
            "kept": pictures.kept(visit.visit),
            "here": [one.sha256 for one in pictures.kept(visit.visit) if vehicle.recordings.has(one.sha256)],
            "refused": refused,
        }
        return screen.page(request, "visit_photo.html", "today", context)

    def signature_page(request: Request, refused: dict[str, str] | None = None, name: str = "") -> Response:
        if vehicle.visits.current() is None:
            return back("/today")
        context = {"posts": POSTS, "names": pictures.names(), "refused": refused, "name": name}
        return screen.page(request, "visit_signature.html", "today", context)

    @router.get(PHOTO)
    @roles(*CREW)
    async def photo(request: Request) -> Response:
        return photo_page(request)

    @router.post(PHOTO)
    @roles(*CREW)
    async def take(request: Request) -> Response:
        """One touch: the camera that looks out of the van takes a picture, and it is shown."""
        try:
            pictures.may_take()
            pictures.take(await still_of(socket, "/camera/photo"))
        except AskPerson as refusal:
            return photo_page(request, screen.explain(request, refusal))
        return back(PHOTO)

    @router.get(f"{PHOTO}/waiting")
    @roles(*CREW)
    async def waiting(request: Request) -> Response:
        found = pictures.waiting
        if found is None:
            raise HTTPException(404, "no photo waits")
        return Response(found.jpeg, media_type="image/jpeg", headers=HEADERS)

    @router.post(f"{PHOTO}/keep")
    @roles(*CREW)
    async def keep(request: Request, sha256: Annotated[str, Form(max_length=64)]) -> Response:
        try:
            await pictures.keep(sha256, request.state.caller.id)
        except AskPerson as refusal:
            return photo_page(request, screen.explain(request, refusal))
        t = screen.texts(request)
        screen.say(request, t("touch.visit_picture.photo_kept"), t("touch.visit_picture.kept_hint"))
        return back("/today")

    @router.get("/visit/pictures/{sha256}")
    @roles(*CREW)
    async def picture(request: Request, sha256: str) -> Response:
        """A kept picture of this visit: the very bytes of the record."""
        visit = vehicle.visits.current()
        kept = pictures.kept(visit.visit) if visit is not None else []
        found = next((one for one in kept if one.sha256 == sha256), None)
        if found is None:
            raise HTTPException(404, "this visit has no such picture")
        if not vehicle.recordings.has(sha256):
            return JSONResponse(screen.explain(request, RecordingMissing()), status_code=404, headers=HEADERS)
        return FileResponse(vehicle.recordings.path(sha256), media_type=found.media_type, headers=HEADERS)

    @router.get(SIGNATURE)
    @roles(*CREW)
    async def signature(request: Request) -> Response:
        return signature_page(request)

    @router.post(SIGNATURE)
    @roles(*CREW)
    async def sign(
        request: Request,
        post: Annotated[str, Form(max_length=20)],
        name: Annotated[str, Form(max_length=80)] = "",
        signature: Annotated[str, Form(max_length=LONGEST_SIGNATURE)] = "",
    ) -> Response:
        try:
            await pictures.sign(png_of(signature), name, post, request.state.caller.id)
        except AskPerson as refusal:
            return signature_page(request, screen.explain(request, refusal), name)
        t = screen.texts(request)
        screen.say(request, t("touch.visit_picture.signature_kept"), t("touch.visit_picture.kept_hint"))
        return back("/today")

    return router
