"""The journal on its one writing connection: drafts in, entries with their place, hashes and table rows out.

Everything of a batch is one transaction: journal rows, completed subtree hashes and the rows of the searchable tables.
Not thread-safe; ``sync.record.store`` gives it its own thread.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlite_utils import Database

from devices.events import emit
from sync.formats.merkle import HASH_BYTES, Frontier, leaf_hash, subtree_root
from sync.formats.notes import Checkpoint, Note
from sync.formats.record_kinds import KINDS
from sync.formats.records import (
    SALT_BYTES,
    Draft,
    Entry,
    EntryUnreadable,
    Stamp,
    format_time,
    read_entry,
    to_the_millisecond,
    write_entry,
)
from sync.proof.anchors import anchor_of
from sync.record.database import DiskFull, in_our_words, not_opened, unreadable
from sync.record.migrations import create_projection, migrations, projection_version
from sync.record.projection import Upsert, rows
from sync.record.reserve import Reserve
from sync.record.tables import TABLES

REBUILT_TOGETHER = 1000
T = TypeVar("T")


class Group(NamedTuple):
    """Drafts that are committed together or not at all, with the moment they were handed over."""

    drafts: Sequence[Draft]
    at: datetime
    mono_ms: int


@dataclass(frozen=True, slots=True)
class Writing:
    """What stays the same for all entries of one boot."""

    origin: str
    vehicle: str
    practice: bool
    random_bytes: Callable[[int], bytes]


class Journal:
    """``at_source`` says where wall time comes from: "rtc", "ntp" or "gnss"."""

    def __init__(self, db: Database, path: Path, writing: Writing, reserve: Reserve) -> None:
        """Bring the schema up to date and find the right edge of the tree.

        :raises JournalUnreadable: damaged, or the journal of another origin.
        :raises DiskFull, DiskFault: the journal is good and the disk is not.
        """
        self._db, self._path, self._writing, self._reserve = db, path, writing, reserve
        self._statements: dict[tuple[str, ...], str] = {}
        self.at_source = "rtc"
        try:
            migrations.apply(db)
            self._check_origin()
            self._frontier = self._read_frontier()
            self._total_bytes = self._read_total_bytes()
            self._check_receipt()
            if self._meta("projection") != projection_version():
                self.rebuild()
        except sqlite3.Error as fault:
            raise not_opened(fault, path) from fault
        self.boot = self._last_boot()

    @property
    def size(self) -> int:
        return self._frontier.size

    def begin_boot(self, at: datetime, mono_ms: int, software: str) -> list[Entry]:
        """Count the boot and write what opens it: boot/1 and, when there is a receipt, anchor/1."""
        self.boot += 1
        drafts = [Draft("boot/1", {"software": software})]
        receipt = self._db.execute("SELECT note FROM receipts ORDER BY size DESC LIMIT 1").fetchone()
        if receipt:
            drafts.append(anchor_of(receipt[0]))
        result = self.append([Group(drafts, at, mono_ms)])[0]
        if isinstance(result, Exception):
            raise result
        return result

    def append(self, groups: Sequence[Group]) -> list[list[Entry] | Exception]:
        """Commit ``groups`` in one transaction; durable when this returns.

        Per group its entries, or why it was refused: a refused group leaves the others alone.
        """
        results: list[list[Entry] | Exception] = []
        written: list[Entry] = []
        upserts: list[Upsert] = []
        for group in groups:
            try:
                entries = self._write(group, self.size + len(written))
                changes = [upsert for entry in entries for upsert in rows(entry)]
            except Exception as refusal:  # whatever it is, it is this group's caller who must hear of it
                results.append(refusal)
                continue
            results.append(entries)
            written += entries
            upserts += changes
        if written:
            self._frontier, self._total_bytes = self.transact(lambda _: self._insert(written, upserts))
        return results

    def transact(self, work: Callable[[Database], T]) -> T:
        """Run ``work`` in a transaction of its own; durable when this returns. On a full disk the reserve makes room.

        :param work: may be run twice.
        :raises DiskFull, DiskFault, JournalUnreadable: nothing of it was written.
        """
        try:
            return self._transact(work)
        except DiskFull:
            if not self._reserve.release():
                raise
            return self._transact(work)

    def _transact(self, work: Callable[[Database], T]) -> T:
        connection = self._db.conn
        try:
            connection.execute("BEGIN")
            try:
                result = work(self._db)
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()  # nothing where SQLite itself has done it
                raise
            return result
        except sqlite3.Error as fault:
            with suppress(sqlite3.Error):  # a COMMIT that failed late may have been written all the same
                self._frontier = self._read_frontier()
                self._total_bytes = self._read_total_bytes()
            raise in_our_words(fault, self._path) from fault

    def rebuild(self) -> None:
        """Make the searchable tables again from the journal alone. :raises DiskFull, DiskFault: as ``transact``."""
        self.transact(lambda _: self._rebuild())

    def prune(self, group: Group, places: Sequence[int]) -> list[Entry]:
        """Append ``group``, which tells of it, and remove the bodies of ``places`` with the rows they made.

        Leaf hashes, the tree and all proofs stay. What was removed is overwritten in the file, too.
        """
        entries = self._write(group, self.size)

        def work(db: Database) -> tuple[Frontier, int]:
            behind = self._insert(entries, [])
            db.conn.executemany("UPDATE entries SET body = NULL WHERE n = ?", ((n,) for n in places))
            self._rebuild()
            db.execute("DELETE FROM recordings_delivered WHERE sha256 NOT IN (SELECT sha256 FROM recordings)")
            return behind

        self._db.execute("PRAGMA secure_delete=ON")
        self._frontier, self._total_bytes = self.transact(work)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return entries

    def _rebuild(self) -> None:
        create_projection(self._db)
        cursor = self._db.conn.execute("SELECT n, body FROM entries WHERE body IS NOT NULL ORDER BY n")
        while some := cursor.fetchmany(REBUILT_TOGETHER):
            self._upsert([upsert for n, body in some for upsert in self._rows_of(n, body)])
        if self._db.execute("SELECT 1 FROM entries WHERE body IS NULL LIMIT 1").fetchone():
            for name, table in TABLES.items():
                if table.made:  # what later entries tell of something whose own entry was pruned
                    self._db.execute(f"DELETE FROM {name} WHERE {table.made} IS NULL")
        self._set_meta("projection", projection_version())

    def _rows_of(self, n: int, body: bytes) -> list[Upsert]:
        try:
            return rows(read_entry(body, n))
        except EntryUnreadable as fault:  # of a release whose table of kinds was another one: it stays in the journal
            emit("entry_set_aside", level=logging.ERROR, origin=self._writing.origin, n=n, reason=str(fault))
            return []

    def _write(self, group: Group, first: int) -> list[Entry]:
        writing, entries = self._writing, []
        now = to_the_millisecond(group.at)
        for n, draft in enumerate(group.drafts, first):
            at, mono_ms = now, group.mono_ms
            if draft.at is not None:
                at = to_the_millisecond(draft.at)
                mono_ms += round((draft.at - group.at) / timedelta(milliseconds=1))
            salt = writing.random_bytes(SALT_BYTES) if KINDS[draft.kind].personal else b""
            stamp = Stamp(n, at, self.at_source, self.boot, mono_ms, writing.vehicle, salt, writing.practice)
            entries.append(write_entry(draft, stamp))
        return entries

    def _insert(self, entries: Sequence[Entry], upserts: Sequence[Upsert]) -> tuple[Frontier, int]:
        """Write ``entries`` with their hashes and rows; the right edge of the tree and the bytes of all bodies then."""
        frontier, total_bytes = self._frontier.copy(), self._total_bytes
        lines = []
        for entry in entries:
            leaf = entry.leaf_hash
            completed = b"".join(hashed for _, _, hashed in frontier.append(leaf)) or None
            total_bytes += len(entry.body)
            at = format_time(entry.at)
            lines.append((entry.n, entry.kind, entry.boot, at, leaf, entry.body, completed, total_bytes))
        self._db.conn.executemany(
            "INSERT INTO entries (n, kind, boot, at, leaf_hash, body, completed, total_bytes)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            lines,
        )
        self._upsert(upserts)
        return frontier, total_bytes

    def _upsert(self, upserts: Iterable[Upsert]) -> None:
        """Those of one shape that follow each other go to SQLite together."""
        for shape, alike in groupby(upserts, key=_shape):
            together = list(alike)
            statement = self._statements.get(shape)
            if statement is None:
                statement = self._statements[shape] = _upsert_statement(together[0])
            self._db.conn.executemany(statement, [(*key.values(), *columns.values()) for _, key, columns in together])

    def _check_origin(self) -> None:
        origin = self._meta("origin")
        if origin is None:
            with self._db.atomic():
                self._set_meta("origin", self._writing.origin)
        elif origin != self._writing.origin:
            raise unreadable(self._path, f"it is the journal of {origin}, not of {self._writing.origin}")

    def _read_frontier(self) -> Frontier:
        last = self._db.execute("SELECT n, leaf_hash, body FROM entries ORDER BY n DESC LIMIT 1").fetchone()
        if last is None:
            return Frontier()
        n, leaf, body = last
        if body is not None and (not isinstance(body, bytes) or leaf_hash(body) != leaf):
            raise unreadable(self._path, f"entry {n} does not fit its hash")
        return Frontier.read(n + 1, self._subtree)

    def _read_total_bytes(self) -> int:
        found = self._db.execute("SELECT total_bytes FROM entries ORDER BY n DESC LIMIT 1").fetchone()
        return int(found[0]) if found else 0

    def _check_receipt(self) -> None:
        """The county's last receipt must be for this very tree."""
        found = self._db.execute("SELECT note FROM receipts ORDER BY size DESC LIMIT 1").fetchone()
        if not found:
            return
        checkpoint = Checkpoint.parse(Note.parse(found[0]).text)
        if checkpoint.size > self.size or subtree_root(0, checkpoint.size, self._subtree) != checkpoint.root:
            raise unreadable(self._path, f"the receipt for {checkpoint.size} entries does not fit them")

    def _subtree(self, level: int, index: int) -> bytes:
        found = read_subtree(self._db.conn, level, index)
        if found is None:
            raise unreadable(self._path, f"hash {level}/{index} is missing")
        return found

    def _last_boot(self) -> int:
        found = self._db.execute("SELECT boot FROM entries ORDER BY n DESC LIMIT 1").fetchone()
        return int(found[0]) if found else 0

    def _meta(self, key: str) -> str | None:
        found = self._db.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
        return None if found is None else str(found[0])

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", [key, value])


def read_subtree(connection: sqlite3.Connection, level: int, index: int) -> bytes | None:
    """The hash of a complete subtree, None when the tree has not got that far. It stands with its last entry."""
    if level == 0:
        found = connection.execute("SELECT leaf_hash FROM entries WHERE n = ?", [index]).fetchone()
    else:
        place = (HASH_BYTES * (level - 1) + 1, HASH_BYTES, ((index + 1) << level) - 1)
        found = connection.execute("SELECT substr(completed, ?, ?) FROM entries WHERE n = ?", place).fetchone()
    return found[0] if found and isinstance(found[0], bytes) and len(found[0]) == HASH_BYTES else None


def _shape(upsert: Upsert) -> tuple[str, ...]:
    return upsert.table, *upsert.key, *upsert.columns


def _upsert_statement(upsert: Upsert) -> str:
    names = (*upsert.key, *upsert.columns)
    sql = f"INSERT INTO {upsert.table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    changes = ", ".join(f"{name} = excluded.{name}" for name in upsert.columns)
    return f"{sql} ON CONFLICT ({', '.join(upsert.key)}) DO " + (f"UPDATE SET {changes}" if changes else "NOTHING")
