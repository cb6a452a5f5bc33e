"""Lane 0: the journal's entries to the county, by C2SP tlog-mirror.

Sign a checkpoint, have the county take it, send the entries up to it in whole packages, get the receipt. Whatever is
interrupted goes on where the county says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from devices.clock import Clock
from devices.events import emit
from sync.delivery.county_client import CountyAhead, CountyClient, CountyUnreachable, RecordRefused
from sync.delivery.lanes import JOURNAL, RightOfWay
from sync.delivery.receipts import Receipts
from sync.formats import wire
from sync.formats.notes import Note
from sync.record.store import EntryPruned, Store

MOST_BATCH_BYTES = 256 * 1024
"""Of the first batch, before compression; a package may be larger when the county already holds its checkpoint."""
FIRST_BATCH_PACKAGES, LARGEST_BATCH_PACKAGES = 2, 8
QUICK_S, SLOW_S = 0.5, 2.0
"""A batch that took less than the one is followed by a larger, more than the other by a smaller."""
MOST_DETOURS = 8
"""Answers in a row that only point elsewhere, before it is left for later."""


class CountyLacksPruned(RecordRefused):
    """The county lost entries that this van no longer has either."""

    code = "county_lacks_pruned"


@dataclass(frozen=True, slots=True)
class _Upload:
    """What we know of the county.

    ``size``: of its pending checkpoint; ``taken``: that checkpoint is ours. ``next_entry``: the first that it lacks;
    None when it must be asked, by an empty upload.
    """

    size: int
    next_entry: int | None
    taken: bool = False
    ticket: bytes = b""


class BatchSize:
    """Of the next batch in packages of up to 256 entries: what a broken link costs is one batch."""

    def __init__(self) -> None:
        self.packages = FIRST_BATCH_PACKAGES

    @property
    def bytes(self) -> int:
        return MOST_BATCH_BYTES * self.packages // FIRST_BATCH_PACKAGES

    def took(self, took_s: float) -> None:
        if took_s < QUICK_S:
            self.packages = min(LARGEST_BATCH_PACKAGES, self.packages * 2)
        elif took_s > SLOW_S:
            self.smaller()

    def smaller(self) -> None:
        self.packages = max(1, self.packages // 2)


class EntryDelivery:
    """:param county_is_behind: called when the county has fewer entries than it gave a receipt for: it was restored
    from a backup and may lack recordings too.
    """

    def __init__(
        self,
        store: Store,
        county: CountyClient,
        receipts: Receipts,
        clock: Clock,
        way: RightOfWay,
        county_is_behind: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._county, self._receipts, self._way = store, county, receipts, way
        self._county_is_behind = county_is_behind
        self._clock, self._batch_size = clock, BatchSize()
        self._upload: _Upload | None = None
        self.sent_bytes = 0

    async def deliver(self) -> int:
        """Deliver all entries there are; returns how many the county newly gave a receipt for.

        :raises CountyUnreachable: try again later; progress is kept.
        :raises RecordRefused: park it.
        """
        before = await asyncio.to_thread(self._store.delivered_size)
        if before == self._store.size():
            return 0
        async with self._way.sending(JOURNAL):
            return await self._deliver(before)

    async def _deliver(self, before: int) -> int:
        detours, delivered = 0, before
        while delivered < self._store.size():
            upload = self._upload or _Upload(delivered, delivered)
            progress = (upload.next_entry or 0, delivered)
            try:
                self._upload = await self._step(upload)
            except RecordRefused:
                self._upload = None
                raise
            delivered = await asyncio.to_thread(self._store.delivered_size)
            detours = 0 if (self._upload.next_entry or 0, delivered) > progress else detours + 1
            if detours > MOST_DETOURS:
                self._upload = None
                raise CountyUnreachable("the county keeps pointing elsewhere")
        if delivered > before:
            emit("batch_delivered", first=before, count=delivered - before)
        return delivered - before

    async def _step(self, upload: _Upload) -> _Upload:
        """One checkpoint or one batch."""
        if upload.size > self._store.size():
            raise CountyAhead(
                f"the county has {upload.size} entries of this log, this PC only {self._store.size()}: an older copy"
                " of the disk? Keep both and call the county"
            )
        if not upload.taken or upload.size <= await asyncio.to_thread(self._store.delivered_size):
            return await self._add_checkpoint(upload)
        return await self._add_entries(upload)

    async def _add_checkpoint(self, upload: _Upload) -> _Upload:
        asked, size = await asyncio.to_thread(self._checkpoint, upload)
        conflict = await self._county.add_checkpoint(asked)
        if conflict is None:
            return _Upload(size, upload.next_entry, True, upload.ticket)
        if conflict.size < await asyncio.to_thread(self._store.delivered_size):
            self._county_is_behind()
        return _Upload(conflict.size, None)

    async def _add_entries(self, upload: _Upload) -> _Upload:
        body, checkpoint = await asyncio.to_thread(self._batch, upload)
        started_s = self._clock.monotonic_s()
        try:
            answer = await self._county.add_entries(body)
        except CountyUnreachable:
            self._batch_size.smaller()
            raise
        self._batch_size.took(self._clock.monotonic_s() - started_s)
        self.sent_bytes += len(body)
        if isinstance(answer, wire.MirrorInfo):
            return _Upload(answer.size, min(answer.next_entry, answer.size), answer.size == upload.size, answer.ticket)
        await asyncio.to_thread(self._receipts.accept, checkpoint, answer)
        return _Upload(upload.size, upload.size, True)

    def _checkpoint(self, upload: _Upload) -> tuple[wire.AddCheckpoint, int]:
        size = max(upload.size, self._plan(upload.size if upload.next_entry is None else upload.next_entry))
        proof = tuple(self._store.consistency_proof(upload.size, size))
        return wire.AddCheckpoint(upload.size, proof, self._store.checkpoint_at(size)), size

    def _plan(self, next_entry: int) -> int:
        """Up to where to sign: all entries, or fewer when the first package alone would be too large to interrupt."""
        end = min(self._store.size(), next_entry - next_entry % wire.PACKAGE_ENTRIES + wire.PACKAGE_ENTRIES)
        total = 0
        for place, size in self._sizes(next_entry, end):
            total += size
            if total > MOST_BATCH_BYTES:
                return max(place, next_entry + 1)
        return self._store.size()

    def _batch(self, upload: _Upload) -> tuple[bytes, Note]:
        packages: list[wire.Package] = []
        total = 0
        first = upload.size if upload.next_entry is None else upload.next_entry
        for start, end in wire.package_ranges(first, upload.size):
            total += sum(size for _, size in self._sizes(start, end))
            if len(packages) == self._batch_size.packages or (packages and total > self._batch_size.bytes):
                break
            try:
                package = wire.build_package(start, end, upload.size, self._store.read_subtree, self._store.entries)
            except EntryPruned as gone:
                raise CountyLacksPruned(
                    f"the county asks for entries from {first} on, which it once confirmed and which were removed here"
                    " after retention: it has to bring back its own backup"
                ) from gone
            packages.append(package)
        head = wire.AddEntriesHead(self._store.origin, first, upload.size, upload.ticket)
        return wire.add_entries_body(head, packages), self._store.checkpoint_at(upload.size)

    def _sizes(self, start: int, end: int) -> list[tuple[int, int]]:
        found = self._store.read(
            "SELECT n, coalesce(length(body), 0) AS size FROM entries WHERE n >= ? AND n < ?", (start, end)
        )
        return [(row["n"], row["size"]) for row in found]
