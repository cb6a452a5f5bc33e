"""Which devices came, went and failed, as ``device_event`` entries; a loose plug does not fill the journal.

A change counts once it has lasted ``SETTLE_S``. The same table of what each device says now serves the status page.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from serial.tools.list_ports import comports

from devices.clock import Clock
from devices.readings import DeviceState, Link, Stamped
from sync.formats.canonical import Json
from sync.formats.records import Draft
from vehicle.commits import Commits

SETTLE_S = 3.0


@dataclass(slots=True)
class Device:
    """What one device said last, and what the journal says of it."""

    driver: str
    state: DeviceState
    at: datetime
    seen_mono_s: float
    heard_at: datetime | None = None
    """When the device itself was last linked; its state is told all the time, also while it is away."""
    wanted: tuple[bool, str | None] = (False, None)
    """(attached, fault) as it is now."""
    wanted_since_mono_s: float = 0.0
    written: tuple[bool, str | None] = (False, None)


class DeviceEvents:
    """
    :ivar devices: by name, every device that has said anything since the start
    """

    def __init__(
        self,
        commits: Commits,
        clock: Clock,
        settle_s: float = SETTLE_S,
        serial_of: Callable[[str], str | None] = lambda device: None,
    ) -> None:
        """:param serial_of: what a device's hardware says it is; None where it says nothing"""
        self._commits = commits
        self.serial_of = serial_of
        self._clock = clock
        self._settle_s = settle_s
        self.devices: dict[str, Device] = {}

    def on_stamped(self, stamped: Stamped) -> None:
        """Listener of the feed's ``device`` topic."""
        state = stamped.event
        if not isinstance(state, DeviceState):
            return
        device = self.devices.get(stamped.device)
        if device is None:
            device = Device(stamped.driver, state, stamped.received_at, stamped.received_mono_s)
            self.devices[stamped.device] = device
        device.state, device.at, device.seen_mono_s = state, stamped.received_at, stamped.received_mono_s
        if state.link in (Link.CONNECTED, Link.DEGRADED):
            device.heard_at = stamped.received_at
        wanted = (state.link in (Link.CONNECTED, Link.DEGRADED), state.fault)
        if wanted != device.wanted:
            device.wanted, device.wanted_since_mono_s = wanted, stamped.received_mono_s
        self._settle(stamped.device, device, stamped.received_mono_s)

    def tick(self) -> None:
        """Write what has settled since; for devices that say nothing more."""
        now_mono_s = self._clock.monotonic_s()
        for name, device in self.devices.items():
            self._settle(name, device, now_mono_s)

    async def run(self) -> None:
        """The service: ``tick`` every second, for ever."""
        while True:
            await self._clock.sleep(1.0)
            self.tick()

    def _settle(self, name: str, device: Device, now_mono_s: float) -> None:
        if device.wanted == device.written or now_mono_s - device.wanted_since_mono_s < self._settle_s:
            return
        (attached, fault), (was_attached, was_fault) = device.wanted, device.written
        device.written = device.wanted
        drafts = []
        if attached != was_attached:
            serial = self.serial_of(name) if attached else None
            drafts.append(_draft(name, device, "attached" if attached else "lost", serial))
        if fault is not None and fault != was_fault:
            drafts.append(_draft(name, device, "fault"))
        if drafts:
            self._commits.soon(*drafts)


def usb_serial(port: str) -> str | None:
    """The serial number that the USB device behind a serial port tells; None for ports and adapters without one."""
    path = os.path.realpath(port)
    return next((found.serial_number for found in comports() if found.device == path), None) or None


def _draft(name: str, device: Device, event: str, serial: str | None = None) -> Draft:
    facts: dict[str, Json] = dict(device.state.counters)
    if serial:
        facts["serial"] = serial[:64]
    if device.state.fault is not None:
        facts["code"] = device.state.fault
    return Draft("device_event/1", {"device": name, "driver": device.driver, "event": event, "facts": facts})
