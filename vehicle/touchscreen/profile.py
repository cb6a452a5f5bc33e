"""The health profile of a person on one page: programmes joined and left, values, trends, forms; printed on A4."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sync.web.access import roles
from sync.web.pages import HEADERS
from vehicle.clinic.forms.form import called_by_programme
from vehicle.clinic.forms.wording import shown_answer
from vehicle.clinic.health_profile import HealthProfile
from vehicle.clinic.people import NobodyFound
from vehicle.clinic.programmes import LEFT_FOR
from vehicle.clinic.trends import svg
from vehicle.touchscreen.follow_ups import PDF_TYPE
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/people/{patient}/health")
    @roles(*CLINICAL)
    async def profile(request: Request, patient: str) -> Response:
        t = screen.texts(request)
        found = await _opened(request, patient)
        context = {
            "profile": found,
            "charts": [
                (trend, svg(trend, t("touch.health.trend_label", what=t(f"touch.tile.{trend.type}"))))
                for trend in found.trends
            ],
            "left_for": LEFT_FOR,
            "form_title": lambda form: (
                t(f"touch.programme.{form.programme}") if called_by_programme(form) else form.words(t.language)
            ),
            "shown_answer": lambda one, value: shown_answer(one, value, t.language),
        }
        return screen.page(request, "profile.html", "people", context)

    @router.get("/people/{patient}/health.pdf")
    @roles(*CLINICAL)
    async def sheet(request: Request, patient: str) -> Response:
        found = await _opened(request, patient, on_paper=True)
        written = await run_in_threadpool(vehicle.form_sheets.profile_pdf, found)
        headers = {**HEADERS, "Content-Disposition": 'inline; filename="health-profile.pdf"'}
        return Response(written, media_type=PDF_TYPE, headers=headers)

    @router.post("/people/{patient}/programmes")
    @roles(*CLINICAL)
    async def join(request: Request, patient: str, programme: Annotated[str, Form(max_length=40)] = "") -> Response:
        _known(patient)
        me = vehicle.staff.get(request.state.caller.id)
        await vehicle.programmes.join(patient, programme, vehicle.programmes.today(), me)
        return back(f"/people/{patient}/health")

    @router.post("/people/{patient}/programmes/leave")
    @roles(*CLINICAL)
    async def leave(
        request: Request,
        patient: str,
        programme: Annotated[str, Form(max_length=40)] = "",
        reason: Annotated[str, Form(max_length=20)] = "",
    ) -> Response:
        _known(patient)
        me = vehicle.staff.get(request.state.caller.id)
        await vehicle.programmes.leave(patient, programme, reason, me)
        return back(f"/people/{patient}/health")

    async def _opened(request: Request, patient: str, on_paper: bool = False) -> HealthProfile:
        """The profile; that it was opened is in the journal before. Paper goes from hand to hand: nothing confidential
        stands on it, whoever prints it."""
        _known(patient)
        await vehicle.people.open(patient, request.state.caller.id)
        me, language = vehicle.staff.get(request.state.caller.id), screen.texts(request).language
        reader = replace(me, further_roles=()) if on_paper else me
        return vehicle.health_profiles.of(patient, reader, language)

    def _known(patient: str) -> None:
        try:
            vehicle.people.get(patient)
        except NobodyFound:
            raise HTTPException(404, "no such person") from None

    return router
