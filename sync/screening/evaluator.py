"""Screening rules as data, and the evaluator that answers them. Pure: no clock, no store, no I/O but the rule file.

Three-valued (Kleene) logic: a comparison with a missing input is neither true nor false. A rule is answered in the
order *applies, range check, cases, required*:

- ``applies`` false: NOT_APPLICABLE; not decidable: INSUFFICIENT, naming what is missing.
- an input outside its field's range or of the wrong type: INVALID, naming it.
- the first case that is certainly true answers, when every case before it is certainly false: this holds whatever else
  is missing (200 mmHg is urgent without a single question asked).
- a true case behind an undecided one answers as ``incomplete`` (a more severe case could not be excluded), but only
  when no required input is missing.
- otherwise INSUFFICIENT if anything needed is missing, else the rule's default, else NONE. Never "normal" by omission.

Rule data: ``rules/screening-rules.json`` (schema screening-rules/1); sources, their status and notes stand in it. A
county's copy of it is of the same schema (``sync.screening.rule_file``).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

Inputs = Mapping[str, object]
Condition = Mapping[str, Any]

NOT_APPLICABLE = "NOT_APPLICABLE"
INSUFFICIENT = "INSUFFICIENT"
INVALID = "INVALID"
NONE = "NONE"
"""No case holds, all were decidable, and the rule has no default: it makes no statement."""

NO_ANSWER = frozenset({NOT_APPLICABLE, INSUFFICIENT, INVALID, NONE})
GRADES = ("green", "yellow", "orange", "red")
"""Colour of level 0, 1, 2, 3."""

DISCLAIMER = {"zh": "筛查提示，不作为诊断依据", "en": "Screening prompt, not a basis for diagnosis"}
MG_DL_PER_MMOL_L = 38.67
"""Cholesterol, for the China-PAR formula, which was fitted in mg/dL."""


@dataclass(frozen=True, slots=True)
class Field:
    """One input a rule may ask for; ``low`` and ``high`` bound what a person or device can plausibly give."""

    name: str
    type: str
    """"number", "boolean" or "code"."""
    label_zh: str
    unit: str
    low: float | None = None
    high: float | None = None

    def accepts(self, given: object) -> bool:
        if self.type == "boolean":
            return isinstance(given, bool)
        if self.type == "code":
            return isinstance(given, str)
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
            return False
        return (self.low is None or given >= self.low) and (self.high is None or given <= self.high)


@dataclass(frozen=True, slots=True)
class Source:
    id: str
    title: str
    where: str
    status: str
    """How far the text was checked: verified, verified_secondary_page, partly_verified, ..., not_verified_here."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the rule file. ``body`` is the row itself: cases, items, models, applies, default."""

    id: str
    title_zh: str
    kind: str
    """"first_match", "score" or "formula"."""
    inputs: tuple[str, ...]
    required: tuple[str, ...]
    sources: tuple[Source, ...]
    verification: str
    enabled: bool
    """As the file ships it; a county's settings may switch it (see ``RuleSet.switched_on``)."""
    version: str
    """Date of the rule file and the first 12 hex digits of SHA-256 over the row (without its tests) and the ranges of
    its inputs: a rule that a county leaves as it is keeps its version."""
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The answer of one rule. ``level`` 0..3 (green..red), None where the code is in ``NO_ANSWER``."""

    rule: str
    rule_version: str
    code: str
    level: int | None
    result_zh: str
    result_en: str
    advice_zh: str
    advice_en: str
    incomplete: bool
    """An earlier, more severe case could not be excluded because an input is missing."""
    missing: tuple[str, ...]
    """Fields without which the answer is absent or incomplete, in the order of the rule's inputs."""
    invalid: tuple[str, ...]
    inputs: dict[str, object]
    """What was given of the rule's inputs, for the record and for replay."""
    score: int | None = None
    risk_percent: float | None = None


class UnknownRule(KeyError):
    """No rule of that id in the file."""


