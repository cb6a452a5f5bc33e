"""How full the disk is, and what that means: 70 % warn, 85 % make room, 95 % nothing big any more.

Room is made by evicting recordings that the county has confirmed. The journal itself is never refused by these levels:
records are small and come first, and a reserve (``sync.record.reserve``) is kept back for them.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.record.database import DiskFull

LOOK_EVERY_S = 30.0
EVICT_TO = 0.80
"""Evicting goes on until the disk is this full, so that it is not done for every new recording."""
CLIPS = ("video/", "audio/")
"""Media types of what is big and can be made again."""


class ClipRefused(AskPerson):
    code = "clip_refused"


class Level(StrEnum):
    OK = "ok"
    WARN = "disk_filling"
    EVICT = "disk_nearly_full"
    FULL = "disk_last_room"


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


class Evicts(Protocol):
    """``sync.record.eviction.Eviction``."""

    async def make_room(self, wanted_bytes: int, reason: str) -> int: ...


class Reserves(Protocol):
    """The part of ``sync.record.store.Store`` that keeps room back."""

    @property
    def reserve_held(self) -> bool: ...

    def make_reserve(self) -> bool: ...


class Disk:
    """Looks at the volume of ``folder`` every 30 s and keeps room on it.

    ``fault``: code of the error that keeps room from being made; None when all is well.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        eviction: Evicts,
        reserve: Reserves,
        look: Callable[[Path], Space] = space_of,
    ) -> None:
        self._folder, self._clock, self._look = folder, clock, look
        self._eviction, self._reserve = eviction, reserve
        self.space = look(folder)
        self.fault: str | None = None

    @property
    def level(self) -> Level:
        return self.space.level

    @property
    def reserve_held(self) -> bool:
        """False: the disk was full and records live on what was kept back for them."""
        return self._reserve.reserve_held

    @property
    def takes_clips(self) -> bool:
        """False when only records and ECG may still be written."""
        return self.level is not Level.FULL

    def admit(self, media_type: str) -> None:
        """Whether a recording may begin.

        :raises ClipRefused: a clip, on a disk that is nearly full.
        :raises DiskFull: anything, as what is left is kept for records.
        """
        if not self.takes_clips and media_type.startswith(CLIPS):
            raise ClipRefused("the disk is nearly full: no clips until there is room")
        if not self.reserve_held:
            raise DiskFull("the disk is full: what is left is kept for records")

    def tick(self) -> None:
        before = self.level
        self.space = self._look(self._folder)
        if self.level is not before and self.level is not Level.OK:
            emit("disk_low", level=logging.WARNING, free_bytes=self.space.free_bytes)

    async def make_room(self, wanted_bytes: int) -> int:
        """Evict what the county has confirmed, now; the bytes freed. :raises DiskFull, DiskFault: nothing was freed."""
        return await self._eviction.make_room(wanted_bytes, str(self.level))

    async def look_after(self) -> None:
        """Look, make room where it is short, and take the reserve back."""
        self.tick()
        if self.level in (Level.EVICT, Level.FULL):
            await self.make_room(int((self.space.used - EVICT_TO) * self.space.total_bytes))
            self.tick()
        if not self.reserve_held:
            await asyncio.to_thread(self._reserve.make_reserve)

    async def run(self) -> None:
        """The service: ``look_after`` every 30 s, for ever."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            try:
                await self.look_after()
            except AskPerson as fault:
                self.fault = fault.code
            else:
                self.fault = None
