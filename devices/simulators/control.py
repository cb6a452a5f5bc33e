"""The simulators' control socket: one JSON object a line in, one JSON object a line back.

``{"do": "plug", "device": "ecg"}`` -> ``{"ok": true}``; what cannot be done -> ``{"error": "..."}``. See README.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from devices.errors import AskPerson
from devices.simulators.bench import Bench

MAX_LINE_BYTES = 64 * 1024
Deed = Callable[..., Awaitable[object] | object]


class ControlSocket:
    def __init__(self, bench: Bench) -> None:
        self._deeds: dict[str, Deed] = {
            "plug": bench.plug,
            "unplug": bench.unplug,
            "card": bench.lay_card,
            "card_off": bench.lift_card,
            "finger": bench.finger,
            "leads": bench.leads,
            "heart": bench.heart,
            "position": bench.position,
            "sky": bench.sky,
            "glucose": bench.glucose,
            "blood_pressure": bench.blood_pressure,
            "urine": bench.read_strip,
            "blood_count": bench.count_blood,
            "paper": bench.paper,
            "ecg_sent": bench.ecg_sent,
            "state": bench.state,
        }
        self._server: asyncio.AbstractServer | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def open(self, path: Path) -> None:
        """
        :raises OSError: the path cannot be bound (folder missing, name longer than a socket's may be).
        """
        self._server = await asyncio.start_unix_server(self._talk, path, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def answer(self, line: bytes) -> dict[str, Any]:
        """Do what a line asks. Never raises for any line."""
        try:
            asked = json.loads(line)
            name = asked.pop("do")
        except (ValueError, KeyError, AttributeError, TypeError):
            return {"error": 'one JSON object a line, with "do" naming the deed'}
        deed = self._deeds.get(name) if isinstance(name, str) else None
        if deed is None:
            return {"error": f"no deed {name!r}; there are {', '.join(self._deeds)}"}
        try:
            told = deed(**asked)
            if isinstance(told, Awaitable):
                told = await told
        except (AskPerson, ValueError, TypeError) as refusal:
            return {"error": str(refusal).replace("Bench.", "")}
        return {"ok": True, **told} if isinstance(told, dict) else {"ok": True}

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._talks.add(task)
            task.add_done_callback(self._talks.discard)
        with contextlib.suppress(ConnectionError, ValueError, asyncio.CancelledError):
            while line := await reader.readline():
                if line.strip():
                    writer.write(json.dumps(await self.answer(line), ensure_ascii=False).encode() + b"\n")
                    await writer.drain()
        writer.close()
