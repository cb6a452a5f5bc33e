"""The sheet that asks for a Bluetooth device's six digits, on whatever page; and forgetting a device."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from devices.errors import LinkLost
from sync.web.access import roles
from vehicle.hints import hint
from vehicle.touchscreen.frame import Screen, back, referring_path
from vehicle.touchscreen.sessions import CREW

Address = Annotated[str, Form(max_length=17)]


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    pairing = screen.vehicle.pairing

    @router.post("/pairing/answer")
    @roles(*CREW)
    async def answer(request: Request, address: Address, passkey: Annotated[str, Form(max_length=12)]) -> Response:
        await pairing.answer(address, passkey.strip(), request.state.caller.id)
        return back(referring_path(request, "/status"))

    @router.post("/pairing/cancel")
    @roles(*CREW)
    async def cancel(request: Request, address: Address) -> Response:
        await pairing.cancel(address, request.state.caller.id)
        return back(referring_path(request, "/status"))

    @router.post("/pairing/seen")
    @roles(*CREW)
    async def seen(request: Request) -> Response:
        pairing.seen()
        return back(referring_path(request, "/status"))

    @router.post("/pairing/forget")
    @roles(*CREW)
    async def forget(request: Request, device: Annotated[str, Form(max_length=80)]) -> Response:
        """Drop the bond of a device that was reset or exchanged; it pairs anew when it is switched on."""
        t = screen.texts(request)
        try:
            await pairing.forget(device, request.state.caller.id)
        except LinkLost:
            words = hint("bluetooth_unavailable", t.language)
            screen.say(request, words.title, words.next_step, kind="ask")
        else:
            screen.say(request, t("touch.pairing.forgotten"), t("touch.pairing.forgotten_hint"))
        return back(referring_path(request, "/status"))

    return router
