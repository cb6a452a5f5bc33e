"""Every refusal of the fleet's book has words in both languages, with the facts that they name."""

from __future__ import annotations

import ast
import inspect
from string import Formatter

import pytest

from sync.county import fleet, fleet_pages
from sync.county.enrolment import CodeProblem
from sync.web.catalog import texts


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_refusal_has_words_on_the_fleet_page(language: str) -> None:
    source = inspect.getsource(fleet) + inspect.getsource(fleet_pages)
    refusals = [node for node in ast.walk(ast.parse(source)) if getattr(_called(node), "id", "") == "EnrolmentRefused"]
    assert len(refusals) > 15
    words = texts(language)
    for call in refusals:
        assert isinstance(call, ast.Call)
        problem, named = ast.literal_eval(call.args[1]), {one.arg for one in call.keywords}
        wanted = {name for _, name, _, _ in Formatter().parse(words(f"county.fleet.problem_{problem}")) if name}
        assert wanted <= named, problem
    for problem in CodeProblem:
        assert f"county.fleet.problem_{problem.value}" in words


def _called(node: ast.AST) -> ast.AST | None:
    return node.func if isinstance(node, ast.Call) else None
