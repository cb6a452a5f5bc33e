"""A stored screening result asked again: the same inputs under the same version of its rule. Pure.

A result names rule and version. The row of that version is looked for in every rule file at hand; where it stands, the
answer must be the same, or somebody changed the record, the file or the evaluator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sync.screening.evaluator import GRADES, Result, RuleSet

SAME, DIFFERENT, UNKNOWN_VERSION = "same", "different", "unknown_version"


@dataclass(frozen=True, slots=True)
class Stored:
    """A result as the record holds it; ``inputs`` as written: decimals as text."""

    result: str
    rule: str
    rule_version: str
    inputs: Mapping[str, Any]
    code: str
    level: str
    """green, yellow, orange, red or none."""


@dataclass(frozen=True, slots=True)
class Replayed:
    stored: Stored
    outcome: str
    """``SAME``, ``DIFFERENT`` or ``UNKNOWN_VERSION``."""
    now: Result | None = None

    def __str__(self) -> str:
        one = self.stored
        head = f"{one.result} {one.rule} {one.rule_version} {one.code}"
        return f"{head}: {self.outcome}" + (f", now {self.now.code}" if self.now and self.outcome != SAME else "")


class Replay:
    """:param files: every rule file at hand, shipped ones and the county's editions"""

    def __init__(self, files: Iterable[RuleSet]) -> None:
        self._by_version: dict[tuple[str, str], RuleSet] = {}
        for rules in files:
            for rule in rules.rules.values():
                self._by_version.setdefault((rule.id, rule.version), rules)

    def ask(self, stored: Stored) -> Replayed:
        rules = self._by_version.get((stored.rule, stored.rule_version))
        if rules is None:
            return Replayed(stored, UNKNOWN_VERSION)
        given = {name: _as_given(rules, name, said) for name, said in stored.inputs.items()}
        now = rules.evaluate(stored.rule, given)
        level = "none" if now.level is None else GRADES[now.level]
        return Replayed(stored, SAME if (now.code, level) == (stored.code, stored.level) else DIFFERENT, now)


def summary(replayed: Iterable[Replayed]) -> tuple[str, bool]:
    """Lines for people, those that are not the same one by one; and whether all are the same."""
    counts: dict[str, int] = {SAME: 0, DIFFERENT: 0, UNKNOWN_VERSION: 0}
    lines = []
    for one in replayed:
        counts[one.outcome] += 1
        if one.outcome != SAME:
            lines.append(str(one))
    total = sum(counts.values())
    lines.append(
        f"{total} results replayed: {counts[SAME]} same, {counts[DIFFERENT]} different, "
        f"{counts[UNKNOWN_VERSION]} of a rule version that is not at hand"
    )
    return "\n".join(lines), counts[SAME] == total


def _as_given(rules: RuleSet, name: str, said: object) -> object:
    field = rules.fields.get(name)
    return float(said) if isinstance(said, str) and field is not None and field.type == "number" else said
