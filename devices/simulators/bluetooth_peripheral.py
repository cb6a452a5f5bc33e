"""What every simulated Bluetooth device does, whatever it measures: advertise, take a connection, pair, hang up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from bumble import data_types
from bumble.att import Attribute
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData, ProtocolError
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR, Characteristic, Service
from bumble.hci import Address
from bumble.link import LocalLink
from bumble.pairing import PairingConfig, PairingDelegate

ADVERTISING_INTERVAL_MS = 100.0
ADVERTISEMENT_BYTES = 31
INFORMATION = tuple(UUID.from_16_bits(number) for number in (0x2A29, 0x2A24, 0x2A25))
"""Manufacturer, model, serial number."""
SERVICE_LIST = {
    2: AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
    16: AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
}


class Peripheral:
    """A battery-driven device: advertises when it wants to be found, takes one connection, hangs up by itself."""

    def __init__(
        self,
        link: LocalLink,
        name: str,
        address: str,
        service: Service,
        battery_percent: int,
        passkey: int | None,
        tells_service: bool = True,
    ) -> None:
        """:param tells_service: advertise ``service``; else only the name says what the device is"""
        controller = Controller(name, link=link)
        configuration = DeviceConfiguration(
            name=name,
            address=Address(address),
            advertising_interval_min=ADVERTISING_INTERVAL_MS,
            advertising_interval_max=ADVERTISING_INTERVAL_MS,
        )
        self.address = address
        self.displayed_passkey: int | None = None
        self.connection: Connection | None = None
        self.hung_up = asyncio.Event()
        """Set while no connection is open."""
        self.hung_up.set()
        self.connections = 0
        self._controller, self._link = controller, link
        self._device = Device.from_config_with_hci(configuration, controller, controller)
        self._device.add_services([service, *_information(name, address[-5:], battery_percent)])
        self._device.advertising_data = _advertisement(name, service.uuid if tells_service else None)
        self._device.on("connection", self._on_connection)
        delegate = _Display(self, passkey) if passkey is not None else PairingDelegate()
        self._device.pairing_config_factory = lambda _: PairingConfig(
            sc=True, mitm=passkey is not None, bonding=True, delegate=delegate
        )
        self._powered = False
        self._advertising = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def advertise(self) -> None:
        async with self._advertising:
            if not self._powered:
                await self._device.power_on()
                self._powered = True
            if self.connection is None and not self._device.is_advertising:
                await self._device.start_advertising(auto_restart=False)

    async def quiet(self) -> None:
        async with self._advertising:
            if self._powered and self._device.is_advertising:
                await self._device.stop_advertising()

    async def hang_up(self) -> None:
        if self.connection is not None:
            with suppress(ProtocolError):  # the other side was faster
                await self.connection.disconnect()

    async def withdraw(self) -> None:
        """Out of everybody's reach, for good."""
        await self.quiet()
        await self.hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._powered:
            await self._device.power_off()
        self._link.remove_controller(self._controller)

    async def notify(self, characteristic: Characteristic[bytes], value: bytes) -> None:
        if self.connection is not None:
            await self._device.notify_subscriber(self.connection, characteristic, value=value)

    async def indicate(self, characteristic: Characteristic[bytes], value: bytes) -> None:
        """Return when the other side has confirmed."""
        if self.connection is not None:
            await self._device.indicate_subscriber(self.connection, characteristic, value=value)

    def is_subscribed(self, characteristic: Characteristic[bytes]) -> bool:
        return self.connection is not None and any(self._device.gatt_server.read_cccd(self.connection, characteristic))

    def demand_bond(self) -> None:
        """Nobody subscribes to anything or reads who it is without being paired."""
        for attribute in self._device.gatt_server.attributes:
            if attribute.type == GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR:
                attribute.permissions |= Attribute.Permissions.WRITE_REQUIRES_ENCRYPTION
            elif attribute.type in INFORMATION:
                attribute.permissions |= Attribute.Permissions.READ_REQUIRES_ENCRYPTION

    async def forget_bonds(self) -> None:
        """As the user's reset of the meter does."""
        if self._device.keystore is not None:
            await self._device.keystore.delete_all()

    def _on_connection(self, connection: Connection) -> None:
        self.connection = connection
        self.connections += 1
        self.hung_up.clear()
        connection.on("disconnection", lambda reason: self._on_disconnection())

    def _on_disconnection(self) -> None:
        self.connection = None
        self.hung_up.set()
        self.on_hung_up()

    def on_hung_up(self) -> None:
        """The connection is over, whoever ended it."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class PacedPeripheral(Peripheral):
    """Advertises from ``switch_on`` to ``switch_off`` while nobody is connected; ``pace`` runs while somebody is."""

    _on = False
    _pacing: asyncio.Task[None] | None = None

    async def pace(self, connection: Connection) -> None:
        """What the device does by itself during a connection; cancelled at its end."""
        raise NotImplementedError

    async def switch_on(self) -> None:
        self._on = True
        await self.advertise()

    async def switch_off(self) -> None:
        self._on = False
        await self.quiet()
        await self.hang_up()

    async def withdraw(self) -> None:
        self._on = False
        await super().withdraw()

    def on_hung_up(self) -> None:
        if self._pacing is not None:
            self._pacing.cancel()
            self._pacing = None
        if self._on:
            self.spawn(self.advertise())

    def _on_connection(self, connection: Connection) -> None:
        super()._on_connection(connection)
        self._pacing = self.spawn(self.pace(connection))


class _Display(PairingDelegate):
    """A device with a display and no keys: it shows six digits, which the operator types at the other side."""

    def __init__(self, peripheral: Peripheral, passkey: int) -> None:
        super().__init__(PairingDelegate.DISPLAY_OUTPUT_ONLY)
        self._peripheral, self._passkey = peripheral, passkey

    async def generate_passkey(self) -> int:
        return self._passkey

    async def display_number(self, number: int, digits: int) -> None:
        self._peripheral.displayed_passkey = number


def _information(name: str, serial: str, battery_percent: int) -> list[Service]:
    """Device Information (0x180A) and Battery (0x180F)."""
    texts = {0x2A29: "Xunzhen simulators", 0x2A24: name, 0x2A25: serial}
    information = [_readable(number, text.encode()) for number, text in texts.items()]
    return [
        Service(UUID.from_16_bits(0x180A), information),
        Service(UUID.from_16_bits(0x180F), [_readable(0x2A19, bytes([battery_percent]))]),
    ]


def _readable(number: int, value: bytes) -> Characteristic[bytes]:
    return Characteristic(
        UUID.from_16_bits(number), Characteristic.Properties.READ, Characteristic.Permissions.READABLE, value
    )


def _advertisement(name: str, service: UUID | None) -> bytes:
    """The 31 bytes of legacy advertising; a name that does not fit is shortened."""
    flags = AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE | AdvertisingData.Flags.BR_EDR_NOT_SUPPORTED
    told = bytes(AdvertisingData([data_types.Flags(flags)]))
    if service is not None:
        uuid = service.to_bytes()
        kind = SERVICE_LIST[len(uuid)]
        told += bytes(AdvertisingData([(kind, uuid)]))
    room = ADVERTISEMENT_BYTES - len(told) - 2
    whole = len(name.encode()) <= room
    kind = AdvertisingData.COMPLETE_LOCAL_NAME if whole else AdvertisingData.SHORTENED_LOCAL_NAME
    return told + bytes(AdvertisingData([(kind, name.encode()[:room])]))
