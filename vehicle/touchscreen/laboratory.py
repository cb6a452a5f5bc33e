"""Laboratory: take a specimen with its number, see results in groups, say whose an unclaimed one is, or discard it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from devices import catalog
from devices.errors import AskPerson
from sync.web.access import roles
from vehicle.clinic.instruments import instruments
from vehicle.clinic.laboratory import Glance, Report
from vehicle.clinic.laboratory_report import MATERIALS, TYPE
from vehicle.clinic.people import NobodyFound, PatientView
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

DISCARD_REASONS = ("wrong_person", "test", "artefact")
"""Why a result is nobody's; words of ``reading_rejected/1``."""
SPECIMEN_REASONS = ("spilled", "mislabelled", "mistake")


def glance(screen: Screen) -> Glance | None:
    """What the tile on Measure says; None where the van has no analyser and nothing waits."""
    vehicle = screen.vehicle
    now = vehicle.laboratory.at_a_glance()
    fitted = any(TYPE in row.types for row in instruments(vehicle.on_board, catalog.about))
    return now if fitted or now.waiting or now.red else None


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/laboratory")
    @roles(*CLINICAL)
    async def overview(request: Request) -> Response:
        return _overview(request, None)

    @router.post("/laboratory/specimens")
    @roles(*CLINICAL)
    async def take(
        request: Request,
        material: Annotated[str, Form(max_length=20)] = "",
        number: Annotated[str, Form(max_length=60)] = "",
    ) -> Response:
        try:
            await vehicle.specimens.take(material, number, request.state.caller.id)
        except AskPerson as refused:
            return _overview(request, screen.explain(request, refused), material, number)
        return back("/laboratory")

    @router.post("/laboratory/specimens/{specimen}/discard")
    @roles(*CLINICAL)
    async def discard_specimen(
        request: Request, specimen: str, reason: Annotated[str, Form(max_length=20)] = ""
    ) -> Response:
        if reason not in SPECIMEN_REASONS:
            raise HTTPException(422, "no such reason")
        await vehicle.specimens.discard(specimen, reason, request.state.caller.id)
        return back("/laboratory")

    @router.get("/laboratory/{reading}")
    @roles(*CLINICAL)
    async def detail(request: Request, reading: str) -> Response:
        report = vehicle.laboratory.report(reading, screen.texts(request).language)
        if report is None:
            raise HTTPException(404, "no such result")
        served = vehicle.encounters.current()
        if report.patient is None:
            whose = None
        elif served is not None and served.patient.patient == report.patient:
            whose = served.patient
        else:
            whose = await vehicle.people.open(report.patient, request.state.caller.id)
        context = {
            "report": report,
            "whose": whose,
            "reasons": DISCARD_REASONS,
            "open_red": report.open_red,
        }
        return screen.page(request, "laboratory_report.html", "measure", context)

    @router.post("/laboratory/{reading}/assign")
    @roles(*CLINICAL)
    async def assign(request: Request, reading: str, patient: Annotated[str, Form(max_length=80)]) -> Response:
        """To the person whose name stood on the button; nobody else may have sat down meanwhile."""
        served, t = vehicle.encounters.current(), screen.texts(request)
        if served is None or served.patient.patient != patient:
            screen.say(request, t("touch.held.changed"), t("touch.held.changed_hint"), kind="ask")
            return back(f"/laboratory/{reading}")
        await vehicle.measurements.assign(reading, request.state.caller.id)
        return back(f"/laboratory/{reading}")

    @router.post("/laboratory/{reading}/discard")
    @roles(*CLINICAL)
    async def discard(request: Request, reading: str, reason: Annotated[str, Form(max_length=20)] = "") -> Response:
        if reason not in DISCARD_REASONS:
            raise HTTPException(422, "no such reason")
        await vehicle.measurements.reject(reading, reason, request.state.caller.id)
        return back("/laboratory")

    def _overview(
        request: Request, refused: dict[str, str] | None, material: str = MATERIALS[0], number: str = ""
    ) -> Response:
        language = screen.texts(request).language
        recent = vehicle.laboratory.recent(language)
        specimens = vehicle.specimens.recent()
        context = {
            "unclaimed": vehicle.laboratory.waiting(language),
            "recent": sorted(recent, key=lambda report: not report.open_red),
            "specimens": specimens,
            "names": _names([*recent, *specimens]),
            "materials": MATERIALS,
            "material": material,
            "number": number or vehicle.specimens.proposed_number(),
            "reasons": SPECIMEN_REASONS,
            "refused": refused,
        }
        return screen.page(request, "laboratory.html", "measure", context, 422 if refused else 200)

    def _names(rows: list[Report | object]) -> dict[str, PatientView]:
        found: dict[str, PatientView] = {}
        for patient in {getattr(row, "patient", None) for row in rows} - {None}:
            try:
                found[str(patient)] = vehicle.people.get(str(patient))
            except NobodyFound:
                continue
        return found

    return router
