"""How full the disk is, and what that means: 70 % warn, 85 % make room, 95 % nothing big any more.

The journal itself is never refused by these levels: records are small and come first.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from devices.clock import Clock
from devices.events import emit

LOOK_EVERY_S = 30.0


class Level(StrEnum):
    OK = "ok"
    WARN = "disk_filling"
    EVICT = "disk_nearly_full"
    FULL = "disk_full"


THRESHOLDS: tuple[tuple[float, Level], ...] = ((0.95, Level.FULL), (0.85, Level.EVICT), (0.70, Level.WARN))


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes an unprivileged process may still write, and the whole size."""

    free_bytes: int
    total_bytes: int

    @property
    def used(self) -> float:
        """0.0 empty .. 1.0 full."""
        return 1.0 - self.free_bytes / self.total_bytes if self.total_bytes else 1.0

    @property
    def level(self) -> Level:
        return next((level for threshold, level in THRESHOLDS if self.used >= threshold), Level.OK)


def space_of(folder: Path) -> Space:
    """The volume that holds ``folder``."""
    usage = shutil.disk_usage(folder)
    return Space(usage.free, usage.free + usage.used)


class Disk:
    """Looks at the volume of ``folder`` every 30 s."""

    def __init__(self, folder: Path, clock: Clock, look: Callable[[Path], Space] = space_of) -> None:
        self._folder = folder
        self._clock = clock
        self._look = look
        self.space = look(folder)

    @property
    def level(self) -> Level:
        return self.space.level

    @property
    def takes_clips(self) -> bool:
        """False when only records and ECG may still be written."""
        return self.level is not Level.FULL

    def tick(self) -> None:
        before = self.level
        self.space = self._look(self._folder)
        if self.level is not before and self.level is not Level.OK:
            emit("disk_low", level=logging.WARNING, free_bytes=self.space.free_bytes)

    async def run(self) -> None:
        """The service: ``tick`` every 30 s, for ever."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            self.tick()
