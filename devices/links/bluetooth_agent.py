"""What bleak leaves to its user on Linux: a pairing agent, old connections, the battery level, news of the adapter.

One D-Bus connection of our own beside bleak's. Sources: BlueZ doc/org.bluez.Agent.rst, org.bluez.AgentManager.rst,
org.bluez.Device.rst, org.bluez.Battery.rst.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any

from dbus_fast import BusType, DBusError, Message, MessageType, Variant, unpack_variants
from dbus_fast.annotations import DBusObjectPath, DBusStr, DBusUInt16, DBusUInt32
from dbus_fast.errors import AuthError, InvalidAddressError
from dbus_fast.service import ServiceInterface, dbus_method

from devices.links.dbus_send import MessageBus

AGENT_PATH = "/xunzhen/agent"
CAPABILITY = "KeyboardDisplay"

BLUEZ = "org.bluez"
ADAPTER = "org.bluez.Adapter1"
DEVICE = "org.bluez.Device1"
BATTERY = "org.bluez.Battery1"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"

CALL_LIMIT_S = 10.0
PASSKEY_LIMIT_S = 28.0
"""SMP gives up 30 s after the question."""

BUS_ERRORS = (DBusError, AuthError, InvalidAddressError, OSError, EOFError)
"""What a D-Bus call may raise when the bus, the service or the adapter is not there. TimeoutError is an OSError."""

AskPasskey = Callable[[str], Awaitable[int | None]]
"""Address of the device -> the six digits it shows, typed by the operator; None: the operator does not want to."""


async def refuse_passkey(address: str) -> int | None:
    return None


class Agent(ServiceInterface):
    """org.bluez.Agent1: the operator types what the device shows. Devices that nobody expects are refused."""

    def __init__(self, ask_passkey: AskPasskey, is_expected: Callable[[str], bool]) -> None:
        super().__init__("org.bluez.Agent1")
        self._ask_passkey, self._is_expected = ask_passkey, is_expected
        self._asking: asyncio.Task[int | None] | None = None

    @dbus_method()
    def Release(self) -> None: ...

    @dbus_method()
    async def RequestPasskey(self, device: DBusObjectPath) -> DBusUInt32:
        address = self._expected(device)
        self._asking = asyncio.ensure_future(self._ask_passkey(address))
        try:
            async with asyncio.timeout(PASSKEY_LIMIT_S):
                passkey = await self._asking
        except (TimeoutError, asyncio.CancelledError):
            passkey = None
        finally:
            self._asking = None
        if passkey is None or not 0 <= passkey <= 999_999:
            raise DBusError("org.bluez.Error.Canceled", "no passkey was typed")
        return passkey

    @dbus_method()
    def RequestConfirmation(self, device: DBusObjectPath, passkey: DBusUInt32) -> None:
        """Numeric comparison ("are both numbers the same?") needs a yes key on the device; no meter of ours has one."""
        raise DBusError("org.bluez.Error.Rejected", "numeric comparison is not offered")

    @dbus_method()
    def RequestAuthorization(self, device: DBusObjectPath) -> None:
        self._expected(device)

    @dbus_method()
    def AuthorizeService(self, device: DBusObjectPath, uuid: DBusStr) -> None:
        self._expected(device)

    @dbus_method()
    def DisplayPasskey(self, device: DBusObjectPath, passkey: DBusUInt32, entered: DBusUInt16) -> None: ...

    @dbus_method()
    def Cancel(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    def _expected(self, device: str) -> str:
        address = address_of(device)
        if not self._is_expected(address):
            raise DBusError("org.bluez.Error.Rejected", "not a device of ours")
        return address


class BluezBus:
    """Our own connection to org.bluez. Open it, use it, ``close`` it; a new one for each life of the bus."""

    def __init__(self, ask_passkey: AskPasskey, is_expected: Callable[[str], bool]) -> None:
        self._agent = Agent(ask_passkey, is_expected)
        self._bus: MessageBus | None = None
        self._watching: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self._cycling = False
        """We switch the adapter ourselves: it is not lost."""

    async def open(self) -> None:
        """Connect, register the agent as the default one, listen.

        :raises BUS_ERRORS: no bus, or no bluetoothd on it.
        """
        self._lost = asyncio.get_running_loop().create_future()
        self._bus = MessageBus(bus_type=BusType.SYSTEM)
        async with asyncio.timeout(CALL_LIMIT_S):
            await self._bus.connect()
        self._watching = asyncio.get_running_loop().create_task(self._watch(self._bus))
        self._bus.add_message_handler(self._on_message)
        for rule in (
            "type='signal',sender='org.bluez',path_namespace='/org/bluez',member='PropertiesChanged'",
            "type='signal',sender='org.bluez',member='InterfacesAdded'",
            "type='signal',sender='org.bluez',member='InterfacesRemoved'",
            "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.bluez'",
        ):
            daemon = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
            await self._call(*daemon, "AddMatch", "s", rule)
        self._bus.export(AGENT_PATH, self._agent)
        manager = (BLUEZ, "/org/bluez", "org.bluez.AgentManager1")
        await self._call(*manager, "RegisterAgent", "os", AGENT_PATH, CAPABILITY)
        await self._call(*manager, "RequestDefaultAgent", "o", AGENT_PATH)

    async def close(self) -> None:
        """Never raises. bluetoothd forgets the agent when its connection goes."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()  # also after a failed connect: it holds descriptors
        if self._watching is not None:
            await asyncio.wait({self._watching}, timeout=CALL_LIMIT_S)

    @property
    def loss(self) -> str | None:
        """What went away, in words; None: nothing yet."""
        return self._lost.result() if self._lost is not None and self._lost.done() else None

    async def lost(self) -> str:
        """Wait until the bus, bluetoothd or an adapter goes away; return which, in words."""
        assert self._lost is not None
        return await asyncio.shield(self._lost)

    async def _watch(self, bus: MessageBus) -> None:
        """One waiter for the life of the bus: to cancel ``wait_for_disconnect`` cancels dbus-fast's own future."""
        with suppress(*BUS_ERRORS):
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        self._tell_lost("the D-Bus connection broke")

    async def release_stale(self, is_stale: Callable[[str, str, Collection[str]], bool]) -> None:
        """Disconnect devices that a former life left connected.

        :param is_stale: told address, name and full service UUIDs of each connected device
        """
        objects = await self._call(BLUEZ, "/", OBJECT_MANAGER, "GetManagedObjects", "")
        for path, interfaces in objects.items():
            device = interfaces.get(DEVICE, {})
            if device.get("Connected") and is_stale(device["Address"], device.get("Name", ""), device.get("UUIDs", ())):
                await self._call(BLUEZ, path, DEVICE, "Disconnect", "")

    async def forget(self, address: str) -> None:
        """Remove the device with its bond, so that it can be paired anew."""
        objects = await self._call(BLUEZ, "/", OBJECT_MANAGER, "GetManagedObjects", "")
        for path, interfaces in objects.items():
            device = interfaces.get(DEVICE, {})
            if device.get("Address") == address:
                await self._call(BLUEZ, device["Adapter"], ADAPTER, "RemoveDevice", "o", path)

    async def power_cycle(self) -> None:
        """Switch every adapter that is on off and on again: what wakes one that hangs without an error.

        :raises BUS_ERRORS: it did not come back; ``lost`` tells likewise.
        """
        objects = await self._call(BLUEZ, "/", OBJECT_MANAGER, "GetManagedObjects", "")
        self._cycling = True
        try:
            for path, interfaces in objects.items():
                if interfaces.get(ADAPTER, {}).get("Powered"):
                    for on in (False, True):
                        powered = Variant("b", on)
                        await self._call(BLUEZ, path, PROPERTIES, "Set", "ssv", ADAPTER, "Powered", powered)
        finally:
            self._cycling = False

    async def is_paired(self, device_path: str) -> bool:
        """Whether bluetoothd holds a key of the device, as it says now; False when it can't be asked."""
        try:
            return bool(await self._call(BLUEZ, device_path, PROPERTIES, "Get", "ss", DEVICE, "Paired"))
        except BUS_ERRORS:
            return False

    async def battery_percent(self, device_path: str) -> int | None:
        """What bluetoothd read from the battery service, which it does not show as GATT; None: not known."""
        try:
            return int(await self._call(BLUEZ, device_path, PROPERTIES, "Get", "ss", BATTERY, "Percentage"))
        except BUS_ERRORS:
            return None

    async def _call(self, service: str, path: str, interface: str, member: str, signature: str, *body: Any) -> Any:
        if self._bus is None:
            raise EOFError("the D-Bus connection is closed")
        message = Message(
            destination=service, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        async with asyncio.timeout(CALL_LIMIT_S):
            answer = await self._bus.call(message)
        if answer is None or answer.message_type is MessageType.ERROR:
            raise DBusError((answer and answer.error_name) or BLUEZ, str(answer and answer.body))
        return unpack_variants(answer.body[0]) if answer.body else None

    def _on_message(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        body = message.body
        if message.member == "NameOwnerChanged" and body[0] == BLUEZ and not body[2]:
            self._tell_lost("bluetoothd ended")
        elif message.member == "InterfacesRemoved" and ADAPTER in body[1]:
            self._tell_lost("the Bluetooth adapter was removed")
        elif message.member == "PropertiesChanged" and body[0] == ADAPTER:
            powered = body[1].get("Powered")
            if powered is not None and not powered.value and not self._cycling:
                self._tell_lost("the Bluetooth adapter was switched off")

    def _tell_lost(self, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)


def address_of(device_path: str) -> str:
    """ "/org/bluez/hci0/dev_AA_BB_CC_DD_EE_FF" -> "AA:BB:CC:DD:EE:FF"."""
    return device_path.rsplit("/dev_", 1)[-1].replace("_", ":")
