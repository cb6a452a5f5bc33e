"""One remote device of the virtual org.bluez: its D-Bus objects, and the bumble connection behind them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bumble.att import ATT_Error
from bumble.core import UUID, AdvertisingData, ProtocolError
from bumble.device import Advertisement, Connection, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.pairing import PairingDelegate
from dbus_fast import Variant

from devices.simulators.private_bus import Call, Refused, Reply

if TYPE_CHECKING:
    from devices.simulators.virtual_bluez import VirtualBlueZ

ADAPTER_PATH = "/org/bluez/hci0"
DEVICE = "org.bluez.Device1"
BATTERY = "org.bluez.Battery1"
SERVICE = "org.bluez.GattService1"
CHARACTERISTIC = "org.bluez.GattCharacteristic1"
DESCRIPTOR = "org.bluez.GattDescriptor1"
AGENT = "org.bluez.Agent1"

FLAGS = {0x02: "read", 0x04: "write-without-response", 0x08: "write", 0x10: "notify", 0x20: "indicate"}
CLAIMED_SERVICES = ("1800", "1801", "180F")
"""Services that bluetoothd keeps to itself."""
INSUFFICIENT_SECURITY = (0x05, 0x0F)
RSSI_THRESHOLD_DB = 8
CONNECT_LIMIT_S = 20.0
LEAST_MTU = 23

FAILED = "org.bluez.Error.Failed"


class RemoteDevice:
    def __init__(self, bluez: VirtualBlueZ, path: str, advertisement: Advertisement, uuids: list[str]) -> None:
        self.address = advertisement.address
        self.methods: dict[str, Callable[[Call], Coroutine[Any, Any, Reply | None]]] = {
            "Connect": self._connect,
            "Disconnect": self._disconnect,
            "Pair": self._pair,
            "ReadValue": self._read_value,
            "WriteValue": self._write_value,
            "StartNotify": self._start_notify,
            "StopNotify": self._stop_notify,
        }
        self._bluez, self._path = bluez, path
        self._rssi = advertisement.rssi
        self._connection: Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._attributes: dict[str, Any] = {}
        """D-Bus path -> bumble's proxy of the characteristic or descriptor."""
        self._listeners: defaultdict[str, list[str]] = defaultdict(list)
        """Path of a characteristic -> clients that started notifications; kept over reconnects."""
        self._subscribed: set[str] = set()
        self._tellers: dict[str, Callable[[bytes], None]] = {}
        """One for each path: bumble keeps the callback of a subscription that was refused, and must know it again."""
        data = advertisement.data
        name = data.get(AdvertisingData.COMPLETE_LOCAL_NAME) or data.get(AdvertisingData.SHORTENED_LOCAL_NAME) or ""
        bluez.tree.add(path, {DEVICE: self._properties(str(name), uuids)})

    def _properties(self, name: str, uuids: list[str]) -> dict[str, Variant]:
        address = str(self.address).split("/")[0]
        return {
            "Address": Variant("s", address),
            "AddressType": Variant("s", "public" if self.address.is_public else "random"),
            "Name": Variant("s", name),
            "Alias": Variant("s", name or address.replace(":", "-")),
            "Adapter": Variant("o", ADAPTER_PATH),
            "UUIDs": Variant("as", uuids),
            "RSSI": Variant("n", self._rssi),
            "Paired": Variant("b", False),
            "Bonded": Variant("b", False),
            "Trusted": Variant("b", False),
            "Blocked": Variant("b", False),
            "Connected": Variant("b", False),
            "ServicesResolved": Variant("b", False),
        }

    @property
    def is_paired(self) -> bool:
        return bool(self._bluez.tree.value(self._path, DEVICE, "Paired"))

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def heard(self, advertisement: Advertisement, tell_same_rssi: bool) -> None:
        if tell_same_rssi or abs(advertisement.rssi - self._rssi) >= RSSI_THRESHOLD_DB:
            self._rssi = advertisement.rssi
            self._change(RSSI=Variant("n", self._rssi))

    def client_left(self, sender: str) -> None:
        for clients in self._listeners.values():
            while sender in clients:
                clients.remove(sender)

    async def drop(self) -> None:
        """Break the connection, or the attempt at one, from our side."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._connection is not None:
            connection = self._connection
            with suppress(ProtocolError):  # the other side was faster
                await connection.disconnect()
            self._gone()

    # connection

    async def _connect(self, call: Call) -> None:
        if self._connection is not None:
            return
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())
        try:
            await asyncio.shield(self._opening)
        except asyncio.CancelledError:
            if self._opening is not None and not self._opening.cancelled():
                raise
            raise Refused(FAILED, "le-connection-abort-by-local") from None
        if self._bluez.faults.abort_by_local:
            self._bluez.faults.abort_by_local -= 1
            await self.drop()
            raise Refused(FAILED, "le-connection-abort-by-local")

    async def _open(self) -> None:
        try:
            async with self._bluez.connecting:
                connection = await self._dial()
        except (TimeoutError, ProtocolError):
            raise Refused(FAILED, "le-connection-abort-by-local") from None
        finally:
            self._opening = None
        self._connection = connection
        connection.on("disconnection", lambda reason: self._gone())
        self._change(Connected=Variant("b", True))
        self._bluez.spawn(self._resolve(connection))

    async def _dial(self) -> Connection:
        """Connect; given up in order, since the controller may have connected at the moment of cancelling."""
        central = self._bluez.central
        dialling = asyncio.get_running_loop().create_task(central.connect(self.address, timeout=None))
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                return await asyncio.shield(dialling)
        except (TimeoutError, asyncio.CancelledError):
            with suppress(ProtocolError):
                await central.cancel_connection()  # type: ignore[no-untyped-call]
                await (await dialling).disconnect()
            raise

    async def _resolve(self, connection: Connection) -> None:
        """Security, MTU, discovery, registrations of before, in bluetoothd's order."""
        early = self._bluez.faults.resolved_before_objects
        if early:
            self._change(ServicesResolved=Variant("b", True))
        try:
            if self.is_paired:
                await connection.encrypt()
            peer = Peer(connection)
            if self._bluez.mtu > LEAST_MTU:
                await peer.request_mtu(self._bluez.mtu)
            await peer.discover_all()  # type: ignore[no-untyped-call]
            self._publish(peer)
            await self._read_battery(peer)
            for path in [path for path, clients in self._listeners.items() if clients]:
                await self._subscribe(path)
        except Exception:
            if self._connection is connection:
                await self.drop()
            return
        if self._connection is connection and not early:
            self._change(ServicesResolved=Variant("b", True))

    def _publish(self, peer: Peer) -> None:
        tree = self._bluez.tree
        for service in peer.services:
            if service.uuid.to_hex_str() in CLAIMED_SERVICES:
                continue
            service_path = f"{self._path}/service{service.handle:04x}"
            properties = {
                "UUID": Variant("s", full_uuid(service.uuid)),
                "Device": Variant("o", self._path),
                "Primary": Variant("b", True),
            }
            tree.add(service_path, {SERVICE: properties})
            for characteristic in service.characteristics:
                self._publish_characteristic(service_path, characteristic)

    def _publish_characteristic(self, service_path: str, characteristic: CharacteristicProxy[Any]) -> None:
        path = f"{service_path}/char{characteristic.handle - 1:04x}"
        flags = [name for bit, name in FLAGS.items() if characteristic.properties & bit]
        properties = {
            "UUID": Variant("s", full_uuid(characteristic.uuid)),
            "Service": Variant("o", service_path),
            "Flags": Variant("as", flags),
            "Value": Variant("ay", b""),
            "Notifying": Variant("b", bool(self._listeners.get(path))),
            "MTU": Variant("q", self._bluez.mtu),
        }
        self._attributes[path] = characteristic
        self._bluez.tree.add(path, {CHARACTERISTIC: properties})
        for descriptor in characteristic.descriptors:
            descriptor_path = f"{path}/desc{descriptor.handle:04x}"
            about = {"UUID": Variant("s", full_uuid(descriptor.type)), "Characteristic": Variant("o", path)}
            self._attributes[descriptor_path] = descriptor
            self._bluez.tree.add(descriptor_path, {DESCRIPTOR: about | {"Value": Variant("ay", b"")}})

    async def _read_battery(self, peer: Peer) -> None:
        for service in peer.services:
            for characteristic in service.characteristics:
                if characteristic.uuid.to_hex_str() == "2A19":
                    level = bytes(await characteristic.read_value())[0]
                    self._bluez.tree.add(self._path, {BATTERY: {"Percentage": Variant("y", level)}})

    def _gone(self) -> None:
        if self._connection is None:
            return
        self._connection = None
        self._subscribed.clear()
        for path in reversed([path for path in self._bluez.tree.paths() if path.startswith(f"{self._path}/")]):
            self._bluez.tree.remove(path)
        self._attributes.clear()
        self._change(ServicesResolved=Variant("b", False), Connected=Variant("b", False))

    def _change(self, **values: Variant) -> None:
        self._bluez.tree.change(self._path, DEVICE, **values)

    async def _disconnect(self, call: Call) -> None:
        await self.drop()

    async def _pair(self, call: Call) -> None:
        if self.is_paired:
            raise Refused("org.bluez.Error.AlreadyExists", "Already Exists")
        await self._connect(call)
        self._bluez.pairing += 1
        try:
            await self._secure()
        finally:
            self._bluez.pairing -= 1

    async def _secure(self) -> None:
        """Pair, or encrypt with the keys of an earlier pairing."""
        connection = self._connection
        if connection is None:
            raise Refused(FAILED, "Not connected")
        if self._bluez.agent is None:
            raise Refused("org.bluez.Error.AuthenticationFailed", "Authentication Failed")
        try:
            await (connection.encrypt() if self.is_paired else connection.pair())
        except (ProtocolError, asyncio.CancelledError):
            raise Refused("org.bluez.Error.AuthenticationFailed", "Authentication Failed") from None
        self._change(Paired=Variant("b", True), Bonded=Variant("b", True))

    # GATT

    async def _att(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do it, raising security when the device asks for it, and say failures as bluetoothd does."""
        try:
            try:
                return await work()
            except ATT_Error as refusal:
                if refusal.error_code not in INSUFFICIENT_SECURITY:
                    raise
                if self._bluez.faults.leaves_security_alone:
                    raise Refused("org.bluez.Error.NotPermitted", "Not paired") from None
                await self._secure()
                return await work()
        except ATT_Error as refusal:
            raise Refused(FAILED, f"Operation failed with ATT error: 0x{refusal.error_code:02x}") from None
        except (ProtocolError, asyncio.CancelledError, TimeoutError):
            raise Refused(FAILED, "Not connected") from None

    def _attribute(self, path: str) -> Any:
        attribute = self._attributes.get(path)
        if attribute is None or self._connection is None:
            raise Refused(FAILED, "Not connected")
        return attribute

    async def _read_value(self, call: Call) -> Reply:
        attribute = self._attribute(call.path)
        return Reply("ay", (bytes(await self._att(attribute.read_value)),))

    async def _write_value(self, call: Call) -> None:
        attribute = self._attribute(call.path)
        value, options = call.body
        wants_response = "type" not in options or options["type"].value == "request"
        await self._att(lambda: attribute.write_value(bytes(value), with_response=wants_response))

    async def _start_notify(self, call: Call) -> None:
        self._attribute(call.path)
        if call.sender in self._listeners[call.path]:
            raise Refused("org.bluez.Error.InProgress", "In Progress")
        self._listeners[call.path].append(call.sender)
        try:
            await self._subscribe(call.path)
        except Refused:
            self._listeners[call.path].remove(call.sender)
            raise
        self._bluez.tree.change(call.path, CHARACTERISTIC, Notifying=Variant("b", True))

    async def _subscribe(self, path: str) -> None:
        if path in self._subscribed or path not in self._attributes:
            return
        self._subscribed.add(path)
        tell = self._tellers.setdefault(path, lambda value: self._tell_value(path, value))
        characteristic = self._attributes[path]
        try:
            await self._att(lambda: characteristic.subscribe(tell, prefer_notify=True))
        except Refused:
            self._subscribed.discard(path)
            raise

    def _tell_value(self, path: str, value: bytes) -> None:
        for _ in self._listeners[path]:
            self._bluez.tree.change(path, CHARACTERISTIC, Value=Variant("ay", bytes(value)))

    async def _stop_notify(self, call: Call) -> None:
        clients = self._listeners[call.path]
        if call.sender not in clients:
            raise Refused(FAILED, "No notify session started")
        clients.remove(call.sender)
        if not clients and call.path in self._subscribed:
            self._subscribed.discard(call.path)
            characteristic = self._attribute(call.path)
            await self._att(characteristic.unsubscribe)
            self._bluez.tree.change(call.path, CHARACTERISTIC, Notifying=Variant("b", False))


class AgentDelegate(PairingDelegate):
    """bumble's questions at pairing, put to the registered org.bluez.Agent1."""

    def __init__(self, bluez: VirtualBlueZ, connection: Connection) -> None:
        super().__init__(CAPABILITIES.get(bluez.agent[2] if bluez.agent else "", PairingDelegate.NO_OUTPUT_NO_INPUT))
        self._bluez = bluez
        address = str(connection.peer_address).split("/")[0].replace(":", "_")
        self._device = f"{ADAPTER_PATH}/dev_{address}"

    async def _ask(self, member: str, signature: str, *body: Any) -> Any:
        if self._bluez.agent is None:
            raise Refused("org.bluez.Error.AuthenticationFailed", "no agent")
        sender, path, _ = self._bluez.agent
        return await self._bluez.tree.ask(sender, path, AGENT, member, signature, self._device, *body)

    async def get_number(self) -> int | None:
        try:
            return int(await self._ask("RequestPasskey", "o"))
        except Refused:
            return None

    async def compare_numbers(self, number: int, digits: int) -> bool:
        try:
            await self._ask("RequestConfirmation", "ou", number)
        except Refused:
            return False
        return True

    async def display_number(self, number: int, digits: int) -> None:
        await self._ask("DisplayPasskey", "ouq", number, 0)


CAPABILITIES = {
    "DisplayOnly": PairingDelegate.DISPLAY_OUTPUT_ONLY,
    "DisplayYesNo": PairingDelegate.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
    "KeyboardOnly": PairingDelegate.KEYBOARD_INPUT_ONLY,
    "KeyboardDisplay": PairingDelegate.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
}


def full_uuid(uuid: UUID) -> str:
    """128-bit text form, as BlueZ writes every UUID."""
    text = uuid.to_hex_str().lower()
    return f"0000{text}-0000-1000-8000-00805f9b34fb" if len(text) == 4 else str(uuid).lower()
