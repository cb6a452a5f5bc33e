"""What a form is filled in from: the confirmed readings of a person, laboratory results and the signed ECG finding.

Names: the inputs of the screening rules ("sbp"), names with units ("weight_kg"), analytes of ``devices/analytes`` with
"lab." before them ("lab.alt"; a urine strip's word as its code, ``URINE_GRADES``), what was said of a person with a
number ("sbp_left"), and of the newest ECG that a doctor has signed "ecg.words" and, where it is not in order, "ecg".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from sync.formats.records import parse_time
from vehicle.clinic.critical_record import SIGNED_ECG
from vehicle.clinic.forms.filling import Known
from vehicle.clinic.known_inputs import ANSWERS
from vehicle.clinic.laboratory_report import TYPE as LABORATORY
from vehicle.clinic.ports import Journal, marks
from vehicle.clinic.units import RULE_ORDER, rule_inputs, shown_values
from vehicle.clinic.views import CHINA

MOST_READINGS = 300
SAID = ("sbp_left", "sbp_right", "waist")
"""Numbers among what the screening paths ask: both arms, the waist."""
URINE_GRADES = {"-": "1", "neg": "1", "±": "2", "trace": "2", "+1": "3", "+": "3", "1+": "3", "++": "4", "+2": "4"}
URINE_GRADES |= {"2+": "4", "+3": "5", "+++": "5", "3+": "5", "+4": "6", "++++": "6", "4+": "6"}
"""A strip's word to the code of the forms: 1 negative, 2 trace, 3 to 6 one to four plus."""
RHYTHM_WORDS = {"none": "未提示房颤", "possible": "可疑房颤", "likely": "房颤可能性大", "undecided": "节律未能判断"}
ECG_ABNORMAL = "2"


def numbers_of(
    store: Journal, registrations: Sequence[str], encounter: str | None, meal: object = None
) -> dict[str, Known]:
    """Number by name, the newest of each; those of ``encounter`` first.

    :param registrations: all of one person
    :param meal: what the person said of it when the meter did not: a glucose value then is a fasting one or not
    """
    rows = store.read(
        "SELECT reading, encounter, type, device, values_json, taken_at FROM readings "
        f"WHERE patient IN ({marks(registrations)}) AND confirmed_at IS NOT NULL AND rejected_at IS NULL "
        "ORDER BY taken_at DESC, reading DESC LIMIT ?",
        (*registrations, MOST_READINGS),
    )
    now = [row for row in rows if encounter is not None and row["encounter"] == encounter]
    before = [row for row in rows if row not in now]
    found: dict[str, Known] = {}
    for earlier, some in ((False, now), (True, before)):
        for row in sorted(some, key=lambda row: _order(row["type"]), reverse=True):
            for name, number in _numbers(row, meal if not earlier else None):
                taken_on = _day(row["taken_at"])
                newer = found.get(name)
                if newer is None or (newer.earlier and earlier and taken_on > newer.on):
                    found[name] = Known(number, row["reading"], row["device"], taken_on, earlier)
    return found | _signed_ecg(store, registrations, encounter)


def _order(type_: str) -> int:
    """Of two kinds of reading that say the same the later counts (``RULE_ORDER``)."""
    return RULE_ORDER.index(type_) if type_ in RULE_ORDER else -1


def _numbers(row: Mapping[str, Any], meal: object) -> Iterable[tuple[str, float | str]]:
    stored = json.loads(row["values_json"])
    if row["type"] == ANSWERS:
        yield from ((name, float(stored[name])) for name in SAID if name in stored)
        return
    if row["type"] == LABORATORY:
        yield from _analytes(stored)
    told = {**(shown_values(stored) if row["type"] != LABORATORY else {}), **rule_inputs(row["type"], stored)}
    if row["type"] == "glucose" and meal == "fasting" and "meal" not in stored and "glu" in told:
        told["fpg"] = told["glu"]
    for name, number in told.items():
        if isinstance(number, int | float) and not isinstance(number, bool):
            yield name, number


def _analytes(stored: Mapping[str, Any]) -> Iterable[tuple[str, float | str]]:
    """Plain numbers and the grades of a strip; a bound ("<10") is none, and what is there twice is told by nobody."""
    rows = [row for row in stored.get("results", ()) if isinstance(row, Mapping) and row.get("key")]
    keys = [row["key"] for row in rows]
    for row in rows:
        key = str(row["key"])
        if keys.count(key) > 1:
            continue
        if key.startswith("u_") and str(row.get("said", "")).lower() in URINE_GRADES:
            yield f"lab.{key}", URINE_GRADES[str(row["said"]).lower()]
        elif "quantity" in row and "comparator" not in row:
            yield f"lab.{key}", float(row["quantity"])


def _signed_ecg(store: Journal, registrations: Sequence[str], encounter: str | None) -> dict[str, Known]:
    """The newest ECG with a doctor's signature: in words, and as abnormal where the doctor reads AF or signed something
    critical. Who only disagrees with the analysis says in words what it is: that may be an ECG in order.

    Nothing says here that an ECG is normal: the signature is on rhythm and rate only.
    """
    rows = store.read(
        "SELECT r.sha256, r.encounter, r.started_at, r.device, a.rhythm, a.heart_rate_bpm, a.reviewed_name, a.agrees, "
        "a.af, a.words, "
        "(SELECT count(*) FROM critical_findings f WHERE f.sha256 = a.sha256 AND f.source = ?) AS critical "
        "FROM ecg_analyses a JOIN recordings r ON r.sha256 = a.sha256 JOIN encounters e "
        f"ON e.encounter = r.encounter WHERE e.patient IN ({marks(registrations)}) AND a.reviewed_at IS NOT NULL "
        "ORDER BY r.encounter = ? DESC, r.started_at DESC LIMIT 1",
        (SIGNED_ECG, *registrations, encounter or ""),
    )
    if not rows:
        return {}
    row, earlier = rows[0], rows[0]["encounter"] != encounter
    told = {"ecg.words": _ecg_words(row)}
    if row["af"] == "yes" or row["critical"]:
        told["ecg"] = ECG_ABNORMAL
    where = (row["sha256"], row["device"] or "", _day(row["started_at"]), earlier)
    return {name: Known(text, *where) for name, text in told.items()}


def _ecg_words(row: Mapping[str, Any]) -> str:
    """ "心率72次/分，未提示房颤；医生：非房颤（周敏签）" """
    rate = f"心率{row['heart_rate_bpm']}次/分，" if row["heart_rate_bpm"] else ""
    af = {"yes": "房颤", "no": "非房颤"}.get(row["af"], "是否房颤未定")
    words = f"，{row['words']}" if row["words"] else ""
    return f"{rate}{RHYTHM_WORDS.get(row['rhythm'], '')}；医生：{af}{words}（{row['reviewed_name']}签）"


def _day(at: str) -> date:
    return parse_time(at).astimezone(CHINA).date()
