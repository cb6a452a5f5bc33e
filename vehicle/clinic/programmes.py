"""Programmes of the national service: who is in which since when, and when the next follow-up is due.

A membership is an entry; joining again or leaving is another one. The village of a member is where the membership was
written. Due is what falls due before the van comes again: villages are visited twice a month (project choice: 14 days).
What is confidential (severe mental illness) is on no list but its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.records import Draft, parse_time
from vehicle.clinic.forms.form import Form, form_after, programme_forms
from vehicle.clinic.people import PatientView, People
from vehicle.clinic.ports import Journal, Visits, marks
from vehicle.clinic.staff import Person
from vehicle.clinic.views import CHINA

DUE_WITHIN = timedelta(days=14)
FURTHER_ROLE = "smi"
"""Whoever may open what is confidential (Mental Health Law, article 4)."""
LEFT_FOR = ("moved", "died", "not_ill", "refused", "delivered", "cured", "lost", "transferred")
"""Why somebody is no longer in a programme."""
LastForms = dict[tuple[str, str], tuple[int, str, date, date | None]]
"""(patient, form) to place in the journal, form, the day it was signed and its next date, the last of each."""
STATES = ("overdue", "due", "later")


class ProgrammeRefused(AskPerson):
    """No such programme, or a reason that there is not."""

    code = "programme_refused"


class Confidential(AskPerson):
    """Only for staff who may see severe mental illness: let one of them sign in."""

    code = "confidential_form"


def may_see(form: Form, person: Person) -> bool:
    return not form.confidential or FURTHER_ROLE in person.further_roles


@dataclass(frozen=True, slots=True)
class Membership:
    patient: str
    programme: str
    since: date
    village: str
    village_name: str
    by: str
    last_on: date | None
    """Day of the last signed form; None: none yet."""
    due_on: date
    """The date on the last form; the day of joining where there is no form yet."""
    state: str
    """One of ``STATES``."""
    last_form: str | None = None
    """Id of the last signed form of the programme."""

    @property
    def form(self) -> Form:
        """What comes next."""
        return form_after(self.programme, self.last_form)

    @property
    def others(self) -> tuple[Form, ...]:
        """The other forms of the programme."""
        return tuple(form for form in programme_forms()[self.programme] if form.id != self.form.id)


@dataclass(frozen=True, slots=True)
class DueFollowUp:
    patient: PatientView
    membership: Membership
    days_late: int
    """Negative: days until it is due."""
    here: bool
    """Served, being served or in the queue in this visit."""


class Programmes:
    def __init__(self, store: Journal, clock: Clock, people: People, visits: Visits) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._visits = visits

    def of(self, patient: str, person: Person) -> list[Membership]:
        """The programmes somebody is in, over all registrations, as far as ``person`` may see them."""
        who = self._people.registrations(patient)
        found = {row.programme: row for row in self._members(f"patient IN ({marks(who)})", who)}
        order = [(programme, forms[0]) for programme, forms in programme_forms().items()]
        return [found[programme] for programme, form in order if programme in found and may_see(form, person)]

    async def join(self, patient: str, programme: str, since: date, by: Person) -> None:
        """:raises ProgrammeRefused: no such programme, or a day after today
        :raises Confidential: not for this member of staff
        """
        self._allowed(programme, by)
        if since > self.today():
            raise ProgrammeRefused("nobody joins in the future: choose today or earlier", programme=programme)
        await self._store.commit(self.membership(patient, programme, since, by.id))

    async def leave(self, patient: str, programme: str, reason: str, by: Person) -> None:
        """:raises ProgrammeRefused: no such programme or reason
        :raises Confidential: not for this member of staff
        """
        self._allowed(programme, by)
        if reason not in LEFT_FOR:
            raise ProgrammeRefused(f"{reason!r} is not one of {', '.join(LEFT_FOR)}", programme=programme)
        if drafts := self.leaving(patient, programme, reason, by.id):
            await self._store.commit(*drafts)

    def leaving(self, patient: str, programme: str, reason: str, by: str) -> list[Draft]:
        """The entries that somebody is in a programme no longer: one for each registration that was in it."""
        who = self._people.registrations(patient)
        said: dict[str, Json] = {"programme": programme, "state": "left", "since": self.today().isoformat()}
        return [
            Draft("programme_membership/1", {**said, "patient": row.patient, "reason": reason}, by, self._visit())
            for row in self._members(f"programme = ? AND patient IN ({marks(who)})", (programme, *who))
        ]

    def membership(self, patient: str, programme: str, since: date, by: str) -> Draft:
        """The entry that somebody is in a programme from ``since``, in the village that is being visited."""
        fields: dict[str, Json] = {"patient": patient, "programme": programme, "state": "member"}
        fields["since"] = since.isoformat()
        visit = self._visits.current()
        if visit is not None:
            fields |= {"village": visit.village, "village_name": visit.village_name}
        return Draft("programme_membership/1", fields, by=by, visit=self._visit())

    def due(self, village: str) -> list[DueFollowUp]:
        """Follow-ups of a village that are due or overdue, the longest overdue first; nothing confidential."""
        return self._due("village = ?", (village,), confidential=False)

    def due_confidential(self, village: str, person: Person) -> list[DueFollowUp]:
        """The same for what is confidential; empty for whoever may not see it."""
        return self._due("village = ?", (village,), confidential=True) if FURTHER_ROLE in person.further_roles else []

    async def reveal_phone(self, patient: str, by: str) -> str:
        """The phone number of somebody who did not come; noted in the access log before it is returned."""
        view = self._people.get(patient)
        await self._store.commit(Draft("access/1", {"action": "phone_shown", "what": patient}, by=by))
        return view.phone

    def today(self) -> date:
        return self._clock.now().astimezone(CHINA).date()

    # how

    def _due(self, where: str, params: Sequence[object], confidential: bool) -> list[DueFollowUp]:
        today, here = self.today(), self._here()
        found = []
        for row in self._members(where, params):
            if row.form.confidential is not confidential or row.state == "later" or self._renewed(row):
                continue
            patient = self._people.get(row.patient)
            there = not here.isdisjoint(self._people.registrations(row.patient))
            found.append(DueFollowUp(patient, row, (today - row.due_on).days, there))
        return sorted(found, key=lambda one: (-one.days_late, one.patient.patient, one.membership.programme))

    def _renewed(self, row: Membership) -> bool:
        """The person has joined again under another registration, perhaps elsewhere: only that one is due."""
        others = self._people.registrations(row.patient)[1:]
        if not others:  # nearly everybody
            return False
        again = self._members(f"programme = ? AND patient IN ({marks(others)})", (row.programme, *others))
        return any((row.since, row.patient) < (one.since, one.patient) for one in again)

    def _members(self, where: str, params: Sequence[object]) -> list[Membership]:
        rows = self._store.read(
            f"SELECT * FROM programme_memberships WHERE {where} AND state = 'member' ORDER BY patient, programme",
            params,
        )
        last = self._last_forms({row["patient"] for row in rows})
        return [self._membership(row, last) for row in rows if row["programme"] in programme_forms()]

    def _membership(self, row: dict[str, Any], last: LastForms) -> Membership:
        ids = [form.id for form in programme_forms()[row["programme"]]]
        forms = [
            last[who, form] for who in self._people.registrations(row["patient"]) for form in ids if (who, form) in last
        ]
        since = date.fromisoformat(row["since"])
        _, last_form, filled_on, next_on = max(forms, default=(0, None, None, None))
        due_on = next_on or since
        today = self.today()
        state = "overdue" if due_on < today else "due" if due_on <= today + DUE_WITHIN else "later"
        return Membership(
            patient=row["patient"],
            programme=row["programme"],
            since=since,
            village=row["village"] or "",
            village_name=row["village_name"] or "",
            by=row["by"] or "",
            last_on=filled_on,
            due_on=due_on,
            state=state,
            last_form=last_form,
        )

    def _last_forms(self, patients: Iterable[str]) -> LastForms:
        who = sorted({one for patient in patients for one in self._people.registrations(patient)})
        rows = self._store.read(
            "SELECT n, patient, form, filled_at, next_on FROM follow_up_forms WHERE n IN ("
            "SELECT max(n) FROM follow_up_forms WHERE patient IN (SELECT value FROM json_each(?)) "
            "GROUP BY patient, form)",
            (json.dumps(who),),
        )
        return {
            (row["patient"], row["form"]): (row["n"], row["form"], _day(row["filled_at"]), _date(row["next_on"]))
            for row in rows
        }

    def _here(self) -> set[str]:
        """Patients served in the open visit or waiting in it."""
        visit = self._visit()
        if visit is None:
            return set()
        rows = self._store.read(
            "SELECT patient FROM encounters WHERE visit = ? UNION SELECT what FROM access_log WHERE action = 'queued' "
            "AND at >= (SELECT opened_at FROM visits WHERE visit = ?)",
            (visit, visit),
        )
        return {row["patient"] for row in rows}

    def _visit(self) -> str | None:
        visit = self._visits.current()
        return visit.visit if visit is not None else None

    def _allowed(self, programme: str, by: Person) -> None:
        forms = programme_forms().get(programme)
        if forms is None:
            raise ProgrammeRefused(f"no programme {programme!r}", programme=programme)
        if not may_see(forms[0], by):
            raise Confidential("only for staff who may see severe mental illness")


def _day(at: str) -> date:
    return parse_time(at).astimezone(CHINA).date()


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
