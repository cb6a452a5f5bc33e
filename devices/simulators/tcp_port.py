"""A twin behind a TCP port: for devices and daemons that wait to be called. One caller at a time, as they have it."""

from __future__ import annotations

import asyncio
import contextlib

from devices.clock import Clock
from devices.simulators.twin import Twin

STEP_S = 0.02


class TcpPort:
    def __init__(self, twin: Twin, clock: Clock, host: str = "127.0.0.1") -> None:
        self.twin = twin
        self._clock = clock
        self._host = host
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def open(self, port: int = 0) -> int:
        """Listen; returns the port, a free one for 0.

        :raises OSError: the port is taken.
        """
        self._server = await asyncio.start_server(self._serve, self._host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Hang up on whoever calls and stop listening."""
        if self._server is not None:
            self._server.close()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._calls:
            writer.close()
            return
        self._calls.add(task)
        self.twin.power_on()
        pacing = asyncio.create_task(self._pace(writer))
        try:
            with contextlib.suppress(OSError):
                while asked := await reader.read(4096):
                    writer.write(self.twin.receive(asked))
        except asyncio.CancelledError:
            pass
        finally:
            pacing.cancel()
            self._calls.discard(task)
            writer.close()

    async def _pace(self, writer: asyncio.StreamWriter) -> None:
        before_s = self._clock.monotonic_s()
        while not writer.is_closing():
            await self._clock.sleep(STEP_S)
            now_s = self._clock.monotonic_s()
            if chunk := self.twin.advance(now_s - before_s):
                writer.write(chunk)
            before_s = now_s
