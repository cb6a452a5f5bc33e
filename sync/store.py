"""The van's store: one thread writes, everyone may read.

``commit`` hands drafts to the writer thread, which takes what is waiting (at most 100 groups or 20 ms) into one
transaction; the caller goes on after COMMIT, when the entries are durable. The screen says "saved" only then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from sqlite_utils import Database

from devices.clock import Clock
from devices.events import emit
from sync.database import FolderLock, Readers, open_database
from sync.journal import Group, Journal, Writing, read_subtree
from sync.merkle import consistency_proof, inclusion_proof, subtree_root
from sync.notes import Checkpoint, Note, Signer
from sync.records import TIME_SOURCES, Draft, Entry, parse_time

MOST_GROUPS = 100
LONGEST_DRAIN_S = 0.02

T = TypeVar("T")
_log = logging.getLogger("xunzhen")


@runtime_checkable
class SignerBySize(Protocol):
    """A signer whose key has changed in the course of the journal."""

    def at_size(self, size: int) -> Signer:
        """What signs the checkpoint over ``size`` entries."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What no receipt covers yet. Counted from the journal alone."""

    entries: int
    bytes: int
    oldest_at: datetime | None
    recordings: int


@dataclass
class _Commit:
    group: Group
    future: Future[list[Entry]]


@dataclass
class _Work:
    work: Callable[[Journal], object]
    future: Future[Any]


