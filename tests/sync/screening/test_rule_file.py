"""A county's copy of the rule file: what is refused, what it changes in words, packed and read again, replayed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from sync.screening.evaluator import RuleSet, shipped_rules
from sync.screening.replay import DIFFERENT, SAME, UNKNOWN_VERSION, Replay, Stored, summary
from sync.screening.rule_changes import (
    Difference,
    differences,
    switched,
    thresholds,
    turned,
    with_edition,
    with_thresholds,
)
from sync.screening.rule_file import (
    RuleFileRefused,
    canonical,
    check,
    own_tests,
    pack,
    read,
    sha256_of,
    shipped_raw,
    shipped_text,
    unpack,
)

Change = Callable[[dict[str, Any]], object]


def row(raw: dict[str, Any], rule: str) -> dict[str, Any]:
    return next(one for one in raw["rules"] if one["id"] == rule)


def test_the_shipped_file_can_be_asked_and_answers_its_282_tests() -> None:
    rules = check(shipped_raw())
    assert len(rules.rules) == 30
    assert len(own_tests(shipped_raw())) == 282
    assert turned(shipped_raw()) == []


BROKEN: dict[str, tuple[str, Change]] = {
    # what somebody did to the file: the word for it
    "another schema": ("schema", lambda raw: raw.update(schema="screening-rules/2")),
    "no rules": ("schema", lambda raw: raw.pop("rules")),
    "a rule removed": ("rule_lost", lambda raw: raw["rules"].pop(0)),
    "a range turned round": ("range", lambda raw: raw["fields"]["sbp"].update(range=[300, 50])),
    "a field of another type": ("field", lambda raw: raw["fields"]["sbp"].update(type="text")),
    "an input that is not there": ("input", lambda raw: row(raw, "BP-GRADE")["inputs"].append("sbb")),
    "a condition on an input the rule has not": (
        "input",
        lambda raw: row(raw, "BP-GRADE")["cases"][0]["when"]["any"][0].update(field="glu"),
    ),
    "a comparison that is not there": (
        "condition",
        lambda raw: row(raw, "BP-GRADE")["cases"][0]["when"]["any"][0].update(op="=>"),
    ),
    "a threshold in words": (
        "condition",
        lambda raw: row(raw, "BP-GRADE")["cases"][0]["when"]["any"][0].update(value="180"),
    ),
    "a yes or no that is more than five": (
        "condition",
        lambda raw: row(raw, "AF-SCREEN")["cases"][0]["when"].update(op=">=", value=5),
    ),
    "points in words": ("unreadable", lambda raw: row(raw, "COPD-SQ")["items"][0]["options"][0].update(points="ten")),
    "items without options": ("unreadable", lambda raw: row(raw, "COPD-SQ")["items"][0].pop("options")),
    "a list for a condition's field": (
        "unreadable",
        lambda raw: row(raw, "BP-GRADE")["cases"][0]["when"]["any"][0].update(field=["sbp"]),
    ),
    "no cases": ("unreadable", lambda raw: row(raw, "BP-GRADE").update(cases=None)),
    "a source that is not there": ("source", lambda raw: row(raw, "BP-GRADE").update(source=["HEARSAY"])),
    "a level beyond red": ("case", lambda raw: row(raw, "BP-GRADE")["cases"][0].update(level=4)),
    "a threshold without new tests": (
        "test",
        lambda raw: row(raw, "BP-GRADE")["cases"][0]["when"]["any"][0].update(value=185),
    ),
    "tests of its own that fail": (
        "test",
        lambda raw: row(raw, "BMI-CN").update(tests=[{"in": {"bmi": 22.0, "age": 40}, "code": "OBESE"}]),
    ),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_file_that_cannot_come_into_force_is_refused_by_name(what: str) -> None:
    problem, change = BROKEN[what]
    raw = shipped_raw()
    change(raw)
    with pytest.raises(RuleFileRefused) as refused:
        check(raw)
    assert refused.value.problem == problem


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": NaN}', "[" * 100_000])
def test_what_is_no_rule_file_is_refused(text: str) -> None:
    with pytest.raises(RuleFileRefused):
        read(text)


def test_other_numbers_are_said_in_words_and_by_the_tests_they_turn() -> None:
    raw = shipped_raw()
    first = thresholds(row(raw, "BP-GRADE"))[1]
    assert (first.field, first.op, first.value, first.code) == ("sbp", ">=", 180, "HTN3")
    changed = with_thresholds(raw, "BP-GRADE", {first.key: 185})
    assert differences(raw, changed) == [Difference("BP-GRADE", "threshold", "sbp >=", "180", "185")]
    assert {(one.test.code, one.now) for one in turned(changed)} == {("HTN3", "HTN2")}
    assert raw == shipped_raw()
    dressed = with_edition(changed, 1, "Dr Li", "local study", "county.qingyu.example")
    rules = check(dressed)
    assert rules.evaluate("BP-GRADE", {"sbp": 182, "dbp": 80, "age": 50}).code == "HTN2"
    assert rules.rule("BP-GRADE").version != shipped_rules().rule("BP-GRADE").version
    assert rules.rule("BP-URGENT").version == shipped_rules().rule("BP-URGENT").version
    again = with_thresholds(dressed, "BP-GRADE", {first.key: 180})
    assert check(again).rule("BP-GRADE").version == shipped_rules().rule("BP-GRADE").version


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("BP-GRADE", lambda one: one["cases"][0]["when"]["any"][0].update(op=">")),
        ("BP-GRADE", lambda one: one["cases"][0]["when"]["any"].pop()),
        ("BP-GRADE", lambda one: one["applies"].update(field="sbp")),
        ("BP-FIRST", lambda one: one["cases"][0]["when"]["all"][0].update(value=True)),
        ("COPD-SQ", lambda one: one["items"][0]["options"][0].update(points=1)),
        ("ECHINO-CE", lambda one: one["cases"][0]["when"]["value"].remove("CE2")),
        ("SPO2", lambda one: one["cases"][0].update(code="LOWER")),
    ],
    ids=["operator", "a condition less", "whom it is for", "yes for no", "points", "a stage less", "code"],
)
def test_no_change_of_what_a_rule_decides_is_passed_over(rule: str, change: Change) -> None:
    changed = shipped_raw()
    change(row(changed, rule))
    assert differences(shipped_raw(), changed) == [Difference(rule, "cases")]


def test_a_number_that_is_not_there_is_refused() -> None:
    for key in ("cases/99/any/0", "cases/0", "nowhere", "cases/0/any/0/field"):
        with pytest.raises(RuleFileRefused):
            with_thresholds(shipped_raw(), "BP-GRADE", {key: 1.0})


def test_an_unchecked_rule_is_switched_on_with_a_name_and_a_reason() -> None:
    raw = shipped_raw()
    assert not RuleSet(raw).rule("TEMP").enabled
    on = switched(raw, "TEMP", True, "Dr Li", "checked against the guideline", "2026-09-01")
    assert [one.what for one in differences(raw, on)] == ["switched_on"]
    assert check(on).rule("TEMP").enabled
    assert row(on, "TEMP")["verified_by"] == {
        "name": "Dr Li",
        "reason": "checked against the guideline",
        "on": "2026-09-01",
    }
    off = switched(on, "TEMP", False, "", "", "2026-09-02")
    assert [one.what for one in differences(on, off)] == ["switched_off"]
    assert not check(off).rule("TEMP").enabled


def test_packed_and_read_again_it_is_the_same_and_nothing_else() -> None:
    text = shipped_text()
    packed = pack(text)
    assert len(packed) < 40_000
    assert unpack(packed, sha256_of(text)) == text
    with pytest.raises(RuleFileRefused, match="SHA-256"):
        unpack(packed, sha256_of(text + " "))
    for broken in ("", "!!", packed[:-40], packed[:100] + "A" * 40):
        with pytest.raises(RuleFileRefused):
            unpack(broken, sha256_of(text))


def stored(rules: RuleSet, rule: str, given: dict[str, Any]) -> Stored:
    said = rules.evaluate(rule, given)
    inputs = {name: repr(one) if isinstance(one, float) else one for name, one in said.inputs.items()}
    level = ("green", "yellow", "orange", "red")[said.level] if said.level is not None else "none"
    return Stored("r1", rule, said.rule_version, inputs, said.code, level)


def test_a_result_is_replayed_under_the_version_it_names() -> None:
    raw = shipped_raw()
    key = thresholds(row(raw, "BP-GRADE"))[1].key
    edited = with_edition(with_thresholds(raw, "BP-GRADE", {key: 185}), 1, "Dr Li", "study", "county.qingyu.example")
    old, new = shipped_rules(), check(edited)
    given = {"sbp": 182, "dbp": 80, "age": 50}
    before, after = stored(old, "BP-GRADE", given), stored(new, "BP-GRADE", given)
    assert (before.code, after.code) == ("HTN3", "HTN2")
    both = Replay([old, new])
    assert [both.ask(one).outcome for one in (before, after)] == [SAME, SAME]
    assert Replay([old]).ask(after).outcome == UNKNOWN_VERSION
    changed = Stored(before.result, before.rule, before.rule_version, before.inputs, "NORMAL", "green")
    assert both.ask(changed).outcome == DIFFERENT
    decimals = stored(old, "GLU-SCREEN", {"fpg": 6.4, "known_dm": False, "dm_symptoms": False})
    assert both.ask(decimals).outcome == SAME
    told, same = summary([both.ask(before), both.ask(changed)])
    assert not same
    assert told.splitlines() == [
        f"r1 BP-GRADE {before.rule_version} NORMAL: different, now HTN3",
        "2 results replayed: 1 same, 1 different, 0 of a rule version that is not at hand",
    ]


def test_the_written_form_does_not_depend_on_the_order_of_keys() -> None:
    raw = shipped_raw()
    turned_round = copy.deepcopy({key: raw[key] for key in reversed(list(raw))})
    assert canonical(raw) == canonical(turned_round)
    assert json.loads(canonical(raw)) == raw
