"""``python -m sync.county ... serve``: the county's routes in several worker processes on one port.

The exchange keeps its rooms in memory, so it is not among them: ``python -m telemedicine.exchange`` serves it from one
process of its own, and a reverse proxy sends ``/exchange`` and ``/specialist`` there and everything else here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from devices.clock import SystemClock
from devices.errors import AskPerson
from devices.events import emit
from sync.county.app import County, create_county
from sync.county.database import fit_for_several_processes
from sync.county.settings import read_county_settings
from sync.formats.wire import KEEP_ALIVE_S
from sync.service import READY, STOPPING, WATCHDOG, collect_rarely, log_to_stderr, notify
from sync.web.server import GOODBYE_WITHIN_S, listening

SERVICE = "county"


def serve_workers(settings_file: Path, workers: int, port: int | None = None) -> int:
    """Serve until SIGTERM or SIGINT; a worker that dies or hangs is replaced. 0, or 1 when no worker can start.

    :param port: instead of the settings'
    :raises DatabaseRefused: more than one worker on an SQLite that does not stand that
    :raises PortTaken, SettingsRefused: see there
    """
    settings = read_county_settings(settings_file)
    if workers > 1:
        fit_for_several_processes(settings.database_url)
    log_to_stderr(SERVICE)
    began_s = SystemClock().monotonic_s()
    with listening(settings.host, settings.port if port is None else port, str(settings_file)) as listener:
        app = create_county(settings)  # keys, tables and what was not yet read, once before there are several
        county: County = app.state.county
        county.close()
        config = uvicorn.Config(
            partial(worker_app, settings_file),
            factory=True,
            workers=workers,
            log_config=None,
            lifespan="on",
            timeout_graceful_shutdown=GOODBYE_WITHIN_S,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        supervisor = _Supervisor(config, [listener], began_s)
        supervisor.run()
    return 1 if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes) else 0


def worker_app(settings_file: Path) -> FastAPI:
    """What one worker serves."""
    os.environ.pop("NOTIFY_SOCKET", None)  # the service manager hears the supervisor only
    log_to_stderr(SERVICE)
    try:
        app = create_county(read_county_settings(settings_file))
    except AskPerson as refusal:
        emit("service_refused", service=SERVICE, code=refusal.code, reason=str(refusal))
        raise SystemExit(STARTUP_FAILURE) from None
    app.router.lifespan_context = _background
    collect_rarely()
    return app


@asynccontextmanager
async def _background(app: FastAPI) -> AsyncIterator[None]:
    """A fault of ours in the background ends the worker, which is replaced."""
    county: County = app.state.county
    work = asyncio.create_task(county.work_in_background())
    work.add_done_callback(_end_with_it)
    try:
        yield
        if work.done():
            work.result()
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        county.close()


def _end_with_it(work: asyncio.Task[None]) -> None:
    if not work.cancelled() and work.exception() is not None:
        os.kill(os.getpid(), signal.SIGTERM)


class _Supervisor(Multiprocess):
    """uvicorn's, which also tells the service manager that all workers serve and that it goes on looking after them."""

    def __init__(self, config: uvicorn.Config, sockets: list[object], began_s: float) -> None:
        super().__init__(config, sockets)  # type: ignore[arg-type]
        self._began_s = began_s
        self._ready = False

    def keep_subprocess_alive(self) -> None:
        pids = [worker.pid for worker in self.processes]
        super().keep_subprocess_alive()
        for before, worker in zip(pids, self.processes, strict=True):
            if worker.pid != before:
                emit("service_restarted", logging.WARNING, service=SERVICE, reason=f"worker {before} died or hung")
        if not self._ready and all(worker.is_ready() for worker in self.processes):
            self._ready = True
            seconds = round(SystemClock().monotonic_s() - self._began_s, 3)
            emit("service_started", service=SERVICE, seconds=seconds)
            notify(READY)
        notify(WATCHDOG)

    def terminate_all(self) -> None:
        notify(STOPPING)
        emit("service_stopping", service=SERVICE)
        super().terminate_all()
