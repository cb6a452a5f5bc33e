"""Time as a dependency: everything that needs the hour asks a Clock, so simulated time is natural."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

CHINA_TIME = timezone(timedelta(hours=8))
"""What clocks on the wall show, in the whole country; so do those of its devices."""


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware UTC wall time."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start, never going back within one boot."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SimulatedClock:
    """A clock that moves only when told: ``advance`` is the passing of time, ``sleep`` advances it too."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be an aware datetime")
        self._now = start.astimezone(UTC)
        self._monotonic_s = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("a clock goes forward; use set_wall to step it")
        self._now += timedelta(seconds=seconds)
        self._monotonic_s += seconds

    def set_wall(self, wall: datetime) -> None:
        """Step the wall clock without moving monotonic time, as a wrong RTC or an operator would."""
        self._now = wall.astimezone(UTC)

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)
