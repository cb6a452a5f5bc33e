"""Starts the rows of ``vehicle.services``, keeps them running, and says which of them gave up.

A service that ends with an error is restarted, at most 3 times in 10 minutes; then it stays down and is shown. What is
no fault of the service (``devices.errors``: a full disk, a printer that is away) is waited for, however long it takes.
One service never takes another with it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from devices.clock import Clock
from devices.errors import AskPerson, Retry
from devices.events import emit

RESTARTS = 3
WITHIN_S = 600.0
PAUSE_S = 1.0
REFUSED_PAUSE_S = 15.0


class Running(StrEnum):
    UP = "up"
    RESTARTING = "restarting"
    ENDED = "ended"
    """It did what it had to do."""
    FAILED = "failed"


@dataclass(slots=True)
class Job:
    """One supervised coroutine: ``run`` is called anew for every start."""

    name: str
    run: Callable[[], Awaitable[None]]
    state: Running = Running.UP
    reason: str = ""
    failed_mono_s: deque[float] = field(default_factory=deque)
    refused_mono_s: float = -math.inf


class Supervisor:
    def __init__(self, clock: Clock, pause_s: float = PAUSE_S) -> None:
        self._clock = clock
        self._pause_s = pause_s
        self.jobs: list[Job] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, jobs: Sequence[tuple[str, Callable[[], Awaitable[None]]]]) -> None:
        """Start every (name, run) in the running loop."""
        for name, run in jobs:
            self.add(name, run)

    def add(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Start one more; a device that was plugged in and added."""
        job = Job(name, run)
        self.jobs.append(job)
        self._tasks[name] = asyncio.get_running_loop().create_task(self._keep(job), name=name)

    async def end(self, name: str) -> None:
        """Cancel one for good, and wait until it has given everything back. Without such a one nothing happens."""
        task = self._tasks.pop(name, None)
        self.jobs = [job for job in self.jobs if job.name != name]
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """Cancel all, last started first, and wait until each has ended."""
        tasks = list(self._tasks.values())
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    @property
    def failed(self) -> list[Job]:
        """The services that gave up."""
        return [job for job in self.jobs if job.state is Running.FAILED]

    async def _keep(self, job: Job) -> None:
        while True:
            try:
                await job.run()
            except Exception as raised:
                fault = _alone(raised)
                if isinstance(fault, AskPerson | Retry):
                    self._refused(job, fault)
                    await self._clock.sleep(REFUSED_PAUSE_S)
                elif self._may_restart(job, fault):
                    await self._clock.sleep(self._pause_s)
                else:
                    return
                job.state = Running.UP
            else:
                job.state = Running.ENDED
                return

    def _refused(self, job: Job, refusal: AskPerson | Retry) -> None:
        """Told once, not each time that it is tried again."""
        now_mono_s, before = self._clock.monotonic_s(), (job.reason, job.refused_mono_s)
        job.state, job.reason, job.refused_mono_s = Running.RESTARTING, f"{refusal.code}: {refusal}", now_mono_s
        if job.reason != before[0] or now_mono_s - before[1] > WITHIN_S:
            emit("service_restarted", level=logging.WARNING, service=job.name, reason=refusal.code)

    def _may_restart(self, job: Job, fault: Exception) -> bool:
        now_mono_s = self._clock.monotonic_s()
        while job.failed_mono_s and now_mono_s - job.failed_mono_s[0] > WITHIN_S:
            job.failed_mono_s.popleft()
        job.failed_mono_s.append(now_mono_s)
        job.reason = f"{type(fault).__name__}: {fault}"
        logging.getLogger(__name__).error("service %s failed", job.name, exc_info=fault)
        again = len(job.failed_mono_s) <= RESTARTS
        job.state = Running.RESTARTING if again else Running.FAILED
        if again:
            emit("service_restarted", level=logging.WARNING, service=job.name, reason=type(fault).__name__)
        else:
            emit("service_failed", level=logging.ERROR, service=job.name, reason=type(fault).__name__)
        return again


def _alone(fault: Exception) -> Exception:
    """What one task of a group raised."""
    while isinstance(fault, ExceptionGroup) and len(fault.exceptions) == 1:
        fault = fault.exceptions[0]
    return fault
