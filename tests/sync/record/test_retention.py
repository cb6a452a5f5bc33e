"""Pruning after retention: what a person's records said is gone, the log and its proofs are as they were."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from devices.clock import SimulatedClock
from sync.delivery.county_client import CountyClient
from sync.delivery.uploader import Uploader
from sync.formats.merkle import leaf_hash, verify_inclusion
from sync.formats.notes import Checkpoint, Note, SeedSigner, cosign
from sync.formats.record_kinds import KINDS
from sync.formats.records import Draft, format_time, read_entry
from sync.record.projection import TABLES
from sync.record.recordings import Recordings
from sync.record.retention import Plan, PruneRefused, Range, Retention
from sync.record.store import EntryPruned, Store
from tests.sync.conftest import START, OpenStore, reading, recording
from tests.sync.county_simulator import CountySimulator

YEARS_LATER = timedelta(days=6 * 366)
OLD_DAY = date(2026, 3, 3)
"""The local day after ``START``."""
NOW = START + YEARS_LATER


class Van:
    """An old morning, whose people the tests choose, and today."""

    def __init__(self, store: Store, folder: Path, clock: SimulatedClock, cosigner: SeedSigner) -> None:
        self.store, self.clock, self._cosigner = store, clock, cosigner
        self.recordings = Recordings(folder / "recordings")
        self.retention = Retention(store, self.recordings)

    def serve(self, patient: str, number: int) -> None:
        """Master record, encounter, reading, a confirmation, and the close of the encounter that names nobody."""
        person = {"patient": patient, "name": f"name of {patient}", "sex": "female", "source": "manual", "phone": "1"}
        encounter = f"e-{patient}-{number}"
        self.store.commit_now(
            Draft("patient/1", person),
            Draft("encounter/1", {"encounter_id": encounter, "patient": patient, "purpose": "x"}, visit="visit-1"),
            reading(number, patient=patient),
            Draft("reading_rejected/1", {"reading": f"reading-{number}", "reason": "twice"}),
            Draft("encounter_closed/1", {"encounter_id": encounter}),
        )

    def record(self, data: bytes) -> str:
        sha256, size = self.recordings.store(data, "x/y")
        self.store.commit_now(recording(sha256, size))
        return sha256

    def deliver(self, *, recordings: bool = True) -> None:
        """As if the county had confirmed everything."""
        checkpoint = self.store.checkpoint_at(self.store.size())
        receipt = checkpoint.signed_also([cosign(checkpoint.text, self._cosigner, self.clock.now())])
        row = (self.store.size(), bytes(receipt), format_time(self.clock.now()))
        self.store.transact(
            lambda db: db.execute("INSERT INTO receipts (size, note, cosigned_at) VALUES (?, ?, ?)", row)
        )
        if recordings:
            self.store.transact(
                lambda db: db.execute("INSERT OR IGNORE INTO recordings_delivered SELECT sha256, '' FROM recordings")
            )

    def prune(self, before: date = OLD_DAY) -> Plan:
        plan = self.retention.plan(before, self.clock.now())
        self.retention.prune(plan, "15 years are over", "zhang.admin")
        return plan

    def kinds(self, *, pruned: bool) -> list[str]:
        rows = self.store.read(f"SELECT kind FROM entries WHERE body IS {'' if pruned else 'NOT '}NULL ORDER BY n")
        return [row["kind"] for row in rows]

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        return {
            name: self.store.read(f"SELECT * FROM {name} ORDER BY {', '.join(table.key)}")
            for name, table in TABLES.items()
        }


@pytest.fixture
def van(store: Store, tmp_path: Path, clock: SimulatedClock, county_cosigner: SeedSigner) -> Van:
    return Van(store, tmp_path / "van", clock, county_cosigner)


def test_only_old_personal_entries_lose_their_bodies_and_the_journal_says_so(van: Van) -> None:
    van.serve("p-1", 1)
    van.deliver()
    van.clock.advance(YEARS_LATER.total_seconds())
    van.serve("p-2", 2)
    van.deliver()
    bodies = van.store.entries(0, van.store.size())
    leaves, root = [leaf_hash(body) for body in bodies], van.store.root(len(bodies))
    plan = van.prune()
    assert van.kinds(pruned=True) == ["patient/1", "encounter/1", "reading/1"]
    assert all(KINDS[kind].personal for kind in van.kinds(pruned=True))
    assert plan.ranges == [Range(1, 3, 3)]
    told = read_entry(van.store.entries(van.store.size() - 1, 1)[0])
    assert (told.kind, told.by) == ("pruned/1", "zhang.admin")
    assert told.fields == {"first": 1, "last": 3, "count": 3, "reason": "15 years are over"}
    assert van.store.root(len(bodies)) == root
    for n, leaf in enumerate(leaves):
        assert verify_inclusion(n, leaf, len(bodies), root, van.store.inclusion_proof(n, len(bodies)))


def test_rows_go_and_stay_away_after_rebuild(van: Van) -> None:
    van.serve("p-1", 1)
    van.deliver()
    van.clock.advance(YEARS_LATER.total_seconds())
    van.serve("p-2", 2)
    van.prune()
    after = van.tables()
    assert [row["patient"] for row in after["patients"]] == ["p-2"]
    assert [row["reading"] for row in after["readings"]] == ["reading-2"], "a rejection alone makes no row"
    assert [row["encounter"] for row in after["encounters"]] == ["e-p-2-2"]
    van.store.rebuild()
    assert van.tables() == after


def test_what_was_removed_is_in_no_file_any_more(
    open_store: OpenStore, tmp_path: Path, clock: SimulatedClock, county_cosigner: SeedSigner
) -> None:
    van = Van(open_store(), tmp_path / "van", clock, county_cosigner)
    van.serve("p-1", 1)
    van.deliver()
    van.store.close()  # all pages are in the database now
    assert b"name of p-1" in (tmp_path / "van" / "journal.db").read_bytes()
    clock.advance(YEARS_LATER.total_seconds())
    Van(open_store(), tmp_path / "van", clock, county_cosigner).prune()
    for name in ("journal.db", "journal.db-wal"):
        assert b"name of p-1" not in (tmp_path / "van" / name).read_bytes()


def test_what_the_county_has_not_confirmed_stays(van: Van) -> None:
    van.serve("p-1", 1)
    van.clock.advance(YEARS_LATER.total_seconds())
    assert van.prune().places == []
    assert van.kinds(pruned=True) == []


def test_recordings_go_with_their_entries_once_the_county_has_them(van: Van) -> None:
    kept = van.record(b"never delivered")
    van.deliver(recordings=False)
    gone = van.record(b"delivered")
    van.deliver(recordings=False)
    row = (gone, format_time(van.clock.now()))
    van.store.transact(lambda db: db.execute("INSERT INTO recordings_delivered VALUES (?, ?)", row))
    van.clock.advance(YEARS_LATER.total_seconds())
    van.prune()
    assert list(van.recordings.names()) == [kept]
    assert [row["sha256"] for row in van.store.read("SELECT sha256 FROM recordings")] == [kept]
    assert van.store.read("SELECT * FROM recordings_delivered") == []
    assert van.store.waiting().recordings == 1


def test_files_whose_turn_a_power_cut_took_go_the_next_time(van: Van) -> None:
    sha256 = van.record(b"left over")
    van.deliver()
    van.clock.advance(YEARS_LATER.total_seconds())
    plan = van.retention.plan(OLD_DAY, van.clock.now())
    drafts = [Draft("pruned/1", {"first": 1, "last": 1, "count": 1, "reason": "x"})]
    van.store.prune(drafts, plan.places)
    assert van.recordings.has(sha256)
    assert van.prune().places == []
    assert not van.recordings.has(sha256)


def test_master_record_stays_while_the_person_comes(van: Van) -> None:
    van.serve("p-1", 1)
    van.serve("p-2", 2)
    van.deliver()
    van.clock.advance(YEARS_LATER.total_seconds())
    van.store.commit_now(reading(3, patient="p-1"))
    plan = van.prune()
    assert [row["patient"] for row in van.store.read("SELECT patient FROM patients")] == ["p-1"]
    assert plan.ranges == [Range(2, 8, 5)], "the kept one stands before the run"


def test_correction_goes_with_what_it_corrects(van: Van) -> None:
    van.serve("p-1", 1)
    van.serve("p-2", 2)
    van.clock.advance(YEARS_LATER.total_seconds())
    for patient, n in (("p-1", 1), ("p-2", 6)):
        fields = {"patient": patient, "phone": "2"}
        van.store.commit_now(
            Draft("correction/1", {"corrects": n, "corrects_kind": "patient/1", "reason": "typo", "fields": fields})
        )
    van.store.commit_now(reading(3, patient="p-2"))
    van.deliver()
    van.prune()
    assert van.kinds(pruned=True).count("correction/1") == 1
    assert van.store.read("SELECT patient, phone FROM patients") == [{"patient": "p-2", "phone": "2"}]


def test_day_that_is_not_over_is_refused(van: Van) -> None:
    with pytest.raises(PruneRefused, match="future"):
        van.retention.plan(date(2026, 3, 4), datetime(2026, 3, 2, tzinfo=UTC))


async def test_delivery_goes_on_after_pruning(van: Van, open_store: OpenStore, signer: SeedSigner) -> None:
    county = CountySimulator(signer.verifier_key(), van.clock)
    client = CountyClient("http://county", county.cosigner.verifier_key(), signer, van.clock, county)
    uploader = Uploader(van.store, van.recordings, client, van.clock, jitter=lambda: 0.0)
    try:
        van.serve("p-1", 1)
        van.record(b"an ECG")
        assert (await uploader.deliver_now()).complete
        van.clock.advance(YEARS_LATER.total_seconds())
        assert van.prune().places
        van.serve("p-2", 2)
        assert (await uploader.deliver_now()).complete
    finally:
        await client.aclose()
    size = van.store.size()
    assert len(county.entries) == size
    assert van.store.waiting().entries == 0
    with pytest.raises(EntryPruned):
        van.store.entries(0, size)
    receipt = van.store.read("SELECT note FROM receipts ORDER BY size DESC LIMIT 1")[0]["note"]
    van.store.close()
    assert open_store().root(size) == Checkpoint.parse(Note.parse(receipt).text).root


async def test_county_that_lost_what_was_pruned_is_told_and_delivery_is_parked(van: Van, signer: SeedSigner) -> None:
    van.serve("p-1", 1)
    county = CountySimulator(signer.verifier_key(), van.clock)
    client = CountyClient("http://county", county.cosigner.verifier_key(), signer, van.clock, county)
    uploader = Uploader(van.store, van.recordings, client, van.clock, jitter=lambda: 0.0)
    try:
        assert (await uploader.deliver_now()).complete
        van.clock.advance(YEARS_LATER.total_seconds())
        van.prune()
        county.entries.clear()
        county.pending.clear()
        county.pending_size = 0
        assert not (await uploader.deliver_now()).complete
        (parked,) = uploader.status().parked
    finally:
        await client.aclose()
    assert "its own backup" in parked.reason
    assert county.entries == []
