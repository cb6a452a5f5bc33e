"""One person's page: history, household, file; what is masked is shown on a tap, with a reason."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sync.web.access import roles
from vehicle.clinic.guardians import GUARDIAN_BELOW_AGE, GUARDIAN_RELATIONS, Guardian
from vehicle.clinic.households import CONDITIONS, MONITORED, RELATIONS
from vehicle.clinic.people import AMENDED, REASONS, NobodyFound, PatientView
from vehicle.clinic.registration import PHONE_OF
from vehicle.touchscreen import wording
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.measure import ICONS
from vehicle.touchscreen.sessions import CLINICAL

VIEWS = ("history", "family", "file")


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/people/{patient}")
    @roles(*CLINICAL)
    async def person(request: Request, patient: str, view: str = Query("history", max_length=20)) -> Response:
        _known(patient)
        await vehicle.people.open(patient, request.state.caller.id)
        return _page(request, patient, view)

    @router.post("/people/{patient}/reveal")
    @roles(*CLINICAL)
    async def reveal(request: Request, patient: str, reason: str = Form("", max_length=20)) -> Response:
        """The page with the full number and phone; not kept by the browser, noted in the journal before."""
        _known(patient)
        number = await vehicle.people.reveal_id_number(patient, request.state.caller.id, reason)
        return _page(request, patient, "history", revealed=number or "-")

    @router.post("/people/{patient}/amend")
    @roles(*CLINICAL)
    async def amend(request: Request, patient: str) -> Response:
        _known(patient)
        given = await request.form()
        told = {name: str(given[name])[:120] for name in AMENDED if name in given}
        await vehicle.people.amend(patient, told, request.state.caller.id)
        return _done(request, patient, "file")

    @router.post("/people/{patient}/guardian")
    @roles(*CLINICAL)
    async def guardian(
        request: Request,
        patient: str,
        name: str = Form("", max_length=60),
        relation: str = Form("", max_length=20),
        phone: str = Form("", max_length=20),
    ) -> Response:
        _known(patient)
        await vehicle.households.set_guardian(patient, Guardian(name, relation, phone), request.state.caller.id)
        return _done(request, patient, "file")

    @router.post("/people/{patient}/conditions")
    @roles(*CLINICAL)
    async def conditions(
        request: Request, patient: str, condition: Annotated[list[str] | None, Form()] = None
    ) -> Response:
        _known(patient)
        await vehicle.households.set_conditions(patient, frozenset(condition or ()), request.state.caller.id)
        return _done(request, patient, "file")

    @router.post("/people/{patient}/household/join")
    @roles(*CLINICAL)
    async def join(
        request: Request, patient: str, beside: str = Form("", max_length=60), relation: str = Form("", max_length=20)
    ) -> Response:
        """``beside`` comes to live with ``patient``."""
        _known(patient)
        _known(beside)
        await vehicle.households.join(beside, patient, relation, request.state.caller.id)
        return _done(request, patient, "family")

    @router.post("/people/{patient}/household/leave")
    @roles(*CLINICAL)
    async def leave(request: Request, patient: str, back_to: str = Form("", max_length=60)) -> Response:
        _known(patient)
        await vehicle.households.leave(patient, request.state.caller.id)
        return _done(request, back_to or patient, "family")

    @router.post("/people/{patient}/household/monitor")
    @roles(*CLINICAL)
    async def monitor(request: Request, patient: str, category: str = Form("", max_length=20)) -> Response:
        _known(patient)
        await vehicle.households.monitor(patient, category, request.state.caller.id)
        return _done(request, patient, "family")

    @router.post("/people/{patient}/link")
    @roles(*CLINICAL)
    async def link(request: Request, patient: str, other: str = Form("", max_length=60)) -> Response:
        _known(patient)
        _known(other)
        await vehicle.people.link(patient, other, request.state.caller.id)
        return _done(request, patient, "file")

    @router.post("/people/{patient}/unlink")
    @roles(*CLINICAL)
    async def unlink(request: Request, patient: str, other: str = Form("", max_length=60)) -> Response:
        _known(patient)
        _known(other)
        await vehicle.people.unlink(patient, other, request.state.caller.id)
        return _done(request, patient, "file")

    def _page(request: Request, patient: str, view: str, revealed: str = "") -> Response:
        who, homes = vehicle.people.get(patient), vehicle.households
        past = vehicle.people.history(patient)
        guardian = homes.guardian(patient)
        context = {
            "view": who,
            "tab": view if view in VIEWS else VIEWS[0],
            "tabs": VIEWS,
            "revealed": revealed,
            "reasons": REASONS,
            "rows": [
                {
                    "at": reading.at,
                    "type": reading.type,
                    "reading": reading.reading,
                    "icon": ICONS.get(reading.type, "measure"),
                    "text": wording.value_text(reading.type, reading.values),
                    "by_hand": reading.by_hand,
                    "meal": reading.values.get("meal"),
                }
                for reading in past.readings
            ],
            "recordings": (recordings := vehicle.ecg.recordings_of(patient, *who.linked)),
            "ecg_findings": vehicle.ecg_findings.of_all([row.sha256 for row in recordings]),
            "nights": vehicle.nights.of(patient, *who.linked),
            "visits": len(past.encounters),
            "home": homes.of(patient),
            "neighbours": homes.neighbours(patient),
            "relations": RELATIONS,
            "monitored": MONITORED,
            "guardian": guardian,
            "guardian_lacks": guardian is None and who.age is not None and who.age < GUARDIAN_BELOW_AGE,
            "guardian_relations": GUARDIAN_RELATIONS,
            "conditions": CONDITIONS,
            "known_conditions": {one.condition for one in homes.conditions(patient)},
            "phone_of": PHONE_OF,
            "linked": [vehicle.people.get(other) for other in who.linked],
            "duplicates": vehicle.people.possible_duplicates(patient),
        }
        return screen.page(request, "person.html", "people", context)

    def _done(request: Request, patient: str, view: str) -> RedirectResponse:
        t = screen.texts(request)
        screen.say(request, t("touch.people.noted"))
        return back(f"/people/{patient}?view={view}")

    def _known(patient: str) -> PatientView:
        try:
            return vehicle.people.get(patient)
        except NobodyFound:
            raise HTTPException(404, "no such person") from None

    return router
