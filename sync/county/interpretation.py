"""Reads what the stored entries say into tables, apart from taking them in.

What cannot be read is set aside with its reason; it never blocks what comes after it, and never the delivery. After an
upgrade that reads otherwise all entries are read again by themselves (``migrations.py``), or by ``rebuild``.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from devices.clock import Clock
from devices.events import emit
from sync.county.attendances import attend, move
from sync.county.database import Database, unavailable
from sync.county.migrations import forget_what_was_read
from sync.county.mirror import Mirror
from sync.county.registrations import PEOPLE_LOCK, linked_in, of_person, relink
from sync.county.schema import attendances, entry_facts, logs, projected, set_aside
from sync.county.visit_work import COUNTED_FROM, count_work
from sync.formats.records import Entry, EntryUnreadable, format_time, read_entry
from sync.proof.registry_entries import ORIGIN_PREFIX
from sync.proof.tracks import track_of
from sync.record.projection import rows
from sync.record.tables import TABLES

BATCH_ENTRIES = 2000
ROUND_S = 60.0
LONGEST_SEARCHED = 500
"""Characters of what is searched or joined by: more does not fit into an index."""
_Batch = Sequence[tuple[int, bytes]]


class Interpreter:
    """Any worker may read any log: one at a time writes what it read, and only what nobody has written meanwhile.

    :param then: called with the origin when all entries of a log were read; also when none of them was new, so that
        what it does by parts goes on with every round
    """

    def __init__(
        self, database: Database, mirror: Mirror, clock: Clock, then: Callable[[str], object] = lambda origin: None
    ) -> None:
        self._database = database
        self._mirror = mirror
        self._clock = clock
        self._then = then
        self._one_at_a_time = threading.Lock()

    def catch_up(self, origin: str, went_on: Callable[[], object] = lambda: None) -> int:
        """Read all stored entries of ``origin`` that were not read yet; returns how many. Repeating it reads none.

        :param went_on: called after each batch
        """
        count, removed = 0, False
        with self._one_at_a_time:
            while batch := self._next_batch(origin):
                gone = self._removed(origin, batch)
                count += self._read(origin, batch, gone)
                removed = removed or bool(gone)
                went_on()
            if removed:
                self._drop_unmade(origin)
        self._then(origin)
        return count

    async def run(self) -> None:
        """Read on for ever what was left when a database went away in the middle or a worker died."""
        while True:
            await self._clock.sleep(ROUND_S)
            try:
                await asyncio.to_thread(self.catch_up_all)
            except SQLAlchemyError as fault:
                if not unavailable(fault):
                    raise

    def catch_up_all(self, went_on: Callable[[], object] = lambda: None) -> int:
        """:param went_on: called after each batch"""
        count = 0
        of_vehicles = ~logs.c.origin.startswith(ORIGIN_PREFIX, autoescape=True)
        for row in self._database.rows(select(logs.c.origin).where(of_vehicles).order_by(logs.c.origin)):
            count += self.catch_up(row["origin"], went_on)
        return count

    def rebuild(self) -> int:
        """Drop everything that was read and read it again from the stored entries; returns how many entries."""
        origins = [row["origin"] for row in self._database.rows(select(logs.c.origin))]
        with self._one_at_a_time, self._database.write(PEOPLE_LOCK, *map(reading_lock, origins)) as connection:
            forget_what_was_read(connection)
        return self.catch_up_all()

    def _next_batch(self, origin: str) -> _Batch:
        state = select(logs.c.interpreted, logs.c.next_entry).where(logs.c.origin == origin)
        log = self._database.row(state)
        if log is None or log["interpreted"] >= log["next_entry"]:
            return []
        first = log["interpreted"]
        return self._mirror.bodies(origin, first, min(first + BATCH_ENTRIES, log["next_entry"]))

    def _removed(self, origin: str, batch: _Batch) -> set[int]:
        """Entries of the batch that were removed after retention."""
        return set() if all(body for _, body in batch) else self._mirror.removed(origin, batch[0][0], batch[-1][0] + 1)

    def _read(self, origin: str, batch: _Batch, gone: set[int]) -> int:
        """Write what a batch says; of one that the database does not take, all but the entry that is to blame.

        :param gone: places that have nothing to say any more
        """
        reading = _Reading(origin, self._clock.now())
        for n, body in batch:
            if n not in gone:
                reading.take(n, body)
        try:
            written = self._written(reading, batch)
        except (SQLAlchemyError, ValueError, OverflowError) as fault:
            if unavailable(fault):
                raise
            if len(batch) > 1:
                half = len(batch) // 2
                return self._read(origin, batch[:half], gone) + self._read(origin, batch[half:], gone)
            blamed = _Reading(origin, self._clock.now())
            blamed.set_aside(batch[0][0], f"{type(fault).__name__}: the database does not take it")
            reading, written = blamed, self._written(blamed, batch)
        if not written:
            return 0
        for line in reading.refused:
            emit("entry_set_aside", origin=origin, n=line["n"], reason=line["reason"])
        return len(batch)

    def _drop_unmade(self, origin: str) -> None:
        """What later entries tell of something whose own entry was removed after retention."""
        with self._database.write(reading_lock(origin), PEOPLE_LOCK) as connection:
            for name, table in projected.items():
                made = TABLES[name].made
                if made:
                    connection.execute(delete(table).where(table.c.origin == origin, table.c[made].is_(None)))
            move(connection, relink(connection, of_person(connection, origin)))

    def _written(self, reading: _Reading, batch: _Batch) -> bool:
        """False when another worker has read these entries already, or all are to be read again."""
        at = select(logs.c.interpreted).where(logs.c.origin == reading.origin)
        with self._database.write(reading_lock(reading.origin), PEOPLE_LOCK) as connection:
            if connection.execute(at).scalar_one() != batch[0][0]:
                return False
            self._write(connection, reading, batch[-1][0] + 1)
        return True

    def _write(self, connection: Connection, reading: _Reading, interpreted: int) -> None:
        origin = reading.origin
        self._database.upsert(connection, entry_facts, reading.facts)
        self._database.upsert(connection, set_aside, reading.refused)
        for (name, _), grouped in reading.grouped().items():
            self._database.upsert(connection, projected[name], grouped)
        changes: dict[str, Any] = {"interpreted": interpreted}
        was = connection.execute(select(logs.c.practice).where(logs.c.origin == origin)).scalar_one()
        if reading.last is not None:
            changes |= {"last_entry_at": format_time(reading.last.at), "practice": reading.last.practice}
        connection.execute(update(logs).where(logs.c.origin == origin).values(changes))
        _count(connection, reading, changes.get("practice", was) != was)


def _count(connection: Connection, reading: _Reading, turned: bool) -> None:
    """Who is whom, then what was done for them: kept beside the tables.

    :param turned: the journal is of practice now and was not, or the other way round
    """
    origin, written = reading.origin, reading.named({**COUNTED_FROM, "patients": "patient"})
    touched = {(origin, patient) for patient in (*written.pop("patients"), *reading.linked())}
    if turned:
        patients = projected["patients"]
        all_of_it = select(patients.c.patient).where(patients.c.origin == origin)
        touched |= {(origin, patient) for patient in connection.execute(all_of_it).scalars()}
    if touched:
        move(connection, relink(connection, touched))
    count_work(connection, origin, written)
    attend(connection, origin, written)


class _Reading:
    """What a batch of entries says, gathered so that few statements write it."""

    def __init__(self, origin: str, now: datetime) -> None:
        self.origin = origin
        self.facts: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.last: Entry | None = None
        self._now = now
        self._rows: dict[tuple[str, tuple[Any, ...]], dict[str, Any]] = {}

    def take(self, n: int, body: bytes) -> None:
        try:
            entry = read_entry(body, n)
            upserts = rows(entry)
            if entry.kind == "track/1":
                track_of(entry.fields)
        except EntryUnreadable as fault:
            self.set_aside(n, str(fault))
            return
        except (
            Exception
        ) as fault:  # signed bytes of any shape may stand here; whatever they trip must not stop the rest
            self.set_aside(n, f"{type(fault).__name__}: {fault}")
            return
        visit = entry.fields.get("visit_id", entry.visit)
        fact = {"origin": self.origin, "n": n, "kind": entry.kind[:40], "at": format_time(entry.at)}
        fact |= {"boot": entry.boot, "visit": visit}
        faults = list(_too_long("", fact))
        for upsert in upserts:
            faults += _too_long(upsert.table, {**upsert.key, **upsert.columns})
        if faults:
            self.set_aside(n, "; ".join(faults))
            return
        for upsert in upserts:
            row = self._rows.setdefault((upsert.table, tuple(upsert.key.values())), {"origin": self.origin})
            row |= {name: _plain(value) for name, value in {**upsert.key, **upsert.columns}.items()}
        self.last = entry
        self.facts.append({name: _plain(value) for name, value in fact.items()})

    def set_aside(self, n: int, reason: str) -> None:
        self.refused.append({"origin": self.origin, "n": n, "reason": _plain(reason[:300]), "at": self._now})

    def named(self, keys: Mapping[str, str]) -> dict[str, list[str]]:
        """Of tables with the name of a column each: what that column says in the rows."""
        found: dict[str, list[str]] = {table: [] for table in keys}
        for (table, _), row in self._rows.items():
            if table in keys:
                found[table].append(row[keys[table]])
        return found

    def linked(self) -> set[str]:
        """Registrations that somebody on the van has linked or taken apart."""
        notes = [row for (table, _), row in self._rows.items() if table == "access_log"]
        return linked_in((row.get("action", ""), row.get("what", "")) for row in notes)

    def grouped(self) -> Mapping[tuple[str, tuple[str, ...]], list[dict[str, Any]]]:
        """Rows by table and by which columns they have: each group is one statement. One row stands once, so the
        order of groups does not matter."""
        groups: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
        for (table, _), row in self._rows.items():
            groups.setdefault((table, tuple(sorted(row))), []).append(row)
        return groups


def reading_lock(origin: str) -> str:
    """Under which what was read out of a log changes."""
    return f"reading {origin}"


def _longest(table: Table) -> dict[str, int]:
    """Characters that the columns of limited length take."""
    keys = {column.name for index in table.indexes for column in index.columns}
    given = {column.name: getattr(column.type, "length", None) for column in table.columns}
    return {name: length or LONGEST_SEARCHED for name, length in given.items() if length or name in keys}


_LONGEST = {"": _longest(entry_facts), **{name: _longest(table) for name, table in projected.items()}}
for _name in COUNTED_FROM:
    _LONGEST[_name] |= {key: _longest(attendances)[key] for key in ("visit", "patient")}


def _too_long(table: str, row: Mapping[str, Any]) -> Iterator[str]:
    """What SQLite would take and PostgreSQL would not; ``table`` is empty for ``entry_facts``."""
    for name, most in _LONGEST[table].items():
        value = row.get(name)
        if isinstance(value, str) and len(value) > most:
            yield f"{name} is longer than {most} characters"


def _plain(value: Any) -> Any:
    """PostgreSQL's text has no NUL; the entry itself stays word for word."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def said(text: str | None) -> Any:
    """The value of a ``*_json`` column; {} when there is none."""
    return json.loads(text) if text else {}
