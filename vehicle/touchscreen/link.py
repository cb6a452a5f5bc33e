"""The mobile link as the crew sees it: what a consultation would have, why, what to do, and the figures."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from sync.web.access import roles
from sync.web.catalog import Texts
from vehicle.hints import hint
from vehicle.link.condition import Condition, condition_of, strongest
from vehicle.touchscreen.frame import Screen
from vehicle.touchscreen.sessions import CREW

HINTED = ("sim_absent", "sim_locked")
"""Reasons whose words stand with the faults."""


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    link = screen.vehicle.link

    @router.get("/status/link")
    @roles(*CREW)
    async def show(request: Request) -> Response:
        t = screen.texts(request)
        cellular, sample = link.modem.now(), link.monitor.now()
        condition = condition_of(cellular, sample, screen.vehicle.uploader.status().online)
        facts = {
            "cellular": cellular,
            "cell": strongest(cellular),
            "sample": sample,
            "condition": condition,
            "advice": _advice(condition, t),
            "probe": link.monitor.newest("probe"),
        }
        return screen.page(request, "link.html", "status", facts)

    return router


def _advice(condition: Condition, t: Texts) -> list[dict[str, str]]:
    """Each reason with what to do."""
    said = []
    for code in condition.reasons:
        if code in HINTED:
            words = hint(code, t.language)
            said.append({"code": code, "title": words.title, "do": words.next_step})
        else:
            said.append({"code": code, "title": t(f"touch.link_now.{code}"), "do": t(f"touch.link_now.{code}_do")})
    return said
