"""What is known of a person for the rules: registered, set for this place, answered, measured, and what follows.

Rebuilt from the journal's tables at every call. Answers are readings of type ``ANSWERS``; what can be computed from
the rest (``Derived``) is never asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.canonical import Json
from vehicle.clinic.ecg.findings import heard_by_rules, with_ecg
from vehicle.clinic.identity import age_years
from vehicle.clinic.occasions import CARRIED, NOT_PREGNANT_BELOW_AGE, NOT_PREGNANT_FROM_AGE, adults_rate
from vehicle.clinic.paths import PathSet, Question
from vehicle.clinic.people import People
from vehicle.clinic.ports import Journal, marks
from vehicle.clinic.screening import Field, RuleSet
from vehicle.clinic.settings import ClinicSettings
from vehicle.clinic.units import MEALS, RULE_ORDER, rule_inputs
from vehicle.clinic.views import CHINA

ANSWERS = "answers"
"""Type of the reading that holds what a person answered."""
FASTING = Field("fasting", "boolean", "空腹(≥8小时)", "")
"""Not an input of any rule: decides whether a glucose value without a meal is a fasting or a random one."""
MEAL = Field("meal", "code", "空腹还是餐后", "")
"""How that is asked, in the words of the meters' own field Meal."""
MEALS_ASKED = ("fasting", "postprandial", "casual")
LOW_WHATEVER_WAS_EATEN_MMOL_L = 2.8
"""The red value of a fasting glucose (CRIT-A): no meal lowers it, so it is red as well when nothing was asked yet."""
LEAST_STRIP_MS = 29_500
"""An ECG shorter than this is no rhythm strip (2021 APHRS: 30 s of one lead; half a second for where devices cut)."""


FOLLOWS_FROM: Mapping[str, tuple[str, ...]] = {
    "hypertension": ("known_htn",),
    "diabetes": ("known_dm",),
    "atrial_fibrillation": ("af_or_valve",),
    "stroke": ("stroke_tia", "ascvd"),
    "coronary": ("ascvd",),
    "maternal": ("pregnant",),
}
"""A noted disease (``households.CONDITIONS``) or programme, and the inputs that it answers."""
PREGNANT_FOR = timedelta(days=365)
"""So long after joining the maternal programme somebody counts as pregnant or breast-feeding (project choice: nine
months and the first weeks at the breast); afterwards they are asked."""


class AnswerRefused(AskPerson):
    """An answer no rule asks for, of the wrong type or out of range; ``facts["field"]`` says which."""

    code = "answer_refused"


class NoEncounter(AskPerson):
    """Nobody is being served: swipe a card or choose a person first."""

    code = "no_encounter"


