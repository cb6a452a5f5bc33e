"""The van's SQLite file: opened with the guarantees that the journal needs, or not at all.

WAL with ``synchronous=FULL``: a transaction whose COMMIT returned survives a power cut. Exactly one connection writes;
SQLite before 3.51.3 can lose a WAL when two do (its WAL-reset bug), so a lock file keeps a second process out and
readers open ``mode=ro``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from devices.errors import AskPerson
from sync.record.secret_file import sync_folder

APPLICATION_ID = 0x58554E5A
"""``PRAGMA application_id`` of a journal: "XUNZ"."""
WAL_PAGES = 1000
"""So long the write-ahead log may get, 4 MB, before its pages move to the database and it begins anew: it is what a
start after a power cut reads again, and what a full disk must have room for."""
_MAGIC = b"SQLite format 3\x00"


class JournalUnreadable(AskPerson):
    """The journal's file is damaged, or is no journal, or belongs to another vehicle."""

    code = "journal_unreadable"


class JournalInUse(AskPerson):
    code = "journal_in_use"


class DiskFull(AskPerson):
    code = "disk_full"


class DiskFault(AskPerson):
    code = "disk_fault"


class FolderLock:
    """Holds ``journal.lock`` for as long as the process has the journal open."""

    def __init__(self, folder: Path) -> None:
        """:raises JournalInUse: another process has it.
        :raises DiskFull, DiskFault: the lock file can't be made: no room, or a folder that takes no writes.
        """
        try:
            self._handle = os.open(folder / "journal.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as fault:
            raise disk_trouble(fault) from fault
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise _in_use(folder) from None

    def release(self) -> None:
        os.close(self._handle)


def open_database(path: Path) -> Database:
    """The one connection that writes; may be used from any one thread at a time.

    :raises JournalUnreadable: not SQLite, another program's database, damaged, or without WAL.
    :raises DiskFull, DiskFault: the file is good and the disk is not.
    """
    fresh = not path.exists() or path.stat().st_size == 0
    half_made = path.with_name(f"{path.name}-journal").exists()
    if not fresh and not half_made:
        _check_magic(path)
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        db = Database(connection)
        if half_made:  # the power went while it was made, before the WAL: SQLite takes that back as it reads
            fresh = _pragma(db, "page_count") == 0
        if fresh:
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        elif _pragma(db, "application_id") != APPLICATION_ID:
            raise JournalUnreadable(f"{path}: a database of another program; move it away or correct the data folder")
        for setting in ("journal_mode=WAL", "synchronous=FULL", f"wal_autocheckpoint={WAL_PAGES}", "busy_timeout=5000"):
            db.execute(f"PRAGMA {setting}").fetchall()
        if _pragma(db, "journal_mode") != "wal" or _pragma(db, "synchronous") != 2:
            raise JournalUnreadable(f"{path}: this disk does not support WAL; put the data folder on a local disk")
    except sqlite3.Error as fault:
        connection.close()
        raise not_opened(fault, path) from fault
    except JournalUnreadable:
        connection.close()
        raise
    if fresh:
        sync_folder(path.parent)
    return db


def unreadable(path: Path, reason: object) -> JournalUnreadable:
    return JournalUnreadable(
        f"{path}: the journal can't be read ({reason}). Don't delete it: copy the whole data folder to a stick first,"
        " then move it away and start again with a new origin; the county has what it gave receipts for",
        path=str(path),
    )


def not_opened(fault: sqlite3.Error, path: Path) -> AskPerson:
    """Why a journal can't be opened. Only a file that is damaged itself may be moved away, not one on a full disk."""
    said = in_our_words(fault, path)
    return said if isinstance(said, AskPerson) else unreadable(path, fault)


def in_our_words(fault: sqlite3.Error, path: Path) -> Exception:
    """What a failed write means: disk full, disk broken, journal damaged or held; else the fault itself, a bug."""
    match getattr(fault, "sqlite_errorcode", None):
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR_SHMSIZE:  # the latter: no room for the index of the WAL
            return _disk_full()
        case int(code) if code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            return _disk_fault(fault)
        case int(code) if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return unreadable(path, fault)
        case int(code) if code & 0xFF == sqlite3.SQLITE_BUSY:
            return _in_use(path)
        case _:
            return fault


def disk_trouble(fault: OSError) -> DiskFull | DiskFault:
    """What a file that could not be written means."""
    return _disk_full() if fault.errno in (errno.ENOSPC, errno.EDQUOT) else _disk_fault(fault)


def _in_use(path: Path) -> JournalInUse:
    return JournalInUse(f"{path}: another process has this journal open; stop it first")


def _disk_full() -> DiskFull:
    return DiskFull("the disk is full, and what was kept back for records is used up: make room")


def _disk_fault(fault: Exception) -> DiskFault:
    return DiskFault(f"the disk does not take writes ({fault}); save to a stick and have the disk replaced")


class Readers:
    """Read-only connections, as many as are reading at the same time; safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._uri = f"{path.absolute().as_uri()}?mode=ro"
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._check_open()
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def read(self, sql: str, params: Sequence[object] | Mapping[str, object] = ()) -> list[dict[str, Any]]:
        with self.connection() as connection:
            cursor = connection.execute(sql, params)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._uri, uri=True, check_same_thread=False)
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA busy_timeout=5000")
        return connection


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as fault:
        raise unreadable(path, fault) from fault
    if start != _MAGIC:
        raise unreadable(path, "not an SQLite file")


def _pragma(db: Database, name: str) -> Any:
    return db.execute(f"PRAGMA {name}").fetchone()[0]
