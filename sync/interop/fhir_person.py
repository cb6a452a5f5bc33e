"""Patient, Encounter and Device of FHIR R4 from the record. Pure.

Pseudonymous unless somebody said why names are needed: then a patient has a number of ours, sex and year of birth, and
the security label PSEUDED; no name, address, telephone number or village. The identity number stays sealed either way.
"""

from __future__ import annotations

from sync.interop.fhir_elements import Element, Names, coding, concept, drop_empty, person, terminology
from sync.interop.fhir_record import PersonRecord, Row, said

GENDERS = {"male": "male", "female": "female", "unspecified": "other"}
PSEUDONYMOUS = coding("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "PSEUDED", "pseudonymized")
FIELD = coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "FLD", "field")
"""Away from a healthcare place, in the patient's surroundings."""


def patient(record: PersonRecord, names: Names, named: bool) -> Element:
    """:param named: with name, day of birth, address and telephone number"""
    row = record.patient
    made: Element = {
        "resourceType": "Patient",
        "id": names.id("Patient", row["patient"]),
        "identifier": [names.identifier("patient", row["patient"])],
        "gender": GENDERS.get(row["sex"] or "", "unknown"),
        "birthDate": (row["born_on"] or "") if named else (row["born_on"] or "")[:4],
    }
    if named:
        made["name"] = [{"use": "official", "text": row["name"]}] if row["name"] else []
        made["address"] = [{"text": row["address"], "country": "CN"}] if row["address"] else []
        made["telecom"] = [{"system": "phone", "value": row["phone"]}] if row["phone"] else []
    else:
        made["meta"] = {"security": [PSEUDONYMOUS]}
    return drop_empty(made)


def encounter(record: PersonRecord, row: Row, names: Names, county: str, named: bool) -> Element:
    """:param county: who runs the vans
    :param named: with the village, not only its township
    """
    visit = record.visits.get(row["visit"] or "")
    place = " ".join(visit[name] for name in ("township", "village_name")[: 1 + named] if visit[name]) if visit else ""
    by = record.name_of(row["visit"], row["by"])
    return drop_empty(
        {
            "resourceType": "Encounter",
            "id": names.id("Encounter", row["encounter"]),
            "identifier": [names.identifier("encounter", row["encounter"])],
            "status": "finished" if row["closed_at"] else "in-progress",
            "class": FIELD,
            "subject": names.reference("Patient", record.patient["patient"]),
            "participant": [{"individual": person(by)}] if by else [],
            "period": drop_empty({"start": row["opened_at"], "end": row["closed_at"]}),
            "reasonCode": [concept(text=row["purpose"])] if row["purpose"] else [],
            "location": [{"location": {"display": place}}] if place else [],
            "serviceProvider": {"display": county} if county else None,
        }
    )


def device(record: PersonRecord, name: str, names: Names) -> Element:
    """A measuring device, as far as the van knows it; at least its name and driver."""
    row = record.devices.get(name)
    identity = said(row, "identity_json") if row else {}
    measured = [one for one in record.readings if one["device"] == name]
    serial = next((one["serial"] for one in measured if one["serial"]), None) or identity.get("serial")
    driver = (row["driver"] if row else None) or next((one["driver"] for one in measured if one["driver"]), None)
    title = row["title"] if row and row["title"] else name
    return drop_empty(
        {
            "resourceType": "Device",
            "id": names.id("Device", name),
            "identifier": [names.identifier("device", name)],
            "status": "inactive" if row and row["state"] == "removed" else "active",
            "manufacturer": identity.get("vendor") or identity.get("manufacturer"),
            "serialNumber": serial,
            "modelNumber": identity.get("model"),
            "deviceName": [{"name": title, "type": "user-friendly-name"}],
            "version": [{"value": identity["firmware"]}] if identity.get("firmware") else [],
            "type": concept(text=driver) if driver else None,
        }
    )


def category(code: str) -> list[Element]:
    """Of an Observation: "vital-signs", "laboratory", "procedure"."""
    return [terminology("observation-category", code)]
