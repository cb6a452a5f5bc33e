"""Today: the visit from its first tap to its last, its progress, and who waits."""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from devices.errors import AskPerson
from sync.proof.presence import AGREE_S
from sync.web.access import roles
from sync.web.catalog import Texts
from vehicle.clinic.programmes import DueFollowUp
from vehicle.patrol.visits import NoVisitOpen, OutreachRefused
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL, CREW

OUTREACH = ("talk", "homes", "advice", "screening", "other")
"""What an outreach is, by word; ``touch.outreach`` names them."""
OUTREACH_PEOPLE = (10, 20, 30, 50, 100)
"""About how many, by one tap."""


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    def page(request: Request, refused: dict[str, str] | None = None, confirming: str = "") -> Response:
        clinical = request.state.caller.role in CLINICAL
        proposed = vehicle.visits.proposed()
        villages = sorted(vehicle.visits.villages(), key=lambda village: (village.township, village.name))
        context = {
            "proposed": proposed,
            "villages": villages,
            "people": list(vehicle.staff.all()),
            "queue": vehicle.encounters.queue() if clinical else [],
            "clinical": clinical,
            "not_here": _why_not_here(screen, screen.texts(request)),
            "village_doctors": [person for person in vehicle.staff.all() if person.role == "village_doctor"],
            "outreach_kinds": OUTREACH,
            "outreach_people": OUTREACH_PEOPLE,
            "pictures": _pictures(screen),
            "due": _due(screen) if clinical else [],
            "refused": refused,
            "confirming": confirming,
        }
        return screen.page(request, "today.html", "today", context)

    @router.get("/today")
    @roles(*CREW)
    async def today(request: Request) -> Response:
        return page(request)

    @router.post("/visit/start")
    @roles(*CREW)
    async def start(
        request: Request, village: str = Form(), crew: Annotated[list[str] | None, Form()] = None
    ) -> Response:
        me = request.state.caller.id
        await vehicle.visits.start(village, list(dict.fromkeys([me, *(crew or ())])), me)
        return back("/today")

    @router.post("/visit/end")
    @roles(*CREW)
    async def end(request: Request) -> Response:
        visit = vehicle.visits.current()
        await vehicle.visits.end(request.state.caller.id)
        if visit is not None:
            t = screen.texts(request)
            screen.say(request, t("touch.today.ended", village=visit.village_name), t("touch.today.ended_hint"))
        return back("/today")

    @router.post("/visit/confirm")
    @roles(*CREW)
    async def confirm(request: Request, person: str = Form(max_length=63), pin: str = Form(max_length=12)) -> Response:
        """The village doctor confirms with a PIN of their own, whoever is signed in; wrong ones count as at sign-in."""
        try:
            if vehicle.visits.current() is None:
                raise NoVisitOpen("no visit is open")
            doctor = await vehicle.staff.check_pin(person, pin)
            await vehicle.visits.confirm(doctor)
        except AskPerson as refusal:
            return page(request, screen.explain(request, refusal), person)
        t = screen.texts(request)
        screen.say(request, t("touch.today.confirmed", name=doctor.name), t("touch.today.confirmed_hint"))
        return back("/today")

    @router.post("/visit/outreach")
    @roles(*CREW)
    async def outreach(
        request: Request, what: Annotated[str, Form(max_length=20)], people: Annotated[int, Form(ge=0, le=9999)] = 0
    ) -> Response:
        t = screen.texts(request)
        if what not in OUTREACH:
            raise OutreachRefused(f"{what!r} is not one of {', '.join(OUTREACH)}")
        words = t(f"touch.outreach.{what}")
        await vehicle.visits.record_outreach(words, people or None, request.state.caller.id)
        screen.say(request, t("touch.today.outreach_kept", what=words), t("touch.today.outreach_kept_hint"))
        return back("/today")

    return router


def _due(screen: Screen) -> list[DueFollowUp]:
    """Follow-ups of the village that is being visited, those who are not here first."""
    vehicle = screen.vehicle
    visit = vehicle.visits.current()
    rows = vehicle.programmes.due(visit.village) if visit is not None else []
    return sorted(rows, key=lambda row: row.here)


def _pictures(screen: Screen) -> Counter[str]:
    """How many pictures of the open visit are kept, by what they are."""
    visit = screen.vehicle.visits.current()
    return (
        Counter(one.what for one in screen.vehicle.visit_pictures.kept(visit.visit)) if visit is not None else Counter()
    )


def _why_not_here(screen: Screen, t: Texts) -> str:
    """Why the visit's clock does not run: no position, another place, or the minute until a position is believed."""
    vehicle = screen.vehicle
    visit, presence = vehicle.visits.current(), vehicle.patrol.presence
    if visit is None or visit.here:
        return ""
    if not vehicle.patrol.has_fix:
        return t("touch.today.no_fix")
    awaited = presence.awaited
    if awaited is None or awaited[0] is None or awaited[0].code != visit.village:
        return t("touch.today.elsewhere")
    left_s = AGREE_S - (vehicle.clock.now() - awaited[1]).total_seconds()
    return t("touch.today.settling", n=max(1, math.ceil(left_s / 60)))
