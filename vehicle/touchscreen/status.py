"""Status: faults first, each with cause and next step, then everything else; and the screen's own settings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sync.keys.vehicle_key import fingerprint
from sync.web.access import roles
from vehicle.hints import hint
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.paper import paper_in_words
from vehicle.touchscreen.printing import state_in_words
from vehicle.touchscreen.sessions import CLINICAL, CREW

DEVICE_ICONS = (
    ("contec_8000g", "ecg"),
    ("ecg90a", "ecg"),
    ("pc80b", "ecg"),
    ("er1", "ecg"),
    ("cyton", "ecg"),
    ("healthypi", "ecg"),
    ("polar", "heart"),
    ("heart_rate", "heart"),
    ("cms50", "spo2"),
    ("oximeter", "spo2"),
    ("berry_bci", "spo2"),
    ("o2ring", "spo2"),
    ("glucose", "drop"),
    ("sinocare", "drop"),
    ("blood_pressure", "bp"),
    ("08a", "bp"),
    ("bp2", "bp"),
    ("pc300", "measure"),
    ("thermometer", "temp"),
    ("aoj", "temp"),
    ("scale", "weight"),
    ("analyser", "lab"),
    ("urine", "lab"),
    ("id_card", "card"),
    ("gnss", "pin"),
    ("_5g", "signal"),
)


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/status")
    @roles(*CREW)
    async def status(request: Request) -> Response:
        language = screen.texts(request).language
        context = {
            "device_icon": device_icon,
            "printer": state_in_words(vehicle.printing.state, screen.texts(request)),
            "paper": paper_in_words(screen, request),
            "sheets_waiting": len(vehicle.paper.waiting()),
            "slips_waiting": len(vehicle.printing.queue.waiting()),
            "may_add": request.state.caller.role in CLINICAL,
            "fresh": vehicle.finder.fresh(),
            "stick_allowed": request.state.caller.role in CLINICAL,
            "vehicle_id": vehicle.settings.vehicle.id,
            "enrolment": vehicle.enrolment.state,
            "fingerprint": fingerprint(vehicle.key.verifier_key()),
            "has_hint": lambda code: hint(code, language).title != hint("unknown", language).title,
            "hint_title": lambda code: hint(code, language).title,
        }
        return screen.page(request, "status.html", "status", context)

    @router.post("/status/upload")
    @roles(*CREW)
    async def upload(request: Request) -> Response:
        """Wake the uploader; it says itself how it went."""
        vehicle.uploader.nudge()
        t = screen.texts(request)
        screen.say(request, t("touch.status.nudged"), t("touch.status.nudged_hint"))
        return back("/status")

    @router.get("/status/screen")
    @roles(*CREW)
    async def panel(request: Request) -> Response:
        return screen.page(request, "panel.html", "status")

    return router


def device_icon(driver: str) -> str:
    return next((icon for part, icon in DEVICE_ICONS if part in driver), "chip")


def as_time(at: Any) -> datetime:
    """ISO text or datetime to datetime, for templates that count."""
    return at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
