"""Whatever a signed entry says, reading goes on behind it, the same on both databases and with several workers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from county_month import Founded, Van, at
from signed_posts import Post, deliver_by_hand, fill
from sqlalchemy import select

from sync.county.interpretation import Interpreter
from sync.county.schema import entry_facts, logs, metadata, projected, set_aside
from sync.formats.canonical import Json, dumps
from sync.formats.records import Draft, Stamp, write_entry


def entry(n: int, kind: str, boot: int = 1, visit: str | None = None, **fields: Json) -> bytes:
    stamp = Stamp(n, at(9, 1, 8), "gnss", boot, n, "van-07", bytes(16) if kind == "patient/1" else b"")
    return write_entry(Draft(kind, fields, visit=visit), stamp).body


def patient(n: int, **fields: str) -> bytes:
    return entry(
        n, "patient/1", **{"patient": f"p-{n}", "name": "张桂英", "sex": "female", "source": "manual", **fields}
    )


def table(founded: Founded, name: str) -> list[dict[str, Any]]:
    found = metadata.tables[name]
    return founded.county.database.rows(select(found).order_by(*found.primary_key))


async def test_strange_but_readable_entries_are_read(founded: Founded, van: Van, post: Post) -> None:
    bodies = [
        patient(0, name="零\0字节"),
        patient(1, name="😀" * 400),
        entry(2, "clock/1", boot=2**52, seconds_ms=-(2**53) + 1, source="x"),
        entry(3, "clock/1", visit="v" * 60, seconds_ms=1, source=""),
        dumps({**dict(_said(4)), "kind": "kind_of_next_year/7", "what": ["nobody", {"knows": True}]}),
        patient(5, address="长" * 15_000),
    ]
    await deliver_by_hand(van.signer, post, bodies)
    assert table(founded, "set_aside") == []
    assert [row["n"] for row in table(founded, "entry_facts")] == [0, 1, 2, 3, 4, 5]
    names = [row["name"] for row in table(founded, "patients")]
    assert names == ["零\ufffd字节", "😀" * 400, "张桂英"]
    assert founded.county.mirror.bodies(van.store.origin, 0, 6) == list(enumerate(bodies)), "word for word"


async def test_what_does_not_fit_is_set_aside_and_blocks_nothing(founded: Founded, van: Van, post: Post) -> None:
    bodies = [
        patient(0),
        patient(1, patient="p" * 101),
        entry(2, "clock/1", visit="v" * 61, seconds_ms=1, source=""),
        patient(3, name="名" * 501),
        b"\xff\xfe no json",
        b'{"a":"\\ud800"}',
        b"{" * 60_000,
        patient(7),
    ]
    await deliver_by_hand(van.signer, post, bodies)
    aside = {row["n"]: row["reason"] for row in table(founded, "set_aside")}
    assert sorted(aside) == [1, 2, 3, 4, 5, 6]
    assert aside[1] == "patient is longer than 100 characters"
    assert aside[2] == "visit is longer than 60 characters"
    assert aside[3] == "name is longer than 500 characters"
    assert [row["patient"] for row in table(founded, "patients")] == ["p-0", "p-7"]


async def test_the_entry_that_the_database_refuses_is_found(
    founded: Founded, van: Van, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a limit of the database were unknown to us: two of 300 entries stand in the way."""
    fill(van, 299)
    interpreter = founded.county.interpreter
    write = Interpreter._write

    def refusing(self: Interpreter, connection: Any, reading: Any, interpreted: int) -> None:
        write(self, connection, reading, interpreted)
        if {77, 203} & {fact["n"] for fact in reading.facts}:
            raise OverflowError("too large for this database")

    monkeypatch.setattr(Interpreter, "_write", refusing)
    await van.deliver()
    assert interpreter.catch_up(van.store.origin) == 0
    assert [(row["n"], row["reason"][:14]) for row in table(founded, "set_aside")] == [
        (77, "OverflowError:"),
        (203, "OverflowError:"),
    ]
    assert len(table(founded, "entry_facts")) == 298
    monkeypatch.undo()
    assert interpreter.rebuild() == 300
    assert len(table(founded, "entry_facts")) == 300
    assert table(founded, "set_aside") == []


async def test_several_workers_read_a_log_once(founded: Founded, van: Van, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six interpreters with connections of their own and a rebuild in between: the tables are as one makes them."""
    for name in ("云坪村", "上湾村"):
        village = next(village for village in founded.villages if village.name == name)
        van.visit(village, at(9, 2 if name == "云坪村" else 3, 8, 20), 250, 12)
    monkeypatch.setattr("sync.county.interpretation.BATCH_ENTRIES", 7)
    await van.deliver()
    expected = _tables(founded)
    assert len(expected["tracks"]) > 50
    county, ready = founded.county, threading.Barrier(6)
    workers = [Interpreter(county.database, county.mirror, founded.clock) for _ in range(6)]

    def work(number: int) -> None:
        ready.wait(30)
        if number == 0:
            workers[0].rebuild()
        workers[number].catch_up(van.store.origin)

    with county.database.write() as connection:
        connection.execute(logs.update().where(logs.c.origin == van.store.origin).values(interpreted=0))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6), timeout=60))
    assert _tables(founded) == expected
    (log,) = [row for row in table(founded, "logs") if row["origin"] == van.store.origin]
    assert log["interpreted"] == log["next_entry"]


async def test_after_an_upgrade_what_visits_say_is_worked_out_by_rounds(
    founded: Founded, van: Van, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not all at once, and not when somebody waits for the month."""
    for day in (1, 2, 3):
        van.visit(founded.villages[day], at(9, day, 9), people=1)
        await van.deliver()
    monkeypatch.setattr("sync.county.visits.MOST_AT_ONCE", 1)
    founded.county.interpreter.rebuild()
    for worked_out in (1, 2, 3, 3):
        assert len(table(founded, "visit_facts")) == worked_out
        founded.county.interpreter.catch_up_all()


def _tables(founded: Founded) -> Mapping[str, list[dict[str, Any]]]:
    return {name: table(founded, name) for name in (*projected, entry_facts.name, set_aside.name)}


def _said(n: int) -> Mapping[str, Json]:
    common = {"n": n, "at": "2026-09-01T00:00:00.000Z", "at_source": "gnss", "boot": 1, "mono_ms": 1}
    return {**common, "vehicle": "van-07"}
