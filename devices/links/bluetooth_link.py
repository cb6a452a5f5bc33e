"""Bluetooth Low Energy through BlueZ: one scan for all devices, one link for each.

``BluetoothHub`` scans without end, with a callback. ``BluetoothLink.open`` waits for the first advertisement of its
device, connects (one connection attempt at a time for the adapter), subscribes, and returns. Meters are awake for
seconds only, so trying again is the link's own business and quick.

What the rules here answer to (each seen or documented; see hardware/protocols/bluetooth-link.md):
- ``client.disconnect()`` follows every connection, also one that the device ended: otherwise a D-Bus connection leaks
  and notifications come twice after the next connection.
- StartNotify only, measurement first, nothing between connecting and subscribing: a cuff indicates at once.
- The scan asks for duplicate data: otherwise bluetoothd does not tell a device that advertises again at the same RSSI.
- A scan can go deaf without an error: it is judged by advertisements heard, and started anew after silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from bleak import BleakClient, BleakScanner
from bleak.args.bluez import BlueZDiscoveryFilters, BlueZScannerArgs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError

from devices.clock import Clock
from devices.driver import GattUse, Line, Match, Write, full_uuid, lines_of
from devices.errors import LinkLost
from devices.events import emit
from devices.links.bluetooth_agent import BUS_ERRORS, AskPasskey, BluezBus, refuse_passkey
from devices.links.bluetooth_errors import TRANSIENT, BondRefused, PairingFailed, is_about_security
from devices.links.bluetooth_limits import Limits
from devices.links.gatt_choice import found_in
from devices.links.link import SessionEnded

MAX_WAITING_VALUES = 4096
"""Unread notifications of one device; beyond it the connection is given up and the records are asked for again."""

MAX_BROKEN = 3
"""Connections of one attempt that break while they are made; bleak alone would go on until its time limit."""

BATTERY_LEVEL = "2A19"


@dataclass(frozen=True, slots=True)
class Advertised:
    """What a device says of itself on the air."""

    address: str
    name: str
    services: tuple[str, ...]
    """Full UUIDs in lower case."""


class BluetoothHub:
    """The adapter, shared by all Bluetooth devices. Starts with the first ``open`` of a link; end it with ``stop``."""

    def __init__(self, clock: Clock, ask_passkey: AskPasskey = refuse_passkey, limits: Limits | None = None) -> None:
        self.fault: str | None = None
        """"bluetooth_off" while there is no working adapter."""
        self.limits = limits or Limits()
        self.clock = clock
        self.connecting = asyncio.Lock()
        """One connection attempt at a time: parallel ones fail on BlueZ."""
        self.bluez: BluezBus | None = None
        self._ask_passkey = ask_passkey
        self._links: WeakSet[BluetoothLink] = WeakSet()
        """All that ever waited: a device is left to the one it matches best, even while that one is busy."""
        self._services: frozenset[str] | None = frozenset()
        """What the scan is filtered by; None: a device is looked for by its name, so everything is heard."""
        self._services_changed = asyncio.Event()
        self._waiting: dict[BluetoothLink, asyncio.Future[tuple[BLEDevice, Advertised]]] = {}
        self._overhearing: list[Callable[[Advertised], None]] = []
        self._claimed: set[str] = set()
        self._settled_s: dict[str, float] = {}
        self._heard_s = 0.0
        self._silent_scans = 0  # one after the other
        self._scanning: asyncio.Task[None] | None = None

    def link(self, name: str, address: str = "") -> BluetoothLink:
        """:param address: take only the device with this address; empty: the first that the driver recognises."""
        return BluetoothLink(self, name, address.upper())

    async def stop(self) -> None:
        """End the scan. Links that are open stay open until they are closed."""
        scanning, self._scanning = self._scanning, None
        if scanning is not None:
            scanning.cancel()
            await asyncio.gather(scanning, return_exceptions=True)

    async def forget(self, address: str) -> None:
        """Drop the bond of a device that was reset by its user, so that the next connection pairs anew.

        :raises LinkLost: Bluetooth is not available now.
        """
        if self.bluez is None:
            raise LinkLost("Bluetooth is not available: switch the adapter on and try again")
        try:
            await self.bluez.forget(address.upper())
        except BUS_ERRORS as reason:
            raise LinkLost(f"bluetoothd did not forget {address}: {reason}") from reason

    async def advertised(self, link: BluetoothLink) -> tuple[BLEDevice, Advertised]:
        """Wait for a device of ``link`` that no other link has or matches better; claim it: ``release`` it after."""
        self._listen_for(link)
        found: asyncio.Future[tuple[BLEDevice, Advertised]] = asyncio.get_running_loop().create_future()
        self._waiting[link] = found
        try:
            return await found
        except asyncio.CancelledError:
            if found.done() and not found.cancelled():
                self.release(found.result()[0].address)
            raise
        finally:
            self._waiting.pop(link, None)

    def release(self, address: str) -> None:
        self._claimed.discard(address)
        self._settled_s[address] = self.clock.monotonic_s() + self.limits.settle_s

    # scanning

    @contextmanager
    def overheard(self, tell: Callable[[Advertised], None]) -> Iterator[None]:
        """While this is held everything on the air is heard, and ``tell`` is told of each advertisement of a device
        that no link of ours waits for or has; many times a second, of strangers' devices too. Nothing is connected.
        """
        self._overhearing.append(tell)
        self._listen()
        try:
            yield
        finally:
            self._overhearing.remove(tell)
            if self._links or self._overhearing:
                self._listen()
            elif self._scanning is not None:
                self._scanning.cancel()
                self._scanning, self._services = None, frozenset()

    def _listen_for(self, link: BluetoothLink) -> None:
        self._links.add(link)
        self._listen()

    def _listen(self) -> None:
        uses = [use for one in self._links for use in one.uses]
        everything = bool(self._overhearing) or any(use.names for use in uses)
        services = None if everything else frozenset(full_uuid(use.service) for use in uses)
        if services != self._services:
            self._services = services
            self._services_changed.set()
        if self._scanning is None or self._scanning.done():
            self._scanning = asyncio.get_running_loop().create_task(self._scan_for_ever())
            self._scanning.add_done_callback(self._on_scan_ended)

    async def _scan_for_ever(self) -> None:
        logging.getLogger("bleak").setLevel(logging.ERROR)  # its warnings are told here, once and in our words
        pause_s = self.limits.retry_first_s
        while True:
            try:
                async with AsyncExitStack() as stack:
                    bluez = BluezBus(self._ask_passkey, self._claimed.__contains__)
                    stack.push_async_callback(bluez.close)
                    await bluez.open()
                    self.bluez = bluez
                    stack.callback(self._forget_bus)
                    while True:
                        await self._scan_until_deaf(bluez)
                        await self._wake_adapter(bluez)
                        pause_s = self.limits.retry_first_s
            except TRANSIENT as reason:
                self._unavailable(str(reason) or type(reason).__name__)
            await self.clock.sleep(pause_s)
            pause_s = min(pause_s * 2, self.limits.unavailable_most_s)

    def _on_scan_ended(self, scanning: asyncio.Task[None]) -> None:
        """An error that is none of BlueZ's is a bug: whoever waits gets it, and nobody waits for ever."""
        reason = None if scanning.cancelled() else scanning.exception()
        for found in self._waiting.values():
            if reason is not None and not found.done():
                found.set_exception(reason)

    async def _wake_adapter(self, bluez: BluezBus) -> None:
        """After 2, 4, 8, ... silent scans: silence may be honest. Never while a device is connected or connecting."""
        silent = self._silent_scans
        if silent < 2 or silent & (silent - 1) or self._claimed:
            return
        async with self.connecting:
            emit("bluetooth_adapter_restarted", silent_scans=silent)
            await bluez.power_cycle()

    async def _scan_until_deaf(self, bluez: BluezBus) -> None:
        """Return when the scan should be started anew.

        :raises TRANSIENT: Bluetooth went away.
        """
        self._services_changed.clear()
        async with self.connecting:
            await bluez.release_stale(self._is_looked_for)
            scanner = BleakScanner(
                self._on_advertisement,
                service_uuids=None if self._services is None else sorted(self._services),
                bluez=BlueZScannerArgs(filters=BlueZDiscoveryFilters(DuplicateData=True)),
            )
            async with asyncio.timeout(self.limits.call_s):
                await scanner.start()
        try:
            self._available()
            await self._until_deaf(bluez)
        finally:
            with suppress(*TRANSIENT):
                async with asyncio.timeout(self.limits.call_s):
                    await scanner.stop()

    async def _until_deaf(self, bluez: BluezBus) -> None:
        lost = asyncio.ensure_future(bluez.lost())
        changed = asyncio.ensure_future(self._services_changed.wait())
        self._heard_s = self.clock.monotonic_s()
        try:
            while not changed.done():
                silent_s = self.clock.monotonic_s() - self._heard_s
                if silent_s >= self.limits.deaf_s:
                    self._silent_scans += 1
                    return
                await asyncio.wait(
                    {lost, changed}, timeout=self.limits.deaf_s - silent_s, return_when=asyncio.FIRST_COMPLETED
                )
                if lost.done():
                    raise BleakError(lost.result())
        finally:
            lost.cancel()
            changed.cancel()
            await asyncio.gather(lost, changed, return_exceptions=True)

    def _on_advertisement(self, device: BLEDevice, advertisement: AdvertisementData) -> None:
        now_s = self.clock.monotonic_s()
        _, properties = advertisement.platform_data  # as they are now; those of ``device`` are of its first sight
        if properties.get("Connected") or now_s < self._settled_s.get(device.address, 0.0):
            return  # a property changed, which bleak tells like an advertisement
        self._heard_s, self._silent_scans = now_s, 0
        if device.address in self._claimed:
            return
        said = Advertised(device.address, advertisement.local_name or "", tuple(advertisement.service_uuids))
        best = max((link.match(said) for link in self._links), default=Match.NOT)
        for link, found in self._waiting.items():
            if best is not Match.NOT and not found.done() and link.match(said) is best:
                self._claimed.add(device.address)
                found.set_result((device, said))
                return
        if best is not Match.ADDRESS:
            for tell in self._overhearing:
                tell(said)

    def _is_looked_for(self, address: str, name: str, services: Collection[str]) -> bool:
        """Whether a connected device is one of ours that nobody holds."""
        said = Advertised(address, name, tuple(services))
        return address not in self._claimed and any(link.match(said) for link in self._links)

    def _forget_bus(self) -> None:
        bluez, self.bluez = self.bluez, None
        if bluez is not None and bluez.loss is not None:
            for link in tuple(self._links):
                link.lose(bluez.loss)

    def _available(self) -> None:
        if self.fault is not None:
            self.fault = None
            emit("bluetooth_available")

    def _unavailable(self, reason: str) -> None:
        if self.fault is None:
            self.fault = "bluetooth_off"
            emit("bluetooth_unavailable", level=logging.WARNING, reason=reason)


