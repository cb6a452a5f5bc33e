"""The van's store: one connection writes, everyone may read.

``commit`` hands drafts to the writer thread, which takes all that is waiting (at most 100 groups) into one transaction;
the caller goes on after COMMIT, when the entries are durable. The screen says "saved" only then. ``commit_now`` writes
in the caller's own thread when nobody else is writing or waiting, which spares two changes of thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from sqlite_utils import Database

from devices.clock import Clock
from devices.events import emit
from sync.formats.merkle import consistency_proof, inclusion_proof, subtree_root
from sync.formats.notes import Checkpoint, Note, Signer
from sync.formats.records import TIME_SOURCES, Draft, Entry, parse_time
from sync.record.database import DiskFull, FolderLock, Readers, open_database
from sync.record.journal import Group, Journal, Writing, read_subtree
from sync.record.reserve import RESERVE_BYTES, Reserve

MOST_GROUPS = 100

T = TypeVar("T")
_log = logging.getLogger("xunzhen")


@runtime_checkable
class SignerBySize(Protocol):
    """A signer whose key has changed in the course of the journal."""

    def at_size(self, size: int) -> Signer:
        """What signs the checkpoint over ``size`` entries."""


class EntryPruned(LookupError):
    """The entry's body was removed after retention; its leaf hash and all proofs are there."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What no receipt covers yet. Counted from the journal alone."""

    entries: int
    bytes: int
    oldest_at: datetime | None
    recordings: int


@dataclass(frozen=True, slots=True)
class _Commit:
    """``settle``: called on the writer's thread with the entries, or why there are none."""

    group: Group
    settle: Callable[[list[Entry] | Exception], None]


@dataclass(frozen=True, slots=True)
class _Work:
    work: Callable[[Journal], object]
    settle: Callable[[Any], None]


