"""A county's copy of the rule file: read, checked and packed. Pure; ``rule_changes`` makes and compares copies.

A copy is the whole rule file with ``edition`` beside ``generated``: its number, who answers for it, and why. It is
taken only when it can be read, has every rule of the shipped file, asks for known inputs with known comparisons, and
answers its own boundary tests. Tests of a rule stand in its row (``tests``); where it has none, those shipped with it
count. A changed rule needs tests of its own where a shipped one answers otherwise now.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from sync.screening.evaluator import GRADES, RuleSet

MOST_BYTES = 1_000_000
"""Of a rule file as text; more is none."""
OPERATORS = (">=", ">", "<=", "<", "==", "in")
COMPUTED = ("score", "risk")


class RuleFileRefused(ValueError):
    """A rule file that cannot come into force.

    :ivar problem: one word for pages in other languages
    :ivar rule: the rule it is about; empty when it is about the file
    """

    def __init__(self, problem: str, message: str, rule: str = "", what: str = "") -> None:
        super().__init__(f"{rule}: {message}" if rule else message)
        self.problem, self.rule, self.what = problem, rule, what


@dataclass(frozen=True, slots=True)
class BoundaryTest:
    rule: str
    given: Mapping[str, Any]
    code: str


@cache
def shipped_text() -> str:
    return (resources.files("sync.screening") / "rules" / "screening-rules.json").read_text(encoding="utf-8")


def shipped_raw() -> dict[str, Any]:
    """The rule file of this package, to be changed freely."""
    raw: dict[str, Any] = json.loads(shipped_text())
    return raw


@cache
def shipped_tests() -> tuple[BoundaryTest, ...]:
    """The boundary tests that were checked with the shipped rules."""
    file = resources.files("sync.screening") / "rules" / "screening-boundaries.json"
    rows: dict[str, list[dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
    return tuple(BoundaryTest(rule, row["in"], row["code"]) for rule, listed in rows.items() for row in listed)


# written form ---------------------------------------------------------------------------------------------------------


def canonical(raw: Mapping[str, Any]) -> str:
    """The one written form of a rule file: what is hashed and sent."""
    return json.dumps(raw, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pack(text: str) -> str:
    """Deflated, in base64: small enough for an entry."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack(packed: str, sha256: str) -> str:
    """The text again.

    :raises RuleFileRefused: not packed, too large, or of another hash
    """
    try:
        unpacking = zlib.decompressobj()
        body = unpacking.decompress(base64.b64decode(packed, validate=True), MOST_BYTES)
        text = body.decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError):
        raise RuleFileRefused("unreadable", "the packed rule file cannot be read") from None
    if not unpacking.eof or sha256_of(text) != sha256:
        raise RuleFileRefused("hash", "the rule file is not the one that was named by its SHA-256")
    return text


# checked --------------------------------------------------------------------------------------------------------------


def read(text: str) -> tuple[dict[str, Any], RuleSet]:
    """A rule file and its evaluator, checked.

    :raises RuleFileRefused: see ``check``; also what is no JSON
    """
    if len(text.encode()) > MOST_BYTES:
        raise RuleFileRefused("too_large", f"a rule file has at most {MOST_BYTES} bytes")
    try:
        raw = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as fault:
        raise RuleFileRefused("not_json", f"the file is no JSON: {fault}") from None
    return raw, check(raw)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def check(raw: Any) -> RuleSet:
    """Whether every rule can be asked, and answers its tests.

    :raises RuleFileRefused: the first thing that is wrong, and where
    """
    try:
        return _checked(raw)
    except RuleFileRefused:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as fault:
        raise RuleFileRefused("unreadable", f"{type(fault).__name__} {fault}") from None


def _checked(raw: Any) -> RuleSet:
    if not isinstance(raw, Mapping) or raw.get("schema") != "screening-rules/1":
        raise RuleFileRefused("schema", "a rule file is one JSON object of schema screening-rules/1")
    fields = raw.get("fields")
    rows = raw.get("rules")
    if not isinstance(fields, Mapping) or not isinstance(rows, list) or not isinstance(raw.get("sources"), Mapping):
        raise RuleFileRefused("schema", "a rule file has fields, sources and rules")
    for name, field in fields.items():
        _check_field(str(name), field)
    for row in rows:
        _check_row(row, fields, raw["sources"])
    rules = RuleSet(raw)
    lost = sorted({row["id"] for row in shipped_raw()["rules"]} - set(rules.rules))
    if lost:
        raise RuleFileRefused(
            "rule_lost", f"{', '.join(lost)} missing: switch a rule off instead", what=", ".join(lost)
        )
    for test in own_tests(raw):
        _check_test(rules, test)
    return rules


