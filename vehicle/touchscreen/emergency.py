"""Emergency: one touch from every page, also while the screen is locked; a locked screen shows no names.

The page asks its own state once a second, because the live feed is for people who are signed in.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sync.web.access import PUBLIC, roles
from sync.web.catalog import Texts
from sync.web.pages import HEADERS
from telemedicine.consultation import State
from vehicle.emergency import OUTCOMES, EmergencyView
from vehicle.touchscreen import wording
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

VITALS = ("spo2", "pulse", "heart_rate", "blood_pressure", "glucose", "temperature")
ANSWERED = frozenset({State.ACCEPTED, State.CONNECTED, State.INTERRUPTED, State.OPINION_SIGNED})


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/emergency")
    @roles(PUBLIC)
    async def page(request: Request, list: str = Query("", max_length=40)) -> Response:
        """The emergency that is under way, else the question whether one begins."""
        current = vehicle.emergencies.current()
        if current is None:
            served = vehicle.encounters.current()
            name = _name(request, served.patient.name if served else None)
            context = {"somebody_served": served is not None, "name": name}
            return screen.bare(request, "emergency_ask.html", context)
        return _under_way(request, current, list)

    @router.post("/emergency/start")
    @roles(PUBLIC)
    async def start(request: Request, who: str = Form("served", max_length=10)) -> Response:
        caller = request.state.caller
        await vehicle.emergencies.start(caller.id if caller else None, for_served=who == "served")
        return back("/emergency")

    @router.get("/emergency/state")
    @roles(PUBLIC)
    async def state(request: Request) -> Response:
        """What changes by itself: seconds since the beginning, numbers, the doctor's answer. No names."""
        current = vehicle.emergencies.current()
        if current is None:
            return JSONResponse({"active": False}, headers=HEADERS)
        return JSONResponse({"active": True, **_state(screen.texts(request), current)}, headers=HEADERS)

    @router.post("/emergency/step")
    @roles(PUBLIC)
    async def step(
        request: Request,
        checklist: str = Form(max_length=40),
        item: str = Form(max_length=40),
        done: str = Form("1", max_length=1),
    ) -> Response:
        caller = request.state.caller
        await vehicle.emergencies.step(checklist, item, done == "1", caller.id if caller else None)
        return back(f"/emergency?list={checklist}")

    @router.post("/emergency/end")
    @roles(*CLINICAL)
    async def end(request: Request, outcome: str = Form("", max_length=20)) -> Response:
        ended = await vehicle.emergencies.end(outcome, request.state.caller.id)
        return back(f"/emergency/{ended.emergency}")

    @router.get("/emergency/{emergency}")
    @roles(*CLINICAL)
    async def summary(request: Request, emergency: str) -> Response:
        """What was done when, after the end."""
        view = vehicle.emergencies.get(emergency)
        language = screen.texts(request).language
        checklists = vehicle.emergencies.checklists
        steps = [
            {
                "at": step.at,
                "list": checklists[step.checklist].title(language),
                "text": next(one.text(language) for one in checklists[step.checklist].items if one.id == step.item),
                "done": step.done,
            }
            for step in vehicle.emergencies.steps(emergency)
            if step.checklist in checklists
        ]
        context = {
            "view": view,
            "patient": vehicle.people.get(view.patient),
            "steps": steps,
            "answers": vehicle.consultations.steps(view.consultation),
            "spoken": lambda state: screen.texts(request)(f"touch.emergency.answer_{state}"),
        }
        return screen.page(request, "emergency_summary.html", "today", context)

    def _under_way(request: Request, current: EmergencyView, chosen: str) -> Response:
        t = screen.texts(request)
        checklists = vehicle.emergencies.checklists
        clinical = request.state.caller is not None and request.state.caller.role in CLINICAL
        context = {
            "view": current,
            "name": _name(request, vehicle.people.get(current.patient).name),
            "clinical": clinical,
            "state": _state(t, current),
            "vitals": VITALS,
            "checklists": checklists.values(),
            "list": checklists.get(chosen) or next(iter(checklists.values())),
            "done": vehicle.emergencies.done(current.emergency),
            "outcomes": OUTCOMES,
            "place": vehicle.emergencies.place(),
        }
        return screen.bare(request, "emergency.html", context)

    def _state(t: Texts, current: EmergencyView) -> dict[str, Any]:
        consultation = vehicle.consultations.get(current.consultation, t.language)
        online = bool((vehicle.health.status(t.language).get("link") or {}).get("online"))
        waiting = consultation.state in (State.REQUESTED, State.INVITED)
        answer = "offline" if waiting and not online else str(consultation.state)
        return {
            "seconds": max(0, int((vehicle.clock.now() - current.started_at).total_seconds())),
            "answer": t(f"touch.emergency.answer_{answer}"),
            "answered": consultation.state in ANSWERED,
            "vitals": {one.kind: {"text": one.text, "fresh": one.fresh} for one in vehicle.emergencies.vitals()},
            "steps": len(vehicle.emergencies.done(current.emergency)),
        }

    def _name(request: Request, name: str | None) -> str:
        """Who it is; nothing on a screen that nobody clinical is signed in to."""
        caller = request.state.caller
        return name if name and caller is not None and caller.role in CLINICAL else ""

    screen.pages.globals["minutes_seconds"] = wording.minutes_seconds
    return router
