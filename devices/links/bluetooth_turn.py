"""Whose turn it is to connect: one device at a time, and others meanwhile when a person looks for its digits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

TAKE_BACK_WITHIN_S = 2.0
"""A device that waits for its digits hangs up after 30 s, so its answer does not wait long for another's connection."""


class ConnectTurn:
    """Parallel connection attempts fail on BlueZ, so each takes its turn; first come, first served."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holder: str | None = None
        self._lent: set[str] = set()
        """Attempts that go on and gave their turn away for a while."""
        self._questions = 0
        self._no_question = asyncio.Event()
        self._no_question.set()

    @asynccontextmanager
    async def of(self, holder: str) -> AsyncIterator[None]:
        """
        :param holder: the address that is connected to, or what else wants the adapter for itself; one at a time
        """
        await self._lock.acquire()
        self._holder = holder
        try:
            yield
        finally:
            if holder in self._lent:
                self._lent.discard(holder)
            else:
                self._give_up()

    @asynccontextmanager
    async def question(self, holder: str) -> AsyncIterator[None]:
        """While a person looks for the digits of ``holder`` others have its turn, if it had it. Waits at the end until
        it has it back, but not for long: then both go on at the same time.
        """
        lends = self._holder == holder
        if lends:
            self._lent.add(holder)
            self._give_up()
        self._questions += 1
        self._no_question.clear()
        try:
            yield
        finally:
            self._questions -= 1
            if not self._questions:
                self._no_question.set()
            if lends:
                with suppress(TimeoutError):
                    async with asyncio.timeout(TAKE_BACK_WITHIN_S):
                        await self._take_back(holder)

    async def no_question(self) -> None:
        """Wait until nobody looks for digits: bluetoothd pairs one device at a time."""
        await self._no_question.wait()

    async def _take_back(self, holder: str) -> None:
        await self._lock.acquire()
        if holder in self._lent:
            self._lent.discard(holder)
            self._holder = holder
        else:  # the attempt ended meanwhile
            self._lock.release()

    def _give_up(self) -> None:
        self._holder = None
        self._lock.release()
