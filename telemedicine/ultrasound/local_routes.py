"""Freeze and clip by the crew: what the touchscreen's server asks on the media process's own socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from devices.errors import AskPerson
from sync.web.access import roles
from telemedicine.ultrasound.bridge import UltrasoundBridge
from telemedicine.vehicle_client import VehicleAway

LOCAL = "local"
T = TypeVar("T")


class HasUltrasound(Protocol):
    @property
    def ultrasound(self) -> UltrasoundBridge | None: ...


class By(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(min_length=1, max_length=63)]


class Clip(By):
    seconds: Annotated[float, Field(ge=1, le=120)]


def routes(van: HasUltrasound) -> APIRouter:
    router = APIRouter(prefix="/ultrasound")

    def bridge() -> UltrasoundBridge:
        if van.ultrasound is None:
            raise HTTPException(404, "no ultrasound is configured")
        return van.ultrasound

    async def asked(work: Callable[[UltrasoundBridge], Awaitable[T]]) -> T:
        try:
            return await work(bridge())
        except AskPerson as refusal:
            raise HTTPException(409, {"code": refusal.code, "reason": str(refusal)}) from None
        except VehicleAway as away:
            raise HTTPException(503, {"code": away.code, "reason": str(away)}) from None

    @router.post("/freeze")
    @roles(LOCAL)
    async def freeze(said: By) -> JSONResponse:
        """The still, durable in the record."""
        return JSONResponse(await asked(lambda machine: machine.freeze(by=said.by)))

    @router.post("/clip")
    @roles(LOCAL)
    async def clip(said: Clip) -> JSONResponse:
        """Answers when the clip's first second is in the record."""
        await asked(lambda machine: machine.start_clip(said.seconds, by=said.by))
        return JSONResponse(bridge().status())

    @router.post("/clip/stop")
    @roles(LOCAL)
    async def stop() -> JSONResponse:
        await asked(lambda machine: machine.stop_clip())
        return JSONResponse(bridge().status())

    @router.get("/status")
    @roles(LOCAL)
    async def status() -> JSONResponse:
        answer: dict[str, Any] = bridge().status()
        return JSONResponse(answer)

    return router
