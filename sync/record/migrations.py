"""Schema of the journal's database. Migrations are only ever added: old databases are opened for ever.

The searchable tables are not migrated: they are a projection (``sync.record.tables``), made again from the journal
when their definition changes.
"""

from __future__ import annotations

import hashlib
from itertools import groupby
from operator import itemgetter

from sqlite_utils import Database, Migrations

from sync.record.tables import TABLES

_STORAGE = "WITHOUT ROWID, partial indexes, recordings_waiting"
migrations = Migrations("journal")


@migrations(name="0001_journal")
def _journal(db: Database) -> None:
    for statement in (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        # body is NULL once pruned after retention; the leaf hash stays
        "CREATE TABLE entries (n INTEGER PRIMARY KEY, kind TEXT NOT NULL, boot INTEGER NOT NULL, at TEXT NOT NULL,"
        " leaf_hash BLOB NOT NULL, body BLOB)",
        # hashes of complete subtrees above the leaves: over entries [i << level, (i + 1) << level)
        "CREATE TABLE subtrees (level INTEGER, i INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, i)) WITHOUT ROWID",
        # checkpoints with the county's cosignature: what has been delivered
        "CREATE TABLE receipts (size INTEGER PRIMARY KEY, note BLOB NOT NULL, cosigned_at TEXT NOT NULL)",
        "CREATE TABLE recordings_delivered (sha256 TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID",
        # what the county refused: kept apart, shown, sent again only when a person says so
        "CREATE TABLE parked (what TEXT PRIMARY KEY, code TEXT NOT NULL, reason TEXT NOT NULL, status INTEGER NOT NULL,"
        " at TEXT NOT NULL) WITHOUT ROWID",
    ):
        db.execute(statement)


@migrations(name="0002_fewer_pages")
def _fewer_pages(db: Database) -> None:
    """What a commit writes lies together: a page less for the subtrees, and sums instead of counting."""
    # hashes of the complete subtrees above the leaves that end with this entry, lowest level first, 32 bytes each
    db.execute("ALTER TABLE entries ADD COLUMN completed BLOB")
    # of all bodies up to this one, as they were written
    db.execute("ALTER TABLE entries ADD COLUMN total_bytes INTEGER")
    ended = db.execute("SELECT ((i + 1) << level) - 1 AS n, hash FROM subtrees ORDER BY n, level")
    db.conn.executemany(
        "UPDATE entries SET completed = ? WHERE n = ?",
        ((b"".join(row[1] for row in rows), n) for n, rows in groupby(ended, key=itemgetter(0))),
    )
    db.execute(
        "UPDATE entries SET total_bytes = sums.total FROM"
        " (SELECT n, sum(length(body)) OVER (ORDER BY n) AS total FROM entries) AS sums WHERE sums.n = entries.n"
    )
    db.execute("DROP TABLE subtrees")
    # recordings that the county has not confirmed; kept by triggers, so that whoever writes need not think of it
    db.execute("CREATE TABLE recordings_waiting (sha256 TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute(
        "CREATE TRIGGER recording_arrived AFTER INSERT ON recordings_delivered"
        " BEGIN DELETE FROM recordings_waiting WHERE sha256 = new.sha256; END"
    )
    db.execute(
        "CREATE TRIGGER recording_taken_back AFTER DELETE ON recordings_delivered"
        " BEGIN INSERT INTO recordings_waiting SELECT sha256 FROM recordings WHERE sha256 = old.sha256; END"
    )


def projection_version() -> str:
    """Changes whenever the searchable tables are defined otherwise."""
    return hashlib.sha256(f"{_STORAGE}{sorted(TABLES.items())!r}".encode()).hexdigest()


def create_projection(db: Database) -> None:
    """Drop and create the searchable tables, empty."""
    for name, table in TABLES.items():
        db.execute(f"DROP TABLE IF EXISTS {name}")
        columns = ", ".join(f"{column} {kind.upper()}" for column, kind in table.columns.items())
        db.execute(f"CREATE TABLE {name} ({columns}, PRIMARY KEY ({', '.join(table.key)})) WITHOUT ROWID")
        for column in table.index:  # what is absent costs no page in the commit
            db.execute(f"CREATE INDEX {name}_{column} ON {name} ({column}) WHERE {column} IS NOT NULL")
    db.execute("DELETE FROM recordings_waiting")
    db.execute(
        "CREATE TRIGGER recording_waits AFTER INSERT ON recordings"
        " WHEN NOT EXISTS (SELECT 1 FROM recordings_delivered WHERE sha256 = new.sha256)"
        " BEGIN INSERT INTO recordings_waiting (sha256) VALUES (new.sha256); END"
    )
