"""Thermometers of the Bluetooth SIG Health Thermometer Service (0x1809).

Models: every thermometer that claims the profile (A&D UT-201BLE, Beurer FT 95, Jumper JPD-FR, ForaCare IR20, ...). A
finished measurement is indicated (0x2A1C), also those that nobody fetched; on the way to it some notify intermediate
temperatures (0x2A1E), which are shown live and taken back when the finished one comes or the thermometer goes.

Where the thermometer does not say with each value where it measured, its Temperature Type (0x2A1D) says it once.
Sources: Health Thermometer Service 1.0 section 3.1 to 3.3, GATT Specification Supplement (Temperature Measurement,
Temperature Type). Not tested on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from devices.driver import About, GattUse, Output
from devices.nomenclature import metrics
from devices.readings import Sensor, Temperature
from devices.sig import Fields, Special, said_at
from devices.sig_profile import CLOCK_WRITES, READ, ProfileDriver, Take, number

MEASUREMENT, INTERMEDIATE, TEMPERATURE_TYPE = "2A1C", "2A1E", "2A1D"

SITES = {
    1: "armpit",
    2: "body",
    3: "ear",
    4: "finger",
    5: "gastrointestinal_tract",
    6: "mouth",
    7: "rectum",
    8: "toe",
    9: "tympanum",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """Temperature Measurement (0x2A1C) or Intermediate Temperature (0x2A1E), decoded; degrees Celsius."""

    temperature_c: float | Special
    shown_at: datetime | None
    site: int | None


def decode_measurement(value: bytes) -> Measurement:
    """:raises Truncated: the value ends before a field that its flags promise."""
    fields = Fields(value)
    flags = fields.uint8()
    in_fahrenheit, has_time, has_site = (bool(flags & 1 << bit) for bit in range(3))
    temperature = fields.float32()
    return Measurement(
        temperature_c=_celsius(temperature) if in_fahrenheit else temperature,
        shown_at=fields.date_time() if has_time else None,
        site=fields.uint8() if has_site else None,
    )


def _celsius(fahrenheit: float | Special) -> float | Special:
    return fahrenheit if isinstance(fahrenheit, Special) else round((fahrenheit - 32) / 1.8, 2)


class Driver(ProfileDriver):
    about: ClassVar[About] = About(
        title_zh="蓝牙体温计",
        title_en="Bluetooth thermometer",
        models=("Bluetooth SIG Health Thermometer Profile 1.0",),
        metrics=metrics("temperature", "temperature_c"),
        line=GattUse(service="1809", subscribe=(MEASUREMENT, INTERMEDIATE), read=(TEMPERATURE_TYPE, *READ)),
        source="Bluetooth SIG Health Thermometer Service 1.0; GATT Specification Supplement, Temperature Measurement",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = CLOCK_WRITES

    def __init__(self) -> None:
        super().__init__()
        self._site: str | None = None
        self._shown = False

    def takes(self) -> Mapping[str, Take]:
        return {MEASUREMENT: self._on_measurement, INTERMEDIATE: self._on_intermediate, TEMPERATURE_TYPE: self._on_type}

    def open(self) -> Output:
        output = super().open()
        self._site = None
        self._withdraw(output)
        return output

    def close(self) -> Output:
        output = Output()
        self._withdraw(output)
        return output

    def _on_measurement(self, value: bytes) -> Output:
        measurement, output = decode_measurement(value), Output()
        self._withdraw(output)
        if isinstance(measurement.temperature_c, Special):
            text = measurement.temperature_c.value
            output.events.append(self.now(sensor=Sensor.ERROR, fault="temperature_not_measured", vendor_text=text))
        else:
            output.events.append(self._reading(measurement, final=True))
            output.events.append(self.now(sensor=Sensor.OK, fault=None, vendor_text=None))
        return output

    def _on_intermediate(self, value: bytes) -> Output:
        measurement, output = decode_measurement(value), Output()
        if isinstance(measurement.temperature_c, Special):
            self._withdraw(output)
        else:
            self._shown = True
            output.events.append(self._reading(measurement, final=False))
        return output

    def _on_type(self, value: bytes) -> Output:
        self._site = SITES.get(Fields(value).uint8())
        return Output()

    def _withdraw(self, output: Output) -> None:
        if self._shown:
            self._shown = False
            output.events.append(Temperature(None, final=False))

    def _reading(self, measurement: Measurement, final: bool) -> Temperature:
        return Temperature(
            temperature_c=number(measurement.temperature_c),
            site=SITES.get(measurement.site or 0, self._site),
            final=final,
            device_said_at=said_at(measurement.shown_at),
        )
