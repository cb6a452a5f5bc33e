"""The county's database: SQLAlchemy Core on SQLite (one writer at a time, WAL, FULL) or any server SQLAlchemy knows."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Executable, MetaData, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

Row = dict[str, Any]


class Database:
    """Opens ``url`` and makes the tables that are missing.

    Writes of this process are one after another: SQLite has one writer, and releases before 3.51.3 may damage the
    write-ahead log when two connections write or checkpoint at once.
    """

    def __init__(self, url: str, tables: MetaData) -> None:
        self._url = make_url(url)
        if self.is_sqlite and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(self._url)
        if self.is_sqlite:
            event.listen(self._engine, "connect", _sqlite_pragmas)
            event.listen(self._engine, "begin", _sqlite_begin)
        self._writing = threading.RLock()
        with self.write() as connection:
            tables.create_all(connection)

    @property
    def is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction; durable when the block ends without an exception, undone otherwise."""
        with self._writing, self._engine.connect() as connection:
            writer = connection.execution_options(writes=True)
            with writer.begin():
                yield writer

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view for several queries."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def rows(self, query: Executable) -> list[Row]:
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

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

    def close(self) -> None:
        self._engine.dispose()


def _sqlite_begin(connection: Connection) -> None:
    """A writer takes the lock at once, so that what it read before writing still holds."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _sqlite_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")
