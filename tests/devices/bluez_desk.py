"""A desk with a real BlueZ (tests/appliance) on it: simulated meters in reach, the production hub and sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from bluetooth_bench import Bench
from bumble.controller import Controller
from bumble.core import AdvertisingData
from bumble.device import Device, DeviceConfiguration
from bumble.hci import Address

from devices.clock import SystemClock
from devices.driver import Write
from devices.drivers import bluetooth_blood_pressure, bluetooth_glucose
from devices.links.bluetooth_agent import AskPasskey, refuse_passkey
from devices.links.bluetooth_hub import BluetoothHub
from devices.links.bluetooth_limits import Limits
from devices.links.bluetooth_link import BluetoothLink
from devices.simulators.bluetooth_meters import BloodPressureCuff, GlucoseMeter
from tests.appliance.air import Air, open_air
from tests.appliance.image import ApplianceMissing, cache_folder, find_image
from tests.appliance.machine import Appliance

GLUCOSE_LINE = bluetooth_glucose.Driver.about.line
CUFF_LINE = bluetooth_blood_pressure.Driver.about.line
RACP = bluetooth_glucose.RACP

PATIENCE_S = 120.0
"""A machine without KVM on two busy cores; a passing test waits for events and does not need it."""

UNHURRIED = Limits(
    connect_s=40.0, pair_s=40.0, call_s=40.0, idle_s=PATIENCE_S, deaf_s=20.0, retry_first_s=0.05, retry_most_s=0.5
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def air() -> AsyncIterator[Air]:
    """One machine with one adapter for all tests of the module, and the bus address of it in the environment."""
    try:
        appliance = Appliance(await asyncio.to_thread(find_image, cache_folder()))
        await appliance.start()
    except ApplianceMissing as reason:
        pytest.skip(f"skipped: no BlueZ appliance: {reason}")
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DBUS_SYSTEM_BUS_ADDRESS", appliance.bus_address)
            environment.setenv("BLEAK_DBUS_AUTH_UID", "0")
            async with open_air(appliance) as air:
                yield air
    finally:
        await appliance.stop()


class BluezBench(Bench):
    patience_s = PATIENCE_S


class Desk:
    """What lies on it. Devices are told apart by number; sessions and values are those of ``bench``."""

    def __init__(self, air: Air) -> None:
        self.air = air
        self.bench = BluezBench(None, BluetoothHub(SystemClock(), refuse_passkey, UNHURRIED))
        self._devices: list[GlucoseMeter | BloodPressureCuff | Foreigner] = []

    @property
    def hub(self) -> BluetoothHub:
        return self.bench.hub

    def let_operator(self, ask_passkey: AskPasskey) -> None:
        """A hub whose operator answers so; before the first device is attached."""
        self.bench.hub = BluetoothHub(SystemClock(), ask_passkey, UNHURRIED)

    def glucose_meter(self, number: int = 1, passkey: int | None = None) -> GlucoseMeter:
        meter: GlucoseMeter = self._lay(
            GlucoseMeter(self.air.link, SystemClock(), passkey, f"F0:F1:F2:18:08:{number:02X}")
        )
        meter.idle_limit_s = PATIENCE_S  # else a busy machine loses it between two questions
        return meter

    def cuff(self, number: int = 1, passkey: int | None = None) -> BloodPressureCuff:
        return self._lay(BloodPressureCuff(self.air.link, SystemClock(), passkey, f"F0:F1:F2:18:10:{number:02X}"))

    def foreigner(self, number: int) -> Foreigner:
        return self._lay(Foreigner(self.air, number))

    def _lay(self, device: Any) -> Any:
        self._devices.append(device)
        return device

    async def clear(self) -> None:
        await self.bench.close()
        for device in self._devices:
            await device.withdraw()
        await self.air.revive()
        await self.air.forget_all()

    async def until(self, done: Callable[[], Any]) -> None:
        await self.bench.until(done)


@asynccontextmanager
async def laid_desk(air: Air) -> AsyncIterator[Desk]:
    await air.revive()
    desk = Desk(air)
    try:
        yield desk
    finally:
        await desk.clear()


class Foreigner:
    """A device that is none of ours: a beacon, a neighbour's watch. It only advertises."""

    def __init__(self, air: Air, number: int) -> None:
        controller = Controller(f"foreigner-{number}", link=air.link)
        address = Address(f"C1:F0:F0:00:00:{number:02X}")
        configuration = DeviceConfiguration(
            name=f"watch-{number}", address=address, advertising_interval_min=200.0, advertising_interval_max=200.0
        )
        self._air, self._controller = air, controller
        self._device = Device.from_config_with_hci(configuration, controller, controller)
        self._device.advertising_data = bytes(
            AdvertisingData(
                [
                    (AdvertisingData.FLAGS, b"\x06"),
                    (AdvertisingData.COMPLETE_LOCAL_NAME, f"watch-{number}".encode()),
                    (AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, b"\x0d\x18"),
                ]
            )
        )

    async def advertise(self) -> None:
        await self._device.power_on()
        await self._device.start_advertising(auto_restart=True)

    async def withdraw(self) -> None:
        await self._device.stop_advertising()
        self._air.link.remove_controller(self._controller)


async def fill(meter: GlucoseMeter, count: int) -> None:
    """Results as if measured before, one a sequence number."""
    for index in range(count):
        await meter.measure(4.0 + index % 100 / 10, meal=3 if index % 2 else None, switched_on=False)


async def ask(link: BluetoothLink, request: bytes, answers: int = 1) -> list[tuple[str, bytes]]:
    """Write to the control point; everything up to and with so many answers of it."""
    await link.write(Write(request, RACP))
    heard: list[tuple[str, bytes]] = []
    async with asyncio.timeout(PATIENCE_S):
        while sum(channel == RACP for channel, _ in heard) < answers:
            heard.append(await link.receive())
    return heard
