"""Consult: request with consent, the session with the specialist, the opinion, the doctor's own decision.

Media never passes through this process: the page's WebRTC leg goes to the consultation process, whose answer is fetched
over its Unix socket. When that process is down the page says so, and everything else works on.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import httpx
from fastapi import APIRouter, Form, Query
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devices.errors import AskPerson
from sync.web.access import roles
from sync.web.catalog import texts
from sync.web.pages import HEADERS
from telemedicine.consultation import Event, State
from vehicle.clinic.guardians import GUARDIAN_BELOW_AGE, SIGNER_RELATIONS
from vehicle.clinic.referrals import consultation_fields
from vehicle.consultation_request import (
    FIELDS,
    URGENCIES,
    Consent,
    ConsentMissing,
    consent_version,
)
from vehicle.consultations import (
    DECISIONS,
    ConsultationUnknown,
    ConsultationView,
    DecisionIncomplete,
)
from vehicle.touchscreen import wording
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL, DOCTORS

STEPS = ("consent", "accepted", "session", "opinion", "decision")
PNG_PREFIX = "data:image/png;base64,"
LONGEST_SIGNATURE = 600_000
MEDIA_TIMEOUT_S = 10.0

STEP_OF = {
    State.REQUESTED: 1,
    State.INVITED: 1,
    State.DECLINED: 1,
    State.ACCEPTED: 2,
    State.CONNECTED: 2,
    State.INTERRUPTED: 2,
    State.ENDED: 3,
    State.OPINION_SIGNED: 4,
    State.CLOSED: 5,
    State.CANCELLED: 0,
}
"""How many of the five steps are done in each state."""


SAYS_WHY = frozenset({State.DECLINED, State.CANCELLED, State.INTERRUPTED})
"""States of which the page says why; in later ones the last reason is an old one."""


class Offer(BaseModel):
    """The page's side of its media leg (RTCSessionDescription)."""

    sdp: str = Field(min_length=10, max_length=200_000)
    type: str = Field(pattern="^offer$")


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/consult")
    @roles(*CLINICAL)
    async def consult(request: Request, path: str = Query("", max_length=40)) -> Response:
        """:param path: a screening path whose results fill in the form"""
        current = vehicle.consultations.current()
        if current is not None:
            return _session_page(request, current.consultation)
        return _form_page(request, _from_path(path) if path else {})

    @router.get("/consult/{consultation}")
    @roles(*CLINICAL)
    async def one(request: Request, consultation: str) -> Response:
        return _session_page(request, consultation)

    @router.post("/consult/request")
    @roles(*CLINICAL)
    async def ask(request: Request) -> Response:
        told = {name: str(entry).strip() for name, entry in (await request.form()).items()}
        try:
            fields, consent = _request_of(told)
            await vehicle.consultations.request(
                fields,
                told.get("urgency") or URGENCIES[0],
                consent,
                request.state.caller.id,
            )
        except AskPerson as refused:
            return _form_page(request, told, screen.explain(request, refused))
        return back("/consult")

    @router.post("/consult/{consultation}/cancel")
    @roles(*CLINICAL)
    async def cancel(request: Request, consultation: str, reason: str = Form("", max_length=200)) -> Response:
        await vehicle.consultations.change(consultation, Event.CANCELLED, request.state.caller.id, reason)
        return back("/consult")

    @router.post("/consult/{consultation}/invite-again")
    @roles(*CLINICAL)
    async def invite_again(request: Request, consultation: str) -> Response:
        await vehicle.consultations.change(consultation, Event.INVITED, request.state.caller.id, "")
        return back("/consult")

    @router.post("/consult/{consultation}/end")
    @roles(*CLINICAL)
    async def end(request: Request, consultation: str) -> Response:
        """Hang up. The consultation stays open until opinion and decision are signed."""
        await vehicle.consultations.change(consultation, Event.ENDED, request.state.caller.id, "")
        await _media(vehicle.settings.consultation.socket, "POST", "/hangup", {})
        return back("/consult")

    @router.post("/consult/{consultation}/decide")
    @roles(*DOCTORS)
    async def decide(
        request: Request,
        consultation: str,
        decision: str = Form(""),
        plan: str = Form("", max_length=2000),
        pin: str = Form("", max_length=12),
    ) -> Response:
        try:
            if decision not in DECISIONS or not plan.strip():
                raise DecisionIncomplete("choose one of the three, and write what will be done")
            await vehicle.consultations.decide(consultation, decision, plan.strip(), request.state.caller.id, pin)
        except AskPerson as refused:
            told = {"decision": decision, "plan": plan}
            return _session_page(request, consultation, told, screen.explain(request, refused))
        return back(f"/consult/{consultation}")

    @router.post("/consult/media/offer")
    @roles(*CLINICAL)
    async def offer(request: Request, described: Offer) -> JSONResponse:
        """The answer of the consultation process; 503 with cause and next step when it is down."""
        answer = await _media(vehicle.settings.consultation.socket, "POST", "/kiosk/offer", described.model_dump())
        return _media_answer(request, answer)

    @router.get("/consult/media/status")
    @roles(*CLINICAL)
    async def media_status(request: Request) -> JSONResponse:
        """How pictures, link and SFUs are now; what is refused there has its words in ``told``."""
        status = await _media(vehicle.settings.consultation.socket, "GET", "/status")
        t = screen.texts(request)
        for line in (status or {}).get("sfu", ()):
            if (title := f"hints.{line.get('code')}.title") in t:
                line["told"] = t(title)
        return _media_answer(request, status)

    def _media_answer(request: Request, answer: Any) -> JSONResponse:
        if answer is not None:
            return JSONResponse(answer, headers=HEADERS)
        t = screen.texts(request)
        told = {part: t(f"touch.consult.media_down_{part}") for part in ("title", "cause", "next_step")}
        return JSONResponse(told, status_code=503, headers=HEADERS)

    def _from_path(path: str) -> dict[str, str]:
        served = vehicle.encounters.current()
        if served is None:
            return {}
        language = vehicle.settings.language
        result = vehicle.paths.result(served.encounter, path, language)
        told = consultation_fields(result, language)
        return {**told, "urgency": "routine" if result.urgency == "routine" else "urgent"}

    def _signer() -> dict[str, str]:
        """Of a child who is served: the guardian signs, by the name that is known."""
        served = vehicle.encounters.current()
        if served is None or served.patient.age is None or served.patient.age >= GUARDIAN_BELOW_AGE:
            return {}
        known = vehicle.households.guardian(served.patient.patient)
        told = {"signed_by": "guardian"}
        return told | ({"guardian_name": known.name, "guardian_relation": known.relation} if known else {})

    def _form_page(request: Request, told: dict[str, str], refused: dict[str, str] | None = None) -> Response:
        language = vehicle.settings.language
        consent = texts(language)("clinic.consent.text")
        context = {
            "told": {**_signer(), **told},
            "signer_relations": SIGNER_RELATIONS,
            "refused": refused,
            "fields": FIELDS,
            "urgencies": URGENCIES,
            "consent": consent,
            "consent_language": language,
            "consent_version": consent_version(consent),
        }
        return screen.page(request, "consult_form.html", "consult", context, 422 if refused else 200)

    def _session_page(
        request: Request, consultation: str, told: dict[str, str] | None = None, refused: dict[str, str] | None = None
    ) -> Response:
        view = _known(request, consultation)
        state = State(view.state)
        context = {
            "view": view,
            "state": str(state),
            "reason": wording.reason_text(view.reason, screen.texts(request)) if state in SAYS_WHY else "",
            "fields": FIELDS,
            "present": vehicle.consultation_people.present(view.consultation),
            "opinion": (view.opinion or {}).get("opinion") or {},
            "decisions": DECISIONS,
            "steps": STEPS,
            "done": STEP_OF[state],
            "session": state in (State.ACCEPTED, State.CONNECTED, State.INTERRUPTED),
            "may_decide": request.state.caller.role in DOCTORS,
            "told": told or {},
            "refused": refused,
        }
        return screen.page(request, "consult.html", "consult", context, 422 if refused else 200)

    def _known(request: Request, consultation: str) -> ConsultationView:
        try:
            return vehicle.consultations.get(consultation, screen.texts(request).language)
        except ConsultationUnknown:
            raise HTTPException(404, "no such consultation") from None

    return router