class RuleSet:
    """The rules, fields and sources of one rule file, ready to be asked."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        if raw.get("schema") != "screening-rules/1":
            raise ValueError(f"rule file of schema {raw.get('schema')!r}; this evaluator reads screening-rules/1")
        self.generated = str(raw["generated"])
        self.fields = {name: _field(name, row) for name, row in raw["fields"].items()}
        self._sources = {
            key: Source(key, row["title"], row["where"], row["status"]) for key, row in raw["sources"].items()
        }
        self.rules = {row["id"]: self._rule(row, raw["fields"]) for row in raw["rules"]}

    def _rule(self, row: Mapping[str, Any], fields: Mapping[str, Any]) -> Rule:
        ranges = {name: fields[name].get("range") for name in row["inputs"]}
        says = {key: part for key, part in row.items() if key != "tests"}
        canonical = json.dumps([says, ranges], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return Rule(
            id=row["id"],
            title_zh=row["title_zh"],
            kind=row["kind"],
            inputs=tuple(row["inputs"]),
            required=tuple(row.get("required", ())),
            sources=tuple(self._sources[key] for key in row["source"]),
            verification=row["verification"],
            enabled=bool(row.get("enabled", True)) and row["verification"] != "not_verified_here",
            version=f"{self.generated}/{hashlib.sha256(canonical.encode()).hexdigest()[:12]}",
            body=row,
        )

    def rule(self, rule_id: str) -> Rule:
        """:raises UnknownRule: names the rules there are"""
        try:
            return self.rules[rule_id]
        except KeyError:
            raise UnknownRule(f"no rule {rule_id!r}; there are: {', '.join(self.rules)}") from None

    def switched_on(self, on: Iterable[str] = (), off: Iterable[str] = ()) -> tuple[Rule, ...]:
        """The rules in force: those enabled in the file, plus ``on``, minus ``off`` (ids from the county's settings).

        :raises UnknownRule: a setting names a rule that does not exist
        """
        more, less = ({self.rule(rule_id).id for rule_id in ids} for ids in (on, off))
        return tuple(rule for rule in self.rules.values() if (rule.enabled or rule.id in more) and rule.id not in less)

    def evaluate(self, rule_id: str, inputs: Inputs) -> Result:
        """Answer one rule. ``inputs``: field name to number, bool or code; None or absent means missing.

        Inputs the rule does not ask for are ignored.

        :raises UnknownRule: no such rule
        """
        return _Asked(self.rule(rule_id), self.fields, inputs).answer()

    def ladder(self, rule_id: str, field: str, given: Inputs | None = None) -> list[tuple[float, int | None]]:
        """The steps of one input of a rule, for drawing: (bound, level from this bound upwards), ascending.

        The first bound is the low end of the field's range. Conditions on other fields count only as far as ``given``
        decides them. Two neighbouring steps of one level stay apart when they are different grades (140 and 160 mmHg).

        :raises UnknownRule: no such rule
        """
        rule = self.rule(rule_id)
        kind = self.fields[field]
        low = kind.low if kind.low is not None else 0.0
        high = kind.high if kind.high is not None else math.inf
        cuts = sorted({cut for case in rule.body["cases"] for cut in _cuts(case["when"], field, given or {})})
        bounds = [low, *(cut for cut in cuts if low < cut <= high)]
        steps: list[tuple[float, int | None]] = []
        code_before: str | None = None
        for bound, following in zip(bounds, [*bounds[1:], high], strict=True):
            inside = (bound + following) / 2 if math.isfinite(following) else bound + 1.0
            case = _case_of_one(rule.body, field, inside, given or {})
            code = case["code"] if case else NONE
            if code != code_before:
                steps.append((float(bound), int(case["level"]) if case else None))
            code_before = code
        return steps


def read_rules(text: str) -> RuleSet:
    """:raises ValueError: not JSON, of another schema, or a part is missing (``rule_file.check`` says where)"""
    raw = json.loads(text)
    if not isinstance(raw, Mapping):
        raise ValueError("a rule file is one JSON object of schema screening-rules/1")
    try:
        return RuleSet(raw)
    except (KeyError, TypeError, AttributeError) as fault:
        raise ValueError(f"the rule file cannot be read: {type(fault).__name__} {fault}") from None


def shipped_rules() -> RuleSet:
    """The rule file of this package."""
    file = resources.files("sync.screening") / "rules" / "screening-rules.json"
    return read_rules(file.read_text(encoding="utf-8"))


def _field(name: str, row: Mapping[str, Any]) -> Field:
    low, high = row.get("range", (None, None))
    return Field(name, row["type"], row["label_zh"], row["unit"], low, high)


class _Asked:
    """One rule asked once."""

    def __init__(self, rule: Rule, fields: Mapping[str, Field], inputs: Inputs) -> None:
        self._rule = rule
        self._fields = fields
        self._given = {name: inputs[name] for name in rule.inputs if inputs.get(name) is not None}
        self._score: tuple[int, int] | None = None
        self._risk: float | None = None

    def answer(self) -> Result:
        body = self._rule.body
        applies = self._kleene(body["applies"]) if "applies" in body else True
        if applies is False:
            return self._none(NOT_APPLICABLE)
        invalid = [name for name, given in self._given.items() if not self._fields[name].accepts(given)]
        if invalid:
            return self._none(INVALID, invalid=invalid)
        if applies is None:
            return self._none(INSUFFICIENT, missing=_fields_in(body["applies"]))
        self._compute()
        return self._first_match()

    def _compute(self) -> None:
        if self._rule.kind == "score":
            spans = [self._points(item) for item in self._rule.body["items"]]
            self._score = (sum(low for low, _ in spans), sum(high for _, high in spans))
        elif self._rule.kind == "formula" and not self._missing(self._rule.required):
            self._risk = _china_par_risk_percent(self._rule.body["models"], self._given)

    def _first_match(self) -> Result:
        lacking = self._missing(self._rule.required)
        undecided: list[Condition] = []
        for case in self._rule.body["cases"]:
            truth = self._kleene(case["when"])
            if truth is None:
                undecided.append(case["when"])
            elif truth:
                if undecided and lacking:
                    break
                return self._matched(case, undecided)
        if lacking or undecided:
            return self._none(INSUFFICIENT, missing=[*lacking, *self._wanted(undecided)])
        default = self._rule.body.get("default")
        return self._matched(default, []) if default else self._none(NONE)

    def _wanted(self, undecided: Iterable[Condition]) -> list[str]:
        """The fields an undecided case hangs on; a computed number hangs on everything it is computed from."""
        names = [name for condition in undecided for name in _fields_in(condition)]
        return list(self._rule.inputs) if {"score", "risk"} & set(names) else names

    def _missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._given]

    def _points(self, item: Mapping[str, Any]) -> tuple[int, int]:
        """Least and most points this item can give, by what is known."""
        possible: list[int] = []
        for option in item["options"]:
            truth = self._kleene(option["when"])
            if truth is not False:
                possible.append(option["points"])
            if truth:
                break
        return (min(possible), max(possible)) if possible else (0, 0)

    def _kleene(self, condition: Condition) -> bool | None:
        return truth(condition, self._given, self._score, self._risk)

    def _matched(self, case: Mapping[str, Any], undecided: Sequence[Condition]) -> Result:
        return Result(
            rule=self._rule.id,
            rule_version=self._rule.version,
            code=case["code"],
            level=int(case["level"]),
            result_zh=case["result_zh"],
            result_en=case["result_en"],
            advice_zh=_said(case["advice_zh"]),
            advice_en=_said(case["advice_en"]),
            incomplete=bool(undecided),
            missing=self._in_order(self._wanted(undecided)),
            invalid=(),
            inputs=dict(self._given),
            score=self._exact_score(),
            risk_percent=None if self._risk is None else round(self._risk, 1),
        )

    def _none(self, code: str, missing: Iterable[str] = (), invalid: Iterable[str] = ()) -> Result:
        return Result(
            rule=self._rule.id,
            rule_version=self._rule.version,
            code=code,
            level=None,
            result_zh="",
            result_en="",
            advice_zh="",
            advice_en="",
            incomplete=False,
            missing=self._in_order(missing),
            invalid=tuple(invalid),
            inputs=dict(self._given),
        )

    def _exact_score(self) -> int | None:
        return self._score[0] if self._score is not None and self._score[0] == self._score[1] else None

    def _in_order(self, names: Iterable[str]) -> tuple[str, ...]:
        wanted = set(self._missing(names))
        return tuple(name for name in self._rule.inputs if name in wanted)


def truth(
    condition: Condition, given: Inputs, score: tuple[int, int] | None = None, risk: float | None = None
) -> bool | None:
    """Kleene truth of one condition: None where only inputs that are missing decide.

    :param score: least and most points, where a condition may ask for "score"
    :param risk: percent, where a condition may ask for "risk"
    """
    if "all" in condition:
        truths = [truth(part, given, score, risk) for part in condition["all"]]
        return False if False in truths else (None if None in truths else True)
    if "any" in condition:
        truths = [truth(part, given, score, risk) for part in condition["any"]]
        return True if True in truths else (None if None in truths else False)
    if "count" in condition:
        told = [given.get(name) for name in condition["count"]]
        least = sum(1 for said in told if said is True)
        return _compare_span(least, least + told.count(None), condition["op"], condition["value"])
    if "absdiff" in condition:
        first, second = (given.get(name) for name in condition["absdiff"])
        if first is None or second is None:
            return None
        return _compare(abs(first - second), condition["op"], condition["value"])  # type: ignore[operator]
    name, op = condition["field"], condition["op"]
    if name == "score" and score is not None:
        return _compare_span(*score, op, condition["value"])
    found = risk if name == "risk" else given.get(name)
    against = given.get(condition["value_field"]) if "value_field" in condition else condition["value"]
    return None if found is None or against is None else _compare(found, op, against)


def _said(advice: str) -> str:
    return "" if advice == "-" else advice


def _compare(given: Any, op: str, against: Any) -> bool:
    match op:
        case ">=":
            return bool(given >= against)
        case ">":
            return bool(given > against)
        case "<=":
            return bool(given <= against)
        case "<":
            return bool(given < against)
        case "==":
            return bool(given == against)
        case "in":
            return given in against
    raise ValueError(f"rule file uses the comparison {op!r}, which is not one of >= > <= < == in")


def _compare_span(least: int, most: int, op: str, against: int) -> bool | None:
    """The comparison of a whole number that lies somewhere in least..most."""
    truths = {_compare(number, op, against) for number in range(least, most + 1)}
    return truths.pop() if len(truths) == 1 else None


def _fields_in(condition: Condition) -> list[str]:
    """Every field a condition mentions."""
    for joint in ("all", "any"):
        if joint in condition:
            return [name for part in condition[joint] for name in _fields_in(part)]
    for listing in ("count", "absdiff"):
        if listing in condition:
            return list(condition[listing])
    return [condition[key] for key in ("field", "value_field") if key in condition]


def _china_par_risk_percent(models: Mapping[str, Any], given: Inputs) -> float:
    """10-year ASCVD risk, 0..100 (Yang X et al., Circulation 2016;134:1430, supplement): 1 - S10^exp(sum - mean)."""
    model = models[str(given["sex"])]
    terms: dict[str, float] = {
        name: float(bool(given[name])) for name in ("smoker", "diabetes", "north", "urban", "fh_ascvd")
    }
    for name in ("age", "sbp", "waist"):
        terms[f"ln_{name}"] = math.log(float(given[name]))  # type: ignore[arg-type]
    for name in ("tc", "hdl"):
        terms[f"ln_{name}"] = math.log(float(given[name]) * MG_DL_PER_MMOL_L)  # type: ignore[arg-type]
    total = sum(beta * math.prod(terms[part] for part in term.split("*")) for term, beta in model["beta"].items())
    return float((1.0 - model["s0"] ** math.exp(total - model["mean"])) * 100.0)


def _cuts(condition: Condition, field: str, given: Inputs) -> list[float]:
    """The numbers one field is compared with in a condition."""
    for joint in ("all", "any"):
        if joint in condition:
            return [cut for part in condition[joint] for cut in _cuts(part, field, given)]
    if condition.get("field") != field:
        return []
    cut = given.get(condition["value_field"]) if "value_field" in condition else condition["value"]
    return [float(cut)] if isinstance(cut, int | float) and not isinstance(cut, bool) else []


def _case_of_one(body: Mapping[str, Any], field: str, at: float, given: Inputs) -> Mapping[str, Any] | None:
    """The case that one field alone brings about at the number ``at``."""
    for case in body["cases"]:
        if field in _fields_in(case["when"]) and _alone(case["when"], field, at, given):
            return dict(case)
    return body.get("default")


def _alone(condition: Condition, field: str, at: float, given: Inputs) -> bool | None:
    """Truth by one field; None where only fields that nobody gave decide, which ``any`` and ``all`` then leave out."""
    for joint, neutral in (("all", all), ("any", any)):
        if joint in condition:
            truths = [t for part in condition[joint] if (t := _alone(part, field, at, given)) is not None]
            return neutral(truths) if truths else None
    names = _fields_in(condition)
    known = {**given, field: at}
    if any(known.get(name) is None for name in names) or "field" not in condition:
        return None
    against = known[condition["value_field"]] if "value_field" in condition else condition["value"]
    return _compare(known[condition["field"]], condition["op"], against)
