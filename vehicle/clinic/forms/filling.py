"""What stands in a form: the doctor's taps, what is filled in from elsewhere, and what follows from it. Pure.

The doctor's own answer always counts. Else a field is filled from its sources in their order, then from what follows
from other fields: computed numbers, sums, proposals of the file and of the screening rules in force. Each answer says
where it came from. Three-valued logic as in the screening rules: a proposal holds only where every proposal before it
for the same field certainly does not or says the same, so nothing mild is proposed while something graver is undecided.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sync.formats.canonical import Json
from sync.screening.evaluator import INSUFFICIENT, RuleSet
from vehicle.clinic.forms.form import Ask, Condition, Field, Form, Next, ValueRefused

DOCTOR, READING, KNOWN, LAST, USUAL, COMPUTED, RULE = "doctor", "reading", "known", "last", "usual", "computed", "rule"
FORM, PERSON = "form", "person"
"""Where an answer came from. ``known``: an earlier reading; ``last``: the last form of this kind; ``form``: the newest
other form that says it; ``person``: the registration."""
MEASURED = (READING, KNOWN)
YEAR = "year"
"""A source of a field: an earlier reading, but of the last twelve months."""
FACT = "fact"
"""A source of a field: what is known of the person otherwise."""
_BMI_OF = ("weight_kg", "height_cm")


@dataclass(frozen=True, slots=True)
class Answer:
    value: Json
    source: str
    """One of ``DOCTOR`` ... ``PERSON``."""
    of: str = ""
    """Which one: the reading's id, the rule's id, the other form's id."""
    device: str = ""
    on: date | None = None
    """Day of the reading or of the last form."""


