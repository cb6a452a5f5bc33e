"""People: find somebody, register by card or by hand, see the history, and say who is being served."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from fastapi import APIRouter, Form, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from devices.errors import AskPerson
from sync.web.access import roles
from vehicle.clinic.people import NobodyFound, PatientForm, PatientView
from vehicle.touchscreen import wording
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.measure import ICONS
from vehicle.touchscreen.sessions import CLINICAL


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/people")
    @roles(*CLINICAL)
    async def search(request: Request, q: str = Query("", max_length=40)) -> Response:
        found = vehicle.people.search(q, limit=50)
        return screen.page(request, "people.html", "people", {"q": q, "found": found})

    @router.get("/people/register")
    @roles(*CLINICAL)
    async def form(request: Request) -> Response:
        return screen.page(request, "register.html", "people", {"form": {}, "refused": None})

    @router.post("/people/register")
    @roles(*CLINICAL)
    async def register(
        request: Request,
        name: str = Form("", max_length=60),
        id_number: str = Form("", max_length=18),
        sex: str = Form(""),
        born_on: str = Form(""),
        phone: str = Form("", max_length=20),
        address: str = Form("", max_length=120),
    ) -> Response:
        told = {
            "name": name.strip(),
            "id_number": id_number.strip().upper(),
            "sex": sex,
            "born_on": born_on.strip(),
            "phone": phone.strip(),
            "address": address.strip(),
        }
        me = request.state.caller.id
        try:
            patient = await vehicle.people.register(patient_form(told), me)
            if vehicle.visits.current() is None:
                return back(f"/people/{patient.patient}")
            await vehicle.encounters.open(patient.patient, me)
        except AskPerson as refused:
            explained = screen.explain(request, refused)
            t = screen.texts(request)
            fields = [t(f"touch.register.{name}") for name in refused.facts.get("fields", ())]  # type: ignore[attr-defined]
            if fields:
                explained["next_step"] = t("touch.register.correct", fields=t("touch.list_comma").join(fields))
            return screen.page(request, "register.html", "people", {"form": told, "refused": explained}, 422)
        return back("/measure")

    @router.get("/people/{patient}")
    @roles(*CLINICAL)
    async def person(request: Request, patient: str) -> Response:
        _known(patient)
        view = await vehicle.people.open(patient, request.state.caller.id)
        history = vehicle.people.history(patient)
        context = {
            "view": view,
            "rows": [
                {
                    "at": past.at,
                    "type": past.type,
                    "reading": past.reading,
                    "icon": ICONS.get(past.type, "measure"),
                    "text": wording.value_text(past.type, past.values),
                    "by_hand": past.by_hand,
                }
                for past in history.readings
            ],
            "recordings": vehicle.ecg.recordings_of(patient),
            "visits": len(history.encounters),
        }
        return screen.page(request, "person.html", "people", context)

    @router.post("/people/{patient}/serve")
    @roles(*CLINICAL)
    async def serve(request: Request, patient: str, purpose: str = Form("", max_length=40)) -> Response:
        _known(patient)
        await vehicle.encounters.open(patient, request.state.caller.id, purpose)
        return back("/measure")

    @router.post("/people/{patient}/queue")
    @roles(*CLINICAL)
    async def enqueue(request: Request, patient: str) -> Response:
        _known(patient)
        await vehicle.encounters.enqueue(patient, request.state.caller.id)
        return back("/today")

    @router.post("/encounter/close")
    @roles(*CLINICAL)
    async def close(request: Request) -> Response:
        await vehicle.encounters.close(request.state.caller.id)
        return back("/today")

    def _known(patient: str) -> PatientView:
        try:
            return vehicle.people.get(patient)
        except NobodyFound:
            raise HTTPException(404, "no such person") from None

    return router


def patient_form(told: Mapping[str, str]) -> PatientForm:
    """The form as the service wants it; a date that cannot be read counts as missing, and the service says so."""
    try:
        born_on = date.fromisoformat(told["born_on"]) if told["born_on"] else None
    except ValueError:
        born_on = None
    return PatientForm(
        name=told["name"],
        sex=told["sex"] or "unknown",
        born_on=born_on,
        id_number=told["id_number"],
        address=told["address"],
        phone=told["phone"],
    )
