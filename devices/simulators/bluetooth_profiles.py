"""An oximeter, a thermometer, a scale and a heart-rate strap of the Bluetooth SIG profiles, for the virtual org.bluez.

They behave as the real ones do: thermometer and scale advertise after a measurement, indicate what nobody fetched, and
hang up; oximeter and strap advertise while they are worn and notify once a second.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from datetime import timedelta

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.link import LocalLink

from devices.clock import Clock
from devices.sig import date_time, to_float32, to_sfloat
from devices.simulators.bluetooth_clock import ShownClock
from devices.simulators.bluetooth_peripheral import PacedPeripheral, Peripheral

THERMOMETER_ADDRESS = "F0:F1:F2:18:09:01"
SCALE_ADDRESS = "F0:F1:F2:18:1D:01"
OXIMETER_ADDRESS = "F0:F1:F2:18:22:01"
STRAP_ADDRESS = "F0:F1:F2:18:0D:01"

HOLD_S = 0.5
"""A meter hangs up so long after its last result was confirmed."""
PACE_S = 1.0

NAN = b"\xff\x07"
SENSOR_UNCONNECTED = 1 << 11

Notified = Characteristic.Properties.NOTIFY
Indicated = Characteristic.Properties.INDICATE
Written = Characteristic.Properties.WRITE
Closed = Characteristic.Permissions(0)


def _characteristic(number: int, properties: Characteristic.Properties) -> Characteristic[bytes]:
    return Characteristic(UUID.from_16_bits(number), properties, Closed, b"")


def _readable(number: int, value: bytes) -> Characteristic[bytes]:
    properties, permissions = Characteristic.Properties.READ, Characteristic.Permissions.READABLE
    return Characteristic(UUID.from_16_bits(number), properties, permissions, value)


class IndicatingMeter(Peripheral):
    """Keeps its results until somebody subscribes, hands them out in order, and hangs up."""

    def __init__(
        self,
        link: LocalLink,
        clock: Clock,
        name: str,
        address: str,
        service: int,
        results: Characteristic[bytes],
        others: Iterable[Characteristic[bytes]],
        passkey: int | None,
    ) -> None:
        self.waiting: list[tuple[Characteristic[bytes], bytes]] = []
        self.hold_s = HOLD_S
        self.clock = ShownClock(clock)
        self._on = True
        self._results = results
        self._handing_out: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()
        others = list(others)
        for characteristic in (results, *others):
            characteristic.on("subscription", lambda *_: self._subscribed.set())
        results.on("subscription", self._on_subscription)
        served = Service(UUID.from_16_bits(service), [results, *others, self.clock.characteristic])
        super().__init__(link, name, address, served, battery_percent=71, passkey=passkey)

    async def switch_on(self) -> None:
        self._on = True
        if self.waiting:
            await self.advertise()

    async def switch_off(self) -> None:
        self._on = False
        await self.quiet()
        await self.hang_up()

    async def withdraw(self) -> None:
        self._on = False
        await super().withdraw()

    async def keep(self, value: bytes, characteristic: Characteristic[bytes] | None = None) -> None:
        """A result is there; the meter wants to be found."""
        self.waiting.append((characteristic or self._results, value))
        if self._on:
            await self.advertise()

    def _on_subscription(self, connection: Connection, notify: bool, indicate: bool) -> None:
        if indicate:
            self._handing_out = self.spawn(self._hand_out())

    async def _hand_out(self) -> None:
        while self.waiting and self.connection is not None:
            characteristic, value = self.waiting[0]
            while not self.is_subscribed(characteristic):  # the host subscribes one after the other
                self._subscribed.clear()
                await self._subscribed.wait()
            await self.indicate(characteristic, value)
            self.waiting.pop(0)
        await asyncio.sleep(self.hold_s)
        await self.hang_up()

    def on_hung_up(self) -> None:
        if self._handing_out is not None:
            self._handing_out.cancel()
        if self.waiting and self._on:
            self.spawn(self.advertise())


class Thermometer(IndicatingMeter):
    """Health Thermometer Service (0x1809), in the ear."""

    def __init__(self, link: LocalLink, clock: Clock, passkey: int | None = None) -> None:
        others = [_readable(0x2A1D, b"\x03")]
        measurement = _characteristic(0x2A1C, Indicated)
        super().__init__(link, clock, "XZ Thermo", THERMOMETER_ADDRESS, 0x1809, measurement, others, passkey)

    async def measure(self, temperature_c: float) -> None:
        """:raises ValueError: not what a thermometer shows (20 to 45 degrees)."""
        if not 20 <= temperature_c <= 45:
            raise ValueError(f"{temperature_c} °C: no thermometer shows this")
        value = to_float32(round(temperature_c * 100), -2)
        await self.keep(b"\x02" + value + date_time(self.clock.shown()))

    async def fail(self) -> None:
        """Taken away too soon: NaN."""
        await self.keep(b"\x00\xff\xff\x7f\x00")


class Scale(IndicatingMeter):
    """Weight Scale Service (0x181D); with ``body_fat`` also Body Composition, in the same service here."""

    def __init__(self, link: LocalLink, clock: Clock, passkey: int | None = None, body_fat: bool = False) -> None:
        self._composition = _characteristic(0x2A9C, Indicated)
        others = [_readable(0x2A9E, struct.pack("<I", 0))]
        if body_fat:
            others += [_readable(0x2A9B, struct.pack("<I", 0)), self._composition]
        super().__init__(
            link, clock, "XZ Scale", SCALE_ADDRESS, 0x181D, _characteristic(0x2A9D, Indicated), others, passkey
        )

    async def measure(self, weight_kg: float, body_fat_percent: float | None = None) -> None:
        """:raises ValueError: not what a scale shows (1 to 300 kg)."""
        if not 1 <= weight_kg <= 300:
            raise ValueError(f"{weight_kg} kg: no scale shows this")
        at = date_time(self.clock.shown())
        await self.keep(b"\x02" + struct.pack("<H", round(weight_kg / 0.005)) + at)
        if body_fat_percent is not None:
            await self.keep(struct.pack("<HH", 0x0002, round(body_fat_percent * 10)) + at, self._composition)


class StreamingSensor(PacedPeripheral):
    """Advertises while it is worn; notifies what ``spoken`` says once a second while somebody listens."""

    def __init__(
        self,
        link: LocalLink,
        clock: Clock,
        name: str,
        address: str,
        service: int,
        notified: Characteristic[bytes],
        others: Iterable[Characteristic[bytes]] = (),
        passkey: int | None = None,
    ) -> None:
        self.notified = notified
        self._clock = clock
        served = Service(UUID.from_16_bits(service), [notified, *others])
        super().__init__(link, name, address, served, battery_percent=58, passkey=passkey)

    def spoken(self) -> bytes:
        """The value of this second."""
        raise NotImplementedError

    async def pace(self, connection: Connection) -> None:
        while True:
            if self.is_subscribed(self.notified):
                await self.notify(self.notified, self.spoken())
            await self._clock.sleep(PACE_S)


class Oximeter(StreamingSensor):
    """Pulse Oximeter Service (0x1822): continuous measurement, and spot checks in a memory."""

    def __init__(self, link: LocalLink, clock: Clock, passkey: int | None = None) -> None:
        self.finger: tuple[int, int] | None = None
        """(SpO2, pulse) while a finger is in."""
        self.spot_checks: list[bytes] = []
        self.requests: list[bytes] = []
        """Everything written to the control point."""
        self.clock = ShownClock(clock, timedelta(minutes=-7))
        self._spot_check = _characteristic(0x2A5E, Indicated)
        permissions = Characteristic.Permissions
        self._racp: Characteristic[bytes] = Characteristic(
            UUID.from_16_bits(0x2A52),
            Written | Indicated,
            permissions.WRITEABLE | permissions.WRITE_REQUIRES_ENCRYPTION,
            CharacteristicValue(write=self._on_request),
        )
        features = _readable(0x2A60, struct.pack("<H", 1 << 2 | 1 << 3))
        others = [self._spot_check, features, self._racp, self.clock.characteristic]
        notified = _characteristic(0x2A5F, Notified)
        super().__init__(link, clock, "XZ Oximeter", OXIMETER_ADDRESS, 0x1822, notified, others, passkey)

    def spoken(self) -> bytes:
        """PLX Continuous Measurement with device and sensor status."""
        if self.finger is None:
            return b"\x08" + NAN + NAN + SENSOR_UNCONNECTED.to_bytes(3, "little")
        spo2, pulse = self.finger
        return b"\x08" + to_sfloat(spo2, 0) + to_sfloat(pulse, 0) + bytes(3)

    def check(self, spo2_percent: int, pulse_bpm: int) -> None:
        """A spot check goes to the memory, with the time that the display shows."""
        numbers = to_sfloat(spo2_percent, 0) + to_sfloat(pulse_bpm, 0)
        self.spot_checks.append(b"\x01" + numbers + date_time(self.clock.shown()))

    def _on_request(self, connection: Connection, request: bytes) -> None:
        self.requests.append(bytes(request))
        if bytes(request) == b"\x01\x01":
            self.spawn(self._report())

    async def _report(self) -> None:
        for value in self.spot_checks:
            await self.indicate(self._spot_check, value)
        await self.indicate(self._racp, bytes([6, 0, 1, 1 if self.spot_checks else 6]))


class HeartRateStrap(StreamingSensor):
    """Heart Rate Service (0x180D) with contact and RR intervals."""

    def __init__(self, link: LocalLink, clock: Clock) -> None:
        self.heart_rate_bpm: int | None = None
        """None: not on the skin."""
        notified = _characteristic(0x2A37, Notified)
        super().__init__(link, clock, "XZ Strap", STRAP_ADDRESS, 0x180D, notified)

    def spoken(self) -> bytes:
        if self.heart_rate_bpm is None:
            return b"\x04\x00"
        interval = round(1024 * 60 / self.heart_rate_bpm)
        return struct.pack("<BBH", 0x16, self.heart_rate_bpm, interval)
