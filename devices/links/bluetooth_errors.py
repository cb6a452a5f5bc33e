"""What goes wrong with a Bluetooth device, by what to do next."""

from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode

from devices.errors import LinkLost
from devices.links.bluetooth_agent import BUS_ERRORS


class PairingFailed(LinkLost):
    """Wrong passkey, nobody typed it, or the device forgot us: see ``BluetoothHub.forget``."""

    code = "bluetooth_pairing_failed"


class BondRefused(BleakError):
    """A bonded device breaks each connection while it is made: it was reset, and does not know our key any more."""


WANTS_BOND = (
    BleakGATTProtocolErrorCode.INSUFFICIENT_AUTHENTICATION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION_KEY_SIZE,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION,
)

TRANSIENT = (BleakError, *BUS_ERRORS)
"""Everything that BlueZ, the bus or the radio may throw at a call. ConnectionRefusedError is no BleakError."""


NOT_PAIRED = "Not paired"
"""BlueZ src/gatt-client.c on ATT errors 0x05, 0x0C and 0x0F."""


def wants_bond(reason: BaseException) -> bool:
    """Whether a device refused one characteristic to somebody it is not paired with."""
    if isinstance(reason, BleakGATTProtocolError):
        return reason.code in WANTS_BOND
    return isinstance(reason, BleakDBusError) and reason.dbus_error_details == NOT_PAIRED


def is_about_security(reason: BaseException) -> bool:
    """Whether bluetoothd or the device refused for want of authentication or encryption."""
    if isinstance(reason, BleakGATTProtocolError):
        return reason.code in WANTS_BOND
    return isinstance(reason, BondRefused) or (
        isinstance(reason, BleakDBusError)
        and ("Authentication" in reason.dbus_error or reason.dbus_error == "org.bluez.Error.NotPermitted")
    )
