"""Serial devices pulled out and put back, again and again: is each back, how soon, and is anything left behind?"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from random import Random

from devices.clock import SystemClock
from devices.readings import DeviceState, Link, Stamped
from devices.session import DeviceSession, DeviceSettings, open_sessions
from devices.simulators.contec_cms50 import Cms50Twin, Finger
from devices.simulators.pty_port import PtyPort

AT_ONCE = 10
ROUND_LIMIT_S = 60.0
"""Longer than any good machine needs; then the storm fails."""
AWAY_S = (0.0, 3.0)
"""How long a device stays away: from a knock on the plug to the other socket."""


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds."""

    descriptors: int
    tasks: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        """Without the event loop's pool of threads, which it keeps on purpose."""
        threads = sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())
        return cls(len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), threads)


@dataclass(frozen=True, slots=True)
class Replugged:
    """``back_s``: for each round from the plug until the session said "connected", that is after the first frame."""

    back_s: tuple[float, ...]
    before: Held
    after: Held


class _Device:
    """One oximeter on a pty, and what its session says."""

    def __init__(self, folder: Path, number: int, clock: SystemClock) -> None:
        twin = Cms50Twin()
        twin.put_finger(Finger())
        self.port = PtyPort(folder / f"port-{number}", twin, clock)
        self.settings = DeviceSettings(
            name=f"oximeter-{number}", driver="contec_cms50_v7", link="serial", port=str(self.port.path)
        )
        self.link = Link.ABSENT
        self._news = asyncio.Event()

    def take(self, stamped: Stamped) -> None:
        if isinstance(stamped.event, DeviceState):
            self.link = stamped.event.link
            self._news.set()

    async def until(self, connected: bool) -> None:
        """:raises TimeoutError: not within ``ROUND_LIMIT_S``."""
        async with asyncio.timeout(ROUND_LIMIT_S):
            while (self.link is Link.CONNECTED) is not connected:
                self._news.clear()
                await self._news.wait()


async def replug(folder: Path, plugs: int, away_s: tuple[float, float] = AWAY_S, seed: int = 1) -> Replugged:
    """``plugs`` in all, shared among devices that come and go independently; each is away for a random ``away_s``.

    :raises TimeoutError: one did not come back.
    """
    clock = SystemClock()
    devices = [_Device(folder, number, clock) for number in range(AT_ONCE)]
    rounds = -(-plugs // AT_ONCE)
    sessions: list[DeviceSession] = []
    for device in devices:
        sessions += open_sessions([device.settings], device.take, clock, None)
    before = Held.now()
    running = [asyncio.create_task(session.run()) for session in sessions]
    try:
        random = Random(seed)
        rounds_of = (_rounds(device, rounds, clock, away_s, Random(random.random())) for device in devices)
        told = await asyncio.gather(*rounds_of)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return Replugged(tuple(back_s for one in told for back_s in one)[:plugs], before, await _settled(before))


async def _settled(before: Held) -> Held:
    """What is held once nothing more is given back: a port is closed by its reader's thread, a little after the end."""
    for _ in range(100):
        if Held.now() == before:
            break
        await asyncio.sleep(0.05)
    return Held.now()


async def _rounds(
    device: _Device, rounds: int, clock: SystemClock, away_s: tuple[float, float], random: Random
) -> list[float]:
    back_s = []
    for _ in range(rounds):
        await clock.sleep(random.uniform(*away_s))
        began_s = clock.monotonic_s()
        device.port.attach()
        await device.until(connected=True)
        back_s.append(clock.monotonic_s() - began_s)
        device.port.detach()
        await device.until(connected=False)
    return back_s
