"""A person with everything that the record can hold of them, in a real journal; and how its tables are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devices.clock import SimulatedClock
from sync.formats.records import Draft, format_time
from sync.interop.fhir_record import PersonRecord, ReadRows, Row, of_person
from sync.keys.vehicle_key import VehicleKey
from sync.record.store import Store

ORIGIN = "van-07.qingxi.example"
MORNING = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
SHA_ECG, SHA_STILL = "a1" * 32, "b2" * 32
NAME, PHONE, ADDRESS, VILLAGE = "杨桂芳", "13800138000", "白果镇王家村2组14号", "王家村"
SECRETS = (NAME, PHONE, ADDRESS, VILLAGE, "1959-03-12", "0426")
LABORATORY = {
    "specimen": "S-0042",
    "analyser": "BC-5300",
    "material": "blood",
    "person_said": NAME,
    "comments": ["haemolysed"],
    "results": [
        {
            "code": "HGB", "said": "52", "unit": "g/L", "key": "hgb", "loinc": "718-7", "number": "52",
            "quantity": "52", "ucum": "g/L", "reference_range": "110-150", "flags": ["LL"], "status": "F",
        },
        {
            "code": "CRP", "said": "<10", "unit": "mg/L", "number": "10", "comparator": "<", "quantity": "10",
            "ucum": "mg/L", "status": "P",
        },
        {"code": "GLU", "said": "++++", "flags": ["A"]},
    ],
}  # fmt: skip
OPINION = {
    "template": "ecg",
    "findings": "sinus rhythm",
    "classification": "",
    "diagnosis": "高血压",
    "icd10": "I10",
    "action": "adjust",
    "advice": "one month",
}
READINGS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "blood_pressure",
        "cuff-1",
        {"systolic_mmhg": 182, "diastolic_mmhg": 96, "pulse_bpm": 71, "irregular_pulse": True},
    ),
    ("glucose", "glucose-1", {"glucose_mmol_l_e2": 640, "meal": "fasting"}),
    ("pulse_oximetry", "oximeter-1", {"spo2_percent": 93, "pulse_bpm": 70, "perfusion_index_e2": 210}),
    ("temperature", "thermo-1", {"temperature_c_e2": 3655, "site": "ear"}),
    ("weight", "scale-1", {"weight_kg_e2": 6150, "height_cm_e2": 15800, "bmi_e2": 2464}),
    ("heart_rate", "strap-1", {"heart_rate_bpm": 72, "rr_ms": [830, 840]}),
    ("uric_acid", "meter-1", {"uric_acid_umol_l": 388}),
    ("laboratory", "analyser-1", LABORATORY),
    ("answers", "", {"known_ht": True}),
)


def drafts(at: datetime, practice: bool = False) -> list[Draft]:
    """The entries of one encounter, in the order in which they happen."""
    visit, encounter = "visit-1", "encounter-1"
    crew = [{"person": "zhou.min", "role": "village_doctor", "name": "周敏"}]

    def draft(kind: str, said: dict[str, Any], by: str | None = "zhou.min") -> Draft:
        return Draft(kind, said, by, visit, encounter)

    made = [
        Draft(
            "visit_opened/1",
            {
                "visit_id": visit, "village": "510199201201", "village_name": VILLAGE, "township": "白果镇",
                "proposed_by": "position", "crew": crew, "arrived_at": format_time(at),
            },
            "zhou.min",
            visit,
        ),
        Draft(
            "patient/1",
            {
                "patient": "patient-1", "name": NAME, "sex": "female", "born_on": "1959-03-12", "phone": PHONE,
                "address": ADDRESS, "id_last4": "0426", "ethnicity_code": "01", "pinyin": "ygf", "source": "id_card",
            },
            "zhou.min",
            visit,
        ),
        draft("encounter/1", {"encounter_id": encounter, "patient": "patient-1", "purpose": "高血压随访"}),
        Draft(
            "device_added/1",
            {
                "device": "cuff-1", "driver": "bluetooth_blood_pressure", "link": "bluetooth", "place": "AA:BB",
                "title": "血压计", "source": "found", "evidence": [],
                "identity": {"vendor": "Omron", "model": "U32", "serial": "0042", "firmware": "1.2"},
            },
        ),
    ]  # fmt: skip
    for number, (kind, device, values) in enumerate(READINGS):
        said = {"reading": f"reading-{number}", "device": device, "driver": "x", "type": kind, "values": values}
        made.append(draft("reading/1", {**said, "by_hand": not device}, None))
        made.append(draft("reading_confirmed/1", {"reading": f"reading-{number}", "patient": "patient-1"}))
    for number, kind in ((90, "rejected"), (91, "left alone")):
        said = {"reading": f"reading-{number}", "device": "cuff-1", "driver": "x", "type": "heart_rate"}
        made.append(draft("reading/1", {**said, "values": {"heart_rate_bpm": number}, "by_hand": False}, None))
        if kind == "rejected":
            made.append(draft("reading_rejected/1", {"reading": f"reading-{number}", "reason": "finger"}))
    for sha256, what, media in (
        (SHA_ECG, "ecg", "application/vnd.xunzhen.ecg"),
        (SHA_STILL, "ultrasound_still", "image/png"),
    ):
        recording = {"sha256": sha256, "bytes": 1234, "media_type": media, "what": what, "patient": "patient-1"}
        recording |= {"device": "ecg-1", "started_at": format_time(at), "duration_ms": 10_000, "facts": {}}
        made.append(draft("recording/1", recording))
    found = {"heart_rate_bpm": 72, "rhythm": "possible", "beats": 12}
    made.append(draft("ecg_analysis/1", {"sha256": SHA_ECG, "version": "1", "findings": found}, None))
    return made + judged(at, draft) + consultation(at, draft)


def judged(at: datetime, draft: Any) -> list[Draft]:
    """Screening, a form, two red values (one dealt with)."""
    mine = {"patient": "patient-1"}
    result = {
        **mine, "result": "result-1", "rule": "BP-GRADE", "rule_version": "1.2", "inputs": {"sbp": 182, "dbp": 96},
        "code": "HTN3", "level": "red", "advice": "refer",
    }  # fmt: skip
    answers = {
        "symptoms": ["1", "5"], "sbp": 182, "salt_g": "8.5", "smokes": False, "doctor_words": f"{NAME} 头晕",
        "contact": PHONE, "next_on": "2026-04-02",
    }  # fmt: skip
    form = {**mine, "form": "hypertension", "form_version": "1", "answers": answers, "signed_by": "周敏"}
    ill = {**mine, "form": "severe_mental_illness", "form_version": "1", "answers": {"risk": "2"}, "signed_by": "周敏"}
    finding = {**mine, "finding": "finding-1", "source": "ecg_live", "what": "ecg_pause", "facts": {"pause_ms": 3400}}
    called = {**mine, "action": "referred", "receiver": "县医院急诊科 王医生", "read_back": True}
    refused = {
        **mine,
        "reading": "finding-1",
        "action": "refused",
        "reason": f"{NAME}说家里没人",
        "signature": SHA_STILL,
    }
    return [
        draft("screening_result/1", result),
        draft("follow_up_form/1", form),
        draft("follow_up_form/1", ill),
        draft("critical_action/1", {**mine, "reading": "reading-0", "action": "found"}),
        draft("critical_finding/1", finding, None),
        draft("critical_action/1", {**mine, "reading": "finding-1", "action": "found"}, None),
        draft("critical_action/1", {**called, "reading": "reading-0"}),
        draft("critical_action/1", {**refused, "action": "told", "reason": ""}),
    ]


def consultation(at: datetime, draft: Any) -> list[Draft]:
    key = {"consultation": "consultation-1"}
    opinion = {
        **key, "specialist": "he.yi", "specialist_name": "何毅", "institution": "华西医院", "opinion": OPINION,
        "signed_text": '{"format":"xunzhen-opinion/1"}', "signature": "c2lnbmF0dXJl", "public_key": "a2V5",
        "signed_at": format_time(at),
    }  # fmt: skip
    return [
        draft(
            "consultation/1",
            {
                **key,
                "patient": "patient-1",
                "urgency": "routine",
                "fields": {"chief_complaint": NAME},
                "consent": {
                    "text_version": "consent/0123456789ab",
                    "language": "zh",
                    "read_aloud": True,
                    "signature_sha256": SHA_STILL,
                    "signed_by": "patient",
                },
            },
        ),
        draft("opinion/1", opinion, None),
        draft("decision/1", {**key, "decision": "adopted", "plan": "amlodipine 5 mg", "by_name": "周敏"}),
    ]


def journal(folder: Path, practice: bool = False) -> Store:
    clock = SimulatedClock(MORNING)
    key = VehicleKey.load_or_create(folder / "keys" / "journal.key", ORIGIN)
    return Store.open(folder, ORIGIN, key, clock, vehicle="van-07", practice=practice)


def reader(store: Store) -> ReadRows:
    def read(table: str, column: str, value: str) -> Sequence[Row]:
        return store.read(f"SELECT * FROM {table} WHERE {column} = ?", (value,))

    return read


async def person(folder: Path, *more: Draft, practice: bool = False) -> PersonRecord:
    store = journal(folder, practice)
    try:
        await store.commit(*drafts(MORNING), *more)
        found = of_person(reader(store), ORIGIN, "patient-1")
    finally:
        store.close()
    assert found is not None
    return found
