"""The air around the appliance: its Bluetooth controller and those of the simulated devices on one bumble link.

One controller for the life of the machine, and its adapter is powered off before it goes: an index that is dying makes
the next one answer InProgress. It has a public address, as adapters have: without one the kernel (6.1) scans under an
address of the moment and, when it connects out of a scan, stays under it, so that no bonded device knows it any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bumble import hci
from bumble.controller import Controller
from bumble.link import LocalLink
from bumble.transport import open_transport
from dbus_fast import BusType, DBusError, Message, MessageType, Variant, unpack_variants
from dbus_fast.aio import MessageBus
from dbus_fast.auth import AuthExternal

from tests.appliance.machine import Appliance

BLUEZ = "org.bluez"
ADAPTER_PATH = "/org/bluez/hci0"
ADAPTER = "org.bluez.Adapter1"
DEVICE = "org.bluez.Device1"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
DBUS = "org.freedesktop.DBus"

ADDRESS = "00:1A:7D:DA:71:01"
COMES_UP_WITHIN_S = 120.0
CALL_LIMIT_S = 20.0
NO_FEATURES = hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
"""Said to be there by bumble's controller, and not whole (bumble 841)."""


class Radio(LocalLink):
    """bumble's link, on which data comes from the address that the connection was made with, be it public."""

    def send_acl_data(
        self, sender_controller: Controller, destination_address: hci.Address, transport: Any, data: bytes
    ) -> None:
        connection = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if connection is not None and receiver is not None:
            asyncio.get_running_loop().call_soon(receiver.on_link_acl_data, connection.self_address, transport, data)


class Air:
    """The radio link, and the adapter as its operator sees it (``bluetoothctl``)."""

    def __init__(self, link: Radio, appliance: Appliance) -> None:
        self.link = link
        self.appliance = appliance

    async def power(self, on: bool) -> None:
        await self._call(ADAPTER_PATH, PROPERTIES, "Set", "ssv", ADAPTER, "Powered", Variant("b", on))

    async def revive(self) -> None:
        """Start what does not run, and switch the adapter on."""
        for program in ("dbus-daemon", "bluetoothd"):
            await self.appliance.command("start", program)
        await self.until_powered()

    async def until_powered(self) -> None:
        """Switch the adapter on, as soon as bluetoothd shows one."""
        async with asyncio.timeout(COMES_UP_WITHIN_S):
            while True:
                try:
                    return await self.power(True)
                except (DBusError, OSError, EOFError):
                    await asyncio.sleep(0.1)

    async def devices(self) -> dict[str, dict[str, Any]]:
        """What bluetoothd knows: object path -> properties of org.bluez.Device1."""
        objects = await self._call("/", OBJECT_MANAGER, "GetManagedObjects", "")
        return {path: interfaces[DEVICE] for path, interfaces in objects.items() if DEVICE in interfaces}

    async def device(self, address: str) -> dict[str, Any]:
        """Its properties; empty when bluetoothd does not know it."""
        known = (device for device in (await self.devices()).values() if device["Address"] == address)
        return next(known, {})

    async def until_discovering(self) -> None:
        """Wait until somebody's scan runs."""
        async with asyncio.timeout(COMES_UP_WITHIN_S):
            while not await self._call(ADAPTER_PATH, PROPERTIES, "Get", "ss", ADAPTER, "Discovering"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def until_known(self, address: str) -> None:
        """Wait until bluetoothd has heard the device; somebody must be scanning."""
        async with asyncio.timeout(COMES_UP_WITHIN_S):
            while not await self.device(address):  # noqa: ASYNC110  asked over D-Bus
                await asyncio.sleep(0.1)

    async def forget_all(self) -> None:
        """Remove every device with its bond and its services."""
        for path in await self.devices():
            await self._call(ADAPTER_PATH, ADAPTER, "RemoveDevice", "o", path)

    async def clients(self) -> int:
        """Connections to the bus, this one not counted."""
        names = await self._call("/org/freedesktop/DBus", DBUS, "ListNames", "", service=DBUS)
        return sum(name.startswith(":") for name in names) - 1

    async def _call(
        self, path: str, interface: str, member: str, signature: str, *body: Any, service: str = "org.bluez"
    ):
        """One call on a connection of its own, so that nothing is left when bus or daemon are killed.

        :raises DBusError: refused; OSError, EOFError: no bus.
        """
        bus = MessageBus(bus_address=self.appliance.bus_address, auth=AuthExternal(uid=0), bus_type=BusType.SYSTEM)
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                await bus.connect()
                answer = await bus.call(Message(service, path, interface, member, signature=signature, body=list(body)))
        finally:
            bus.disconnect()
        if answer is None or answer.message_type is MessageType.ERROR:
            raise DBusError((answer and answer.error_name) or "org.bluez.Error", str(answer and answer.body))
        return unpack_variants(answer.body[0]) if answer.body else None


@asynccontextmanager
async def open_air(appliance: Appliance) -> AsyncIterator[Air]:
    logging.getLogger("bumble").setLevel(logging.ERROR)  # it tells every ATT packet that came late
    async with await open_transport(appliance.controller) as transport:
        link = Radio()
        controller = Controller(
            "appliance",
            host_source=transport.source,
            host_sink=transport.sink,
            link=link,
            public_address=hci.Address(ADDRESS, hci.Address.PUBLIC_DEVICE_ADDRESS),
        )
        controller.le_features &= ~NO_FEATURES
        air = Air(link, appliance)
        await air.until_powered()
        try:
            yield air
        finally:
            await air.power(False)
