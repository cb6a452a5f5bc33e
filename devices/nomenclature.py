"""The codes of what is measured: IEEE 11073-10101 (MDC), LOINC, UCUM. Pure; one table, with where each row is from.

MDC codes are written with their partition: ``partition * 65536 + code`` (HL7 PHD IG); partition 2 is SCADA.
The names are those of the readings' fields, so (kind of reading, field) finds a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.driver import Metric

SCADA = 2 * 65536


@dataclass(frozen=True, slots=True)
class Code:
    """How the field calls one quantity. None: no code of that system is known to us."""

    reading: str
    """The kind of reading: "blood_pressure"."""
    name: str
    """The field of the reading: "systolic_mmhg"."""
    mdc: int | None
    loinc: str | None
    ucum: str
    source: str


_ANTIDOTE = "IEEE 11073-10101 as in signove/antidote nomenclature.h; HL7 PHD IG"
_HL7 = "HL7 US Core vital signs"

CODES: tuple[Code, ...] = (
    Code("blood_pressure", "systolic_mmhg", SCADA + 18949, "8480-6", "mm[Hg]", f"{_ANTIDOTE}; {_HL7}"),
    Code("blood_pressure", "diastolic_mmhg", SCADA + 18950, "8462-4", "mm[Hg]", f"{_ANTIDOTE}; {_HL7}"),
    Code("blood_pressure", "mean_mmhg", SCADA + 18951, "8478-0", "mm[Hg]", f"{_ANTIDOTE}; LOINC"),
    Code("blood_pressure", "pulse_bpm", SCADA + 18474, "8867-4", "/min", f"{_ANTIDOTE}; {_HL7}"),
    Code("glucose", "glucose_mmol_l", SCADA + 29112, "14743-9", "mmol/L", f"{_ANTIDOTE}; LOINC: by glucometer"),
    Code("uric_acid", "uric_acid_umol_l", None, "14933-6", "umol/L", "LOINC: serum or plasma; no MDC code verified"),
    Code("pulse_oximetry", "spo2_percent", SCADA + 19384, "59408-5", "%", f"{_ANTIDOTE}; {_HL7}"),
    Code("pulse_oximetry", "pulse_bpm", SCADA + 18458, "8889-8", "/min", f"{_ANTIDOTE}; LOINC: by pulse oximetry"),
    Code("pulse_oximetry", "perfusion_index_percent", SCADA + 19416, "61006-3", "%", "one public code base; LOINC"),
    Code("heart_rate", "heart_rate_bpm", SCADA + 16770, "8867-4", "/min", f"{_ANTIDOTE}: MDC_ECG_HEART_RATE; {_HL7}"),
    Code("temperature", "temperature_c", SCADA + 19292, "8310-5", "Cel", f"{_ANTIDOTE}; {_HL7}"),
    Code("weight", "weight_kg", SCADA + 57664, "29463-7", "kg", f"{_ANTIDOTE}; {_HL7}"),
    Code("weight", "height_cm", SCADA + 57668, "8302-2", "cm", f"{_ANTIDOTE}; {_HL7}"),
    Code("weight", "bmi", SCADA + 57680, "39156-5", "kg/m2", f"{_ANTIDOTE}; {_HL7}"),
    Code("weight", "body_fat_percent", SCADA + 57676, "41982-0", "%", f"{_ANTIDOTE}; LOINC"),
)

_BY_NAME = {(code.reading, code.name): code for code in CODES}


def code(reading: str, name: str) -> Code | None:
    """The row of a quantity; None where it has no code (a flag, a word, a list of intervals)."""
    return _BY_NAME.get((reading, name))


def metrics(reading: str, *names: str) -> tuple[Metric, ...]:
    """Rows as a driver's label has them, in the order of ``names``.

    :raises KeyError: no such row
    """
    rows = [_BY_NAME[reading, name] for name in names]
    return tuple(Metric(row.name, row.mdc, row.loinc, row.ucum) for row in rows)
