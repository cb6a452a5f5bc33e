"""Copies of the rule file with other numbers, rules switched on or off, and what they change. Pure.

A copy that comes into force carries its ``edition``: number, county, who answers for it and why.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync.screening.evaluator import RuleSet
from sync.screening.rule_file import BoundaryTest, RuleFileRefused, conditions, is_number, own_tests

VERIFIED_BY_COUNTY = "verified_by_county"
"""How far a rule was checked that a county's clinician switched on (``verification``)."""


@dataclass(frozen=True, slots=True)
class Turned:
    """A boundary test that answers otherwise under the copy."""

    test: BoundaryTest
    now: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a copy changes. ``what``: "threshold", "switched_on", "switched_off", "words", "cases", "range",
    "added"; ``before`` and ``after`` are shown as they are, ``where`` says which field or case."""

    rule: str
    what: str
    where: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number that a rule compares an input with. ``key`` finds it again: "cases/0/any/1"."""

    key: str
    code: str
    """Of the case it belongs to; empty for the rule's own range of people and for items of a score."""
    field: str
    op: str
    value: float


def thresholds(row: Mapping[str, Any]) -> list[Threshold]:
    """Every number of a rule that a clinician may change, in the order of its cases."""
    return [
        Threshold(f"{where}{inner}", _code_at(row, where), str(part.get("field") or "count"), part["op"], part["value"])
        for where, condition in conditions(row)
        for inner, part in _comparisons(condition, "")
        if part["op"] != "==" and is_number(part.get("value"))
    ]


