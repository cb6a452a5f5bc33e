"""Adding a laboratory analyser that calls this PC over a cable: which kind, at which of our addresses, on which port.

It cannot be found: it calls when it has a result. So the crew says where it will call and types the same into it.
"""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Annotated

import ifaddr
from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from devices.discovery import Candidate, Confidence, Evidence
from devices.links.tcp_listener import ListenBusy, ListenRefused, host_and_port
from devices.session import links_of
from sync.web.access import roles
from vehicle.on_board import PlaceTaken, TitleRefused
from vehicle.touchscreen.devices import kinds_over, say_refusal
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

PAGE = "/status/devices/add/analyser"
FIRST_PORT, LAST_PORT = 5600, 5699
"""Offered; makers leave the number to whoever installs."""


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    on_board = screen.vehicle.on_board

    @router.get(PAGE)
    @roles(*CLINICAL)
    async def page(request: Request) -> Response:
        taken = {host_and_port(device.port)[1] for device in on_board if device.link == "listen"}
        context = {
            "kinds": kinds_over("listen", screen.texts(request)),
            "addresses": own_addresses(),
            "port": next(port for port in (*range(FIRST_PORT, LAST_PORT + 1), FIRST_PORT) if port not in taken),
        }
        return screen.page(request, "add_analyser.html", "status", context)

    @router.post(PAGE)
    @roles(*CLINICAL)
    async def add(
        request: Request,
        driver: Annotated[str, Form(max_length=80)],
        address: Annotated[str, Form(max_length=60)],
        port: Annotated[int, Form(ge=1024, le=65535)],
        title: Annotated[str, Form(max_length=80)],
    ) -> Response:
        t = screen.texts(request)
        try:
            candidate = analyser(address, port, driver)
            device = await on_board.add(candidate, driver, title, request.state.caller.id)
        except (ListenBusy, ListenRefused, PlaceTaken, TitleRefused) as refusal:
            say_refusal(screen, request, refusal)
            return back(PAGE)
        screen.say(request, t("touch.device.added", title=device.title), t("touch.device.analyser_added_hint"))
        return back(f"/status/devices/{device.name}")

    return router


def own_addresses() -> list[str]:
    """IPv4 addresses of this PC at which another device can call; its loopback last, for converters that run here."""
    found = {str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4}
    return sorted(found, key=lambda address: (address.startswith("127."), address))


def analyser(address: str, port: int, driver: str) -> Candidate:
    """The place at which an analyser will call.

    :raises ListenRefused: not an address of this PC, or no driver for callers
    :raises ListenBusy: another program listens there
    """
    if address not in own_addresses() or "listen" not in links_of(driver):
        raise ListenRefused(f"{address} is not an address of this computer")
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as fault:
            raise ListenBusy(f"{address}:{port}: {fault}") from fault
    said = (Evidence("said", driver),)
    return Candidate("listen", f"{address}:{port}", (driver,), Confidence.POSSIBLE, said)