def _check_field(name: str, field: Any) -> None:
    kinds = ("number", "boolean", "code")
    if not isinstance(field, Mapping) or field.get("type") not in kinds or not isinstance(field.get("label_zh"), str):
        raise RuleFileRefused("field", f"input {name} needs label_zh, unit and a type of {', '.join(kinds)}", what=name)
    bounds = field.get("range")
    if bounds is not None and not (
        isinstance(bounds, list) and len(bounds) == 2 and all(map(is_number, bounds)) and bounds[0] < bounds[1]
    ):
        raise RuleFileRefused("range", f"the range of {name} is two numbers, the lower one first", what=name)


def _check_row(row: Any, fields: Mapping[str, Any], sources: Mapping[str, Any]) -> None:
    rule = str(row.get("id", "")) if isinstance(row, Mapping) else ""
    if not rule or row.get("kind") not in ("first_match", "score", "formula"):
        raise RuleFileRefused("rule", "each rule has an id and a kind: first_match, score or formula", rule)
    for name in ("title_zh", "inputs", "source", "verification", "cases"):
        if name not in row:
            raise RuleFileRefused("rule", f"{name} is missing", rule, name)
    if not row["source"] or any(source not in sources for source in row["source"]):
        raise RuleFileRefused("source", "each rule names sources that stand in the file", rule)
    unknown = [name for name in row["inputs"] if name not in fields]
    if unknown:
        raise RuleFileRefused("input", f"no input {unknown[0]}", rule, str(unknown[0]))
    for where, condition in conditions(row):
        _check_condition(condition, {name: fields[name]["type"] for name in row["inputs"]}, rule, where)
    for case in [*row["cases"], *([row["default"]] if row.get("default") else [])]:
        if case.get("level") not in range(len(GRADES)) or not all(
            isinstance(case.get(name), str) for name in ("code", "result_zh", "result_en", "advice_zh", "advice_en")
        ):
            raise RuleFileRefused("case", "a case needs code, level 0 to 3, results and advice in both languages", rule)


def conditions(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(where, condition) of everything in a rule that is decided."""
    if "applies" in row:
        yield "applies", row["applies"]
    for number, case in enumerate(row["cases"]):
        yield f"cases/{number}", case.get("when") if isinstance(case, Mapping) else None
    for place, item in enumerate(row.get("items", ())):
        for number, option in enumerate(item["options"]):
            yield f"items/{place}/{number}", option.get("when")


def _check_condition(condition: Any, types: Mapping[str, str], rule: str, where: str) -> None:
    """:param types: of the rule's inputs"""
    if not isinstance(condition, Mapping):
        raise RuleFileRefused("condition", f"{where} has no condition", rule, where)
    for joint in ("all", "any"):
        if joint in condition:
            for part in condition[joint]:
                _check_condition(part, types, rule, where)
            return
    names = [condition[key] for key in ("field", "value_field") if key in condition]
    names += [name for listing in ("count", "absdiff") for name in condition.get(listing, ())]
    strange = [name for name in names if name not in types and name not in COMPUTED]
    if not names or strange:
        raise RuleFileRefused("input", f"{where} asks for {strange or 'nothing'}", rule, str(strange[:1]))
    if condition.get("op") not in OPERATORS or not ("value" in condition or "value_field" in condition):
        raise RuleFileRefused(
            "condition", f"{where} compares with one of {' '.join(OPERATORS)} and a value", rule, where
        )
    ordered = condition["op"] in (">=", ">", "<=", "<")
    if ordered and "value" in condition and not is_number(condition["value"]):
        raise RuleFileRefused("condition", f"{where} compares with {condition['value']!r}, no number", rule, where)
    if ordered and "count" not in condition and any(types.get(name, "number") != "number" for name in names):
        raise RuleFileRefused("condition", f"{where} asks whether {' and '.join(names)} is more or less", rule, where)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def own_tests(raw: Mapping[str, Any]) -> list[BoundaryTest]:
    """The tests by which this file is judged: each rule's own, else those shipped with it."""
    told: list[BoundaryTest] = []
    for row in raw["rules"]:
        if isinstance(row.get("tests"), list):
            told += [BoundaryTest(row["id"], test.get("in", {}), str(test.get("code"))) for test in row["tests"]]
        else:
            told += [test for test in shipped_tests() if test.rule == row["id"]]
    return told


def _check_test(rules: RuleSet, test: BoundaryTest) -> None:
    now = rules.evaluate(test.rule, test.given).code
    if now != test.code:
        given = ", ".join(f"{name} {value}" for name, value in test.given.items())
        raise RuleFileRefused("test", f"with {given} it answers {now}, its test says {test.code}", test.rule, given)
