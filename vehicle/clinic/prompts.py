"""Screening prompts of an encounter: which rules speak, from what, and what is still missing.

The evaluator (``vehicle.clinic.screening``) is pure; this service gathers its inputs from confirmed readings, answers
and the patient, words the results, and writes every new result as an entry with rule, version and inputs for replay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.records import Draft
from sync.web.catalog import Texts, texts
from vehicle.clinic.identity import age_years
from vehicle.clinic.occasions import CARRIED, DEVICE_INPUTS, LADDERS, NOT_PREGNANT_FROM_AGE, OCCASIONS, TILE_RULES
from vehicle.clinic.ports import Ids, Journal, Live
from vehicle.clinic.screening import (
    DISCLAIMER,
    GRADES,
    INSUFFICIENT,
    INVALID,
    NO_ANSWER,
    NONE,
    NOT_APPLICABLE,
    Field,
    Inputs,
    Result,
    RuleSet,
)
from vehicle.clinic.settings import ClinicSettings
from vehicle.clinic.units import MEALS, RULE_ORDER, Quantity, rule_inputs
from vehicle.clinic.views import CHINA, plain

ANSWERS = "answers"
"""Type of the reading that holds what a person answered."""
FASTING = Field("fasting", "boolean", "空腹(≥8小时)", "")
"""Not an input of any rule: decides whether a glucose value without a meal is a fasting or a random one."""
MEAL = Field("meal", "code", "空腹还是餐后", "")
"""How that is asked, in the words of the meters' own field Meal."""
MEALS_ASKED = ("fasting", "postprandial", "casual")


class AnswerRefused(AskPerson):
    """An answer no rule asks for, of the wrong type or out of range; ``facts["field"]`` says which."""

    code = "answer_refused"


class NoEncounter(AskPerson):
    """Nobody is being served: swipe a card or choose a person first."""

    code = "no_encounter"


@dataclass(frozen=True, slots=True)
class InputShown:
    field: str
    label: str
    value: object
    unit: str


@dataclass(frozen=True, slots=True)
class Missing:
    field: str
    label: str
    type: str
    """"boolean", "number" or "code"."""
    unit: str
    low: float | None
    high: float | None
    ask: bool
    """A person can answer it now; otherwise it has to be measured or set."""
    choices: tuple[tuple[str, str], ...] = ()
    """(code, word) of a coded question whose answers are few."""


@dataclass(frozen=True, slots=True)
class SourceShown:
    title: str
    where: str
    status: str


@dataclass(frozen=True, slots=True)
class Prompt:
    rule: str
    rule_version: str
    title: str
    result: str
    level: int | None
    grade: str
    """green, yellow, orange, red, or none."""
    grade_word: str
    code: str
    advice: str
    inputs: tuple[InputShown, ...]
    missing: tuple[Missing, ...]
    incomplete: bool
    """A more severe result could not be excluded."""
    source: tuple[SourceShown, ...]
    verification: str
    disclaimer: str


@dataclass(frozen=True, slots=True)
class Grade:
    """What the rules say of one reading."""

    level: int | None
    grade: str
    word: str
    text: str
    """The result in words: "2级（中度）升高"."""
    advice: str
    rule: str
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Ladder:
    rule: str
    field: str
    label: str
    unit: str
    steps: tuple[tuple[float, int | None], ...]
    """(bound, level from this bound upwards), ascending."""
    high: float | None


