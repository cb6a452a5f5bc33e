"""What of a connected device's characteristics a driver uses: the variant it has, by name or by what they can do."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.exc import BleakError

from devices.driver import GattUse, full_uuid

WRITES = {"write", "write-without-response"}
SIG_SERVICE = re.compile(full_uuid("18xx").replace("xx", "[0-9a-f]{2}"))
"""Services of the Bluetooth SIG (0x18xx); numbers from 0xF000 on are makers'."""

Found = tuple[GattUse, list[tuple[str, BleakGATTCharacteristic]], BleakGATTCharacteristic | None]
"""The use, the characteristics to listen to by their channel, and the one that writes go to."""


def found_in(client: BleakClient, uses: Iterable[GattUse]) -> Found:
    """The first of ``uses`` that the connected device has.

    :raises BleakError: none of them: another device, or a stale list of services.
    """
    for use in uses:
        if not use.service:
            if (vendor := _vendor_service(client)) is not None:
                return use, *vendor
            continue
        heard = [(name, client.services.get_characteristic(full_uuid(name))) for name in use.subscribe]
        if heard and heard[0][1] is not None:
            write_to = client.services.get_characteristic(full_uuid(use.write)) if use.write else None
            return use, [(name, found) for name, found in heard if found is not None], write_to
    missing = ", ".join(use.subscribe[0] if use.subscribe else "a vendor service" for use in uses)
    raise BleakError(f"{missing} is missing: another device, or the list of services is stale")


def _vendor_service(
    client: BleakClient,
) -> tuple[list[tuple[str, BleakGATTCharacteristic]], BleakGATTCharacteristic] | None:
    """What ``GattUse.service`` "" means."""
    for service in sorted(client.services, key=lambda service: service.handle):
        heard = [one for one in service.characteristics if {"notify", "indicate"} & set(one.properties)]
        written = [one for one in service.characteristics if WRITES & set(one.properties)]
        if heard and written and not SIG_SERVICE.match(service.uuid):
            return [("", one) for one in heard], written[0]
    return None
