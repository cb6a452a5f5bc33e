"""The van on its own network: it announces its touchscreen service and sees which devices announce themselves.

DNS-SD over mDNS (RFC 6763, RFC 6762) with zeroconf. Pages that are only served on the loopback are only announced on
the loopback. What is found is shown on the status page; nothing connects by itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devices.events import emit
from vehicle.settings import VehicleSettings

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncZeroconf

SERVICE = "_xunzhen._tcp.local."
DEVICE_KINDS = {
    "_dicom._tcp.local.": "dicom",
    "_acr-nema._tcp.local.": "dicom",
    "_rtsp._tcp.local.": "camera",
    "_ipp._tcp.local.": "printer",
    "_gpsd._tcp.local.": "gpsd",
    "_xunzhen-device._tcp.local.": "device",
}
"""Registered service types (IANA) of what stands in a van, and our own for bridges and simulators."""


@dataclass(frozen=True, slots=True)
class NetworkDevice:
    """``address`` and ``port`` as the device announced them."""

    name: str
    kind: str
    address: str
    port: int


class Announcer:
    """
    :ivar found: network devices that announce themselves now, by their full service name
    """

    def __init__(self, settings: VehicleSettings, port: int) -> None:
        self._settings = settings
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.found: dict[str, NetworkDevice] = {}

    async def run(self) -> None:
        """The service: announce and look until cancelled. Without a usable interface it logs once and ends."""
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        interfaces = self._interfaces()
        try:
            version = IPVersion.V6Only if ":" in interfaces[0] else IPVersion.V4Only
            mdns = AsyncZeroconf(interfaces=interfaces, ip_version=version)
        except (OSError, RuntimeError) as fault:  # the latter: no adapter has the address
            emit("announcing_impossible", level=logging.WARNING, reason=str(fault))
            return
        try:
            await self._announce(mdns)
            browser = AsyncServiceBrowser(mdns.zeroconf, list(DEVICE_KINDS), handlers=[self._changed])
            try:
                await asyncio.Event().wait()
            finally:
                await browser.async_cancel()
        finally:
            await mdns.async_unregister_all_services()
            await mdns.async_close()

    def _interfaces(self) -> list[str]:
        host = self._settings.touchscreen.host
        if ipaddress.ip_address(host).is_loopback:
            return ["127.0.0.1"]
        return [host]

    async def _announce(self, mdns: AsyncZeroconf) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        vehicle = self._settings.vehicle
        address = ipaddress.ip_address(self._settings.touchscreen.host)
        info = AsyncServiceInfo(
            SERVICE,
            f"{vehicle.id}.{SERVICE}",
            addresses=None if address.is_unspecified else [address.packed],
            port=self._port,
            properties={"vehicle": vehicle.id, "origin": vehicle.origin, "path": "/"},
            server=f"{vehicle.id}.local.",
        )
        await mdns.async_register_service(info, allow_name_change=True)

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        from zeroconf import ServiceStateChange as Change

        if state_change is Change.Removed:
            gone = self.found.pop(name, None)
            if gone is not None:
                emit("network_device_gone", name=gone.name, kind=gone.kind)
            return
        task = asyncio.get_running_loop().create_task(self._look_up(zeroconf, service_type, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(service_type, name)
        if not await info.async_request(zeroconf, timeout=3000):
            return
        addresses = info.parsed_addresses()
        kind = DEVICE_KINDS[service_type]
        new = name not in self.found
        label = name.removesuffix("." + service_type)
        self.found[name] = NetworkDevice(label, kind, addresses[0] if addresses else "", info.port or 0)
        if new:
            emit("network_device_found", name=label, kind=kind)
