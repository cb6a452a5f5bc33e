"""An older database is brought up to date when it is opened, on SQLite and on PostgreSQL, in one transaction.

- A new table, a new column that may be empty or has a default, a new index: written into ``schema.py``, nothing else.
- Everything else that a new version wants otherwise is a step here. Steps are numbered, run once, in order, and are
  only ever added; they say what they need in words of their own, because ``schema.py`` goes on changing.
- Tables that are made from the stored entries (``info=MADE_FROM_ENTRIES``) are not changed but made again, whenever
  they or the reading of entries are defined otherwise: then every entry is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    Table,
    delete,
    insert,
    inspect,
    literal,
    select,
    text,
    true,
    update,
)
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable, ForeignKeyConstraint

from devices.errors import AskPerson
from sync.county.schema import MADE_FROM_ENTRIES, logs, meta, metadata
from sync.formats.record_kinds import KINDS
from sync.proof.registry_entries import ORIGIN_PREFIX
from sync.record.projection import RULES

READING = 1
"""Raise it when entries are read otherwise than before (``interpretation.py``, ``presence.py``) while kinds, rules and
tables stayed as they were."""


class DatabaseTooNew(AskPerson):
    """A newer version of the program has been here."""

    code = "database_too_new"


@dataclass(frozen=True, slots=True)
class Step:
    """:ivar change: in one transaction with all others; the tables are those of the step before"""

    what: str
    change: Callable[[Connection], None]


def prepare(connection: Connection) -> None:
    """Make the tables of an empty database, or bring an older one up to date. Repeating it changes nothing.

    :raises DatabaseTooNew: see there; nothing is changed
    """
    empty = not inspect(connection).has_table(logs.name)
    meta.create(connection, checkfirst=True)
    known = {row.key: row.value for row in connection.execute(select(meta))}
    done = int(known.get("steps", len(STEPS) if empty else 0))
    if done > len(STEPS):
        raise DatabaseTooNew(
            f"the database was changed by a newer version of the program (step {done}, this one knows {len(STEPS)}): "
            "install that version again, or restore the database of before"
        )
    for step in STEPS[done:]:
        step.change(connection)
    shape, reading = _shape(), interpretation_version()
    if known.get("reading") != reading:
        _make_again(connection)
    if known.get("shape") != shape:
        _complete(connection)
    now = {"steps": str(len(STEPS)), "shape": shape, "reading": reading}
    if {key: known.get(key) for key in now} != now:
        connection.execute(delete(meta).where(meta.c.key.in_(now)))
        connection.execute(insert(meta), [{"key": key, "value": value} for key, value in now.items()])


def interpretation_version() -> str:
    """Changes whenever the tables that are read out of entries, or the reading, are defined otherwise."""
    kinds = sorted((kind.name, sorted(kind.fields.items())) for kind in KINDS.values())
    said = (READING, kinds, sorted(RULES.items()), [str(CreateTable(table)) for table in _made_from_entries()])
    return sha256(repr(said).encode()).hexdigest()


def forget_what_was_read(connection: Connection, origin: str | None = None) -> None:
    """Empty what was made from entries, of all logs or of one, so that all of them are read again."""
    for table in _made_from_entries():
        of_log = true() if origin is None else table.c.origin == origin
        connection.execute(delete(table).where(of_log))
    _read_from_the_start(connection, origin)


def _made_from_entries() -> list[Table]:
    return [table for table in metadata.sorted_tables if table.info.get(MADE_FROM_ENTRIES)]


def _shape() -> str:
    parts = [str(CreateTable(table)) for table in metadata.sorted_tables]
    parts += sorted(str(CreateIndex(index)) for table in metadata.sorted_tables for index in table.indexes)
    return sha256("\n".join(parts).encode()).hexdigest()


def _make_again(connection: Connection) -> None:
    for table in _made_from_entries():
        table.drop(connection, checkfirst=True)
        table.create(connection)
    if inspect(connection).has_table(logs.name):
        _read_from_the_start(connection)


def _read_from_the_start(connection: Connection, origin: str | None = None) -> None:
    vehicles_logs = ~logs.c.origin.startswith(ORIGIN_PREFIX, autoescape=True)
    if origin is not None:
        vehicles_logs &= logs.c.origin == origin
    connection.execute(update(logs).where(vehicles_logs).values(interpreted=0, last_entry_at=None, practice=False))


def _complete(connection: Connection) -> None:
    """Tables, columns and indexes that are missing."""
    metadata.create_all(connection)
    present = inspect(connection)
    for table in metadata.sorted_tables:
        columns = {column["name"] for column in present.get_columns(table.name)}
        indexes = {index["name"] for index in present.get_indexes(table.name)}
        for column in table.columns:
            if column.name not in columns:
                _add(connection, table, column)
        for index in table.indexes:
            if index.name not in indexes:
                index.create(connection)


def _add(connection: Connection, table: Table, column: Column[Any]) -> None:
    """Rows that are there get the column's default."""
    words = str(CreateColumn(column).compile(dialect=connection.dialect))
    if not column.nullable and column.server_default is None:
        if column.default is None or not column.default.is_scalar:
            raise TypeError(f"{table.name}.{column.name} needs a default, or a step, for the rows that are there")
        default = literal(column.default.arg, column.type)  # type: ignore[attr-defined]
        words += f" DEFAULT {default.compile(dialect=connection.dialect, compile_kwargs={'literal_binds': True})}"
    connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {words}")


# steps ---------------------------------------------------------------------------------------------------------------


def _logs_of_no_vehicle(connection: Connection) -> None:
    """``logs`` and ``checkpoints`` referred to ``vehicles``; the county's own registry is a log of no vehicle."""
    before = MetaData()
    before.reflect(connection, only=["logs", "checkpoints"])
    for name in ("logs", "checkpoints"):
        table = before.tables[name]
        bound = [constraint for constraint in table.constraints if isinstance(constraint, ForeignKeyConstraint)]
        if connection.dialect.name != "sqlite":
            for constraint in bound:
                connection.exec_driver_sql(f"ALTER TABLE {name} DROP CONSTRAINT {constraint.name}")
        elif bound:  # SQLite cannot drop a constraint: the table is written anew
            columns = [Column(c.name, c.type, primary_key=c.primary_key, nullable=c.nullable) for c in table.columns]
            free = Table(f"{name}_free", MetaData(), *columns)
            free.create(connection)
            names = ", ".join(column.name for column in columns)
            connection.execute(text(f"INSERT INTO {free.name} ({names}) SELECT {names} FROM {name}"))
            connection.execute(text(f"DROP TABLE {name}"))
            connection.execute(text(f"ALTER TABLE {free.name} RENAME TO {name}"))


def _no_stays_by_day(connection: Connection) -> None:
    """``day_stays`` was made from entries; visits have facts of their own now."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS day_stays")


def _no_narrow_attendances(connection: Connection) -> None:
    """Two indexes of ``attendances`` have other columns now, and other names."""
    for name in ("attendances_by_person", "attendances_by_month"):
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")


STEPS = (
    Step("a log may be of no vehicle", _logs_of_no_vehicle),
    Step("stays are kept with their visits", _no_stays_by_day),
    Step("people are counted out of indexes alone", _no_narrow_attendances),
)
