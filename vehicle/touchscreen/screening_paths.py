"""Screening paths on the touchscreen: one page per step, then the result with its next step; referrals.

Nothing is kept here: a page is drawn from what is known of the person, an answer is kept as soon as it is tapped.
"""

from __future__ import annotations

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import Response

from devices.errors import AskPerson
from sync.web.access import roles
from vehicle.clinic.encounters import EncounterView
from vehicle.clinic.path_runs import Asked, PathPage
from vehicle.clinic.paths import URGENCIES
from vehicle.clinic.prompts import NoEncounter
from vehicle.clinic.referrals import OUTCOMES, ReferralDraft
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL

PAGE = "/screening/path"


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    def served() -> EncounterView:
        now = vehicle.encounters.current()
        if now is None:
            raise NoEncounter("nobody is being served: swipe a card or choose a person first")
        return now

    @router.get(f"{PAGE}/{{path}}")
    @roles(*CLINICAL)
    async def walk(
        request: Request,
        path: str,
        step: str = Query("", max_length=40),
        after: str = Query("", max_length=40),
    ) -> Response:
        """The step asked for, else the first open one (behind ``after``); the result when none is."""
        page = vehicle.paths.page(served().encounter, path, screen.texts(request).language, step, after)
        if page.step is None:
            return back(f"{PAGE}/{path}/result")
        tile = None
        if page.step.measure:
            tiles = vehicle.measurements.tiles(screen.texts(request).language)
            tile = next((one for one in tiles if one.type == page.step.measure), None)
        return screen.page(request, "path.html", "measure", {"page": page, "tile": tile, "typed": _typed(page)})

    @router.post(f"{PAGE}/{{path}}/begin")
    @roles(*CLINICAL)
    async def begin(request: Request, path: str) -> Response:
        await vehicle.paths.begin(served().encounter, path, request.state.caller.id)
        return back(f"{PAGE}/{path}")

    @router.post(f"{PAGE}/{{path}}/answer")
    @roles(*CLINICAL)
    async def answer(request: Request, path: str) -> Response:
        """Answers of one page, by the names of their fields; ``step`` says which page."""
        told = {name: str(entry).strip() for name, entry in (await request.form()).items()}
        step = told.pop("step", "")[:40]
        here = served().encounter
        page = vehicle.paths.page(here, path, screen.texts(request).language, step)
        asked = {one.field: one for one in page.asked}
        answers = {name: said(asked[name], text) for name, text in told.items() if text and name in asked}
        await vehicle.paths.answer(here, path, answers, request.state.caller.id)
        return back(f"{PAGE}/{path}?after={step}")

    @router.post(f"{PAGE}/{{path}}/confirm/{{reading}}")
    @roles(*CLINICAL)
    async def confirm(request: Request, path: str, reading: str) -> Response:
        """A value that arrived while the step waits for it."""
        await vehicle.paths.begin(served().encounter, path, request.state.caller.id)
        await vehicle.measurements.confirm(reading, request.state.caller.id)
        return back(f"{PAGE}/{path}")

    @router.get(f"{PAGE}/{{path}}/result")
    @roles(*CLINICAL)
    async def result(request: Request, path: str) -> Response:
        language = screen.texts(request).language
        here = served().encounter
        found = vehicle.paths.result(here, path, language)
        last = vehicle.paths.page(here, path, language).steps[-1]
        return screen.page(request, "path_result.html", "measure", {"result": found, "last_step": last.id})

    @router.post(f"{PAGE}/{{path}}/end")
    @roles(*CLINICAL)
    async def end(request: Request, path: str, next: str = Form("", max_length=20)) -> Response:
        """Keep the results and what the path ends in; a referral has its own form."""
        if next == "referral":
            return back(f"{PAGE}/{path}/refer")
        here = served().encounter
        await vehicle.paths.end(here, path, next, request.state.caller.id)
        if next == "consultation":
            return back(f"/consult?path={path}")
        if next == "slip":
            return back(f"/print/{here}")
        t = screen.texts(request)
        screen.say(request, t("touch.path.ended"), t("touch.path.ended_hint"))
        return back("/screening")

    @router.get(f"{PAGE}/{{path}}/refer")
    @roles(*CLINICAL)
    async def refer_form(request: Request, path: str) -> Response:
        draft = vehicle.referrals.proposed(served().encounter, path, vehicle.settings.language)
        return _refer_page(request, draft)

    @router.post(f"{PAGE}/{{path}}/refer")
    @roles(*CLINICAL)
    async def refer(
        request: Request,
        path: str,
        to: str = Form("", max_length=80),
        other: str = Form("", max_length=80),
        department: str = Form("", max_length=80),
        urgency: str = Form("", max_length=20),
        reason: str = Form("", max_length=600),
        findings: str = Form("", max_length=600),
    ) -> Response:
        draft = ReferralDraft(other.strip() or to, department, urgency, reason, findings, path)
        try:
            kept = await vehicle.referrals.refer(served().encounter, draft, request.state.caller.id)
        except AskPerson as refused:
            return _refer_page(request, draft, screen.explain(request, refused))
        return back(f"/referral/{kept.referral}")

    @router.get("/referral/{referral}")
    @roles(*CLINICAL)
    async def referral_page(request: Request, referral: str) -> Response:
        kept = vehicle.referrals.get(referral)
        patient = vehicle.people.get(kept.patient)
        return screen.page(
            request, "referral.html", "measure", {"referral": kept, "patient": patient, "outcomes": OUTCOMES}
        )

    @router.post("/referral/{referral}/follow")
    @roles(*CLINICAL)
    async def follow(
        request: Request, referral: str, outcome: str = Form("", max_length=20), note: str = Form("", max_length=600)
    ) -> Response:
        await vehicle.referrals.follow(referral, outcome, note, request.state.caller.id)
        return back(f"/referral/{referral}")

    def _refer_page(request: Request, draft: ReferralDraft, refused: dict[str, str] | None = None) -> Response:
        context = {
            "draft": draft,
            "institutions": [name for _, name in vehicle.referrals.places(vehicle.settings.language)],
            "urgencies": URGENCIES,
            "refused": refused,
            "title": vehicle.paths.path(draft.path).title(screen.texts(request).language),
        }
        return screen.page(request, "refer.html", "measure", context, 422 if refused else 200)

    return router


def said(asked: Asked, text: str) -> object:
    """An answer in its type: the value of its option, else a number; what is neither stays text and is refused."""
    for option in asked.options:
        if text == option_code(option.value):
            return option.value
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def option_code(value: object) -> str:
    """An option's value as a form sends it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _typed(page: PathPage) -> bool:
    """Whether something on the page is typed on the pad."""
    return any(not one.options for one in page.asked)