def _request_of(told: dict[str, str]) -> tuple[dict[str, str], Consent]:
    """The five fields and the consent as typed; the service judges them.

    :raises ConsentMissing: not read aloud, or no picture of a signature
    """
    if told.get("read_aloud") != "yes":
        raise ConsentMissing("read the text aloud first", reason="read_aloud")
    signed_by = "guardian" if told.get("signed_by") == "guardian" else "patient"
    name, relation = told.get("guardian_name", ""), told.get("guardian_relation", "")
    consent = Consent(_png(told.get("signature", "")), True, signed_by, name, relation)
    return {name: told.get(name, "") for name in FIELDS}, consent


def _png(data_url: str) -> bytes:
    try:
        if not data_url.startswith(PNG_PREFIX) or len(data_url) > LONGEST_SIGNATURE:
            raise ValueError("no picture")
        return base64.b64decode(data_url[len(PNG_PREFIX) :], validate=True)
    except (ValueError, binascii.Error):
        raise ConsentMissing("a signature with the finger is needed", reason="signature") from None


async def _media(socket: Path, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the consultation process answers; None when it is down, slow or refuses."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://consultation", timeout=MEDIA_TIMEOUT_S
        ) as client:
            answer = await client.request(method, path, json=body)
            answer.raise_for_status()
            return answer.json() if answer.content else {}
    except (httpx.HTTPError, ValueError):
        return None
