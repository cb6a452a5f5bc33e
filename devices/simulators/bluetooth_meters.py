"""A glucose meter and a blood-pressure cuff as Bluetooth devices, with a virtual org.bluez to reach them.

They behave as the real ones do: the meter keeps its results and hands them out through the Record Access Control Point;
the cuff advertises after a measurement, indicates the result once it is subscribed, and hangs up.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from bumble.att import ATT_Error, ErrorCode
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.link import LocalLink

from devices.clock import CHINA_TIME, Clock, SystemClock
from devices.sig import date_time, to_sfloat
from devices.simulators.bluetooth_clock import ShownClock
from devices.simulators.bluetooth_peripheral import Peripheral
from devices.simulators.virtual_bluez import VirtualBlueZ

GLUCOSE_ADDRESS = "F0:F1:F2:18:08:01"
CUFF_ADDRESS = "F0:F1:F2:18:10:01"

IDLE_LIMIT_S = 3.0
"""The meter hangs up so long after its last answer."""
CUFF_HOLD_S = 0.5
"""The cuff hangs up so long after its last result was confirmed."""

PROCEDURE_ALREADY_IN_PROGRESS = 0xFE
CLIENT_CONFIGURATION_IMPROPER = 0xFD

REPORT, DELETE, ABORT, COUNT, RESPONSE, NUMBER = 1, 2, 3, 4, 6, 5
SUCCESS, OPCODE_NOT_SUPPORTED, OPERATOR_NOT_SUPPORTED, INVALID_OPERAND, NO_RECORDS = 1, 2, 4, 5, 6

MeterName = Literal["glucose", "blood_pressure"]

Notified = Characteristic.Properties.NOTIFY
Indicated = Characteristic.Properties.INDICATE
Written = Characteristic.Properties.WRITE
Closed = Characteristic.Permissions(0)


@dataclass(frozen=True, slots=True)
class GlucoseRecord:
    sequence: int
    shown_at: datetime
    """As the meter's display shows it, without zone."""
    glucose_mmol_l: float
    meal: int | None = None
    """Meal code of the context characteristic (1 preprandial .. 5 bedtime); None: no context is sent."""

    def measurement(self) -> bytes:
        """Glucose Measurement (0x2A18): mol/L, capillary whole blood from a finger, status present."""
        flags = 0b0000_1110 | (0b0001_0000 if self.meal is not None else 0)
        value = to_sfloat(round(self.glucose_mmol_l * 100), -5)
        return struct.pack("<BH", flags, self.sequence) + date_time(self.shown_at) + value + b"\x11\x00\x00"

    def context(self) -> bytes:
        """Glucose Measurement Context (0x2A34) with the meal only."""
        return struct.pack("<BHB", 0b0000_0010, self.sequence, self.meal or 0)


def blood_pressure_measurement(systolic_mmhg: int, diastolic_mmhg: int, pulse_bpm: int, shown: datetime) -> bytes:
    """Blood Pressure Measurement (0x2A35): mmHg, time stamp, pulse rate, status "nothing to report"."""
    mean_mmhg = round(diastolic_mmhg + (systolic_mmhg - diastolic_mmhg) / 3)
    pressures = b"".join(to_sfloat(pressure, 0) for pressure in (systolic_mmhg, diastolic_mmhg, mean_mmhg))
    return b"\x16" + pressures + date_time(shown) + to_sfloat(pulse_bpm, 0) + b"\x00\x00"


