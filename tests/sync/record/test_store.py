"""The store: durable, ordered, provable, and clear about a file that it can't use."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import threading
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from devices.clock import SimulatedClock
from sync.formats.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from sync.formats.notes import Checkpoint, Note, SeedSigner, cosign
from sync.formats.records import Draft, DraftRefused, Entry, read_entry
from sync.record.database import APPLICATION_ID, DiskFault, DiskFull, JournalInUse, JournalUnreadable, in_our_words
from sync.record.migrations import projection_version
from sync.record.projection import TABLES
from sync.record.store import Store
from tests.sync.conftest import ORIGIN, OpenStore, reading, recording


def entry_of(store: Store, n: int) -> Entry:
    return read_entry(store.entries(n, 1)[0], n)


def tables(store: Store) -> dict[str, list[dict[str, Any]]]:
    return {name: store.read(f"SELECT * FROM {name} ORDER BY {', '.join(table.key)}") for name, table in TABLES.items()}


def test_entries_have_place_time_boot_and_salt(store: Store, clock: SimulatedClock) -> None:
    clock.advance(12.5)
    store.set_time_source("gnss")
    first, second = store.commit_now(reading(1), reading(2))
    assert [first.n, second.n] == [1, 2]
    assert first.at == clock.now()
    assert (first.at_source, first.boot, first.mono_ms, first.vehicle) == ("gnss", 1, 12_500, "van-07")
    salts = {b.split(b'"salt":"')[1][:32] for b in (first.body, second.body)}
    assert len(salts) == 2
    assert entry_of(store, 1) == first


def test_what_happened_earlier_keeps_both_clocks_together(store: Store, clock: SimulatedClock) -> None:
    clock.advance(100)
    early = clock.now() - timedelta(seconds=40)
    (entry,) = store.commit_now(Draft("network/1", {"facts": {}}, at=early))
    assert (entry.at, entry.mono_ms) == (early, 60_000)


def test_tables_follow_in_the_same_commit(store: Store) -> None:
    store.commit_now(
        reading(7), Draft("reading_confirmed/1", {"reading": "reading-7", "patient": "p-1"}, by="zhou.min")
    )
    (row,) = store.read("SELECT patient, type, confirmed_by, by_hand FROM readings")
    assert row == {"patient": "p-1", "type": "blood_pressure", "confirmed_by": "zhou.min", "by_hand": 0}


def test_refused_draft_writes_nothing_of_its_group(store: Store) -> None:
    with pytest.raises(DraftRefused):
        store.commit_now(reading(1), Draft("reading/1", {}))
    assert store.size() == 1
    assert store.commit_now() == []


def test_practice_is_marked_in_every_entry(open_store: OpenStore) -> None:
    store = open_store(practice=True)
    store.commit_now(reading(1))
    assert all(b'"practice":true' in body for body in store.entries(0, 2))


async def test_concurrent_callers_share_commits_and_keep_their_own_entries(store: Store) -> None:
    results = await asyncio.gather(*(store.commit(reading(n), reading(n + 1000)) for n in range(300)))
    assert sorted(entry.n for pair in results for entry in pair) == list(range(1, 601))
    for n, pair in enumerate(results):
        assert [entry.fields["reading"] for entry in pair] == [f"reading-{n}", f"reading-{n + 1000}"]
        assert pair[1].n == pair[0].n + 1
    assert store.size() == 601


async def test_bad_neighbour_does_not_spoil_a_group_commit(store: Store) -> None:
    def oversized(n: int) -> Draft:
        return Draft("network/1", {"facts": {"long": "x" * 58_900}}, by="y" * 2000 if n % 3 == 0 else None)

    results = await asyncio.gather(*(store.commit(oversized(n)) for n in range(9)), return_exceptions=True)
    assert [isinstance(result, DraftRefused) for result in results] == [n % 3 == 0 for n in range(9)]
    assert store.size() == 7
    assert root_of(map(leaf_hash, store.entries(0, 7))) == store.root(7)


async def test_cancelled_caller_does_not_undo_a_commit(store: Store) -> None:
    task = asyncio.create_task(store.commit(reading(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    store.commit_now(reading(2))
    assert store.size() == 3


def test_checkpoint_and_proofs(store: Store, signer: SeedSigner) -> None:
    store.commit_now(*(reading(n) for n in range(600)))
    note = Note.parse(store.checkpoint())
    checkpoint = Checkpoint.parse(note.text)
    assert note.verified_by([signer.verifier_key()])
    leaves = [leaf_hash(body) for body in store.entries(0, 601)]
    assert checkpoint == Checkpoint(ORIGIN, 601, root_of(leaves))
    assert verify_inclusion(333, leaves[333], 601, checkpoint.root, store.inclusion_proof(333, 601))
    proof = store.consistency_proof(257, 601)
    assert verify_consistency(257, Checkpoint.parse(store.checkpoint_at(257).text).root, 601, checkpoint.root, proof)
    with pytest.raises(ValueError, match="601 entries"):
        store.checkpoint_at(602)
    with pytest.raises(LookupError):
        store.read_subtree(3, 100)


def test_reopening_counts_the_boot_and_anchors_it(
    open_store: OpenStore, clock: SimulatedClock, county_cosigner: SeedSigner
) -> None:
    store = open_store()
    store.commit_now(*(reading(n) for n in range(10)))
    checkpoint = store.checkpoint_at(11)
    receipt = checkpoint.signed_also([cosign(checkpoint.text, county_cosigner, clock.now())])
    row = (11, bytes(receipt), "2026-03-02T00:30:00.000Z")
    store.transact(lambda db: db.execute("INSERT INTO receipts (size, note, cosigned_at) VALUES (?, ?, ?)", row))
    root = store.root(11)
    store.close()
    again = open_store()
    boot, anchor = entry_of(again, 11), entry_of(again, 12)
    assert (boot.kind, boot.boot, again.boot) == ("boot/1", 2, 2)
    assert (anchor.kind, anchor.fields["size"], anchor.fields["root"]) == ("anchor/1", 11, root.hex())
    assert again.delivered_size() == 11
    assert again.waiting().entries == 2


def test_waiting_counts_what_no_receipt_covers(store: Store, clock: SimulatedClock) -> None:
    started = clock.now()
    clock.advance(60)
    entries = store.commit_now(reading(1), recording("ab" * 32, 5), recording("cd" * 32, 5, "clip"))
    waiting = store.waiting()
    assert (waiting.entries, waiting.recordings, waiting.oldest_at) == (4, 2, started)
    assert waiting.bytes == sum(len(entry.body) for entry in entries) + len(entry_of(store, 0).body)


def test_rebuild_makes_the_same_tables_from_the_journal_alone(open_store: OpenStore) -> None:
    store = open_store()
    crew = [{"person": "zhou.min", "role": "village_doctor", "name": "周敏"}]
    visit = {"visit_id": "visit-1", "village": "510999100201", "village_name": "柳溪村", "township": "白果镇"}
    opened: dict[str, Any] = {"proposed_by": "position", "crew": crew, "arrived_at": "2026-03-02T00:30:00.000Z"}
    store.commit_now(
        Draft("visit_opened/1", {**visit, **opened}, by="zhou.min"),
        Draft("patient/1", {"patient": "p-1", "name": "张桂英", "sex": "female", "source": "manual", "phone": "1"}),
        Draft("encounter/1", {"encounter_id": "e-1", "patient": "p-1", "purpose": "follow-up"}, visit="visit-1"),
        *(reading(n) for n in range(50)),
        *(Draft("reading_confirmed/1", {"reading": f"reading-{n}", "patient": "p-1"}) for n in range(0, 50, 2)),
        recording("ab" * 32, 5),
        Draft(
            "correction/1",
            {
                "corrects": 2,
                "corrects_kind": "patient/1",
                "reason": "typed wrong",
                "fields": {"patient": "p-1", "phone": "2"},
            },
        ),
        Draft("encounter_closed/1", {"encounter_id": "e-1"}),
    )
    before = tables(store)
    assert before["patients"][0]["phone"] == "2"
    assert len(before["readings"]) == 50
    store.transact(lambda db: db.execute("DELETE FROM readings"))
    store.transact(lambda db: db.execute("UPDATE patients SET phone = '3'"))
    assert tables(store) != before
    store.rebuild()
    assert tables(store) == before


def test_changed_projection_is_rebuilt_at_open(open_store: OpenStore) -> None:
    store = open_store()
    store.commit_now(reading(1))
    store.transact(lambda db: db.execute("UPDATE meta SET value = 'older' WHERE key = 'projection'"))
    store.transact(lambda db: db.execute("DROP TABLE readings"))
    store.close()
    again = open_store()
    assert len(again.read("SELECT * FROM readings")) == 1
    assert again.read("SELECT value FROM meta WHERE key = 'projection'") == [{"value": projection_version()}]


def test_watchers_hear_of_commits_and_readers_can_not_write(store: Store) -> None:
    heard: list[int] = []
    store.on_commit(lambda entries: heard.extend(entry.n for entry in entries))
    store.commit_now(reading(1), reading(2))
    store.rebuild()  # behind the watcher's call in the queue
    assert heard == [1, 2]
    with pytest.raises(sqlite3.OperationalError):
        store.read("DELETE FROM entries")


def test_watcher_that_fails_does_not_stop_the_writer(store: Store) -> None:
    def fail(_: list[Entry]) -> None:
        raise RuntimeError("a bug elsewhere")

    store.on_commit(fail)
    store.commit_now(reading(1))
    assert store.commit_now(reading(2))[0].n == 2


def test_many_readers_while_writing(store: Store) -> None:
    faults: list[Exception] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                size = store.size()
                assert len(store.entries(0, size)) == size
            except Exception as fault:
                faults.append(fault)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(60):
        store.commit_now(reading(n))
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []


def test_pragmas_are_what_durability_needs(store: Store) -> None:
    found: dict[str, Any] = {}
    store.transact(
        lambda db: found.update(
            {
                name: db.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("synchronous", "journal_mode", "application_id")
            }
        )
    )
    assert found == {"synchronous": 2, "journal_mode": "wal", "application_id": APPLICATION_ID}


def test_opening_and_what_waits_take_no_longer_with_a_large_journal(
    open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in steps of SQLite's machine: nothing goes through the entries one by one."""
    steps = [0]
    connect = sqlite3.connect

    def counting(*args: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*args, **named)
        connection.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 100)
        return connection

    def hundreds_of_steps(entries: int) -> int:
        folder = tmp_path / str(entries)
        store = open_store(folder)
        store.commit_now(*(reading(n) for n in range(entries)), *(recording(f"{n:064x}", 5) for n in range(20)))
        store.close()
        monkeypatch.setattr(sqlite3, "connect", counting)
        steps[0] = 0
        store = open_store(folder)
        assert store.waiting().entries == entries + 22
        store.close()
        monkeypatch.setattr(sqlite3, "connect", connect)
        return steps[0]

    small, large = hundreds_of_steps(100), hundreds_of_steps(6400)
    assert 0 < large < 2 * small


