"""Consultations as the van keeps them: request with consent, the specialist's signed opinion, the doctor's decision.

The states are the table of ``telemedicine.consultation``; every step is an entry, and this process alone writes it.
The decision on diagnosis and treatment stays with the inviting side, so a consultation closes only with the village
doctor's own signed decision.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.formats.canonical import Json
from sync.formats.records import Draft, EntryUnreadable, format_time, parse_time, read_entry
from sync.record.recordings import Recordings
from sync.web.catalog import texts
from telemedicine.consultation import OPEN, TABLE, Event, State, WrongMoment, next_state, read_who, spoken
from telemedicine.opinion import OpinionRefused, SignedOpinion, verify_opinion
from vehicle.clinic.encounters import Encounters
from vehicle.clinic.people import PatientView, People
from vehicle.clinic.ports import Ids, Journal, Live
from vehicle.clinic.prompts import NoEncounter
from vehicle.clinic.staff import Person, Staff
from vehicle.consultation_request import EMERGENCY, LONGEST_FIELD, Consent, check_consent, complete, consent_version

CONSENT_TOLD = ("signed_by", "guardian_name", "guardian_relation", "read_aloud", "text_version")
"""What the specialist is told of the consent: who agreed to which text."""
DECISIONS = ("accept", "accept_partly", "reject")
DOCTORS = ("doctor", "village_doctor")
_DONE_TALKING = (State.ENDED, State.OPINION_SIGNED)


class ConsultationOpen(AskPerson):
    """Another consultation is under way; ``facts["consultation"]`` names it."""

    code = "consultation_open"


class ConsultationUnknown(AskPerson):
    code = "consultation_unknown"


class ReasonMissing(AskPerson):
    """Whoever declines says why."""

    code = "reason_missing"


class DecisionIncomplete(AskPerson):
    """The decision or the plan is missing."""

    code = "decision_incomplete"


class NotADoctor(AskPerson):
    """The decision is a doctor's to sign."""

    code = "not_a_doctor"


class Findings(Protocol):
    """What the specialist is told about the body: ``vehicle.clinic.case.CaseNotes``."""

    def of(self, encounter: str, patient: str, language: str | None = None) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class ConsultationView:
    consultation: str
    state: str
    state_word: str
    urgency: str
    encounter: str | None
    patient: PatientView
    fields: dict[str, str]
    requested_at: datetime
    requested_by: str
    specialist: str
    """Id of who accepted or signed; empty before."""
    specialist_name: str
    """As people say it, without id; the id when no name is known."""
    specialist_title: str
    """As told when accepting; may be empty."""
    reason: str
    """Of the last step that had one: declined, cancelled, interrupted."""
    consent: dict[str, Any]
    opinion: dict[str, Any] | None
    """The fields of the opinion entry: specialist_name, institution, opinion, signed_text, signed_at ..."""
    decision: dict[str, Any] | None
    """decision, plan, by_name, at."""
    session_over: bool
    """The live session was hung up, whatever is still to be signed: no picture leaves the van any more."""
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Step:
    state: str
    who: str
    reason: str
    at: datetime
    session_over: bool


