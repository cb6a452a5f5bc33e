"""The health profile of a person on one page (居民健康档案): programmes, last values, trends, drugs, results, forms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sync.formats.canonical import Json
from sync.formats.records import parse_time
from sync.screening.evaluator import Rule
from sync.web.catalog import texts
from vehicle.clinic.background import Background, Backgrounds
from vehicle.clinic.follow_up_views import SignedForm
from vehicle.clinic.follow_ups import FollowUps
from vehicle.clinic.forms.form import BACKGROUND, Form, programme_forms
from vehicle.clinic.history import History
from vehicle.clinic.households import Households
from vehicle.clinic.people import PatientView, People
from vehicle.clinic.ports import Journal
from vehicle.clinic.programmes import FURTHER_ROLE, Membership, Programmes, may_see
from vehicle.clinic.prompts import Prompts
from vehicle.clinic.staff import Person
from vehicle.clinic.trends import SERIES, Trend, trend_of
from vehicle.clinic.views import CHINA

SHOWN = ("blood_pressure", "glucose", "weight", "pulse_oximetry", "temperature", "heart_rate", "uric_acid")
"""Types whose last value stands on the page, in this order."""
SECRET = frozenset({"SMI-CLASS"})
"""Rules whose results only those may see who may see severe mental illness."""
UNDECIDED = "none"
"""Colour of a result without an answer."""
MOST_FORMS = 8
MOST_RESULTS = 8


@dataclass(frozen=True, slots=True)
class LastValue:
    type: str
    values: Mapping[str, object]
    on: date


@dataclass(frozen=True, slots=True)
class ScreeningLine:
    """The last answer of one rule: its title and what it said."""

    title: str
    result: str
    grade: str
    on: date


@dataclass(frozen=True, slots=True)
class ConsultationLine:
    consultation: str
    state: str
    on: date


@dataclass(frozen=True)
class HealthProfile:
    """:ivar free: the first forms of programmes that the person is not in
    :ivar drugs: (form, rows of name and use) of the last form that names any
    """

    patient: PatientView
    programmes: tuple[Membership, ...]
    free: tuple[Form, ...]
    drafts: tuple[tuple[str, Form], ...]
    values: tuple[LastValue, ...]
    trends: tuple[Trend, ...]
    conditions: tuple[str, ...]
    drugs: tuple[tuple[SignedForm, tuple[Mapping[str, Json], ...]], ...]
    screening: tuple[ScreeningLine, ...]
    forms: tuple[SignedForm, ...]
    consultations: tuple[ConsultationLine, ...]
    ecgs: tuple[tuple[str, date], ...]
    """(SHA-256, day), newest first."""
    encounters: int
    background: Background = field(default_factory=Background)


class HealthProfiles:
    def __init__(
        self,
        store: Journal,
        people: People,
        households: Households,
        programmes: Programmes,
        follow_ups: FollowUps,
        prompts: Prompts,
        backgrounds: Backgrounds,
    ) -> None:
        self._store = store
        self._people = people
        self._households = households
        self._programmes = programmes
        self._follow_ups = follow_ups
        self._prompts = prompts
        self._backgrounds = backgrounds

    def of(self, patient: str, person: Person, language: str) -> HealthProfile:
        """What ``person`` may see of somebody, over all registrations.

        :raises NobodyFound: no such person
        """
        view = self._people.get(patient)
        past = self._people.history(patient)
        members = self._programmes.of(patient, person)
        joined = {row.programme for row in members}
        forms = self._follow_ups.of(patient, person)
        return HealthProfile(
            patient=view,
            programmes=tuple(members),
            free=tuple(
                forms[0]
                for programme, forms in programme_forms().items()
                if programme not in joined and may_see(forms[0], person) and forms[0].suits(view.sex, view.age)
            ),
            drafts=tuple(self._follow_ups.drafts_of(patient, person)),
            values=tuple(_last_values(past)),
            trends=tuple(_trends(past)),
            conditions=tuple(one.condition for one in self._households.conditions(patient)),
            drugs=tuple(_drugs(forms)),
            screening=tuple(self._screening(past, person, language))[:MOST_RESULTS],
            forms=tuple(signed for signed in forms if signed.form.id != BACKGROUND)[:MOST_FORMS],
            consultations=tuple(self._consultations(past)),
            ecgs=tuple(self._ecgs(past)),
            encounters=len(past.encounters),
            background=self._backgrounds.of(patient),
        )

    def _screening(self, past: History, person: Person, language: str) -> list[ScreeningLine]:
        """Of each rule its last answer, where that is above green, the newest first; "not enough" is no answer."""
        t, rules = texts(language), self._prompts.rules.rules
        found: dict[str, ScreeningLine] = {}
        for row in past.results:
            rule = rules.get(row.rule)
            secret = row.rule in SECRET and FURTHER_ROLE not in person.further_roles
            if rule is None or row.rule in found or row.level == UNDECIDED or secret:
                continue
            title = rule.title_zh if language == "zh" else t(f"clinic.rule.{rule.id}")
            found[row.rule] = ScreeningLine(title, _said(rule, row.code, language), row.level, _day(row.at))
        return [line for line in found.values() if line.grade in ("yellow", "orange", "red")]

    def _consultations(self, past: History) -> list[ConsultationLine]:
        rows = self._store.read(
            "SELECT consultation, state, requested_at FROM consultations WHERE consultation IN "
            "(SELECT value FROM json_each(?)) ORDER BY requested_at DESC",
            (json.dumps(past.consultations),),
        )
        return [
            ConsultationLine(row["consultation"], row["state"], _day(parse_time(row["requested_at"]))) for row in rows
        ]

    def _ecgs(self, past: History) -> list[tuple[str, date]]:
        rows = self._store.read(
            "SELECT sha256, started_at FROM recordings WHERE sha256 IN (SELECT value FROM json_each(?)) "
            "ORDER BY started_at DESC LIMIT ?",
            (json.dumps(past.recordings), MOST_RESULTS),
        )
        return [(row["sha256"], _day(parse_time(row["started_at"]))) for row in rows]


def _last_values(past: History) -> list[LastValue]:
    newest: dict[str, LastValue] = {}
    for row in past.readings:
        newest.setdefault(row.type, LastValue(row.type, row.values, _day(row.at)))
    return [newest[type_] for type_ in SHOWN if type_ in newest]


def _trends(past: History) -> list[Trend]:
    found = []
    for type_ in SERIES:
        rows: list[tuple[date, Mapping[str, Any]]] = [
            (_day(row.at), row.values) for row in reversed(past.readings) if row.type == type_
        ]
        trend = trend_of(type_, rows)
        if trend is not None:
            found.append(trend)
    return found


def _drugs(forms: list[SignedForm]) -> list[tuple[SignedForm, tuple[Mapping[str, Json], ...]]]:
    """Of each kind of form the last one's drugs."""
    seen: set[str] = set()
    found = []
    for signed in forms:
        if signed.form.id in seen:
            continue
        seen.add(signed.form.id)
        rows = [
            row
            for one in signed.form.fields.values()
            if one.type == "drugs"
            for row in _rows(signed.answers.get(one.name))
        ]
        if rows:
            found.append((signed, tuple(rows)))
    return found


def _said(rule: Rule, code: str, language: str) -> str:
    """What a rule says by a code, in words; the code where it says that no more."""
    cases = [*rule.body["cases"], *filter(None, [rule.body.get("default")])]
    return next((str(case[f"result_{language}"]) for case in cases if case["code"] == code), code)


def _rows(value: Json | None) -> list[Mapping[str, Json]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _day(at: datetime) -> date:
    return at.astimezone(CHINA).date()
