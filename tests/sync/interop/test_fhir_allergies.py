"""Allergies as FHIR R4: coded as the form has them, none known told as such, words only where names go along."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sync.interop import fhir
from sync.interop.fhir_record import PersonRecord
from sync.record.allergies import counting

SCHEMA = Path(__file__).parents[3] / "build" / "fhir" / "fhir.schema.json"
AT = datetime(2026, 3, 2, 1, tzinfo=UTC)
PATIENT = {
    "patient": "patient-1",
    "name": "杨桂芳",
    "sex": "female",
    "born_on": "1959-03-12",
    "address": "",
    "phone": "",
}
TOLD = {
    "drug_allergies": ["2", "5"],
    "drug_allergies_other": "左氧氟沙星 皮疹",
    "other_allergies": ["2"],
    "other_allergies_said": "花生",
}


def row(answers: dict[str, Any], n: int = 7, form: str = "background", patient: str = "patient-1") -> dict[str, Any]:
    said = {"n": n, "form": form, "form_version": "1", "answers_json": json.dumps(answers), "signed_by": "周敏"}
    where = {"patient": patient, "visit": None, "encounter": None, "by": "zhou.min"}
    return {**said, **where, "filled_at": "2026-03-02T01:00:00.000Z"}


def record(*forms: dict[str, Any]) -> PersonRecord:
    asked = [one for one in forms if one["form"] == "background"]
    counted = counting(asked, [{"n": 8, "what": "patient-1 patient-2"}], ("patient-1", "patient-2"))
    return PersonRecord("van-07.qingyu.example", PATIENT, (), {}, (), (), {}, (), forms=forms, allergies=counted)


def told(made: PersonRecord, because: str = "") -> list[dict[str, Any]]:
    bundle = fhir.bundle(made, fhir.Export(AT, "li.qiang", "青峪县", "xunzhen 0.1.0", because))
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "AllergyIntolerance"]


def test_each_allergy_is_a_resource_of_its_category() -> None:
    found = told(record(row(TOLD)), "转诊到县医院")
    assert [(one["code"]["text"], one["category"]) for one in found] == [
        ("青霉素", ["medication"]),
        ("其他", ["medication"]),
        ("食物", ["food"]),
    ]
    assert [one.get("note", [{}])[0].get("text") for one in found] == [None, "左氧氟沙星 皮疹", "花生"]
    assert {one["patient"]["type"] for one in found} == {"Patient"}
    assert {one["recorder"]["display"] for one in found} == {"周敏"}


def test_words_stay_out_where_names_do() -> None:
    assert not any("note" in one for one in told(record(row(TOLD))))


def test_only_the_last_signed_form_counts_and_none_known_is_told() -> None:
    later = row({"drug_allergies": ["1"]}, n=9)
    (none,) = told(record(row(TOLD), later, row({"drug_allergies": ["2"]}, n=11, form="elderly")))
    assert none["code"]["coding"][0]["code"] == "409137002"
    assert told(record(row({"sbp": 120}, form="hypertension"))) == [], "nobody asked: nothing is said"


def test_each_registration_is_heard_until_a_form_is_signed_after_the_link() -> None:
    nothing = {"drug_allergies": ["1"], "other_allergies": ["2"], "other_allergies_said": "虾"}
    both = told(record(row(TOLD, n=5), row(nothing, n=7, patient="patient-2")), "转诊到县医院")
    assert [(one["code"]["text"], one.get("note", [{}])[0].get("text")) for one in both] == [
        ("青霉素", None),
        ("其他", "左氧氟沙星 皮疹"),
        ("食物", "虾"),
        ("食物", "花生"),
    ]
    after = told(record(row(TOLD, n=5), row(nothing, n=9, patient="patient-2")))
    assert [one["code"].get("text") for one in after][1:] == ["食物"]


@pytest.mark.parametrize("because", ["", "转诊到县医院"], ids=["pseudonymous", "named"])
def test_the_published_schema_finds_no_fault(because: str) -> None:
    if not SCHEMA.exists():
        pytest.skip("skipped: no published FHIR schema (scripts/fetch-fhir-schema build/fhir)")
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text(encoding="utf-8")))
    for resource in (*told(record(row(TOLD)), because), *told(record(row({"drug_allergies": ["1"]})), because)):
        assert [error.message for error in validator.iter_errors(resource)] == []
