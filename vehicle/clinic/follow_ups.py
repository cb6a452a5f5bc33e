"""Follow-up forms being filled in, signed and corrected. Everything is an entry at once: a restart loses nothing.

A draft is an entry, each tap is one, the signed form is one. A signed form is never changed: a correction is an entry
that names it. What is filled in by itself is worked out again at every look, until the doctor's PIN makes it a record
with the source of each answer beside it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from devices.clock import Clock
from sync.formats.canonical import Json
from sync.formats.records import Draft, parse_time
from sync.record.allergies import together
from sync.screening.evaluator import RuleSet
from vehicle.clinic.background import signed_forms
from vehicle.clinic.encounters import Encounters
from vehicle.clinic.follow_up_sources import numbers_of
from vehicle.clinic.follow_up_views import (
    Correction,
    CorrectionUnexplained,
    FormAnswerRefused,
    FormDraft,
    FormIncomplete,
    FormUnknown,
    SignedForm,
)
from vehicle.clinic.forms.filling import Answer, Filled, Given, Said, fill
from vehicle.clinic.forms.form import BACKGROUND, Form, ValueRefused, shipped_forms
from vehicle.clinic.people import PatientView, People
from vehicle.clinic.ports import Ids, Journal, Live, marks
from vehicle.clinic.programmes import Confidential, Programmes, may_see
from vehicle.clinic.staff import Person, Staff
from vehicle.clinic.views import CHINA

WHY = "@why"
"""Of a correction's draft: the answer that is no field, but why it was made, and who says so."""
SEX_FACT = {"male": "M", "female": "F"}
"""As the rules take it; of others empty."""
MOST_ELSEWHERE = 20
"""Signed forms of other kinds that are looked through for what they say."""
Facts = Callable[[str], Mapping[str, object]]
InForce = Callable[[], tuple[RuleSet, frozenset[str]]]


