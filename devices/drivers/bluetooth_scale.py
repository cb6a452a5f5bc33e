"""Scales of the Bluetooth SIG Weight Scale Service (0x181D), with body fat where there is Body Composition (0x181B).

Models: every scale that claims the profile (A&D UC-352BLE, Beurer BF 720/BF 105, Sanitas SBF 70 line, ...). A result is
indicated (0x2A9D) after the person stood still, also those that nobody fetched. A scale that measures body composition
indicates that beside it (0x2A9C): both become one reading. When the second does not come within
``COMPOSITION_LIMIT_S``, the weight is told alone, and once more when it comes later with the same time.

Limits: user ids are read over, who was weighed is decided on the screen; of body composition the fat is kept;
impedance, muscle and water are read over. Sources: Weight Scale Service 1.0 section 3.2, Body Composition Service 1.0
section 3.2, GATT Specification Supplement (Weight Measurement, Body Composition Measurement). Not tested on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from devices.driver import About, GattUse, Output
from devices.nomenclature import metrics
from devices.readings import Sensor, Weight
from devices.sig import Fields, said_at
from devices.sig_profile import CLOCK_WRITES, READ, ProfileDriver, Take

WEIGHT, COMPOSITION = "2A9D", "2A9C"

UNSUCCESSFUL = 0xFFFF
KG_PER_POUND = 0.45359237
CM_PER_INCH = 2.54
COMPOSITION_LIMIT_S = 1.5


@dataclass(frozen=True, slots=True)
class Weighed:
    """Weight Measurement (0x2A9D), decoded. ``weight_kg`` None: measurement unsuccessful."""

    weight_kg: float | None
    shown_at: datetime | None
    user_id: int | None
    bmi: float | None
    height_cm: float | None


def decode_weight(value: bytes) -> Weighed:
    """:raises Truncated: the value ends before a field that its flags promise."""
    fields = Fields(value)
    flags = fields.uint8()
    imperial, has_time, has_user, has_height = (bool(flags & 1 << bit) for bit in range(4))
    weight_kg = _mass_kg(fields.uint16(), imperial)
    shown_at = fields.date_time() if has_time else None
    user_id = fields.uint8() if has_user else None
    bmi_e1 = fields.uint16() if has_height else 0
    height = fields.uint16() if has_height else 0
    return Weighed(weight_kg, shown_at, user_id, bmi_e1 / 10 if bmi_e1 else None, _height_cm(height, imperial))


@dataclass(frozen=True, slots=True)
class Composition:
    """Body Composition Measurement (0x2A9C): of its fields those that are used."""

    body_fat_percent: float | None
    shown_at: datetime | None
    weight_kg: float | None
    height_cm: float | None


def decode_composition(value: bytes) -> Composition:
    """:raises Truncated: the value ends before a field that its flags promise."""
    fields = Fields(value)
    flags = fields.uint16()
    imperial = bool(flags & 1)
    fat_e1 = fields.uint16()
    shown_at = fields.date_time() if flags & 1 << 1 else None
    if flags & 1 << 2:
        fields.uint8()  # user id
    for bit in range(3, 10):  # basal metabolism, muscle %, muscle, fat free, soft lean, water mass, impedance
        if flags & 1 << bit:
            fields.uint16()
    weight = fields.uint16() if flags & 1 << 10 else UNSUCCESSFUL
    height = fields.uint16() if flags & 1 << 11 else 0
    fat = None if fat_e1 in (0, UNSUCCESSFUL) else fat_e1 / 10
    return Composition(fat, shown_at, _mass_kg(weight, imperial), _height_cm(height, imperial))


def _mass_kg(raw: int, imperial: bool) -> float | None:
    """Resolution 0.005 kg, or 0.01 lb; None: not measured."""
    if raw in (0, UNSUCCESSFUL):  # 0: nobody stands on it
        return None
    return round(raw / 100 * KG_PER_POUND, 2) if imperial else round(raw * 0.005, 3)


def _height_cm(raw: int, imperial: bool) -> float | None:
    """Resolution 0.001 m, or 0.1 inch; None where the scale was not told."""
    if not raw:
        return None
    return round(raw / 10 * CM_PER_INCH, 1) if imperial else round(raw / 10, 1)


class Driver(ProfileDriver):
    about: ClassVar[About] = About(
        title_zh="蓝牙体重秤",
        title_en="Bluetooth scale",
        models=("Bluetooth SIG Weight Scale Profile 1.0", "Body Composition Service 1.0"),
        metrics=metrics("weight", "weight_kg", "height_cm", "bmi", "body_fat_percent"),
        line=(
            GattUse(service="181D", subscribe=(WEIGHT, COMPOSITION), read=READ),
            GattUse(service="181B", subscribe=(COMPOSITION,), read=READ),
        ),
        source="Bluetooth SIG Weight Scale Service 1.0, Body Composition Service 1.0; GATT Specification Supplement",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = CLOCK_WRITES

    def __init__(self) -> None:
        super().__init__()
        self._held: Weighed | None = None
        self._held_s = 0.0
        self._told: Weighed | None = None

    def takes(self) -> Mapping[str, Take]:
        return {WEIGHT: self._on_weight, COMPOSITION: self._on_composition}

    def open(self) -> Output:
        output = self._flush()
        output.events += super().open().events
        self._told = None
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = super().tick(elapsed_s)
        self._held_s += elapsed_s
        if self._held_s >= COMPOSITION_LIMIT_S:
            output.events += self._flush().events
        return output

    def close(self) -> Output:
        return self._flush()

    def _on_weight(self, value: bytes) -> Output:
        weighed = decode_weight(value)
        output = self._flush()
        if weighed.weight_kg is None:
            output.events.append(self.now(sensor=Sensor.ERROR, fault="weight_not_measured"))
        else:
            self._held, self._held_s = weighed, 0.0
        return output

    def _on_composition(self, value: bytes) -> Output:
        found = decode_composition(value)
        held, told = self._held, self._told
        if held is not None and found.shown_at in (None, held.shown_at):
            self._held, output = None, Output()
            self._tell(output, held, found.body_fat_percent)
            return output
        output = self._flush()
        if found.weight_kg is not None:
            alone = Weighed(found.weight_kg, found.shown_at, None, None, found.height_cm)
            self._tell(output, alone, found.body_fat_percent)
        elif told is not None and found.shown_at is not None and found.shown_at == told.shown_at:
            self._tell(output, told, found.body_fat_percent)
        return output

    def _flush(self) -> Output:
        """A weight whose body composition did not come is told without it."""
        output = Output()
        held, self._held = self._held, None
        if held is not None:
            self._tell(output, held, None)
        return output

    def _tell(self, output: Output, weighed: Weighed, body_fat_percent: float | None) -> None:
        self._told = weighed
        output.events.append(
            Weight(
                weight_kg=weighed.weight_kg,
                height_cm=weighed.height_cm,
                bmi=weighed.bmi,
                body_fat_percent=body_fat_percent,
                device_said_at=said_at(weighed.shown_at),
            )
        )
        output.events.append(self.now(sensor=Sensor.OK, fault=None))
