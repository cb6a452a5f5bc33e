"""A form as its file says it: sections, fields, ranges, codes, words in both languages, marks of verification. Pure.

``README.md`` beside this file explains the keys. A file that cannot be right is refused when it is read, not when a
doctor stands before it.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property
from importlib import resources
from typing import Any

from sync.formats.canonical import Json

TYPES = ("number", "code", "codes", "date", "drugs", "text", "computed")
MARKS = ("V", "V2", "M", "P")
"""How sure a field or rule is: read in the source, read on a secondary page or in public code, from memory and not
checked, our own choice."""
COMPUTATIONS = ("bmi", "rule_score", "sum", "weeks_since", "days_since", "expected_delivery", "percent")
MOST_DRUGS = 20
MOST_TEXT = 80
MOST_WORDS = 300
"""Characters of a text field."""
Condition = Mapping[str, Any]
"""Field to the codes, or to ``{least, most}``, that make it true; all must hold."""


class FormFileRefused(ValueError):
    """A form file says something impossible; the message names form and field."""


class ValueRefused(ValueError):
    """An answer is not of its field's type or out of its range. ``args``: reason, field."""

    def __init__(self, reason: str, name: str) -> None:
        super().__init__(reason, name)
        self.reason, self.name = reason, name


@dataclass(frozen=True, slots=True)
class Choice:
    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Field:
    """One question. ``low`` and ``high`` bound a number, both included."""

    name: str
    type: str
    zh: str
    en: str
    verification: str
    unit: str = ""
    unit_en: str = ""
    low: Decimal | None = None
    high: Decimal | None = None
    digits: int = 0
    required: bool = False
    alone: str = ""
    """Of several codes the one that excludes the others."""
    usual: str = ""
    """What is filled in before anybody says otherwise."""
    choices: tuple[Choice, ...] = ()
    taps: tuple[str, ...] = ()
    """Answers that one tap gives: numbers, or spans from today ("14d", "3m") for a date."""
    picks: tuple[tuple[str, str], ...] = ()
    """Name and use of drugs that one tap adds; of a text what one tap says, in Chinese (as it is kept) and English."""
    sources: tuple[str, ...] = ()
    """Where it is filled in from, best first: "reading:NAME" (this encounter), "last" (the last form of this kind),
    "known:NAME" (ever), "year:NAME" (within twelve months),
    "form:FIELD" (the newest other form that says it), "fact:NAME" (the registration)."""
    when: Condition = field(default_factory=dict)
    """Asked only when this holds."""
    compute: str = ""
    of: tuple[str, ...] = ()
    reversed: tuple[str, ...] = ()
    dated_by: str = ""
    """A date that is the day of another field's reading."""
    loinc: str = ""
    lies: str = ""
    """Of a date: "ahead" of the day of the form or that day, or "behind" it or that day; empty: anywhere."""

    def words(self, language: str) -> str:
        return self.zh if language == "zh" else self.en

    def unit_words(self, language: str) -> str:
        return self.unit if language == "zh" else self.unit_en or self.unit

    def choice(self, code: str) -> Choice | None:
        return next((one for one in self.choices if one.code == code), None)

    def checked(self, given: object) -> Json:
        """The answer as an entry holds it: whole numbers as such, decimals as text, dates as ISO text.

        :raises ValueRefused: "type", "range", "choice", "alone" or "length"
        """
        if self.type in ("number", "computed"):
            return self._number(given)
        if self.type == "code":
            return self._code(given)
        if self.type == "codes":
            return self._codes(given)
        if self.type == "date":
            return self._date(given)
        return self._text(given) if self.type == "text" else self._drugs(given)

    def check_day(self, value: Json, today: date) -> None:
        """:raises ValueRefused: "past" or "future": a date on the wrong side of the day of the form"""
        if self.type == "date" and self.lies:
            day = date.fromisoformat(str(value))
            if (day < today) if self.lies == "ahead" else (day > today):
                raise ValueRefused("past" if self.lies == "ahead" else "future", self.name)

    def _number(self, given: object) -> Json:
        try:
            number = Decimal(str(given)).quantize(Decimal(1).scaleb(-self.digits))
        except InvalidOperation:
            raise ValueRefused("type", self.name) from None
        if not number.is_finite() or isinstance(given, bool):
            raise ValueRefused("type", self.name)
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            raise ValueRefused("range", self.name)
        return int(number) if number == number.to_integral_value() else f"{number.normalize():f}"

    def _code(self, given: object) -> Json:
        if not isinstance(given, str) or self.choice(given) is None:
            raise ValueRefused("choice", self.name)
        return given

    def _codes(self, given: object) -> Json:
        if not isinstance(given, list | tuple) or not given or len(set(given)) != len(given):
            raise ValueRefused("choice", self.name)
        codes = [str(self._code(one)) for one in given]
        if self.alone in codes and len(codes) > 1:
            raise ValueRefused("alone", self.name)
        order = [choice.code for choice in self.choices]
        return sorted(codes, key=order.index)

    def _date(self, given: object) -> Json:
        try:
            return date.fromisoformat(str(given)).isoformat()
        except ValueError:
            raise ValueRefused("type", self.name) from None

    def _text(self, given: object) -> Json:
        if not isinstance(given, str) or not given.strip():
            raise ValueRefused("type", self.name)
        if len(given.strip()) > MOST_WORDS:
            raise ValueRefused("length", self.name)
        return given.strip()

    def _drugs(self, given: object) -> Json:
        if not isinstance(given, list | tuple) or len(given) > MOST_DRUGS:
            raise ValueRefused("length", self.name)
        rows: list[Json] = []
        for row in given:
            if not isinstance(row, Mapping) or not str(row.get("name", "")).strip():
                raise ValueRefused("type", self.name)
            told = {key: str(row.get(key, "")).strip() for key in ("name", "use")}
            if any(len(text) > MOST_TEXT for text in told.values()):
                raise ValueRefused("length", self.name)
            rows.append(dict(told))
        return rows


