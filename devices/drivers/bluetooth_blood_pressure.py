"""Blood-pressure cuffs of the Bluetooth SIG Blood Pressure Service (0x1810).

Models: every cuff that claims the profile (A&D UA-651BLE, Omron with BLP, Beurer BM series, Yuwell BLE, ...).
The cuff advertises for a few seconds after a measurement, indicates the result (and, on many models, results that
never were fetched) as soon as the Blood Pressure Measurement (0x2A35) is subscribed, and hangs up.

Some cuffs (A&D UA-651BLE) keep results with the date of a clock that nothing else can set: the operator may allow it to
be set, see ``devices.sig_profile``. Nothing else is ever written.

Limits: the Intermediate Cuff Pressure (0x2A36) is not subscribed. User ids are read over and not used: who was measured
is decided on the screen. Sources: Blood Pressure Service 1.1, Blood Pressure Profile 1.1, GATT Specification
Supplement "Blood Pressure Measurement". Not tested on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from devices.driver import About, GattUse, Output
from devices.nomenclature import metrics
from devices.readings import BloodPressure, Sensor
from devices.sig import Fields, Special, said_at
from devices.sig_profile import CLOCK_WRITES, READ, ProfileDriver, Take, above_zero

MEASUREMENT = "2A35"

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


class Driver(ProfileDriver):
    about: ClassVar[About] = About(
        title_zh="蓝牙血压计",
        title_en="Bluetooth blood-pressure cuff",
        models=("Bluetooth SIG Blood Pressure Profile 1.0, 1.1",),
        metrics=metrics("blood_pressure", "systolic_mmhg", "diastolic_mmhg", "mean_mmhg", "pulse_bpm"),
        line=GattUse(service="1810", subscribe=(MEASUREMENT,), read=READ),
        source="Bluetooth SIG Blood Pressure Service 1.1; GATT Specification Supplement, Blood Pressure Measurement",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = CLOCK_WRITES

    def takes(self) -> Mapping[str, Take]:
        return {MEASUREMENT: self._on_measurement}

    def _on_measurement(self, value: bytes) -> Output:
        measurement = decode_measurement(value)
        systolic, diastolic = above_zero(measurement.systolic_mmhg), above_zero(measurement.diastolic_mmhg)
        if systolic is None or diastolic is None:
            cause = _cause(measurement.status)
            return Output([self.now(sensor=Sensor.ERROR, fault="blood_pressure_not_measured", vendor_text=cause)])
        reading = BloodPressure(
            systolic_mmhg=systolic,
            diastolic_mmhg=diastolic,
            mean_mmhg=above_zero(measurement.mean_mmhg),
            pulse_bpm=above_zero(measurement.pulse_bpm),
            irregular_pulse=_bit(measurement.status, IRREGULAR_PULSE),
            body_movement=_bit(measurement.status, BODY_MOVEMENT),
            cuff_too_loose=_bit(measurement.status, CUFF_TOO_LOOSE),
            device_said_at=said_at(measurement.shown_at),
        )
        return Output([reading, self.now(sensor=Sensor.OK, fault=None, vendor_text=None)])


def _bit(status: int | None, bit: int) -> bool | None:
    return None if status is None else bool(status & bit)


def _cause(status: int | None) -> str | None:
    """What the cuff says of a measurement that failed, in the words of the service."""
    causes = {BODY_MOVEMENT: "body movement", CUFF_TOO_LOOSE: "cuff too loose", 1 << 5: "improper position"}
    said = [words for bit, words in causes.items() if status is not None and status & bit]
    return ", ".join(said) or None
