"""Blood-pressure cuffs of the Bluetooth SIG Blood Pressure Service (0x1810).

Models: every cuff that claims the profile (A&D UA-651BLE, Omron with BLP, Beurer BM series, Yuwell BLE, ...).
The cuff advertises for a few seconds after a measurement, indicates the result (and, on many models, results that
never were fetched) as soon as the Blood Pressure Measurement (0x2A35) is subscribed, and hangs up.

This driver only listens: it never writes.

Limits: the Intermediate Cuff Pressure (0x2A36) is not subscribed. User ids are read over and not used: who was measured
is decided on the screen. Sources: Blood Pressure Service 1.1, Blood Pressure Profile 1.1, GATT Specification
Supplement "Blood Pressure Measurement". Not tested on hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from devices.driver import About, Counters, GattUse, Metric, Output
from devices.readings import BloodPressure, DeviceState, Link, Sensor
from devices.sig import Fields, Special, Truncated, said_at

MEASUREMENT = "2A35"
BATTERY_LEVEL = "2A19"

MMHG_PER_KPA = 7.500617

BODY_MOVEMENT = 1 << 0
CUFF_TOO_LOOSE = 1 << 1
IRREGULAR_PULSE = 1 << 2


@dataclass(frozen=True, slots=True)
class Measurement:
    """Blood Pressure Measurement (0x2A35), decoded and nothing more. Pressures in mmHg."""

    systolic_mmhg: float | Special
    diastolic_mmhg: float | Special
    mean_mmhg: float | Special
    shown_at: datetime | None
    pulse_bpm: float | Special | None
    user_id: int | None
    status: int | None


def decode_measurement(value: bytes) -> Measurement:
    """:raises Truncated: the value ends before a field that its flags promise."""
    fields = Fields(value)
    flags = fields.uint8()
    in_kpa, has_time, has_pulse, has_user, has_status = (bool(flags & 1 << bit) for bit in range(5))
    systolic, diastolic, mean = (_mmhg(fields.sfloat(), in_kpa) for _ in range(3))
    return Measurement(
        systolic_mmhg=systolic,
        diastolic_mmhg=diastolic,
        mean_mmhg=mean,
        shown_at=fields.date_time() if has_time else None,
        pulse_bpm=fields.sfloat() if has_pulse else None,
        user_id=fields.uint8() if has_user else None,
        status=fields.uint16() if has_status else None,
    )


def _mmhg(pressure: float | Special, in_kpa: bool) -> float | Special:
    if isinstance(pressure, Special) or not in_kpa:
        return pressure
    return round(pressure * MMHG_PER_KPA, 1)


class Driver:
    about: ClassVar[About] = About(
        title_zh="蓝牙血压计",
        title_en="Bluetooth blood-pressure cuff",
        models=("Bluetooth SIG Blood Pressure Profile 1.0, 1.1",),
        metrics=(
            Metric("systolic_mmhg", 150021, "8480-6", "mm[Hg]"),
            Metric("diastolic_mmhg", 150022, "8462-4", "mm[Hg]"),
            Metric("mean_mmhg", 150023, "8478-0", "mm[Hg]"),
            Metric("pulse_bpm", 149546, "8867-4", "/min"),
        ),
        line=GattUse(service="1810", subscribe=(MEASUREMENT,), read=(BATTERY_LEVEL,)),
        source="Bluetooth SIG Blood Pressure Service 1.1; GATT Specification Supplement, Blood Pressure Measurement",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self) -> None:
        self.counters = Counters()
        self._state = DeviceState(Link.CONNECTED)

    def open(self) -> Output:
        self._state = DeviceState(Link.CONNECTED, battery_percent=self._state.battery_percent)
        return Output()

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        """One characteristic value; an empty ``channel`` means the measurement."""
        if channel in (MEASUREMENT, ""):
            return self._on_measurement(chunk)
        if channel == BATTERY_LEVEL:
            return self._on_battery(chunk)
        self.counters.dropped_bytes += len(chunk)
        return Output()

    def tick(self, elapsed_s: float) -> Output:
        return Output()

    def close(self) -> Output:
        return Output()

    def _on_measurement(self, value: bytes) -> Output:
        try:
            measurement = decode_measurement(value)
        except Truncated:
            self.counters.dropped_bytes += len(value)
            return Output()
        self.counters.frames += 1
        systolic, diastolic = measurement.systolic_mmhg, measurement.diastolic_mmhg
        if isinstance(systolic, Special) or isinstance(diastolic, Special):
            cause = _cause(measurement.status)
            return Output([self._now(sensor=Sensor.ERROR, fault="blood_pressure_not_measured", vendor_text=cause)])
        reading = BloodPressure(
            systolic_mmhg=systolic,
            diastolic_mmhg=diastolic,
            mean_mmhg=_number(measurement.mean_mmhg),
            pulse_bpm=_number(measurement.pulse_bpm),
            irregular_pulse=_bit(measurement.status, IRREGULAR_PULSE),
            body_movement=_bit(measurement.status, BODY_MOVEMENT),
            cuff_too_loose=_bit(measurement.status, CUFF_TOO_LOOSE),
            device_said_at=said_at(measurement.shown_at),
        )
        return Output([reading, self._now(sensor=Sensor.OK, fault=None, vendor_text=None)])

    def _on_battery(self, value: bytes) -> Output:
        if len(value) != 1 or value[0] > 100:
            self.counters.dropped_bytes += len(value)
            return Output()
        return Output([self._now(battery_percent=value[0])])

    def _now(self, **changed: Any) -> DeviceState:
        self._state = replace(self._state, counters=self.counters.as_dict(), **changed)
        return self._state


def _number(value: float | Special | None) -> float | None:
    return None if isinstance(value, Special) else value


def _bit(status: int | None, bit: int) -> bool | None:
    return None if status is None else bool(status & bit)


def _cause(status: int | None) -> str | None:
    """What the cuff says of a measurement that failed, in the words of the service."""
    causes = {BODY_MOVEMENT: "body movement", CUFF_TOO_LOOSE: "cuff too loose", 1 << 5: "improper position"}
    said = [words for bit, words in causes.items() if status is not None and status & bit]
    return ", ".join(said) or None
