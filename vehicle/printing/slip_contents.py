"""What a slip says of one encounter: values with their grades, what to do, when to come again.

Gathered from the journal's tables, so that the slip says what the record says; words from the catalog. The name is
masked: a slip may lie about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sync.formats.canonical import Json
from sync.formats.slips import APPOINTMENT, REFERRAL, RESULT, Block, Emphasis, Fact, Passage, Rule, Slip, Value
from sync.web.catalog import Texts, texts
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.encounters import EncounterView
from vehicle.clinic.ports import Journal, marks
from vehicle.clinic.views import CHINA
from vehicle.touchscreen.wording import value_text

MOST_ADVICE = 3
"""Of the most severe rules; a slip is read standing."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who gives the slip: settings ``[printer]`` and the vehicle's."""

    clinic: str
    plate: str
    phone: str
    practice: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the doctor chose for this slip. ``by_name``: the doctor's own. ``next_on``: when to come again."""

    language: str
    by_name: str
    next_on: date | None = None


@dataclass(frozen=True, slots=True)
class Referral:
    """What a referral's entry says; see ``vehicle.clinic.referrals``."""

    to: str = ""
    urgency: str = ""
    reason: str = ""
    findings: str = ""


class SlipContents:
    def __init__(self, store: Journal, case: CaseNotes, letterhead: Letterhead) -> None:
        self._store = store
        self._case = case
        self.letterhead = letterhead

    def slip(self, form: str, encounter: EncounterView, wanted: Wanted) -> Slip:
        """:param form: one of ``RESULT``, ``REFERRAL``, ``APPOINTMENT``"""
        t = texts(wanted.language)
        said = self._case.of(encounter.encounter, encounter.patient.patient, wanted.language)
        blocks: list[Block] = [*self._who(encounter, t), Rule()]
        if form == RESULT:
            blocks += [*self._values(said, t), *self._ecg(encounter, t), *self._advice(said, encounter, t)]
        if form == REFERRAL:
            blocks += self._referral(said, encounter, t)
        if wanted.next_on is not None:
            blocks.append(Emphasis(t("slip.next_on"), on_paper(wanted.next_on, t)))
        if form == APPOINTMENT:
            blocks.append(Passage(t("slip.bring"), t("slip.bring_text")))
        blocks += [Rule(), Fact(t("slip.doctor"), wanted.by_name)]
        if self.letterhead.phone:
            blocks.append(Fact(t("slip.phone"), self.letterhead.phone))
        return Slip(wanted.language, t(f"slip.title.{form}"), self._place(encounter, t), tuple(blocks), self._foot(t))

    def proposed_next_on(self, encounter: EncounterView) -> date | None:
        """The next date of the last follow-up form of this person, when it is still to come."""
        who = (encounter.patient.patient, *encounter.patient.linked)
        rows = self._store.read(
            f"SELECT next_on FROM follow_up_forms WHERE patient IN ({marks(who)}) AND next_on IS NOT NULL "
            "ORDER BY n DESC LIMIT 1",
            who,
        )
        proposed = date.fromisoformat(rows[0]["next_on"]) if rows else None
        return proposed if proposed and proposed > encounter.opened_at.astimezone(CHINA).date() else None

    # parts ----------------------------------------------------------------------------------------------------------

    def _place(self, encounter: EncounterView, t: Texts) -> str:
        rows = self._store.read("SELECT village_name FROM visits WHERE visit = ?", (encounter.visit or "",))
        village = rows[0]["village_name"] if rows else ""
        where = t("slip.joint").join(part for part in (village, self.letterhead.plate) if part)
        return "\n".join(line for line in (self.letterhead.clinic, where) if line)

    def _who(self, encounter: EncounterView, t: Texts) -> list[Block]:
        patient = encounter.patient
        age = "" if patient.age is None else t("touch.person.age", n=patient.age)
        person = " ".join(part for part in (patient.masked_name, t(f"touch.sex.{patient.sex}"), age) if part)
        at = encounter.opened_at.astimezone(CHINA)
        return [Fact(t("slip.name"), person), Fact(t("slip.at"), f"{at:%Y-%m-%d %H:%M}")]

    def _values(self, said: Mapping[str, Any], t: Texts) -> list[Block]:
        """The newest value of each kind, and the rows of laboratory results."""
        newest: dict[str, Value] = {}
        analytes: list[Block] = []
        for row in said["readings"]:
            if row["type"] == "analyte":
                mark = t(f"slip.side.{row['mark']}") if f"slip.side.{row['mark']}" in t else ""
                analytes.append(Fact(row["title"], f"{row['text']} {mark}".rstrip()))
            elif row["values"]:
                word = row["grade_word"] if row["grade"] != "none" else ""
                newest[row["type"]] = Value(
                    label=t(f"touch.tile.{row['type']}"),
                    text=value_text(row["type"], row["values"]),
                    unit=row["unit"],
                    grade=row["grade"],
                    word=word,
                )
        found: list[Block] = [*newest.values(), *analytes]
        return found or [Passage("", t("slip.no_values"))]

    def _ecg(self, encounter: EncounterView, t: Texts) -> list[Block]:
        """What a doctor signed of an ECG; what the analysis found alone stands on no slip."""
        rows = self._store.read(
            "SELECT words FROM ecg_analyses WHERE encounter = ? AND reviewed_at IS NOT NULL ORDER BY reviewed_at",
            (encounter.encounter,),
        )
        return [Passage(t("touch.tile.ecg"), row["words"]) for row in rows if row["words"]]

    def _advice(self, said: Mapping[str, Any], encounter: EncounterView, t: Texts) -> list[Block]:
        advice = _advice_of(said)
        lines = [f"{at}. {text}" for at, text in enumerate(advice[:MOST_ADVICE], 1)] if len(advice) > 1 else advice
        blocks: list[Block] = [Passage(t("slip.advice"), "\n".join(lines))] if lines else []
        return blocks + [Passage(heading, text) for heading, text in self._doctor_said(encounter, t)]

    def advice(self, said: Mapping[str, Any], encounter: EncounterView, t: Texts) -> list[Json]:
        """All of it, for a sheet: that of the rules, then what doctor or specialist said."""
        doctor = [t("slip.said", heading=heading, text=text) for heading, text in self._doctor_said(encounter, t)]
        return [*_advice_of(said), *doctor]

    def _doctor_said(self, encounter: EncounterView, t: Texts) -> list[tuple[str, str]]:
        opinion, decision = self._consultation(encounter.encounter)
        if decision.get("plan"):
            return [(t("slip.decision"), decision["plan"])]
        return [(t("slip.opinion"), opinion["advice"])] if opinion.get("advice") else []

    def _referral(self, said: Mapping[str, Any], encounter: EncounterView, t: Texts) -> list[Block]:
        referral = self.referral(encounter.encounter)
        opinion, decision = self._consultation(encounter.encounter)
        severe = [f"{row['title']}: {row['result']}" for row in said["prompts"] if row["grade"] in ("orange", "red")]
        why = referral.reason or opinion.get("diagnosis") or t("slip.sentence_joint").join(severe)
        blocks: list[Block] = [Emphasis(t("slip.to"), referral.to or t("slip.to_county"))]
        if referral.urgency:
            blocks.append(Fact(t("slip.urgency"), t(f"slip.urgent.{referral.urgency}")))
        if why:
            blocks.append(Passage(t("slip.why"), why))
        blocks += [Passage(t("slip.findings"), referral.findings)] if referral.findings else self._values(said, t)
        if decision.get("plan"):
            blocks.append(Passage(t("slip.decision"), decision["plan"]))
        return blocks

    def referral(self, encounter: str) -> Referral:
        """The newest referral of an encounter; empty fields where there is none."""
        rows = self._store.read(
            "SELECT place, department, urgency, reason, findings FROM referrals WHERE encounter = ? "
            "ORDER BY at DESC LIMIT 1",
            (encounter,),
        )
        if not rows:
            return Referral()
        row = rows[0]
        place = " ".join(part for part in (row["place"], row["department"]) if part)
        return Referral(place, row["urgency"], row["reason"], row["findings"])

    def _consultation(self, encounter: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """(opinion, decision) of the newest consultation of an encounter; empty where there is none."""
        rows = self._store.read(
            "SELECT opinion_json, decision_json FROM consultations WHERE encounter = ? "
            "ORDER BY requested_at DESC LIMIT 1",
            (encounter,),
        )
        if not rows:
            return {}, {}
        opinion = json.loads(rows[0]["opinion_json"] or "{}").get("opinion", {})
        return opinion, json.loads(rows[0]["decision_json"] or "{}")

    def _foot(self, t: Texts) -> tuple[str, ...]:
        return (*((t("slip.practice"),) if self.letterhead.practice else ()), t("slip.no_diagnosis"))


def _advice_of(said: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["advice"] for row in said["prompts"] if row["advice"] and _speaks(row)))


def _speaks(row: Mapping[str, Any]) -> bool:
    return row["grade"] in ("yellow", "orange", "red")


def on_paper(day: date, t: Texts) -> str:
    """ "2026-12-06 周日": a date that is read out and found in a calendar."""
    return f"{day.isoformat()} {t('touch.weekday').split()[day.weekday()]}"
