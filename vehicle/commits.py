"""Journal entries from callbacks: what must be written although nobody is there to await it.

A GNSS fix, a device that goes away, a stepped clock: they happen in the feed's turn. ``Commits`` writes such drafts
in the order given. In a running service a single task awaits the store, and a write that fails stays at the head and
is tried again (a full disk is made room on). Drafts that no journal takes are a bug of who made them: they are told in
the log and left out, so that they hold up nobody. In simulated time the store writes at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from devices.clock import Clock
from devices.errors import XunzhenError
from devices.events import emit
from sync.formats.records import Draft, DraftRefused

Done = Callable[[], None]
RETRY_S = 2.0


class Journal(Protocol):
    """The part of ``sync.record.store.Store`` that writes."""

    async def commit(self, *drafts: Draft) -> list[Any]: ...

    def commit_now(self, *drafts: Draft) -> list[Any]: ...


class Commits:
    """
    :param at_once: write in the caller's turn (simulated time, tests, before the loop runs)
    """

    def __init__(self, journal: Journal, clock: Clock, at_once: bool) -> None:
        self._journal = journal
        self._clock = clock
        self._at_once = at_once
        self._queue: deque[tuple[tuple[Draft, ...], Done | None]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self.fault: str | None = None
        """Code of the error that keeps the head of the queue from being written; None when all is well."""
        self._left_out = False

    def soon(self, *drafts: Draft, then: Done | None = None) -> None:
        """Write ``drafts`` as one batch; call ``then`` once they are durable."""
        if self._at_once:
            self._journal.commit_now(*drafts)
            if then is not None:
                then()
            return
        self._queue.append((drafts, then))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work(), name="commits")

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def take_left_out(self) -> bool:
        """Whether drafts were left out since this was last asked: what they came from had better not be forgotten."""
        left_out, self._left_out = self._left_out, False
        return left_out

    async def settle(self, patience_s: float = 5.0) -> bool:
        """Wait until everything given so far is durable; False when it is not after ``patience_s``."""
        if self._worker is None:
            return True
        await asyncio.wait({self._worker}, timeout=patience_s)
        return not self._queue

    async def _work(self) -> None:
        while self._queue:
            drafts, then = self._queue[0]
            try:
                await self._journal.commit(*drafts)
            except DraftRefused as bug:
                self._queue.popleft()
                self._left_out = True
                emit("entries_not_written", level=logging.ERROR, count=len(drafts))
                logging.getLogger(__name__).error("an entry fits no journal", exc_info=bug)
                continue
            except (XunzhenError, OSError) as fault:
                self.fault = getattr(fault, "code", "disk_full")
                await self._clock.sleep(RETRY_S)
                continue
            self.fault = None
            self._queue.popleft()
            if then is not None:
                then()
