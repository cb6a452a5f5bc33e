"""Follow-up forms: who is due in this village, a form filled in by taps, signed by PIN, corrected, printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devices.errors import AskPerson
from sync.web.access import roles
from sync.web.catalog import Texts
from sync.web.pages import HEADERS
from vehicle.clinic.follow_up_views import CORRECTION_REASONS, FormAnswerRefused, FormDraft, FormIncomplete
from vehicle.clinic.forms.filling import FORM, LAST, MEASURED, RULE, Answer, span_later
from vehicle.clinic.forms.form import MARKS, Field, shipped_forms
from vehicle.clinic.forms.wording import shown_answer
from vehicle.clinic.programmes import FURTHER_ROLE, DueFollowUp
from vehicle.clinic.staff import Person
from vehicle.touchscreen.frame import Screen, back
from vehicle.touchscreen.sessions import CLINICAL, DOCTORS

MOST_ANSWER = 6000
LATER_BY = ("-7d", "-1d", "+1d", "+7d")
"""Steps of a date, by one tap."""
PDF_TYPE = "application/pdf"


def routes(screen: Screen) -> APIRouter:
    router = APIRouter()
    vehicle = screen.vehicle

    def me(request: Request) -> Person:
        return vehicle.staff.get(request.state.caller.id)

    # who is due -------------------------------------------------------------------------------------------------------

    @router.get("/follow-ups")
    @roles(*CLINICAL)
    async def due(request: Request, confidential: Annotated[str, Query(max_length=1)] = "") -> Response:
        return _list(request, bool(confidential))

    @router.post("/follow-ups/{patient}/phone")
    @roles(*CLINICAL)
    async def phone(request: Request, patient: str, confidential: Annotated[str, Form(max_length=1)] = "") -> Response:
        """The list with one number shown; that it was shown is in the journal before."""
        number = await vehicle.programmes.reveal_phone(patient, request.state.caller.id)
        return _list(request, bool(confidential), {patient: number})

    def _list(request: Request, confidential: bool, phones: dict[str, str] | None = None) -> Response:
        visit, person = vehicle.visits.current(), me(request)
        rows: Sequence[DueFollowUp] = ()
        if visit is not None:
            listed = vehicle.programmes.due_confidential(visit.village, person) if confidential else None
            rows = vehicle.programmes.due(visit.village) if listed is None else listed
        context = {
            "rows": rows,
            "confidential": confidential,
            "may_confidential": FURTHER_ROLE in person.further_roles,
            "overdue": sum(row.membership.state == "overdue" for row in rows),
            "phones": phones or {},
        }
        return screen.page(request, "follow_ups.html", "today", context)

    # filling in -------------------------------------------------------------------------------------------------------

    @router.post("/people/{patient}/follow-up")
    @roles(*CLINICAL)
    async def begin(request: Request, patient: str, form: Annotated[str, Form(max_length=40)] = "") -> Response:
        draft = await vehicle.follow_ups.begin(form, patient, me(request))
        return back(f"/follow-up/{draft}")

    @router.get("/follow-up/{draft}")
    @roles(*CLINICAL)
    async def look(request: Request, draft: str, part: Annotated[str, Query(max_length=40)] = "") -> Response:
        return _page(request, draft, part)

    @router.post("/follow-up/{draft}/answer")
    @roles(*CLINICAL)
    async def answer(
        request: Request,
        draft: str,
        field: Annotated[str, Form(max_length=60)] = "",
        value: Annotated[str, Form(max_length=MOST_ANSWER)] = "",
    ) -> Response:
        """One answer as JSON text, empty to clear it; 204 when it is kept, 422 with the reason when it cannot be."""
        try:
            given = json.loads(value) if value else None
        except ValueError:
            raise HTTPException(422, "the answer is no JSON") from None
        try:
            await vehicle.follow_ups.answer(draft, field, given, me(request))
        except FormAnswerRefused as refusal:
            return JSONResponse({"text": _why_not(screen.texts(request), refusal)}, 422, headers=HEADERS)
        return Response(status_code=204, headers=HEADERS)

    @router.post("/follow-up/{draft}/discard")
    @roles(*CLINICAL)
    async def discard(request: Request, draft: str) -> Response:
        seen = vehicle.follow_ups.look(draft, me(request))
        await vehicle.follow_ups.discard(draft, me(request))
        return back(f"/people/{seen.patient.patient}/health")

    @router.post("/follow-up/{draft}/sign")
    @roles(*CLINICAL)
    async def sign(
        request: Request,
        draft: str,
        person: Annotated[str, Form(max_length=63)] = "",
        pin: Annotated[str, Form(max_length=12)] = "",
        reason: Annotated[str, Form(max_length=20)] = "",
        reason_words: Annotated[str, Form(max_length=120)] = "",
    ) -> Response:
        """A doctor signs with a PIN of their own, whoever is signed in; wrong ones count as at sign-in.

        :param reason: of a correction, of ``CORRECTION_REASONS``; ``reason_words`` count instead where there are any
        """
        vehicle.follow_ups.look(draft, me(request))
        if person not in {one.id for one in _doctors()}:
            raise HTTPException(422, "a doctor signs")
        try:
            n = await vehicle.follow_ups.sign(draft, person, pin, reason_words.strip() or reason)
        except FormIncomplete:
            raise
        except AskPerson as refusal:
            said = {"signing": person, "told_reason": reason, "told_words": reason_words}
            return _page(request, draft, "", screen.explain(request, refusal), said)
        signed, t = vehicle.follow_ups.signed(n, me(request)), screen.texts(request)
        next_on = signed.next_on.isoformat() if signed.next_on else ""
        screen.say(
            request,
            t("touch.follow_up.signed", form=signed.form.words(t.language)),
            next_on and t("touch.follow_up.signed_next", day=next_on),
        )
        return back(f"/follow-up/signed/{n}")

    # signed -----------------------------------------------------------------------------------------------------------

    @router.get("/follow-up/signed/{signed}")
    @roles(*CLINICAL)
    async def signed_form(request: Request, signed: str) -> Response:
        found = vehicle.follow_ups.signed(_place(signed), me(request))
        await vehicle.people.open(found.patient.patient, request.state.caller.id)
        t = screen.texts(request)
        came_from = _origins(t)
        parts = [
            (
                section,
                [
                    (one, shown_answer(one, found.answers[one.name], t.language), came_from(found.source(one.name)))
                    for one in section.fields
                    if one.name in found.answers
                ],
            )
            for section in found.form.sections
        ]
        context = {
            "signed": found,
            "parts": [part for part in parts if part[1]],
            "why": lambda one: correction_reason(one.reason, t),
        }
        return screen.page(request, "follow_up_signed.html", "people", context)

    @router.get("/follow-up/signed/{signed}/sheet.pdf")
    @roles(*CLINICAL)
    async def sheet(request: Request, signed: str) -> Response:
        found = vehicle.follow_ups.signed(_place(signed), me(request))
        await vehicle.people.open(found.patient.patient, request.state.caller.id)
        written = await run_in_threadpool(vehicle.form_sheets.form_pdf, found)
        headers = {**HEADERS, "Content-Disposition": f'inline; filename="{found.form.id}-{found.day}.pdf"'}
        return Response(written, media_type=PDF_TYPE, headers=headers)

    @router.post("/follow-up/signed/{signed}/correct")
    @roles(*CLINICAL)
    async def correct(request: Request, signed: str) -> Response:
        draft = await vehicle.follow_ups.correct(_place(signed), me(request))
        return back(f"/follow-up/{draft}")

    def _page(
        request: Request,
        draft: str,
        part: str,
        refused: dict[str, str] | None = None,
        said: Mapping[str, str] | None = None,
    ) -> Response:
        seen = vehicle.follow_ups.look(draft, me(request))
        sections = [_section(seen, place) for place in range(len(seen.form.sections))]
        here = next((one for one in sections if one["id"] == part), sections[0])
        after = next((one for one in sections[here["place"] + 1 :] if one["asked"]), None)
        today = vehicle.programmes.today()
        context = {
            "seen": seen,
            "form": seen.form,
            "filled": seen.filled,
            "sections": sections,
            "here": here,
            "after": after,
            "fields": [one for one in seen.form.sections[here["place"]].fields if one.name not in seen.filled.hidden],
            "marks": [mark for mark in MARKS if any(one.verification == mark for one in seen.form.fields.values())],
            "numbers": any(one.type == "number" for one in seen.form.sections[here["place"]].fields),
            "day_taps": lambda one: _day_taps(one, seen.filled.answers.get(one.name), today),
            "came_from": _origins(screen.texts(request)),
            "doctors": _doctors(),
            "correction_reasons": CORRECTION_REASONS,
            "signing": request.state.caller.id,
            "told_reason": "",
            "told_words": "",
            **(said or {}),
            "refused": refused,
            "summary": [seen.form.fields[name] for name in SUMMARY if name in seen.form.fields],
            "shown_answer": lambda one: shown_answer(one, seen.filled.value(one.name), screen.texts(request).language),
        }
        return screen.page(request, "follow_up.html", "people", context, 422 if refused else 200)

    def _origins(t: Texts) -> Callable[[Answer | None], str]:
        titles = {row["name"]: row["title"] for row in vehicle.health.status(t.language)["devices"]}
        return lambda answer: _came_from(t, answer, titles)

    def _doctors() -> list[Person]:
        return [one for one in vehicle.staff.all() if one.role in DOCTORS]

    return router


SUMMARY = (
    "drug_allergies",
    "follow_up_class",
    "next_step",
    "self_care_score",
    "evaluation",
    "balanced",
    "finding",
    "expected_on",
    "outcome",
    "next_on",
)
"""Fields that stand beside the form all the time, where it has them."""


def _place(signed: str) -> int:
    if not signed.isdigit():
        raise HTTPException(404, "no such signed form")
    return int(signed)


def _section(seen: FormDraft, place: int) -> dict[str, Any]:
    section = seen.form.sections[place]
    names = [one.name for one in section.fields if one.name not in seen.filled.hidden]
    return {
        "place": place,
        "id": section.id,
        "zh": section.zh,
        "en": section.en,
        "asked": len(names),
        "answered": sum(name in seen.filled.answers for name in names),
        "missing": sum(name in seen.filled.missing for name in names),
    }


def _day_taps(one: Field, answer: Answer | None, today: date) -> list[tuple[str, str]]:
    """(span, day) of one tap: spans from today, then steps from the day that is there."""
    taps = [(tap, span_later(today, tap).isoformat()) for tap in one.taps]
    if answer is not None:
        day = date.fromisoformat(str(answer.value))
        taps += [(tap, span_later(day, tap).isoformat()) for tap in LATER_BY]
    return taps


def _came_from(t: Texts, answer: Answer | None, titles: Mapping[str, str]) -> str:
    """In words, where an answer came from; empty for the doctor's own.

    :param titles: of the devices of this van, by their names; one that has left it keeps its name
    """
    if answer is None or answer.source == "doctor":
        return ""
    facts = {"day": answer.on.isoformat() if answer.on else "", "of": answer.of}
    if answer.source in MEASURED:
        device = t("touch.measure.by_hand") if answer.device == "person" else titles.get(answer.device, answer.device)
        return str(t(f"touch.follow_up.from_{answer.source}", device=device, **facts))
    if answer.source == FORM:
        kind = shipped_forms().get(answer.of)
        return str(t("touch.follow_up.from_form", form=kind.words(t.language) if kind else answer.of, day=facts["day"]))
    if answer.source in (LAST, RULE):
        return str(t(f"touch.follow_up.from_{answer.source}", **facts))
    return str(t(f"touch.follow_up.from_{answer.source}"))


def correction_reason(reason: str, t: Any) -> str:
    """Why something was corrected: the words of a code, or what the doctor wrote."""
    return str(t(f"touch.correction_reason.{reason}")) if reason in CORRECTION_REASONS else reason


def _why_not(t: Any, refusal: FormAnswerRefused) -> str:
    facts = refusal.facts
    if facts["reason"] == "range":
        return str(t("touch.follow_up.range", low=facts["low"], high=facts["high"]))
    return str(t(f"touch.follow_up.refused_{facts['reason']}"))
