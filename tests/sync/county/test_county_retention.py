"""What a vehicle removed after retention goes at its county too; hashes, proofs and verdicts stay as they were."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from county_month import Founded, Van, at
from sqlalchemy import func, select

from devices.clock import SimulatedClock
from sync.county.__main__ import main
from sync.county.retention import CountyRetention, PruneRefused
from sync.county.schema import entries, projected, uploads
from sync.formats.merkle import root_of
from sync.formats.notes import Checkpoint, Note
from sync.formats.record_kinds import KINDS
from sync.formats.records import Draft, read_entry
from sync.record.retention import Retention
from tests.sync.conftest import recording

YEARS = timedelta(days=16 * 366)
BEFORE = date(2027, 1, 1)
ECG = b"an ECG of fifteen years ago" * 400


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    """On SQLite and on PostgreSQL; a van with an old visit, a recording of it, and a visit of today."""
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), database_url)
    van = founded.van("van-07")
    van.visit(founded.villages[0], at(9, 1, 9), people=3)
    record(van, ECG)
    await van.deliver()
    founded.clock.advance(YEARS.total_seconds())
    van.restart()
    van.visit(founded.villages[1], founded.clock.now(), people=2)
    record(van, b"an ECG of today")
    await van.deliver()
    yield founded
    founded.close()


def record(van: Van, data: bytes) -> None:
    sha256, size = van.recordings.store(data, "x/y")
    van.store.commit_now(recording(sha256, size))


def van_prunes(founded: Founded, before: date = BEFORE) -> int:
    """On the van, by its own command; returns how many bodies went."""
    van = founded.vans["van-07"]
    retention = Retention(van.store, van.recordings)
    return retention.prune(retention.plan(before, founded.clock.now()), "保存期满", "zhang.admin").entries


def bodies(founded: Founded) -> dict[int, bytes]:
    origin = founded.vans["van-07"].signer.name
    rows = founded.county.database.rows(select(entries.c.n, entries.c.body).where(entries.c.origin == origin))
    return {row["n"]: row["body"] for row in rows}


def count(founded: Founded, table: str) -> int:
    row = founded.county.database.row(select(func.count().label("n")).select_from(projected[table]))
    assert row is not None
    return int(row["n"])


async def test_what_the_van_removed_is_removed_here(founded: Founded) -> None:
    van, county = founded.vans["van-07"], founded.county
    before, judged = bodies(founded), county.coverage.table(date(2026, 9, 1), practice=False)
    patients, readings = count(founded, "patients"), count(founded, "readings")
    gone = van_prunes(founded)
    assert gone > 10
    assert county.retention.plan(BEFORE) == []  # it has not heard of it yet
    await van.deliver()
    plan = county.retention.plan(BEFORE)
    assert sum(len(told.places) for told in plan) == sum(told.count for told in plan) == gone
    assert {(told.reason, told.by, told.problem) for told in plan} == {("保存期满", "zhang.admin", "")}
    pruned = county.retention.prune(plan)
    assert (pruned.entries, pruned.recordings) == (gone, 1)

    after = bodies(founded)
    removed = {n for n, body in after.items() if not body}
    assert removed == {row["n"] for row in van.store.read("SELECT n FROM entries WHERE body IS NULL")}
    assert all(KINDS[read_entry(before[n], n).kind].personal for n in removed)
    assert {n: body for n, body in before.items() if n not in removed} == {n: after[n] for n in before if after[n]}
    assert count(founded, "patients") == patients - 3
    assert count(founded, "readings") == readings - 6
    (kept,) = county.database.rows(select(uploads))
    assert kept["unwanted_at"] is None
    assert list(van.recordings.names()) == [kept["sha256"]]
    assert county.blobs.has(kept["sha256"])

    again = county.coverage.table(date(2026, 9, 1), practice=False)
    assert [row.verdict for row in again.rows] == [row.verdict for row in judged.rows]
    origin, size = van.signer.name, county.mirror.log(van.signer.name).mirror_size
    note = county.mirror.checkpoint(origin)
    assert note is not None
    assert root_of(county.mirror.leaves(origin, 0, size)) == Checkpoint.parse(Note.parse(note).text).root
    assert county.retention.plan(BEFORE) == []
    assert county.retention.prune([]) == type(pruned)(0, 0)
    county.interpreter.rebuild()
    assert count(founded, "patients") == patients - 3
    van.visit(founded.villages[2], founded.clock.now(), people=1)
    assert (await van.deliver()).complete


async def test_entry_bundles_of_removed_entries_are_no_longer_there_and_hashes_are(founded: Founded) -> None:
    van = founded.vans["van-07"]
    van_prunes(founded)
    await van.deliver()
    founded.county.retention.prune(founded.county.retention.plan(BEFORE))
    size = founded.county.mirror.log(van.signer.name).mirror_size
    assert size < 256
    name = f"/log/{van.signer.name}/tile/entries/000.p/{size}"
    answer = await founded.signed(van.signer, "GET", name)
    assert (answer.status_code, "removed after retention" in answer.text) == (404, True)
    async with founded.client() as client:
        assert (await client.get(f"/log/{van.signer.name}/tile/0/000.p/{size}")).status_code == 200


async def test_a_van_cannot_have_young_records_removed(founded: Founded) -> None:
    van, before = founded.vans["van-07"], bodies(founded)
    places = [n for n, body in before.items() if KINDS[read_entry(body, n).kind].personal]
    told = {"first": places[0], "last": places[-1], "count": len(places), "reason": "保存期满"}
    van.store.commit_now(Draft("pruned/1", told, by="zhang.admin"))
    await van.deliver()
    (refused,) = founded.county.retention.plan(BEFORE)
    assert refused.places == ()
    assert "one of them is of 2042" in refused.problem
    assert founded.county.retention.prune([refused]).entries == 0
    with pytest.raises(PruneRefused, match="in the future"):
        founded.county.retention.plan(date(2100, 1, 1))
    assert {n: body for n, body in bodies(founded).items() if n in before} == before


async def test_a_number_that_does_not_fit_removes_nothing(founded: Founded) -> None:
    van = founded.vans["van-07"]
    told = {"first": 0, "last": 60, "count": 1, "reason": "保存期满"}
    van.store.commit_now(Draft("pruned/1", told, by="zhang.admin"))
    await van.deliver()
    (refused,) = founded.county.retention.plan(BEFORE)
    assert refused.problem.startswith("there are ")
    assert founded.county.retention.prune([refused]).entries == 0
    assert all(bodies(founded).values())


async def test_a_cut_between_bodies_and_recordings_is_made_good(
    founded: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    van_prunes(founded)
    await founded.vans["van-07"].deliver()
    with monkeypatch.context() as cut:
        cut.setattr(CountyRetention, "_remove_unwanted", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            founded.county.retention.prune(founded.county.retention.plan(BEFORE))
    assert len(founded.county.database.rows(select(uploads))) == 2
    assert founded.county.retention.plan(BEFORE) == []
    assert founded.county.retention.prune([]).recordings == 1
    assert len(founded.county.database.rows(select(uploads))) == 1


async def test_nothing_of_it_is_in_the_database_file_any_more(tmp_path: Path) -> None:
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
    van = founded.van("van-07")
    name = "甘草半夏泻心".encode()
    van.store.commit_now(Draft("patient/1", {"patient": "p-1", "name": name.decode(), "sex": "2", "source": "manual"}))
    await van.deliver()
    founded.clock.advance(YEARS.total_seconds())
    van.restart()
    van_prunes(founded)
    await van.deliver()
    founded.close()
    folder = founded.folder / "county"

    def holds() -> bool:
        return any(name in file.read_bytes() for file in folder.glob("county.db*"))

    assert holds()
    reopened = founded.open().state.county
    reopened.retention.prune(reopened.retention.plan(BEFORE))
    reopened.close()
    assert not holds()


async def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8) - YEARS))
    van = founded.van("van-07")
    van.store.commit_now(Draft("patient/1", {"patient": "p-1", "name": "演练", "sex": "2", "source": "manual"}))
    await van.deliver()
    founded.clock.advance(10 * 366 * 86400)
    van.restart()
    van_prunes(founded, date(2015, 1, 1))
    await van.deliver()
    file = tmp_path / "county.toml"
    file.write_text('name = "青峪县"\ndata = "county"\norigin = "county.qingyu.example"\n', encoding="utf-8")
    asked = ["--settings", str(file), "prune", "--before", "2015-01-01"]
    assert main([*asked, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "保存期满 (zhang.admin)" in said
    assert "nothing was removed" in said
    assert main(asked) == 0
    assert "removed the bodies of 1 entries and 0 recordings" in capsys.readouterr().out
    assert [(line.account, line.action, line.outcome) for line in founded.county.audit.latest(1)] == [
        ("command-line", "prune", "done")
    ]
    founded.close()


async def test_a_power_cut_before_all_was_read_again_takes_no_recording_that_is_still_named(
    founded: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    van, county = founded.vans["van-07"], founded.county
    record(van, ECG)  # the same bytes once more, named by an entry of today
    await van.deliver()
    van_prunes(founded)
    await van.deliver()

    def cut() -> int:
        raise KeyboardInterrupt

    plan = county.retention.plan(BEFORE)
    with monkeypatch.context() as power:
        power.setattr(county.interpreter, "catch_up_all", cut)
        with pytest.raises(KeyboardInterrupt):
            county.retention.prune(plan)
    assert count(founded, "recordings") == 0  # nothing of the log is read yet
    assert county.retention.prune([]).recordings == 0
    assert county.blobs.has(sha256(ECG).hexdigest())
    assert county.retention.plan(BEFORE) == []