class Prompts:
    """
    :param settings: altitude, local SpO2 baseline, rules switched on and off by the county
    :raises UnknownRule: the settings name a rule that does not exist
    """

    def __init__(
        self,
        store: Journal,
        ids: Ids,
        clock: Clock,
        live: Live,
        rules: RuleSet,
        settings: ClinicSettings,
        language: str,
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._live = live
        self._rules = rules
        self._settings = settings
        self._language = language
        self._in_force = {rule.id: rule for rule in rules.switched_on(on=settings.rules_on, off=settings.rules_off)}

    def prompts(self, encounter: str, language: str | None = None) -> list[Prompt]:
        """What the rules say of a person now: most severe first, then what is incomplete, then what is normal."""
        results = self._results(self.inputs(encounter))
        return [self._prompt(result, language or self._language) for result in sorted(results, key=_urgency)]

    def inputs(self, encounter: str) -> dict[str, object]:
        """What is known for the rules: patient, place, answers and confirmed readings, the newest of each."""
        return _with_meal(self._known(encounter))

    def inputs_with(self, encounter: str, type_: str, stored: Mapping[str, object]) -> dict[str, object]:
        """The same with one more reading, which is about to be confirmed."""
        return _with_meal(self._known(encounter) | rule_inputs(type_, stored))

    def possible(self, quantity: Quantity) -> tuple[float, float]:
        """Least and most that a typed number can be: the range of the rules' input, else what is plausible."""
        kind = self._rules.fields.get(quantity.rule_input or "")
        if kind is None or kind.low is None or kind.high is None:
            return quantity.low, quantity.high
        return kind.low, kind.high

    def _known(self, encounter: str) -> dict[str, object]:
        known = self._facts(encounter)
        rows = self._readings(encounter)
        for type_ in RULE_ORDER:
            for row in rows:
                if row["type"] == type_:
                    known |= rule_inputs(type_, json.loads(row["values_json"]))
        return known

    def grade(
        self, encounter: str | None, type_: str, stored: Mapping[str, object], language: str | None = None
    ) -> Grade:
        """The most severe answer of the rules that may grade a reading of this type, from this reading alone."""
        facts = self._facts(encounter) if encounter else self._site()
        known = _with_meal(facts | rule_inputs(type_, stored))
        results = self._results(known, TILE_RULES.get(type_, ()))
        t = texts(language or self._language)
        if stored.get("range") in ("low", "high"):
            word = "below" if stored["range"] == "low" else "above"
            return Grade(None, "none", t("clinic.grade.none"), t(f"clinic.result.{word}_range"), "", "")
        if not results:
            return Grade(None, "none", t("clinic.grade.none"), "", "", "")
        worst = min(results, key=_urgency)
        return Grade(
            level=worst.level,
            grade=_grade(worst),
            word=_grade_word(worst, t),
            text=self._result_text(worst, t),
            advice=_either(worst.advice_zh, worst.advice_en, t.language),
            rule=worst.rule,
            missing=tuple(self._missing(name, t) for name in _asked_for(worst, known)),
        )

    def ladders(self, type_: str, language: str | None = None) -> list[Ladder]:
        """The steps to draw beside a value of this type; only of rules in force."""
        t = texts(language or self._language)
        return [self._ladder(rule, field, t) for rule, field in LADDERS.get(type_, ()) if rule in self._in_force]

    def ladder(self, rule_id: str, field: str) -> list[tuple[float, int | None]]:
        """The steps of one input of one rule at this place (see ``RuleSet.ladder``)."""
        return self._rules.ladder(rule_id, field, self._site())

    def questions(self, encounter: str, language: str | None = None) -> list[Missing]:
        """What a person could answer now so that a rule can, each field once, most severe rule first."""
        asked: dict[str, Missing] = {}
        for prompt in self.prompts(encounter, language):
            for missing in prompt.missing:
                if missing.ask:
                    asked.setdefault(missing.field, missing)
        return list(asked.values())

    async def answer(self, encounter: str, answers: Mapping[str, object], by: str) -> list[Prompt]:
        """Note answers (field to true, false, number or code) as a confirmed reading of type "answers".

        :raises AnswerRefused: names the field
        :raises NoEncounter: no such encounter
        """
        patient, visit = self._whose(encounter)
        values = {name: self._answer(name, given) for name, given in answers.items()}
        reading = self._ids.new("reading")
        fields: dict[str, Json] = {
            "reading": reading,
            "patient": patient,
            "device": "person",
            "driver": "hand",
            "type": ANSWERS,
            "values": values,
            "by_hand": True,
        }
        known = _with_meal(self._known(encounter) | dict(answers))
        await self._store.commit(
            Draft("reading/1", fields, by=by, visit=visit, encounter=encounter),
            Draft("reading_confirmed/1", {"reading": reading, "patient": patient}, by, visit, encounter),
            *self.results_to_record(encounter, patient, visit, known, by),
        )
        return self.announce(encounter)

    def announce(self, encounter: str) -> list[Prompt]:
        """Tell the screens what the rules say now."""
        prompts = self.prompts(encounter)
        self._live.send({"type": "prompts", "encounter": encounter, "prompts": plain(prompts)})
        return prompts

    def results_to_record(
        self, encounter: str, patient: str, visit: str | None, known: Inputs, by: str | None
    ) -> list[Draft]:
        """An entry for every result that is not a repeat of the last one of its rule in this encounter."""
        last = {
            row["rule"]: (row["code"], row["inputs_json"])
            for row in self._store.read(
                "SELECT rule, code, inputs_json FROM screening_results WHERE encounter = ? ORDER BY at, result",
                (encounter,),
            )
        }
        drafts = []
        for result in self._results(known):
            inputs = {name: _as_json(given) for name, given in result.inputs.items()}
            before = last.get(result.rule)
            if before is not None and before[0] == result.code and json.loads(before[1]) == inputs:
                continue
            fields: dict[str, Json] = {
                "result": self._ids.new("result"),
                "patient": patient,
                "rule": result.rule,
                "rule_version": result.rule_version,
                "inputs": inputs,
                "code": result.code,
                "level": _grade(result),
            }
            if result.advice_zh:
                fields["advice"] = result.advice_zh
            drafts.append(Draft("screening_result/1", fields, by=by, visit=visit, encounter=encounter))
        return drafts

    # what is known

    def _whose(self, encounter: str) -> tuple[str, str | None]:
        rows = self._store.read("SELECT patient, visit FROM encounters WHERE encounter = ?", (encounter,))
        if not rows:
            raise NoEncounter("nobody is being served: swipe a card or choose a person first")
        return rows[0]["patient"], rows[0]["visit"]

    def _site(self) -> dict[str, object]:
        place = {
            "altitude_m": self._settings.altitude_m,
            "spo2_baseline_p2_5": self._settings.spo2_baseline_p2_5,
        }
        return {name: number for name, number in place.items() if number is not None}

    def _facts(self, encounter: str) -> dict[str, object]:
        """Place, patient and answers: everything but the measured values."""
        patient, _ = self._whose(encounter)
        known = self._site() | self._of_patient(patient)
        for row in self._store.read(
            "SELECT encounter, values_json FROM readings WHERE patient = ? AND type = ? AND rejected_at IS NULL "
            "ORDER BY taken_at, reading",
            (patient, ANSWERS),
        ):
            values = {name: self._as_given(name, said) for name, said in json.loads(row["values_json"]).items()}
            if row["encounter"] == encounter:
                known |= values
            else:
                known |= {name: True for name in CARRIED if values.get(name) is True}
        return known

    def _of_patient(self, patient: str) -> dict[str, object]:
        rows = self._store.read("SELECT sex, born_on FROM patients WHERE patient = ?", (patient,))
        known: dict[str, object] = {}
        if not rows:
            return known
        sex, born_on = rows[0]["sex"], rows[0]["born_on"]
        if sex in ("male", "female"):
            known["sex"] = "M" if sex == "male" else "F"
        if born_on:
            known["age"] = age_years(date.fromisoformat(born_on), self._clock.now().astimezone(CHINA).date())
        if sex == "male" or (sex == "female" and int(str(known.get("age", 0))) >= NOT_PREGNANT_FROM_AGE):
            known["pregnant"] = False
        return known

    def _readings(self, encounter: str) -> list[dict[str, Any]]:
        return self._store.read(
            "SELECT type, values_json FROM readings WHERE encounter = ? AND type != ? "
            "AND confirmed_at IS NOT NULL AND rejected_at IS NULL ORDER BY taken_at, reading",
            (encounter, ANSWERS),
        )

    # answers

    def _field(self, name: str) -> Field:
        if name in (FASTING.name, MEAL.name):
            return FASTING if name == FASTING.name else MEAL
        field = self._rules.fields.get(name)
        if field is None:
            raise AnswerRefused(f"no rule asks for {name!r}", field=name)
        return field

    def _answer(self, name: str, given: object) -> Json:
        field = self._field(name)
        if not field.accepts(given) or (field is MEAL and given not in MEALS):
            raise AnswerRefused(f"{field.label_zh}: {given!r} cannot be; correct it", field=name)
        return _as_json(given)

    def _as_given(self, name: str, said: object) -> object:
        """A stored answer as the evaluator takes it: numbers with decimals are stored as text."""
        return float(said) if isinstance(said, str) and self._field(name).type == "number" else said

    # rules

    def _results(self, known: Inputs, only: Sequence[str] | None = None) -> list[Result]:
        """The answers of the rules in force (of ``only``, when given) whose occasion has come."""
        answered: dict[str, Result] = {}

        def answer(rule: str) -> Result:
            if rule not in answered:
                answered[rule] = self._rules.evaluate(rule, known)
            return answered[rule]

        results = []
        for rule in self._in_force if only is None else [rule for rule in only if rule in self._in_force]:
            occasion = OCCASIONS[rule]
            if not any(known.get(name) is not None for name in occasion.lead):
                continue
            if occasion.unless is not None and known.get(occasion.unless[0]) is occasion.unless[1]:
                continue
            if (occasion.only_if or occasion.after) and not (
                any(known.get(fact) is holds for fact, holds in occasion.only_if)
                or any(other in self._in_force and answer(other).code == code for other, code in occasion.after)
            ):
                continue
            result = answer(rule)
            if result.code in (NOT_APPLICABLE, NONE):
                continue
            speaks = occasion.asks_if is not None and known.get(occasion.asks_if[0]) is occasion.asks_if[1]
            if occasion.quiet and not speaks and not result.level:
                continue
            results.append(result)
        return results

    # words

    def _prompt(self, result: Result, language: str) -> Prompt:
        t = texts(language)
        rule = self._in_force[result.rule]
        return Prompt(
            rule=result.rule,
            rule_version=result.rule_version,
            title=rule.title_zh if language == "zh" else t(f"clinic.rule.{rule.id}"),
            result=self._result_text(result, t),
            level=result.level,
            grade=_grade(result),
            grade_word=_grade_word(result, t),
            code=result.code,
            advice=_either(result.advice_zh, result.advice_en, language),
            inputs=tuple(
                InputShown(name, self._label(self._field(name), t), given, _unit(self._field(name), t))
                for name, given in result.inputs.items()
            ),
            missing=tuple(self._missing(name, t) for name in _asked_for(result, result.inputs)),
            incomplete=result.incomplete,
            source=tuple(SourceShown(source.title, source.where, source.status) for source in rule.sources),
            verification=rule.verification,
            disclaimer=DISCLAIMER[language],
        )

    def _result_text(self, result: Result, t: Texts) -> str:
        if result.code == INSUFFICIENT:
            return t("clinic.result.insufficient")
        if result.code == INVALID:
            labels = [self._label(self._field(name), t) for name in result.invalid]
            return t("clinic.result.invalid", fields=t("clinic.result.and").join(labels))
        return _either(result.result_zh, result.result_en, t.language)

    def _label(self, field: Field, t: Texts) -> str:
        return field.label_zh if t.language == "zh" else t(f"clinic.field.{field.name}")

    def _missing(self, name: str, t: Texts) -> Missing:
        field = self._field(name)
        return Missing(
            field=name,
            label=self._label(field, t),
            type=field.type,
            unit=_unit(field, t),
            low=field.low,
            high=field.high,
            ask=name not in DEVICE_INPUTS,
            choices=tuple((meal, t(f"clinic.meal.{meal}")) for meal in MEALS_ASKED) if field is MEAL else (),
        )

    def _ladder(self, rule: str, name: str, t: Texts) -> Ladder:
        field = self._rules.fields[name]
        return Ladder(rule, name, self._label(field, t), _unit(field, t), tuple(self.ladder(rule, name)), field.high)


def _with_meal(known: dict[str, object]) -> dict[str, object]:
    """A glucose value whose meter said no meal counts as fasting or random once the person was asked."""
    fasting = known.get("fasting") if known.get("meal") is None else known["meal"] == "fasting"
    if "glu" in known and "fpg" not in known and "rpg" not in known and fasting is not None:
        return known | {"fpg" if fasting else "rpg": known["glu"]}
    return known


def _asked_for(result: Result, known: Inputs) -> tuple[str, ...]:
    """The missing inputs, with the question about the meal in place of fasting and random glucose."""
    if result.rule == "GLU-SCREEN" and known.get("fpg") is None and known.get("rpg") is None:
        return (MEAL.name, *(name for name in result.missing if name not in ("fpg", "rpg")))
    return result.missing


def _grade(result: Result) -> str:
    return "none" if result.level is None else GRADES[result.level]


def _grade_word(result: Result, t: Texts) -> str:
    if result.code in (INSUFFICIENT, INVALID):
        return t(f"clinic.grade.{result.code.lower()}")
    return t(f"clinic.grade.{_grade(result)}")


def _urgency(result: Result) -> tuple[int, str]:
    """Sort key: red, orange, yellow, then unreadable and incomplete, then green."""
    if result.code in NO_ANSWER:
        return (3 if result.code == INVALID else 4, result.rule)
    return ({3: 0, 2: 1, 1: 2, 0: 5}[result.level or 0], result.rule)


def _unit(field: Field, t: Texts) -> str:
    """The unit as written in this language; the rule file has it in Chinese."""
    key = f"clinic.unit.{field.name}"
    return t(key) if key in t else field.unit


def _either(zh: str, en: str, language: str) -> str:
    return en if language == "en" else zh


def _as_json(given: object) -> Json:
    """A rule input as an entry may hold it: no floats, decimals as text."""
    if isinstance(given, float):
        return int(given) if given.is_integer() else repr(given)
    if isinstance(given, bool | int | str):
        return given
    raise TypeError(f"{given!r} is no rule input")
