"""Values between their three forms: the device's reading, the journal's integers, the numbers a person reads. Pure.

An entry knows no floats: ``glucose_mmol_l_e2`` 640 is 6.40 mmol/L. Flags are booleans, choices are words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from devices.readings import BloodPressure, Glucose, GlucoseRange, PulseOximetry, Temperature
from sync.formats.canonical import Json

Measured = BloodPressure | Glucose | PulseOximetry | Temperature

MEALS = ("fasting", "preprandial", "postprandial", "casual", "bedtime")
"""Bluetooth SIG Glucose Measurement Context, field Meal."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a reading: the name a person's form and the views use, the journal's name, unit, rule input."""

    name: str
    stored: str
    scale: int
    unit: str
    rule_input: str | None = None


QUANTITIES: dict[str, tuple[Quantity, ...]] = {
    "blood_pressure": (
        Quantity("systolic_mmhg", "systolic_mmhg", 1, "mmHg", "sbp"),
        Quantity("diastolic_mmhg", "diastolic_mmhg", 1, "mmHg", "dbp"),
        Quantity("mean_mmhg", "mean_mmhg", 1, "mmHg"),
        Quantity("pulse_bpm", "pulse_bpm", 1, "/min", "hr"),
    ),
    "glucose": (Quantity("glucose_mmol_l", "glucose_mmol_l_e2", 100, "mmol/L", "glu"),),
    "pulse_oximetry": (
        Quantity("spo2_percent", "spo2_percent", 1, "%", "spo2"),
        Quantity("pulse_bpm", "pulse_bpm", 1, "/min", "hr"),
        Quantity("perfusion_index_percent", "perfusion_index_e2", 100, "%"),
    ),
    "temperature": (Quantity("temperature_c", "temperature_c_e2", 100, "Cel", "temp"),),
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "blood_pressure": ("systolic_mmhg", "diastolic_mmhg"),
    "glucose": ("glucose_mmol_l",),
    "pulse_oximetry": ("spo2_percent",),
    "temperature": ("temperature_c",),
}
"""Without these a reading of that type says nothing."""

TYPES = tuple(QUANTITIES)
UNITS = {"blood_pressure": "mmHg", "glucose": "mmol/L", "pulse_oximetry": "%", "temperature": "℃"}
"""The unit the tile shows."""

_BY_STORED = {quantity.stored: quantity for row in QUANTITIES.values() for quantity in row}
_FLAGS = ("irregular_pulse", "body_movement", "cuff_too_loose")


def stored_values(reading: Measured) -> dict[str, Json]:
    """A device's reading in the journal's integers; what the device did not say is left out."""
    values = stored_numbers(
        reading.kind, {quantity.name: getattr(reading, quantity.name) for quantity in QUANTITIES[reading.kind]}
    )
    if isinstance(reading, BloodPressure):
        values |= {name: flag for name in _FLAGS if (flag := getattr(reading, name)) is not None}
    if isinstance(reading, Glucose):
        if reading.meal:
            values["meal"] = reading.meal
        if reading.range is not GlucoseRange.IN_RANGE:
            values["range"] = str(reading.range)
    return values


def stored_numbers(type_: str, numbers: Mapping[str, float | int | None]) -> dict[str, Json]:
    """Numbers by the names of ``QUANTITIES`` as integers, rounded half to even; None and unknown names are left out."""
    return {
        quantity.stored: int((Decimal(str(number)) * quantity.scale).to_integral_value(ROUND_HALF_EVEN))
        for quantity in QUANTITIES[type_]
        if (number := numbers.get(quantity.name)) is not None
    }


def shown_values(stored: Mapping[str, object]) -> dict[str, object]:
    """The journal's values as a person reads them: 640 becomes 6.4 under ``glucose_mmol_l``; words and flags stay."""
    shown: dict[str, object] = {}
    for name, value in stored.items():
        quantity = _BY_STORED.get(name)
        if quantity is None or not isinstance(value, int):
            shown[name] = value
        else:
            shown[quantity.name] = value if quantity.scale == 1 else value / quantity.scale
    return shown


def rule_inputs(type_: str, stored: Mapping[str, object]) -> dict[str, object]:
    """What the screening rules may know from one reading.

    Glucose is given as any glucose, and as fasting or random glucose only when the meal was said.
    """
    shown = shown_values(stored)
    inputs = {
        quantity.rule_input: shown[quantity.name]
        for quantity in QUANTITIES.get(type_, ())
        if quantity.rule_input and shown.get(quantity.name) is not None
    }
    if type_ == "glucose" and "glu" in inputs:
        meal = shown.get("meal")
        if meal == "fasting":
            inputs["fpg"] = inputs["glu"]
        elif meal is not None:
            inputs["rpg"] = inputs["glu"]
    if type_ == "blood_pressure" and "irregular_pulse" in shown:
        inputs["rr_irregular"] = shown["irregular_pulse"]
    return inputs
