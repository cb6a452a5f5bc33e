"""The clock of a Bluetooth device as Date Time (0x2A08): read by anybody, written over an encrypted link."""

from __future__ import annotations

from datetime import datetime, timedelta

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue

from devices.clock import CHINA_TIME, Clock
from devices.sig import Fields, date_time


class ShownClock:
    """
    :param off: how far the device's clock is ahead of the right time
    """

    def __init__(self, clock: Clock, off: timedelta = timedelta()) -> None:
        self.off = off
        self.written: list[bytes] = []
        """Everything the host wrote to it."""
        self._clock = clock
        permissions = Characteristic.Permissions
        self.characteristic: Characteristic[bytes] = Characteristic(
            UUID.from_16_bits(0x2A08),
            Characteristic.Properties.READ | Characteristic.Properties.WRITE,
            permissions.READABLE | permissions.WRITEABLE | permissions.WRITE_REQUIRES_ENCRYPTION,
            CharacteristicValue(read=self._on_read, write=self._on_write),
        )

    def shown(self) -> datetime:
        """What the display shows, without zone."""
        right = self._clock.now().astimezone(CHINA_TIME).replace(tzinfo=None, microsecond=0)
        return right + self.off

    def _on_read(self, connection: Connection) -> bytes:
        return date_time(self.shown())

    def _on_write(self, connection: Connection, value: bytes) -> None:
        self.written.append(bytes(value))
        wanted = Fields(bytes(value)).date_time()
        if wanted is not None:
            self.off += wanted - self.shown()
