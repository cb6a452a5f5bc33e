"""Every boundary of the rule file, and what the evaluator promises about missing, wrong and partial inputs."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from vehicle.clinic.screening import NO_ANSWER, UnknownRule, main, shipped_rules

RULE_FILES = Path(__file__).parents[2] / "sync" / "screening" / "rules"
BOUNDARIES: dict[str, list[dict[str, Any]]] = json.loads((RULE_FILES / "screening-boundaries.json").read_text("utf-8"))
SHARED_RULES = Path(__file__).parents[2].parent / "shared" / "data" / "screening-rules.json"
RULES = shipped_rules()


@pytest.mark.parametrize(
    ("rule", "case"),
    [(rule, case) for rule, cases in BOUNDARIES.items() for case in cases],
    ids=[f"{rule}-{number}-{case['code']}" for rule, cases in BOUNDARIES.items() for number, case in enumerate(cases)],
)
def test_boundary(rule: str, case: dict[str, Any]) -> None:
    result = RULES.evaluate(rule, case["in"])
    assert result.code == case["code"]
    if "score" in case:
        assert result.score == case["score"]
    if "risk" in case:
        assert result.risk_percent == pytest.approx(case["risk"], abs=0.05)


def test_every_boundary_of_the_file_is_held_here() -> None:
    assert sum(len(cases) for cases in BOUNDARIES.values()) == 282
    assert set(BOUNDARIES) <= set(RULES.rules)
    assert len(RULES.rules) == 30


def test_shipped_rules_are_the_agreed_ones() -> None:
    if not SHARED_RULES.exists():
        pytest.skip("skipped: no ../shared")
    agreed = json.loads(SHARED_RULES.read_text("utf-8"))
    tests = {row["id"]: row.pop("tests") for row in agreed["rules"] if "tests" in row}
    shipped = json.loads((RULE_FILES / "screening-rules.json").read_text("utf-8"))
    assert shipped == agreed
    assert tests == BOUNDARIES


@pytest.mark.parametrize("rule", list(RULES.rules))
def test_nothing_given_is_never_an_answer(rule: str) -> None:
    result = RULES.evaluate(rule, {})
    assert result.code == "INSUFFICIENT"
    assert result.level is None
    assert result.missing


@pytest.mark.parametrize(
    ("rule", "case"),
    [(rule, case) for rule, cases in BOUNDARIES.items() for case in cases if case["code"] not in NO_ANSWER],
)
def test_leaving_an_input_out_never_makes_it_milder(rule: str, case: dict[str, Any]) -> None:
    """A missing input may leave a question open or be flagged, but never quietly turns a finding into a milder one."""
    full = RULES.evaluate(rule, case["in"])
    for name in case["in"]:
        part = RULES.evaluate(rule, {key: given for key, given in case["in"].items() if key != name})
        if part.level is not None and part.level < (full.level or 0):
            assert part.incomplete, f"without {name}: {part.code}"
            assert name in part.missing


@pytest.mark.parametrize("rule", list(BOUNDARIES))
def test_what_is_certain_stays_when_more_becomes_known(rule: str) -> None:
    """Any part of the inputs: a certain answer from it is the answer from all of them."""
    certain = 0
    for case in BOUNDARIES[rule]:
        whole = RULES.evaluate(rule, case["in"])
        names = list(case["in"])
        for chosen in _parts(names):
            part = RULES.evaluate(rule, {name: case["in"][name] for name in chosen})
            if part.level is not None and not part.incomplete and whole.code not in ("INVALID", "NOT_APPLICABLE"):
                certain += 1
                assert part.code == whole.code, chosen
    assert certain > 0


def _parts(names: list[str]) -> list[tuple[str, ...]]:
    """Every subset of up to eight names; of more, those that leave out at most two."""
    smallest = 0 if len(names) <= 8 else len(names) - 2
    return [part for size in range(smallest, len(names) + 1) for part in combinations(names, size)]


def test_urgent_needs_no_further_question() -> None:
    result = RULES.evaluate("BP-URGENT", {"sbp": 200, "dbp": 80})
    assert (result.code, result.level, result.incomplete) == ("URGENT_REFERRAL", 3, False)


def test_what_is_missing_is_named() -> None:
    assert RULES.evaluate("BP-URGENT", {"sbp": 150, "dbp": 80}).missing == ("bp_danger", "pregnant", "cannot_handle")
    assert RULES.evaluate("SPO2", {"spo2": 85, "altitude_m": 4000}).missing == ("spo2_baseline_p2_5",)
    assert RULES.evaluate("BP-GRADE", {"sbp": 150, "dbp": 80}).missing == ("age",)


def test_incomplete_names_what_could_exclude_the_worse_case() -> None:
    result = RULES.evaluate("GLU-SCREEN", {"known_dm": False, "fpg": 6.4})
    assert (result.code, result.level, result.incomplete) == ("IFG", 1, True)
    assert result.missing == ("ogtt2h", "rpg", "hba1c", "dm_symptoms")


@pytest.mark.parametrize("given", [400, float("nan"), "182", True, -1])
def test_out_of_range_or_wrong_type_is_invalid(given: object) -> None:
    result = RULES.evaluate("BP-GRADE", {"sbp": given, "dbp": 80, "age": 50})
    assert (result.code, result.level, result.invalid) == ("INVALID", None, ("sbp",))


def test_count_decides_as_soon_as_it_can() -> None:
    three = {"age": 60, "smoker": True, "inactive": True, "obese26": True}
    assert RULES.evaluate("STROKE-8", three).code == "HIGH"
    assert RULES.evaluate("STROKE-8", {"age": 60, "smoker": True, "inactive": True}).code == "INSUFFICIENT"


def test_a_score_that_cannot_fall_below_the_line_is_an_answer() -> None:
    given = {"age": 72, "pack_years": 40, "bmi": 17.0}  # 10 + 2 + 7 points, whatever the rest says
    result = RULES.evaluate("COPD-SQ", given)
    assert (result.code, result.score) == ("HIGH_RISK", None)


def test_unverified_rules_are_off_until_switched_on() -> None:
    in_force = {rule.id for rule in RULES.switched_on()}
    assert not in_force & {"TEMP", "GLU-CDRS", "MAT-BP", "MAT-FHR", "MAT-HB", "STROKE-FAST"}
    assert {"BP-GRADE", "SPO2", "GLU-SCREEN", "CRIT-A"} <= in_force
    assert "TEMP" in {rule.id for rule in RULES.switched_on(on=["TEMP"])}
    assert "BP-FIRST" not in {rule.id for rule in RULES.switched_on(off=["BP-FIRST"])}
    with pytest.raises(UnknownRule, match="TEMPERATURE"):
        RULES.switched_on(on=["TEMPERATURE"])


def test_ladder_comes_from_the_rule() -> None:
    assert RULES.ladder("BP-GRADE", "sbp") == [(50, 1), (90, 0), (120, 1), (140, 2), (160, 2), (180, 3)]
    assert RULES.ladder("BP-GRADE", "dbp") == [(30, 1), (60, 0), (80, 1), (90, 2), (100, 2), (110, 3)]
    assert RULES.ladder("GLU-SCREEN", "fpg") == [(0.6, 0), (6.1, 1), (7.0, 2)]
    assert RULES.ladder("SPO2", "spo2", {"altitude_m": 480}) == [(40, 3), (90, 1), (95, 0)]
    high = {"altitude_m": 3600, "spo2_baseline_p2_5": 86}
    assert RULES.ladder("SPO2", "spo2", high) == [(40, 3), (86, 0)]
    assert RULES.ladder("CRIT-A", "rpg") == [(0.6, None), (20.0, 3)]


@pytest.mark.parametrize("field", ["sbp", "dbp"])
def test_ladder_agrees_with_the_evaluator(field: str) -> None:
    healthy = {"age": 50, "sbp": 110, "dbp": 70}
    steps = RULES.ladder("BP-GRADE", field)
    for number in range(60, 200):
        level = [level for bound, level in steps if bound <= number][-1]
        assert RULES.evaluate("BP-GRADE", {**healthy, field: number}).level == level


def test_version_changes_with_the_rule_and_its_ranges() -> None:
    raw = json.loads((RULE_FILES / "screening-rules.json").read_text("utf-8"))
    again = type(RULES)(raw)
    assert again.rule("BP-GRADE").version == RULES.rule("BP-GRADE").version
    raw["fields"]["sbp"]["range"] = [50, 310]
    changed = type(RULES)(raw)
    assert changed.rule("BP-GRADE").version != RULES.rule("BP-GRADE").version
    assert changed.rule("TEMP").version == RULES.rule("TEMP").version


def test_command_line_prints_one_json_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["BP-GRADE", '{"sbp": 182, "dbp": 96, "age": 58}']) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["code"], answer["level"]) == ("HTN3", 3)
    assert answer["source"][0]["status"] == "verified"
    assert answer["disclaimer_zh"] == "筛查提示，不作为诊断依据"


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (["BP"], "usage: "),
        (["NOPE", "{}"], "no rule 'NOPE'; there are: BP-GRADE, "),
        (["BP-GRADE", "{"], "the inputs are no JSON: "),
        (["BP-GRADE", '{"sbb": 1}'], "no field sbb; BP-GRADE asks for sbp, dbp, age"),
        (["TEMP", "[]"], "one JSON object"),
        (["TEMP", '{"temp": NaN}'], "NaN is no number"),
        (["TEMP", '{"temp": [37]}'], "temp must be a number"),
        (["TEMP", "{}", "--rules", "/nowhere/rules.json"], "/nowhere/rules.json"),
        (["TEMP", "{}", "--rules", str(RULE_FILES / "screening-boundaries.json")], "screening-rules/1"),
    ],
    ids=["usage", "rule", "json", "field", "object", "nan", "list", "no-file", "other-file"],
)
def test_command_line_says_what_it_cannot_read(
    question: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(question) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err


def test_an_impossible_input_is_answered_as_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["BP-GRADE", '{"sbp": 400, "dbp": 96, "age": 58}', "--rules", str(RULE_FILES / "screening-rules.json")])
        == 0
    )
    answer = json.loads(capsys.readouterr().out)
    assert (answer["code"], answer["invalid"], answer["level"]) == ("INVALID", ["sbp"], None)
