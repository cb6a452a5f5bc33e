"""Sealed months: written once, shown as they were sealed, changed by a new verdict only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from county_month import QUICK, Founded, Van, at
from sqlalchemy import select

from devices.clock import SimulatedClock
from sync.county.__main__ import main
from sync.county.app import County, open_county
from sync.county.migrations import forget_what_was_read
from sync.county.month_table import MonthTable
from sync.county.schema import entries
from sync.county.sealing import BY, RegistryMoved, verdict_drafts
from sync.proof.coverage import MonthState, VisitState
from sync.proof.registry_entries import RegistryEntry, read_registry_entry
from sync.proof.registry_state import RegistryState, Verdict, written_change

SEPTEMBER = date(2026, 9, 1)
TOWNSHIPS = 1
"""Of the invented list, by the first nine digits of the codes."""


@pytest.fixture
async def founded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Founded]:
    """On SQLite; on both databases for a test that asks for ``database_url``."""
    url = request.getfixturevalue("database_url") if "database_url" in request.fixturenames else ""
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), url)
    yield founded
    founded.close()


@pytest.fixture
def workers(founded: Founded) -> Iterator[list[County]]:
    """The same county in three processes more."""
    with ExitStack() as stack:
        opened = [open_county(founded.county.settings, founded.clock, hasher=QUICK) for _ in range(3)]
        for county in opened:
            stack.callback(county.close)
        yield opened


def set_clock(founded: Founded, month: int, day: int) -> None:
    founded.clock.advance((at(month, day, 8) - founded.clock.now()).total_seconds())


def verdicts(founded: Founded) -> list[RegistryEntry]:
    origin = founded.county.registry.origin
    rows = founded.county.database.rows(select(entries).where(entries.c.origin == origin).order_by(entries.c.n))
    read = [read_registry_entry(row["body"], row["n"]) for row in rows]
    return [entry for entry in read if entry.kind == "verdict/1"]


def table(founded: Founded) -> MonthTable:
    return founded.county.coverage.table(SEPTEMBER, practice=False)


def state_of(founded: Founded, place: int) -> tuple[MonthState, int]:
    code = founded.villages[place].code
    (row,) = [row for row in table(founded).rows if row.village.code == code]
    return row.verdict.state, row.verdict.counted


async def september(founded: Founded) -> Van:
    """One village done, one visited too shortly."""
    van = founded.van("van-07")
    van.visit(founded.villages[0], at(9, 1, 8))
    van.visit(founded.villages[1], at(9, 3, 8), 100)
    van.visit(founded.villages[0], at(9, 10, 8))
    await van.deliver()
    set_clock(founded, 10, 8)
    van.restart()
    await van.deliver()
    return van


async def test_a_month_is_sealed_ten_days_after_its_end_and_once(founded: Founded) -> None:
    van = await september(founded)
    assert founded.county.sealing.seal_due() == {}
    set_clock(founded, 10, 11)
    assert founded.county.sealing.seal_due() == {SEPTEMBER: TOWNSHIPS}
    assert founded.county.sealing.seal_due() == {}
    (entry,) = verdicts(founded)
    assert (entry.by, entry.fields["practice"], "supersedes" in entry.fields) == (BY, False, False)
    verdict = founded.county.registry.verdicts(SEPTEMBER)["999901101"]
    assert len(verdict.villages) == 12
    first = verdict.villages[founded.villages[0].code]
    live = founded.county.coverage.table(SEPTEMBER, False, as_sealed=False)
    (row,) = [row for row in live.rows if row.village.code == founded.villages[0].code]
    assert (first.state, first.counted) == (row.verdict.state.value, row.verdict.counted)
    assert [visit.origin for visit in first.visits] == [van.signer.name] * 2
    short = verdict.villages[founded.villages[1].code].visits[0]
    assert (short.state, short.day, "too_short" in short.reasons) == ("short", date(2026, 9, 3), True)
    assert verdict.villages[founded.villages[2].code].visits == ()


async def test_what_is_being_read_again_takes_no_verdict_back(founded: Founded) -> None:
    """As after an upgrade, a ``rebuild`` or a ``prune`` beside the running server."""
    van = await september(founded)
    set_clock(founded, 10, 11)
    founded.county.sealing.seal_due()
    judged = table(founded)
    assert judged.visits_of_state(VisitState.REVIEW, VisitState.SHORT) == 3
    with founded.county.database.write() as connection:
        forget_what_was_read(connection, van.signer.name)
    assert state_now(founded, 0) is MonthState.NOT_SYNCED  # not "missed"
    assert founded.county.sealing.seal_due() == {}
    founded.county.interpreter.catch_up_all()
    assert founded.county.sealing.seal_due() == {}
    assert len(verdicts(founded)) == 1
    assert table(founded).rows == judged.rows
    assert state_now(founded, 0) is judged.rows[0].verdict.state


def state_now(founded: Founded, place: int) -> MonthState:
    """Judged from what is read now, whatever was sealed."""
    live = founded.county.coverage.table(SEPTEMBER, practice=False, as_sealed=False)
    (row,) = [row for row in live.rows if row.village.code == founded.villages[place].code]
    return row.verdict.state


async def test_what_arrives_later_makes_a_new_verdict_that_names_the_old(founded: Founded, database_url: str) -> None:
    """A van that was without a network for weeks brings a visit of September on the eleventh of October."""
    late = founded.van("van-09")
    late.visit(founded.villages[2], at(9, 15, 8))
    await september(founded)
    set_clock(founded, 10, 11)
    founded.county.sealing.seal_due()
    assert state_of(founded, 2) == (MonthState.NOT_SYNCED, 0)
    await late.deliver()
    assert state_of(founded, 2) == (MonthState.NOT_SYNCED, 0)
    assert table(founded).superseded == []
    set_clock(founded, 10, 12)
    assert founded.county.sealing.seal_due() == {SEPTEMBER: TOWNSHIPS}
    old, new = verdicts(founded)
    assert new.fields["supersedes"] == old.n
    assert old.fields["villages"][founded.villages[2].code]["visits"] == []
    (visit,) = new.fields["villages"][founded.villages[2].code]["visits"]
    assert visit["origin"] == late.signer.name
    assert state_of(founded, 2)[0] is not MonthState.NOT_SYNCED
    assert len(table(founded).superseded) == 12
    assert founded.county.sealing.seal_due() == {}
    client = await founded.signed_in("xu.jing")
    page = (await client.get("/county/coverage?month=2026-09")).text
    assert "2026-10-12 封账，封账后有更正" in page
    page = (await client.get("/county/coverage?month=2026-09&lang=en")).text
    assert "Sealed 2026-10-12, corrected since" in page


async def test_of_several_workers_exactly_one_seals(founded: Founded, workers: list[County], database_url: str) -> None:
    await september(founded)
    set_clock(founded, 10, 11)
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda county: county.sealing.seal_due(), workers))
    assert sorted(done, key=len) == [{}, {}, {SEPTEMBER: TOWNSHIPS}]
    assert len(verdicts(founded)) == 1


async def test_a_decision_that_comes_while_two_workers_seal_is_not_taken_back(
    founded: Founded, workers: list[County], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has made its table; then a waiver comes, and the other seals with it. The first must not seal without it."""
    await september(founded)
    set_clock(founded, 10, 11)
    slow, quick = workers[:2]
    made, between = slow.coverage.table, [True]

    def table(*asked: Any, **how: Any) -> MonthTable:
        found = made(*asked, **how)
        if between.pop() if between else False:
            quick.registry.waive(founded.villages[5].code, "2026-09", "大雪封路", by="xu.jing")
            assert quick.sealing.seal_due() == {SEPTEMBER: TOWNSHIPS}
        return found

    monkeypatch.setattr(slow.coverage, "table", table)
    assert slow.sealing.seal_due() == {}
    assert len(verdicts(founded)) == 1
    assert state_of(founded, 5) == (MonthState.WAIVED, 0)


