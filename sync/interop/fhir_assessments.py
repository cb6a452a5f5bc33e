"""What was judged and agreed, as FHIR R4: screening results, follow-up forms, red values, consents. Pure.

- a screening result: RiskAssessment, by rule and version, with the inputs it was made from, so that it can be replayed;
- a signed follow-up form: QuestionnaireResponse;
- a red value: Flag, active until it was dealt with, and what was done as Communication (who was called, read back);
- a consent to a consultation: Consent, with the version of the text and the signature's name.

Without names (``named`` False) answers and reasons in free text stay out: only codes, numbers and dates go along.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from sync.formats.critical_actions import ENDING
from sync.interop.fhir_elements import LOINC, Element, Names, coding, concept, drop_empty, number, person, terminology
from sync.interop.fhir_record import PersonRecord, Row, said
from sync.interop.fhir_reports import NOT_A_DIAGNOSIS, named_information

CONFIDENTIAL_FORMS = frozenset({"severe_mental_illness"})
PSYCHIATRIC = coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "PSY", "psychiatry information sensitivity")
RESTRICTED = coding("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "R", "restricted")
CONSENT_DOCUMENT = coding(LOINC, "59284-0", "Consent Document")
_CODE = re.compile(r"[A-Za-z0-9_+.-]{1,40}")
_TELEPHONE = re.compile(r"[0-9]{7,}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def risk_assessments(record: PersonRecord, names: Names) -> Iterator[Element]:
    """Every result of a screening rule."""
    for row in record.results:
        yield drop_empty(
            {
                **_of(record, row, "RiskAssessment", row["result"], names),
                "identifier": [names.identifier("screening-result", row["result"])],
                "status": "final",
                "code": concept(text=row["rule"]),
                "method": concept(text=f"rule {row['rule']} version {row['rule_version']}"),
                "occurrenceDateTime": row["at"],
                "prediction": [
                    {"outcome": concept(text=row["code"]), "qualitativeRisk": concept(text=row["level"])}
                ],
                "mitigation": row["advice"],
                "note": [
                    {"text": NOT_A_DIAGNOSIS},
                    {"text": "inputs " + json.dumps(said(row, "inputs_json"), ensure_ascii=False, sort_keys=True)},
                ],
            }
        )  # fmt: skip


def questionnaire_responses(record: PersonRecord, names: Names, named: bool) -> Iterator[Element]:
    """Every signed form; one about severe mental illness is labelled as restricted (Mental Health Law, art. 4)."""
    for row in record.forms:
        items = [_item(name, value, named) for name, value in sorted(said(row, "answers_json").items())]
        by = row["signed_by"] or record.name_of(row["visit"], row["by"])
        labels = [RESTRICTED, PSYCHIATRIC] if row["form"] in CONFIDENTIAL_FORMS else []
        yield drop_empty(
            {
                **_of(record, row, "QuestionnaireResponse", str(row["n"]), names),
                "meta": {"security": labels} if labels else {},
                "identifier": names.identifier("follow-up-form", str(row["n"])),
                "questionnaire": f"urn:xunzhen:form:{row['form']}|{row['form_version']}",
                "status": "completed",
                "authored": row["filled_at"],
                "author": person(by) if by else {},
                "item": [item for item in items if item.get("answer")],
            }
        )


def _item(name: str, value: Any, named: bool) -> Element:
    values = value if isinstance(value, list) else [value]
    answers = [answer for one in values if (answer := _answer(one, named))]
    return {"linkId": name, "answer": answers}


def _answer(value: Any, named: bool) -> Element:
    """One answer by its type; {} for nothing, and for free text where no names may go along."""
    if isinstance(value, bool):
        return {"valueBoolean": value}
    if isinstance(value, int):
        return {"valueInteger": value}
    text = " ".join(map(str, value.values())) if isinstance(value, dict) else str(value or "")
    if not text:
        return {}
    if _DATE.fullmatch(text):
        return {"valueDate": text}
    decimal = _decimal(text)
    if decimal is not None:
        return {"valueDecimal": number(decimal)}
    if not named and (not _CODE.fullmatch(text) or _TELEPHONE.search(text)):
        return {}
    return {"valueString": text}


def _decimal(text: str) -> Decimal | None:
    """A number with a point; codes such as "1" or "01" and telephone numbers are none."""
    try:
        return Decimal(text) if re.fullmatch(r"-?[0-9]{1,6}\.[0-9]{1,4}", text) else None
    except InvalidOperation:
        return None


def red_values(record: PersonRecord, names: Names, named: bool) -> Iterator[Element]:
    """Of each red value a Flag, and a Communication for every thing that was done about it."""
    findings = {row["finding"]: row for row in record.findings}
    readings = {row["reading"]: row for row in record.readings}
    for row in record.actions:
        about = row["reading"]
        if row["action"] == "found":
            yield _flag(record, row, findings.get(about), readings.get(about), names)
        elif any(one["action"] == "found" and one["reading"] == about for one in record.actions):
            yield _done(record, row, names, named)


def _flag(record: PersonRecord, row: Row, finding: Row | None, reading: Row | None, names: Names) -> Element:
    done = [one for one in record.actions if one["reading"] == row["reading"] and one["action"] in ENDING]
    kind = finding["what"] if finding else reading["type"] if reading else "critical value"
    return drop_empty(
        {
            **_of(record, row, "Flag", row["reading"], names),
            "identifier": [names.identifier("red-value", row["reading"])],
            "status": "inactive" if done else "active",
            "category": [terminology("flag-category", "clinical", "Clinical")],
            "code": concept(text=f"critical: {kind}"),
            "period": drop_empty({"start": row["at"], "end": done[0]["at"] if done else ""}),
        }
    )


def _done(record: PersonRecord, row: Row, names: Names, named: bool) -> Element:
    words = [row["action"]]
    if row["read_back"]:
        words.append("read back")
    if named and row["reason"]:
        words.append(str(row["reason"]))
    by = record.name_of(row["visit"], row["by"])
    return drop_empty(
        {
            **_of(record, row, "Communication", str(row["n"]), names),
            "status": "completed",
            "about": [names.reference("Flag", row["reading"])],
            "sent": row["at"],
            "recipient": [person(row["receiver"])] if named and row["receiver"] else [],
            "sender": person(by) if by else {},
            "payload": [{"contentString": "; ".join(words)}],
        }
    )


def consents(record: PersonRecord, names: Names) -> Iterator[Element]:
    """What was agreed to before a specialist was asked. An emergency is treated without one (Civil Code, art. 1220)."""
    for row in record.consultations:
        agreed: Mapping[str, Any] = said(row, "consent_json")
        if not agreed.get("text_version") or agreed.get("signed_by") == "emergency":
            continue
        signature = agreed.get("signature_sha256") or row["consent_sha256"]
        yield drop_empty(
            {
                "resourceType": "Consent",
                "id": names.id("Consent", row["consultation"]),
                "identifier": [names.identifier("consent", row["consultation"])],
                "status": "active",
                "scope": terminology("consentscope", "patient-privacy", "Privacy Consent"),
                "category": [concept(CONSENT_DOCUMENT)],
                "patient": names.reference("Patient", record.patient["patient"]),
                "dateTime": row["requested_at"],
                "performer": [person(str(agreed.get("signed_by", "patient")))],
                "policyRule": concept(text=str(agreed["text_version"])),
                "sourceAttachment": {"url": named_information(str(signature)), "title": "signature"}
                if signature
                else {},
                "verification": [{"verified": True}] if signature else [],
                "provision": {"type": "permit", "purpose": [_treatment()]},
            }
        )


def _treatment() -> Element:
    return coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "TREAT", "treatment")


def _of(record: PersonRecord, row: Row, resource_type: str, name: str, names: Names) -> Element:
    """What all of these say alike: which one, whose, in which encounter (a QuestionnaireResponse too)."""
    encounter: Sequence[Row] = [one for one in record.encounters if one["encounter"] == row["encounter"]]
    return {
        "resourceType": resource_type,
        "id": names.id(resource_type, name),
        "subject": names.reference("Patient", record.patient["patient"]),
        "encounter": names.reference("Encounter", row["encounter"]) if encounter else None,
    }