class Store:
    """Open with ``Store.open``. All methods may be called from any thread."""

    def __init__(
        self,
        folder: Path,
        lock: FolderLock,
        journal: Journal,
        db: Database,
        reserve: Reserve,
        signer: Signer,
        clock: Clock,
    ):
        self.folder = folder
        self.origin = signer.name
        self._lock, self._journal, self._db, self._signer, self._clock = lock, journal, db, signer, clock
        self._reserve = reserve
        self._size = journal.size
        self._readers = Readers(folder / "journal.db")
        self._watchers: list[Callable[[list[Entry]], None]] = []
        self._turn = threading.Condition()
        """Guards the three below: whose turn it is to write."""
        self._jobs: deque[_Commit | _Work] = deque()
        self._writing = False
        self._closed = False
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
        reserve_bytes: int = RESERVE_BYTES,
    ) -> Store:
        """Open or create ``folder/journal.db`` and append what opens a boot.

        :param reserve_bytes: room kept back, so that records can still be written on a full disk
        :raises JournalUnreadable: damaged, no journal, or another vehicle's.
        :raises JournalInUse: another process has it open.
        """
        if signer.name != origin:
            raise ValueError(f"the signer's name {signer.name!r} is not the origin {origin!r}")
        folder.mkdir(parents=True, exist_ok=True)
        reserve = Reserve(folder / "reserve", reserve_bytes)
        writing = Writing(origin, vehicle, practice, random_bytes)
        lock = FolderLock(folder)
        try:
            try:
                db, journal = _open_journal(folder / "journal.db", writing, reserve)
            except DiskFull:
                if not reserve.release():
                    raise
                db, journal = _open_journal(folder / "journal.db", writing, reserve)
            try:
                journal.begin_boot(clock.now(), _milliseconds(clock), software)
                reserve.make()
            except BaseException:
                db.close()
                raise
        except BaseException:
            lock.release()
            raise
        store = cls(folder, lock, journal, db, reserve, signer, clock)
        store._writer.start()
        emit("journal_opened", origin=origin, size=journal.size, boot=journal.boot)
        return store

    # --- writing ---

    async def commit(self, *drafts: Draft) -> list[Entry]:
        """Append ``drafts`` together; durable when it returns. A cancelled caller does not undo it.

        :raises DraftRefused: a draft does not fit its kind; nothing is written.
        :raises DiskFull, DiskFault, JournalUnreadable: nothing was written; a person must act.
        """
        _check(drafts)
        if not drafts:
            return []
        loop = asyncio.get_running_loop()
        written: asyncio.Future[list[Entry]] = loop.create_future()

        def settle(result: list[Entry] | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_tell_waiting, written, result)

        with self._turn:
            self._queue(_Commit(self._group(drafts), settle))
        return await written

    def commit_now(self, *drafts: Draft) -> list[Entry]:
        """``commit`` for callers without an event loop: simulated history, command lines and tests.

        Writes in this thread, if nobody else is writing or waiting; so nobody is overtaken.
        """
        _check(drafts)
        if not drafts:
            return []
        written: Future[list[Entry]] | None = None
        with self._turn:
            group = self._group(drafts)
            if self._writing or self._jobs:
                written = Future()
                self._queue(_Commit(group, partial(_settle, written)))
            else:
                self._check_open()
                self._writing = True
        return self._write(group) if written is None else written.result()

    def on_commit(self, watcher: Callable[[list[Entry]], None]) -> None:
        """Have ``watcher`` called with new entries after each commit, on the thread that wrote: it must be quick."""
        self._watchers.append(watcher)

    def set_time_source(self, source: str) -> None:
        """Where wall time comes from, for entries from now on: "rtc", "ntp" or "gnss"."""
        if source not in TIME_SOURCES:
            raise ValueError(f"time source {source!r} is none of {TIME_SOURCES}")
        self._journal.at_source = source

    def rebuild(self) -> None:
        """Make the searchable tables again from the journal alone."""
        self._run(Journal.rebuild)

    def prune(self, drafts: Sequence[Draft], places: Sequence[int]) -> list[Entry]:
        """Append ``drafts``, which tell of it, and remove the bodies of ``places``, all in one; see ``retention``.

        :raises DraftRefused, DiskFull, DiskFault, JournalUnreadable: nothing was removed.
        """
        _check(drafts)
        group = self._group(drafts)
        return self._run(lambda journal: journal.prune(group, places))

    def make_reserve(self) -> bool:
        """Take the room again that a full disk needed, once there is some; whether it is held."""
        return self._run(lambda _: self._reserve.make())

    @property
    def reserve_held(self) -> bool:
        """False: the disk is full, and records are written into the room that was kept back for them."""
        return self._reserve.held

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

        :raises EntryPruned: one of them was pruned after retention.
        """
        found = self.read("SELECT body FROM entries WHERE n >= ? AND n < ? ORDER BY n", (first, first + count))
        if any(row["body"] is None for row in found):
            raise EntryPruned(f"an entry of {first}..{first + count} was pruned")
        return [row["body"] for row in found]

    def read_subtree(self, level: int, index: int) -> bytes:
        """``sync.formats.merkle.ReadSubtree``. :raises LookupError: the tree has no such complete subtree."""
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
        with self._turn:
            if self._closed:
                return
            self._closed = True
            self._turn.notify_all()
        self._writer.join()
        self._readers.close()
        self._db.close()
        self._lock.release()

    # --- whose turn it is ---

    def _group(self, drafts: Sequence[Draft]) -> Group:
        return Group(drafts, self._clock.now(), _milliseconds(self._clock))

    def _run(self, work: Callable[[Journal], T]) -> T:
        future: Future[T] = Future()
        with self._turn:
            self._queue(_Work(work, partial(_settle, future)))
        return future.result()

    def _queue(self, job: _Commit | _Work) -> None:
        self._check_open()
        self._jobs.append(job)
        self._turn.notify_all()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")

    # --- the writer's thread ---

    def _write_for_ever(self) -> None:
        try:
            while job := self._next():
                self._do(job)
        finally:  # by close, or by a bug: nobody may wait for a thread that is gone
            with self._turn:
                self._closed = True
                for left in self._jobs:
                    left.settle(RuntimeError("the store is closed"))

    def _next(self) -> list[_Commit] | _Work | None:
        """The commits that are waiting, or the work before them; None when the store is to be closed."""
        with self._turn:
            self._turn.wait_for(lambda: not self._writing and (self._jobs or self._closed))
            if not self._jobs:
                return None
            self._writing = True
            first = self._jobs.popleft()
            if isinstance(first, _Work):
                return first
            commits = [first]
            while self._jobs and len(commits) < MOST_GROUPS and isinstance(job := self._jobs[0], _Commit):
                commits.append(job)
                self._jobs.popleft()
            return commits

    def _do(self, job: list[_Commit] | _Work) -> None:
        """Write ``job``, whose turn it is, and let the next one."""
        try:
            if isinstance(job, _Work):
                self._work(job)
            else:
                self._commit(job)
        finally:
            self._hand_on()

    def _hand_on(self) -> None:
        with self._turn:
            self._writing = False
            if self._jobs or self._closed:
                self._turn.notify_all()

    def _write(self, group: Group) -> list[Entry]:
        """Write ``group`` in this thread, whose turn it is, and let the next one."""
        try:
            [result] = self._journal.append([group])
            if isinstance(result, Exception):
                raise result
            self._size = self._journal.size
            self._tell(result)
            return result
        finally:
            self._hand_on()

    def _commit(self, commits: list[_Commit]) -> None:
        try:
            results = self._journal.append([commit.group for commit in commits])
        except Exception as fault:
            for commit in commits:
                commit.settle(fault)
            return
        self._size = self._journal.size
        written = [entry for result in results if isinstance(result, list) for entry in result]
        for commit, result in zip(commits, results, strict=True):
            commit.settle(result)
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
            job.settle(fault)
        else:
            self._size = self._journal.size
            job.settle(result)


def _open_journal(path: Path, writing: Writing, reserve: Reserve) -> tuple[Database, Journal]:
    db = open_database(path)
    try:
        return db, Journal(db, path, writing, reserve)
    except BaseException:
        db.close()
        raise


def _milliseconds(clock: Clock) -> int:
    return int(clock.monotonic_s() * 1000)


def _check(drafts: Sequence[Draft]) -> None:
    for draft in drafts:
        draft.check()


def _settle(future: Future[Any] | asyncio.Future[Any], result: object) -> None:
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _tell_waiting(future: asyncio.Future[Any], result: object) -> None:
    """On the waiting one's loop; a cancelled caller does not hear of it."""
    if not future.done():
        _settle(future, result)
