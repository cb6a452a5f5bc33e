"""Pulse oximeters of the Bluetooth SIG Pulse Oximeter Service (0x1822).

Models: every oximeter that claims the profile (Nonin 3150/3230, Masimo MightySat Rx, Beurer PO 60 with SIG firmware,
Jumper JPD-500G, ...). Two kinds of measurement: continuous (0x2A5F, notified about once a second) is shown live; a spot
check (0x2A5E, indicated) is a finished value, also one from the memory of the oximeter, which is asked for through the
Record Access Control Point where the features (0x2A60) say that there is one. Records carry a time and no number, so a
record that comes again is known by its time and value, and the memory is never cleared by us.

A number is published at most once a second and taken back once the finger is out (device and sensor status, or NaN in
its place), or after ``WITHDRAW_AFTER_S`` of silence. What the oximeter marks as demonstration or test is no reading.

Limits: SpO2PR-Fast and -Slow are read over. Sources: Pulse Oximeter Service 1.0.1, sections 3.1 to 3.4; GATT
Specification Supplement (PLX Continuous Measurement, PLX Spot-Check Measurement, PLX Features). Not tested on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from devices.driver import About, GattUse, Output, Write
from devices.nomenclature import metrics
from devices.readings import PulseOximetry, Sensor
from devices.sig import Fields, Special, said_at
from devices.sig_profile import READ, ProfileDriver, Take, number
from devices.sig_records import ABORT, ALL_RECORDS, NOT_COMPLETED, RACP, REPORT, Response, decode_racp

SPOT_CHECK, CONTINUOUS, FEATURES = "2A5E", "2A5F", "2A60"

STORES_SPOT_CHECKS = 1 << 2
"""Bit of Supported Features."""

MEASUREMENT_STATUS = {
    "demonstration": 1 << 10,
    "test": 1 << 11,
    "calibrating": 1 << 12,
    "unavailable": 1 << 13,
    "questionable": 1 << 14,
    "invalid": 1 << 15,
}
SENSOR_STATUS = {
    "equipment malfunction": 1 << 1,
    "inadequate signal": 1 << 3,
    "sensor unconnected to user": 1 << 11,
    "unknown sensor": 1 << 12,
    "sensor displaced": 1 << 13,
    "sensor malfunctioning": 1 << 14,
    "sensor disconnected": 1 << 15,
}
NOBODYS = MEASUREMENT_STATUS["demonstration"] | MEASUREMENT_STATUS["test"]
NO_NUMBER = MEASUREMENT_STATUS["unavailable"] | MEASUREMENT_STATUS["invalid"] | MEASUREMENT_STATUS["calibrating"]
FINGER_OUT = (
    SENSOR_STATUS["sensor unconnected to user"]
    | SENSOR_STATUS["sensor displaced"]
    | SENSOR_STATUS["sensor disconnected"]
)
BROKEN = SENSOR_STATUS["equipment malfunction"] | SENSOR_STATUS["sensor malfunctioning"]

NUMBERS_APART_S = 0.75
"""A device that says one a second, not quite evenly, is heard each time; one that says more is not."""
WITHDRAW_AFTER_S = 1.9
ANSWER_LIMIT_S = 30.0
MOST_PULSE_BPM = 350


@dataclass(frozen=True, slots=True)
class Oximetry:
    """A PLX measurement, continuous or spot check, decoded and nothing more."""

    spo2_percent: float | Special
    pulse_bpm: float | Special
    shown_at: datetime | None = None
    """Of a spot check; None also where its clock was never set."""
    fast: tuple[float | Special, float | Special] | None = None
    slow: tuple[float | Special, float | Special] | None = None
    measurement_status: int | None = None
    sensor_status: int | None = None
    amplitude_index_percent: float | Special | None = None


def decode_continuous(value: bytes) -> Oximetry:
    """:raises Truncated: the value ends before a field that its flags promise."""
    fields = Fields(value)
    flags = fields.uint8()
    has_fast, has_slow, has_measurement, has_sensor, has_index = (bool(flags & 1 << bit) for bit in range(5))
    return Oximetry(
        spo2_percent=fields.sfloat(),
        pulse_bpm=fields.sfloat(),
        fast=(fields.sfloat(), fields.sfloat()) if has_fast else None,
        slow=(fields.sfloat(), fields.sfloat()) if has_slow else None,
        measurement_status=fields.uint16() if has_measurement else None,
        sensor_status=fields.uint24() if has_sensor else None,
        amplitude_index_percent=fields.sfloat() if has_index else None,
    )


def decode_spot_check(value: bytes) -> Oximetry:
    """:raises Truncated: the value ends before a field that its flags promise."""
    fields = Fields(value)
    flags = fields.uint8()
    has_time, has_measurement, has_sensor, has_index, clock_not_set = (bool(flags & 1 << bit) for bit in range(5))
    spo2, pulse = fields.sfloat(), fields.sfloat()
    shown = fields.date_time() if has_time else None
    return Oximetry(
        spo2_percent=spo2,
        pulse_bpm=pulse,
        shown_at=None if clock_not_set else shown,
        measurement_status=fields.uint16() if has_measurement else None,
        sensor_status=fields.uint24() if has_sensor else None,
        amplitude_index_percent=fields.sfloat() if has_index else None,
    )


@dataclass(frozen=True, slots=True)
class Features:
    """PLX Features (0x2A60)."""

    supported: int
    measurement_status: int | None
    sensor_status: int | None


def decode_features(value: bytes) -> Features:
    """:raises Truncated: the value ends before a field that its flags promise."""
    fields = Fields(value)
    supported = fields.uint16()
    return Features(
        supported,
        fields.uint16() if supported & 1 << 0 else None,
        fields.uint24() if supported & 1 << 1 else None,
    )


class Driver(ProfileDriver):
    about: ClassVar[About] = About(
        title_zh="蓝牙血氧仪",
        title_en="Bluetooth pulse oximeter",
        models=("Bluetooth SIG Pulse Oximeter Profile 1.0",),
        metrics=metrics("pulse_oximetry", "spo2_percent", "pulse_bpm", "perfusion_index_percent"),
        line=(
            GattUse(service="1822", subscribe=(CONTINUOUS, SPOT_CHECK, RACP), read=(FEATURES, *READ)),
            GattUse(service="1822", subscribe=(SPOT_CHECK, RACP), read=(FEATURES, *READ)),
        ),
        source="Bluetooth SIG Pulse Oximeter Service 1.0.1; GATT Specification Supplement, PLX measurements",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ALL_RECORDS, ABORT)

    def __init__(self) -> None:
        super().__init__()
        self._shown = False
        self._since_number_s = NUMBERS_APART_S
        self._silent_s = 0.0
        self._asked = False
        self._unanswered_s = 0.0

    def takes(self) -> Mapping[str, Take]:
        return {
            CONTINUOUS: self._on_continuous,
            SPOT_CHECK: self._on_spot_check,
            FEATURES: self._on_features,
            RACP: self._on_racp,
        }

    def open(self) -> Output:
        self._since_number_s, self._silent_s, self._asked = NUMBERS_APART_S, 0.0, False
        output = super().open()
        self._withdraw(output)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = super().tick(elapsed_s)
        self._since_number_s += elapsed_s
        self._silent_s += elapsed_s
        self._unanswered_s += elapsed_s
        if self._silent_s >= WITHDRAW_AFTER_S:
            self._withdraw(output)
        if self._asked and self._unanswered_s >= ANSWER_LIMIT_S:
            self._ask(output)
        return output

    def close(self) -> Output:
        output = Output()
        self._withdraw(output)
        if self._asked:
            output.writes.append(Write(ABORT, RACP))
        self._asked = False
        return output

    # live

    def _on_continuous(self, value: bytes) -> Output:
        measurement, output = decode_continuous(value), Output()
        self._silent_s = 0.0
        sensor = _sensor(measurement)
        reading = None if sensor is not Sensor.OK else _reading(measurement)
        if reading is None:
            self._withdraw(output)
        elif self._since_number_s >= NUMBERS_APART_S:
            self._since_number_s, self._shown = 0.0, True
            output.events.append(reading)
        text = _said(measurement)
        if (sensor, text) != (self._state.sensor, self._state.vendor_text):
            output.events.append(self.now(sensor=sensor, vendor_text=text, fault=None))
        return output

    def _withdraw(self, output: Output) -> None:
        if self._shown:
            self._shown, self._since_number_s = False, NUMBERS_APART_S
            output.events.append(PulseOximetry(spo2_percent=None, pulse_bpm=None))

    # spot checks and their memory

    def _on_spot_check(self, value: bytes) -> Output:
        measurement = decode_spot_check(value)
        self._unanswered_s = 0.0
        doubtful = (measurement.measurement_status or 0) & (NOBODYS | NO_NUMBER)
        broken = (measurement.sensor_status or 0) & BROKEN
        reading = None if doubtful or broken else _reading(measurement, True)
        if reading is None:
            text = _said(measurement)
            return Output([self.now(sensor=Sensor.ERROR, fault="oximetry_not_measured", vendor_text=text)])
        return Output([reading, self.now(sensor=Sensor.OK, fault=None, vendor_text=_said(measurement))])

    def _on_features(self, value: bytes) -> Output:
        output = Output()
        if decode_features(value).supported & STORES_SPOT_CHECKS and not self._asked:
            self._ask(output)
        return output

    def _ask(self, output: Output) -> None:
        self._asked, self._unanswered_s = True, 0.0
        output.writes.append(Write(ALL_RECORDS, RACP, after_stored=True))

    def _on_racp(self, value: bytes) -> Output:
        answer = decode_racp(value)
        if isinstance(answer, Response) and answer.request == REPORT:
            self._asked = answer.code == NOT_COMPLETED
            self._unanswered_s = 0.0
        return Output()


def _reading(measurement: Oximetry, final: bool = False) -> PulseOximetry | None:
    """None where there is no saturation."""
    spo2, pulse = number(measurement.spo2_percent), number(measurement.pulse_bpm)
    if spo2 is None or not 1 <= round(spo2) <= 100:
        return None
    perfusion = number(measurement.amplitude_index_percent)
    return PulseOximetry(
        spo2_percent=round(spo2),
        pulse_bpm=round(pulse) if pulse is not None and 1 <= round(pulse) <= MOST_PULSE_BPM else None,
        perfusion_index_percent=perfusion if perfusion is not None and 0 <= perfusion <= 100 else None,
        device_said_at=said_at(measurement.shown_at),
        final=final,
    )


def _sensor(measurement: Oximetry) -> Sensor:
    status, sensor = measurement.measurement_status or 0, measurement.sensor_status or 0
    if sensor & BROKEN:
        return Sensor.ERROR
    if sensor & FINGER_OUT:
        return Sensor.OFF
    if status & (NO_NUMBER | NOBODYS):
        return Sensor.SEARCHING
    return Sensor.OK if _reading(measurement) is not None else Sensor.SEARCHING


def _said(measurement: Oximetry) -> str | None:
    """What the oximeter says about the measurement, in the words of the service."""
    status, sensor = measurement.measurement_status or 0, measurement.sensor_status or 0
    said = [words for words, bit in MEASUREMENT_STATUS.items() if status & bit]
    said += [words for words, bit in SENSOR_STATUS.items() if sensor & bit]
    return ", ".join(said) or None
