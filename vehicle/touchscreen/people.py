"""People: find somebody, register, and say who is being served. One person's page is ``person.py``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import Response

from devices.errors import AskPerson
from sync.web.access import roles
from vehicle.clinic.guardians import GUARDIAN_RELATIONS, Guardian
from vehicle.clinic.households import RELATIONS
from vehicle.clinic.identity import ID_KINDS, WrongIdNumber, WrongRecordNumber
from vehicle.clinic.people import REASONS, NobodyFound, PatientView
from vehicle.clinic.registration import PHONE_OF, PatientForm
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

FIELDS = (
    "id_kind",
    "name",
    "id_number",
    "sex",
    "born_on",
    "phone",
    "phone_of",
    "address",
    "record_number",
    "guardian_name",
    "guardian_relation",
    "guardian_phone",
    "beside",
    "relation",
)
LONGEST = 120
MOST_SHOWN = 50


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/people")
    @roles(*CLINICAL)
    async def search(request: Request, q: str = Query("", max_length=40)) -> Response:
        return _list(request, q, vehicle.people.search(q, limit=MOST_SHOWN))

    @router.post("/people/names")
    @roles(*CLINICAL)
    async def names(request: Request, q: str = Form("", max_length=40), reason: str = Form("")) -> Response:
        """The same list with full names; whose they are and why is in the journal before."""
        found = vehicle.people.search(q, limit=MOST_SHOWN)
        await vehicle.people.reveal_names([one.patient for one in found], reason, request.state.caller.id)
        return _list(request, q, found, named=True)

    @router.get("/people/register")
    @roles(*CLINICAL)
    async def form(request: Request, beside: str = Query("", max_length=60)) -> Response:
        """:param beside: somebody of the same household, whose address is taken over"""
        told = {"beside": beside}
        if (whose := _beside(beside)) is not None:
            told["address"] = whose.address
        return _form(request, told)

    @router.post("/people/register")
    @roles(*CLINICAL)
    async def register(request: Request) -> Response:
        given = await request.form()
        told = {name: str(given.get(name, "")).strip()[:LONGEST] for name in FIELDS}
        me = request.state.caller.id
        try:
            patient = await vehicle.people.register(patient_form(told), me)
            if _beside(told["beside"]) is not None:
                await vehicle.households.join(patient.patient, told["beside"], told["relation"], me)
                return back(f"/people/{patient.patient}?view=family")
            if vehicle.visits.current() is None:
                return back(f"/people/{patient.patient}")
            await vehicle.encounters.open(patient.patient, me)
        except AskPerson as refused:
            return _form(request, told, _refusal(request, refused), 422)
        return back("/measure")

    @router.post("/people/{patient}/serve")
    @roles(*CLINICAL)
    async def serve(request: Request, patient: str, purpose: str = Form("", max_length=40)) -> Response:
        await vehicle.encounters.open(patient, request.state.caller.id, purpose)
        return back("/measure")

    @router.post("/people/{patient}/queue")
    @roles(*CLINICAL)
    async def enqueue(request: Request, patient: str) -> Response:
        await vehicle.encounters.enqueue(patient, request.state.caller.id)
        return back("/today")

    @router.post("/people/{patient}/leave-queue")
    @roles(*CLINICAL)
    async def leave_queue(request: Request, patient: str) -> Response:
        """Somebody who waited has gone home."""
        await vehicle.encounters.leave_queue(patient, request.state.caller.id)
        return back("/today")

    @router.post("/encounter/close")
    @roles(*CLINICAL)
    async def close(request: Request) -> Response:
        await vehicle.encounters.close(request.state.caller.id)
        return back("/today")

    def _list(request: Request, q: str, found: list[PatientView], named: bool = False) -> Response:
        context = {"q": q, "found": found, "named": named, "reasons": REASONS}
        return screen.page(request, "people.html", "people", context)

    def _form(
        request: Request, told: Mapping[str, str], refused: Mapping[str, object] | None = None, status: int = 200
    ) -> Response:
        context = {
            "form": told,
            "refused": refused,
            "beside": _beside(told.get("beside", "")),
            "id_kinds": ID_KINDS,
            "phone_of": PHONE_OF,
            "relations": RELATIONS,
            "guardian_relations": GUARDIAN_RELATIONS,
        }
        return screen.page(request, "register.html", "people", context, status)

    def _beside(patient: str) -> PatientView | None:
        try:
            return vehicle.people.get(patient) if patient else None
        except NobodyFound:
            return None

    def _refusal(request: Request, refused: AskPerson) -> dict[str, object]:
        """What is wrong in words: which fields, and of a number which part of it."""
        t = screen.texts(request)
        explained: dict[str, object] = {**screen.explain(request, refused), "fields": refused.facts.get("fields", ())}
        if fields := refused.facts.get("fields"):
            names = t("touch.list_comma").join(t(f"touch.register.{name}") for name in fields)  # type: ignore[attr-defined]
            explained["next_step"] = t("touch.register.correct", fields=names)
        if isinstance(refused, WrongIdNumber | WrongRecordNumber):
            what = "id" if isinstance(refused, WrongIdNumber) else "record"
            facts = {"found": refused.facts.get("found", "")}
            explained["next_step"] = t(f"touch.number_wrong.{what}_{refused.facts['reason']}", **facts)
            explained["fields"] = ("id_number" if what == "id" else "record_number",)
        return explained

    return router


def patient_form(told: Mapping[str, str]) -> PatientForm:
    """The form as the service wants it; a date that cannot be read counts as missing, and the service says so."""
    try:
        born_on = date.fromisoformat(told["born_on"]) if told["born_on"] else None
    except ValueError:
        born_on = None
    guardian = Guardian(told["guardian_name"], told["guardian_relation"], told["guardian_phone"])
    return PatientForm(
        name=told["name"],
        sex=told["sex"] or "unknown",
        born_on=born_on,
        id_number=told["id_number"],
        address=told["address"],
        phone=told["phone"],
        id_kind=told["id_kind"] or "resident",
        phone_of=told["phone_of"],
        record_number=told["record_number"],
        guardian=guardian if guardian.name else None,
    )
