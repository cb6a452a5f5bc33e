"""A bench for the Bluetooth tests: simulated meters on a virtual bus, the production hub and sessions against them."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from devices.clock import SystemClock
from devices.links.bluetooth_agent import AskPasskey, refuse_passkey
from devices.links.bluetooth_hub import BluetoothHub
from devices.links.bluetooth_limits import Limits
from devices.links.bluetooth_link import BluetoothLink
from devices.links.link import SessionEnded
from devices.readings import BloodPressure, DeviceState, Glucose, Link, Stamped
from devices.session import DeviceSettings, open_sessions
from devices.simulators.bluetooth_meters import BluetoothMeters

needs_dbus_daemon = pytest.mark.skipif(
    shutil.which("dbus-daemon") is None, reason="skipped: dbus-daemon is not installed (package dbus)"
)

PATIENCE_S = 30.0
"""For machines under load; a passing test waits for events and does not need it."""

QUICK = Limits(settle_s=0.1, retry_first_s=0.05, retry_most_s=0.2, unavailable_most_s=0.2)

DRIVERS = {"glucose": "bluetooth_glucose", "cuff": "bluetooth_blood_pressure"}


SomeEvent = TypeVar("SomeEvent")


class Further(Protocol):
    """A simulated device that is not one of the two meters."""

    async def switch_on(self) -> None: ...

    async def withdraw(self) -> None: ...


Device = TypeVar("Device", bound=Further)


class Bench:
    """What was published, and a way to wait for it."""

    patience_s = PATIENCE_S

    def __init__(self, meters: Any, hub: BluetoothHub) -> None:
        self.meters, self.hub = meters, hub
        self.published: list[Stamped] = []
        self.last_sequence: int | None = None
        """What the sessions are told to be the last stored record."""
        self._news = asyncio.Event()
        self._sessions: dict[str, asyncio.Task[None]] = {}
        self._further: list[Further] = []

    async def put(self, device: Device) -> Device:
        """Switch on a further device, made with ``self.meters.radio``."""
        self._further.append(device)
        await device.switch_on()
        return device

    def attach(self, *names: str, address: str = "", driver: str = "", set_clock: bool = False) -> None:
        """Start a session for each name; without ``driver`` it is "glucose-1", "cuff-2", ..."""
        for name in names:
            known = driver or DRIVERS[name.partition("-")[0]]
            settings = DeviceSettings(name=name, driver=known, link="bluetooth", address=address, set_clock=set_clock)
            sessions = open_sessions([settings], self._publish, self.hub.clock, self.hub, lambda _: self.last_sequence)
            self._sessions[name] = asyncio.create_task(sessions[0].run())

    async def detach(self, name: str) -> None:
        session = self._sessions.pop(name)
        session.cancel()
        await asyncio.gather(session, return_exceptions=True)

    async def close(self) -> None:
        for name in list(self._sessions):
            await self.detach(name)
        await self.hub.stop()
        for device in self._further:
            await device.withdraw()

    def events(self, device: str, kind: type[SomeEvent]) -> list[SomeEvent]:
        return [s.event for s in self.published if s.device == device and isinstance(s.event, kind)]

    def glucose(self, device: str = "glucose-1") -> list[Glucose]:
        return [s.event for s in self.published if s.device == device and isinstance(s.event, Glucose)]

    def pressures(self, device: str = "") -> list[BloodPressure]:
        """Of all cuffs, or of one."""
        events = [s.event for s in self.published if device in ("", s.device)]
        return [event for event in events if isinstance(event, BloodPressure)]

    def states(self, device: str) -> list[DeviceState]:
        return [s.event for s in self.published if s.device == device and isinstance(s.event, DeviceState)]

    def link(self, device: str) -> Link | None:
        states = self.states(device)
        return states[-1].link if states else None

    def fault(self, device: str) -> str | None:
        states = self.states(device)
        return states[-1].fault if states else None

    async def until(self, done: Callable[[], Any]) -> None:
        """Wait for ``done`` to be true after some published event."""
        async with asyncio.timeout(self.patience_s):
            while not done():
                self._news.clear()
                await self._news.wait()

    def _publish(self, stamped: Stamped) -> None:
        self.published.append(stamped)
        self._news.set()


@asynccontextmanager
async def bluetooth_bench(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    passkey: int | None = None,
    ask_passkey: AskPasskey = refuse_passkey,
    limits: Limits = QUICK,
) -> AsyncIterator[Bench]:
    meters = BluetoothMeters(folder, passkey=passkey)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", await meters.start())
    bench = Bench(meters, BluetoothHub(SystemClock(), ask_passkey, limits))
    try:
        yield bench
    finally:
        await bench.close()
        await meters.stop()


async def happens(done: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(within_s):
        while not done():  # noqa: ASYNC110  nothing to await: the other side does not tell
            await asyncio.sleep(0.02)


async def all_values(link: BluetoothLink, within_s: float = PATIENCE_S) -> list[bytes]:
    """Everything the device says until it hangs up or is let go."""
    values = []
    try:
        async with asyncio.timeout(within_s):
            while True:
                values.append((await link.receive())[1])
    except SessionEnded:
        return values


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