@dataclass(frozen=True, slots=True)
class Section:
    id: str
    zh: str
    en: str
    fields: tuple[Field, ...]

    def words(self, language: str) -> str:
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Ask:
    """A screening rule that is asked with the form's answers; ``gives``: answer code to proposed answers."""

    rule: str
    inputs: Mapping[str, Any]
    gives: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Propose:
    field: str
    code: str
    when: Condition


@dataclass(frozen=True, slots=True)
class Next:
    """How the next date follows: so long after today, or at a week counted ``since`` a date of the form."""

    when: Condition
    verification: str
    days: int = 0
    months: int = 0
    at_week: int = 0
    since: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """When this holds, the signature takes the person out of the programme, for a reason of ``programmes.LEFT_FOR``."""

    when: Condition
    reason: str


@dataclass(frozen=True)
class Form:
    """:ivar version: date of the file and the first 12 hex digits of SHA-256 over it
    :ivar programme: whose form it is; several forms may share one; empty: of none, so it is never due
    :ivar then: form that the programme goes on with after this one; empty: the same again
    :ivar unverified: what no public text was found for, and what is left out of the national form
    :ivar confidential: only for staff with the further role ``smi``; on no list, no printed table of a village
    :ivar sex: whom it is offered to: "female", "male", or empty for everybody
    :ivar least_age: from how many completed years it is offered
    :ivar most_age: up to how many, that year included; None: to any age
    """

    id: str
    version: str
    programme: str
    zh: str
    en: str
    source: str
    source_en: str
    verification: str
    confidential: bool
    sex: str
    least_age: int
    sections: tuple[Section, ...]
    asks: tuple[Ask, ...]
    proposals: tuple[Propose, ...]
    nexts: tuple[Next, ...]
    then: str = ""
    unverified: str = ""
    ends: tuple[End, ...] = ()
    most_age: int | None = None

    def words(self, language: str) -> str:
        return self.zh if language == "zh" else self.en

    def suits(self, sex: str, age: int | None) -> bool:
        """Whether it is offered to such a person; who is not known well enough is offered everything."""
        other = {"female": "male", "male": "female"}.get(self.sex)
        old_enough = age is None or age >= self.least_age
        return sex != other and old_enough and (age is None or self.most_age is None or age <= self.most_age)

    @cached_property
    def fields(self) -> dict[str, Field]:
        return {one.name: one for section in self.sections for one in section.fields}


