"""The county's database: SQLAlchemy Core on SQLite (one writer at a time, WAL, FULL) or on PostgreSQL.

One process or several may use it at once. What must not happen twice is done under a named lock:
``with database.write("registry") as connection`` is one transaction, alone with that name among all processes.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, Executable, MetaData, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from devices.errors import AskPerson
from sync.data_folder import usable_folder

Row = dict[str, Any]
Prepare = Callable[[Connection], None]
"""Makes or changes the tables, inside one transaction that no other process shares."""

FIRST_SOUND_SQLITE = (3, 51, 3)
"""Releases before may damage the write-ahead log when two processes write or checkpoint at once (WAL-reset bug)."""
_SQLITE_PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
_POSTGRESQL_OPTIONS = "-c lock_timeout=30000 -c idle_in_transaction_session_timeout=300000"
"""In ms: who waits longer for another is told to come again; who stops in the middle is undone."""


class DatabaseRefused(AskPerson):
    """The database cannot be used as the settings name it; the message says what to do."""

    code = "database_refused"


class Database:
    """Opens ``url`` and makes the tables that are missing, or lets ``prepare`` do that.

    Within a process the writers of SQLite queue for one lock and, among processes, for a locked file beside the
    database, so that its releases before ``FIRST_SOUND_SQLITE`` are safe with a command line beside the server.

    :raises DatabaseRefused: not SQLite or PostgreSQL, no driver, unreachable, or not allowed
    """

    def __init__(self, url: str, tables: MetaData, prepare: Prepare | None = None) -> None:
        self._engine = _engine(url)
        self._writing = threading.Lock()
        self._writer: int | None = None
        self._beside = _lock_file(self._engine.url) if self.is_sqlite else None
        try:
            with self.write("schema") as connection:
                (prepare or tables.create_all)(connection)
        except DatabaseError as fault:
            self.close()
            if type(fault) not in (OperationalError, DatabaseError):
                raise  # our own tables or migrations are at fault
            raise DatabaseRefused(
                f"the database cannot be opened ({_first_line(fault)}): start its server, make room on its disk, or "
                "bring it back from its backup"
            ) from None
        except BaseException:
            self.close()
            raise

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def write(self, *alone_with: str) -> Iterator[Connection]:
        """One transaction; durable when the block ends without an exception, undone otherwise.

        :param alone_with: names of what no other transaction, of any process, may be changing at the same time.
            SQLite has one writer anyway; on PostgreSQL these are advisory locks, taken in order of their names
        """
        if not self.is_sqlite:
            with self._engine.connect() as connection, connection.begin():
                for name in sorted(alone_with):
                    connection.execute(_ADVISORY_LOCK, {"key": _lock_key(name)})
                yield connection
            return
        with self._alone(), self._engine.connect() as connection:
            writer = connection.execution_options(writes=True)
            with writer.begin():
                yield writer

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view for several queries."""
        with self._engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    def rows(self, query: Executable) -> list[Row]:
        with self._engine.connect() as connection:
            return list(_dicts(connection.execute(query)))

    def stream(self, query: Executable) -> Iterator[Row]:
        """Rows one after another, few of them in memory at a time; the caller reads on to the end."""
        with self._engine.connect() as connection:
            yield from _dicts(connection.execution_options(yield_per=500).execute(query))

    def row(self, query: Executable) -> Row | None:
        with self._engine.connect() as connection:
            found = connection.execute(query).mappings().first()
            return dict(found) if found is not None else None

    def upsert(self, connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows that all have the same columns; of one that is there already, the given columns are updated."""
        batch = [dict(row) for row in rows]
        if not batch:
            return
        keys = [column.name for column in table.primary_key]
        given = [name for name in batch[0] if name not in keys]
        insert = (sqlite if self.is_sqlite else postgresql).insert(table)
        if given:
            statement = insert.on_conflict_do_update(index_elements=keys, set_={n: insert.excluded[n] for n in given})
        else:
            statement = insert.on_conflict_do_nothing(index_elements=keys)
        connection.execute(statement, batch)

    def insert_new(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert a row unless its key is there already; whether it was inserted."""
        insert = (sqlite if self.is_sqlite else postgresql).insert(table)
        statement = insert.values(dict(row)).on_conflict_do_nothing().returning(*table.primary_key)
        with self.write() as connection:
            return connection.execute(statement).first() is not None

    def overwrite_deleted(self, connection: Connection) -> None:
        """SQLite: what this connection removes from now on is overwritten in the file."""
        if self.is_sqlite:
            connection.exec_driver_sql("PRAGMA secure_delete=ON")

    def tidy(self, table: Table) -> None:
        """After a removal: SQLite's log is written back and emptied; PostgreSQL makes the room of removed rows free."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            else:
                connection.exec_driver_sql(f"VACUUM {table.name}")

    def close(self) -> None:
        """Closing the last connection checkpoints SQLite's log, so that is done alone too."""
        if self.is_sqlite:
            with self._alone():
                self._engine.dispose()
        else:
            self._engine.dispose()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """SQLite: nobody else of this machine writes."""
        if self._writer == threading.get_ident():
            raise RuntimeError("one write inside another would wait for itself")
        with self._writing, ExitStack() as held:
            self._writer = threading.get_ident()
            held.callback(setattr, self, "_writer", None)
            if self._beside is not None:
                fcntl.flock(held.enter_context(self._beside.open("ab")), fcntl.LOCK_EX)
            yield


def _dicts(result: CursorResult[Any]) -> Iterator[Row]:
    """The rows as mappings, the names of the columns asked for once."""
    names = tuple(result.keys())
    return (dict(zip(names, row, strict=True)) for row in result)


def unavailable(fault: Exception) -> bool:
    """Whether the database is away or busy: the same request may go well later."""
    return isinstance(fault, (OperationalError, InterfaceError, NoFreeConnection)) or (
        isinstance(fault, DBAPIError) and fault.connection_invalidated
    )


def fit_for_several_processes(url: str, release: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """:raises DatabaseRefused: SQLite of a release that may lose its log when several processes write"""
    if _parsed(url).get_backend_name() == "sqlite" and release < FIRST_SOUND_SQLITE:
        here, sound = (".".join(str(part) for part in parts) for parts in (release, FIRST_SOUND_SQLITE))
        raise DatabaseRefused(
            f'several workers need PostgreSQL (database = "postgresql://..." in county.toml), or SQLite {sound} or '
            f"newer: {here}, which is installed here, may damage its log when several processes write at once"
        )


def _engine(url: str) -> Engine:
    address = _parsed(url)
    try:
        if address.get_backend_name() == "postgresql":
            return create_engine(
                address.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                connect_args={"connect_timeout": 5, "options": _POSTGRESQL_OPTIONS, "application_name": "xunzhen"},
            )
        engine = create_engine(address)
    except ModuleNotFoundError as fault:
        raise DatabaseRefused(f'{fault.name} is missing: install xunzhen with the extra "postgresql"') from None
    if address.database:
        usable_folder(Path(address.database).parent)
    event.listen(engine, "connect", _sqlite_pragmas)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _parsed(url: str) -> URL:
    try:
        address = make_url(url)
        if address.get_backend_name() in ("sqlite", "postgresql"):
            return address
    except (ArgumentError, NoSuchModuleError, ValueError):
        pass
    raise DatabaseRefused(
        'the database must be "sqlite:////folder/county.db" or "postgresql://user@host/name"; empty means SQLite'
    )


def _lock_file(url: URL) -> Path | None:
    return Path(url.database + "-writer") if url.database and url.database != ":memory:" else None


_ADVISORY_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


def _lock_key(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)


def _first_line(fault: DBAPIError) -> str:
    return str(fault.orig).strip().partition("\n")[0][:200]


def _sqlite_begin(connection: Connection) -> None:
    """A writer takes the lock at once, so that what it read before writing still holds."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _sqlite_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in _SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
