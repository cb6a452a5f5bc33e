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
"""Beyond it, what the host does not read is lost, as on a real line."""


class PtyPort:
    """``attach`` makes a new pty at ``path``, ``detach`` hangs it up: whoever has it open reads end of file."""

    def __init__(self, path: Path, twin: Twin, clock: Clock) -> None:
        self.path = path
        self.twin = twin
        self.lost_bytes = 0
        self._clock = clock
        self._master: int | None = None
        self._slave: int | None = None
        self._unsent = bytearray()
        self._pacing: asyncio.Task[None] | None = None

    @property
    def attached(self) -> bool:
        return self._master is not None

    def attach(self) -> None:
        """Plug in; nothing happens when it is in already."""
        if self._master is not None:
            return
        self._master, self._slave = os.openpty()
        # Our own end of the slave stays open: without any the master would read EIO until the host opens it.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(self._slave))
        self.twin.power_on()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._master, self._read)
        self._pacing = loop.create_task(self._pace())
        fresh.replace(self.path)

    def detach(self) -> None:
        """Pull out; nothing happens when it is out already."""
        if self._master is None or self._slave is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        if self._pacing is not None:
            self._pacing.cancel()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        loop.remove_writer(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = None
        self._unsent.clear()

    def _read(self) -> None:
        if self._master is None:
            return
        try:
            chunk = os.read(self._master, 4096)
        except (BlockingIOError, OSError):
            return
        streamed = self.twin.streaming
        answer = self.twin.receive(chunk)
        if streamed and not self.twin.streaming:
            self._unsent.clear()
        self._send(answer)

    async def _pace(self) -> None:
        """Real time: what a stall of ours held up is sent after it."""
        before_s = self._clock.monotonic_s()
        while True:
            await self._clock.sleep(STEP_S)
            now_s = self._clock.monotonic_s()
            self._send(self.twin.advance(now_s - before_s))
            before_s = now_s

    def _send(self, chunk: bytes) -> None:
        if len(self._unsent) + len(chunk) > MAX_UNSENT_BYTES:
            self.lost_bytes += len(chunk)
            return
        self._unsent += chunk
        self._write_unsent()

    def _write_unsent(self) -> None:
        if self._master is None or not self._unsent:
            return
        try:
            written = os.write(self._master, self._unsent)
        except BlockingIOError:
            written = 0
        except OSError:
            return
        del self._unsent[:written]
        loop = asyncio.get_running_loop()
        if self._unsent:
            loop.add_writer(self._master, self._write_unsent)
        else:
            loop.remove_writer(self._master)