def read_form(text: str) -> Form:
    """:raises FormFileRefused: not a form; says what is wrong where"""
    try:
        raw = tomllib.loads(text)
        mark = raw["verification"]
        form = Form(
            id=raw["id"],
            version=f"{raw['version']}/{hashlib.sha256(text.encode()).hexdigest()[:12]}",
            programme=raw["programme"],
            zh=raw["zh"],
            en=raw["en"],
            source=raw["source"],
            source_en=raw["source_en"],
            verification=mark,
            confidential=raw.get("confidential", False),
            sex=raw.get("sex", ""),
            least_age=raw.get("least_age", 0),
            sections=tuple(_section(row, mark) for row in raw["section"]),
            asks=tuple(Ask(**row) for row in raw.get("ask", ())),
            proposals=tuple(Propose(**row) for row in raw.get("propose", ())),
            nexts=tuple(Next(**{"when": {}, **row}) for row in raw.get("next", ())),
            then=raw.get("then", ""),
            unverified=raw.get("unverified", ""),
            ends=tuple(End(**row) for row in raw.get("end", ())),
            most_age=raw.get("most_age"),
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise FormFileRefused(f"the form file cannot be read: {fault!r}") from None
    faults = list(_faults(form))
    if faults:
        raise FormFileRefused(f"{form.id}: " + "; ".join(faults))
    return form


@cache
def shipped_forms() -> Mapping[str, Form]:
    """The forms of this package by id, in the order of a working day."""
    folder = resources.files("vehicle.clinic.forms")
    return {name: read_form((folder / f"{name}.toml").read_text(encoding="utf-8")) for name in ORDER}


@cache
def programme_forms() -> Mapping[str, tuple[Form, ...]]:
    """Programme to its forms in their order; the first is what it begins with."""
    found: dict[str, tuple[Form, ...]] = {}
    for form in shipped_forms().values():
        if form.programme:
            found[form.programme] = (*found.get(form.programme, ()), form)
    return found


def called_by_programme(form: Form) -> bool:
    """Whether the name of its programme says which form it is."""
    return len(programme_forms().get(form.programme, ())) == 1


def form_after(programme: str, last: str | None) -> Form:
    """The form that a programme goes on with after ``last``, the id of its last signed one; None: none yet."""
    if last is None:
        return programme_forms()[programme][0]
    return shipped_forms()[shipped_forms()[last].then or last]


BACKGROUND = "background"
"""The form of what lasts: allergies, past illnesses, family, drugs; of no programme."""
ORDER = (
    BACKGROUND,
    "hypertension",
    "diabetes",
    "elderly",
    "tcm_constitution",
    "tuberculosis",
    "antenatal_first",
    "maternal",
    "postpartum_visit",
    "postpartum_42",
    "newborn",
    "severe_mental_illness",
)


def _section(row: Mapping[str, Any], mark: str) -> Section:
    return Section(row["id"], row["zh"], row["en"], tuple(_field(one, mark) for one in row["field"]))


def _field(row: Mapping[str, Any], mark: str) -> Field:
    told = dict(row)
    told["verification"] = told.get("verification", mark)
    told["choices"] = tuple(Choice(*choice) for choice in told.get("choices", ()))
    told["taps"] = tuple(str(tap) for tap in told.get("taps", ()))
    told["picks"] = tuple((name, use) for name, use in told.get("picks", ()))
    told["sources"] = tuple(told.pop("from", ()))
    for bound in ("low", "high"):
        if bound in told:
            told[bound] = Decimal(str(told[bound]))
    for listing in ("of", "reversed"):
        told[listing] = tuple(told.get(listing, ()))
    return Field(**told)


def _faults(form: Form) -> Iterable[str]:
    names = [one.name for section in form.sections for one in section.fields]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{name} stands twice"
    for one in form.fields.values():
        yield from (f"{one.name}: {fault}" for fault in _field_faults(one))
    for name in _mentioned(form):
        if name not in form.fields and not name.startswith(("fact:", "last:")):
            yield f"no field {name}"
    for row in form.proposals:
        known = form.fields.get(row.field)
        if known is not None and known.choice(row.code) is None:
            yield f"{row.field} has no choice {row.code}"
    for ask in form.asks:
        for given in ask.gives.values():
            for name, code in given.items():
                if name in form.fields and form.fields[name].choice(code) is None:
                    yield f"{name} has no choice {code}"
    for following in form.nexts:
        if bool(following.days) + bool(following.months) + bool(following.at_week and following.since) != 1:
            yield "a next date needs one of days, months, or at_week with since"


def _field_faults(one: Field) -> Iterable[str]:
    if one.type not in TYPES:
        yield f"no type {one.type}"
    if one.verification not in MARKS:
        yield f"no mark {one.verification}"
    if one.type in ("number", "computed") and (one.low is None or one.high is None or one.low >= one.high):
        yield "a number needs low below high"
    if one.type in ("code", "codes") and len({choice.code for choice in one.choices}) < 2:
        yield "fewer than two choices"
    if (one.type == "computed" or one.compute) and one.compute.partition(":")[0] not in COMPUTATIONS:
        yield f"no computation {one.compute!r}"
    if one.lies not in ("", "ahead", "behind"):
        yield f"a date lies ahead or behind, not {one.lies!r}"
    for code in filter(None, (one.alone, one.usual)):
        if one.choice(code) is None:
            yield f"no choice {code}"


def _mentioned(form: Form) -> Iterable[str]:
    """Every field that a condition, a rule's inputs, a sum or a next date names."""
    for one in form.fields.values():
        yield from (*one.when, *one.of, *one.reversed)
        yield from filter(None, (one.dated_by, one.compute.partition(":")[2]))
    for row in form.proposals:
        yield from (row.field, *row.when)
    for following in form.nexts:
        yield from (*following.when, *filter(None, (following.since,)))
    for end in form.ends:
        yield from end.when
    for ask in form.asks:
        for told in ask.inputs.values():
            yield from (told if isinstance(told, Mapping) else (told,) if isinstance(told, str) else ())
        for given in ask.gives.values():
            yield from given
