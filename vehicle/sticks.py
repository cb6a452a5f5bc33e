"""Export to a stick from the touchscreen: which sticks there are, the one export that may run, how it ended.

Before anything is written the stick is looked through for the county's answer to an earlier export, so one tap does
both. That patient data left the vehicle this way, and by whose hand, is an entry of the journal and on the stick.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson, XunzhenError
from sync.delivery.stick_export import Exported, ExportStopped, Progress, StickExport, StickGone
from sync.delivery.stick_receipt import Returned, take_receipts
from sync.formats.notes import VerifierKey
from sync.formats.records import Draft
from sync.record.recordings import Recordings
from sync.record.store import Store
from vehicle.mounts import MOUNTS, Stick, find_sticks

TELL_EVERY_S = 0.5


class ExportRunning(AskPerson):
    code = "export_running"


class Phase(StrEnum):
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True)
class Job:
    """The export that runs, or the last one.

    :ivar fault: code of what went wrong, for its words
    :ivar detail: what exactly, for who asks the maintainer
    """

    stick: str
    phase: Phase = Phase.RUNNING
    done_bytes: int = 0
    total_bytes: int = 0
    returned: Returned | None = None
    exported: Exported | None = None
    fault: str | None = None
    detail: str = ""

    @property
    def percent(self) -> int:
        return 100 * self.done_bytes // self.total_bytes if self.total_bytes else 0


class Sticks:
    """
    :param county: the county's key, None while the van knows no county: then no answer can be checked
    :param send: tells the screens
    :param arrived: called when the county's answer was taken in
    :param folders: where removable media are mounted
    """

    def __init__(
        self,
        store: Store,
        recordings: Recordings,
        county: VerifierKey | None,
        clock: Clock,
        send: Callable[[dict[str, Any]], None],
        arrived: Callable[[], None],
        folders: tuple[Path, ...],
        mounts: Path = MOUNTS,
    ) -> None:
        self._store, self._recordings, self._county, self._clock = store, recordings, county, clock
        self._send, self._arrived, self._folders, self._mounts = send, arrived, folders, mounts
        self._export: StickExport | None = None
        self._task: asyncio.Task[None] | None = None
        self._told_mono_s = 0.0
        self.job: Job | None = None

    def found(self) -> list[Stick]:
        return find_sticks(self._folders, self._mounts)

    async def start(self, path: Path, by: str) -> Job:
        """Begin to export to the stick mounted at ``path``, by the hand of the person ``by``.

        :raises ExportRunning: another export is under way.
        :raises StickGone: no stick is mounted there.
        """
        if not any(stick.path == path for stick in self.found()):
            raise StickGone(f"no stick is mounted at {path}: put it in again")
        return await self.export(path, by)

    async def export(self, path: Path, by: str | None, whole: bool = False) -> Job:
        """``start`` for any folder: for the command line."""
        if self.job is not None and self.job.phase is Phase.RUNNING:
            raise ExportRunning("an export is under way: wait until it ends, or stop it")
        self.job = job = Job(path.name)
        self._tell()
        self._task = asyncio.create_task(self._run(job, path, by, whole), name="stick-export")
        return job

    async def finished(self) -> None:
        """When the export that runs has ended, in whatever way."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def stop(self) -> None:
        """A person wants it to end; the next export goes on."""
        if self._export is not None:
            self._export.stop()

    async def close(self) -> None:
        """End what runs before the journal is closed."""
        self.stop()
        await self.finished()

    async def _run(self, job: Job, path: Path, by: str | None, whole: bool) -> None:
        loop = asyncio.get_running_loop()

        def went(progress: Progress) -> None:
            loop.call_soon_threadsafe(self._went, job, progress)

        self._export = StickExport(self._store, self._recordings, self._county, went)
        try:
            if self._county is not None:
                job.returned = await asyncio.to_thread(take_receipts, path, self._store, self._county, self._clock)
            await self._store.commit(Draft("access/1", {"action": "export", "what": f"stick {path.name}"[:200]}, by))
            job.exported = await asyncio.to_thread(self._export.run, path, whole)
            job.phase = Phase.DONE
        except ExportStopped:
            job.phase = Phase.STOPPED
        except AskPerson as fault:
            job.phase, job.fault, job.detail = Phase.FAILED, fault.code, str(fault)
        except OSError as fault:  # while looking for the county's answer
            job.phase, job.fault, job.detail = Phase.FAILED, StickGone.code, str(fault)
        except Exception as bug:  # of ours: the next export may be tried all the same
            job.phase, job.fault, job.detail = Phase.FAILED, XunzhenError.code, repr(bug)
            logging.getLogger(__name__).error("the export failed", exc_info=bug)
        finally:
            self._export = None
            self._tell()
        if job.returned is not None and (job.returned.entries or job.returned.recordings):
            self._arrived()

    def _went(self, job: Job, progress: Progress) -> None:
        job.done_bytes, job.total_bytes = progress.done_bytes, progress.total_bytes
        now_mono_s = self._clock.monotonic_s()
        if job.phase is Phase.RUNNING and now_mono_s - self._told_mono_s >= TELL_EVERY_S:
            self._told_mono_s = now_mono_s
            self._tell()

    def _tell(self) -> None:
        job = self.job
        if job is not None:
            self._send({"type": "stick", "phase": str(job.phase), "percent": job.percent})