class BluetoothLink:
    """One device as :class:`devices.links.link.DeviceLink`. Made by :meth:`BluetoothHub.link`."""

    def __init__(self, hub: BluetoothHub, name: str, address: str) -> None:
        self._hub, self._name, self._address = hub, name, address
        self.uses: tuple[GattUse, ...] = ()
        """The ways the driver knows, since the first ``open``."""
        self._write_to: BleakGATTCharacteristic | None = None
        self._place = ""
        self._claimed = ""
        """The address that is claimed at the hub; another link may have it as soon as it is released."""
        self._fault: str | None = None
        self._failures = 0
        self._pairing_refused = False
        self._client: BleakClient | None = None
        self._dialling: asyncio.Timeout | None = None
        self._broken = 0
        self._values: deque[tuple[str, bytes]] = deque()
        self._news = asyncio.Event()
        self._ended: LinkLost | None = None
        self._active_s = 0.0

    @property
    def place(self) -> str:
        return self._place

    @property
    def fault(self) -> str | None:
        return self._hub.fault or self._fault

    def match(self, said: Advertised) -> Match:
        if self._address == said.address:
            return Match.ADDRESS
        if self._address:
            return Match.NOT
        return max((use.match(said.name, said.services) for use in self.uses), default=Match.NOT)

    async def open(self, line: Line | tuple[Line, ...]) -> None:
        """See :class:`DeviceLink`. Never raises ``LinkLost``: it waits and tries until the device is there."""
        self.uses = lines_of(line, GattUse)
        if not self.uses:
            raise TypeError(f"{self._name}: the driver has no use of Bluetooth, its link is; change the settings")
        await self.close()
        while True:
            device, said = await self._hub.advertised(self)
            self._place = self._claimed = device.address
            likely = sorted(self.uses, key=lambda use: use.match(said.name, said.services), reverse=True)
            try:
                await self._connect(device, likely)
            except TRANSIENT as reason:
                await self.close()
                self._failed(reason)
                await self._hub.clock.sleep(self._pause_s())
            except BaseException:
                await self.close()
                raise
            else:
                self._failures, self._fault = 0, None
                return

    async def receive(self) -> tuple[str, bytes]:
        while not self._values:
            if self._ended is not None:
                raise self._ended
            rest_s = self._hub.limits.idle_s - (self._hub.clock.monotonic_s() - self._active_s)
            if rest_s <= 0:
                raise SessionEnded(f"{self._name}: let go after {self._hub.limits.idle_s:g} s of silence")
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._news.wait()
        return self._values.popleft()

    async def write(self, write: Write) -> None:
        if self._ended is not None:
            raise self._ended
        if self._client is None:
            raise LinkLost(f"{self._name}: not connected")
        characteristic = self._write_to
        if write.channel:
            characteristic = self._client.services.get_characteristic(full_uuid(write.channel))
        if characteristic is None:
            raise LinkLost(f"{self._name}: the device has no characteristic {write.channel or 'to write to'}")
        self._active_s = self._hub.clock.monotonic_s()
        try:
            async with asyncio.timeout(self._hub.limits.pair_s):  # bluetoothd may have to pair first
                with_response = "write" in characteristic.properties
                await self._client.write_gatt_char(characteristic, write.payload, response=with_response)
        except TRANSIENT as reason:
            if is_about_security(reason):
                self._pairing_refused = True
                raise PairingFailed(f"{self._name}: {reason}") from reason
            raise self._ended or LinkLost(f"{self._name}: {reason}") from reason

    async def close(self) -> None:
        client, self._client = self._client, None
        try:
            if client is not None:
                with suppress(*TRANSIENT):
                    async with asyncio.timeout(self._hub.limits.call_s):
                        await client.disconnect()
        finally:
            claimed, self._claimed = self._claimed, ""
            if claimed:
                self._hub.release(claimed)

    # connecting

    async def _connect(self, device: BLEDevice, uses: list[GattUse]) -> None:
        """:raises TRANSIENT: did not work; ``close`` and wait for the next advertisement."""
        self._values.clear()
        self._ended = None
        limits = self._hub.limits
        pair = uses[0].bond and not self._pairing_refused and not await self._is_paired(device)
        client = BleakClient(
            device,
            disconnected_callback=lambda client: self._on_disconnected(client),
            timeout=limits.pair_s if pair else limits.connect_s,
            pair=pair,
        )
        self._client = client
        async with self._hub.connecting:
            await self._dial(client, device)
            use, heard, self._write_to = found_in(client, uses)
            await self._subscribe(client, heard)
        self._active_s = self._hub.clock.monotonic_s()
        await self._read(client, device, use.read)

    async def _dial(self, client: BleakClient, device: BLEDevice) -> None:
        """Connect, through connections that break while they are made, which bleak makes again.

        :raises BondRefused: a bonded device broke ``MAX_BROKEN`` of them; TRANSIENT: did not work.
        """
        self._broken = 0
        try:
            async with asyncio.timeout(None) as self._dialling:
                await client.connect()
        except TimeoutError as reason:
            if self._broken >= MAX_BROKEN and await self._is_paired(device):
                raise BondRefused(f"{self._name}: the device refuses the key it once agreed to") from reason
            raise
        finally:
            self._dialling = None
        if client.is_connected:
            self._ended = None  # what broke before was no hanging up

    async def _is_paired(self, device: BLEDevice) -> bool:
        bluez = self._hub.bluez
        return bluez is not None and await bluez.is_paired(device.details["path"])

    async def _subscribe(self, client: BleakClient, heard: list[tuple[str, BleakGATTCharacteristic]]) -> None:
        """In order. A device that has already said something and hung up is not a failure."""
        try:
            for channel, characteristic in heard:
                async with asyncio.timeout(self._hub.limits.pair_s):
                    await client.start_notify(characteristic, self._listener(client, channel))
        except TRANSIENT:
            if not self._values:
                raise

    async def _read(self, client: BleakClient, device: BLEDevice, characteristics: tuple[str, ...]) -> None:
        """What can be read is read; what cannot is left out."""
        for name in characteristics:
            try:
                async with asyncio.timeout(self._hub.limits.call_s):
                    value = await self._read_one(client, device, name)
            except TRANSIENT:
                return
            if value is not None:
                self._on_value(client, name, value)

    async def _read_one(self, client: BleakClient, device: BLEDevice, name: str) -> bytes | None:
        characteristic = client.services.get_characteristic(full_uuid(name))
        if characteristic is not None:
            return bytes(await client.read_gatt_char(characteristic))
        if name == BATTERY_LEVEL and self._hub.bluez is not None:
            percent = await self._hub.bluez.battery_percent(device.details["path"])
            return None if percent is None else bytes([percent])
        return None

    def _listener(self, client: BleakClient, name: str) -> Any:
        def on_value(characteristic: BleakGATTCharacteristic, value: bytearray) -> None:
            self._on_value(client, name, bytes(value))

        return on_value

    def _on_value(self, client: BleakClient, name: str, value: bytes) -> None:
        if client is not self._client or self._ended is not None:
            return
        if len(self._values) >= MAX_WAITING_VALUES:
            self._end(LinkLost(f"{self._name}: {MAX_WAITING_VALUES} values were not read; asking for them again"))
            return
        self._values.append((name, value))
        self._active_s = self._hub.clock.monotonic_s()
        self._news.set()

    def _on_disconnected(self, client: BleakClient) -> None:
        if client is not self._client:
            return
        self._end(SessionEnded(f"{self._name}: the device hung up"))
        self._broken += 1
        if self._dialling is not None and self._broken == MAX_BROKEN:
            self._dialling.reschedule(asyncio.get_running_loop().time())

    def lose(self, reason: str) -> None:
        """Bluetooth went away. bleak tells of a dead bus, and not of a bluetoothd that died on a living one."""
        if self._client is not None:
            self._end(LinkLost(f"{self._name}: {reason}"))

    def _end(self, reason: LinkLost) -> None:
        self._ended = self._ended or reason
        self._news.set()

    # failing

    def _failed(self, reason: BaseException) -> None:
        """Count, and say what a person should know.

        A device without security refuses to pair and works all the same: the next attempt goes without pairing. If it
        does want security, bluetoothd raises it by itself and asks our agent again.
        """
        self._failures += 1
        self._pairing_refused = is_about_security(reason)
        if self._pairing_refused:
            self._fault = PairingFailed.code
        elif self._fault is None and self._failures >= 3:
            self._fault = "bluetooth_connect_failed"

    def _pause_s(self) -> float:
        limits = self._hub.limits
        return float(min(limits.retry_first_s * 2 ** min(self._failures - 1, 10), limits.retry_most_s))