def test_sums_that_replace_counting_are_right(store: Store) -> None:
    bodies = [entry.body for n in range(20) for entry in store.commit_now(*(reading(n) for _ in range(n % 4)))]
    rows = store.read("SELECT length(body) AS size, total_bytes FROM entries ORDER BY n")
    assert [row["total_bytes"] for row in rows] == list(accumulate(row["size"] for row in rows))
    assert store.waiting().bytes == len(store.entries(0, 1)[0]) + sum(map(len, bodies))


def test_every_complete_subtree_is_read_back(store: Store) -> None:
    store.commit_now(*(reading(n) for n in range(299)))
    leaves = [leaf_hash(body) for body in store.entries(0, 300)]
    for level in range(9):
        for index in range(300 >> level):
            expected = root_of(leaves[index << level : (index + 1) << level])
            assert store.read_subtree(level, index) == expected
        with pytest.raises(LookupError):
            store.read_subtree(level, 300 >> level)


def test_second_process_is_kept_out(open_store: OpenStore) -> None:
    store = open_store()
    with pytest.raises(JournalInUse, match="another process"):
        open_store()
    store.close()
    store.close()
    open_store()


def test_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(RuntimeError, match="closed"):
        store.commit_now(reading(1))
    with pytest.raises(RuntimeError, match="closed"):
        store.read("SELECT 1")