async def test_a_registry_that_is_written_to_all_the_while_is_sealed_by_the_next_round(
    founded: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    await september(founded)
    set_clock(founded, 10, 11)
    made = founded.county.coverage.table

    def table(*asked: Any, **how: Any) -> MonthTable:
        found = made(*asked, **how)
        founded.county.registry.waive(founded.villages[5].code, "2026-09", "大雪封路", by="xu.jing")
        return found

    with monkeypatch.context() as busy:
        busy.setattr(founded.county.coverage, "table", table)
        with pytest.raises(RegistryMoved):
            founded.county.sealing.seal_due()
    assert verdicts(founded) == []
    assert founded.county.sealing.seal_due() == {SEPTEMBER: TOWNSHIPS}


async def test_the_sealed_month_is_shown_though_the_rules_of_counting_moved_on(founded: Founded) -> None:
    await september(founded)
    set_clock(founded, 10, 11)
    founded.county.sealing.seal_due()
    shown = table(founded)
    assert shown.sealed_at is not None
    assert shown.provisional is False
    assert {row.verdict.flags for row in shown.rows} == {()}
    as_json = (await (await founded.signed_in("xu.jing")).get("/api/coverage?month=2026-09")).json()
    assert as_json["sealed_at"].startswith("2026-10-11T")
    founded.county.registry.set_rules({"dwell_s": 600}, by="xu.jing")
    assert founded.county.sealing.seal_due() == {}
    assert {visit.verdict.state for row in table(founded).rows for visit in row.visits} >= {VisitState.SHORT}


async def test_months_without_any_visit_yet_are_not_sealed(founded: Founded) -> None:
    set_clock(founded, 12, 20)
    assert founded.county.sealing.seal_due() == {}
    assert verdicts(founded) == []


async def test_practice_never_takes_the_place_of_the_real_thing(founded: Founded) -> None:
    van = founded.van("van-07", practice=True)
    van.visit(founded.villages[0], at(9, 1, 8))
    await van.deliver()
    set_clock(founded, 10, 12)
    assert founded.county.sealing.seal_due() == {SEPTEMBER: TOWNSHIPS}
    assert verdicts(founded)[0].fields["practice"] is True
    assert founded.county.registry.sealed(SEPTEMBER, practice=False) == {}
    assert founded.county.coverage.table(SEPTEMBER, practice=False).sealed_at is None
    assert founded.county.coverage.table(SEPTEMBER, practice=True).sealed_at is not None
    real = founded.van("van-09")
    real.visit(founded.villages[0], at(10, 13, 8))
    await real.deliver()
    assert SEPTEMBER in founded.county.sealing.seal_due()
    assert verdicts(founded)[-1].fields["practice"] is False
    assert founded.county.sealing.seal_due() == {}


async def test_a_very_large_township_is_sealed_in_several_entries(founded: Founded) -> None:
    """Each within the size of an entry; read back they are one verdict."""
    await september(founded)
    set_clock(founded, 10, 11)
    live = founded.county.coverage.table(SEPTEMBER, False, as_sealed=False)
    (row,) = [row for row in live.rows if row.village.code == founded.villages[0].code]
    rows = [replace(other, visits=row.visits * 40) for other in live.rows]
    state = founded.county.registry.state()
    written = written_change(
        state, lambda state, n: verdict_drafts(state, live, "999901101", rows, n), founded.clock.now(), BY
    )
    assert [entry.kind for entry in written] == ["verdict/1"] * (len(written) - 1) + ["index/1"]
    assert len(written) > 2
    read: Verdict = state.apply(written).verdicts(SEPTEMBER)["999901101"]
    assert len(read.villages) == 12
    assert {len(village.visits) for village in read.villages.values()} == {80}


async def test_it_goes_on_by_itself(founded: Founded) -> None:
    await september(founded)
    running = asyncio.create_task(founded.county.sealing.run())
    try:
        while founded.clock.now() < at(10, 11, 0):
            founded.clock.advance(3600)
            await asyncio.sleep(0.001)
        while not verdicts(founded):
            founded.clock.advance(1800)
            await asyncio.sleep(0.01)
    finally:
        running.cancel()
    assert verdicts(founded)[0].at - at(10, 11, 0) < timedelta(days=2)


async def test_what_a_person_says_about_a_sealed_month_shows_within_a_minute(founded: Founded) -> None:
    await september(founded)
    set_clock(founded, 10, 11)
    running = asyncio.create_task(founded.county.sealing.run())
    try:
        while not verdicts(founded):
            founded.clock.advance(1)
            await asyncio.sleep(0.005)
        founded.county.registry.waive(founded.villages[5].code, "2026-09", "大雪封路", by="xu.jing")
        asked_at = founded.clock.now()
        while len(verdicts(founded)) < 2:
            founded.clock.advance(5)
            await asyncio.sleep(0.01)
    finally:
        running.cancel()
    assert verdicts(founded)[1].at - asked_at < timedelta(minutes=10)
    assert state_of(founded, 5) == (MonthState.WAIVED, 0)


def test_sealing_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "county.toml"
    path.write_text('name = "青峪县"\ndata = "data"\norigin = "county.qingyu.example"\n', encoding="utf-8")
    assert main(["--settings", str(path), "seal"]) == 0
    assert capsys.readouterr().out == "nothing is due\n"


def test_the_state_follows_a_registry_with_verdicts(founded: Founded) -> None:
    size = founded.county.registry.state().size
    whole: Any = RegistryState.after(founded.county.registry.entries(0, size))
    assert whole.index == founded.county.registry.state().index
