"""A virtual org.bluez: BlueZ's D-Bus interface on a private bus, each call carried by a bumble central.

What is real: D-Bus, bleak's BlueZ back end in the client, and (inside bumble) advertising, connections, MTU, ATT, GATT
and SMP. What is ours: bluetoothd. Its habits that a client has to live with are kept: an RSSI that did not change is
told only to who asked for duplicate data; registrations for notifications stay until their client leaves the bus, also
over reconnects; the battery service appears as Battery1 and not as GATT; pairing needs an agent; discovery ends when
its client leaves. ``Faults`` makes single calls fail the way real adapters do.

Sources: BlueZ doc/org.bluez.{Adapter,Device,GattService,GattCharacteristic,GattDescriptor,AgentManager,Battery}.rst.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData
from bumble.device import Advertisement, Device, DeviceConfiguration
from bumble.hci import Address
from bumble.link import LocalLink
from bumble.pairing import PairingConfig
from dbus_fast import Variant

from devices.simulators.private_bus import Call, ObjectTree, PrivateBus, Refused, Reply
from devices.simulators.virtual_bluez_device import ADAPTER_PATH, DEVICE, AgentDelegate, RemoteDevice, full_uuid

ADAPTER = "org.bluez.Adapter1"
AGENT_MANAGER = "org.bluez.AgentManager1"
CHARACTERISTIC = "org.bluez.GattCharacteristic1"
DESCRIPTOR = "org.bluez.GattDescriptor1"

HOST_ADDRESS = "C0:00:00:00:00:01"
"""A static random address: bumble's link carries data from random addresses only."""


@dataclass
class Faults:
    """What goes wrong next. ``refuse("Connect", "Failed", "le-connection-abort-by-local")`` refuses one such call."""

    slow_s: float = 0.0
    """Every call answers that much later."""
    deaf: bool = False
    """Discovery runs and hears nothing until it is started again."""
    hung: bool = False
    """Discovery runs and hears nothing until the adapter was switched off and on."""
    resolved_before_objects: bool = False
    """ServicesResolved turns true before the services are on the bus."""
    abort_by_local: int = 0
    """So many connections break as soon as they are made, and Connect says le-connection-abort-by-local."""
    forgets_after_discovery: bool = False
    """Devices that are neither paired nor connected are removed as soon as nobody discovers any more."""
    leaves_security_alone: bool = False
    """A characteristic that wants a bond is refused as it is: no pairing is begun for it."""
    _refusals: defaultdict[str, deque[tuple[str, str]]] = field(default_factory=lambda: defaultdict(deque))

    def refuse(self, member: str, error: str, text: str = "", times: int = 1) -> None:
        """``error`` is a D-Bus error name, or the last word of org.bluez.Error.*"""
        name = error if "." in error else f"org.bluez.Error.{error}"
        self._refusals[member].extend([(name, text or error)] * times)

    async def before(self, member: str) -> None:
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        if self._refusals[member]:
            raise Refused(*self._refusals[member].popleft())


