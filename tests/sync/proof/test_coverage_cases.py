"""The table of cases that an administrator can read, each one run from journal entries; see ``coverage_cases.toml``."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from sync.proof.areas import Village
from sync.proof.coverage import FLAGS, MONTH_FLAGS, REASONS, REVIEW_REASONS, MonthState, Rules, VisitState, judge_month
from sync.proof.registry_state import Decision
from sync.proof.visit_proof import VisitProof, facts_of_visit
from sync.proof.visit_track import PROOF_KINDS
from tests.sync.visit_script import VILLAGES, area, around, code, logs, proofs

CASES = tomllib.loads((Path(__file__).parent / "coverage_cases.toml").read_text(encoding="utf-8"))["case"]
FIELDS = {"zh", "en", "rules", "villages", "happened", "verdict", "minutes", "month", "today", "waived", "synced"}
FIELDS |= {"decide", "going_on", "day"}


def villages_of(case: Mapping[str, Any]) -> list[Village]:
    """The usual four, changed as the case says."""
    known = dict(VILLAGES)
    moved = []
    for letter, said in case.get("villages", {}).items():
        village = area(letter, *said["area"]) if "area" in said else known[letter]
        days = {name: date.fromisoformat(said[name]) for name in ("valid_from", "valid_until") if name in said}
        if "then" in said:
            moved.append(area(letter, *said["then"], valid_from=days.pop("valid_from")))
        known[letter] = replace(village, **days)  # type: ignore[arg-type]
    return [*known.values(), *moved]


def judged(case: Mapping[str, Any]) -> tuple[list[VisitProof], dict[str, Any]]:
    """(proofs in order of time, verdict of each village's month by letter)"""
    rules = Rules(**case.get("rules", {}))
    villages = villages_of(case)
    decisions = {
        visit: Decision("van", word, "看过", "xu.jing", datetime(2026, 9, 2, tzinfo=UTC))
        for visit, word in case.get("decide", {}).items()
    }
    found = proofs(logs(case["happened"]), villages, rules, decisions, case.get("going_on", False))
    today, month = date.fromisoformat(f"2026-{case.get('today', '09-30')}"), date(2026, 9, 1)
    months = {
        village.name[0]: judge_month(
            village.code,
            month,
            [one.facts for one in found if one.facts.village == village.code and one.facts.day.month == 9],
            rules,
            today=today,
            waived=village.name[0] in case.get("waived", ()),
            synced=case.get("synced", True),
        )
        for village in villages
    }
    months |= {
        "next": judge_month(
            code("A"),
            date(2026, 10, 1),
            [one.facts for one in found if one.facts.day.month == 10],
            rules,
            today=today,
        )
    }
    return found, months


def written(state: str, reasons: tuple[str, ...], flags: tuple[str, ...]) -> str:
    text = state + (": " + ", ".join(sorted(reasons)) if reasons else "")
    return text + (" | " + ", ".join(sorted(flags)) if flags else "")


def normal(verdict: str) -> str:
    """The same with reasons and flags in alphabetical order."""
    said, _, flags = verdict.partition(" | ")
    state, _, reasons = said.partition(": ")
    return written(state, tuple(filter(None, reasons.split(", "))), tuple(filter(None, flags.split(", "))))


@pytest.mark.parametrize("case", CASES, ids=[case["en"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    assert set(case) <= FIELDS
    found, months = judged(case)
    verdicts = {id: one for month in months.values() for id, one in month.visits.items()}
    said = [verdicts[one.facts.visit] for one in found]
    assert [written(one.state, one.reasons, one.flags) for one in said] == [normal(one) for one in case["verdict"]]
    if "minutes" in case:
        assert [int((one.facts.dwell_s or 0) // 60) for one in found] == case["minutes"]
    if "day" in case:
        assert [f"{one.facts.day:%m-%d}" for one in found] == case["day"]
    for letter, expected in case.get("month", {}).items():
        verdict = months[letter]
        flags = verdict.flags if "|" in expected else ()
        assert written(f"{verdict.state} {verdict.counted}", (), flags) == expected, letter


@pytest.mark.parametrize("case", CASES, ids=[case["en"] for case in CASES])
def test_who_sees_only_what_is_not_personal_comes_to_the_same(case: dict[str, Any]) -> None:
    villages, rules = villages_of(case), Rules(**case.get("rules", {}))
    for log in logs(case["happened"]):
        shown = [entry for entry in log.entries if entry.kind in PROOF_KINDS]
        hidden = {entry.n for entry in log.entries} - {entry.n for entry in shown}
        for visit in log.visits:
            named = next(one for one in shown if one.kind == "visit_opened/1" and one.fields["visit_id"] == visit)
            near = around(named.fields["village"], villages)
            at_the_county = facts_of_visit(visit, log.entries, (), near, rules, log.bracket(visit), None)
            assert facts_of_visit(visit, shown, hidden, near, rules, log.bracket(visit), None) == at_the_county


def test_every_reason_flag_and_state_has_a_case() -> None:
    words: Counter[str] = Counter()
    for case in CASES:
        for verdict in [*case["verdict"], *case.get("month", {}).values()]:
            words.update(verdict.replace(":", " ").replace("|", " ").replace(",", " ").split())
    wanted = {*REASONS, *REVIEW_REASONS, *FLAGS, *VisitState, *MonthState, *MONTH_FLAGS} - {"supersedes_sealed"}
    assert {word for word in wanted if not words[word]} == set()
    assert len(CASES) >= 60
    assert len({case["en"] for case in CASES}) == len({case["zh"] for case in CASES}) == len(CASES)
