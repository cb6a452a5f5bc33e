"""FHIR R4 reports from the record: ECG, laboratory, a specialist's opinion; and what was recorded, as documents. Pure.

What is automatic is preliminary until somebody has signed it. A recording is named by its SHA-256 (RFC 6920, ``ni:``):
its bytes stay where they are kept, and whoever is given them can check that they are these.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from sync.interop.fhir_elements import (
    ICD10,
    LOINC,
    MDC,
    URI,
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

EKG_STUDY = coding(LOINC, "11524-6", "EKG study")
LABORATORY_REPORT = coding(LOINC, "11502-2", "Laboratory report")
CONSULT_NOTE = coding(LOINC, "11488-4", "Consult note")
IMAGING_STUDY = coding(LOINC, "18748-4", "Diagnostic imaging study")
HEART_RATE = concept(
    coding(LOINC, "8867-4", "Heart rate"), coding(MDC, "147842", "MDC_ECG_HEART_RATE"), text="heart_rate_bpm"
)
RHYTHM = concept(coding(LOINC, "8884-9", "Heart rate rhythm"), text="rhythm")
DOCUMENTS = {"ecg": EKG_STUDY, "ultrasound_still": IMAGING_STUDY, "ultrasound_clip": IMAGING_STUDY}
NOT_A_DIAGNOSIS = "筛查提示，不作为诊断依据 (for screening, not for diagnosis)"
SIGNED_AS_AUTHOR = coding("urn:iso-astm:E1762-95:2013", "1.2.840.10065.1.12.1.1", "Author's Signature")


def documents(record: PersonRecord, names: Names) -> Iterator[Element]:
    """Everything that was recorded."""
    for row in record.recordings:
        found = record.analyses.get(row["sha256"])
        yield drop_empty(
            {
                "resourceType": "DocumentReference",
                "id": names.id("DocumentReference", row["sha256"]),
                "masterIdentifier": {"system": URI, "value": named_information(row["sha256"])},
                "status": "current",
                "docStatus": "final" if found and found["reviewed_at"] else "preliminary",
                "type": concept(*([DOCUMENTS[row["what"]]] if row["what"] in DOCUMENTS else []), text=row["what"]),
                "subject": names.reference("Patient", record.patient["patient"]),
                "date": row["started_at"],
                "author": [names.reference("Device", row["device"])] if row["device"] else [],
                "content": [{"attachment": _attachment(row)}],
                "context": _context(row, names),
            }
        )


def named_information(sha256: str) -> str:
    """``ni:///sha-256;...`` (RFC 6920)."""
    return "ni:///sha-256;" + base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")


def ecg_reports(record: PersonRecord, names: Names) -> Iterator[Element]:
    """Of each analysed ECG its rate, its rhythm, and a report that names both."""
    for row in record.recordings:
        found = record.analyses.get(row["sha256"])
        if found is None:
            continue
        results = list(_ecg_results(record, row, found, names))
        yield from results
        reviewed = bool(found["reviewed_at"])
        said_by = f"{found['af']}; {found['words'] or ''}".rstrip("; ") if reviewed else ""
        yield drop_empty(
            {
                **_report(record, row, "ecg", row["sha256"], names),
                "status": "final" if reviewed else "preliminary",
                "category": [terminology("v2-0074", "EC", "Electrocardiac (e.g., EKG, EEC, Holter)")],
                "code": concept(EKG_STUDY),
                "effectiveDateTime": row["started_at"],
                "issued": found["reviewed_at"] or found["analysed_at"],
                "resultsInterpreter": [person(found["reviewed_name"] or found["reviewed_by"])] if reviewed else [],
                "result": [_to(one) for one in results],
                "conclusion": f"atrial fibrillation: {said_by}. {NOT_A_DIAGNOSIS}" if reviewed else NOT_A_DIAGNOSIS,
                "presentedForm": [_attachment(row)],
            }
        )


def _ecg_results(record: PersonRecord, row: Row, found: Row, names: Names) -> Iterator[Element]:
    values: list[tuple[str, Element, Element]] = []
    if found["heart_rate_bpm"] is not None:
        rate = quantity(Decimal(int(found["heart_rate_bpm"])), "/min")
        values.append(("rate", HEART_RATE, {"valueQuantity": rate}))
    if found["rhythm"]:
        values.append(("rhythm", RHYTHM, {"valueCodeableConcept": concept(text=f"af {found['rhythm']}")}))
    for part, what, value in values:
        yield drop_empty(
            {
                "resourceType": "Observation",
                "id": names.id("Observation", row["sha256"], part),
                "status": "final" if found["reviewed_at"] else "preliminary",
                "category": category("procedure"),
                "code": what,
                "subject": names.reference("Patient", record.patient["patient"]),
                "encounter": names.reference("Encounter", row["encounter"]) if row["encounter"] else None,
                "effectiveDateTime": row["started_at"],
                "device": names.reference("Device", row["device"]) if row["device"] else None,
                "method": concept(text=f"analysis {found['version']}"),
                **value,
            }
        )