def _comparisons(condition: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for joint in ("all", "any"):
        if joint in condition:
            for number, part in enumerate(condition[joint]):
                yield from _comparisons(part, f"{path}/{joint}/{number}")
            return
    yield path, condition


def _code_at(row: Mapping[str, Any], where: str) -> str:
    kind, _, number = where.partition("/")
    return str(row["cases"][int(number)]["code"]) if kind == "cases" else ""


def with_thresholds(raw: Mapping[str, Any], rule: str, numbers: Mapping[str, float]) -> dict[str, Any]:
    """A copy in which a rule compares with other numbers.

    :param numbers: by ``Threshold.key``
    :raises RuleFileRefused: no such rule or number
    """
    changed = copy.deepcopy(dict(raw))
    row = _row(changed, rule)
    row.pop("tests", None)  # they spoke of the numbers before
    for key, number in numbers.items():
        parts = key.split("/")
        at: Any = row
        try:
            for part in parts:
                at = at[int(part)] if isinstance(at, list) else at[part]
                at = at["when"] if isinstance(at, dict) and "when" in at else at
            whole = isinstance(at["value"], int) and float(number).is_integer()
        except (KeyError, IndexError, ValueError, TypeError):
            raise RuleFileRefused("condition", f"there is no number at {key[:40]}", rule, key[:40]) from None
        at["value"] = int(number) if whole else number
    return changed


def switched(raw: Mapping[str, Any], rule: str, on: bool, name: str, reason: str, day: str) -> dict[str, Any]:
    """A copy in which a rule is on, with the name of who checked it and why; or off.

    :param day: YYYY-MM-DD
    """
    changed = copy.deepcopy(dict(raw))
    row = _row(changed, rule)
    row["enabled"] = on
    if on and row["verification"] in ("not_verified_here", VERIFIED_BY_COUNTY):
        row["verification"] = VERIFIED_BY_COUNTY
        row["verified_by"] = {"name": name, "reason": reason, "on": day}
    return changed


def with_edition(raw: Mapping[str, Any], number: int, name: str, reason: str, county: str) -> dict[str, Any]:
    """A copy that says which edition of which county it is, who answers for it and why.

    Where shipped tests answer otherwise under a changed rule, what they answer now becomes the rule's own tests: the
    person who signs has seen them (``turned``). A rule that brings tests of its own keeps them.
    """
    changed = copy.deepcopy(dict(raw))
    changed["edition"] = {"number": number, "name": name, "reason": reason, "county": county}
    rules = RuleSet(changed)
    turned_rules = {one.test.rule for one in turned(changed)}
    for row in changed["rules"]:
        if row["id"] in turned_rules and "tests" not in row:
            listed = [test for test in own_tests(raw) if test.rule == row["id"]]
            row["tests"] = [
                {"in": dict(test.given), "code": rules.evaluate(test.rule, test.given).code} for test in listed
            ]
    return changed


def turned(raw: Mapping[str, Any]) -> list[Turned]:
    """Tests that answer otherwise under this file than they say."""
    rules = RuleSet(raw)
    answers = ((test, rules.evaluate(test.rule, test.given).code) for test in own_tests(raw))
    return [Turned(test, now) for test, now in answers if now != test.code]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """What ``after`` changes, rule by rule, and inputs whose range differs."""
    old = {row["id"]: row for row in before["rules"]}
    found: list[Difference] = []
    for row in after["rules"]:
        if row["id"] not in old:
            found.append(Difference(row["id"], "added"))
        else:
            found += _row_differences(old[row["id"]], row)
    for name, field in after["fields"].items():
        was, now = before["fields"].get(name, {}).get("range"), field.get("range")
        if was != now:
            found.append(Difference("", "range", name, _shown(was), _shown(now)))
    return found


def _row_differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    rule = now["id"]
    found = []
    if _is_on(was) != _is_on(now):
        name = now.get("verified_by", {}).get("name", "")
        found.append(Difference(rule, "switched_on" if _is_on(now) else "switched_off", after=name))
    old = {one.key: one for one in thresholds(was)}
    new = {one.key: one for one in thresholds(now)}
    if _without_numbers(_decided(was)) != _without_numbers(_decided(now)):
        return [*found, Difference(rule, "cases")]
    for key, one in new.items():
        if old[key].value != one.value:
            where = f"{one.field} {one.op}"
            found.append(Difference(rule, "threshold", where, _shown(old[key].value), _shown(one.value)))
    says = ("title_zh", "result_zh", "result_en", "advice_zh", "advice_en", "level")
    cases = zip([*was["cases"], was.get("default") or {}], [*now["cases"], now.get("default") or {}], strict=True)
    for one_was, one_now in cases:
        for name in says:
            if one_was.get(name) != one_now.get(name):
                where = f"{one_now.get('code', '')} {name}"
                found.append(Difference(rule, "words", where, _shown(one_was.get(name)), _shown(one_now.get(name))))
    rest = {*was, *now} - {"cases", "default", "enabled", "verification", "verified_by", "tests", "applies", "items"}
    other = sorted(name for name in rest if was.get(name) != now.get(name))
    if other:
        found.append(Difference(rule, "words", ", ".join(other)))
    return found


def _decided(row: Mapping[str, Any]) -> list[Any]:
    """Everything that decides what a rule answers."""
    cases = [(case.get("code"), case.get("when")) for case in (*row["cases"], row.get("default") or {})]
    return [row.get("applies"), row.get("items"), cases]


def _without_numbers(part: Any) -> Any:
    """The same with the numbers left out that ``thresholds`` tells of."""
    if isinstance(part, Mapping):
        left_out = "value" if part.get("op") != "==" and is_number(part.get("value")) else None
        return {key: _without_numbers(inner) for key, inner in part.items() if key != left_out}
    return [_without_numbers(inner) for inner in part] if isinstance(part, list | tuple) else part


def _is_on(row: Mapping[str, Any]) -> bool:
    return bool(row.get("enabled", True)) and row["verification"] != "not_verified_here"


def _row(raw: Mapping[str, Any], rule: str) -> dict[str, Any]:
    for row in raw["rules"]:
        if row["id"] == rule:
            found: dict[str, Any] = row
            return found
    raise RuleFileRefused("rule", "there is no such rule", rule[:40])


def _shown(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "-".join(map(_shown, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