class FollowUps:
    """
    :param facts: of an encounter, as the screening rules take them
    :param in_force: the rules, and which of them are in force
    """

    def __init__(
        self,
        store: Journal,
        ids: Ids,
        clock: Clock,
        live: Live,
        people: People,
        encounters: Encounters,
        staff: Staff,
        programmes: Programmes,
        facts: Facts,
        in_force: InForce,
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._live = live
        self._people = people
        self._encounters = encounters
        self._staff = staff
        self._programmes = programmes
        self._facts = facts
        self._in_force = in_force
        self._changing = asyncio.Lock()
        """Two taps must not open two drafts or sign one twice."""

    # filling in

    async def begin(self, form: str, patient: str, by: Person) -> str:
        """The draft of this form for this person: the one begun today, else a new one.

        One of an earlier day is put away: how somebody feels is asked again. What lasts (allergies) is gone on with.

        :raises FormUnknown: no such form
        :raises Confidential: not for this member of staff
        """
        kind = self._form(form, by)
        async with self._changing:
            who = self._people.registrations(patient)
            for row in self._open_drafts(who):
                if row["form"] != form or row["corrects"] is not None:
                    continue
                if form == BACKGROUND or self._of_today(row):
                    return str(row["draft"])
                await self._store.commit(_closed(row["draft"], "stale", by.id, row["visit"]))
            return await self._open(kind, patient, by)

    async def correct(self, n: int, by: Person) -> str:
        """A draft that begins with what was signed; signing it appends a correction.

        :raises FormUnknown, Confidential: see ``begin``
        """
        signed = self.signed(n, by)
        async with self._changing:
            for row in self._open_drafts((signed.patient.patient,)):
                if row["corrects"] == n:
                    return str(row["draft"])
            draft = await self._open(signed.form, signed.patient.patient, by, n)
            fields = [(name, value) for name, value in signed.answers.items() if name in signed.form.fields]
            drafts = [_answer(draft, name, value, by.id) for name, value in fields if _told(signed, name)]
            if drafts:
                await self._store.commit(*drafts)
            return draft

    async def answer(self, draft: str, field: str, given: object, by: Person) -> FormDraft:
        """Keep one answer; None clears the field, also of what would be filled in.

        :raises FormUnknown: no such draft or field
        :raises FormAnswerRefused: it cannot be
        :raises Confidential: not for this member of staff
        """
        row = self._row(draft)
        form = self._form(row["form"], by)
        one = form.fields.get(field)
        if one is None or one.type == "computed":
            raise FormUnknown(f"{form.id} has no field {field!r} to answer")
        try:
            value = None if given is None else one.checked(given)
            if value is not None:
                one.check_day(value, self._day_of(row))
        except ValueRefused as refusal:
            facts = {"field": field, "reason": refusal.reason}
            raise FormAnswerRefused(
                f"{field}: {refusal.reason}", low=str(one.low), high=str(one.high), **facts
            ) from None
        visit, encounter = self._where(row)
        await self._store.commit(_answer(draft, field, value, by.id, visit, encounter))
        self._tell(draft)
        return self.look(draft, by)

    def look(self, draft: str, by: Person) -> FormDraft:
        """:raises FormUnknown: no such open draft
        :raises Confidential: not for this member of staff
        """
        row = self._row(draft)
        form = self._form(row["form"], by)
        patient = self._people.get(row["patient"])
        visit, encounter = self._where(row)
        return FormDraft(
            draft=draft,
            form=form,
            patient=patient,
            encounter=encounter,
            visit=visit,
            opened_at=parse_time(row["opened_at"]),
            corrects=row["corrects"],
            filled=self._fill(form, patient, row, encounter),
        )

    async def discard(self, draft: str, by: Person) -> None:
        """:raises FormUnknown, Confidential: see ``look``"""
        row = self._row(draft)
        self._form(row["form"], by)
        await self._store.commit(_closed(draft, "discarded", by.id, row["visit"]))
        self._tell(draft)

    async def sign(self, draft: str, person: str, pin: str, reason: str = "") -> int:
        """Sign with the PIN; the place of the signed form. Who is not yet in the programme is in it from today.

        :param reason: of a correction: one of ``CORRECTION_REASONS``, or in words
        :raises FormIncomplete: names what is missing
        :raises CorrectionUnexplained: a correction without a reason
        :raises WrongPin, LockedOut: see ``Staff.check_pin``
        :raises FormUnknown, Confidential: see ``look``
        """
        async with self._changing:
            by = self._staff.get(person)
            seen = self.look(draft, by)
            if seen.filled.missing:
                raise FormIncomplete("the form is not complete", fields=seen.filled.missing, form=seen.form.id)
            if seen.corrects is not None and not reason:
                raise CorrectionUnexplained("say why it is corrected: choose a reason or write one")
            await self._staff.check_pin(person, pin)
            now = self.look(draft, by)
            closed = _closed(draft, "signed", by.id, now.visit)
            if now.corrects is not None:
                n = now.corrects
                said: dict[str, Json] = {"draft": draft, "field": WHY, "answer": {"is": reason, "by_name": by.name}}
                why = Draft("follow_up_answer/1", said, by.id, now.visit, now.encounter)
                await self._store.commit(self._correction(n, now, by, reason), why, closed)
            else:
                n = await self._sign(now, by, closed)
            self._tell(draft)
            return n

    # signed

    def signed(self, n: int, by: Person) -> SignedForm:
        """:raises FormUnknown: no such signed form
        :raises Confidential: not for this member of staff
        """
        rows = self._store.read("SELECT * FROM follow_up_forms WHERE n = ?", (n,))
        if not rows:
            raise FormUnknown("no such signed form")
        self._form(rows[0]["form"], by)
        return self._signed(rows[0])

    def of(self, patient: str, by: Person, limit: int = 60) -> list[SignedForm]:
        """The signed forms of somebody over all registrations, newest first; nothing this member may not see."""
        who = self._people.registrations(patient)
        rows = self._store.read(
            f"SELECT * FROM follow_up_forms WHERE patient IN ({marks(who)}) ORDER BY n DESC LIMIT ?",
            (*who, limit),
        )
        known = [row for row in rows if row["form"] in shipped_forms()]
        return [self._signed(row) for row in known if may_see(shipped_forms()[row["form"]], by)]

    def drafts_of(self, patient: str, by: Person) -> list[tuple[str, Form]]:
        """(draft, form) of what was begun today, and of corrections, and neither signed nor put away."""
        who = self._people.registrations(patient)
        drafts = [row for row in self._open_drafts(who) if row["corrects"] is not None or self._of_today(row)]
        rows = [(str(row["draft"]), shipped_forms().get(row["form"])) for row in drafts]
        return [(draft, form) for draft, form in rows if form is not None and may_see(form, by)]

    # how

    def _form(self, form: str, by: Person) -> Form:
        found = shipped_forms().get(form)
        if found is None:
            raise FormUnknown(f"no form {form!r}")
        if not may_see(found, by):
            raise Confidential("only for staff who may see severe mental illness")
        return found

    async def _open(self, form: Form, patient: str, by: Person, corrects: int | None = None) -> str:
        served = self._encounters.current()
        here = served if served is not None and served.patient.patient in self._people.registrations(patient) else None
        draft = self._ids.new("follow-up")
        fields: dict[str, Json] = {"draft": draft, "form": form.id, "form_version": form.version, "patient": patient}
        if corrects is not None:
            fields["corrects"] = corrects
        visit, encounter = (here.visit, here.encounter) if here else (None, None)
        await self._store.commit(Draft("follow_up_draft/1", fields, by=by.id, visit=visit, encounter=encounter))
        return draft

    def _open_drafts(self, who: tuple[str, ...]) -> list[dict[str, Any]]:
        return self._store.read(
            f"SELECT * FROM follow_up_drafts WHERE patient IN ({marks(who)}) AND closed_at IS NULL "
            "ORDER BY opened_at DESC, draft DESC",
            who,
        )

    def _row(self, draft: str) -> dict[str, Any]:
        rows = self._store.read("SELECT * FROM follow_up_drafts WHERE draft = ? AND closed_at IS NULL", (draft,))
        if not rows:
            raise FormUnknown("this form is not open any more: look at the person's page")
        return rows[0]

    def _of_today(self, row: Mapping[str, Any]) -> bool:
        return parse_time(row["opened_at"]).astimezone(CHINA).date() == self._clock.now().astimezone(CHINA).date()

    def _where(self, row: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """(visit, encounter) that a draft belongs to: the present ones while its person is served, so that a form that
        was begun before the measuring is filled in by it; of a correction none."""
        if row["corrects"] is not None:
            return None, None
        served = self._encounters.current()
        if served is not None and row["patient"] in self._people.registrations(served.patient.patient):
            return served.visit, served.encounter
        return row["visit"], row["encounter"]

    def _fill(self, form: Form, patient: PatientView, row: Mapping[str, Any], encounter: str | None) -> Filled:
        rules, in_force = self._in_force()
        who = self._people.registrations(patient.patient)
        facts = dict(self._facts(encounter)) if encounter else {}
        if patient.age is not None:
            facts["age"] = patient.age
        if patient.born_on is not None:
            facts["born_on"] = patient.born_on.isoformat()
        facts["sex"] = SEX_FACT.get(patient.sex, "")
        readings = numbers_of(self._store, who, encounter, facts.get("meal"))
        if "temp" in readings and not readings["temp"].earlier:
            facts["temp"] = readings["temp"].number
        last = self._last(form.id, who, row["corrects"])
        answers = {} if last is None else json.loads(last["answers_json"])
        if form.id == BACKGROUND and row["corrects"] is None:
            answers |= together([json.loads(one["answers_json"]) for one in signed_forms(self._store, who)])
        given = Given(
            on=self._day_of(row),
            told=self._told(row["draft"]),
            readings=readings,
            last=answers,
            last_on=None if last is None else _day(last["filled_at"]),
            forms=self._said_elsewhere(form.id, who),
            facts=facts,
            rules_in_force=in_force,
        )
        return fill(form, given, rules)

    def _day_of(self, row: Mapping[str, Any]) -> date:
        """The day that spans count from: today, of a correction the day of what it corrects."""
        if row["corrects"] is not None:
            rows = self._store.read("SELECT filled_at FROM follow_up_forms WHERE n = ?", (row["corrects"],))
            if rows:
                return _day(rows[0]["filled_at"])
        return self._clock.now().astimezone(CHINA).date()

    def _told(self, draft: str) -> dict[str, Json | None]:
        rows = self._store.read("SELECT field, answer_json FROM follow_up_answers WHERE draft = ?", (draft,))
        return {row["field"]: json.loads(row["answer_json"]).get("is") for row in rows}

    def _last(self, form: str, who: tuple[str, ...], before: int | None) -> dict[str, Any] | None:
        """The last signed form of this kind, of a correction the one before what it corrects."""
        rows = self._store.read(
            f"SELECT * FROM follow_up_forms WHERE form = ? AND patient IN ({marks(who)}) "
            "AND n < ? ORDER BY n DESC LIMIT 1",
            (form, *who, before if before is not None else 1 << 62),
        )
        return rows[0] if rows else None

    def _said_elsewhere(self, form: str, who: tuple[str, ...]) -> dict[str, Said]:
        """Field to what the newest other form says; of what is confidential nothing."""
        rows = self._store.read(
            f"SELECT form, answers_json, filled_at FROM follow_up_forms WHERE form != ? AND patient IN "
            f"({marks(who)}) ORDER BY n DESC LIMIT ?",
            (form, *who, MOST_ELSEWHERE),
        )
        found: dict[str, Said] = {}
        for row in rows:
            kind = shipped_forms().get(row["form"])
            if kind is not None and not kind.confidential:
                for name, value in json.loads(row["answers_json"]).items():
                    found.setdefault(name, Said(value, kind.id, _day(row["filled_at"])))
        return found

    async def _sign(self, seen: FormDraft, by: Person, closed: Draft) -> int:
        fields: dict[str, Json] = {
            "form": seen.form.id,
            "form_version": seen.form.version,
            "patient": seen.patient.patient,
            "signed_by": by.name,
            **_said(seen.filled),
        }
        drafts = [Draft("follow_up_form/1", fields, by=by.id, visit=seen.visit, encounter=seen.encounter), closed]
        patient, programme = seen.patient.patient, seen.form.programme
        if seen.filled.ends:
            drafts += self._programmes.leaving(patient, programme, seen.filled.ends, by.id)
        elif programme and programme not in {row.programme for row in self._programmes.of(patient, by)}:
            drafts.append(self._programmes.membership(patient, programme, self._programmes.today(), by.id))
        entries = await self._store.commit(*drafts)
        return int(entries[0].n)

    def _correction(self, corrects: int, seen: FormDraft, by: Person, reason: str) -> Draft:
        fields: dict[str, Json] = {
            "corrects": corrects,
            "corrects_kind": "follow_up_form/1",
            "reason": reason,
            "fields": {**_said(seen.filled), "signed_by": by.name},
        }
        return Draft("correction/1", fields, by=by.id, visit=seen.visit, encounter=seen.encounter)

    def _corrections(self, n: int) -> tuple[Correction, ...]:
        rows = self._store.read(
            "SELECT d.closed_at, a.answer_json FROM follow_up_drafts d LEFT JOIN follow_up_answers a "
            "ON a.draft = d.draft AND a.field = ? WHERE d.corrects = ? AND d.how = 'signed' "
            "ORDER BY d.closed_at, d.draft",
            (WHY, n),
        )
        said = [(json.loads(row["answer_json"] or "{}"), parse_time(row["closed_at"])) for row in rows]
        return tuple(Correction(why.get("is", ""), at, why.get("by_name", "")) for why, at in said)

    def _signed(self, row: Mapping[str, Any]) -> SignedForm:
        return SignedForm(
            n=row["n"],
            form=shipped_forms()[row["form"]],
            version=row["form_version"],
            patient=self._people.get(row["patient"]),
            filled_at=parse_time(row["filled_at"]),
            signed_by=row["signed_by"] or row["by"] or "",
            answers=json.loads(row["answers_json"]),
            sources=json.loads(row["sources_json"] or "{}"),
            next_on=date.fromisoformat(row["next_on"]) if row["next_on"] else None,
            corrections=self._corrections(row["n"]),
        )

    def _tell(self, draft: str) -> None:
        self._live.send({"type": "follow_up", "draft": draft})


def _day(at: str) -> date:
    return parse_time(at).astimezone(CHINA).date()


def _closed(draft: str, how: str, by: str, visit: str | None) -> Draft:
    """:param how: signed, discarded or stale"""
    return Draft("follow_up_draft_closed/1", {"draft": draft, "how": how}, by=by, visit=visit)


def _answer(
    draft: str, field: str, value: Json | None, by: str, visit: str | None = None, encounter: str | None = None
) -> Draft:
    said: dict[str, Json] = {} if value is None else {"is": value}
    return Draft("follow_up_answer/1", {"draft": draft, "field": field, "answer": said}, by, visit, encounter)


def _told(signed: SignedForm, name: str) -> bool:
    """Whether a correction begins with this answer as the doctor's: computed numbers are computed again."""
    return signed.form.fields[name].type != "computed"


def _said(filled: Filled) -> dict[str, Json]:
    """Answers, their sources and the next date as the entry has them."""
    fields: dict[str, Json] = {
        "answers": {name: answer.value for name, answer in filled.answers.items()},
        "sources": {name: _source(answer) for name, answer in filled.answers.items()},
    }
    if filled.next_on is not None:
        fields["next_on"] = filled.next_on.isoformat()
    return fields


def _source(answer: Answer) -> Json:
    told = {
        "from": answer.source,
        "of": answer.of,
        "device": answer.device,
        "on": answer.on.isoformat() if answer.on else "",
    }
    return {name: text for name, text in told.items() if text}
