"""The modem as ModemManager tells it on the system bus, for vans where ModemManager owns the module's ports.

Looked at every ``LOOK_EVERY_S``; what it says is published on the feed as ``Cellular`` of the device ``modem``. Nothing
is changed but how often ModemManager itself measures (Signal.Setup) and that it keeps the serving cell
(Location.Setup); where polkit refuses either, the rest is told all the same. ModemManager is never started by us.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from dbus_fast import BusType, Message, MessageFlag, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError
from dbus_fast.unpack import unpack_variants

from devices.clock import Clock
from devices.events import emit
from devices.readings import Cellular, Stamped
from vehicle.link.modem_manager_properties import LOCATION, LOCATION_3GPP_LAC_CI, MODEM, MODEM_3GPP, SIGNAL, cellular_of

NAME, ROOT = "org.freedesktop.ModemManager1", "/org/freedesktop/ModemManager1"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
DEVICE, DRIVER = "modem", "modem_manager"
LOOK_EVERY_S = 10.0
ANSWER_WITHIN_S = 5.0
LONGEST_PAUSE_S = 60.0
_REGISTERED = 8

Interfaces = Mapping[str, Mapping[str, Any]]


class Away(Exception):
    """No bus, no ModemManager, or it does not answer."""


class Refused(Exception):
    """ModemManager answered with an error: not for this user, not with this modem."""


class ModemManager:
    """
    :param bus_address: instead of the system bus
    """

    def __init__(self, publish: Callable[[Stamped], None], clock: Clock, bus_address: str | None = None) -> None:
        self._publish = publish
        self._clock = clock
        self._bus_address = bus_address
        self._bus: MessageBus | None = None
        self._ends: asyncio.Task[None] | None = None
        self._set_up: set[tuple[str, str]] = set()
        self._told: Cellular | None = None
        self._there = True

    async def run(self) -> None:
        """The service: look for ever. Without a bus or without ModemManager it waits, at most a minute each time."""
        pause_s = LOOK_EVERY_S
        try:
            while True:
                try:
                    await self.look()
                    pause_s = LOOK_EVERY_S
                except Away as reason:
                    self._gone(str(reason))
                    pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                await self._clock.sleep(pause_s)
        finally:
            self._disconnect()

    async def look(self) -> None:
        """Ask once and publish; a bus without any modem withdraws what was told.

        :raises Away: no bus, no ModemManager
        """
        objects: dict[str, Interfaces] = await self._call(ROOT, OBJECT_MANAGER, "GetManagedObjects")
        self._came()
        modems = {path: said for path, said in objects.items() if MODEM in said}
        if not modems:
            self._withdraw()
            return
        path = min(modems, key=lambda path: (not _is_registered(modems[path]), path))
        interfaces = modems[path]
        await self._prepare(path, interfaces)
        cell_info = await self._try(path, MODEM, "GetCellInfo")
        location = await self._try(path, LOCATION, "GetLocation") if LOCATION in interfaces else None
        self._tell(cellular_of(interfaces, cell_info or (), location))

    async def _prepare(self, path: str, interfaces: Interfaces) -> None:
        """Have it measure and keep the serving cell; once for each modem that comes."""
        if SIGNAL in interfaces and (path, SIGNAL) not in self._set_up:
            self._set_up.add((path, SIGNAL))
            await self._try(path, SIGNAL, "Setup", "u", round(LOOK_EVERY_S))
        location = interfaces.get(LOCATION)
        if location is not None and (path, LOCATION) not in self._set_up:
            self._set_up.add((path, LOCATION))
            enabled, able = int(location.get("Enabled", 0)), int(location.get("Capabilities", 0))
            if able & LOCATION_3GPP_LAC_CI and not enabled & LOCATION_3GPP_LAC_CI:
                wanted = enabled | LOCATION_3GPP_LAC_CI
                await self._try(path, LOCATION, "Setup", "ub", wanted, bool(location.get("SignalsLocation", False)))

    async def _try(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> Any:
        try:
            return await self._call(path, interface, member, signature, *body)
        except Refused:
            return None

    async def _call(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> Any:
        bus = await self._connected()
        message = Message(
            destination=NAME,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            flags=MessageFlag.NO_AUTOSTART,
        )
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await bus.call(message)
        except (TimeoutError, OSError, EOFError, DBusError) as fault:
            self._disconnect()
            raise Away(f"{member}: {fault or type(fault).__name__}") from fault
        if answer is None:
            raise Away(f"{member}: no answer")
        if answer.message_type is MessageType.ERROR:
            name = answer.error_name or ""
            if name in ("org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner"):
                raise Away("ModemManager does not run")
            raise Refused(f"{member}: {name}")
        return unpack_variants(answer.body[0]) if answer.body else None

    async def _connected(self) -> MessageBus:
        if self._bus is None or not self._bus.connected:
            self._disconnect()
            try:
                self._bus = await MessageBus(bus_address=self._bus_address, bus_type=BusType.SYSTEM).connect()
            except (OSError, EOFError, DBusError, ValueError) as fault:
                raise Away(f"no D-Bus: {fault}") from fault
            self._ends = asyncio.create_task(_until_it_ends(self._bus))
        return self._bus

    def _disconnect(self) -> None:
        bus, self._bus = self._bus, None
        self._set_up.clear()
        if bus is not None:
            with contextlib.suppress(OSError, EOFError):
                bus.disconnect()

    def _came(self) -> None:
        if not self._there:
            self._there = True
            emit("modem_manager_found")

    def _gone(self, reason: str) -> None:
        if self._there:
            self._there = False
            emit("modem_manager_lost", reason=reason)
        self._set_up.clear()
        self._withdraw()

    def _withdraw(self) -> None:
        if self._told is not None and self._told != Cellular():
            self._tell(Cellular())

    def _tell(self, cellular: Cellular) -> None:
        self._told = cellular
        self._publish(Stamped(DEVICE, DRIVER, self._clock.now(), self._clock.monotonic_s(), cellular))


async def _until_it_ends(bus: MessageBus) -> None:
    """Somebody has to hear why the connection broke; the next call finds out by itself."""
    with contextlib.suppress(OSError, EOFError, DBusError):
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


def _is_registered(interfaces: Interfaces) -> bool:
    return int(interfaces[MODEM].get("State", 0)) >= _REGISTERED or interfaces.get(MODEM_3GPP, {}).get(
        "RegistrationState"
    ) in (1, 5)
