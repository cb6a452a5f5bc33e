"""Schema of the journal's database. Migrations are only ever added: old databases are opened for ever.

The searchable tables are not migrated: they are a projection (``sync.projection``), made again from the journal when
their definition changes.
"""

from __future__ import annotations

import hashlib

from sqlite_utils import Database, Migrations

from sync.projection import TABLES

_STORAGE = "WITHOUT ROWID, partial indexes"
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
