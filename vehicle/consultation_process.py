"""Whether the media process is there: its Unix socket answers or it does not. The vehicle works on either way."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from devices.clock import Clock

LOOK_EVERY_S = 5.0
ANSWER_WITHIN_S = 1.0


class ConsultationProcess:
    """
    :ivar up: as of the last look
    """

    def __init__(self, socket: Path, clock: Clock) -> None:
        self._socket = socket
        self._clock = clock
        self.up = False

    async def look(self) -> None:
        """Connect and hang up."""
        try:
            _, writer = await asyncio.wait_for(asyncio.open_unix_connection(self._socket), ANSWER_WITHIN_S)
        except (OSError, TimeoutError):
            self.up = False
            return
        self.up = True
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def run(self) -> None:
        """The service: ``look`` every 5 s, for ever."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_EVERY_S)
