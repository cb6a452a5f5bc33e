"""Work that a callback starts and nobody awaits, one piece after the other: a card was laid down, a cuff has finished.

The feed calls its listeners in the event loop's thread and does not wait. ``Turns`` keeps their order, so that two
cards in quick succession are served in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from devices.errors import XunzhenError

Work = Callable[[], Coroutine[Any, Any, object]]
MOST_WAITING = 200


class Turns:
    """
    :param on_refusal: told when a piece of work ends in an error that somebody can act on; any other error is a bug
        and ends up with the event loop's handler
    """

    def __init__(self, name: str, on_refusal: Callable[[XunzhenError], None]) -> None:
        self._name = name
        self._on_refusal = on_refusal
        self._waiting: deque[Work] = deque(maxlen=MOST_WAITING)
        self._worker: asyncio.Task[None] | None = None

    def soon(self, work: Work) -> None:
        """Do ``work`` after what is already waiting.

        :raises RuntimeError: no event loop runs
        """
        loop = asyncio.get_running_loop()
        self._waiting.append(work)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._go(), name=self._name)

    async def settle(self) -> None:
        """Wait until everything given so far is done."""
        while self._worker is not None and not self._worker.done():
            await asyncio.shield(self._worker)

    async def _go(self) -> None:
        while self._waiting:
            work = self._waiting.popleft()
            try:
                await work()
            except XunzhenError as refusal:
                self._on_refusal(refusal)
