"""Values between their three forms: the device's reading, the journal's integers, the numbers a person reads. Pure.

An entry knows no floats: ``glucose_mmol_l_e2`` 640 is 6.40 mmol/L. Flags are booleans, choices are words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from devices.nomenclature import code
from devices.readings import (
    BloodPressure,
    Glucose,
    GlucoseRange,
    HeartRate,
    PulseOximetry,
    Temperature,
    UricAcid,
    Weight,
)
from sync.formats.canonical import Json
from vehicle.clinic import laboratory_report

Measured = BloodPressure | Glucose | UricAcid | PulseOximetry | HeartRate | Temperature | Weight

MEALS = ("fasting", "preprandial", "postprandial", "casual", "bedtime")
"""Bluetooth SIG Glucose Measurement Context, field Meal."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a reading: the name of forms and views, the journal's name, what it can be, the rules' input.

    A number outside ``low`` to ``high`` is marked, never dropped or changed.
    """

    name: str
    stored: str
    scale: int
    low: float
    high: float
    rule_input: str | None = None


QUANTITIES: dict[str, tuple[Quantity, ...]] = {
    "blood_pressure": (
        Quantity("systolic_mmhg", "systolic_mmhg", 1, 40, 300, "sbp"),
        Quantity("diastolic_mmhg", "diastolic_mmhg", 1, 20, 200, "dbp"),
        Quantity("mean_mmhg", "mean_mmhg", 1, 25, 250),
        Quantity("pulse_bpm", "pulse_bpm", 1, 20, 300, "hr"),
    ),
    "glucose": (Quantity("glucose_mmol_l", "glucose_mmol_l_e2", 100, 0.6, 33.3, "glu"),),
    "pulse_oximetry": (
        Quantity("spo2_percent", "spo2_percent", 1, 40, 100, "spo2"),
        Quantity("pulse_bpm", "pulse_bpm", 1, 20, 300, "hr"),
        Quantity("perfusion_index_percent", "perfusion_index_e2", 100, 0, 30),
    ),
    "temperature": (Quantity("temperature_c", "temperature_c_e2", 100, 20, 45, "temp"),),
    "weight": (
        Quantity("weight_kg", "weight_kg_e2", 100, 1, 300),
        Quantity("height_cm", "height_cm_e2", 100, 40, 230),
        Quantity("bmi", "bmi_e2", 100, 8, 80, "bmi"),
        Quantity("body_fat_percent", "body_fat_percent_e2", 100, 2, 70),
    ),
    "heart_rate": (Quantity("heart_rate_bpm", "heart_rate_bpm", 1, 20, 300, "hr"),),
    "uric_acid": (Quantity("uric_acid_umol_l", "uric_acid_umol_l", 1, 60, 1500),),
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "blood_pressure": ("systolic_mmhg", "diastolic_mmhg"),
    "glucose": ("glucose_mmol_l",),
    "pulse_oximetry": ("spo2_percent",),
    "temperature": ("temperature_c",),
    "weight": ("weight_kg",),
    "heart_rate": ("heart_rate_bpm",),
    "uric_acid": ("uric_acid_umol_l",),
}
"""Without these a reading of that type says nothing."""

TYPES = tuple(QUANTITIES)
RULE_ORDER = ("temperature", "weight", "glucose", "laboratory", "heart_rate", "pulse_oximetry", "blood_pressure")
"""Later ones count when two kinds of reading say the same: plasma before a strip, the cuff before other pulses."""
ALWAYS_SHOWN = ("blood_pressure", "glucose", "pulse_oximetry", "temperature", "weight")
"""Types that have a tile in every van; the others where there is an instrument or a value."""
UNITS = {
    "blood_pressure": "mmHg",
    "glucose": "mmol/L",
    "pulse_oximetry": "%",
    "temperature": "℃",
    "weight": "kg",
    "heart_rate": "/min",
    "uric_acid": "µmol/L",
}
"""The unit the tile shows."""

HEARD_DIGITS = {"glu": 1, "temp": 1}
"""Decimals of a rules' input, as the tile shows it: limits are given so (7.0 mmol/L, 37.3 degrees), and what was
measured in mg/dL or Fahrenheit falls a hair beside them: 126 mg/dL is 6.99 mmol/L, and by every guideline 7.0."""

_BY_STORED = {quantity.stored: quantity for row in QUANTITIES.values() for quantity in row}
_FLAGS = ("irregular_pulse", "body_movement", "cuff_too_loose")


def stored_values(reading: Measured) -> dict[str, Json]:
    """A device's reading in the journal's integers; what the device did not say is left out."""
    values = stored_numbers(
        reading.kind, {quantity.name: getattr(reading, quantity.name) for quantity in QUANTITIES[reading.kind]}
    )
    if isinstance(reading, BloodPressure):
        values |= {name: flag for name in _FLAGS if (flag := getattr(reading, name)) is not None}
    if isinstance(reading, Glucose) and reading.meal:
        values["meal"] = reading.meal
    if isinstance(reading, Glucose | UricAcid) and reading.range is not GlucoseRange.IN_RANGE:
        values["range"] = str(reading.range)
    if isinstance(reading, Temperature):
        values |= {name: said for name in ("site", "mode") if (said := getattr(reading, name)) is not None}
    if isinstance(reading, HeartRate) and reading.rr_ms:
        values["rr_ms"] = list(reading.rr_ms)
    return values


def stored_numbers(type_: str, numbers: Mapping[str, float | int | None]) -> dict[str, Json]:
    """Numbers by the names of ``QUANTITIES`` as integers, rounded half to even; None and unknown names are left out."""
    return {
        quantity.stored: int((Decimal(str(number)) * quantity.scale).to_integral_value(ROUND_HALF_EVEN))
        for quantity in QUANTITIES[type_]
        if (number := numbers.get(quantity.name)) is not None
    }


def codes(type_: str, stored: Mapping[str, object]) -> dict[str, Json]:
    """MDC, LOINC and UCUM of the numbers in ``stored``, by their names there; a system without a code is left out.

    They travel in the entry, so that whoever reads it years later needs no table of ours.
    """
    found: dict[str, Json] = {}
    for quantity in QUANTITIES.get(type_, ()):
        row = code(type_, quantity.name)
        if row is not None and quantity.stored in stored:
            systems = {"mdc": row.mdc, "loinc": row.loinc, "ucum": row.ucum}
            found[quantity.stored] = {system: known for system, known in systems.items() if known is not None}
    return found


def implausible(type_: str, stored: Mapping[str, object]) -> tuple[str, ...]:
    """Names of the numbers that hardly can be right: to be shown beside the value, which stays as it is."""
    shown = shown_values(stored)
    odd = [
        quantity.name
        for quantity in QUANTITIES.get(type_, ())
        if isinstance(number := shown.get(quantity.name), int | float) and not quantity.low <= number <= quantity.high
    ]
    systolic, diastolic = shown.get("systolic_mmhg"), shown.get("diastolic_mmhg")
    if isinstance(systolic, int | float) and isinstance(diastolic, int | float) and diastolic >= systolic:
        odd.append("diastolic_mmhg")
    return tuple(dict.fromkeys(odd))


def shown_values(stored: Mapping[str, object]) -> dict[str, object]:
    """The journal's values as a person reads them: 640 becomes 6.4 under ``glucose_mmol_l``; words and flags stay.

    The body mass index follows from weight and height where the scale did not say it.
    """
    shown: dict[str, object] = {}
    for name, value in stored.items():
        quantity = _BY_STORED.get(name)
        if quantity is None or not isinstance(value, int):
            shown[name] = value
        else:
            shown[quantity.name] = value if quantity.scale == 1 else value / quantity.scale
    weight_kg, height_cm = shown.get("weight_kg"), shown.get("height_cm")
    if "bmi" not in shown and isinstance(weight_kg, int | float) and isinstance(height_cm, int | float) and height_cm:
        shown["bmi"] = round(weight_kg / (height_cm / 100) ** 2, 1)
    return shown


def rule_inputs(type_: str, stored: Mapping[str, object]) -> dict[str, object]:
    """What the screening rules may know from one reading.

    Glucose is given as any glucose, and as fasting or random glucose only when the meal was said.
    """
    if type_ == laboratory_report.TYPE:
        return laboratory_report.rule_inputs(stored)
    shown = shown_values(stored)
    inputs = {
        quantity.rule_input: shown[quantity.name]
        for quantity in QUANTITIES.get(type_, ())
        if quantity.rule_input and shown.get(quantity.name) is not None
    }
    inputs |= {name: round(float(str(inputs[name])), HEARD_DIGITS[name]) for name in HEARD_DIGITS if name in inputs}
    if type_ == "glucose" and "glu" in inputs:
        meal = shown.get("meal")
        if meal == "fasting":
            inputs["fpg"] = inputs["glu"]
        elif meal is not None:
            inputs["rpg"] = inputs["glu"]
    if type_ == "blood_pressure" and "irregular_pulse" in shown:
        inputs["rr_irregular"] = shown["irregular_pulse"]
    return inputs
