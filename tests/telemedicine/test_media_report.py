"""The page of the media benchmark: what it writes of its runs, and that it touches nothing else."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from benchmarks.media_report import Figure, Result, for_people, put, write
from benchmarks.media_run import Scenario, Seen

SCENARIO = Scenario("drop9", "20 → 9 Mbit/s", 10.0, [(5.0, "9 Mbit/s", lambda stage: None)])
OLDEST = Figure("oldest picture", lambda seen: seen.ages_ms(0, 10)[-1], "ms", 400)
RATE = Figure("rate", lambda seen: seen.cpu, "Mbit/s", 4.0, at_least=True)


def seen(age_s: float, rate: float) -> Seen:
    pictures: list[tuple[float, float | None]] = [(at / 10, age_s) for at in range(100)]
    return Seen(pictures, ecg=[], received=[], link=[], log=[], cpu=rate)


def result() -> Result:
    project, plain = [seen(0.3, 5), seen(0.5, 3), seen(0.35, 4.5)], [seen(2.0, 3), seen(1.0, 2), seen(1.5, 9)]
    return Result(SCENARIO, [OLDEST, RATE], {"project": project, "plain": plain})


def test_medians_stand_beside_their_goals(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# Measured\n")
    write(result(), date(2026, 11, 22), page)
    text = page.read_text()
    assert "Median of 3, 2026-11-22" in text
    assert "| oldest picture, ms | 350 | 1500 | ≤ 400 |" in text
    assert "| rate, Mbit/s | 4.5 | 3 | ≥ 4 |" in text
    assert "drop9.svg" in text
    assert "project" in (tmp_path / "drop9.svg").read_text()


def test_a_missed_goal_is_called_missed(tmp_path: Path) -> None:
    missed = Result(SCENARIO, [OLDEST], {"project": [seen(0.6, 1)], "plain": [seen(0.2, 1)]})
    assert not missed.good
    assert for_people(missed).rstrip().endswith("missed")
    page = tmp_path / "README.md"
    page.write_text("")
    write(missed, date(2026, 11, 22), page)
    assert "| oldest picture, ms | 600 | 200 | ≤ 400 missed |" in page.read_text()
    assert result().good


def test_a_section_takes_its_own_place_and_no_other() -> None:
    once = put("# Page\n\nWords.\n", "one", "first")
    both = put(once, "two", "second")
    again = put(both, "one", r"new \1")
    assert again.index("new \\1") < again.index("second")
    assert again.startswith("# Page\n\nWords.\n")
    assert "first" not in again
    assert put(again, "one", r"new \1") == again
