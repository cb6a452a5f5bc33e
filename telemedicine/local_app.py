"""What this process answers on its own Unix socket; the touchscreen's server is the only caller."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from devices.errors import AskPerson
from sync.web.access import Caller, guarded_app, roles
from telemedicine.camera_preview import CameraPreview
from telemedicine.peer import OfferRefused
from telemedicine.ultrasound import local_routes
from telemedicine.ultrasound.bridge import UltrasoundBridge
from telemedicine.vehicle_client import VehicleAway, VehicleRefused
from telemedicine.wire import SDP_LIMIT_CHARACTERS

LOCAL = "local"


class KioskOffer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sdp: Annotated[str, Field(min_length=10, max_length=SDP_LIMIT_CHARACTERS)]
    type: Literal["offer"] = "offer"


class Consultation(Protocol):
    """The part of ``telemedicine.van.Van`` that is reached from outside."""

    async def kiosk_answer(self, sdp: str) -> str: ...

    async def hang_up(self) -> None: ...

    def status(self) -> dict[str, object]: ...

    @property
    def ultrasound(self) -> UltrasoundBridge | None: ...

    preview: CameraPreview

    async def photo(self) -> bytes: ...


def create_local_app(van: Consultation, session_secret: str) -> FastAPI:
    """The application; the socket file's permissions say who may call it."""
    app = guarded_app("Xunzhen consultation", _local, session_secret, secure_cookies=False)

    @app.post("/kiosk/offer")
    @roles(LOCAL)
    async def kiosk_offer(offer: KioskOffer) -> dict[str, str]:
        """The touchscreen's own WebRTC leg: room and ultrasound as the specialist sees them, voices both ways."""
        try:
            return {"type": "answer", "sdp": await van.kiosk_answer(offer.sdp)}
        except OfferRefused as refusal:
            raise HTTPException(422, str(refusal)) from None

    @app.get("/status")
    @roles(LOCAL)
    async def status() -> JSONResponse:
        return JSONResponse(van.status())

    @app.post("/hangup")
    @roles(LOCAL)
    async def hang_up() -> JSONResponse:
        """End the live session for everybody."""
        try:
            await van.hang_up()
        except VehicleRefused as refusal:
            raise HTTPException(409, str(refusal)) from None
        except VehicleAway as away:
            raise HTTPException(503, f"the vehicle process does not answer: {away}") from None
        return JSONResponse({"ended": True})

    @app.get("/camera/still")
    @roles(LOCAL)
    async def camera_still(camera: Annotated[str, Query(max_length=300)]) -> Response:
        """What a camera shows now, as JPEG."""
        try:
            still = await van.preview.still(camera)
        except AskPerson as refusal:
            raise HTTPException(409, {"code": refusal.code, "reason": str(refusal)}) from None
        return Response(still, media_type="image/jpeg")

    @app.get("/camera/photo")
    @roles(LOCAL)
    async def camera_photo() -> Response:
        """A photo of the camera that looks out of the van, as JPEG."""
        try:
            photo = await van.photo()
        except AskPerson as refusal:
            raise HTTPException(409, {"code": refusal.code, "reason": str(refusal)}) from None
        return Response(photo, media_type="image/jpeg")

    app.include_router(local_routes.routes(van))
    return app


async def _local(_: HTTPConnection) -> Caller | None:
    return Caller(id=LOCAL, role=LOCAL, by_cookie=False)
