"""Serial devices that are pulled out and put back: each comes back by itself, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.replug_serial import AT_ONCE, replug
from devices.clock import SimulatedClock
from devices.drivers import contec_cms50_v7
from devices.links.serial_link import SerialLink
from devices.session import ABSENT_MOST_S, DeviceSession, DeviceSettings


class CountingClock(SimulatedClock):
    """Time passes as fast as it is slept away, up to an hour."""

    def __init__(self) -> None:
        super().__init__(datetime(2026, 11, 22, tzinfo=UTC))
        self.slept_s: list[float] = []
        self.hour = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.advance(seconds)
        if sum(self.slept_s) > timedelta(hours=1).total_seconds():
            self.hour.set()
        await asyncio.sleep(0)


async def test_every_device_comes_back_and_nothing_is_left_behind(tmp_path: Path) -> None:
    storm = await replug(tmp_path, 3 * AT_ONCE, away_s=(0.0, 0.3))
    assert len(storm.back_s) == 3 * AT_ONCE
    assert storm.after == storm.before


async def test_a_device_that_is_away_for_an_hour_is_looked_for_often_enough_to_be_back_within_two_seconds(
    tmp_path: Path,
) -> None:
    settings = DeviceSettings(
        name="oximeter-1", driver="contec_cms50_v7", link="serial", port=str(tmp_path / "not-there")
    )
    clock = CountingClock()
    link = SerialLink(settings.port)
    session = DeviceSession(
        settings, contec_cms50_v7.Driver(), link, lambda stamped: None, clock, random_unit=lambda: 1.0
    )
    running = asyncio.create_task(session.run())
    async with asyncio.timeout(60):
        await clock.hour.wait()
    running.cancel()
    await asyncio.wait({running})
    assert max(clock.slept_s) == ABSENT_MOST_S
