"""Red values as the record has them: readings that the rules call red, and critical findings of an ECG or ultrasound.

What a finding may be comes from the common critical lists of hospitals (domain notes, section 3.7: ECG with infarction,
VT/VF, third-degree block, pause over 3 s, rate from 150 or to 45; of ultrasound a selection of ours, not verified).
Nothing here is a diagnosis: an automatic finding says so until a doctor has signed it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync.formats.canonical import Json
from sync.formats.critical_actions import ENDING
from sync.formats.records import Draft, parse_time
from sync.web.catalog import Texts, texts
from vehicle.clinic.ports import Journal

LIVE_ECG, REPEATED_ECG, SIGNED_ECG, ULTRASOUND = "ecg_live", "ecg_repeat", "ecg_signed", "ultrasound"
MARKED_ON_ECG = ("ecg_infarction", "ecg_vt_vf", "ecg_block_3", "ecg_pause")
"""What a doctor may mark when he signs an ECG; rates and standstill come from the recording, with his agreement."""
MARKED_ON_ULTRASOUND = (
    "us_bleeding", "us_ectopic", "us_aorta", "us_tamponade", "us_foetus", "us_perforation", "us_other",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Critical:
    """A red value of one person, until it is dealt with."""

    reading: str
    """Its name: a reading, or a finding."""
    type: str
    """Of a reading its type, of a finding what was found."""
    values: dict[str, object]
    result: str
    advice: str
    at: datetime
    done: tuple[str, ...]
    """Actions noted so far."""
    source: str = ""
    """Of a finding where it was found; empty for a reading."""
    sha256: str = ""
    """Of a finding the recording it was found in, where it is one."""
    patient: str = ""
    encounter: str | None = None
    words: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def awaits_repeat(self) -> bool:
        """Somebody is measuring again: the page lets them."""
        return "repeated" in self.done

    @property
    def closed(self) -> bool:
        """Of a finding: nobody needs to do anything more."""
        return bool(ENDING & set(self.done))


def done_about(store: Journal, reading: str) -> tuple[str, ...]:
    """What was done about a red value so far, in order, each once."""
    rows = store.read(
        "SELECT action FROM critical_actions WHERE reading = ? AND action != 'found' ORDER BY n", (reading,)
    )
    return tuple(dict.fromkeys(row["action"] for row in rows))


def found_draft(reading: str, patient: str, by: str | None, visit: str | None, encounter: str | None) -> Draft:
    """That a confirmed value is red, or that something was found: from here the time runs until somebody closes it."""
    fields: dict[str, Json] = {"reading": reading, "patient": patient, "action": "found"}
    return Draft("critical_action/1", fields, by, visit, encounter)


def findings_of(store: Journal, encounter: str, language: str | None = None) -> list[Critical]:
    """Every critical finding of an encounter, oldest first, dealt with or not."""
    return _views(store, language, "encounter = ?", (encounter,))


def findings_since(store: Journal, since: str, language: str | None = None) -> list[Critical]:
    """Critical findings of anybody from a moment on (as ``format_time`` writes it), oldest first."""
    return _views(store, language, "found_at >= ?", (since,))


def finding(store: Journal, name: str, language: str | None = None) -> Critical | None:
    """One finding; None: there is none of this name."""
    found = _views(store, language, "finding = ?", (name,))
    return found[0] if found else None


def finding_title(what: str, facts: Mapping[str, Any], t: Texts) -> str:
    """What was found in words, with its number where it has one: "Heart rate 150 or more 162/min"."""
    number = ""
    if facts.get("heart_rate_bpm") is not None:
        number = f"{facts['heart_rate_bpm']}/min"
    elif facts.get("pause_ms") is not None:
        number = f"{facts['pause_ms'] / 1000:.1f} s"
    words = t(f"critical.finding_{what}")
    return f"{words} {number}" if number else words


def _views(store: Journal, language: str | None, where: str, parameters: Sequence[object]) -> list[Critical]:
    t = texts(language or "zh")
    rows = store.read(f"SELECT * FROM critical_findings WHERE {where} ORDER BY found_at, finding", parameters)
    return [_view(store, row, t) for row in rows if row["found_at"]]


def _view(store: Journal, row: Mapping[str, Any], t: Texts) -> Critical:
    facts = json.loads(row["facts_json"] or "{}")
    return Critical(
        reading=row["finding"],
        type=row["what"],
        values={name: facts[name] for name in ("heart_rate_bpm", "pause_ms") if name in facts},
        result=finding_title(row["what"], facts, t),
        advice=t(f"critical.source_{row['source']}"),
        at=parse_time(row["found_at"]),
        done=done_about(store, row["finding"]),
        source=row["source"],
        sha256=row["sha256"] or "",
        patient=row["patient"] or "",
        encounter=row["encounter"],
        words=row["words"] or "",
        facts=facts,
    )
