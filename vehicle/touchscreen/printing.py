"""Print: what a person takes home of an encounter, seen before it is printed; what waits; how the printer is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from devices.printer_session import PrinterState
from sync.formats.slips import APPOINTMENT, REFERRAL, RESULT, Slip
from sync.web.access import roles
from sync.web.catalog import Texts
from sync.web.pages import HEADERS
from vehicle.clinic.encounters import EncounterView
from vehicle.clinic.people import NobodyFound
from vehicle.clinic.views import CHINA
from vehicle.hints import hint
from vehicle.printing import slip_paper
from vehicle.printing.print_queue import PRINTER, PrintGone, PrintView
from vehicle.printing.sheets import SHEETS
from vehicle.printing.slip_contents import Wanted
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

CHOICES = (RESULT, APPOINTMENT, REFERRAL)
AGAIN_IN = (("weeks", 2), ("month", 1), ("months", 3), ("months", 6))
"""What follow-ups of the national specification mostly are."""
SVG_TYPE = "image/svg+xml"
LATEST = timedelta(days=730)
"""No appointment is further away."""


@dataclass(frozen=True, slots=True)
class Chosen:
    view: EncounterView
    next_on: date | None
    slip: Slip


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle
    printing = vehicle.printing

    @router.get("/print")
    @roles(*CLINICAL)
    async def served(request: Request) -> Response:
        """The person being served; without one what waits and how the printer is."""
        now = vehicle.encounters.current()
        return (
            back(f"/print/{now.encounter}") if now else screen.page(request, "print.html", "status", _around(request))
        )

    @router.get("/print/check")
    @roles(*CLINICAL)
    async def check(request: Request, number: Annotated[str, Query(max_length=60)] = "") -> Response:
        """The slip whose number somebody types or scans; the QR code has it behind its last colon."""
        found = printing.queue.by_reference(number.rpartition(":")[2])
        if found is not None and found.destination == PRINTER:
            return back(f"/print/slips/{found.print}")
        t = screen.texts(request)
        if found is not None:
            screen.say(request, t("touch.print.check_good"), f"{t(f'touch.print.{found.form}')} {_whose(found)}")
        else:
            screen.say(request, t("touch.print.check_bad"), number, "ask")
        return back("/print")

    @router.get("/print/{encounter}")
    @roles(*CLINICAL)
    async def choose(
        request: Request,
        encounter: str,
        form: Annotated[str, Query(max_length=40)] = RESULT,
        on: Annotated[str, Query(max_length=10)] = "",
    ) -> Response:
        chosen = _chosen(request, encounter, form, on)
        context = {
            "view": chosen.view,
            "form": form,
            "forms": CHOICES,
            "next_on": chosen.next_on,
            "again_in": _again_in(screen.texts(request)),
            "preview": _preview(chosen.slip, ""),
            "done": printing.queue.of_encounter(encounter),
            **_around(request),
        }
        return screen.page(request, "print.html", "people", context)

    @router.get("/people/{patient}/print")
    @roles(*CLINICAL)
    async def last(patient: str, form: Annotated[str, Query(max_length=40)] = RESULT) -> Response:
        """The newest encounter of a person, also one long ago."""
        try:
            history = vehicle.people.history(patient)
        except NobodyFound:
            raise HTTPException(404, "no such person") from None
        newest = history.encounters[0].encounter if history.encounters else None
        return back(f"/print/{newest}?form={form}" if newest and form in CHOICES else f"/people/{patient}")

    @router.post("/print/{encounter}")
    @roles(*CLINICAL)
    async def keep(
        request: Request,
        encounter: str,
        form: Annotated[str, Form(max_length=40)] = RESULT,
        on: Annotated[str, Form(max_length=10)] = "",
    ) -> Response:
        chosen = _chosen(request, encounter, form, on)
        await printing.queue.print(form, chosen.slip, chosen.view, request.state.caller.id)
        return back(f"/print/{encounter}?form={form}&on={on}")

    @router.get("/print/{encounter}/slip.svg")
    @roles(*CLINICAL)
    async def picture(
        request: Request,
        encounter: str,
        form: Annotated[str, Query(max_length=40)] = RESULT,
        on: Annotated[str, Query(max_length=10)] = "",
    ) -> Response:
        """The slip as a picture, to be sent or printed elsewhere; kept in the record as what was given out."""
        chosen = _chosen(request, encounter, form, on)
        made = await printing.queue.made(form, chosen.slip.as_json(), chosen.view, request.state.caller.id)
        drawn = screen.pages.render(request, "slip.svg", {"preview": _preview(chosen.slip, made.reference)})
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="slip-{made.reference}.svg"'}
        return Response(drawn.body, media_type=SVG_TYPE, headers=headers)

    @router.get("/print/{encounter}/{sheet}.pdf")
    @roles(*CLINICAL)
    async def sheet_pdf(
        request: Request, encounter: str, sheet: str, on: Annotated[str, Query(max_length=10)] = ""
    ) -> Response:
        """An A4 sheet as PDF/A; that it was made is an entry."""
        if sheet not in SHEETS:
            raise HTTPException(404, "no such sheet")
        view = _encounter(encounter)
        wanted = Wanted(screen.texts(request).language, request.state.caller.name, _next_on(on, view))
        content = printing.sheets.content(sheet, view, wanted, vehicle.clock.now())
        made = await printing.queue.made(sheet, content, view, request.state.caller.id)
        pdf = await run_in_threadpool(printing.sheets.pdf, content, made.reference)
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{sheet}-{made.reference}.pdf"'}
        return Response(pdf, media_type="application/pdf", headers=headers)

    @router.get("/print/slips/{slip}")
    @roles(*CLINICAL)
    async def one(request: Request, slip: str) -> Response:
        """A slip of before, as it was printed."""
        view = _print(slip)
        context = {"one": view, "preview": _preview(view.slip, view.reference), **_around(request)}
        return screen.page(request, "print_one.html", "people", context)

    @router.post("/print/slips/{slip}/again")
    @roles(*CLINICAL)
    async def again(request: Request, slip: str) -> Response:
        view = _print(slip)
        await printing.queue.print(view.form, view.slip, _encounter(view.encounter or ""), request.state.caller.id)
        return back(f"/print/{view.encounter}")

    @router.post("/print/slips/{slip}/discard")
    @roles(*CLINICAL)
    async def discard(request: Request, slip: str) -> Response:
        await printing.queue.discard(slip, request.state.caller.id)
        t = screen.texts(request)
        screen.say(request, t("touch.print.discarded"), t("touch.print.discarded_hint"))
        view = printing.queue.get(slip)
        return back(f"/print/{view.encounter}" if view.encounter else "/print")

    def _around(request: Request) -> dict[str, Any]:
        """How the printer is, and what waits for it."""
        t = screen.texts(request)
        return {
            "printer": state_in_words(printing.state, t),
            "queued": [(view, _whose(view)) for view in printing.queue.waiting()],
            "paper_low": printing.state is not None and printing.state.paper_low,
        }

    def _chosen(request: Request, encounter: str, form: str, on: str) -> Chosen:
        """The slip that the page shows, is printed and is given as a picture: made in one way."""
        if form not in CHOICES:
            raise HTTPException(422, "no such slip")
        view = _encounter(encounter)
        next_on = _next_on(on, view)
        wanted = Wanted(screen.texts(request).language, request.state.caller.name, next_on)
        return Chosen(view, next_on, printing.contents.slip(form, view, wanted))

    def _preview(slip: Slip, reference: str) -> slip_paper.Preview:
        return slip_paper.preview(printing.queue.lay_out(slip, reference), printing.queue.habits.paper_mm)

    def _next_on(on: str, view: EncounterView) -> date | None:
        """The chosen date; empty: what the last follow-up form proposes; "none": no date."""
        if not on:
            return printing.contents.proposed_next_on(view)
        try:
            chosen = None if on == "none" else date.fromisoformat(on)
        except ValueError:
            raise HTTPException(422, "no date") from None
        if chosen is not None and not _today() < chosen <= _today() + LATEST:
            raise HTTPException(422, "not a date to come")
        return chosen

    def _again_in(t: Texts) -> list[tuple[date, str]]:
        return [(_later(_today(), unit, n), t(f"touch.print.in_{unit}", n=n)) for unit, n in AGAIN_IN]

    def _today() -> date:
        return vehicle.clock.now().astimezone(CHINA).date()

    def _encounter(encounter: str) -> EncounterView:
        view = vehicle.encounters.get(encounter)
        if view is None:
            raise HTTPException(404, "no such encounter")
        return view

    def _print(print_id: str) -> PrintView:
        try:
            return printing.queue.get(print_id)
        except PrintGone:
            raise HTTPException(404, "no such slip") from None

    def _whose(view: PrintView) -> str:
        encounter = vehicle.encounters.get(view.encounter or "")
        return encounter.patient.masked_name if encounter else ""

    return router


def _later(day: date, unit: str, n: int) -> date:
    """Weeks or calendar months on; the 29th to 31st become the 28th."""
    if unit == "weeks":
        return day + timedelta(weeks=n)
    month = day.month - 1 + n
    return date(day.year + month // 12, month % 12 + 1, min(day.day, 28))


def state_in_words(state: PrinterState | None, t: Texts) -> dict[str, str]:
    """``kind``: ready, busy, ask or none; ``title`` and ``text`` in words."""
    if state is None:
        kind, name = "none", "none"
    elif state.fault is not None:
        words = hint(state.fault, t.language)
        return {"kind": "ask", "title": words.title, "text": words.next_step}
    elif state.printing:
        kind, name = "busy", "printing"
    elif state.two_way is None:
        kind, name = "busy", "connecting"
    else:
        kind, name = "ready", "ready" if state.two_way else "one_way"
    return {"kind": kind, "title": t(f"touch.print.state_{name}"), "text": t(f"touch.print.state_{name}_hint")}
