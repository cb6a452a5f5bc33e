"""The self-test of the ports: programs of the system that take them away from medical devices, told in words.

brltty takes CH340 and similar adapters as soon as they are plugged in; ModemManager sends AT commands into a new port
for about 10 s; gpsd opens GNSS receivers and keeps them. See hardware/udev/60-xunzhen.rules.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from devices import catalog
from devices.clock import Clock
from devices.links.serial_link import PortBusy
from devices.port_holders import PROC, holders, running
from devices.session import DeviceSettings
from vehicle.device_events import Device

LOOK_EVERY_S = 15.0
BRLTTY, MODEM_MANAGER, GPSD = "brltty", "ModemManager", "gpsd"
HOLDS = {MODEM_MANAGER: "modem_manager_holds_port", GPSD: "gpsd_holds_port", BRLTTY: "brltty_running"}


class PortTraps:
    """
    :ivar found: (error code, device or "") of what is in the way now
    """

    def __init__(
        self,
        devices: Sequence[DeviceSettings],
        states: Callable[[], Mapping[str, Device]],
        clock: Clock,
        proc: Path = PROC,
    ) -> None:
        self._devices = devices
        self._states = states
        self._clock = clock
        self._proc = proc
        self.found: tuple[tuple[str, str], ...] = ()

    async def run(self) -> None:
        """The service: look for ever."""
        while True:
            busy = self._busy()
            self.found = await asyncio.to_thread(self.look, busy)
            await self._clock.sleep(LOOK_EVERY_S)

    def look(self, busy: Sequence[DeviceSettings]) -> tuple[tuple[str, str], ...]:
        """:param busy: devices whose port another program holds"""
        names = set(running(self._proc).values())
        found = [("brltty_running", "")] if BRLTTY in names else []
        for device in busy:
            code = self._who(device, names)
            if code is not None:
                found.append((code, device.name))
        return tuple(dict.fromkeys(found))

    def _busy(self) -> list[DeviceSettings]:
        states = self._states()
        return [
            device
            for device in self._devices
            if device.link == "serial" and device.name in states and states[device.name].state.fault == PortBusy.code
        ]

    def _who(self, device: DeviceSettings, names: set[str]) -> str | None:
        """Who it is for sure where we may look, else who it must be of those that run."""
        sure = {name for pid, name in holders(device.port, self._proc).items() if pid != os.getpid()}
        if sure:
            return next((HOLDS[name] for name in sorted(sure) if name in HOLDS), None)
        is_gnss = any(metric.key == "position" for metric in catalog.about(device.driver).metrics)
        if is_gnss and GPSD in names:
            return HOLDS[GPSD]
        return HOLDS[MODEM_MANAGER] if MODEM_MANAGER in names else None
