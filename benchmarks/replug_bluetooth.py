"""A Bluetooth meter that is switched on, used and switched off, again and again: is it back each time, and how soon?

``python -m benchmarks.replug_bluetooth``, a part of ``make bench-devices``, prints the times.
``replug`` works on any org.bluez that DBUS_SYSTEM_BUS_ADDRESS names; ``replug_on_virtual_bus`` brings its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bleak.backends.bluezdbus.utils import get_dbus_authenticator
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus

from devices.clock import SystemClock
from devices.links.bluetooth_hub import BluetoothHub
from devices.readings import DeviceState, Glucose, Link, Stamped
from devices.session import DeviceSettings, open_sessions
from devices.simulators.bluetooth_meters import BluetoothMeters, GlucoseMeter

BACK_WITHIN_S = 2.0
ROUND_LIMIT_S = 120.0
"""Longer than any good machine needs; then the storm fails."""


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds."""

    descriptors: int
    tasks: int
    bus_clients: int
    """Connections to the bus, of everybody."""

    @staticmethod
    async def now() -> Held:
        clients = await _bus_clients()
        return Held(len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), clients)

    def more_than(self, before: Held) -> bool:
        return (
            self.descriptors > before.descriptors or self.tasks > before.tasks or self.bus_clients > before.bus_clients
        )


@dataclass(frozen=True, slots=True)
class Replugged:
    back_s: tuple[float, ...]
    """For each round: from the moment the meter began to advertise until its session said "connected"."""
    sequences: tuple[int, ...]
    """The record numbers that arrived; each round makes one."""
    before: Held
    after: Held


class _Listener:
    """What a session says."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.link = Link.ABSENT
        self._news = asyncio.Event()

    def take(self, stamped: Stamped) -> None:
        if isinstance(stamped.event, DeviceState):
            self.link = stamped.event.link
        if isinstance(stamped.event, Glucose) and stamped.event.sequence is not None:
            self.sequences.append(stamped.event.sequence)
        self._news.set()

    async def until(self, link: Link, count: int) -> None:
        """
        :raises TimeoutError: not within ``ROUND_LIMIT_S``.
        """
        async with asyncio.timeout(ROUND_LIMIT_S):
            while self.link is not link or len(self.sequences) < count:
                self._news.clear()
                await self._news.wait()


async def replug(meter: GlucoseMeter, hub: BluetoothHub, rounds: int) -> Replugged:
    """One record more in each round. A first round, which is not counted, bonds and warms up.

    :raises TimeoutError: the meter did not come back, or its record did not.
    """
    listener, clock = _Listener(), SystemClock()
    settings = DeviceSettings(name="glucose-1", driver="bluetooth_glucose", link="bluetooth")
    sessions = open_sessions(
        [settings], listener.take, clock, hub, lambda _: listener.sequences[-1] if listener.sequences else None
    )
    running = asyncio.create_task(sessions[0].run())
    back_s: list[float] = []
    before = None
    try:
        for count in range(1, rounds + 2):
            await meter.measure(5.0, switched_on=False)
            await meter.switch_on()
            began_s = clock.monotonic_s()
            await listener.until(Link.CONNECTED, 0)
            back_s.append(clock.monotonic_s() - began_s)
            await listener.until(Link.CONNECTED, count)
            await meter.switch_off()
            await listener.until(Link.ABSENT, count)
            before = before or await _settled()
        assert before is not None
        return Replugged(tuple(back_s[1:]), tuple(listener.sequences[1:]), before, await _settled(before))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def replug_on_virtual_bus(rounds: int) -> Replugged:
    """The same with a bus, an adapter and a meter of its own; needs dbus-daemon.

    :raises DbusDaemonMissing: the message names the package.
    """
    with tempfile.TemporaryDirectory(prefix="xz-replug-") as folder:
        meters = BluetoothMeters(Path(folder))
        known = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = await meters.start()
        hub = BluetoothHub(SystemClock())
        try:
            await meters.unplug("glucose")
            return await replug(meters.glucose_meter, hub, rounds)
        finally:
            await hub.stop()
            await meters.stop()
            if known is None:
                del os.environ["DBUS_SYSTEM_BUS_ADDRESS"]
            else:
                os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = known


async def _settled(before: Held | None = None) -> Held:
    """What is held once nothing more is given back: connections are closed a little after their device is gone."""
    held = await Held.now()
    for _ in range(100):
        await asyncio.sleep(0.05)
        again = await Held.now()
        if again == held and not (before and again.more_than(before)):
            break
        held = again
    return held


async def _bus_clients() -> int:
    bus = MessageBus(bus_type=BusType.SYSTEM, auth=get_dbus_authenticator())
    try:
        await bus.connect()
        daemon = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        answer = await bus.call(Message(*daemon, "ListNames"))
    finally:
        bus.disconnect()
    assert answer is not None
    return sum(name.startswith(":") for name in answer.body[0])


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    storm = asyncio.run(replug_on_virtual_bus(rounds))
    back_s = sorted(storm.back_s)
    late = sum(seconds > BACK_WITHIN_S for seconds in back_s)
    print(f"Bluetooth meter switched on and off {rounds} times on a virtual bus, until its session says connected:")
    print(
        f"  p50 {back_s[len(back_s) // 2]:.2f} s, p95 {back_s[int(len(back_s) * 0.95)]:.2f} s, most {back_s[-1]:.2f} s"
    )
    print(f"  later than {BACK_WITHIN_S:g} s after it began to advertise: {late}   (goal: 0)")
    print(f"  records that arrived: {len(storm.sequences)} of {rounds}")
    print(f"  held before and after: {storm.before}, {storm.after}")


if __name__ == "__main__":
    main()