async def test_who_commits_while_the_store_closes_is_answered(store: Store) -> None:
    """Everyone hears: written, or that the store is closed; never nothing."""
    waiting = [asyncio.create_task(store.commit(reading(n))) for n in range(50)]
    await asyncio.sleep(0)  # all are handed in
    closing = threading.Thread(target=store.close)
    closing.start()
    late = [asyncio.create_task(store.commit(reading(n))) for n in range(50)]
    async with asyncio.timeout(10):
        results = await asyncio.gather(*waiting, *late, return_exceptions=True)
    closing.join()
    assert all(isinstance(result, list) for result in results[:50])
    assert all(isinstance(result, list) or "closed" in str(result) for result in results[50:])


async def test_who_writes_at_once_overtakes_nobody(store: Store) -> None:
    """Places follow the order of handing in, whichever thread writes."""
    tasks, now = [], []
    for n in range(40):
        tasks.append(asyncio.create_task(store.commit(reading(2 * n))))
        await asyncio.sleep(0)
        now += store.commit_now(reading(2 * n + 1))
    earlier = [entry for result in await asyncio.gather(*tasks) for entry in result]
    together = sorted([*earlier, *now], key=lambda entry: entry.n)
    assert [entry.fields["reading"] for entry in together] == [f"reading-{n}" for n in range(80)]


