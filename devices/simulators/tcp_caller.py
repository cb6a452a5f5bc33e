"""A twin that calls: the TCP client that analysers are. It calls again whenever the connection ends."""

from __future__ import annotations

import asyncio
import contextlib

from devices.clock import Clock
from devices.simulators.twin import Twin

STEP_S = 0.02
CALL_AGAIN_S = 0.5
READ_BYTES = 4096


class TcpCaller:
    """``run`` until cancelled; ``connected`` while somebody listens."""

    def __init__(self, host: str, port: int, twin: Twin, clock: Clock) -> None:
        self._host, self._port = host, port
        self._twin = twin
        self._clock = clock
        self.connected = asyncio.Event()

    async def run(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                self._twin.power_on()
                self.connected.set()
                try:
                    await self._converse(reader, writer)
                finally:
                    self.connected.clear()
                    writer.close()
            await self._clock.sleep(CALL_AGAIN_S)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        before_s = self._clock.monotonic_s()
        while True:
            heard = b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STEP_S):
                    heard = await reader.read(READ_BYTES)
                    if not heard:
                        return
            now_s = self._clock.monotonic_s()
            sent = (self._twin.receive(heard) if heard else b"") + self._twin.advance(now_s - before_s)
            before_s = now_s
            if sent:
                writer.write(sent)
                await writer.drain()