class VirtualBlueZ:
    def __init__(self, link: LocalLink, folder: Path) -> None:
        self.faults = Faults()
        self.calls: list[str] = []
        """Members of org.bluez that were called, in order."""
        self.devices: dict[str, RemoteDevice] = {}
        self.agents: dict[str, tuple[str, str]] = {}
        """Unique bus name -> (object path, capability)."""
        self.bus = PrivateBus(folder)
        self.tree = ObjectTree("org.bluez", self._client_left)
        self._discovering: set[str] = set()
        self._filters: dict[str, dict[str, Variant]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        controller = Controller("virtual-hci0", link=link)
        configuration = DeviceConfiguration(name="host", address=Address(HOST_ADDRESS))
        self.central = Device.from_config_with_hci(configuration, controller, controller)
        self.central.pairing_config_factory = lambda connection: PairingConfig(
            sc=True, mitm=True, bonding=True, delegate=AgentDelegate(self, connection)
        )
        self.mtu = 247
        """Asked for at each connection, as bluetoothd does; 23: nothing is asked, and devices cut at 20 bytes."""
        self.connecting = asyncio.Lock()
        """bumble's central holds one pending connection, as a real controller does."""
        self.pairing = 0
        """Calls of Pair that wait for their end: bluetoothd hears no advertisements meanwhile (suspend_discovery)."""
        self._register_methods()

    async def start(self) -> str:
        """Start the bus; its address is for DBUS_SYSTEM_BUS_ADDRESS.

        :raises DbusDaemonMissing: see :class:`PrivateBus`.
        """
        await self.bus.start()
        await self.central.power_on()
        self.central.on("advertisement", self._on_advertisement)
        self.tree.on_set = self._on_set
        self.tree.add("/org/bluez", {AGENT_MANAGER: {}})
        self.tree.add(ADAPTER_PATH, {ADAPTER: self._adapter_properties()})
        await self.tree.connect(self.bus.address)
        return self.bus.address

    async def stop(self) -> None:
        for device in list(self.devices.values()):
            await device.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.tree.disconnect()
        await self.bus.kill()

    # what a test or an operator does to it

    async def kill_bus(self) -> None:
        """The dbus-daemon dies and every connection over Bluetooth with it, as at a restart of the host."""
        await self.bus.kill()
        await self.kill_daemon()

    async def kill_daemon(self) -> None:
        """bluetoothd dies; the bus lives, so that nobody is told but who listens for the end of its name."""
        await self.tree.disconnect()
        for device in list(self.devices.values()):
            await device.drop()
        self._discovering.clear()
        self._filters.clear()
        self.agents.clear()

    async def revive_bus(self) -> None:
        await self.bus.start()
        await self.revive_daemon()

    async def revive_daemon(self) -> None:
        await self.tree.connect(self.bus.address)
        self.tree.announce()

    async def power(self, on: bool) -> None:
        """The adapter is switched: rfkill, or its plug."""
        if not on:
            self.faults.hung = False
            self._discovering.clear()
            for device in list(self.devices.values()):
                await device.drop()
        self.tree.change(ADAPTER_PATH, ADAPTER, Powered=Variant("b", on), Discovering=Variant("b", False))

    async def forget(self, address: str) -> None:
        """Remove the device object, as bluetoothd does with devices that are temporary."""
        path = device_path(address)
        device = self.devices.pop(path, None)
        if device is not None:
            await device.drop()
            self.tree.remove(path)

    # bluetoothd's inside

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def agent(self) -> tuple[str, str, str] | None:
        """(unique bus name, object path, capability) of the default agent: the one registered last."""
        for sender, (path, capability) in reversed(self.agents.items()):
            return sender, path, capability
        return None

    def _adapter_properties(self) -> dict[str, Variant]:
        return {
            "Address": Variant("s", HOST_ADDRESS),
            "AddressType": Variant("s", "random"),
            "Name": Variant("s", "virtual"),
            "Alias": Variant("s", "virtual"),
            "Powered": Variant("b", True),
            "Discovering": Variant("b", False),
            "UUIDs": Variant("as", []),
            "Roles": Variant("as", ["central"]),
        }

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        if not self._discovering or self.pairing or self.faults.deaf or self.faults.hung:
            return
        path = device_path(str(advertisement.address))
        uuids = advertised_services(advertisement.data)
        device = self.devices.get(path)
        if device is None and self._is_wanted(uuids):
            self.devices[path] = RemoteDevice(self, path, advertisement, uuids)
        elif device is not None:
            duplicates = any(filters.get("DuplicateData") == Variant("b", True) for filters in self._filters.values())
            device.heard(advertisement, tell_same_rssi=duplicates)

    def _is_wanted(self, uuids: list[str]) -> bool:
        asked = [filters["UUIDs"].value for filters in self._filters.values() if "UUIDs" in filters]
        return not asked or any(set(wanted) & set(uuids) for wanted in asked)

    def _client_left(self, sender: str) -> None:
        self.agents.pop(sender, None)
        self._filters.pop(sender, None)
        if sender in self._discovering:
            self.spawn(self._end_discovery(sender))
        for device in self.devices.values():
            device.client_left(sender)

    async def _on_set(self, path: str, interface: str, name: str, value: Any) -> None:
        if (interface, name) == (ADAPTER, "Powered"):
            await self.power(bool(value))

    # org.bluez

    def _register_methods(self) -> None:
        methods: dict[tuple[str, str], Callable[[Call], Coroutine[Any, Any, Reply | None]]] = {
            (ADAPTER, "SetDiscoveryFilter"): self._set_discovery_filter,
            (ADAPTER, "StartDiscovery"): self._start_discovery,
            (ADAPTER, "StopDiscovery"): self._stop_discovery,
            (ADAPTER, "RemoveDevice"): self._remove_device,
            (AGENT_MANAGER, "RegisterAgent"): self._register_agent,
            (AGENT_MANAGER, "UnregisterAgent"): self._unregister_agent,
            (AGENT_MANAGER, "RequestDefaultAgent"): self._request_default_agent,
        }
        for interface, members in (
            (DEVICE, ("Connect", "Disconnect", "Pair")),
            (CHARACTERISTIC, ("ReadValue", "WriteValue", "StartNotify", "StopNotify")),
            (DESCRIPTOR, ("ReadValue",)),
        ):
            for member in members:
                methods[interface, member] = self._to_device(member)
        for (interface, member), method in methods.items():
            self.tree.methods[interface, member] = self._with_faults(member, method)

    def _with_faults(
        self, member: str, method: Callable[[Call], Coroutine[Any, Any, Reply | None]]
    ) -> Callable[[Call], Coroutine[Any, Any, Reply | None]]:
        async def call_unless_refused(call: Call) -> Reply | None:
            self.calls.append(member)
            await self.faults.before(member)
            return await method(call)

        return call_unless_refused

    def _to_device(self, member: str) -> Callable[[Call], Coroutine[Any, Any, Reply | None]]:
        async def on_device(call: Call) -> Reply | None:
            device = self.devices.get("/".join(call.path.split("/")[:5]))
            if device is None:
                raise Refused("org.freedesktop.DBus.Error.UnknownObject", f"no object {call.path}")
            return await device.methods[member](call)

        return on_device

    async def _set_discovery_filter(self, call: Call) -> None:
        self._filters[call.sender] = call.body[0]

    async def _start_discovery(self, call: Call) -> None:
        if not self.tree.value(ADAPTER_PATH, ADAPTER, "Powered"):
            raise Refused("org.bluez.Error.NotReady", "Resource Not Ready")
        if call.sender in self._discovering:
            raise Refused("org.bluez.Error.InProgress", "Operation already in progress")
        self.faults.deaf = False
        self._discovering.add(call.sender)
        if not self.central.is_scanning:
            await self.central.start_scanning(legacy=True, filter_duplicates=False)
        self.tree.change(ADAPTER_PATH, ADAPTER, Discovering=Variant("b", True))

    async def _stop_discovery(self, call: Call) -> None:
        if call.sender not in self._discovering:
            raise Refused("org.bluez.Error.Failed", "No discovery started")
        await self._end_discovery(call.sender)

    async def _end_discovery(self, sender: str) -> None:
        self._discovering.discard(sender)
        if not self._discovering and self.central.is_scanning:
            await self.central.stop_scanning()
            self.tree.change(ADAPTER_PATH, ADAPTER, Discovering=Variant("b", False))
        if self.faults.forgets_after_discovery and not self._discovering:
            for device in [one for one in self.devices.values() if not one.is_paired and not one.is_connected]:
                await self.forget(str(device.address))

    async def _remove_device(self, call: Call) -> None:
        path = call.body[0]
        if path not in self.devices:
            raise Refused("org.bluez.Error.DoesNotExist", "Does Not Exist")
        address = self.devices[path].address
        if self.central.keystore is not None and self.devices[path].is_paired:
            await self.central.keystore.delete(str(address))
        await self.forget(str(address))

    async def _register_agent(self, call: Call) -> None:
        if call.sender in self.agents:
            raise Refused("org.bluez.Error.AlreadyExists", "Already Exists")
        path, capability = call.body
        self.agents[call.sender] = (path, capability or "KeyboardDisplay")

    async def _unregister_agent(self, call: Call) -> None:
        if self.agents.pop(call.sender, None) is None:
            raise Refused("org.bluez.Error.DoesNotExist", "Does Not Exist")

    async def _request_default_agent(self, call: Call) -> None:
        if call.sender not in self.agents:
            raise Refused("org.bluez.Error.DoesNotExist", "Does Not Exist")
        self.agents[call.sender] = self.agents.pop(call.sender)


def device_path(address: str) -> str:
    return f"{ADAPTER_PATH}/dev_" + address.split("/")[0].replace(":", "_")


SERVICE_LISTS = {
    AdvertisingData.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
    AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
}
"""Kind of structure -> bytes of each UUID in it."""


def advertised_services(data: AdvertisingData) -> list[str]:
    return [
        full_uuid(UUID.from_bytes(listed[start : start + size]))
        for kind, listed in data.ad_structures
        if (size := SERVICE_LISTS.get(AdvertisingData.Type(kind)))
        for start in range(0, len(listed) - size + 1, size)
    ]
