"""The holding list: values and nights that nobody took, given to the person being served or put away with a reason."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sync.web.access import roles
from sync.web.catalog import Texts
from vehicle.clinic.tiles import Held
from vehicle.touchscreen import wording
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.measure import ICONS
from vehicle.touchscreen.sessions import CLINICAL

REASONS = ("wrong_person", "test", "artefact", "device")
"""Why a value is nobody's: words of ``reading_rejected``."""
PAGE = 40
HERE = "/measure/held"


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get(HERE)
    @roles(*CLINICAL)
    async def held(request: Request, first: int = Query(0, ge=0)) -> Response:
        t = screen.texts(request)
        waiting = sorted(vehicle.measurements.holding(), key=lambda one: one.at, reverse=True)
        titles = {row["name"]: row["title"] for row in vehicle.health.status(t.language)["devices"]}
        context = {
            "count": len(waiting),
            "rows": [_row(one, titles, t) for one in waiting[first : first + PAGE]],
            "nights": vehicle.nights.held(),
            "titles": titles,
            "reasons": REASONS,
            "earlier": first + PAGE if first + PAGE < len(waiting) else None,
        }
        return screen.page(request, "held.html", "measure", context)

    @router.post(HERE + "/{reading}/assign")
    @roles(*CLINICAL)
    async def assign(request: Request, reading: str, patient: Annotated[str, Form(max_length=80)]) -> Response:
        """To the person whose name stood on the button; nobody else may have sat down meanwhile."""
        served, t = vehicle.encounters.current(), screen.texts(request)
        if served is None or served.patient.patient != patient:
            screen.say(request, t("touch.held.changed"), t("touch.held.changed_hint"), kind="ask")
            return back(HERE)
        await vehicle.measurements.assign(reading, request.state.caller.id)
        screen.say(request, t("touch.held.assigned", name=served.patient.name))
        return back(HERE)

    @router.post(HERE + "/{reading}/discard")
    @roles(*CLINICAL)
    async def discard(request: Request, reading: str, reason: Annotated[str, Form(max_length=40)]) -> Response:
        """Kept in the journal with who put it away and why."""
        if reason not in REASONS:
            raise HTTPException(422, "no such reason")
        await vehicle.measurements.reject(reading, reason, request.state.caller.id)
        return back(HERE)

    @router.post(HERE + "/discard-all")
    @roles(*CLINICAL)
    async def discard_all(request: Request) -> Response:
        """The old memory of a meter that came to this van for the first time."""
        n = await vehicle.measurements.put_aside("wrong_person", request.state.caller.id)
        screen.say(request, screen.texts(request)("touch.held.all_gone", n=n))
        return back(HERE)

    return router


def _row(one: Held, titles: dict[str, str], t: Texts) -> dict[str, Any]:
    """What the device's own clock said is put right where its error is known, and marked where it is not."""
    if one.measured_at is not None:
        when = t(
            "touch.held.measured", day=wording.local_day(one.measured_at, t), at=wording.local_time(one.measured_at)
        )
    elif one.device_said_at:
        when = t("touch.held.said", text=one.device_said_at.replace("T", " ")[:16])
    else:
        when = ""
    return {
        "reading": one.reading,
        "type": one.type,
        "icon": ICONS.get(one.type, "measure"),
        "text": wording.value_text(one.type, one.values),
        "device": titles.get(one.device, one.device),
        "at": one.at,
        "when": when,
        "odd": bool(one.implausible),
    }