class Consultations:
    def __init__(
        self,
        store: Journal,
        ids: Ids,
        clock: Clock,
        live: Live,
        recordings: Recordings,
        people: People,
        encounters: Encounters,
        staff: Staff,
        findings: Findings,
        origin: str,
        language: str = "zh",
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._live = live
        self._recordings = recordings
        self._people = people
        self._encounters = encounters
        self._staff = staff
        self._findings = findings
        self._origin = origin
        self._language = language
        self.beside: Callable[[str, str | None], dict[str, Any]] = lambda consultation, language: {}
        """What else the specialist is told of a consultation; emergency mode tells place and steps."""
        self._steps: dict[str, list[Step]] = {}
        """What ``steps`` has read; a change throws its consultation's away."""
        self._one_at_a_time = asyncio.Lock()
        """Two screens and a media process may act at once; each step sees the state the one before left."""

    # what is

    def current(self) -> ConsultationView | None:
        """The consultation that somebody is waiting on: the one being talked, else the newest that is not over."""
        rows = self._open()
        talking = [row for row in rows if row["state"] not in _DONE_TALKING]
        chosen = (talking or rows)[-1:]
        return self.get(chosen[0]["consultation"]) if chosen else None

    def get(self, consultation: str, language: str | None = None) -> ConsultationView:
        """:raises ConsultationUnknown: no such consultation"""
        row = self._row(consultation)
        opinion = json.loads(row["opinion_json"]) if row["opinion_json"] else None
        steps = self.steps(consultation)
        accepted = [step.who for step in steps if step.state == State.ACCEPTED and step.who]
        specialist, name, title = read_who(accepted[-1] if accepted else "")
        if opinion and opinion["specialist"] != specialist:
            title = ""
        return ConsultationView(
            consultation=consultation,
            state=row["state"],
            state_word=spoken(row["state"], language or self._language),
            urgency=row["urgency"],
            encounter=row["encounter"],
            patient=self._people.get(row["patient"]),
            fields=json.loads(row["fields_json"]),
            requested_at=parse_time(row["requested_at"]),
            requested_by=row["requested_by"] or "",
            specialist=opinion["specialist"] if opinion else specialist,
            specialist_name=opinion["specialist_name"] if opinion else name,
            specialist_title=title,
            reason=next((step.reason for step in reversed(steps) if step.reason), ""),
            consent=json.loads(row["consent_json"]),
            opinion=opinion,
            decision=_decision(row),
            session_over=any(step.session_over for step in steps),
            closed_at=parse_time(row["closed_at"]) if row["closed_at"] else None,
        )

    def steps(self, consultation: str) -> list[Step]:
        """Every change of state from the journal, oldest first, with who and why."""
        if consultation in self._steps:
            return list(self._steps[consultation])
        found = []
        for row in self._store.read(
            "SELECT n, body FROM entries WHERE kind = 'consultation_changed/1' AND body IS NOT NULL "
            "AND instr(body, CAST(? AS BLOB)) > 0 ORDER BY n",
            (consultation,),
        ):
            try:
                entry = read_entry(row["body"], row["n"])
            except EntryUnreadable:
                continue
            said = entry.fields
            if said["consultation"] == consultation:
                over = said["state"] == State.ENDED or said.get("session_over", False)
                found.append(Step(said["state"], said.get("who", ""), said.get("reason", ""), entry.at, over))
        self._steps[consultation] = found
        return list(found)

    def summary(self, consultation: str, language: str | None = None) -> dict[str, Any]:
        """What the specialist sees of the case, JSON-able: never the full identity number, phone or address.

        Keys: consultation, encounter, practice, urgency, requested_at, patient {name, sex, age, masked_id}, village
        {code, name, township}, doctor {id, name, role}, fields, consent, readings, prompts, trends, recordings,
        background {allergies, asked, unsigned, history, drugs}, decision, session_over (only when it is).
        ``practice`` true: nobody is ill, the crew rehearses.
        """
        view = self.get(consultation, language)
        row = self._row(consultation)
        patient, doctor = view.patient, self._doctor(view.requested_by)
        told: dict[str, Any] = {
            "consultation": consultation,
            "encounter": view.encounter,
            "practice": self._practice(view.encounter),
            "urgency": view.urgency,
            "requested_at": format_time(view.requested_at),
            "patient": {
                "name": patient.name,
                "sex": patient.sex,
                "age": patient.age,
                "masked_id": patient.masked_id,
            },
            "village": self._village(row["visit"]),
            "doctor": {"id": doctor.id, "name": doctor.name, "role": doctor.role},
            "fields": view.fields,
            "consent": {name: view.consent[name] for name in CONSENT_TOLD if name in view.consent},
        }
        told |= self._findings.of(view.encounter or "", patient.patient, language)
        told |= self.beside(consultation, language)
        if view.decision is not None:
            told["decision"] = view.decision
        if view.session_over:
            told["session_over"] = True
        return told

    # what is done

    async def request(self, fields: Mapping[str, str], urgency: str, consent: Consent, by: str) -> ConsultationView:
        """Ask a specialist about the person being served.

        :raises NoEncounter: nobody is being served
        :raises RequestIncomplete: one of the five fields is empty or too long
        :raises ConsentMissing: no signature, or of somebody who cannot consent
        :raises ConsultationOpen: another one is under way, or this person's waits for opinion or decision
        """
        async with self._one_at_a_time:
            served = self._encounters.current()
            if served is None:
                raise NoEncounter("nobody is being served: swipe a card or choose a person first")
            asked = complete(fields, urgency)
            check_consent(consent, served.patient.age)
            self._none_under_way(served.encounter)
            text = texts(self._language)("clinic.consent.text")
            sha256, size = await asyncio.to_thread(self._recordings.store, consent.signature_png, "image/png")
            consultation = self._ids.new("consultation")
            patient = served.patient.patient
            signature: dict[str, Json] = {
                "sha256": sha256,
                "bytes": size,
                "media_type": "image/png",
                "what": "signature",
                "patient": patient,
                "started_at": format_time(self._clock.now()),
                "duration_ms": 0,
                "facts": {"consultation": consultation, **consent.who()},
            }
            said: dict[str, Json] = {
                "consultation": consultation,
                "patient": patient,
                "urgency": urgency,
                "fields": dict(asked),
                "consent": {
                    "text_version": consent_version(text),
                    "language": self._language,
                    "read_aloud": consent.read_aloud,
                    "signature_sha256": sha256,
                    **consent.who(),
                },
            }
            await self._store.commit(
                Draft("recording/1", signature, by, served.visit, served.encounter),
                Draft("consultation/1", said, by, served.visit, served.encounter),
            )
            return self._changed(consultation, State.REQUESTED)

    async def request_emergency(
        self, patient: str, visit: str | None, encounter: str, fields: Mapping[str, str], by: str | None
    ) -> ConsultationView:
        """Call the duty doctor for somebody in danger. Nobody signs: whose life is in danger is helped first, and who
        acted stands in the entry (Civil Code art. 1220).

        What else is under way is cancelled or hung up; one about the same encounter is taken instead.
        """
        async with self._one_at_a_time:
            for row in self._open():
                if row["state"] in _DONE_TALKING:
                    continue
                if row["encounter"] == encounter:
                    return self.get(row["consultation"])
                gives_way = Event.CANCELLED if Event.CANCELLED in TABLE[State(row["state"])] else Event.ENDED
                following = next_state(row["state"], gives_way)
                await self._store.commit(self._change(row["consultation"], following, by or "", EMERGENCY))
                self._changed(row["consultation"], following)
            consultation = self._ids.new("consultation")
            said: dict[str, Json] = {
                "consultation": consultation,
                "patient": patient,
                "urgency": EMERGENCY,
                "fields": dict(fields),
                "consent": {
                    "text_version": EMERGENCY,
                    "language": self._language,
                    "read_aloud": False,
                    "signed_by": EMERGENCY,
                },
            }
            await self._store.commit(Draft("consultation/1", said, by, visit, encounter))
            return self._changed(consultation, State.REQUESTED)

    async def change(self, consultation: str, event: Event | str, who: str = "", reason: str = "") -> ConsultationView:
        """A step that somebody took: invited, accepted, declined, connected ... A repeat changes nothing. Hanging up
        after the opinion leaves the state as it is, and that the session is over is kept all the same.

        :raises WrongMoment: the state table has no such step, or the step needs a signature
        :raises ReasonMissing: declined without a reason
        """
        if event in (Event.OPINION_SIGNED, Event.DECISION_SIGNED):
            raise WrongMoment(f"{event} comes with a signature: use receive_opinion or decide")
        async with self._one_at_a_time:
            state = State(self._row(consultation)["state"])
            following = next_state(state, event)
            over = following is state and event == Event.ENDED and not self.get(consultation).session_over
            if following is state and not over:
                return self.get(consultation)
            if event == Event.DECLINED and not reason.strip():
                raise ReasonMissing("whoever declines says why")
            await self._store.commit(self._change(consultation, following, who, reason.strip(), over))
            return self._changed(consultation, following)

    async def receive_opinion(self, consultation: str, signed: SignedOpinion) -> ConsultationView:
        """Verify the specialist's signature over the very text and keep it; the same opinion again changes nothing.

        :raises OpinionRefused: the signature, form or addressee is wrong, or another opinion is already signed
        :raises WrongMoment: nobody accepted this consultation
        """
        async with self._one_at_a_time:
            row = self._row(consultation)
            if row["opinion_json"]:
                kept = json.loads(row["opinion_json"])
                if (kept["signed_text"], kept["public_key"]) == (signed.signed_text, signed.public_key):
                    return self.get(consultation)
                raise OpinionRefused(
                    "an opinion on this consultation is already signed; a second one needs a new request"
                )
            text = verify_opinion(signed, consultation, self._origin)
            following = next_state(row["state"], Event.OPINION_SIGNED)
            said: dict[str, Json] = {
                "consultation": consultation,
                "specialist": text.specialist,
                "specialist_name": text.specialist_name,
                "institution": text.institution,
                "opinion": json.loads(signed.signed_text)["opinion"],
                "signed_text": signed.signed_text,
                "signature": signed.signature,
                "public_key": signed.public_key,
                "signed_at": format_time(text.signed_at),
            }
            await self._store.commit(
                Draft("opinion/1", said, visit=row["visit"], encounter=row["encounter"]),
                self._change(consultation, following, text.specialist, ""),
            )
            emit("opinion_received", consultation=consultation)
            return self._changed(consultation, following)

    async def decide(self, consultation: str, decision: str, plan: str, by: str, pin: str) -> ConsultationView:
        """The doctor's own decision, signed with the PIN; closes the consultation. The same again changes nothing.

        :raises DecisionIncomplete: no decision of ``DECISIONS``, or no plan
        :raises NotADoctor: ``by`` may not decide
        :raises WrongMoment: there is no signed opinion yet, or another decision is signed
        :raises WrongPin, LockedOut: nothing is written but the failed check
        """
        words = plan.strip()
        if decision not in DECISIONS or not words or len(words) > LONGEST_FIELD:
            raise DecisionIncomplete("choose a decision and write what will be done")
        person = self._staff.get(by)
        if person.role not in DOCTORS:
            raise NotADoctor("the decision is the doctor's to sign: let the doctor sign in")
        async with self._one_at_a_time:
            row = self._row(consultation)
            following = next_state(row["state"], Event.DECISION_SIGNED)
            made = _decision(row)
            if made is not None:
                if (made["decision"], made["plan"]) == (decision, words):
                    return self.get(consultation)
                raise WrongMoment("another decision is already signed")
            await self._staff.check_pin(by, pin)
            said: dict[str, Json] = {
                "consultation": consultation,
                "decision": decision,
                "plan": words,
                "by_name": person.name,
            }
            await self._store.commit(
                Draft("decision/1", said, by, row["visit"], row["encounter"]),
                self._change(consultation, following, by, ""),
            )
            return self._changed(consultation, following)

    # how

    def _row(self, consultation: str) -> dict[str, Any]:
        rows = self._store.read("SELECT * FROM consultations WHERE consultation = ?", (consultation,))
        if not rows:
            raise ConsultationUnknown("no such consultation: look again", consultation=consultation)
        return rows[0]

    def _open(self) -> list[dict[str, Any]]:
        """consultation, state and encounter of every consultation that is not over, oldest first."""
        marks = ",".join("?" * len(OPEN))
        return self._store.read(
            f"SELECT consultation, state, encounter FROM consultations WHERE state IN ({marks}) ORDER BY consultation",
            tuple(sorted(OPEN)),
        )

    def _none_under_way(self, encounter: str) -> None:
        for row in self._open():
            if row["state"] not in _DONE_TALKING or row["encounter"] == encounter:
                raise ConsultationOpen(
                    "another consultation is under way: end or cancel it first", consultation=row["consultation"]
                )

    def _change(self, consultation: str, state: State, who: str, reason: str, over: bool = False) -> Draft:
        said: dict[str, Json] = {"consultation": consultation, "state": str(state)}
        if who:
            said["who"] = who
        if reason:
            said["reason"] = reason
        if over:
            said["session_over"] = True
        row = self._row(consultation)
        by = who if any(person.id == who for person in self._staff.all()) else None
        return Draft("consultation_changed/1", said, by, row["visit"], row["encounter"])

    def _changed(self, consultation: str, state: State) -> ConsultationView:
        emit("consultation_changed", consultation=consultation, state=str(state))
        self._steps.pop(consultation, None)
        view = self.get(consultation)
        self._live.send(
            {
                "type": "consultation",
                "consultation": consultation,
                "state": view.state,
                "state_word": view.state_word,
                "urgency": view.urgency,
                "requested_at": format_time(view.requested_at),
                "specialist": view.specialist,
                "specialist_name": view.specialist_name,
                "specialist_title": view.specialist_title,
                "reason": view.reason,
                "decision": view.decision,
            }
        )
        return view

    def _practice(self, encounter: str | None) -> bool:
        rows = self._store.read("SELECT practice FROM encounters WHERE encounter = ?", (encounter,))
        return bool(rows and rows[0]["practice"])

    def _village(self, visit: str | None) -> dict[str, str]:
        rows = self._store.read("SELECT village, village_name, township FROM visits WHERE visit = ?", (visit,))
        if not rows:
            return {"code": "", "name": "", "township": ""}
        return {"code": rows[0]["village"], "name": rows[0]["village_name"], "township": rows[0]["township"]}

    def _doctor(self, by: str) -> Person:
        return next((person for person in self._staff.all() if person.id == by), Person(by, by, ""))


def _decision(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if not row["decision_json"]:
        return None
    said = json.loads(row["decision_json"])
    return {name: said[name] for name in ("decision", "plan", "by_name")} | {"at": row["decided_at"]}
