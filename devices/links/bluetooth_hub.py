"""The Bluetooth adapter through BlueZ: one scan for all devices, one connection attempt at a time.

``BluetoothHub`` scans without end, with a callback, and hands each device that is heard to the link it matches best
(``devices.links.bluetooth_link``). What the rules here answer to is in hardware/protocols/bluetooth-link.md:
- The scan asks for duplicate data: otherwise bluetoothd does not tell a device that advertises again at the same RSSI.
- A scan can go deaf without an error: it is judged by advertisements heard, and started anew after silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from weakref import WeakSet

from bleak import BleakScanner
from bleak.args.bluez import BlueZDiscoveryFilters, BlueZScannerArgs
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError

from devices.clock import Clock
from devices.driver import Match, full_uuid
from devices.errors import LinkLost
from devices.events import emit
from devices.links.bluetooth_agent import BUS_ERRORS, AskPasskey, BluezBus, refuse_passkey
from devices.links.bluetooth_errors import TRANSIENT
from devices.links.bluetooth_limits import Limits
from devices.links.bluetooth_link import Advertised, BluetoothLink
from devices.links.bluetooth_turn import ConnectTurn

ADAPTER = "adapter"
"""Whose turn it is when the scan or the adapter itself is started anew."""


class BluetoothHub:
    """The adapter, shared by all Bluetooth devices. Starts with the first ``open`` of a link; end it with ``stop``."""

    def __init__(self, clock: Clock, ask_passkey: AskPasskey = refuse_passkey, limits: Limits | None = None) -> None:
        self.fault: str | None = None
        """"bluetooth_off" while there is no working adapter."""
        self.limits = limits or Limits()
        self.clock = clock
        self.turn = ConnectTurn()
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
                    bluez = BluezBus(self._ask, self._claimed.__contains__)
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
        async with self.turn.of(ADAPTER):
            emit("bluetooth_adapter_restarted", silent_scans=silent)
            await bluez.power_cycle()

    async def _scan_until_deaf(self, bluez: BluezBus) -> None:
        """Return when the scan should be started anew.

        :raises TRANSIENT: Bluetooth went away.
        """
        self._services_changed.clear()
        async with self.turn.of(ADAPTER):
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

    async def _ask(self, address: str) -> int | None:
        """A person looks for digits: the others connect meanwhile."""
        async with self.turn.question(address):
            return await self._ask_passkey(address)

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
