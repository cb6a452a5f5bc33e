"""One Bluetooth Low Energy device through BlueZ: wait for it, connect, subscribe, be its bytes.

``BluetoothLink.open`` waits for the first advertisement of its device at the hub (``devices.links.bluetooth_hub``),
connects, subscribes, and returns. Meters are awake for seconds only, so trying again is the link's own business and
quick. What the rules here answer to (each seen or documented; see hardware/protocols/bluetooth-link.md):
- ``client.disconnect()`` follows every connection, also one that the device ended: otherwise a D-Bus connection leaks
  and notifications come twice after the next connection.
- StartNotify only, measurement first, nothing between connecting and subscribing: a cuff indicates at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice

from devices.driver import GattUse, Line, Match, Write, full_uuid, lines_of
from devices.errors import LinkLost
from devices.links.bluetooth_errors import TRANSIENT, BondRefused, PairingFailed, is_about_security, wants_bond
from devices.links.gatt_choice import found_in
from devices.links.link import SessionEnded

if TYPE_CHECKING:
    from devices.links.bluetooth_hub import BluetoothHub

Answer = TypeVar("Answer")

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
                send = partial(self._client.write_gatt_char, characteristic, write.payload, response=with_response)
                await self._bonded(self._client, send)
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
        unknown = uses[0].bond and not await self._is_paired(device)
        pair = unknown and not self._pairing_refused
        if unknown:
            await self._hub.turn.no_question()
        client = BleakClient(
            device,
            disconnected_callback=lambda client: self._on_disconnected(client),
            timeout=limits.pair_s if pair else limits.connect_s,
            pair=pair,
        )
        self._client = client
        async with self._hub.turn.of(device.address):
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
                listener = self._listener(client, channel)
                async with asyncio.timeout(self._hub.limits.pair_s):
                    await self._bonded(client, partial(client.start_notify, characteristic, listener))
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
            return bytes(await self._bonded(client, partial(client.read_gatt_char, characteristic)))
        if name == BATTERY_LEVEL and self._hub.bluez is not None:
            percent = await self._hub.bluez.battery_percent(device.details["path"])
            return None if percent is None else bytes([percent])
        return None

    @staticmethod
    async def _bonded(client: BleakClient, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """``call``, and once more after pairing where the device wants a bond for it. bluetoothd makes one by itself
        and tries again, but not always: then it says that the device is not paired.
        """
        try:
            return await call()
        except TRANSIENT as reason:
            if not wants_bond(reason):
                raise
        await client.pair()
        return await call()

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
