"""Reads what the stored entries say into tables, apart from taking them in.

What cannot be read is set aside with its reason and read again by ``rebuild`` after an upgrade; it never blocks what
comes after it, and never the delivery.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from devices.clock import Clock
from devices.events import emit
from sync.county.database import Database
from sync.county.mirror import Mirror
from sync.county.schema import day_stays, entry_facts, logs, projected, set_aside
from sync.presence import local_day
from sync.projection import rows
from sync.records import Entry, EntryUnreadable, format_time, read_entry
from sync.registry_entries import ORIGIN_PREFIX
from sync.tracks import track_of

BATCH_ENTRIES = 2000


class Interpreter:
    def __init__(self, database: Database, mirror: Mirror, clock: Clock) -> None:
        self._database = database
        self._mirror = mirror
        self._clock = clock
        self._one_at_a_time = threading.Lock()

    def catch_up(self, origin: str) -> int:
        """Read all stored entries of ``origin`` that were not read yet; returns how many. Repeating it reads none."""
        count = 0
        with self._one_at_a_time:
            while batch := self._next_batch(origin):
                count += len(batch)
        return count

    def catch_up_all(self) -> int:
        origins = [row["origin"] for row in self._database.rows(select(logs.c.origin))]
        return sum(self.catch_up(origin) for origin in origins)

    def rebuild(self) -> int:
        """Drop everything that was read and read it again from the stored entries; returns how many entries."""
        with self._one_at_a_time, self._database.write() as connection:
            for table in (*projected.values(), entry_facts, set_aside, day_stays):
                connection.execute(delete(table))
            vehicles_logs = ~logs.c.origin.startswith(ORIGIN_PREFIX, autoescape=True)
            connection.execute(
                update(logs).where(vehicles_logs).values(interpreted=0, last_entry_at=None, practice=False)
            )
        return self.catch_up_all()

    def _next_batch(self, origin: str) -> list[tuple[int, bytes]]:
        state = select(logs.c.interpreted, logs.c.next_entry).where(logs.c.origin == origin)
        log = self._database.row(state)
        if log is None or log["interpreted"] >= log["next_entry"]:
            return []
        first = log["interpreted"]
        batch = self._mirror.bodies(origin, first, min(first + BATCH_ENTRIES, log["next_entry"]))
        reading = _Reading(origin, self._clock.now())
        for n, body in batch:
            reading.take(n, body)
        with self._database.write() as connection:
            self._write(connection, reading, first + len(batch))
        for line in reading.refused:
            emit("entry_set_aside", origin=origin, n=line["n"], reason=line["reason"])
        return batch

    def _write(self, connection: Connection, reading: _Reading, interpreted: int) -> None:
        origin = reading.origin
        self._database.upsert(connection, entry_facts, reading.facts)
        self._database.upsert(connection, set_aside, reading.refused)
        for (name, _), grouped in reading.grouped().items():
            self._database.upsert(connection, projected[name], grouped)
        if reading.days:
            touched = (day_stays.c.origin == origin) & day_stays.c.day.in_(sorted(reading.days))
            connection.execute(delete(day_stays).where(touched))
        changes: dict[str, Any] = {"interpreted": interpreted}
        if reading.last is not None:
            changes |= {"last_entry_at": format_time(reading.last.at), "practice": reading.last.practice}
        connection.execute(update(logs).where(logs.c.origin == origin).values(changes))


class _Reading:
    """What a batch of entries says, gathered so that few statements write it."""

    def __init__(self, origin: str, now: datetime) -> None:
        self.origin = origin
        self.facts: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.days: set[str] = set()
        self.last: Entry | None = None
        self._now = now
        self._rows: dict[tuple[str, tuple[Any, ...]], dict[str, Any]] = {}

    def take(self, n: int, body: bytes) -> None:
        try:
            entry = read_entry(body, n)
            upserts = rows(entry)
            days = _touched_days(entry)
        except EntryUnreadable as fault:
            self._set_aside(n, str(fault))
            return
        except (
            Exception
        ) as fault:  # signed bytes of any shape may stand here; whatever they trip must not stop the rest
            self._set_aside(n, f"{type(fault).__name__}: {fault}")
            return
        for upsert in upserts:
            row = self._rows.setdefault((upsert.table, tuple(upsert.key.values())), {"origin": self.origin})
            row |= {**upsert.key, **upsert.columns}
        self.days |= days
        self.last = entry
        fact = {"origin": self.origin, "n": n, "kind": entry.kind[:40], "at": format_time(entry.at)}
        visit = entry.fields.get("visit_id", entry.visit)
        self.facts.append({**fact, "boot": entry.boot, "visit": visit})

    def _set_aside(self, n: int, reason: str) -> None:
        self.refused.append({"origin": self.origin, "n": n, "reason": reason[:300], "at": self._now})

    def grouped(self) -> Mapping[tuple[str, tuple[str, ...]], list[dict[str, Any]]]:
        """Rows by table and by which columns they have: each group is one statement. One row stands once, so the
        order of groups does not matter."""
        groups: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
        for (table, _), row in self._rows.items():
            groups.setdefault((table, tuple(sorted(row))), []).append(row)
        return groups


def _touched_days(entry: Entry) -> set[str]:
    """Local days whose stays the entry may change: the day before too, because a stay may reach across midnight."""
    if entry.kind == "track/1":
        points = track_of(entry.fields).points
        return set(_days((points[0].at, points[-1].at)))
    if entry.kind in ("visit_opened/1", "visit_closed/1"):
        return set(_days((entry.at,)))
    return set()


def _days(moments: Iterable[datetime]) -> Iterable[str]:
    for at in moments:
        for back in (0, 1):
            yield (local_day(at) - timedelta(days=back)).isoformat()


def said(text: str | None) -> Any:
    """The value of a ``*_json`` column; {} when there is none."""
    return json.loads(text) if text else {}
