"""What the media benchmark found, as the page docs/media/README.md: one section for each scenario, with its plot."""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.latency_plot import plot
from benchmarks.media_run import Scenario, Seen

PAGE = Path(__file__).resolve().parent.parent / "docs" / "media" / "README.md"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a scenario's table; ``goal`` is the most (or with ``at_least`` the least) that is good."""

    what: str
    of: Callable[[Seen], float]
    unit: str
    goal: float | None = None
    at_least: bool = False

    def reached(self, value: float) -> bool:
        return self.goal is None or (value >= self.goal if self.at_least else value <= self.goal)

    @property
    def goal_words(self) -> str:
        return "" if self.goal is None else f"{'≥' if self.at_least else '≤'} {self.goal:g}"


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario's runs by kind ("project", "plain"), and what they were asked for."""

    scenario: Scenario
    figures: Sequence[Figure]
    runs: Mapping[str, Sequence[Seen]]

    def median(self, kind: str, figure: Figure) -> float:
        return statistics.median(figure.of(seen) for seen in self.runs[kind])

    @property
    def good(self) -> bool:
        """Whether the project reached every goal."""
        kind = "project"
        return kind not in self.runs or all(figure.reached(self.median(kind, figure)) for figure in self.figures)

    @property
    def times(self) -> int:
        return max(len(runs) for runs in self.runs.values())


def for_people(result: Result) -> str:
    """The table as it is printed."""
    often = f"   (median of {result.times})" if result.times > 1 else ""
    lines = [
        f"\n{result.scenario.title}{often}",
        f"  {'':28}" + "".join(f"{kind:>12}" for kind in result.runs) + f"{'goal':>16}",
    ]
    for figure in result.figures:
        found = {kind: result.median(kind, figure) for kind in result.runs}
        missed = "project" in found and not figure.reached(found["project"])
        shown = "".join(f"{value:12.4g}" for value in found.values())
        goal = f"{figure.goal_words} {figure.unit}".strip()
        lines.append(f"  {figure.what:28}{shown}  {goal:>16}{'  missed' if missed else ''}")
    return "\n".join(lines)


def write(result: Result, on: date, page: Path = PAGE) -> None:
    """The scenario's section of the page, and its plot beside it; other sections stay as they are."""
    name = result.scenario.name
    (page.parent / f"{name}.svg").write_text(_plot(result))
    page.write_text(put(page.read_text(encoding="utf-8"), name, _section(result, on)), encoding="utf-8")


def put(page: str, name: str, section: str) -> str:
    """``page`` with ``section`` in the place of what stood between the marks of ``name``, or at its end."""
    begins, ends = f"<!-- {name}: written by make bench-media TIMES=3 -->", f"<!-- end of {name} -->"
    block = f"{begins}\n{section.strip()}\n{ends}"
    standing = re.compile(re.escape(begins) + r".*?" + re.escape(ends), re.S)
    if standing.search(page):
        return standing.sub(lambda _: block, page)
    return f"{page.rstrip()}\n\n{block}\n"


def _section(result: Result, on: date) -> str:
    scenario, kinds = result.scenario, list(result.runs)
    words = {"project": "project", "plain": "plain aiortc"}
    often = f"Median of {result.times}" if result.times > 1 else "One run"
    rows = [
        f"## {scenario.title} (`{scenario.name}`)",
        "",
        f"{often}, {on.isoformat()}, {os.cpu_count()} cores.",
        "",
        f"| | {' | '.join(words[kind] for kind in kinds)} | goal |",
        "|---|" + "---|" * (len(kinds) + 1),
    ]
    for figure in result.figures:
        found = [_shown(result.median(kind, figure)) for kind in kinds]
        missed = "" if figure.reached(result.median("project", figure)) else " missed"
        rows.append(f"| {figure.what}, {figure.unit} | {' | '.join(found)} | {figure.goal_words}{missed} |")
    return "\n".join([*rows, "", f"![Latency over time]({scenario.name}.svg)"])


def _shown(value: float) -> str:
    """Three figures, without an exponent; what never came is "never"."""
    if value == float("inf"):
        return "never"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _plot(result: Result) -> str:
    """Of each kind the run whose p95 is the median."""
    scenario = result.scenario
    lines = {}
    for kind, runs in result.runs.items():
        by_age = sorted(runs, key=lambda seen: _p95(seen.ages_ms(0, scenario.seconds)))
        seen = by_age[len(by_age) // 2]
        lines[kind] = [(at, age * 1000) for at, age in seen.pictures if age is not None and 0 <= at < scenario.seconds]
    return plot(scenario.title, lines, [(at_s, words) for at_s, words, _ in scenario.changes], scenario.seconds)


def _p95(values: Sequence[float]) -> float:
    return values[int(len(values) * 0.95)] if values else float("inf")
