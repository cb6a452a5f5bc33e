"""What a store looks like after the power came back: every promise, every hash, every file; then it must go on.

``look`` reads with SQLite and hashlib alone; ``go_on`` opens the store as the van does at its next start.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np

from devices.clock import SimulatedClock
from sync.formats import ecg_file
from sync.formats.merkle import leaf_hash, root_of
from sync.formats.notes import Note, NoteRefused, VerifierKey
from sync.record.projection import TABLES
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.powercut.promises import Promises, entries_said
from tests.powercut.writer import COSIGNER, ecg_counts, open_recorder, open_recordings, open_store
from tests.sync.conftest import START, reading

COUNTY = COSIGNER.verifier_key()
Row = tuple[int, bytes, bytes]
"""Place, leaf hash and body of an entry."""


@dataclass
class Found:
    """
    :ivar lost: acknowledged entries and recordings that are not there
    :ivar said: promises that the audit itself was given when it went on
    """

    faults: list[str] = field(default_factory=list)
    lost: int = 0
    said: str = ""

    def miss(self, what: str) -> None:
        self.lost += 1
        self.faults.append(f"{what} lost")


def audit(folder: Path, promises: Promises, number: int, county: VerifierKey = COUNTY) -> Found:
    """
    :param number: makes what is written here differ from other audits; every tenth leaves an emptied WAL behind
    :param county: whose receipts the van keeps
    """
    found = Found()
    if not (folder / "journal.db").exists():
        if promises.entries:
            found.miss("the journal")
        return found
    look(folder, promises, county, found)
    if not found.faults:
        go_on(folder, promises, number, found)
    return found


def look(folder: Path, promises: Promises, county: VerifierKey, found: Found) -> None:
    """Everything that can be known without our own store's help."""
    half_made = (folder / "journal.db-journal").exists()  # before there is a WAL; taking that back is a write
    mode = "rw" if half_made else "ro"
    connection = sqlite3.connect(f"{(folder / 'journal.db').as_uri()}?mode={mode}", uri=True)
    try:
        checked = connection.execute("PRAGMA quick_check").fetchall()
        if checked != [("ok",)]:
            found.faults.append(f"quick_check: {checked[:2]}")
        elif connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries'").fetchone():
            rows = connection.execute("SELECT n, leaf_hash, body FROM entries ORDER BY n").fetchall()
            _look_at_entries(rows, promises, found)
            _look_at_recordings(folder / "recordings", rows, promises, found)
            _look_at_delivery(connection, promises, county, found)
        elif promises.entries:
            found.miss("the table of entries")
    except sqlite3.DatabaseError as fault:
        found.faults.append(f"{type(fault).__name__}: {fault}")
    finally:
        connection.close()


def go_on(folder: Path, promises: Promises, number: int, found: Found) -> None:
    """Open as at the next start, bring back what was under way, rebuild, and commit."""
    store, recordings = open_store(folder), open_recordings(folder)
    clock = SimulatedClock(START + timedelta(hours=number))
    open_recorder(store, recordings, clock, lambda progress: None).recover()
    _look_at_tree(store, found)
    _look_at_tables(store, found)
    _look_at_ecg(store, recordings, promises, found)
    entries = store.commit_now(reading(number * 100_000 + 99_999))
    found.said = entries_said(entries)
    if number % 10 == 0:  # else the next writer finds the WAL as this one did
        store.close()


def _look_at_entries(rows: list[Row], promises: Promises, found: Found) -> None:
    if [n for n, _, _ in rows] != list(range(len(rows))):
        found.faults.append("places are missing in the journal")
    leaves = {n: hashlib.sha256(b"\x00" + body).hexdigest() for n, _, body in rows}
    found.faults += [f"entry {n} does not fit its hash" for n, leaf, _ in rows if leaves[n] != leaf.hex()]
    for n, leaf in promises.entries.items():
        if leaves.get(n) != leaf:
            found.miss(f"entry {n} of {len(rows)}")


def _look_at_delivery(connection: sqlite3.Connection, promises: Promises, county: VerifierKey, found: Found) -> None:
    receipts = dict(connection.execute("SELECT size, note FROM receipts"))
    for size in promises.receipts - receipts.keys():
        found.miss(f"receipt for {size}")
    for size, note in receipts.items():
        try:
            Note.parse(note).verified_by([county])
        except NoteRefused as fault:
            found.faults.append(f"receipt for {size}: {fault}")
    delivered = {sha256 for (sha256,) in connection.execute("SELECT sha256 FROM recordings_delivered")}
    for sha256 in promises.delivered - delivered:
        found.miss(f"delivery of {sha256}")


def _look_at_recordings(folder: Path, rows: list[Row], promises: Promises, found: Found) -> None:
    said = [json.loads(body) for _, _, body in rows if b'"recording/1"' in body]
    named = {entry["sha256"] for entry in said if entry["kind"] == "recording/1"}
    for sha256 in promises.recordings - named:
        found.miss(f"the entry of recording {sha256[:8]}")
    for sha256 in named:
        path = folder / sha256[:2] / sha256
        if not path.exists():
            found.miss(f"recording {sha256[:8]}")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            found.miss(f"recording {sha256[:8]} ({path.stat().st_size} bytes, not its own)")


def _look_at_tree(store: Store, found: Found) -> None:
    bodies = store.entries(0, store.size())
    if len(bodies) != store.size() or store.root(store.size()) != root_of([leaf_hash(body) for body in bodies]):
        found.faults.append("the root does not fit the entries")
    boots = [row["boot"] for row in store.read("SELECT boot FROM entries WHERE kind = 'boot/1' ORDER BY n")]
    if boots != list(range(1, len(boots) + 1)):
        found.faults.append(f"boots are numbered {boots}")


def _look_at_tables(store: Store, found: Found) -> None:
    before = dict(_tables(store))
    store.rebuild()
    for name, rows in _tables(store):
        if rows != before[name]:
            found.faults.append(f"table {name} is not what the journal says")


def _tables(store: Store) -> Iterator[tuple[str, list[dict[str, object]]]]:
    for name, table in TABLES.items():
        yield name, store.read(f"SELECT * FROM {name} ORDER BY {', '.join(table.key)}")


def _look_at_ecg(store: Store, recordings: Recordings, promises: Promises, found: Found) -> None:
    """What was on the disk of an ECG under way is in a recording now, once, sample by sample."""
    rows = store.read("SELECT sha256, started_at FROM recordings WHERE what = 'ecg'")
    for started_at, times in Counter(row["started_at"] for row in rows).items():
        if times > 1:
            found.faults.append(f"the ECG of {started_at} is there {times} times")
    of_start = {row["started_at"]: row["sha256"] for row in rows}
    for started_at, samples in promises.ecg.items():
        if started_at not in of_start:
            found.miss(f"ECG of {started_at}")
            continue
        header, counts = ecg_file.read(recordings.read(of_start[started_at]))
        if len(counts) < samples:
            found.miss(f"ECG of {started_at}: {samples - len(counts)} samples")
        if not np.array_equal(counts, ecg_counts(header.pieces[0].first_index, len(counts))):
            found.faults.append(f"the ECG of {started_at} has other samples than were sent")
