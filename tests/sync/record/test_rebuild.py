"""The searchable tables say what the journal says: made again from it alone they are the same, whatever was written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.clock import SimulatedClock
from sync.formats.notes import SeedSigner
from sync.formats.record_kinds import KINDS
from sync.formats.records import Draft
from sync.record.projection import RULES, TABLES
from sync.record.recordings import Recordings
from sync.record.retention import Retention
from sync.record.store import Store
from tests.sync.conftest import ORIGIN, START, OpenStore
from tests.sync.formats.test_records import EXAMPLES

FEW = ("a", "b", "c")
"""Ids are few, so that entries meet in the same rows."""
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.sampled_from(FEW),
    "integer": st.integers(-3, 2**40),
    "boolean": st.booleans(),
    "object": st.dictionaries(st.sampled_from(FEW), st.sampled_from((1, "one", True)), max_size=2),
    "list": st.lists(st.sampled_from(FEW), max_size=2),
    "time": st.sampled_from(("2026-03-02T00:30:00.000Z", "2026-03-03T00:30:00.000Z")),
    "date": st.sampled_from(("1958-04-12", "2031-01-01")),
    "sha256": st.sampled_from(tuple(letter * 64 for letter in FEW)),
    "crew": st.lists(
        st.fixed_dictionaries({key: st.sampled_from(FEW) for key in ("person", "role", "name")}), max_size=2
    ),
    "steps": st.lists(st.just([10, 1, -2, 8, 11]), max_size=2),
}


def fields_of(kind: str, partly: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of ``kind``: those that may be left out sometimes are; ``partly``: any may, as in a correction."""
    forms = {name: VALUES[form.removesuffix("?")] for name, form in KINDS[kind].fields.items()}
    optional = {name for name, form in KINDS[kind].fields.items() if partly or form.endswith("?")}
    return st.fixed_dictionaries(
        {name: value for name, value in forms.items() if name not in optional},
        optional={name: value for name, value in forms.items() if name in optional},
    )


def draft_of(kind: str) -> st.SearchStrategy[Draft]:
    common = [st.sampled_from(("visit-1", "visit-2")) | st.none(), st.sampled_from(("e-1", "e-2")) | st.none()]
    return st.builds(Draft, st.just(kind), fields_of(kind), st.just("zhou.min") | st.none(), *common)


def correction() -> st.SearchStrategy[Draft]:
    def of(kind: str) -> st.SearchStrategy[Draft]:
        fixed = {"corrects": st.integers(0, 20), "corrects_kind": st.just(kind), "reason": st.just("typo")}
        return st.builds(
            Draft, st.just("correction/1"), st.fixed_dictionaries({**fixed, "fields": fields_of(kind, partly=True)})
        )

    return st.sampled_from(sorted(RULES)).flatmap(of)


DRAFTS = st.lists(st.sampled_from(sorted(KINDS)).flatmap(draft_of) | correction(), max_size=25)


def tables(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Every searchable table, and what follows from them."""
    keys = {**{name: table.key for name, table in TABLES.items()}, "recordings_waiting": ("sha256",)}
    return {name: store.read(f"SELECT * FROM {name} ORDER BY {', '.join(key)}") for name, key in keys.items()}


def with_store(work: Callable[[Store, SimulatedClock, Path], None]) -> None:
    clock = SimulatedClock(START)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(
            Path(folder), ORIGIN, SeedSigner(ORIGIN, b"v" * 32), clock, vehicle="van-07", reserve_bytes=0
        )
        try:
            work(store, clock, Path(folder))
        finally:
            store.close()


@settings(max_examples=60, deadline=None)
@given(groups=st.lists(DRAFTS, max_size=3))
def test_rebuilt_tables_are_those_that_were_written(groups: list[list[Draft]]) -> None:
    def work(store: Store, _: SimulatedClock, __: Path) -> None:
        for drafts in groups:
            store.commit_now(*drafts)
        before = tables(store)
        store.rebuild()
        assert tables(store) == before

    with_store(work)


@settings(max_examples=30, deadline=None)
@given(old=DRAFTS, new=DRAFTS)
def test_rebuilt_tables_after_pruning_are_those_that_pruning_left(old: list[Draft], new: list[Draft]) -> None:
    def work(store: Store, clock: SimulatedClock, folder: Path) -> None:
        store.commit_now(*old)
        clock.advance(timedelta(days=400).total_seconds())
        store.commit_now(*new)
        row = (store.size(), b"", "2027-01-01T00:00:00.000Z")
        store.transact(lambda db: db.execute("INSERT INTO receipts (size, note, cosigned_at) VALUES (?, ?, ?)", row))
        retention = Retention(store, Recordings(folder / "recordings"))
        plan = retention.plan(date(2026, 3, 3), clock.now())
        retention.prune(plan, "over", "zhang.admin")
        left = store.read("SELECT n FROM entries WHERE body IS NULL ORDER BY n")
        assert [row["n"] for row in left] == plan.places
        before = tables(store)
        store.rebuild()
        assert tables(store) == before

    with_store(work)


@pytest.mark.parametrize("kind", sorted(RULES))
def test_every_kind_with_a_rule_writes_the_row_it_names(open_store: OpenStore, kind: str) -> None:
    store = open_store()
    examples = {name: EXAMPLES[form.removesuffix("?")] for name, form in KINDS[kind].fields.items()}
    store.commit_now(Draft(kind, examples, by="zhou.min", visit="visit-1", encounter="e-1"))
    table = RULES[kind][0].table
    (row,) = store.read(f"SELECT * FROM {table}")
    made = TABLES[table].made
    assert made not in RULES[kind][0].columns or row[made] is not None
