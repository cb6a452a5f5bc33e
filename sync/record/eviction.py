"""Making room on the van: recordings that the county has confirmed go, the oldest first, each told by an entry.

What the county has not confirmed is never evicted. The entry is durable before the file goes, so the record never
promises a file that is not there without saying where it is.
"""

from __future__ import annotations

import asyncio

from devices.events import emit
from sync.formats.records import Draft
from sync.record.recordings import Recordings
from sync.record.store import Store

EVICTED_TOGETHER = 20
_CONFIRMED = (
    "SELECT sha256, bytes FROM recordings JOIN recordings_delivered USING (sha256)"
    " WHERE evicted_at IS NULL ORDER BY n LIMIT ?"
)


class Eviction:
    def __init__(self, store: Store, recordings: Recordings) -> None:
        self._store, self._recordings = store, recordings
        self._one_at_a_time = asyncio.Lock()
        self._left_over_gone = False

    async def make_room(self, wanted_bytes: int, reason: str) -> int:
        """Evict until ``wanted_bytes`` are freed or nothing confirmed is left; the bytes freed.

        :raises DiskFull, DiskFault: the entries that tell of it can't be written; their files stay.
        """
        async with self._one_at_a_time:
            if not self._left_over_gone:
                await asyncio.to_thread(self._remove_left_over)
                self._left_over_gone = True
            freed = 0
            while freed < wanted_bytes:
                batch = await asyncio.to_thread(self._oldest, wanted_bytes - freed)
                if not batch:
                    break
                drafts = [Draft("recording_evicted/1", {"sha256": sha256, "reason": reason}) for sha256 in batch]
                await self._store.commit(*drafts)
                freed += await asyncio.to_thread(self._remove, batch)
            return freed

    def _oldest(self, wanted_bytes: int) -> list[str]:
        """The oldest confirmed ones that together free ``wanted_bytes``, some at a time."""
        batch: list[str] = []
        for row in self._store.read(_CONFIRMED, (EVICTED_TOGETHER,)):
            if wanted_bytes <= 0:
                break
            batch.append(row["sha256"])
            wanted_bytes -= row["bytes"]
        return batch

    def _remove(self, batch: list[str]) -> int:
        freed = 0
        for sha256 in batch:
            freed_here = self._recordings.remove(sha256)
            emit("recording_evicted", sha256=sha256, bytes=freed_here)
            freed += freed_here
        return freed

    def _remove_left_over(self) -> None:
        """Files whose eviction was told before a power cut took their turn to go."""
        for row in self._store.read("SELECT sha256 FROM recordings WHERE evicted_at IS NOT NULL"):
            self._recordings.remove(row["sha256"])
