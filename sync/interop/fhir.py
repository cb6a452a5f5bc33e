"""One person, or one encounter, as a FHIR R4 (4.0.1) Bundle of type collection. Pure.

Patient, AllergyIntolerance, Encounter, Observation, DiagnosticReport, DocumentReference, Device, Provenance,
RiskAssessment (screening), QuestionnaireResponse (follow-up forms), Flag and Communication (red values), Consent; codes
in LOINC, MDC and UCUM.
Pseudonymous unless a reason is given why names are needed; the reason stands in the bundle. Asked again, every resource
has the same name; only the bundle itself and its time are new.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sync.formats.records import format_time
from sync.interop import fhir_allergies, fhir_assessments, fhir_observations, fhir_person, fhir_reports
from sync.interop.fhir_elements import Element, Names, coding, concept, drop_empty, person, terminology
from sync.interop.fhir_record import PersonRecord

MEDIA_TYPE = "application/fhir+json"
VERSION = "4.0.1"
REHEARSED = coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HTEST", "test health data")


@dataclass(frozen=True, slots=True)
class Export:
    """Who asks for it and why.

    :ivar named_because: why names are needed; empty: pseudonymous
    :ivar software: name and version of what writes it
    """

    at: datetime
    by: str
    county: str
    software: str
    named_because: str = ""


def bundle(record: PersonRecord, export: Export) -> Element:
    """The bundle; its first entry is the patient, its last the provenance of the whole."""
    names = Names(record.origin)
    resources = _resources(record, names, export)
    resources.append(_provenance(record, resources, names, export))
    return {
        "resourceType": "Bundle",
        "id": names.id("Bundle", record.patient["patient"], format_time(export.at)),
        "meta": drop_empty({"lastUpdated": format_time(export.at), "security": _security(record, export)}),
        "identifier": names.identifier("bundle", f"{record.patient['patient']}/{format_time(export.at)}"),
        "type": "collection",
        "timestamp": format_time(export.at),
        "entry": [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in resources],
    }


def written(made: Element) -> bytes:
    """As a file: UTF-8, indented for people."""
    return json.dumps(made, ensure_ascii=False, indent=1).encode() + b"\n"


def _resources(record: PersonRecord, names: Names, export: Export) -> list[Element]:
    named = bool(export.named_because)
    made = [fhir_person.patient(record, names, named)]
    made += fhir_allergies.allergies(record, names, named)
    made += [fhir_person.encounter(record, row, names, export.county, named) for row in record.encounters]
    used = {row["device"] for row in (*record.readings, *record.recordings) if row["device"]}
    made += [fhir_person.device(record, name, names) for name in sorted(used)]
    for row in record.readings:
        observations = fhir_observations.observations(record, row, names)
        made += observations
        if observations and row["type"] == fhir_observations.LABORATORY:
            made.append(fhir_reports.laboratory_report(record, row, observations, names))
    made += fhir_reports.ecg_reports(record, names)
    made += fhir_reports.documents(record, names)
    for row in record.consultations:
        report = fhir_reports.opinion_report(record, row, names)
        if report is not None:
            made += [report, fhir_reports.opinion_provenance(row, report, names)]
    made += fhir_assessments.risk_assessments(record, names)
    made += fhir_assessments.questionnaire_responses(record, names, named)
    made += fhir_assessments.red_values(record, names, named)
    made += fhir_assessments.consents(record, names)
    return made


def _provenance(record: PersonRecord, resources: list[Element], names: Names, export: Export) -> Element:
    """Who made this bundle, from which journal, and why with names."""
    author, assembler = (terminology("provenance-participant-type", role) for role in ("author", "assembler"))
    return drop_empty(
        {
            "resourceType": "Provenance",
            "id": names.id("Provenance", "bundle", record.patient["patient"], format_time(export.at)),
            "target": [{"reference": f"urn:uuid:{one['id']}", "type": one["resourceType"]} for one in resources],
            "recorded": format_time(export.at),
            "reason": [concept(text=export.named_because)] if export.named_because else [],
            "agent": [
                {"type": assembler, "who": person(export.software)},
                {"type": author, "who": person(export.by, export.county)},
            ],
            "entity": [{"role": "source", "what": {"identifier": names.identifier("journal", record.origin)}}],
        }
    )


def _security(record: PersonRecord, export: Export) -> list[Element]:
    labels = [] if export.named_because else [fhir_person.PSEUDONYMOUS]
    return labels + ([REHEARSED] if record.practice else [])
