"""A WebSocket as the rooms see it: text goes in without waiting; who does not read is shown out."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

QUEUE_BOUND = 200
TOO_SLOW = 4008


class SocketLink:
    """Outgoing side of one socket: at most ``QUEUE_BOUND`` unread messages, then the socket is closed."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._queue: deque[str] = deque()
        self._filled = asyncio.Event()
        self._too_slow = asyncio.Event()

    def send(self, text: str) -> None:
        if len(self._queue) >= QUEUE_BOUND:
            self._too_slow.set()
        else:
            self._queue.append(text)
            self._filled.set()

    async def write(self) -> None:
        """Send what is queued until the socket closes; a send that waits for the other end is not waited for."""
        sending, judging = asyncio.create_task(self._send_queued()), asyncio.create_task(self._too_slow.wait())
        try:
            await asyncio.wait([sending, judging], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            judging.cancel()
        if self._too_slow.is_set():
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await self.close(TOO_SLOW, "this end does not read; connect again")

    async def _send_queued(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # starlette's words for a socket that is gone
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._queue:
                    await self._socket.send_text(self._queue.popleft())

    async def close(self, code: int, reason: str) -> None:
        if self._socket.application_state == WebSocketState.CONNECTED:
            await self._socket.close(code, reason)