class Store:
    """Open with ``Store.open``. All methods may be called from any thread."""

    def __init__(self, folder: Path, lock: FolderLock, journal: Journal, db: Database, signer: Signer, clock: Clock):
        self.folder = folder
        self.origin = signer.name
        self._lock, self._journal, self._db, self._signer, self._clock = lock, journal, db, signer, clock
        self._size = journal.size
        self._readers = Readers(folder / "journal.db")
        self._queue: queue.SimpleQueue[_Commit | _Work | None] = queue.SimpleQueue()
        self._watchers: list[Callable[[list[Entry]], None]] = []
        self._closed = False
        self._handing_in = threading.Lock()
        """So that no job comes to the queue once ``_closed`` is set: nobody would answer it."""
        self._writer = threading.Thread(target=self._write_for_ever, name="journal-writer", daemon=True)

    @classmethod
    def open(
        cls,
        folder: Path,
        origin: str,
        signer: Signer,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
        *,
        vehicle: str,
        practice: bool = False,
        software: str = "xunzhen",
    ) -> Store:
        """Open or create ``folder/journal.db`` and append what opens a boot.

        :raises JournalUnreadable: damaged, no journal, or another vehicle's.
        :raises JournalInUse: another process has it open.
        """
        if signer.name != origin:
            raise ValueError(f"the signer's name {signer.name!r} is not the origin {origin!r}")
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder)
        try:
            path = folder / "journal.db"
            db = open_database(path)
            try:
                journal = Journal(db, path, Writing(origin, vehicle, practice, random_bytes))
                journal.begin_boot(clock.now(), _milliseconds(clock), software)
            except BaseException:
                db.close()
                raise
        except BaseException:
            lock.release()
            raise
        store = cls(folder, lock, journal, db, signer, clock)
        store._writer.start()
        emit("journal_opened", origin=origin, size=journal.size, boot=journal.boot)
        return store

    # --- writing ---

    async def commit(self, *drafts: Draft) -> list[Entry]:
        """Append ``drafts`` together; durable when it returns. A cancelled caller does not undo it.

        :raises DraftRefused: a draft does not fit its kind; nothing is written.
        :raises DiskFull, DiskFault, JournalUnreadable: nothing was written; a person must act.
        """
        return await asyncio.shield(asyncio.wrap_future(self._submit(drafts)))

    def commit_now(self, *drafts: Draft) -> list[Entry]:
        """``commit`` for callers without an event loop: simulated history and tests."""
        return self._submit(drafts).result()

    def on_commit(self, watcher: Callable[[list[Entry]], None]) -> None:
        """Have ``watcher`` called with new entries after each commit, on the writer's thread: it must be quick."""
        self._watchers.append(watcher)

    def set_time_source(self, source: str) -> None:
        """Where wall time comes from, for entries from now on: "rtc", "ntp" or "gnss"."""
        if source not in TIME_SOURCES:
            raise ValueError(f"time source {source!r} is none of {TIME_SOURCES}")
        self._journal.at_source = source

    def rebuild(self) -> None:
        """Make the searchable tables again from the journal alone."""
        self._run(Journal.rebuild)

    def transact(self, work: Callable[[Database], object]) -> None:
        """Run ``work`` on the writing connection in one transaction; durable when it returns.

        For what is not a record: receipts, deliveries, what is parked.
        """
        self._run(lambda journal: journal.transact(work))

    # --- reading ---

    def read(self, sql: str, params: Sequence[object] | Mapping[str, object] = ()) -> list[dict[str, Any]]:
        """Rows of a SELECT on a read-only connection."""
        return self._readers.read(sql, params)

    def size(self) -> int:
        """Durable entries."""
        return self._size

    @property
    def boot(self) -> int:
        return self._journal.boot

    def entries(self, first: int, count: int) -> list[bytes]:
        """Bodies of entries ``first`` to ``first + count``, fewer at the end.

        :raises LookupError: one of them was pruned after retention.
        """
        found = self.read("SELECT body FROM entries WHERE n >= ? AND n < ? ORDER BY n", (first, first + count))
        if any(row["body"] is None for row in found):
            raise LookupError(f"an entry of {first}..{first + count} was pruned")
        return [row["body"] for row in found]

    def read_subtree(self, level: int, index: int) -> bytes:
        """``sync.merkle.ReadSubtree``. :raises LookupError: the tree has no such complete subtree."""
        with self._readers.connection() as connection:
            found = read_subtree(connection, level, index)
        if found is None:
            raise LookupError(f"no subtree {level}/{index} in a tree of {self._size}")
        return found

    def root(self, size: int) -> bytes:
        return subtree_root(0, size, self.read_subtree)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        return inclusion_proof(index, size, self.read_subtree)

    def consistency_proof(self, old_size: int, size: int) -> list[bytes]:
        return consistency_proof(old_size, size, self.read_subtree)

    def checkpoint_at(self, size: int) -> Note:
        """The signed checkpoint over the first ``size`` entries.

        :raises ValueError: there are fewer.
        """
        if not 0 <= size <= self._size:
            raise ValueError(f"the journal has {self._size} entries, not {size}")
        signer = self._signer.at_size(size) if isinstance(self._signer, SignerBySize) else self._signer
        return Checkpoint(self.origin, size, self.root(size)).signed(signer)

    def checkpoint(self) -> bytes:
        """The signed checkpoint over all entries, as a note's bytes."""
        return bytes(self.checkpoint_at(self._size))

    def delivered_size(self) -> int:
        """Entries that the county's last receipt covers."""
        return int(self.read("SELECT coalesce(max(size), 0) AS size FROM receipts")[0]["size"])

    def waiting(self) -> Waiting:
        """Asked every second: answered from sums, however much waits."""
        row = self.read(
            "WITH delivered (size) AS (SELECT coalesce(max(size), 0) FROM receipts),"
            " last (n, total) AS (SELECT n, total_bytes FROM entries ORDER BY n DESC LIMIT 1)"
            " SELECT last.n + 1 - delivered.size AS entries,"
            " last.total - coalesce((SELECT total_bytes FROM entries WHERE n = delivered.size - 1), 0) AS bytes,"
            " (SELECT at FROM entries WHERE n = delivered.size) AS oldest,"
            " (SELECT count(*) FROM recordings_waiting) AS recordings FROM delivered, last"
        )[0]
        oldest_at = parse_time(row["oldest"]) if row["oldest"] else None
        return Waiting(row["entries"], row["bytes"], oldest_at, row["recordings"])

    def close(self) -> None:
        """Finish what is queued, then release the files. May be called twice."""
        with self._handing_in:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._writer.join()
        self._readers.close()
        self._db.close()
        self._lock.release()

    # --- the writer's thread ---

    def _submit(self, drafts: Sequence[Draft]) -> Future[list[Entry]]:
        for draft in drafts:
            draft.check()
        future: Future[list[Entry]] = Future()
        if not drafts:
            future.set_result([])
            return future
        self._put(_Commit(Group(drafts, self._clock.now(), _milliseconds(self._clock)), future))
        return future

    def _run(self, work: Callable[[Journal], T]) -> T:
        future: Future[T] = Future()
        self._put(_Work(work, future))
        return future.result()

    def _put(self, job: _Commit | _Work) -> None:
        with self._handing_in:
            if self._closed:
                raise RuntimeError("the store is closed")
            self._queue.put(job)

    def _write_for_ever(self) -> None:
        try:
            while self._write_once():
                pass
        finally:  # by close, or by a bug: nobody may wait for a thread that is gone
            with self._handing_in:
                self._closed = True
            self._refuse_the_late()

    def _write_once(self) -> bool:
        """Do the next job and what came with it; False when the store is to be closed."""
        job = self._queue.get()
        if isinstance(job, _Commit):
            commits, job = self._drain(job)
            self._commit(commits)
        if isinstance(job, _Work):
            self._work(job)
        return job is not None

    def _refuse_the_late(self) -> None:
        """Answer who handed in a job while the store was closing."""
        with suppress(queue.Empty):
            while True:
                job = self._queue.get_nowait()
                if job is not None:
                    _settle(job.future, RuntimeError("the store is closed"))

    def _drain(self, first: _Commit) -> tuple[list[_Commit], _Commit | _Work | None]:
        """Commits that are waiting already, without waiting for more; and the job behind them (``first``: none)."""
        commits = [first]
        until_s = self._clock.monotonic_s() + LONGEST_DRAIN_S
        while len(commits) < MOST_GROUPS and self._clock.monotonic_s() < until_s:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if not isinstance(job, _Commit):
                return commits, job
            commits.append(job)
        return commits, first

    def _commit(self, commits: list[_Commit]) -> None:
        try:
            results = self._journal.append([commit.group for commit in commits])
        except Exception as fault:
            for commit in commits:
                _settle(commit.future, fault)
            return
        self._size = self._journal.size
        written = [entry for result in results if isinstance(result, list) for entry in result]
        for commit, result in zip(commits, results, strict=True):
            _settle(commit.future, result)
        if written:
            self._tell(written)

    def _tell(self, written: list[Entry]) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            for entry in written:
                emit("entry_appended", logging.DEBUG, n=entry.n, kind=entry.kind)
        for watcher in self._watchers:
            try:
                watcher(written)
            except Exception:  # a watcher's bug must not stop the one who writes
                _log.exception("a watcher of the journal failed")

    def _work(self, job: _Work) -> None:
        try:
            result = job.work(self._journal)
        except Exception as fault:
            _settle(job.future, fault)
        else:
            _settle(job.future, result)


def _settle(future: Future[Any], result: object) -> None:
    if future.set_running_or_notify_cancel():
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _milliseconds(clock: Clock) -> int:
    return int(clock.monotonic_s() * 1000)
