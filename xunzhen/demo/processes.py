"""Starts the processes of the demo as systemd would: readiness by sd_notify, restart on failure, SIGTERM at the end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson

RESTARTS_AT_MOST = 3
RESTART_WINDOW_S = 600.0
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def end_with_the_demo() -> None:
    """In a child, before it becomes the program: SIGTERM when the demo dies, also of SIGKILL (prctl(2))."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class ServiceDidNotStart(AskPerson):
    code = "service_did_not_start"


class Process:
    """One service of the demo: ``start`` returns when it has said READY=1, ``watch`` restarts it when it dies."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        clock: Clock,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._arguments = list(arguments)
        self._log = folder / f"{name}.log"
        self._notify_path = folder / f"{name}.notify"
        self._environment = dict(environment or {})
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._restarts: deque[float] = deque()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self, within_s: float = 180.0) -> None:
        """Start and wait for readiness.

        :raises ServiceDidNotStart: it ended, or said nothing ``within_s``, which on a computer with something else to
            do may be long; the message carries the last lines of this start's log
        """
        self._notify_path.unlink(missing_ok=True)
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind(str(self._notify_path))
        ready.setblocking(False)
        waits: list[asyncio.Future[Any]] = []
        try:
            with self._log.open("ab") as log:
                log_begins_at = log.tell()
                self._process = await asyncio.create_subprocess_exec(
                    *self._arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self._environment, "NOTIFY_SOCKET": str(self._notify_path)},
                    start_new_session=True,
                    preexec_fn=end_with_the_demo,
                )
            waits = [asyncio.ensure_future(_hear_ready(ready)), asyncio.ensure_future(self._process.wait())]
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if not waits[0].done():
                happened = "ended" if waits[1].done() else f"did not get ready within {within_s:.0f} s"
                raise ServiceDidNotStart(
                    f"{self.name} {happened}; end of {self._log}:\n{self._log_tail(log_begins_at)}"
                )
        finally:
            for wait in waits:
                wait.cancel()
            ready.close()
            self._notify_path.unlink(missing_ok=True)

    async def watch(self) -> None:
        """Restart after a failure, at most 3 times in 10 minutes; returns when stopped or given up."""
        while self._process is not None:
            code = await self._process.wait()
            if self._stopping or code == 0:
                return
            now = self._clock.monotonic_s()
            while self._restarts and now - self._restarts[0] > RESTART_WINDOW_S:
                self._restarts.popleft()
            if len(self._restarts) >= RESTARTS_AT_MOST:
                print(f"{self.name} failed {RESTARTS_AT_MOST} times in 10 minutes and stays down; see {self._log}")
                return
            self._restarts.append(now)
            with contextlib.suppress(ServiceDidNotStart):
                await self.start()

    async def stop(self, within_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL to the whole process group when it does not end in time."""
        self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), within_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    def _log_tail(self, begins_at: int, lines: int = 15) -> str:
        """:param begins_at: bytes of the log that are of former starts"""
        return "\n".join(self._log.read_bytes()[begins_at:].decode(errors="replace").splitlines()[-lines:])


async def _hear_ready(ready: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while b"READY=1" not in await loop.sock_recv(ready, 4096):
        pass
