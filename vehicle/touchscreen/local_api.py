"""The vehicle's own API for its second process and for technicians: JSON over the Unix socket, role ``local``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from devices.wire import pack_samples
from sync.web.access import roles
from telemedicine.opinion import SignedOpinion
from vehicle.consultation_words import in_all_languages
from vehicle.touchscreen.recent import RecentSamples
from vehicle.touchscreen.sessions import LOCAL

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle


class ConsultationEvent(BaseModel):
    """A step the consultation process or the exchange proposes (telemedicine/consultation.py names them)."""

    event: str = Field(max_length=40)
    who: str = Field(default="", max_length=120)
    reason: str = Field(default="", max_length=400)


class SessionAccess(BaseModel):
    """A specialist who came into the session or left it."""

    who: str = Field(min_length=1, max_length=120)
    role: Literal["lead", "colleague", "observer"]
    invited_by: str = Field(default="", max_length=80)
    here: bool


def routes(vehicle: Vehicle, recent: RecentSamples) -> APIRouter:
    router = APIRouter(prefix="/api")

    @router.get("/consultation")
    @roles(LOCAL)
    async def consultation() -> Response:
        """The open consultation with the summary for the specialist, its words in all languages; 204: there is none."""
        current = vehicle.consultations.current()
        if current is None:
            return Response(status_code=204)
        return JSONResponse(
            {
                "consultation": current.consultation,
                "state": str(current.state),
                "urgency": current.urgency,
                "summary": in_all_languages(
                    lambda language: vehicle.consultations.summary(current.consultation, language)
                ),
            }
        )

    @router.post("/consultation/{consultation}/event")
    @roles(LOCAL)
    async def event(consultation: str, step: ConsultationEvent) -> JSONResponse:
        view = await vehicle.consultations.change(consultation, step.event, step.who, step.reason)
        return JSONResponse({"consultation": consultation, "state": str(view.state)})

    @router.post("/consultation/{consultation}/access")
    @roles(LOCAL)
    async def access(consultation: str, took: SessionAccess) -> JSONResponse:
        vehicle.consultations.get(consultation)
        await vehicle.consultation_people.take(consultation, took.who, took.role, took.invited_by, took.here)
        return JSONResponse({"consultation": consultation})

    @router.post("/consultation/{consultation}/opinion")
    @roles(LOCAL)
    async def opinion(consultation: str, signed: SignedOpinion) -> JSONResponse:
        """A signed opinion; verified before it is kept, and kept once however often it comes."""
        if signed.consultation != consultation:
            raise HTTPException(422, "the opinion is for another consultation")
        view = await vehicle.consultations.receive_opinion(consultation, signed)
        return JSONResponse({"consultation": consultation, "state": str(view.state)})

    @router.get("/status")
    @roles(LOCAL)
    async def status() -> JSONResponse:
        return JSONResponse(vehicle.health.status())

    @router.get("/samples")
    @roles(LOCAL)
    async def samples(
        device: str = Query(max_length=63),
        segment: int = Query(ge=0),
        first: int = Query(ge=0),
        count: int = Query(ge=1, le=60_000),
    ) -> Response:
        kept = recent.take(device, segment, first, count)
        if kept is None:
            raise HTTPException(404, "nothing is kept of that device and segment")
        return Response(pack_samples(device, kept), media_type="application/octet-stream")

    return router
