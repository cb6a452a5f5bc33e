"""The case of one encounter in the form a specialist reads: values with grades, prompts, trends, recordings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sync.web.catalog import Texts, texts
from vehicle.clinic import laboratory_report
from vehicle.clinic.background import Backgrounds
from vehicle.clinic.critical_record import Critical, findings_of
from vehicle.clinic.people import People
from vehicle.clinic.ports import Journal, marks
from vehicle.clinic.prompts import ANSWERS, Prompts
from vehicle.clinic.units import TYPES, UNITS, shown_values

MOST_RECORDINGS = 60
MOST_TREND_POINTS = 40


class CaseNotes:
    def __init__(self, store: Journal, people: People, prompts: Prompts) -> None:
        self._store = store
        self._people = people
        self._prompts = prompts
        self._backgrounds = Backgrounds(store, people)

    def of(self, encounter: str, patient: str, language: str | None = None) -> dict[str, Any]:
        """``readings``, ``prompts``, ``trends``, ``recordings`` and ``background`` of an encounter, JSON-able.

        A reading: type, values, unit, grade, grade_word, result, at, device, by_hand. A trend point: type, values, at;
        earlier confirmed values of the same person, oldest first. A recording: see ``_recording``.
        """
        return {
            "readings": self._readings(encounter, language),
            "prompts": self._asked(encounter, language),
            "trends": self._trends(encounter, patient),
            "recordings": self._recordings(encounter),
            "background": self._backgrounds.of(patient).told(language or "zh"),
        }

    def _readings(self, encounter: str, language: str | None) -> list[dict[str, Any]]:
        told = []
        for row in self._store.read(
            "SELECT * FROM readings WHERE encounter = ? AND type != ? AND confirmed_at IS NOT NULL "
            "AND rejected_at IS NULL ORDER BY taken_at, reading",
            (encounter, ANSWERS),
        ):
            stored = json.loads(row["values_json"])
            grade = self._prompts.grade(encounter, row["type"], stored, language)
            laboratory = row["type"] == laboratory_report.TYPE
            told.append(
                {
                    "type": row["type"],
                    "values": {} if laboratory else shown_values(stored),
                    "unit": UNITS.get(row["type"], ""),
                    "grade": grade.grade,
                    "grade_word": grade.word,
                    "result": grade.text,
                    "at": row["taken_at"],
                    "device": row["device"],
                    "by_hand": bool(row["by_hand"]),
                }
            )
            if laboratory:
                told[-1]["text"] = ""
                told += _analytes(stored, language or "zh", row)
        return told

    def _asked(self, encounter: str, language: str | None) -> list[dict[str, Any]]:
        if not encounter:
            return []
        found = findings_of(self._store, encounter, language)
        return [_finding(one, texts(language or "zh")) for one in found] + [
            {
                "rule": prompt.rule,
                "title": prompt.title,
                "result": prompt.result,
                "grade": prompt.grade,
                "grade_word": prompt.grade_word,
                "advice": prompt.advice,
                "source": [source.title for source in prompt.source],
                "disclaimer": prompt.disclaimer,
            }
            for prompt in self._prompts.prompts(encounter, language)
        ]

    def _trends(self, encounter: str, patient: str) -> list[dict[str, Any]]:
        who = self._people.registrations(patient)
        rows = self._store.read(
            f"SELECT type, values_json, taken_at FROM readings WHERE patient IN ({marks(who)}) "
            "AND encounter != ? AND confirmed_at IS NOT NULL AND rejected_at IS NULL AND type != ? "
            "ORDER BY taken_at DESC LIMIT ?",
            (*who, encounter, ANSWERS, MOST_TREND_POINTS),
        )
        return [
            {"type": row["type"], "values": shown_values(json.loads(row["values_json"])), "at": row["taken_at"]}
            for row in reversed(rows)
            if row["type"] in TYPES
        ]

    def _recordings(self, encounter: str) -> list[dict[str, Any]]:
        rows = self._store.read(
            "SELECT r.sha256, r.what, r.started_at, r.duration_ms, a.heart_rate_bpm, a.rhythm, a.reviewed_name, "
            "a.agrees, a.af, a.words FROM recordings r LEFT JOIN ecg_analyses a ON a.sha256 = r.sha256 "
            "WHERE r.encounter = ? AND r.what IN ('ecg', 'ultrasound_still', 'ultrasound_clip') "
            "ORDER BY r.started_at DESC LIMIT ?",
            (encounter, MOST_RECORDINGS),
        )
        return [_recording(row) for row in rows]


def _finding(one: Critical, t: Texts) -> dict[str, Any]:
    """A critical finding among the prompts, so that who comes later sees it first."""
    return {
        "rule": one.type,
        "title": t("critical.found", what=one.result),
        "result": one.words or one.advice,
        "grade": "red",
        "grade_word": t("clinic.grade.red"),
        "advice": "",
        "source": [one.advice],
        "disclaimer": "",
    }


def _recording(row: Mapping[str, Any]) -> dict[str, Any]:
    """A recording; an analysed ECG with ``ecg``: heart rate, rhythm, and ``review`` once a doctor has signed."""
    told = {name: row[name] for name in ("sha256", "what", "started_at", "duration_ms")}
    if row["rhythm"] is not None:
        told["ecg"] = {name: row[name] for name in ("heart_rate_bpm", "rhythm") if row[name] is not None}
        if row["reviewed_name"]:
            told["ecg"]["review"] = {
                "by": row["reviewed_name"],
                "agrees": bool(row["agrees"]),
                "af": row["af"],
                "words": row["words"] or "",
            }
    return told


def _analytes(stored: Mapping[str, Any], language: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a laboratory result: name, result as the analyser sent it, and the analyser's own mark."""
    return [
        {
            "type": "analyte",
            "title": one.name,
            "text": f"{one.said} {one.unit}".strip(),
            "unit": "",
            "mark": one.side,
            "range": one.reference_range,
            "values": {},
            "at": row["taken_at"],
            "device": row["device"],
            "by_hand": False,
        }
        for group in laboratory_report.groups(stored, language)
        for one in group.rows
    ]
