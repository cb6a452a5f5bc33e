"""Readings as FHIR R4 Observations: vital signs with MDC and LOINC, laboratory results with LOINC, all in UCUM. Pure.

Codes are those of ``devices.nomenclature`` and ``devices.analytes``. A blood pressure is one Observation with systolic,
diastolic and mean pressure as components (FHIR vital signs, 85354-9); its pulse is an Observation of its own. What an
analyser sent as words or bounds stays words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from devices.analytes import analytes
from devices.nomenclature import Code, code
from sync.interop.fhir_elements import (
    LOINC,
    MDC,
    Element,
    Names,
    coding,
    concept,
    drop_empty,
    person,
    quantity,
    terminology,
)
from sync.interop.fhir_person import category
from sync.interop.fhir_record import PersonRecord, Row, said

LABORATORY = "laboratory"
VITAL_SIGNS = ("blood_pressure", "pulse_oximetry", "temperature", "weight", "heart_rate")
POINT_OF_CARE = ("glucose", "uric_acid")
PRESSURES = ("systolic_mmhg", "diastolic_mmhg", "mean_mmhg")
PANEL = coding(LOINC, "85354-9", "Blood pressure panel with all children optional")
SPO2_OF_THE_PROFILE = coding(LOINC, "2708-6", "Oxygen saturation in Arterial blood")
"""FHIR's vital signs ask for it beside the code by pulse oximetry."""
VITAL_SIGNS_PANEL = "http://hl7.org/fhir/StructureDefinition/vitalsigns"
INTERPRETATIONS = ("H", "HH", "L", "LL", "A", "AA", "N", "<", ">")
"""HL7 table 0078 as v3-ObservationInterpretation has it."""
STATUSES = {"P": "preliminary", "C": "corrected", "X": "cancelled", "R": "preliminary"}
"""HL7 table 0085; everything else is final."""
_NAMES = {"perfusion_index": "perfusion_index_percent"}
_SCALED = re.compile(r"(.+)_e(\d)")
_COMPARATORS = ("<", "<=", ">=", ">")


def observations(record: PersonRecord, row: Row, names: Names) -> list[Element]:
    """What one confirmed reading says; nothing for kinds that are no measurement (answers)."""
    if row["type"] == LABORATORY:
        return list(_laboratory(record, row, names))
    if row["type"] in (*VITAL_SIGNS, *POINT_OF_CARE):
        return list(_measured(record, row, names))
    return []


def numbers(values: Mapping[str, Any]) -> dict[str, Decimal]:
    """The journal's integers under the names of ``devices.nomenclature``: ``glucose_mmol_l_e2`` 640 is 6.40."""
    found = {}
    for stored, value in values.items():
        if isinstance(value, int) and not isinstance(value, bool):
            scaled = _SCALED.fullmatch(stored)
            name, places = (scaled[1], int(scaled[2])) if scaled else (stored, 0)
            found[_NAMES.get(name, name)] = Decimal(value).scaleb(-places)
    return found


def coded(row: Code) -> Element:
    """The concept of a quantity: LOINC first, then MDC, as far as known."""
    codings = [coding(LOINC, row.loinc)] if row.loinc else []
    codings += [coding(MDC, str(row.mdc))] if row.mdc is not None else []
    if row.name == "spo2_percent":
        codings.insert(0, SPO2_OF_THE_PROFILE)
    return concept(*codings, text=row.name)


def _measured(record: PersonRecord, row: Row, names: Names) -> Iterator[Element]:
    values = said(row, "values_json")
    known = [
        (found, value) for name, value in numbers(values).items() if (found := code(row["type"], name)) is not None
    ]
    pressures = [(found, value) for found, value in known if found.name in PRESSURES]
    note = _notes(row, values)
    if pressures:
        components = [
            {"code": coded(found), "valueQuantity": quantity(value, found.ucum)} for found, value in pressures
        ]
        panel = _observation(record, row, names, "panel", {"coding": [PANEL], "text": "blood pressure"}, note)
        yield {**panel, "component": components}
    for found, value in known:
        if found.name not in PRESSURES:
            made = _observation(record, row, names, found.name, coded(found), note)
            yield {**made, "valueQuantity": quantity(value, found.ucum)}


def _observation(
    record: PersonRecord, row: Row, names: Names, part: str, what: Element, note: list[Element]
) -> Element:
    vital = row["type"] in VITAL_SIGNS
    performer = record.name_of(row["visit"], row["confirmed_by"])
    return drop_empty(
        {
            "resourceType": "Observation",
            "id": names.id("Observation", row["reading"], part),
            "meta": {"profile": [VITAL_SIGNS_PANEL]} if vital else None,
            "identifier": [names.identifier("reading", f"{row['reading']}/{part}")],
            "status": "final",
            "category": category("vital-signs" if vital else "laboratory"),
            "code": what,
            "subject": names.reference("Patient", record.patient["patient"]),
            "encounter": names.reference("Encounter", row["encounter"]) if row["encounter"] else None,
            "effectiveDateTime": row["taken_at"],
            "performer": [person(performer)] if performer else [],
            "device": names.reference("Device", row["device"]) if row["device"] and not row["by_hand"] else None,
            "note": note,
        }
    )


def _notes(row: Row, values: Mapping[str, Any]) -> list[Element]:
    told = ["typed by hand"] if row["by_hand"] else []
    told += [f"{name}: {values[name]}" for name in ("meal", "site", "mode", "range") if values.get(name)]
    told += [name for name in ("irregular_pulse", "body_movement", "cuff_too_loose") if values.get(name) is True]
    if row["device_said_at"]:
        told.append(f"clock of the device: {row['device_said_at']}")
    return [{"text": "; ".join(told)}] if told else []


# laboratory


def _laboratory(record: PersonRecord, row: Row, names: Names) -> Iterator[Element]:
    for place, result in enumerate(said(row, "values_json").get("results", ())):
        analyte = analytes().get(str(result.get("key", "")))
        loinc = result.get("loinc") or (analyte.loinc if analyte else None)
        what = concept(*([coding(LOINC, loinc)] if loinc else []), text=analyte.en if analyte else str(result["code"]))
        made = _observation(record, row, names, str(place), what, [])
        made |= {"status": STATUSES.get(str(result.get("status", "")), "final"), "issued": row["taken_at"]}
        yield drop_empty(
            {
                **made,
                **_value(result),
                "interpretation": [
                    terminology("v3-ObservationInterpretation", flag)
                    for flag in result.get("flags", ())
                    if flag in INTERPRETATIONS
                ],
                "referenceRange": [{"text": result["reference_range"]}] if result.get("reference_range") else [],
            }
        )


def _value(result: Mapping[str, Any]) -> Element:
    """A number in the analyte's own unit where it is one, else the text that the analyser sent."""
    ucum, comparator = result.get("ucum"), str(result.get("comparator", ""))
    try:
        number = Decimal(str(result["quantity"]))
    except (KeyError, InvalidOperation):
        number = None
    if number is None or ucum is None or comparator not in ("", *_COMPARATORS):
        return {"valueString": str(result.get("said") or "-")}
    return {"valueQuantity": quantity(number, str(ucum), comparator)}
