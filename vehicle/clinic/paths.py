"""Screening paths as data: which questions in which order, which rules at the end, and what may follow. Pure.

``screening-paths.toml`` is the table. A path has no thresholds of its own: conditions use the language of the rule
file and the rules decide. Where a person stands in a path follows from what is known of them alone, so that a path
goes on after a restart, on another page or in another order.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from sync.screening.evaluator import Condition, truth
from vehicle.clinic.screening import Field, Inputs, Result

SCHEMA = "screening-paths/1"
NEXT = ("advice", "slip", "referral", "consultation")
"""What a path may end in."""
URGENCIES = ("emergency", "urgent", "routine")
"""At once; within days; when it suits."""

StepState = Literal["done", "open", "left_out"]


@dataclass(frozen=True, slots=True)
class Words:
    zh: str
    en: str

    def __call__(self, language: str) -> str:
        return self.en if language == "en" else self.zh


@dataclass(frozen=True, slots=True)
class Option:
    """One answer of a question: what is kept, and how it is said."""

    value: object
    words: Words
    hint: Words


@dataclass(frozen=True, slots=True)
class Question:
    """How a field is asked in a path."""

    field: str
    words: Words
    hint: Words
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One page of a path. Exactly one of ``ask``, ``measure`` and ``record`` says what is done on it."""

    id: str
    title: Words
    ask: tuple[str, ...] = ()
    """Fields that a person answers."""
    measure: str = ""
    """Type of reading, such as "blood_pressure"."""
    record: str = ""
    """ "ecg" or "ultrasound"."""
    needs: tuple[str, ...] = ()
    """Fields that are known when this step is done; those asked when it says nothing else."""
    done_when: Condition | None = None
    """Instead of ``needs``, where a count decides."""
    when: Condition | None = None
    """Left out unless this is certainly true."""
    kept: tuple[str, ...] = ()
    """Further fields that stand in the result: what was recorded on the way."""
    optional: bool = False
    """The rules answer without it: it may be passed over and is not named as missing."""

    def state(self, known: Inputs) -> StepState:
        if self.when is not None and truth(self.when, known) is not True:
            return "left_out"
        if self.done_when is not None:
            return "done" if truth(self.done_when, known) else "open"
        return "done" if all(known.get(name) is not None for name in self.needs) else "open"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is offered when a rule answers with one of ``codes``; the first row that fits counts."""

    rule: str
    codes: tuple[str, ...]
    next: tuple[str, ...]
    """Of ``NEXT``, the proposed one first."""
    to: str = ""
    """Key of ``Path.places``, where a referral is proposed."""
    urgency: str = "routine"


@dataclass(frozen=True, slots=True)
class Path:
    id: str
    title: Words
    about: Words
    """In one line, for whom and by what."""
    due: Condition
    every_days: int
    """Who went this path within so many days is not due again."""
    rules: tuple[str, ...]
    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]

    def walked(self, known: Inputs) -> list[tuple[Step, StepState]]:
        """Every step that is not left out, with how it stands."""
        return [(step, state) for step in self.steps if (state := step.state(known)) != "left_out"]

    def next_step(self, known: Inputs, after: str | None = None) -> Step | None:
        """The first open step; of those behind ``after``, where that is a step. None: all is answered, or passed."""
        walked = self.walked(known)
        places = [place for place, (step, _) in enumerate(walked) if step.id == after]
        first = places[0] + 1 if places else 0
        return next((step for step, state in walked[first:] if state == "open"), None)

    def before(self, known: Inputs, step: str) -> Step | None:
        """The step to go back to."""
        walked = [one for one, _ in self.walked(known)]
        place = next((place for place, one in enumerate(walked) if one.id == step), len(walked))
        return walked[place - 1] if place > 0 else None

    def is_due(self, known: Inputs) -> bool:
        return truth(self.due, known) is True

    def outcome(self, results: Sequence[Result]) -> Outcome:
        """What follows from the results: of the rows that fit, the first; advice and a slip when none does."""
        codes = {result.rule: result.code for result in results}
        for row in self.outcomes:
            if codes.get(row.rule) in row.codes:
                return row
        return Outcome("", (), ("advice", "slip"))


@dataclass(frozen=True, slots=True)
class Derived:
    """A field that follows from others: ``value`` when ``when`` is certainly true, ``otherwise`` when certainly not."""

    field: str
    when: Condition | None
    value: object
    otherwise: object
    product: tuple[str, ...] = ()
    divided_by: float = 1.0

    def of(self, known: Inputs) -> object:
        """None: it does not follow."""
        if self.product:
            factors = [known.get(name) for name in self.product]
            if any(not isinstance(factor, int | float) or isinstance(factor, bool) for factor in factors):
                return None
            total = 1.0
            for factor in factors:
                total *= float(factor)  # type: ignore[arg-type]
            return round(total / self.divided_by, 1)
        assert self.when is not None, "the table has a product or a condition"
        decided = truth(self.when, known)
        return None if decided is None else (self.value if decided else self.otherwise)


@dataclass(frozen=True, slots=True)
class PathSet:
    """:ivar version: first 12 hex digits of SHA-256 over the table"""

    paths: Mapping[str, Path]
    fields: Mapping[str, Field]
    """Fields that no rule asks for."""
    questions: Mapping[str, Question]
    places: Mapping[str, Words]
    """Where referrals go."""
    derived: tuple[Derived, ...]
    version: str

    def derive(self, known: dict[str, object]) -> dict[str, object]:
        """``known`` with what follows from it. What was said or measured itself stays."""
        complete = dict(known)
        for row in self.derived:
            if complete.get(row.field) is None and (found := row.of(complete)) is not None:
                complete[row.field] = found
        return complete

    def of_rule(self, rule: str) -> Path | None:
        """The path that a prompt of ``rule`` leads into."""
        return next((path for path in self.paths.values() if rule in path.rules), None)


NO_PATHS = PathSet({}, {}, {}, {}, (), "")


@cache
def shipped_paths() -> PathSet:
    """The table of this package."""
    file = resources.files("vehicle.clinic") / "screening-paths.toml"
    return read_paths(file.read_text(encoding="utf-8"))


def read_paths(text: str) -> PathSet:
    """:raises ValueError: not TOML, or of another schema"""
    raw = tomllib.loads(text)
    if raw.get("schema") != SCHEMA:
        raise ValueError(f"path table of schema {raw.get('schema')!r}; this program reads {SCHEMA}")
    fields = {name: _field(name, row) for name, row in raw["field"].items()}
    return PathSet(
        paths={row["id"]: _path(row) for row in raw["path"]},
        fields=fields,
        questions={name: _question(name, row) for name, row in raw["question"].items()},
        places={name: Words(row["zh"], row["en"]) for name, row in raw["place"].items()},
        derived=tuple(_derived(row) for row in raw["derived"]),
        version=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


def _field(name: str, row: Mapping[str, Any]) -> Field:
    low, high = row.get("range", (None, None))
    return Field(name, row["type"], row["zh"], row.get("unit", ""), low, high)


def _question(name: str, row: Mapping[str, Any]) -> Question:
    options = tuple(
        Option(one["value"], Words(one["zh"], one["en"]), Words(one.get("hint_zh", ""), one.get("hint_en", "")))
        for one in row.get("options", ())
    )
    return Question(name, Words(row["zh"], row["en"]), Words(row.get("hint_zh", ""), row.get("hint_en", "")), options)


def _path(row: Mapping[str, Any]) -> Path:
    return Path(
        id=row["id"],
        title=Words(row["zh"], row["en"]),
        about=Words(row["about_zh"], row["about_en"]),
        due=row["due"],
        every_days=row["every_days"],
        rules=tuple(row["rules"]),
        steps=tuple(_step(step) for step in row["step"]),
        outcomes=tuple(_outcome(one) for one in row.get("outcome", ())),
    )


def _step(row: Mapping[str, Any]) -> Step:
    ask = tuple(row.get("ask", ()))
    return Step(
        id=row["id"],
        title=Words(row["zh"], row["en"]),
        ask=ask,
        measure=row.get("measure", ""),
        record=row.get("record", ""),
        needs=tuple(row.get("needs", ask)),
        done_when=row.get("done_when"),
        when=row.get("when"),
        kept=tuple(row.get("kept", ())),
        optional=row.get("optional", False),
    )


def _outcome(row: Mapping[str, Any]) -> Outcome:
    return Outcome(
        row["rule"], tuple(row["codes"]), tuple(row["next"]), row.get("to", ""), row.get("urgency", "routine")
    )


def _derived(row: Mapping[str, Any]) -> Derived:
    return Derived(
        field=row["field"],
        when=row.get("when"),
        value=row.get("value", True),
        otherwise=row.get("otherwise"),
        product=tuple(row.get("product", ())),
        divided_by=row.get("divided_by", 1.0),
    )
