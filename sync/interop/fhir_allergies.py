"""Allergies as FHIR R4 AllergyIntolerance, from the signed forms of what lasts of a person that count. Pure.

The codes are those of the national basic-information form (个人基本信息表), with what the project adds; a test holds
them against the form's file. What somebody wrote in words stays out where names do.
"""

from __future__ import annotations

import json

from sync.interop.fhir_elements import Element, Names, coding, concept, drop_empty, person
from sync.interop.fhir_record import PersonRecord, Row
from sync.record.allergies import FORM, NONE, WORDS, together

SNOMED = "http://snomed.info/sct"
NO_KNOWN_DRUG_ALLERGY = coding(SNOMED, "409137002", "No known drug allergy")
SUBSTANCES: dict[str, dict[str, tuple[str, str]]] = {
    "drug_allergies": {
        "2": ("青霉素", "medication"),
        "3": ("磺胺", "medication"),
        "4": ("链霉素", "medication"),
        "51": ("头孢菌素类", "medication"),
        "52": ("碘造影剂", "medication"),
        "53": ("破伤风抗毒素", "biologic"),
        "54": ("局麻药", "medication"),
        "5": ("其他", "medication"),
    },
    "other_allergies": {
        "2": ("食物", "food"),
        "3": ("花粉、尘螨", "environment"),
        "4": ("乳胶", "environment"),
        "5": ("昆虫叮咬", "environment"),
        "9": ("其他", "environment"),
    },
}
"""Field of the form: code to the word there and the category of FHIR."""
_CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"


def allergies(record: PersonRecord, names: Names, named: bool) -> list[Element]:
    """One resource for each allergy; one that says so where the person was asked and knows of no drug."""
    if not record.allergies:
        return []
    forms = [(row, json.loads(row["answers_json"] or "{}")) for row in record.allergies]
    told = together([answers for _, answers in forms])
    made = []
    for field, substances in SUBSTANCES.items():
        if field == "drug_allergies" and told.get(field) == [NONE]:
            newest = forms[0][0]
            made.append(_allergy(record, newest, names, "none", concept(NO_KNOWN_DRUG_ALLERGY), "medication"))
        seen = set()
        for row, answers in forms:
            words = str(answers.get(WORDS[field]) or "") if named else ""
            for code in (str(one) for one in answers.get(field) or ()):
                word, category = substances.get(code, ("", ""))
                note = words if word == "其他" or field == "other_allergies" else ""
                if word and (code, note) not in seen:
                    seen.add((code, note))
                    local = concept(coding(f"urn:xunzhen:form:{FORM}:{field}", code, word), text=word)
                    made.append(_allergy(record, row, names, f"{field}/{code}", local, category, note))
    return made


def _allergy(
    record: PersonRecord, row: Row, names: Names, which: str, code: Element, category: str, note: str = ""
) -> Element:
    return drop_empty(
        {
            "resourceType": "AllergyIntolerance",
            "id": names.id("AllergyIntolerance", record.patient["patient"], str(row["n"]), which),
            "clinicalStatus": concept(coding(_CLINICAL, "active")),
            "verificationStatus": concept(coding(_VERIFICATION, "unconfirmed")),
            "category": [category],
            "code": code,
            "patient": names.reference("Patient", record.patient["patient"]),
            "recordedDate": row["filled_at"],
            "recorder": person(row["signed_by"]) if row["signed_by"] else None,
            "note": [{"text": note}] if note else [],
        }
    )
