"""Screening: the prompts of the person being served, each with rule, inputs, source and what is missing."""

from __future__ import annotations

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from sync.web.access import roles
from vehicle.clinic.prompts import Missing, NoEncounter
from vehicle.touchscreen.frame import Screen, back, referring_path
from vehicle.touchscreen.sessions import CLINICAL


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    @router.get("/screening")
    @roles(*CLINICAL)
    async def prompts(request: Request, rule: str = Query("", max_length=40)) -> Response:
        language = screen.texts(request).language
        served = vehicle.encounters.current()
        found = vehicle.screening.prompts(served.encounter, language) if served else []
        chosen = next((prompt for prompt in found if prompt.rule == rule), found[0] if found else None)
        context = {
            "prompts": found,
            "chosen": chosen,
            "to_do": sum(1 for prompt in found if prompt.level),
            "unknown": sum(1 for prompt in found if prompt.level is None),
            "cards": vehicle.paths.cards(served.encounter, language) if served else [],
            "leads_to": vehicle.paths.leads_to(chosen.rule) if chosen else None,
            "edition": vehicle.rule_book.edition,
            "rules_fault": bool(vehicle.rule_book.fault),
            "to_follow_up": vehicle.referrals.to_follow_up(vehicle.today()),
            "progress": vehicle.paths.progress(served.visit if served else _visit(), language),
        }
        return screen.page(request, "screening.html", "measure", context)

    def _visit() -> str | None:
        visit = vehicle.visits.current()
        return visit.visit if visit else None

    @router.post("/screening/{rule}/answer")
    @roles(*CLINICAL)
    async def answer(request: Request, rule: str) -> Response:
        """What the person said to the questions of one rule; unanswered ones stay missing."""
        served = vehicle.encounters.current()
        if served is None:
            raise NoEncounter("nobody is being served: swipe a card or choose a person first")
        asked = {question.field: question for question in vehicle.screening.questions(served.encounter)}
        for tile in vehicle.measurements.tiles():  # a value nobody has confirmed yet asks too
            asked |= {question.field: question for question in tile.missing if question.ask}
        told = {name: str(entry).strip() for name, entry in (await request.form()).items()}
        answers = {name: said(asked[name], text) for name, text in told.items() if text and name in asked}
        if answers:
            await vehicle.screening.answer(served.encounter, answers, request.state.caller.id)
        to = referring_path(request, f"/screening?rule={rule}")
        return back(to)

    return router


def said(question: Missing, text: str) -> object:
    """An answer in its type; what cannot be read as one stays text, and the service refuses it by name."""
    if question.type == "boolean":
        return {"yes": True, "no": False}.get(text, text)
    if question.type == "number":
        try:
            number = float(text)
        except ValueError:
            return text
        return int(number) if number.is_integer() else number
    return text