def test_many_threads_write_each_entry_once(store: Store) -> None:
    threads = [
        threading.Thread(target=lambda first=first: [store.commit_now(reading(n)) for n in range(first, first + 25)])
        for first in range(0, 200, 25)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bodies = store.entries(0, store.size())
    said = [read_entry(body, n) for n, body in enumerate(bodies)]
    assert {entry.fields["reading"] for entry in said[1:]} == {f"reading-{n}" for n in range(200)}
    assert [entry.mono_ms for entry in said] == sorted(entry.mono_ms for entry in said)
    assert root_of(map(leaf_hash, bodies)) == store.root(201)


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE somebody (else_s TEXT)")
    connection.close()


@pytest.mark.parametrize("make", [_garbage, _foreign])
def test_file_that_is_no_journal_asks_a_person_and_stays_untouched(
    open_store: OpenStore, tmp_path: Path, make: Any
) -> None:
    (tmp_path / "van").mkdir()
    path = tmp_path / "van" / "journal.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(JournalUnreadable, match=r"stick|move it away"):
        open_store()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET body = replace(body, 'reading-4', 'reading-9') WHERE n = 5",
        "UPDATE entries SET completed = substr(completed, 1, 32) WHERE n = 3",
        "DELETE FROM entries WHERE n = 5",
        "UPDATE meta SET value = 'van-08.qingyu.example' WHERE key = 'origin'",
    ],
)
def test_tampered_journal_is_not_opened(
    open_store: OpenStore, clock: SimulatedClock, county_cosigner: SeedSigner, damage: str
) -> None:
    store = open_store()
    store.commit_now(*(reading(n) for n in range(5)))
    checkpoint = store.checkpoint_at(6)
    receipt = checkpoint.signed_also([cosign(checkpoint.text, county_cosigner, clock.now())])
    row = (6, bytes(receipt), "2026-03-02T00:30:00.000Z")
    store.transact(lambda db: db.execute("INSERT INTO receipts (size, note, cosigned_at) VALUES (?, ?, ?)", row))
    store.transact(lambda db: db.execute(damage))
    store.close()
    with pytest.raises(JournalUnreadable, match="Don't delete it"):
        open_store()


def test_broken_page_asks_a_person(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    store.commit_now(*(reading(n) for n in range(500)))
    store.close()
    path = tmp_path / "van" / "journal.db"
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(JournalUnreadable):
        open_store()


def test_full_disk_is_said_in_words_and_loses_nothing(store: Store, tmp_path: Path) -> None:
    store.commit_now(reading(0))
    pages: list[int] = []
    store.transact(lambda db: pages.append(db.execute("PRAGMA page_count").fetchone()[0]))
    limit = f"PRAGMA max_page_count={pages[0] + 2}"
    store._run(lambda journal: journal._db.execute(limit).fetchall())  # the pragma does not work inside a transaction
    with pytest.raises(DiskFull, match="disk is full"):
        _fill(store)
    size = store.size()
    assert root_of(map(leaf_hash, store.entries(0, size))) == store.root(size)
    store._run(lambda journal: journal._db.execute("PRAGMA max_page_count=1000000").fetchall())
    store.commit_now(reading(500))
    assert store.size() == size + 1


def test_disk_that_takes_nothing_is_no_reason_to_move_the_journal_away(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    store.commit_now(reading(0))
    store.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(DiskFault, match="does not take writes"):
            open_store()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert open_store().size() == store.size() + 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "journal.lock").mkdir()
    with pytest.raises(DiskFault, match=r"journal\.lock"):
        open_store(tmp_path / "other")


def test_journal_that_another_program_writes_is_in_use(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    store.transact(lambda db: None)
    store._run(lambda journal: journal._db.execute("PRAGMA busy_timeout=0").fetchall())
    other = sqlite3.connect(tmp_path / "van" / "journal.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalInUse, match="stop it first"):
        store.commit_now(reading(0))
    other.rollback()
    other.close()
    assert store.commit_now(reading(0))[0].n == 1


def _fill(store: Store) -> None:
    for n in range(1, 200):
        store.commit_now(reading(n))


def test_other_database_faults_stay_what_they_are(tmp_path: Path) -> None:
    fault = sqlite3.ProgrammingError("a bug")
    assert in_our_words(fault, tmp_path) is fault
