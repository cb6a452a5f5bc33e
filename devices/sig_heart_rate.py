"""The Heart Rate Service (0x180D), for every driver of a device that has it. Pure.

A number is published at most once a second; intervals of several notifications are told together. It is taken back when
the sensor says that it lost the skin, says 0, or falls silent for ``WITHDRAW_AFTER_S``.

Sources: Heart Rate Service 1.0 section 3.1, GATT Specification Supplement (Heart Rate Measurement).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devices.driver import Output
from devices.readings import HeartRate, Sensor
from devices.sig import Fields, Truncated
from devices.sig_profile import ProfileDriver, Take

MEASUREMENT = "2A37"

RR_PER_S = 1024
NUMBERS_APART_S = 0.75
"""A device that says one a second, not quite evenly, is heard each time; one that says more is not."""
WITHDRAW_AFTER_S = 1.9
MOST_INTERVALS = 32
"""Told with one number; more beats than that in a second nobody has."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Heart Rate Measurement (0x2A37), decoded and nothing more."""

    heart_rate_bpm: int
    contact: bool | None
    """None: the sensor cannot tell."""
    energy_kj: int | None
    rr_1024: tuple[int, ...]
    """Intervals in 1/1024 s, oldest first."""


def decode_measurement(value: bytes) -> Measurement:
    """:raises Truncated: the value ends before a field that its flags promise, or within an interval."""
    fields = Fields(value)
    flags = fields.uint8()
    wide, contact, can_tell, has_energy, has_rr = (bool(flags & 1 << bit) for bit in range(5))
    rate = fields.uint16() if wide else fields.uint8()
    energy_kj = fields.uint16() if has_energy else None
    if has_rr and not fields.left:
        raise Truncated("intervals are flagged and there is none")
    intervals = []
    while has_rr and fields.left:
        intervals.append(fields.uint16())
    return Measurement(rate, contact if can_tell else None, energy_kj, tuple(intervals))


class HeartRateSensor(ProfileDriver):
    """The body of a driver for a device with this service; it gives ``about``."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = False
        self._since_number_s = NUMBERS_APART_S
        self._silent_s = 0.0
        self._intervals: list[int] = []

    def takes(self) -> Mapping[str, Take]:
        return {MEASUREMENT: self._on_measurement}

    def open(self) -> Output:
        output = super().open()
        self._withdraw(output)
        self._since_number_s, self._silent_s, self._intervals = NUMBERS_APART_S, 0.0, []
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = super().tick(elapsed_s)
        self._since_number_s += elapsed_s
        self._silent_s += elapsed_s
        if self._silent_s >= WITHDRAW_AFTER_S:
            self._withdraw(output)
        return output

    def close(self) -> Output:
        output = Output()
        self._withdraw(output)
        return output

    def _on_measurement(self, value: bytes) -> Output:
        measurement, output = decode_measurement(value), Output()
        self._silent_s = 0.0
        away = measurement.contact is False
        sensor = Sensor.OFF if away else Sensor.SEARCHING if not measurement.heart_rate_bpm else Sensor.OK
        if sensor is not Sensor.OK:
            self._withdraw(output, measurement.contact)
        else:
            self._intervals += [round(rr * 1000 / RR_PER_S) for rr in measurement.rr_1024 if rr]
            del self._intervals[:-MOST_INTERVALS]
            if self._since_number_s >= NUMBERS_APART_S:
                intervals, self._intervals = tuple(self._intervals), []
                self._since_number_s, self._shown = 0.0, True
                output.events.append(HeartRate(measurement.heart_rate_bpm, intervals, measurement.contact))
        if sensor is not self._state.sensor:
            output.events.append(self.now(sensor=sensor))
        return output

    def _withdraw(self, output: Output, contact: bool | None = None) -> None:
        self._intervals = []
        if self._shown:
            self._shown, self._since_number_s = False, NUMBERS_APART_S
            output.events.append(HeartRate(None, contact=contact))