@dataclass(frozen=True, slots=True)
class Known:
    """A number, or a code (of a urine strip's "1+"), that a reading says. ``earlier``: not of this encounter."""

    number: float | str
    reading: str
    device: str
    on: date
    earlier: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What another signed form says in one field, and when it was signed."""

    value: Json
    form: str
    on: date


@dataclass(frozen=True)
class Given:
    """Everything outside the form.

    :ivar told: the doctor's answers; an empty answer (None) clears what would be filled in
    :ivar readings: number by name (inputs of the rules, and names with units) with where it is from
    :ivar forms: field to what the newest signed form with it says, forms of this kind left out
    :ivar facts: age, pregnant, temp, born_on ...: what is known of the person, as the rules take it
    """

    on: date
    told: Mapping[str, Json | None] = field(default_factory=dict)
    readings: Mapping[str, Known] = field(default_factory=dict)
    last: Mapping[str, Json] = field(default_factory=dict)
    last_on: date | None = None
    forms: Mapping[str, Said] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    rules_in_force: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Filled:
    """:ivar answers: of the fields that are asked
    :ivar hidden: fields that are not asked, by their ``when``
    :ivar missing: required fields without an answer, in the order of the form
    :ivar lacking: rule to the fields it lacks for a proposal
    :ivar ends: why the person leaves the programme with this form; empty: does not
    """

    answers: Mapping[str, Answer]
    hidden: frozenset[str]
    missing: tuple[str, ...]
    lacking: Mapping[str, tuple[str, ...]]
    ends: str = ""

    def value(self, name: str) -> Json | None:
        found = self.answers.get(name)
        return None if found is None else found.value

    @property
    def next_on(self) -> date | None:
        found = self.value("next_on")
        return date.fromisoformat(found) if isinstance(found, str) else None


def fill(form: Form, given: Given, rules: RuleSet) -> Filled:
    """The form as it stands now. The same input gives the same answer; nothing is remembered."""
    return _Filling(form, given, rules).run()


class _Filling:
    def __init__(self, form: Form, given: Given, rules: RuleSet) -> None:
        self._form = form
        self._given = given
        self._rules = rules
        self._answers: dict[str, Answer] = {}
        self._lacking: dict[str, tuple[str, ...]] = {}

    def run(self) -> Filled:
        for one in self._form.fields.values():
            self._take(one)
        # a computed number may lead to a proposal, that to a rule's input: few steps, each only adds
        for _ in range(4):
            before = len(self._answers)
            self._follow()
            if len(self._answers) == before:
                break
        self._set_next()
        hidden = frozenset(name for name, one in self._form.fields.items() if not self._asked(one))
        asked = {name: answer for name, answer in self._answers.items() if name not in hidden}
        missing = tuple(
            name
            for name, one in self._form.fields.items()
            if one.required and name not in hidden and asked.get(name) is None
        )
        return Filled(asked, hidden, missing, self._lacking, self._ends())

    # from outside

    def _take(self, one: Field) -> None:
        if one.type == "computed":
            return
        if one.name in self._given.told:
            value = self._given.told[one.name]
            if value is not None:
                self._put(one, value, DOCTOR)
            return
        for source in one.sources:
            if self._from(one, source):
                return
        if one.usual:
            self._put(one, one.usual, USUAL)

    def _from(self, one: Field, source: str) -> bool:
        kind, _, name = source.partition(":")
        if kind == LAST:
            value = self._given.last.get(one.name)
            return value is not None and self._put(one, value, LAST, on=self._given.last_on)
        if kind == FORM:
            said = self._given.forms.get(name)
            return said is not None and self._put(one, said.value, FORM, said.form, on=said.on)
        if kind == FACT:
            fact = self._given.facts.get(name)
            return fact is not None and self._put(one, fact, PERSON)
        known = self._given.readings.get(name)
        if known is None or (kind == READING and known.earlier):
            return False
        if kind == YEAR and known.on < months_later(self._given.on, -12):
            return False
        source = READING if kind == READING else KNOWN
        return self._put(one, known.number, source, known.reading, known.device, known.on)

    def _put(
        self, one: Field, value: object, source: str, of: str = "", device: str = "", on: date | None = None
    ) -> bool:
        """Whether the value is one of this field; one that an older form file allowed may be none any more."""
        try:
            self._answers[one.name] = Answer(one.checked(value), source, of, device, on)
        except ValueRefused:
            return False
        return True

    # what follows

    def _follow(self) -> None:
        for one in self._form.fields.values():
            if one.compute and one.compute != "rule_score":
                self._compute(one)
            if one.dated_by and one.name not in self._answers and one.name not in self._given.told:
                self._date_by(one)
        undecided: set[str] = set()
        for ask in self._form.asks:
            undecided |= self._ask(ask, undecided)
        for name in dict.fromkeys(row.field for row in self._form.proposals):
            self._propose(name)

    def _date_by(self, one: Field) -> None:
        dated = self._answers.get(one.dated_by)
        if dated is not None and dated.on is not None and dated.source in MEASURED:
            self._put(one, dated.on.isoformat(), dated.source, dated.of, dated.device, dated.on)

    def _compute(self, one: Field) -> None:
        kind, _, of = one.compute.partition(":")
        if kind == "bmi":
            weight, height = (self._number(name) for name in _BMI_OF)
            if weight is not None and height:
                self._put(one, bmi(weight, height), COMPUTED)
        elif kind == "sum":
            points = [self._points(name, name in one.reversed) for name in one.of]
            if None not in points:
                self._put(one, sum(filter(None, points)), COMPUTED)
        elif kind == "percent":
            part, whole = (self._number(name) for name in one.of)
            if part is not None and whole:
                self._put(one, Decimal(str(part)) * 100 / Decimal(str(whole)), COMPUTED)
        elif of in self._answers:
            since = date.fromisoformat(str(self._answers[of].value))
            if kind == "expected_delivery":
                self._offer(one.name, expected_delivery(since).isoformat(), COMPUTED)
            else:
                days = (self._given.on - since).days
                self._put(one, days // 7 if kind == "weeks_since" else days, COMPUTED)

    def _points(self, name: str, reverse: bool) -> int | None:
        """Of an item with the codes 1 to 5; reversed: 5 to 1."""
        answer = self._answers.get(name)
        if answer is None:
            return None
        return 6 - int(str(answer.value)) if reverse else int(str(answer.value))

    def _ask(self, ask: Ask, undecided: set[str]) -> set[str]:
        """Offer what the rule gives, but nothing for the fields that a graver rule before it has not decided.

        Returns the fields that wait for an answer to this rule's questions.
        """
        if ask.rule not in self._given.rules_in_force:
            return set()
        inputs = {name: self._input(told) for name, told in ask.inputs.items()}
        result = self._rules.evaluate(ask.rule, inputs)
        score = next((one for one in self._form.fields.values() if one.compute == "rule_score"), None)
        if score is not None and result.score is not None:
            self._put(score, result.score, RULE, ask.rule)
        if result.code == INSUFFICIENT:
            self._lacking[ask.rule] = lacking = tuple(dict.fromkeys(self._names_of(ask, result.missing)))
            return {name for given in ask.gives.values() for name in given} if lacking else set()
        self._lacking.pop(ask.rule, None)
        given = {} if result.incomplete else ask.gives.get(result.code, {})
        for name, code in given.items():
            if name not in undecided:
                self._offer(name, code, RULE, ask.rule)
        return set()

    def _names_of(self, ask: Ask, inputs: Iterable[str]) -> Iterable[str]:
        """The form's fields behind a rule's inputs."""
        for name in inputs:
            told = ask.inputs.get(name)
            for of in told if isinstance(told, Mapping) else (told,):
                if isinstance(of, str) and of in self._form.fields and of not in self._answers:
                    yield of

    def _input(self, told: Any) -> object:
        """One input of a rule: a field's number, "fact:NAME", a constant, or whether any of several fields has one of
        these codes."""
        if isinstance(told, Mapping):
            truths = [self._has(name, codes) for name, codes in told.items()]
            return True if True in truths else (None if None in truths else False)
        if not isinstance(told, str):
            return told
        if told.startswith("fact:"):
            return self._given.facts.get(told.removeprefix("fact:"))
        return self._number(told)

    def _has(self, name: str, codes: Sequence[str]) -> bool | None:
        if name.startswith("last:"):
            return self._given.last.get(name.removeprefix("last:")) in codes
        if name.startswith("fact:"):
            fact = self._given.facts.get(name.removeprefix("fact:"))
            return None if fact is None else fact in codes
        answer = self._answers.get(name)
        if answer is None:
            return None if self._asked(self._form.fields[name]) else False
        if isinstance(answer.value, list):
            return bool(set(map(str, answer.value)) & set(codes))
        return answer.value in codes

    def _propose(self, name: str) -> None:
        undecided = set()
        for row in self._form.proposals:
            if row.field != name:
                continue
            truth = self._holds(row.when)
            if truth is None:
                undecided.add(row.code)
            elif truth:
                if undecided <= {row.code}:
                    self._offer(name, row.code, COMPUTED)
                return

    def _offer(self, name: str, code: str, source: str, of: str = "") -> None:
        """A proposal, unless there is an answer or the doctor has cleared the field."""
        if name not in self._answers and name not in self._given.told:
            self._put(self._form.fields[name], code, source, of)

    def _set_next(self) -> None:
        if "next_on" in self._answers or "next_on" in self._given.told or "next_on" not in self._form.fields:
            return
        for row in self._form.nexts:
            truth = self._holds(row.when)
            if truth is None:
                return
            if truth:
                day = self._next_day(row)
                if day is not None:
                    self._put(self._form.fields["next_on"], day.isoformat(), COMPUTED)
                return

    def _next_day(self, row: Next) -> date | None:
        if not row.since:
            return months_later(self._given.on, row.months) + timedelta(days=row.days)
        since = self._answers.get(row.since)
        return None if since is None else date.fromisoformat(str(since.value)) + timedelta(weeks=row.at_week)

    def _ends(self) -> str:
        return next((end.reason for end in self._form.ends if self._holds(end.when)), "")

    # conditions

    def _asked(self, one: Field) -> bool:
        return self._holds(one.when) is True

    def _holds(self, condition: Condition) -> bool | None:
        truths = [self._holds_of(name, wanted) for name, wanted in condition.items()]
        return False if False in truths else (None if None in truths else True)

    def _holds_of(self, name: str, wanted: Any) -> bool | None:
        if not isinstance(wanted, Mapping):
            return self._has(name, wanted)
        number = self._input(name)
        if not isinstance(number, int | float):
            return None
        return bool(wanted.get("least", number) <= number <= wanted.get("most", number))

    def _number(self, name: str) -> float | None:
        answer = self._answers.get(name)
        return None if answer is None or isinstance(answer.value, list | dict) else _number_of(answer.value)


def _number_of(value: Json) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if number.is_integer() else number


def bmi(weight_kg: float, height_cm: float) -> Decimal:
    """kg/m², one decimal, half up."""
    metres = Decimal(str(height_cm)) / 100
    return (Decimal(str(weight_kg)) / (metres * metres)).quantize(Decimal("0.1"), ROUND_HALF_UP)


def expected_delivery(last_period_on: date) -> date:
    """The national form's rule: nine months on (or three back) and seven days more."""
    return months_later(last_period_on, 9) + timedelta(days=7)


def months_later(day: date, months: int) -> date:
    """The same day some calendar months later; the month's last day where it has no such day."""
    place = day.year * 12 + day.month - 1 + months
    year, month = place // 12, place % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def span_later(day: date, span: str) -> date:
    """ "14d" or "3m" after ``day``; a minus sign for before.

    :raises ValueError: another form
    """
    number, unit = int(span[:-1]), span[-1]
    steps: dict[str, Callable[[], date]] = {
        "d": lambda: day + timedelta(days=number),
        "m": lambda: months_later(day, number),
    }
    if unit not in steps:
        raise ValueError(f"a span ends with d or m: {span!r}")
    return steps[unit]()
