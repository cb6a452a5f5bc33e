"""A person as FHIR R4: valid by the published schema and by models of others, and without names unless asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sync.formats.records import Draft, format_time
from sync.interop import fhir
from sync.interop.fhir_record import PersonRecord, of_encounter, of_person
from tests.sync.interop.fhir_case import (
    MORNING,
    NAME,
    ORIGIN,
    SECRETS,
    SHA_ECG,
    VILLAGE,
    drafts,
    journal,
    person,
    reader,
)

SCHEMA = Path(__file__).parents[3] / "build" / "fhir" / "fhir.schema.json"
PSEUDONYMOUS = fhir.Export(MORNING, "li.qiang", "青峪县", "xunzhen 0.1.0")
NAMED = fhir.Export(MORNING, "li.qiang", "青峪县", "xunzhen 0.1.0", named_because="转诊到县医院")
BOTH = pytest.mark.parametrize("export", [PSEUDONYMOUS, NAMED], ids=["pseudonymous", "named"])


@pytest.fixture
async def record(tmp_path: Path) -> PersonRecord:
    return await person(tmp_path)


def of_type(made: dict[str, Any], resource_type: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in made["entry"] if entry["resource"]["resourceType"] == resource_type]


def by_code(made: dict[str, Any], code: str) -> dict[str, Any]:
    """The Observation that has this code."""
    found = [one for one in of_type(made, "Observation") if code in {c["code"] for c in one["code"].get("coding", ())}]
    assert len(found) == 1, code
    return found[0]


# valid by others


@BOTH
def test_the_published_schema_of_r4_finds_no_fault(record: PersonRecord, export: fhir.Export) -> None:
    if not SCHEMA.exists():
        pytest.skip("skipped: no published FHIR schema (scripts/fetch-fhir-schema build/fhir)")
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text(encoding="utf-8")))
    made = json.loads(fhir.written(fhir.bundle(record, export)))
    for resource in (made, *(entry["resource"] for entry in made["entry"])):
        assert [error.message for error in validator.iter_errors(resource)] == []
    made["entry"][0]["resource"]["gender"] = "women"
    assert not validator.is_valid(made)


@BOTH
def test_the_models_of_another_implementation_take_every_resource(record: PersonRecord, export: fhir.Export) -> None:
    models = pytest.importorskip("fhir.resources.R4B")
    made = json.loads(fhir.written(fhir.bundle(record, export)))
    for entry in made["entry"]:
        resource = entry["resource"]
        read = models.get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        assert json.loads(read.model_dump_json(exclude_none=True)).keys() == resource.keys()
    models.get_fhir_model_class("Bundle").model_validate(made)
    del made["entry"][1]["resource"]["status"]
    with pytest.raises(ValueError, match="status"):
        models.get_fhir_model_class("Encounter").model_validate(made["entry"][1]["resource"])


@BOTH
def test_every_reference_leads_to_a_resource_of_the_bundle(record: PersonRecord, export: fhir.Export) -> None:
    made = fhir.bundle(record, export)
    there = {entry["fullUrl"] for entry in made["entry"]}
    assert len(there) == len(made["entry"])
    assert set(references(made)) <= there


def references(element: Any) -> Iterator[str]:
    if isinstance(element, dict):
        if isinstance(element.get("reference"), str):
            yield element["reference"]
        for inner in element.values():
            yield from references(inner)
    elif isinstance(element, list):
        for inner in element:
            yield from references(inner)


# whose


def test_without_a_reason_nobody_can_be_named(record: PersonRecord) -> None:
    made = fhir.bundle(record, PSEUDONYMOUS)
    written = fhir.written(made).decode()
    assert [secret for secret in SECRETS if secret in written] == []
    [patient] = of_type(made, "Patient")
    assert (patient["gender"], patient["birthDate"]) == ("female", "1959")
    assert [label["code"] for label in made["meta"]["security"]] == ["PSEUDED"]
    assert patient["meta"]["security"][0]["code"] == "PSEUDED"


def test_with_a_reason_the_name_and_the_reason_stand_in_it(record: PersonRecord) -> None:
    made = fhir.bundle(record, NAMED)
    [patient] = of_type(made, "Patient")
    assert patient["name"] == [{"use": "official", "text": NAME}]
    assert (patient["birthDate"], patient["telecom"][0]["value"]) == ("1959-03-12", "13800138000")
    assert "security" not in made["meta"]
    whole = of_type(made, "Provenance")[-1]
    assert whole["reason"] == [{"text": "转诊到县医院"}]
    assert VILLAGE in of_type(made, "Encounter")[0]["location"][0]["location"]["display"]
    assert "0426" not in fhir.written(made).decode()


async def test_what_is_rehearsed_says_so(tmp_path: Path) -> None:
    made = fhir.bundle(await person(tmp_path, practice=True), NAMED)
    assert [label["code"] for label in made["meta"]["security"]] == ["HTEST"]


# what was measured


def test_readings_become_observations_with_their_codes_and_units(record: PersonRecord) -> None:
    made = fhir.bundle(record, PSEUDONYMOUS)
    for code, value, unit in (
        ("14743-9", 6.4, "mmol/L"),
        ("59408-5", 93, "%"),
        ("61006-3", 2.1, "%"),
        ("8310-5", 36.55, "Cel"),
        ("29463-7", 61.5, "kg"),
        ("39156-5", 24.64, "kg/m2"),
        ("14933-6", 388, "umol/L"),
    ):
        told = by_code(made, code)["valueQuantity"]
        assert (told["value"], told["code"], told["system"]) == (value, unit, "http://unitsofmeasure.org")
    oxygen = [one["code"] for one in by_code(made, "2708-6")["code"]["coding"]]
    assert oxygen == ["2708-6", "59408-5", str(2 * 65536 + 19384)]
    pressure = by_code(made, "85354-9")
    parts = {part["code"]["coding"][0]["code"]: part["valueQuantity"]["value"] for part in pressure["component"]}
    assert parts == {"8480-6": 182, "8462-4": 96}
    assert pressure["note"] == [{"text": "irregular_pulse"}]
    assert pressure["category"][0]["coding"][0]["code"] == "vital-signs"
    assert (pressure["effectiveDateTime"], pressure["performer"]) == ("2026-03-02T01:00:00.000Z", [{"display": "周敏"}])


def test_what_was_rejected_or_never_confirmed_is_not_told(record: PersonRecord) -> None:
    made = fhir.bundle(record, PSEUDONYMOUS)
    values = [one.get("valueQuantity", {}).get("value") for one in of_type(made, "Observation")]
    assert not {90, 91} & set(values)


def test_laboratory_results_keep_bounds_words_and_flags(record: PersonRecord) -> None:
    made = fhir.bundle(record, PSEUDONYMOUS)
    haemoglobin = by_code(made, "718-7")
    assert (haemoglobin["valueQuantity"]["value"], haemoglobin["referenceRange"]) == (52, [{"text": "110-150"}])
    assert haemoglobin["interpretation"][0]["coding"][0]["code"] == "LL"
    words = {one["code"].get("text"): one for one in of_type(made, "Observation")}
    assert words["CRP"]["valueQuantity"] | {"comparator": "<", "value": 10} == words["CRP"]["valueQuantity"]
    assert words["CRP"]["status"] == "preliminary"
    assert words["GLU"]["valueString"] == "++++"
    [report] = [one for one in of_type(made, "DiagnosticReport") if one["category"][0]["coding"][0]["code"] == "LAB"]
    assert len(report["result"]) == 3
    assert report["specimen"][0]["identifier"]["value"] == "S-0042"


def test_an_ecg_is_preliminary_until_a_doctor_has_signed(record: PersonRecord) -> None:
    made = fhir.bundle(record, PSEUDONYMOUS)
    report = ecg_report(made)
    assert (report["status"], "resultsInterpreter" in report) == ("preliminary", False)
    assert "不作为诊断依据" in report["conclusion"]
    rate, rhythm = (resource_of(made, one["reference"]) for one in report["result"])
    assert (rate["status"], rate["valueQuantity"]["value"]) == ("preliminary", 72)
    assert rhythm["valueCodeableConcept"]["text"] == "af possible"


async def test_a_signed_ecg_is_final_and_names_who_signed(tmp_path: Path) -> None:
    review = {"sha256": SHA_ECG, "version": "1", "agrees": False, "af": "no", "words": "房性早搏", "by_name": "李文"}
    record = await person(tmp_path, Draft("ecg_review/1", review, "li.wen", "visit-1", "encounter-1"))
    report = ecg_report(fhir.bundle(record, PSEUDONYMOUS))
    assert (report["status"], report["resultsInterpreter"]) == ("final", [{"display": "李文"}])
    assert report["conclusion"].startswith("atrial fibrillation: no; 房性早搏")


def ecg_report(made: dict[str, Any]) -> dict[str, Any]:
    [report] = [one for one in of_type(made, "DiagnosticReport") if one["code"]["coding"][0]["code"] == "11524-6"]
    return report


def resource_of(made: dict[str, Any], url: str) -> dict[str, Any]:
    [found] = [entry["resource"] for entry in made["entry"] if entry["fullUrl"] == url]
    return found


def test_recordings_are_documents_named_by_their_hash(record: PersonRecord) -> None:
    made = fhir.bundle(record, PSEUDONYMOUS)
    documents = {one["type"]["text"]: one for one in of_type(made, "DocumentReference")}
    assert documents.keys() == {"ecg", "ultrasound_still"}
    attachment = documents["ecg"]["content"][0]["attachment"]
    assert attachment["url"] == "ni:///sha-256;oaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaE"
    assert (attachment["size"], attachment["contentType"]) == (1234, "application/vnd.xunzhen.ecg")


def test_a_signed_opinion_is_a_report_with_its_signature_beside_it(record: PersonRecord) -> None:
    made = fhir.bundle(record, PSEUDONYMOUS)
    [report] = [one for one in of_type(made, "DiagnosticReport") if one["code"]["coding"][0]["code"] == "11488-4"]
    assert report["conclusionCode"][0]["coding"][0] == {"system": "http://hl7.org/fhir/sid/icd-10", "code": "I10"}
    assert report["performer"] == [{"display": "何毅, 华西医院"}]
    signed = of_type(made, "Provenance")[0]
    assert signed["target"] == [{"reference": f"urn:uuid:{report['id']}", "type": "DiagnosticReport"}]
    assert signed["signature"][0]["data"] == "c2lnbmF0dXJl"


def test_devices_are_told_as_far_as_the_van_knows_them(record: PersonRecord) -> None:
    devices = {one["identifier"][0]["value"]: one for one in of_type(fhir.bundle(record, PSEUDONYMOUS), "Device")}
    cuff = devices["cuff-1"]
    assert (cuff["manufacturer"], cuff["modelNumber"], cuff["serialNumber"]) == ("Omron", "U32", "0042")
    assert devices["ecg-1"]["deviceName"][0]["name"] == "ecg-1"


# again


def test_asked_again_every_resource_has_the_same_name(record: PersonRecord) -> None:
    later = fhir.Export(MORNING + timedelta(days=1), "li.qiang", "青峪县", "xunzhen 0.2.0")
    first, second = fhir.bundle(record, PSEUDONYMOUS), fhir.bundle(record, later)
    same = [entry["fullUrl"] for entry in first["entry"][:-1]]
    assert same == [entry["fullUrl"] for entry in second["entry"][:-1]]
    assert first["id"] != second["id"]


async def test_one_encounter_tells_of_that_encounter_only(tmp_path: Path) -> None:
    store = journal(tmp_path)
    other = {"encounter_id": "encounter-2", "patient": "patient-1", "purpose": ""}
    said = {"reading": "reading-77", "device": "cuff-1", "driver": "x", "type": "heart_rate", "by_hand": False}
    await store.commit(
        *drafts(MORNING),
        Draft("encounter/1", other, "zhou.min", "visit-1", "encounter-2"),
        Draft("reading/1", {**said, "values": {"heart_rate_bpm": 55}}, None, "visit-1", "encounter-2"),
        Draft(
            "reading_confirmed/1",
            {"reading": "reading-77", "patient": "patient-1"},
            "zhou.min",
            "visit-1",
            "encounter-2",
        ),
    )
    second = of_encounter(reader(store), ORIGIN, "encounter-2")
    whole = of_person(reader(store), ORIGIN, "patient-1")
    assert second is not None
    assert whole is not None
    made = fhir.bundle(second, PSEUDONYMOUS)
    assert len(of_type(made, "Encounter")) == 1
    assert [one["valueQuantity"]["value"] for one in of_type(made, "Observation")] == [55]
    assert of_type(made, "DiagnosticReport") == []
    assert len(of_type(fhir.bundle(whole, PSEUDONYMOUS), "Encounter")) == 2
    assert of_encounter(reader(store), ORIGIN, "encounter-9") is None
    assert of_person(reader(store), ORIGIN, "patient-9") is None
    store.close()


def test_the_time_of_the_bundle_is_that_of_the_export(record: PersonRecord) -> None:
    assert fhir.bundle(record, PSEUDONYMOUS)["timestamp"] == format_time(MORNING)


# what was judged and agreed


def test_a_screening_result_is_a_risk_assessment_that_can_be_replayed(record: PersonRecord) -> None:
    [risk] = of_type(fhir.bundle(record, PSEUDONYMOUS), "RiskAssessment")
    assert risk["method"]["text"] == "rule BP-GRADE version 1.2"
    assert (risk["prediction"][0]["outcome"]["text"], risk["mitigation"]) == ("HTN3", "refer")
    assert json.loads(risk["note"][1]["text"].removeprefix("inputs ")) == {"sbp": 182, "dbp": 96}
    assert "不作为诊断依据" in risk["note"][0]["text"]


def test_a_form_goes_with_its_types_and_without_names_its_free_text_stays(record: PersonRecord) -> None:
    def items(export: fhir.Export) -> dict[str, Any]:
        form, _ = of_type(fhir.bundle(record, export), "QuestionnaireResponse")
        return {item["linkId"]: item["answer"] for item in form["item"]}

    without = items(PSEUDONYMOUS)
    assert without["symptoms"] == [{"valueString": "1"}, {"valueString": "5"}]
    assert (without["sbp"], without["salt_g"]) == ([{"valueInteger": 182}], [{"valueDecimal": 8.5}])
    assert (without["smokes"], without["next_on"]) == ([{"valueBoolean": False}], [{"valueDate": "2026-04-02"}])
    assert not {"doctor_words", "contact"} & without.keys()
    assert items(NAMED)["doctor_words"] == [{"valueString": f"{NAME} 头晕"}]
    _, ill = of_type(fhir.bundle(record, PSEUDONYMOUS), "QuestionnaireResponse")
    assert [label["code"] for label in ill["meta"]["security"]] == ["R", "PSY"]


def test_a_red_value_is_a_flag_until_it_is_dealt_with_and_says_what_was_done(record: PersonRecord) -> None:
    made = fhir.bundle(record, NAMED)
    pressure, pause = of_type(made, "Flag")
    assert (pressure["status"], pressure["code"]["text"]) == ("inactive", "critical: blood_pressure")
    assert "end" in pressure["period"]
    assert (pause["status"], pause["code"]["text"]) == ("active", "critical: ecg_pause")
    referred, _told = of_type(made, "Communication")
    assert referred["payload"] == [{"contentString": "referred; read back"}]
    assert referred["recipient"] == [{"display": "县医院急诊科 王医生"}]
    assert referred["about"][0]["reference"] == f"urn:uuid:{pressure['id']}"
    assert "王医生" not in fhir.written(fhir.bundle(record, PSEUDONYMOUS)).decode()


async def test_a_consent_names_its_text_and_signature_and_an_emergency_has_none(tmp_path: Path) -> None:
    emergency = {"text_version": "emergency", "language": "zh", "read_aloud": False, "signed_by": "emergency"}
    fields = {"consultation": "consultation-2", "patient": "patient-1", "urgency": "emergency", "fields": {}}
    asked = Draft("consultation/1", {**fields, "consent": emergency}, "zhou.min", "visit-1", "encounter-1")
    [consent] = of_type(fhir.bundle(await person(tmp_path, asked), NAMED), "Consent")
    assert consent["policyRule"]["text"] == "consent/0123456789ab"
    assert consent["sourceAttachment"]["url"].startswith("ni:///sha-256;")
