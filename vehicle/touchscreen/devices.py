"""The devices of the van: a page for each, adding one, and the list of all of them for the inventory."""

from __future__ import annotations

from datetime import UTC, date
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from devices import catalog
from devices.discovery import PLUGGED
from devices.errors import AskPerson, LinkLost, XunzhenError
from devices.session import DeviceSettings, LinkKind, links_of
from devices.sig_profile import CLOCK_MAY_BE_OFF, CLOCK_WRITES
from sync.formats.records import parse_time
from sync.interop.asset_list import Asset, csv_bytes, xlsx_bytes
from sync.interop.spreadsheet import CSV_TYPE, XLSX_TYPE
from sync.proof.presence import LOCAL as CHINA
from sync.web.access import roles
from sync.web.catalog import Texts
from sync.web.pages import HEADERS
from vehicle.device_book import KINDS
from vehicle.finder import Found
from vehicle.hints import hint
from vehicle.on_board import DeviceUnknown, place_of
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL, CREW
from vehicle.touchscreen.status import device_icon

Key = Annotated[str, Form(max_length=500)]
DriverId = Annotated[str, Form(max_length=80)]
ADD = "/status/devices/add"


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle
    on_board, finder, book = vehicle.on_board, vehicle.finder, vehicle.device_book

    @router.get(ADD)
    @roles(*CLINICAL)
    async def add_page(
        request: Request, replace: str = Query("", max_length=80), ports: str = Query("", pattern="^(all)?$")
    ) -> Response:
        """:param ports: "all": also those that nothing speaks for, such as the RS-232 sockets of the PC"""
        finder.look()
        found = finder.found()
        known = [one for one in found if one.candidate.confidence or one.fault or one.asking]
        t = screen.texts(request)
        old = on_board.named(replace) if replace else None
        context = {
            "found": [_found(one, t) for one in (found if ports else known)],
            "other_ports": 0 if ports else len(found) - len(known),
            "replaces": None if old is None else {"name": old.name, "title": title_of(old.title, old.driver, t)},
            "radio_fault": finder.radio_fault,
            "kinds": {link: kinds_over(link, t) for link in PLUGGED},
            "traps": [hint(code, t.language) for code, _ in vehicle.traps.found],
        }
        return screen.page(request, "add_device.html", "status", context)

    @router.post("/status/devices/try")
    @roles(*CLINICAL)
    async def try_as(request: Request, key: Key, driver: DriverId, replace: Annotated[str, Form()] = "") -> Response:
        """A person says what a port is: only now it is opened."""
        try:
            await finder.try_as(key, driver)
        except (AskPerson, LinkLost) as refusal:
            say_refusal(screen, request, refusal)
        return back(_add_page(replace))

    @router.post(ADD)
    @roles(*CLINICAL)
    async def add(request: Request, key: Key, driver: DriverId, title: Annotated[str, Form(max_length=80)]) -> Response:
        t = screen.texts(request)
        device = await on_board.add(finder.candidate(key), driver, title, request.state.caller.id)
        screen.say(request, t("touch.device.added", title=device.title), t("touch.device.added_hint"))
        return back(f"/status/devices/{device.name}")

    @router.post("/status/devices/{name}/replace")
    @roles(*CLINICAL)
    async def replace_by(request: Request, name: str, key: Key, driver: DriverId) -> Response:
        t = screen.texts(request)
        device = await on_board.replace(name, finder.candidate(key), driver, request.state.caller.id)
        screen.say(request, t("touch.device.replaced", title=device.title), t("touch.device.added_hint"))
        return back(f"/status/devices/{device.name}")

    @router.post("/status/devices/{name}/rename")
    @roles(*CLINICAL)
    async def rename(request: Request, name: str, title: Annotated[str, Form(max_length=80)]) -> Response:
        await on_board.rename(name, title, request.state.caller.id)
        return back(f"/status/devices/{name}")

    @router.post("/status/devices/{name}/remove")
    @roles(*CLINICAL)
    async def remove(request: Request, name: str) -> Response:
        t, device = screen.texts(request), on_board.named(name)
        await on_board.remove(name, request.state.caller.id)
        title = title_of(device.title, device.driver, t)
        screen.say(request, t("touch.device.removed", title=title), t("touch.device.removed_hint"))
        return back("/status")

    @router.post("/status/devices/{name}/care")
    @roles(*CLINICAL)
    async def care(
        request: Request,
        name: str,
        what: Annotated[str, Form(max_length=20)],
        due_on: Annotated[str, Form(max_length=10)],
        done_on: Annotated[str, Form(max_length=10)] = "",
        lot: Annotated[str, Form(max_length=80)] = "",
        strip: Annotated[str, Form(max_length=80)] = "",
    ) -> Response:
        """Calibrated, checked with control solution, or a new pack of strips."""
        on_board.named(name)
        await book.note(name, what, due_on, done_on, lot, strip, request.state.caller.id)
        return back(f"/status/devices/{name}")

    @router.get("/status/devices/list.{form}")
    @roles(*CREW)
    async def listed(request: Request, form: str) -> Response:
        """The inventory: .xlsx or .csv."""
        if form not in ("xlsx", "csv"):
            raise HTTPException(404)
        t = screen.texts(request)
        write, media = (xlsx_bytes, XLSX_TYPE) if form == "xlsx" else (csv_bytes, CSV_TYPE)
        content = await run_in_threadpool(write, assets(screen, t), t)
        name = f"{vehicle.settings.vehicle.id}-devices.{form}"
        headers = {**HEADERS, "content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=media, headers=headers)

    @router.get("/status/devices/{name}")
    @roles(*CREW)
    async def device_page(request: Request, name: str) -> Response:
        t = screen.texts(request)
        try:
            device = on_board.named(name)
        except DeviceUnknown:
            screen.say(request, hint(DeviceUnknown.code, t.language).title, kind="ask")
            return back("/status")
        clinical = request.state.caller.role in CLINICAL
        now = vehicle.clock.now()
        context: dict[str, Any] = {
            "device": next(one for one in vehicle.health.devices_told(t.language) if one["name"] == name),
            "about": catalog.about(device.driver),
            "settings": device,
            "place_text": place_of(device),
            "configured": on_board.is_configured(name),
            "origin": on_board.origin(name),
            "identity": _identity(screen, name),
            "last": book.last_value(name) if clinical else None,
            "clock": _clock(screen, device),
            "log": [_line(line, t.language) for line in book.log(name)],
            "cares": book.cares(name),
            "care_kinds": KINDS,
            "today": now.astimezone(CHINA).date(),
            "may_change": clinical,
            "device_icon": device_icon,
            "hint_of": lambda code: hint(code, t.language),
            "strips": any(metric.key == "glucose_mmol_l" for metric in catalog.about(device.driver).metrics),
        }
        return screen.page(request, "device.html", "status", context)

    return router


def title_of(title: str, driver: str, t: Texts) -> str:
    """What the crew calls a device, else what its driver does."""
    about = catalog.about(driver)
    return title or (about.title_en if t.language == "en" else about.title_zh)


def assets(screen: Screen, t: Texts) -> list[Asset]:
    """Every device of this van, as the inventory has it."""
    vehicle = screen.vehicle
    rows = []
    for device in vehicle.on_board:
        about, origin = catalog.about(device.driver), vehicle.on_board.origin(device.name)
        cares, known = vehicle.device_book.cares(device.name), _identity(screen, device.name)
        heard = vehicle.device_events.devices.get(device.name)
        calibration, control, strips = (cares.get(kind) for kind in KINDS)
        rows.append(
            Asset(
                vehicle=vehicle.settings.vehicle.id,
                device=device.name,
                title=title_of(device.title, device.driver, t),
                kind=about.title_en if t.language == "en" else about.title_zh,
                driver=device.driver,
                link=t(f"touch.device.link_{device.link}"),
                place=place_of(device),
                vendor=known.get("vendor", ""),
                model=known.get("model", ""),
                serial=known.get("serial") or vehicle.device_events.serial_of(device.name) or "",
                firmware=known.get("firmware", ""),
                added_on=_day_of(origin.added_at) if origin else "",
                added_by=(origin.added_by or t("touch.device.by_settings")) if origin else "",
                last_seen_on=heard.heard_at.astimezone(CHINA).date().isoformat() if heard and heard.heard_at else "",
                calibration_due_on=calibration.due_on.isoformat() if calibration else "",
                quality_control_due_on=control.due_on.isoformat() if control else "",
                strip_lot=strips.lot if strips else "",
                strips_expire_on=strips.due_on.isoformat() if strips else "",
                hardware_tested=t("touch.device.not_tested")
                if about.hardware_tested == "no"
                else about.hardware_tested,
            )
        )
    return rows


def _identity(screen: Screen, name: str) -> dict[str, str]:
    """What the device says now, else what it said when it was added."""
    session = screen.vehicle.on_board.sessions.get(name)
    if session is not None and session.identity is not None:
        return session.identity.told()
    origin = screen.vehicle.on_board.origin(name)
    return dict(origin.identity) if origin else {}


def _clock(screen: Screen, device: DeviceSettings) -> dict[str, Any] | None:
    """How far the device's own clock is off and what can be done; None while it is right, or nothing is known of it."""
    vehicle = screen.vehicle
    ahead_s = vehicle.measurements.clock_offset_s(device.name)
    if ahead_s is None:
        ahead_s = vehicle.device_book.clock_offset_s(device.name)
    if ahead_s is None or abs(ahead_s) <= CLOCK_MAY_BE_OFF.total_seconds():
        return None
    settable = set(CLOCK_WRITES) <= set(catalog.driver(device.driver)().allowed_writes)
    remedy = "by_hand" if not settable else "by_itself" if device.set_clock else "by_settings"
    return {"ahead_s": ahead_s, "remedy": remedy}


def _found(found: Found, t: Texts) -> dict[str, Any]:
    """A candidate for the page: what it is called, why, and what can be done."""
    one = found.candidate
    return {
        "key": one.key,
        "transport": one.transport,
        "address": one.address,
        "confidence": one.confidence.name.lower(),
        "drivers": [{"id": driver, "title": title_of("", driver, t)} for driver in one.drivers],
        "evidence": [(each.kind, each.text) for each in one.evidence],
        "asking": found.asking,
        "fault": hint(found.fault, t.language) if found.fault else None,
        "addable": one.confidence.name == "IDENTIFIED" or (one.transport == "bluetooth" and len(one.drivers) == 1),
        "untested": [driver for driver in one.drivers if catalog.about(driver).hardware_tested == "no"],
    }


def kinds_over(link: LinkKind, t: Texts) -> list[dict[str, str]]:
    """All drivers that speak over such a link, for saying what a port is."""
    known = [driver for driver in catalog.drivers() if link in links_of(driver)]
    return sorted(({"id": driver, "title": title_of("", driver, t)} for driver in known), key=lambda one: one["title"])


def _line(line: Any, language: str) -> dict[str, Any]:
    words = hint(line.code, language) if line.code else None
    counters = {name: n for name, n in line.facts.items() if isinstance(n, int) and n and name != "frames"}
    return {
        "at": line.at,
        "event": line.event,
        "fault": words,
        "counters": counters,
        "serial": line.facts.get("serial"),
        "control": ", ".join(f"{one['code']} {one['said']}" for one in line.facts.get("results", ())),
    }


def say_refusal(screen: Screen, request: Request, refusal: XunzhenError) -> None:
    told = screen.explain(request, refusal)
    screen.say(request, told["title"], f"{told['cause']} {told['next_step']}".strip(), "ask")


def _add_page(replace: str) -> str:
    return f"{ADD}?replace={replace}" if replace.replace("-", "").isalnum() and replace.isascii() else ADD


def _day_of(at: str) -> str:
    day: date = parse_time(at).astimezone(UTC).astimezone(CHINA).date()
    return day.isoformat()
