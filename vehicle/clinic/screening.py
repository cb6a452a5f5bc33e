"""Ask one screening rule from the command line, and the van's name for the evaluator (``sync.screening.evaluator``).

    python -m vehicle.clinic.screening BP-GRADE '{"age": 58, "sbp": 182, "dbp": 96}'
    python -m vehicle.clinic.screening BP-GRADE '{"age": 58, "sbp": 182, "dbp": 96}' --rules county-rules.json

Prints one JSON object on one line; its keys are those of ``Result`` and title, source, verification, disclaimer.
Exit 2 with the reason on stderr when the question cannot be read: unknown rule, bad JSON, unknown input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from sync.screening.evaluator import (
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
    Rule,
    RuleSet,
    Source,
    UnknownRule,
    read_rules,
    shipped_rules,
)

__all__ = [
    "DISCLAIMER",
    "GRADES",
    "INSUFFICIENT",
    "INVALID",
    "NONE",
    "NOT_APPLICABLE",
    "NO_ANSWER",
    "Field",
    "Inputs",
    "Result",
    "Rule",
    "RuleSet",
    "Source",
    "UnknownRule",
    "main",
    "read_rules",
    "shipped_rules",
]

USAGE = 'usage: python -m vehicle.clinic.screening RULE \'{"sbp": 182, "dbp": 96, "age": 58}\' [--rules FILE]'


def main(arguments: Sequence[str]) -> int:
    """0 with the answer as JSON on stdout; 2 with what is wrong with the question on stderr."""
    if len(arguments) not in (2, 4) or (len(arguments) == 4 and arguments[2] != "--rules"):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        rules = read_rules(Path(arguments[3]).read_text("utf-8")) if len(arguments) == 4 else shipped_rules()
        answer = _answer(rules, arguments[0], _inputs(arguments[1]))
    except (OSError, ValueError, UnknownRule) as fault:
        print(f"cannot ask: {fault if isinstance(fault, OSError) else fault.args[0]}", file=sys.stderr)
        return 2
    print(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    return 0


def _inputs(text: str) -> Mapping[str, Any]:
    """:raises ValueError: not one JSON object of numbers, texts, true, false and null"""
    try:
        inputs = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as fault:
        raise ValueError(f"the inputs are no JSON: {fault}") from None
    except RecursionError:
        raise ValueError("the inputs are no JSON object of plain values") from None
    if not isinstance(inputs, dict):
        raise ValueError('the inputs must be one JSON object, field name to value: {"sbp": 182}')
    for name, given in inputs.items():
        if isinstance(given, dict | list):
            raise ValueError(f"{name} must be a number, a text, true, false or null")
    return inputs


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number; leave out what was not measured")


def _answer(rules: RuleSet, rule_id: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """:raises UnknownRule, ValueError: no such rule, or an input no rule knows"""
    rule = rules.rule(rule_id)
    unknown = sorted(set(inputs) - set(rules.fields))
    if unknown:
        raise ValueError(f"no field {', '.join(unknown)}; {rule.id} asks for {', '.join(rule.inputs)}")
    answer = asdict(rules.evaluate(rule.id, inputs))
    answer |= {"title_zh": rule.title_zh, "verification": rule.verification, "enabled": rule.enabled}
    return answer | {"source": [asdict(source) for source in rule.sources], "disclaimer_zh": DISCLAIMER["zh"]}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
