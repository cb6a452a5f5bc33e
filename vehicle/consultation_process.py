"""Whether the media process is there and carries a consultation: asked on its Unix socket.

The vehicle works on either way; who is being watched by a specialist has the uplink first (``sync.delivery.lanes``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devices.clock import Clock

LOOK_EVERY_S = 5.0
ANSWER_WITHIN_S = 1.0
KIOSK = "kiosk"
"""The touchscreen's own leg: it stays inside the van."""
_ASK = b"GET /status HTTP/1.0\r\nHost: local\r\n\r\n"
_LARGEST_ANSWER_BYTES = 64 * 1024


class ConsultationProcess:
    """
    :ivar up: as of the last look
    :ivar live: a specialist is connected, as of the last look
    :ivar link: what the session says of the link (``telemedicine.session_link.SessionLink.told``)
    """

    def __init__(self, socket: Path, clock: Clock) -> None:
        self._socket = socket
        self._clock = clock
        self.up = False
        self.live = False
        self.link: Mapping[str, Any] | None = None

    async def look(self) -> None:
        """Ask how it stands; a socket that answers anything at all is up. Until it has, the last look stands."""
        up, said = False, dict[str, Any]()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                up = True
                try:
                    writer.write(_ASK)
                    await writer.drain()
                    said = _status(await _whole(reader))
                finally:
                    writer.close()
        self.up, self.live = up, _is_live(said)
        self.link = link if isinstance(link := said.get("link"), dict) else None

    async def run(self) -> None:
        """The service: ``look`` every 5 s, for ever."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_EVERY_S)


async def _whole(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other end hangs up, at most ``_LARGEST_ANSWER_BYTES``: head and body come apart."""
    answer = b""
    while len(answer) < _LARGEST_ANSWER_BYTES and (more := await reader.read(_LARGEST_ANSWER_BYTES)):
        answer += more
    return answer


def _status(answer: bytes) -> dict[str, Any]:
    """The status in an HTTP answer; empty for what is none."""
    try:
        said = json.loads(answer.partition(b"\r\n\r\n")[2])
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _is_live(said: Mapping[str, Any]) -> bool:
    """Whether the status names a viewer outside the van."""
    viewers = said.get("viewers")
    return isinstance(viewers, list) and any(viewer != KIOSK for viewer in viewers)