class GlucoseMeter(Peripheral):
    """Glucose Service (0x1808). Sleeps until it is switched on or has measured; hangs up when nobody asks for more."""

    def __init__(
        self, link: LocalLink, clock: Clock, passkey: int | None = None, address: str = GLUCOSE_ADDRESS
    ) -> None:
        self.records: list[GlucoseRecord] = []
        self.requests: list[bytes] = []
        """Everything written to the control point."""
        self.drop_after: int | None = None
        """Hang up after that many records of the next report, once."""
        self.idle_limit_s = IDLE_LIMIT_S
        self._clock = clock
        self._procedure: asyncio.Task[None] | None = None
        self._awake = False
        self._idle: asyncio.TimerHandle | None = None
        secured = Characteristic.Permissions.WRITEABLE | Characteristic.Permissions.WRITE_REQUIRES_ENCRYPTION
        self._measurement = Characteristic(UUID.from_16_bits(0x2A18), Notified, Closed, b"")
        self._context = Characteristic(UUID.from_16_bits(0x2A34), Notified, Closed, b"")
        feature = Characteristic(
            UUID.from_16_bits(0x2A51), Characteristic.Properties.READ, Characteristic.Permissions.READABLE, b"\x00\x00"
        )
        self._racp: Characteristic[bytes] = Characteristic(
            UUID.from_16_bits(0x2A52), Written | Indicated, secured, CharacteristicValue(write=self._on_request)
        )
        service = Service(UUID.from_16_bits(0x1808), [self._measurement, self._context, feature, self._racp])
        super().__init__(link, "XZ Glucose", address, service, battery_percent=82, passkey=passkey)

    async def switch_on(self) -> None:
        self._awake = True
        await self.advertise()

    async def switch_off(self) -> None:
        self._awake = False
        await self.quiet()
        await self.hang_up()

    async def measure(self, glucose_mmol_l: float, meal: int | None = None, switched_on: bool = True) -> GlucoseRecord:
        """A test strip: the result is stored, and the meter wants to be found.

        :raises ValueError: outside what the display can show (0.6 to 20.45 mmol/L with this encoding).
        """
        if not 0.6 <= glucose_mmol_l <= 20.45:
            raise ValueError(f"glucose {glucose_mmol_l} mmol/L: the meter shows 0.6 to 20.45")
        sequence = self.records[-1].sequence + 1 if self.records else 1
        shown = self._clock.now().astimezone(CHINA_TIME).replace(tzinfo=None, microsecond=0)
        self.records.append(GlucoseRecord(sequence, shown, glucose_mmol_l, meal))
        if switched_on:
            await self.hang_up()
            await self.switch_on()
        return self.records[-1]

    # Record Access Control Point

    def _on_request(self, connection: Connection, request: bytes) -> None:
        self.requests.append(bytes(request))
        if not self.is_subscribed(self._racp):
            raise ATT_Error(ErrorCode(CLIENT_CONFIGURATION_IMPROPER))
        running = self._procedure is not None and not self._procedure.done()
        if running and request[:1] != bytes([ABORT]):
            raise ATT_Error(ErrorCode(PROCEDURE_ALREADY_IN_PROGRESS))
        if running and self._procedure is not None:
            self._procedure.cancel()
        self._stay_awake()
        self._procedure = self.spawn(self._serve(bytes(request)))

    async def _serve(self, request: bytes) -> None:
        opcode = request[0] if request else 0
        if opcode == ABORT:
            return await self._respond(opcode, SUCCESS)
        if opcode not in (REPORT, COUNT) or len(request) < 2:
            return await self._respond(opcode, OPCODE_NOT_SUPPORTED)
        try:
            records = self._select(request[1], request[2:])
        except LookupError as refusal:
            return await self._respond(opcode, refusal.args[0])
        if opcode == COUNT:
            return await self.indicate(self._racp, struct.pack("<BBH", NUMBER, 0, len(records)))
        for index, record in enumerate(records):
            if index == self.drop_after:
                self.drop_after = None
                return await self.hang_up()
            await self.notify(self._measurement, record.measurement())
            if record.meal is not None:
                await self.notify(self._context, record.context())
        return await self._respond(opcode, SUCCESS if records else NO_RECORDS)

    def _select(self, operator: int, operand: bytes) -> list[GlucoseRecord]:
        """:raises LookupError: with the response code of a request that cannot be answered."""
        if operator in (1, 5, 6):
            if operand:
                raise LookupError(INVALID_OPERAND)
            return {1: self.records, 5: self.records[:1], 6: self.records[-1:]}[operator]
        if operator not in (2, 3):
            raise LookupError(OPERATOR_NOT_SUPPORTED)
        if len(operand) != 3 or operand[0] != 1:
            raise LookupError(INVALID_OPERAND)
        limit = int.from_bytes(operand[1:], "little")
        if operator == 2:
            return [record for record in self.records if record.sequence <= limit]
        return [record for record in self.records if record.sequence >= limit]

    async def _respond(self, request: int, code: int) -> None:
        await self.indicate(self._racp, bytes([RESPONSE, 0, request, code]))
        self._stay_awake()

    # the battery

    def _stay_awake(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self.idle_limit_s, lambda: self.spawn(self.switch_off()))

    def on_hung_up(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._procedure is not None:
            self._procedure.cancel()
        if self._awake:
            self.spawn(self.advertise())


class BloodPressureCuff(Peripheral):
    """Blood Pressure Service (0x1810). Results that nobody fetched are kept and come with the next ones.

    :param clock_off: how far its clock is ahead; None: it shows no clock to the host
    """

    def __init__(
        self,
        link: LocalLink,
        clock: Clock,
        passkey: int | None = None,
        address: str = CUFF_ADDRESS,
        clock_off: timedelta | None = None,
    ) -> None:
        self.waiting: list[bytes] = []
        self.delay_s = 0.0
        """Between the subscription and the first result."""
        self.hold_s = CUFF_HOLD_S
        self.clock = ShownClock(clock, clock_off or timedelta())
        self._on = True
        self._measurement = Characteristic(UUID.from_16_bits(0x2A35), Indicated, Closed, b"")
        self._measurement.on("subscription", self._on_subscription)
        feature = Characteristic(
            UUID.from_16_bits(0x2A49), Characteristic.Properties.READ, Characteristic.Permissions.READABLE, b"\x07\x00"
        )
        clocks = [] if clock_off is None else [self.clock.characteristic]
        service = Service(UUID.from_16_bits(0x1810), [self._measurement, feature, *clocks])
        super().__init__(link, "XZ Cuff", address, service, battery_percent=64, passkey=passkey)

    async def switch_on(self) -> None:
        self._on = True
        if self.waiting:
            await self.advertise()

    async def switch_off(self) -> None:
        self._on = False
        await self.quiet()
        await self.hang_up()

    async def measure(self, systolic_mmhg: int, diastolic_mmhg: int, pulse_bpm: int) -> None:
        """:raises ValueError: not a result of a cuff (20 to 280 mmHg, diastolic below systolic, 30 to 240/min)."""
        if not 20 <= diastolic_mmhg < systolic_mmhg <= 280 or not 30 <= pulse_bpm <= 240:
            raise ValueError(
                f"blood pressure {systolic_mmhg}/{diastolic_mmhg} mmHg, {pulse_bpm}/min: no cuff shows this"
            )
        value = blood_pressure_measurement(systolic_mmhg, diastolic_mmhg, pulse_bpm, self.clock.shown())
        self.waiting.append(value)
        if self._on:
            await self.advertise()

    def _on_subscription(self, connection: Connection, notify: bool, indicate: bool) -> None:
        if indicate:
            self.spawn(self._hand_out())

    async def _hand_out(self) -> None:
        await asyncio.sleep(self.delay_s)
        while self.waiting and self.connection is not None:
            await self.indicate(self._measurement, self.waiting[0])
            self.waiting.pop(0)
        await asyncio.sleep(self.hold_s)
        await self.hang_up()

    def on_hung_up(self) -> None:
        if self.waiting and self._on:
            self.spawn(self.advertise())


class BluetoothMeters:
    """Both meters behind one virtual adapter. ``folder`` holds the bus socket: the same folder, the same address."""

    def __init__(self, folder: Path | None = None, clock: Clock | None = None, passkey: int | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="xunzhen-bus-") if folder is None else None
        self._folder = folder or Path(self._temporary.name if self._temporary else "")
        clock = clock or SystemClock()
        link = LocalLink()  # type: ignore[no-untyped-call]
        self.radio = link
        """Whatever else is to be in reach is made with it."""
        self.bluez = VirtualBlueZ(link, self._folder)
        self.glucose_meter = GlucoseMeter(link, clock, passkey)
        self.cuff = BloodPressureCuff(link, clock)
        self._meters: dict[str, GlucoseMeter | BloodPressureCuff] = {
            "glucose": self.glucose_meter,
            "blood_pressure": self.cuff,
        }
        self.plugged = {"glucose": True, "blood_pressure": True}

    async def start(self) -> str:
        """Start bus, adapter and devices; the address is for DBUS_SYSTEM_BUS_ADDRESS.

        :raises DbusDaemonMissing: dbus-daemon is not installed; the message names the package.
        """
        logging.getLogger("bumble").setLevel(logging.ERROR)  # it tells every ATT packet that came late
        address = await self.bluez.start()
        for meter in self._meters.values():
            await meter.switch_on()
        return address

    async def stop(self) -> None:
        for meter in self._meters.values():
            await meter.switch_off()
        await self.bluez.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def plug(self, device: MeterName) -> None:
        """Batteries in, in reach. ``KeyError`` for any other name."""
        await self._meters[device].switch_on()
        self.plugged[device] = True

    async def unplug(self, device: MeterName) -> None:
        await self._meters[device].switch_off()
        self.plugged[device] = False

    async def glucose(self, glucose_mmol_l: float) -> None:
        await self.glucose_meter.measure(glucose_mmol_l, switched_on=self.plugged["glucose"])

    async def blood_pressure(self, systolic_mmhg: int, diastolic_mmhg: int, pulse_bpm: int) -> None:
        await self.cuff.measure(systolic_mmhg, diastolic_mmhg, pulse_bpm)
