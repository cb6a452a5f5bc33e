"""The constitution of traditional Chinese medicine: 33 questions, nine types, what follows from weight and waist."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import pytest

from sync.screening.evaluator import shipped_rules
from vehicle.clinic.forms.filling import Filled, Given, fill
from vehicle.clinic.forms.form import shipped_forms

FORM = shipped_forms()["tcm_constitution"]
RULES = shipped_rules()
TODAY = date(2026, 11, 22)


def filled(told: dict[str, Any]) -> Filled:
    return fill(FORM, Given(TODAY, told, rules_in_force=frozenset(rule.id for rule in RULES.switched_on())), RULES)


def constitution(**points: str) -> Filled:
    told: dict[str, Any] = {f"q{n:02}": "1" for n in range(1, 34)} | {"q01": "5"} | points
    return filled(told)


CONSTITUTION_TABLE = [
    # questions that are not "never" | type, points, judgement
    ({}, "balanced", 25, "1"),
    ({}, "qi_deficiency", 4, "3"),
    ({"q02": "3", "q03": "3", "q04": "1", "q14": "1"}, "qi_deficiency", 8, "3"),
    ({"q02": "3", "q03": "3", "q04": "2", "q14": "1"}, "qi_deficiency", 9, "2"),
    ({"q02": "3", "q03": "3", "q04": "2", "q14": "2"}, "qi_deficiency", 10, "2"),
    ({"q02": "3", "q03": "3", "q04": "3", "q14": "2"}, "qi_deficiency", 11, "1"),
    ({"q11": "3", "q12": "3", "q13": "3", "q29": "2"}, "yang_deficiency", 11, "1"),
    ({"q10": "5", "q21": "5", "q26": "1", "q31": "1"}, "yin_deficiency", 12, "1"),
    ({"q09": "5", "q16": "3", "q28": "2", "q32": "1"}, "phlegm_dampness", 11, "1"),
    ({"q23": "3", "q25": "2", "q27": "2", "q30": "2"}, "damp_heat", 9, "2"),
    ({"q19": "4", "q22": "4", "q24": "2", "q33": "1"}, "blood_stasis", 11, "1"),
    ({"q05": "3", "q06": "3", "q07": "3", "q08": "3"}, "qi_stagnation", 12, "1"),
    ({"q15": "2", "q17": "3", "q18": "2", "q20": "1"}, "special", 8, "3"),
    # balanced: 1 with the usual sign, 2, 4, 5 and 13 reversed
    ({"q01": "1"}, "balanced", 21, "1"),
    ({"q01": "1", "q02": "3", "q04": "3"}, "balanced", 17, "1"),
    ({"q01": "1", "q02": "3", "q04": "4"}, "balanced", 16, "3"),
    ({"q03": "5", "q14": "2"}, "balanced", 25, "2"),
    ({"q03": "5", "q14": "5"}, "balanced", 25, "3"),
]


@pytest.mark.parametrize(("points", "name", "score", "judged"), CONSTITUTION_TABLE)
def test_constitution_scores_and_their_judgement(points: dict[str, str], name: str, score: int, judged: str) -> None:
    found = constitution(**points)
    assert (found.value(f"{name}_score"), found.value(name)) == (score, judged)


def test_each_question_of_the_constitution_counts_in_a_type() -> None:
    used = set(itertools.chain.from_iterable(one.of for one in FORM.fields.values()))
    assert used == {f"q{n:02}" for n in range(1, 34)}


@pytest.mark.parametrize(
    ("weight", "waist", "q09", "q28"),
    [(50, 79.9, "1", "1"), (62, 80, "2", "2"), (65, 86, "3", "3"), (70, 91, "4", "4"), (72, 106, "5", "5")],
)
def test_weight_and_waist_answer_their_questions(weight: float, waist: float, q09: str, q28: str) -> None:
    found = filled({"weight_kg": weight, "height_cm": 160, "waist_cm": waist})
    assert (found.value("q09"), found.value("q28")) == (q09, q28)