class KnownInputs:
    """
    :param people: who says which registrations are one person
    :param rules: whose inputs are looked for; replace ``rules`` when others come into force
    """

    def __init__(
        self, store: Journal, clock: Clock, people: People, rules: RuleSet, paths: PathSet, settings: ClinicSettings
    ) -> None:
        self._store = store
        self._clock = clock
        self.people = people
        self._paths = paths
        self._settings = settings
        self.rules = rules

    @property
    def fields(self) -> Mapping[str, Field]:
        """Every input by its name: those of the rules, and those only paths ask for."""
        return {**self._paths.fields, **self.rules.fields}

    def inputs(self, encounter: str) -> dict[str, object]:
        """Everything, the newest of each."""
        return self._complete(self._measured(encounter))

    def inputs_with(self, encounter: str, type_: str, stored: Mapping[str, object]) -> dict[str, object]:
        """The same with one more reading, which is about to be confirmed."""
        return self._complete(self._measured(encounter) | rule_inputs(type_, stored))

    def inputs_answering(self, encounter: str, answers: Mapping[str, object]) -> dict[str, object]:
        """The same with answers that are about to be kept."""
        return self._complete(self._measured(encounter) | dict(answers))

    def inputs_of_reading(self, encounter: str | None, type_: str, stored: Mapping[str, object]) -> dict[str, object]:
        """This reading alone, with place, patient and answers."""
        facts = self.facts(encounter) if encounter else self.site()
        return self._complete(facts | rule_inputs(type_, stored))

    def whose(self, encounter: str) -> tuple[str, str | None]:
        """Patient and visit.

        :raises NoEncounter: no such encounter
        """
        rows = self._store.read("SELECT patient, visit FROM encounters WHERE encounter = ?", (encounter,))
        if not rows:
            raise NoEncounter("nobody is being served: swipe a card or choose a person first")
        return rows[0]["patient"], rows[0]["visit"]

    def site(self) -> dict[str, object]:
        place = {
            "altitude_m": self._settings.altitude_m,
            "spo2_baseline_p2_5": self._settings.spo2_baseline_p2_5,
        }
        return {name: number for name, number in place.items() if number is not None}

    def facts(self, encounter: str) -> dict[str, object]:
        """Place, patient over all registrations, and answers: everything but the measured values."""
        patient, _ = self.whose(encounter)
        who = self.people.registrations(patient)
        known = self.site() | self._diagnosed(who) | self._registered(who)
        for row in self._store.read(
            f"SELECT encounter, values_json FROM readings WHERE patient IN ({marks(who)}) AND type = ? "
            "AND rejected_at IS NULL ORDER BY taken_at, reading",
            (*who, ANSWERS),
        ):
            values = self.as_given(json.loads(row["values_json"]))
            if row["encounter"] == encounter:
                known |= values
            else:
                known |= {name: True for name in CARRIED if values.get(name) is True}
        return known

    def _registered(self, who: Sequence[str]) -> dict[str, object]:
        """Age in years, sex as M or F, not pregnant where nobody is asked; ``who``: the registration at hand first."""
        rows = self._store.read(f"SELECT patient, sex, born_on FROM patients WHERE patient IN ({marks(who)})", who)
        rows.sort(key=lambda row: who.index(row["patient"]))
        known: dict[str, object] = {}
        sex = next((row["sex"] for row in rows if row["sex"] in ("male", "female")), None)
        born_on = next((row["born_on"] for row in rows if row["born_on"]), None)
        age = age_years(date.fromisoformat(born_on), self._today()) if born_on else None
        if sex is not None:
            known["sex"] = "M" if sex == "male" else "F"
        if age is not None:
            known["age"] = age
        if sex == "male" or (age is not None and not NOT_PREGNANT_BELOW_AGE <= age < NOT_PREGNANT_FROM_AGE):
            known["pregnant"] = False
        return known

    def _diagnosed(self, who: Sequence[str]) -> dict[str, object]:
        """What follows from the diseases that are noted of somebody, and from the programmes they are in."""
        rows = self._store.read(
            f"SELECT condition AS what FROM conditions WHERE state = 'known' AND patient IN ({marks(who)}) "
            f"UNION SELECT programme FROM programme_memberships WHERE state = 'member' AND patient IN ({marks(who)}) "
            "AND (programme != 'maternal' OR since >= ?)",
            (*who, *who, (self._today() - PREGNANT_FOR).isoformat()),
        )
        return {name: True for row in rows for name in FOLLOWS_FROM.get(row["what"], ())}

    def _today(self) -> date:
        return self._clock.now().astimezone(CHINA).date()

    def as_given(self, values: Mapping[str, object]) -> dict[str, object]:
        """Stored answers as the evaluator takes them: numbers with decimals are stored as text."""
        fields = self.fields
        return {
            name: float(said) if isinstance(said, str) and name in fields and fields[name].type == "number" else said
            for name, said in values.items()
        }

    # answers

    def checked(self, name: str, given: object) -> Json:
        """An answer as an entry holds it.

        :raises AnswerRefused: nobody asks that, or it cannot be
        """
        field = {FASTING.name: FASTING, MEAL.name: MEAL}.get(name) or self.fields.get(name)
        if field is None:
            raise AnswerRefused(f"no rule asks for {name!r}", field=name)
        codes: Sequence[object] | None = MEALS if field is MEAL else None
        if field.type == "code" and codes is None:
            codes = _codes(self._paths.questions.get(name))
        if not field.accepts(given) or (codes is not None and given not in codes):
            raise AnswerRefused(f"{field.label_zh}: {given!r} cannot be; correct it", field=name)
        return as_json(given)

    # what is measured, and what follows

    def _measured(self, encounter: str) -> dict[str, object]:
        known = self.facts(encounter)
        rows = self._readings(encounter)
        felt_at = ""
        for type_ in RULE_ORDER:
            for row in rows:
                if row["type"] == type_:
                    heard = rule_inputs(type_, json.loads(row["values_json"]))
                    felt_at = max(felt_at, row["taken_at"]) if "hr" in heard else felt_at
                    known |= heard
        known |= self._store.read(
            "SELECT count(*) FILTER (WHERE what = 'ecg' AND duration_ms >= ?) AS ecg_strips, "
            "count(*) FILTER (WHERE what LIKE 'ultrasound%') AS pictures_linked FROM recordings WHERE encounter = ?",
            (LEAST_STRIP_MS, encounter),
        )[0]
        return with_ecg(known, self._ecg(encounter, felt_at))

    def _ecg(self, encounter: str, felt_at: str) -> dict[str, object]:
        """What the newest analysed ECG of an encounter says. A pulse that was measured after it counts instead of its
        heart rate, unless the rhythm is irregular: not every beat reaches the wrist then.
        """
        rows = self._store.read(
            "SELECT a.findings_json, a.af, r.started_at FROM ecg_analyses a JOIN recordings r ON r.sha256 = a.sha256 "
            "WHERE r.encounter = ? AND a.analysed_at IS NOT NULL ORDER BY r.started_at DESC LIMIT 1",
            (encounter,),
        )
        if not rows:
            return {}
        heard = heard_by_rules(json.loads(rows[0]["findings_json"]), rows[0]["af"])
        if felt_at > rows[0]["started_at"] and heard.get("rr_irregular") is not True:
            heard.pop("hr", None)
        return heard

    def _readings(self, encounter: str) -> list[dict[str, Any]]:
        return self._store.read(
            "SELECT type, taken_at, values_json FROM readings WHERE encounter = ? AND type != ? "
            "AND confirmed_at IS NOT NULL AND rejected_at IS NULL ORDER BY taken_at, reading",
            (encounter, ANSWERS),
        )

    def _complete(self, known: dict[str, object]) -> dict[str, object]:
        if not adults_rate(known.get("hr"), known.get("age")):
            known = {name: given for name, given in known.items() if name != "hr"}
        return self._paths.derive(_with_meal(known))


def _codes(question: Question | None) -> Sequence[object] | None:
    """The answers that may be given where there are few of them."""
    return [option.value for option in question.options] if question is not None and question.options else None


def _with_meal(known: dict[str, object]) -> dict[str, object]:
    """A glucose value whose meter said no meal counts as fasting or random once the person was asked."""
    glucose = known.get("glu")
    if isinstance(glucose, int | float) and glucose <= LOW_WHATEVER_WAS_EATEN_MMOL_L and "fpg" not in known:
        known = known | {"fpg": glucose}
    fasting = known.get("fasting") if known.get("meal") is None else known["meal"] == "fasting"
    if "glu" in known and "fpg" not in known and "rpg" not in known and fasting is not None:
        return known | {"fpg" if fasting else "rpg": known["glu"]}
    return known


def as_json(given: object) -> Json:
    """A rule input as an entry may hold it: no floats, decimals as text."""
    if isinstance(given, float):
        return int(given) if given.is_integer() else repr(given)
    if isinstance(given, bool | int | str):
        return given
    raise TypeError(f"{given!r} is no rule input")
