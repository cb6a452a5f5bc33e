"""Asks the county which of the delivered recordings it has lost, and takes back "delivered" for those.

A county that was restored from an older backup says so by the size of its log; then, after each start and once a day,
it is asked by hash. What the van still holds is sent again by the lanes; what it has evicted meanwhile is told.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from devices.clock import Clock
from devices.events import emit
from sync.delivery.county_client import CountyClient, RecordRefused
from sync.formats import wire
from sync.record.recordings import Recordings
from sync.record.store import Store

EVERY_S = 24 * 3600.0
_NO_SUCH_ROUTE = frozenset({404, 405})


class RecordingCheck:
    """A lane of the uploader: ``deliver`` asks when it is due, and does nothing otherwise."""

    def __init__(self, store: Store, recordings: Recordings, county: CountyClient, clock: Clock) -> None:
        self._store, self._recordings, self._county, self._clock = store, recordings, county, clock
        self._due_mono_s = clock.monotonic_s()
        self._after = ""
        self.sent_bytes = 0

    def county_is_behind(self) -> None:
        """Ask at the next opportunity, from the beginning."""
        self._due_mono_s, self._after = self._clock.monotonic_s(), ""

    async def deliver(self) -> int:
        """Ask about all delivered recordings; always 0, as nothing is delivered by it.

        :raises CountyUnreachable: try again later, where it stopped.
        :raises RecordRefused: the county refuses this van.
        """
        if self._clock.monotonic_s() < self._due_mono_s:
            return 0
        try:
            while hashes := await asyncio.to_thread(self._next):
                await self._ask(hashes)
                self._after = hashes[-1]
        except RecordRefused as refusal:
            if refusal.status not in _NO_SUCH_ROUTE:
                raise
        self._after, self._due_mono_s = "", self._clock.monotonic_s() + EVERY_S
        return 0

    async def _ask(self, hashes: list[str]) -> None:
        missing = await self._county.missing_recordings(hashes)
        if not missing:
            return
        gone = await asyncio.to_thread(self._evicted, missing)
        kept = [sha256 for sha256 in missing if sha256 not in gone]
        rows = [(sha256,) for sha256 in kept]
        await asyncio.to_thread(self._store.transact, lambda db: _take_back(db.conn, rows))
        emit("recordings_taken_back", count=len(kept))
        if gone:
            emit("recordings_lost_at_county", level=logging.ERROR, count=len(gone))

    def _next(self) -> list[str]:
        found = self._store.read(
            "SELECT sha256 FROM recordings_delivered WHERE sha256 > ? ORDER BY sha256 LIMIT ?",
            (self._after, wire.MOST_HASHES),
        )
        return [str(row["sha256"]) for row in found]

    def _evicted(self, hashes: list[str]) -> set[str]:
        """Those of ``hashes`` whose file this van no longer has."""
        return {sha256 for sha256 in hashes if not self._recordings.has(sha256)}


def _take_back(connection: sqlite3.Connection, rows: list[tuple[str]]) -> None:
    connection.executemany("DELETE FROM recordings_delivered WHERE sha256 = ?", rows)
    connection.executemany("INSERT OR IGNORE INTO recordings_waiting (sha256) VALUES (?)", rows)
