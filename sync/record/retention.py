"""Deletion under law: what a person's records said is removed after retention, that there was an entry is not.

Personal entries older than a date lose their bodies, once a receipt of the county covers them; ``pruned/1`` entries say
which, why and by whom. Leaf hashes, the tree and every proof stay. The rows made from them and their recordings go too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from devices.errors import AskPerson
from devices.events import emit
from sync.formats.canonical import Json
from sync.formats.record_kinds import KINDS
from sync.formats.records import Draft, format_time
from sync.proof.presence import LOCAL
from sync.record.recordings import Recordings
from sync.record.store import Store

PERSONAL = tuple(name for name, kind in KINDS.items() if kind.personal)
READ_TOGETHER = 5000


class PruneRefused(AskPerson):
    code = "prune_refused"


@dataclass(frozen=True, slots=True)
class Range:
    """Entries ``first`` to ``last``, of whose bodies ``count`` are removed: all personal ones that still had theirs."""

    first: int
    last: int
    count: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What pruning removes: ``places`` in ``ranges``. ``unconfirmed``: old enough, and kept for want of a receipt."""

    places: Sequence[int]
    ranges: Sequence[Range]
    unconfirmed: int = 0


@dataclass(frozen=True, slots=True)
class Pruned:
    entries: int
    recordings: int


@dataclass(frozen=True, slots=True)
class _Personal:
    """A personal entry that still has its body."""

    n: int
    kind: str
    at: str
    said: dict[str, Any]


class Retention:
    """For a store that nobody else has open: call it from a command, not beside the running vehicle."""

    def __init__(self, store: Store, recordings: Recordings) -> None:
        self._store, self._recordings = store, recordings

    def plan(self, before: date, now: datetime) -> Plan:
        """Personal entries of before the local day ``before``. These stay:

        what no receipt covers, recordings that the county has not confirmed, and the master record of a person of whom
        any other record stays. A correction goes with what it corrects.

        :raises PruneRefused: the day is not over yet.
        """
        if before > now.astimezone(LOCAL).date():
            raise PruneRefused(f"{before} is in the future: give the day before which records are to be removed")
        limit = format_time(datetime(before.year, before.month, before.day, tzinfo=LOCAL))
        delivered = self._store.delivered_size()
        unconfirmed = {row["sha256"] for row in self._store.read("SELECT sha256 FROM recordings_waiting")}

        def confirmed(entry: _Personal) -> bool:
            return entry.n < delivered and entry.said.get("sha256") not in unconfirmed

        def due(entry: _Personal) -> bool:
            return confirmed(entry) and entry.at < limit

        served = {
            entry.said["patient"]
            for entry in self._entries()
            if "patient" in entry.said and entry.kind != "patient/1" and not due(entry)
        }
        goes: dict[int, bool] = {}
        waiting = 0
        for entry in self._entries():
            waiting += entry.at < limit and not confirmed(entry)
            if entry.kind == "correction/1" and entry.said["corrects"] in goes:
                goes[entry.n] = goes[entry.said["corrects"]] and entry.n < delivered
            else:
                goes[entry.n] = due(entry) and not (entry.kind == "patient/1" and entry.said["patient"] in served)
        return Plan([n for n, gone in goes.items() if gone], list(_ranges(goes)), waiting)

    def prune(self, plan: Plan, reason: str, by: str) -> Pruned:
        """Remove what ``plan`` says; durable when it returns, and complete after a power cut when called again."""
        if plan.places:
            drafts = [_draft(found, reason, by) for found in plan.ranges]
            self._store.prune(drafts, plan.places)
            for found in plan.ranges:
                emit("entries_pruned", first=found.first, last=found.last, count=found.count)
        return Pruned(len(plan.places), self._remove_unnamed_files())

    def _remove_unnamed_files(self) -> int:
        """Files that no entry names: those of pruned entries, also when a power cut came before their turn."""
        named = {row["sha256"] for row in self._store.read("SELECT sha256 FROM recordings")}
        unnamed = [sha256 for sha256 in self._recordings.names() if sha256 not in named]
        for sha256 in unnamed:
            self._recordings.remove(sha256)
        return len(unnamed)

    def _entries(self) -> Iterator[_Personal]:
        """All personal entries with a body, in order."""
        marks = ", ".join("?" * len(PERSONAL))
        sql = (
            f"SELECT n, kind, at, body FROM entries WHERE n >= ? AND kind IN ({marks}) AND body IS NOT NULL"
            " ORDER BY n LIMIT ?"
        )
        first = 0
        while rows := self._store.read(sql, (first, *PERSONAL, READ_TOGETHER)):
            yield from (_Personal(row["n"], row["kind"], row["at"], json.loads(row["body"])) for row in rows)
            first = rows[-1]["n"] + 1


def _ranges(goes: Mapping[int, bool]) -> Iterator[Range]:
    """:param goes: of every personal entry, in order, whether it goes."""
    for gone, run in groupby(goes.items(), key=itemgetter(1)):
        if gone:
            places = [n for n, _ in run]
            yield Range(places[0], places[-1], len(places))


def _draft(found: Range, reason: str, by: str) -> Draft:
    fields: dict[str, Json] = {"first": found.first, "last": found.last, "count": found.count, "reason": reason}
    return Draft("pruned/1", fields, by=by)
