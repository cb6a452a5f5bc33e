"""Deletion under law at the county: what a vehicle removed after retention is removed here too.

One decision reaches both: a vehicle tells in ``pruned/1`` entries of which of its entries it has removed the bodies,
why and by whom (``sync.record.retention``). The county follows it when a person here says up to which day.
Bodies, the rows that were made from them and recordings that nobody names any more go; leaf hashes, tree and every
proof stay, and so does what evidence shows, which is never personal. A body that was removed is empty in ``entries``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, Join, delete, func, select, update

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.county.blobs import Blobs
from sync.county.database import Database
from sync.county.interpretation import Interpreter, reading_lock
from sync.county.migrations import forget_what_was_read
from sync.county.registrations import PEOPLE_LOCK
from sync.county.schema import entries, entry_facts, projected, uploads
from sync.formats.record_kinds import KINDS
from sync.formats.records import Entry, format_time, read_entry
from sync.proof.presence import LOCAL

REMOVED = b""
"""The body of an entry that was removed: no entry is empty."""
PERSONAL = tuple(name for name, kind in KINDS.items() if kind.personal)
FOLLOWS = ("correction/1",)
"""Goes with what it corrects, whenever it was written."""
_TOGETHER = 400


class PruneRefused(AskPerson):
    code = "prune_refused"


@dataclass(frozen=True, slots=True)
class Told:
    """A ``pruned/1`` entry of the vehicle ``origin``, and what follows from it here.

    :ivar places: personal entries that still have their bodies here
    :ivar problem: why it is not followed; empty when it is
    """

    origin: str
    first: int
    last: int
    count: int
    reason: str
    by: str
    at: datetime
    places: tuple[int, ...]
    problem: str = ""

    def __str__(self) -> str:
        what = f"{self.origin} {self.first} to {self.last}: {self.count} entries, {self.reason} ({self.by})"
        return f"{what}; not removed here: {self.problem}" if self.problem else what


@dataclass(frozen=True, slots=True)
class Pruned:
    entries: int
    recordings: int


class CountyRetention:
    def __init__(self, database: Database, interpreter: Interpreter, blobs: Blobs, clock: Clock) -> None:
        self._database = database
        self._interpreter = interpreter
        self._blobs = blobs
        self._clock = clock

    def plan(self, before: date) -> list[Told]:
        """What vehicles have removed and the county still has, by vehicle and place.

        :param before: local day; what is younger is not removed here, whatever a vehicle says
        :raises PruneRefused: the day is not over yet
        """
        if before > self._clock.now().astimezone(LOCAL).date():
            raise PruneRefused(f"{before} is in the future: give the day before which records are to be removed")
        self._interpreter.catch_up_all()
        limit = format_time(datetime(before.year, before.month, before.day, tzinfo=LOCAL))
        planned: dict[str, set[int]] = {}
        found = []
        for entry, origin in self._told():
            told = self._follow(origin, entry, limit, planned.setdefault(origin, set()))
            if told.places or told.problem:
                found.append(told)
                planned[origin].update(told.places)
        return found

    def prune(self, plan: Sequence[Told]) -> Pruned:
        """Remove what ``plan`` says; complete after a power cut when called again, also with an empty plan."""
        by_origin: dict[str, list[Told]] = {}
        for told in plan:
            if told.places and not told.problem:
                by_origin.setdefault(told.origin, []).append(told)
        for origin, followed in by_origin.items():
            self._empty(origin, [n for told in followed for n in told.places])
            for told in followed:
                facts = {"first": told.first, "last": told.last, "count": len(told.places)}
                emit("entries_removed", origin=origin, **facts)
        self._interpreter.catch_up_all()  # before any file goes: also what an earlier call was cut off from
        recordings = self._remove_unwanted()
        self._database.tidy(entries)
        return Pruned(sum(len(told.places) for followed in by_origin.values() for told in followed), recordings)

    # what a vehicle told ----------------------------------------------------------------------------------------------

    def _told(self) -> Iterable[tuple[Entry, str]]:
        found = (
            select(entries.c.origin, entries.c.n, entries.c.body)
            .select_from(_both())
            .where(entry_facts.c.kind == "pruned/1")
            .order_by(entries.c.origin, entries.c.n)
        )
        return [(read_entry(row["body"], row["n"]), row["origin"]) for row in self._database.rows(found)]

    def _follow(self, origin: str, entry: Entry, limit: str, planned: set[int]) -> Told:
        said = entry.fields
        within = (entry_facts.c.origin == origin) & entry_facts.c.n.between(said["first"], min(said["last"], entry.n))
        rows = self._database.rows(
            select(entry_facts.c.n, entry_facts.c.kind, entry_facts.c.at)
            .select_from(_both())
            .where(within, entry_facts.c.kind.in_(PERSONAL), _has_body())
            .order_by(entry_facts.c.n)
        )
        here = [row for row in rows if row["n"] not in planned]
        young = max((row["at"] for row in here if row["kind"] not in FOLLOWS), default="")
        problem = ""
        if here and young >= limit:
            problem = f"one of them is of {young[:10]}"
        elif here and len(here) != said["count"]:
            problem = f"there are {len(here)} here"
        places = () if problem else tuple(row["n"] for row in here)
        span = (said["first"], said["last"], said["count"])
        return Told(origin, *span, said["reason"], entry.by or "", entry.at, places, problem)

    # removing ---------------------------------------------------------------------------------------------------------

    def _empty(self, origin: str, places: Sequence[int]) -> None:
        """Bodies and the rows made from them, in one transaction; what is left is read again afterwards."""
        with self._database.write(f"log {origin}", reading_lock(origin), PEOPLE_LOCK) as connection:
            self._database.overwrite_deleted(connection)
            for start in range(0, len(places), _TOGETHER):
                at = (entries.c.origin == origin) & entries.c.n.in_(places[start : start + _TOGETHER])
                self._mark_recordings(connection, at)
                connection.execute(update(entries).where(at).values(body=REMOVED))
            forget_what_was_read(connection, origin)

    def _mark_recordings(self, connection: Connection, at: ColumnElement[bool]) -> None:
        said = (json.loads(body) for body in connection.execute(select(entries.c.body).where(at)).scalars())
        names = [one["sha256"] for one in said if "sha256" in one]
        if names:
            now = self._clock.now()
            connection.execute(update(uploads).where(uploads.c.sha256.in_(names)).values(unwanted_at=now))

    def _remove_unwanted(self) -> int:
        """Files of recordings that no entry names any more, of any vehicle."""
        named = {row["sha256"] for row in self._database.rows(select(projected["recordings"].c.sha256))}
        marked = select(uploads.c.sha256).where(uploads.c.unwanted_at.is_not(None))
        names = [row["sha256"] for row in self._database.rows(marked)]
        gone = [name for name in names if name not in named]
        for name in gone:
            self._blobs.remove(name)
        with self._database.write() as connection:
            for name in names:
                at = uploads.c.sha256 == name
                keep = update(uploads).where(at).values(unwanted_at=None)
                connection.execute(keep if name in named else delete(uploads).where(at))
        return len(gone)


def _both() -> Join:
    return entry_facts.join(entries, (entries.c.origin == entry_facts.c.origin) & (entries.c.n == entry_facts.c.n))


def _has_body() -> ColumnElement[bool]:
    return func.length(entries.c.body) > 0
