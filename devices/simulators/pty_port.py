"""A twin on a pseudo-terminal, reached by a symlink that comes and goes as a cable is plugged and pulled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from pathlib import Path

from devices.clock import Clock
from devices.simulators.twin import Twin

STEP_S = 0.02
MAX_UNSENT_BYTES = 64 * 1024
"""Beyond it, what a host that has the port open does not read is lost."""


class PtyPort:
    """``attach`` makes a new pty at ``path``, ``detach`` hangs it up: whoever has it open reads end of file.

    As on a real line, what is sent while no program has the port open is lost.
    """

    def __init__(self, path: Path, twin: Twin, clock: Clock) -> None:
        self.path = path
        self.twin = twin
        self.lost_bytes = 0
        """Sent while a program had the port open and did not read."""
        self._clock = clock
        self._master: int | None = None
        self._unsent = bytearray()
        self._pacing: asyncio.Task[None] | None = None

    @property
    def attached(self) -> bool:
        return self._master is not None

    def attach(self) -> None:
        """Plug in; nothing happens when it is in already."""
        if self._master is not None:
            return
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(slave))
        os.close(slave)
        self.twin.power_on()
        self._pacing = asyncio.get_running_loop().create_task(self._pace(self._master))
        fresh.replace(self.path)

    def detach(self) -> None:
        """Pull out; nothing happens when it is out already."""
        if self._master is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        if self._pacing is not None:
            self._pacing.cancel()
        os.close(self._master)
        self._master = None
        self._unsent.clear()

    async def _pace(self, master: int) -> None:
        """Real time: what a stall of ours held up is sent after it."""
        before_s = self._clock.monotonic_s()
        while True:
            await self._clock.sleep(STEP_S)
            now_s = self._clock.monotonic_s()
            asked = self._asked(master)
            streamed = self.twin.streaming
            answer = self.twin.receive(asked) if asked else b""
            if asked is None or (streamed and not self.twin.streaming):
                self._unsent.clear()
            sent = answer + self.twin.advance(now_s - before_s)
            before_s = now_s
            if asked is not None:
                self._send(master, sent)

    def _asked(self, master: int) -> bytes | None:
        """What the host wrote; None: no program has the port open."""
        try:
            return os.read(master, 4096)
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def _send(self, master: int, chunk: bytes) -> None:
        if len(self._unsent) + len(chunk) > MAX_UNSENT_BYTES:
            self.lost_bytes += len(chunk)
        else:
            self._unsent += chunk
        with contextlib.suppress(OSError):
            if self._unsent:
                del self._unsent[: os.write(master, self._unsent)]
