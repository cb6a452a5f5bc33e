"""Results of rules in the words of a screen: prompts, grades, steps to draw, and what is still missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sync.web.catalog import Texts, texts
from vehicle.clinic.known_inputs import FASTING, MEAL, MEALS_ASKED
from vehicle.clinic.occasions import DEVICE_INPUTS
from vehicle.clinic.screening import (
    DISCLAIMER,
    GRADES,
    INSUFFICIENT,
    INVALID,
    NO_ANSWER,
    Field,
    Result,
    Rule,
)


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
    score: int | None = None
    """Points, where the rule counts them and none is missing."""
    risk_percent: float | None = None


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


class PromptWords:
    """Words of one language for results of ``rules``.

    :param fields: every input a rule or a question may name
    """

    def __init__(self, rules: Mapping[str, Rule], fields: Mapping[str, Field], language: str) -> None:
        self._rules = rules
        self._fields = fields
        self.t = texts(language)

    def prompt(self, result: Result) -> Prompt:
        t = self.t
        rule = self._rules[result.rule]
        return Prompt(
            rule=result.rule,
            rule_version=result.rule_version,
            title=self.title(rule),
            result=self.result(result),
            level=result.level,
            grade=grade_of(result),
            grade_word=grade_word(result, t),
            code=result.code,
            advice=self.either(result.advice_zh, result.advice_en),
            inputs=self.inputs(result.inputs),
            missing=self.lacking(result, result.inputs),
            incomplete=result.incomplete,
            source=tuple(SourceShown(source.title, source.where, source.status) for source in rule.sources),
            verification=rule.verification,
            disclaimer=DISCLAIMER[t.language],
            score=result.score,
            risk_percent=result.risk_percent,
        )

    def title(self, rule: Rule) -> str:
        key = f"clinic.rule.{rule.id}"
        return rule.title_zh if self.t.language == "zh" or key not in self.t else self.t(key)

    def result(self, result: Result) -> str:
        if result.code == INSUFFICIENT:
            return self.t("clinic.result.insufficient")
        if result.code == INVALID:
            labels = [self.label(self.field(name)) for name in result.invalid]
            return self.t("clinic.result.invalid", fields=self.t("clinic.result.and").join(labels))
        return self.either(result.result_zh, result.result_en)

    def inputs(self, given: Mapping[str, object]) -> tuple[InputShown, ...]:
        return tuple(
            InputShown(name, self.label(self.field(name)), said, self.unit(self.field(name)))
            for name, said in given.items()
        )

    def lacking(self, result: Result, known: Mapping[str, object]) -> tuple[Missing, ...]:
        """What the result lacks, with the question about the meal in place of fasting and random glucose."""
        return tuple(self.missing(name) for name in _asked_for(result, known))

    def missing(self, name: str) -> Missing:
        field = self.field(name)
        return Missing(
            field=name,
            label=self.label(field),
            type=field.type,
            unit=self.unit(field),
            low=field.low,
            high=field.high,
            ask=name not in DEVICE_INPUTS,
            choices=tuple((meal, self.t(f"clinic.meal.{meal}")) for meal in MEALS_ASKED) if field is MEAL else (),
        )

    def field(self, name: str) -> Field:
        return {FASTING.name: FASTING, MEAL.name: MEAL}.get(name) or self._fields[name]

    def label(self, field: Field) -> str:
        key = f"clinic.field.{field.name}"
        return field.label_zh if self.t.language == "zh" or key not in self.t else self.t(key)

    def unit(self, field: Field) -> str:
        """The unit as written in this language; the rule file has it in Chinese."""
        key = f"clinic.unit.{field.name}"
        return self.t(key) if key in self.t else field.unit

    def either(self, zh: str, en: str) -> str:
        return en if self.t.language == "en" else zh


def grade_of(result: Result) -> str:
    return "none" if result.level is None else GRADES[result.level]


def grade_word(result: Result, t: Texts) -> str:
    if result.code in (INSUFFICIENT, INVALID):
        return t(f"clinic.grade.{result.code.lower()}")
    return t(f"clinic.grade.{grade_of(result)}")


def urgency(result: Result) -> tuple[int, str]:
    """Sort key: red, orange, yellow, then unreadable and incomplete, then green."""
    if result.code in NO_ANSWER:
        return (3 if result.code == INVALID else 4, result.rule)
    return ({3: 0, 2: 1, 1: 2, 0: 5}[result.level or 0], result.rule)


def _asked_for(result: Result, known: Mapping[str, object]) -> Iterable[str]:
    if result.rule == "GLU-SCREEN" and known.get("fpg") is None and known.get("rpg") is None:
        return (MEAL.name, *(name for name in result.missing if name not in ("fpg", "rpg")))
    return result.missing
