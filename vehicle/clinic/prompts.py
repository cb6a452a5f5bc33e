"""Screening prompts of an encounter: which rules speak, from what, and what is still missing.

The evaluator (``sync.screening.evaluator``) is pure; this service takes what is known (``known_inputs``), words the
results (``prompt_views``), and writes every new result as an entry with rule, version and inputs for replay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from devices.clock import Clock
from sync.formats.canonical import Json
from sync.formats.records import Draft
from vehicle.clinic.known_inputs import ANSWERS, AnswerRefused, KnownInputs, NoEncounter, as_json
from vehicle.clinic.occasions import LADDERS, OCCASIONS, RED_BEYOND_RANGE, TILE_RULES, Occasion
from vehicle.clinic.paths import NO_PATHS, PathSet
from vehicle.clinic.people import People
from vehicle.clinic.ports import Ids, Journal, Live
from vehicle.clinic.prompt_views import (
    Grade,
    InputShown,
    Ladder,
    Missing,
    Prompt,
    PromptWords,
    SourceShown,
    grade_of,
    grade_word,
    urgency,
)
from vehicle.clinic.screening import GRADES, NONE, NOT_APPLICABLE, Inputs, Result, Rule, RuleSet
from vehicle.clinic.settings import ClinicSettings
from vehicle.clinic.units import Quantity
from vehicle.clinic.views import plain

__all__ = [
    "ANSWERS",
    "AnswerRefused",
    "Grade",
    "InputShown",
    "Ladder",
    "Missing",
    "NoEncounter",
    "Prompt",
    "Prompts",
    "SourceShown",
]


class Prompts:
    """
    :param settings: altitude, local SpO2 baseline, rules switched on and off by the county
    :param paths: whose questions may be answered besides those of the rules
    :raises UnknownRule: the settings name a rule that does not exist
    """

    def __init__(
        self,
        store: Journal,
        ids: Ids,
        clock: Clock,
        live: Live,
        people: People,
        rules: RuleSet,
        settings: ClinicSettings,
        language: str,
        paths: PathSet = NO_PATHS,
    ) -> None:
        self._store = store
        self._ids = ids
        self._live = live
        self._settings = settings
        self._language = language
        self.known = KnownInputs(store, clock, people, rules, paths, settings)
        self._in_force: dict[str, Rule] = {}
        self.take(rules)

    def take(self, rules: RuleSet) -> None:
        """From now on these rules are asked.

        :raises UnknownRule: the settings name a rule that these do not have; the rules stay as they were
        """
        in_force = {rule.id: rule for rule in rules.switched_on(self._settings.rules_on, self._settings.rules_off)}
        self.rules, self._in_force, self.known.rules = rules, in_force, rules

    def prompts(self, encounter: str, language: str | None = None) -> list[Prompt]:
        """What the rules say of a person now: most severe first, then what is incomplete, then what is normal."""
        words = self.words(language)
        return [words.prompt(result) for result in sorted(self._results(self.inputs(encounter)), key=urgency)]

    def results_of(self, rules: Sequence[str], known: Inputs) -> list[Result]:
        """What these rules say when they are asked outright, most severe first.

        Rules that are switched off say nothing; nor does one of several that was given nothing to go by.
        """
        results = sorted(self._results(known, rules, outright=True), key=urgency)
        return [result for result in results if result.inputs or len(rules) == 1]

    def words(self, language: str | None = None) -> PromptWords:
        return PromptWords(self._in_force, self.known.fields, language or self._language)

    def inputs(self, encounter: str) -> dict[str, object]:
        """What is known for the rules: patient, place, answers and confirmed readings, the newest of each."""
        return self.known.inputs(encounter)

    def inputs_with(self, encounter: str, type_: str, stored: Mapping[str, object]) -> dict[str, object]:
        """The same with one more reading, which is about to be confirmed."""
        return self.known.inputs_with(encounter, type_, stored)

    def possible(self, quantity: Quantity) -> tuple[float, float]:
        """Least and most that a typed number can be: the range of the rules' input, else what is plausible."""
        kind = self.rules.fields.get(quantity.rule_input or "")
        if kind is None or kind.low is None or kind.high is None:
            return quantity.low, quantity.high
        return kind.low, kind.high

    def grade(
        self, encounter: str | None, type_: str, stored: Mapping[str, object], language: str | None = None
    ) -> Grade:
        """The most severe answer of the rules that may grade a reading of this type, from this reading alone."""
        known = self.known.inputs_of_reading(encounter, type_, stored)
        results = self._results(known, TILE_RULES.get(type_, ()))
        words = self.words(language)
        t = words.t
        if (beyond := stored.get("range")) in ("low", "high"):
            level = 3 if type_ in RED_BEYOND_RANGE else None
            grade = "none" if level is None else GRADES[level]
            word = "below" if beyond == "low" else "above"
            return Grade(level, grade, t(f"clinic.grade.{grade}"), t(f"clinic.result.{word}_range"), "", "")
        if not results:
            return Grade(None, "none", t("clinic.grade.none"), "", "", "")
        worst = min(results, key=urgency)
        return Grade(
            level=worst.level,
            grade=grade_of(worst),
            word=grade_word(worst, t),
            text=words.result(worst),
            advice=words.either(worst.advice_zh, worst.advice_en),
            rule=worst.rule,
            missing=words.lacking(worst, known),
        )

    def ladders(self, type_: str, language: str | None = None) -> list[Ladder]:
        """The steps to draw beside a value of this type; only of rules in force."""
        words = self.words(language)
        return [self._ladder(rule, field, words) for rule, field in LADDERS.get(type_, ()) if rule in self._in_force]

    def ladder(self, rule_id: str, field: str) -> list[tuple[float, int | None]]:
        """The steps of one input of one rule at this place (see ``RuleSet.ladder``)."""
        return self.rules.ladder(rule_id, field, self.known.site())

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
        patient, visit = self.known.whose(encounter)
        values = {name: self.known.checked(name, given) for name, given in answers.items()}
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
        known = self.known.inputs_answering(encounter, answers)
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
        self,
        encounter: str,
        patient: str,
        visit: str | None,
        known: Inputs,
        by: str | None,
        results: Sequence[Result] | None = None,
    ) -> list[Draft]:
        """An entry for every result that is not a repeat of the last one of its rule in this encounter.

        :param results: instead of what the rules say of ``known``
        """
        last = {
            row["rule"]: (row["code"], row["inputs_json"])
            for row in self._store.read(
                "SELECT rule, code, inputs_json FROM screening_results WHERE encounter = ? ORDER BY at, result",
                (encounter,),
            )
        }
        drafts = []
        for result in self._results(known) if results is None else results:
            inputs = {name: as_json(given) for name, given in result.inputs.items()}
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
                "level": grade_of(result),
            }
            if result.advice_zh:
                fields["advice"] = result.advice_zh
            drafts.append(Draft("screening_result/1", fields, by=by, visit=visit, encounter=encounter))
        return drafts

    # rules

    def _results(self, known: Inputs, only: Sequence[str] | None = None, outright: bool = False) -> list[Result]:
        """The answers of the rules in force (of ``only``, when given) whose occasion has come.

        :param outright: somebody asks for them, so that a quiet rule speaks too
        """
        answered: dict[str, Result] = {}

        def answer(rule: str) -> Result:
            if rule not in answered:
                answered[rule] = self.rules.evaluate(rule, known)
            return answered[rule]

        results = []
        for rule in self._in_force if only is None else [rule for rule in only if rule in self._in_force]:
            occasion = OCCASIONS.get(rule, Occasion(rule, self.rules.rule(rule).required))
            if not (outright or any(known.get(name) is not None for name in occasion.lead)):
                continue
            if isinstance(age := known.get("age"), int) and age < occasion.from_age:
                continue
            if _holds(known, occasion.unless):
                continue
            if (occasion.only_if or occasion.after) and not (
                _holds(known, occasion.only_if)
                or any(other in self._in_force and answer(other).code == code for other, code in occasion.after)
            ):
                continue
            speaks = outright or _holds(known, (occasion.asks_if,))
            if occasion.hears_lead and not speaks:
                result = self.rules.evaluate(rule, {name: known.get(name) for name in occasion.lead})
            else:
                result = answer(rule)
            if result.code in (NOT_APPLICABLE, NONE):
                continue
            if occasion.quiet and not speaks and not result.level:
                continue
            if result.level == 0 and _holds(known, (occasion.no_green_if,)):
                continue
            results.append(result)
        return results

    def _ladder(self, rule: str, name: str, words: PromptWords) -> Ladder:
        field = self.rules.fields[name]
        return Ladder(rule, name, words.label(field), words.unit(field), tuple(self.ladder(rule, name)), field.high)


def _holds(known: Inputs, facts: Sequence[tuple[str, bool] | None]) -> bool:
    """Whether one of the facts is known to be so."""
    return any(fact is not None and known.get(fact[0]) is fact[1] for fact in facts)
