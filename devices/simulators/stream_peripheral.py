"""Any twin as a Bluetooth device of its maker's own protocol: it notifies what the twin sends, and feeds the twin."""

from __future__ import annotations

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.link import LocalLink

from devices.clock import Clock
from devices.driver import GattUse
from devices.simulators.bluetooth_peripheral import PacedPeripheral
from devices.simulators.twin import Twin

STEP_S = 0.02
NOTIFICATION_HEAD = 3
"""Bytes of the MTU that are not value."""

Properties = Characteristic.Properties


class StreamPeripheral(PacedPeripheral):
    """What the twin sends, over one connection at a time.

    Notifications are as long as the MTU of the connection allows, and at most ``cut_at``: frames are cut and joined
    without regard to where they begin. While nobody has subscribed, time stands still for the twin.
    """

    def __init__(
        self,
        link: LocalLink,
        clock: Clock,
        twin: Twin,
        name: str,
        address: str,
        use: GattUse,
        *,
        service: str = "",
        notify: str = "",
        write: str = "",
        tells_service: bool = True,
        with_response: bool = True,
        battery_percent: int = 77,
    ) -> None:
        """
        :param use: how a driver uses it; ``service``, ``notify`` and ``write`` are for what it leaves open
        :param with_response: writes are requests; else commands
        """
        self.twin = twin
        self.cut_at = 512
        self.written: list[bytes] = []
        """Everything the host wrote."""
        self._clock = clock
        self._unsent = bytearray()
        written = Properties.WRITE if with_response else Properties.WRITE_WITHOUT_RESPONSE
        notify, write = notify or use.subscribe[0], write or use.write
        both_ways = notify == write
        self._notified: Characteristic[bytes] = Characteristic(
            UUID(notify),
            Properties.NOTIFY | written if both_ways else Properties.NOTIFY,
            Characteristic.Permissions.WRITEABLE,
            CharacteristicValue(write=self._on_write) if both_ways else b"",
        )
        characteristics = [self._notified]
        if not both_ways:
            value = CharacteristicValue(write=self._on_write)
            characteristics.append(Characteristic(UUID(write), written, Characteristic.Permissions.WRITEABLE, value))
        served = Service(UUID(service or use.service), characteristics)
        super().__init__(link, name, address, served, battery_percent, passkey=None, tells_service=tells_service)

    async def switch_on(self) -> None:
        self.twin.power_on()
        await super().switch_on()

    def on_hung_up(self) -> None:
        self._unsent.clear()
        super().on_hung_up()

    def _on_write(self, connection: Connection, value: bytes) -> None:
        self.written.append(bytes(value))
        self._unsent += self.twin.receive(bytes(value))

    async def pace(self, connection: Connection) -> None:
        """Real time: what a stall of ours held up is sent after it."""
        before_s = self._clock.monotonic_s()
        while True:
            await self._clock.sleep(STEP_S)
            now_s = self._clock.monotonic_s()
            elapsed_s, before_s = now_s - before_s, now_s
            if not self.is_subscribed(self._notified):
                continue
            self._unsent += self.twin.advance(elapsed_s)
            size = min(self.cut_at, connection.att_mtu - NOTIFICATION_HEAD)
            while self._unsent:
                piece = bytes(self._unsent[:size])
                del self._unsent[:size]
                await self.notify(self._notified, piece)