def laboratory_report(record: PersonRecord, row: Row, results: list[Element], names: Names) -> Element:
    """:param row: a reading of type laboratory; ``results``: its Observations"""
    values = said(row, "values_json")
    return drop_empty(
        {
            **_report(record, row, "reading", row["reading"], names),
            "status": "final",
            "category": [terminology("v2-0074", "LAB", "Laboratory")],
            "code": concept(LABORATORY_REPORT),
            "effectiveDateTime": row["taken_at"],
            "issued": row["confirmed_at"],
            "specimen": [_specimen(values, names)] if values.get("specimen") else [],
            "result": [_to(one) for one in results],
            "conclusion": "; ".join(str(line) for line in values.get("comments", ())),
        }
    )


def opinion_report(record: PersonRecord, row: Row, names: Names) -> Element | None:
    """A specialist's signed opinion; None as long as there is none."""
    signed = said(row, "opinion_json")
    if not signed:
        return None
    opinion: Mapping[str, Any] = signed.get("opinion") or {}
    icd10 = str(opinion.get("icd10", "")).strip()
    diagnosis = str(opinion.get("diagnosis", ""))
    told = [str(opinion.get(part, "")) for part in ("findings", "classification", "diagnosis", "action", "advice")]
    decision = said(row, "decision_json")
    if decision:
        told.append(f"{decision.get('by_name', '')}: {decision.get('decision', '')}. {decision.get('plan', '')}")
    return drop_empty(
        {
            **_report(record, row, "consultation", row["consultation"], names),
            "status": "final",
            "category": [terminology("v2-0074", "OTH", "Other")],
            "code": concept(CONSULT_NOTE),
            "effectiveDateTime": row["requested_at"],
            "issued": signed.get("signed_at"),
            "performer": [person(str(signed.get("specialist_name", "")), str(signed.get("institution", "")))],
            "conclusion": "\n".join(line for line in told if line),
            "conclusionCode": [concept(*([coding(ICD10, icd10)] if icd10 else []), text=diagnosis)],
            "presentedForm": [_signed_text(signed)],
        }
    )


def opinion_provenance(row: Row, report: Element, names: Names) -> Element:
    """Who signed the opinion: the Ed25519 signature over exactly the text that the report presents."""
    signed = said(row, "opinion_json")
    who = person(str(signed.get("specialist_name", "")), str(signed.get("institution", "")))
    return {
        "resourceType": "Provenance",
        "id": names.id("Provenance", row["consultation"]),
        "target": [_to(report)],
        "recorded": signed["signed_at"],
        "agent": [{"type": terminology("provenance-participant-type", "author"), "who": who}],
        "signature": [
            {
                "type": [SIGNED_AS_AUTHOR],
                "when": signed["signed_at"],
                "who": who,
                "targetFormat": "application/json",
                "sigFormat": "application/octet-stream",
                "data": signed["signature"],
            }
        ],
    }


def _report(record: PersonRecord, row: Row, kind: str, name: str, names: Names) -> Element:
    return {
        "resourceType": "DiagnosticReport",
        "id": names.id("DiagnosticReport", name),
        "identifier": [names.identifier(kind, name)],
        "subject": names.reference("Patient", record.patient["patient"]),
        "encounter": names.reference("Encounter", row["encounter"]) if row["encounter"] else None,
    }


def _specimen(values: Mapping[str, Any], names: Names) -> Element:
    return drop_empty({"identifier": names.identifier("specimen", str(values["specimen"])), "type": "Specimen"})


def _signed_text(signed: Mapping[str, Any]) -> Element:
    text = str(signed.get("signed_text", ""))
    return {
        "contentType": "application/json",
        "data": base64.b64encode(text.encode()).decode(),
        "title": "signed opinion",
        "creation": signed["signed_at"],
    }


def _attachment(row: Row) -> Element:
    return drop_empty(
        {
            "contentType": row["media_type"],
            "url": named_information(row["sha256"]),
            "size": int(row["bytes"]) if row["bytes"] is not None else None,
            "title": row["what"],
            "creation": row["started_at"],
        }
    )


def _context(row: Row, names: Names) -> Element:
    return drop_empty(
        {
            "encounter": [names.reference("Encounter", row["encounter"])] if row["encounter"] else [],
            "period": {"start": row["started_at"]},
        }
    )


def _to(resource: Element) -> Element:
    return {"reference": f"urn:uuid:{resource['id']}", "type": resource["resourceType"]}
