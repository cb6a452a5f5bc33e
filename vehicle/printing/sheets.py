"""A4 sheets of an encounter: the results for the person, and the letter of a two-way referral (双向转诊单).

A sheet is content, kept in the entry of the print, and a page drawn from it. The referral letter follows the form of
the National Basic Public Health Service Specification, third edition (双向转诊单): the part that goes with the person,
and the answer that comes back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import segno
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sync.formats.canonical import Json
from sync.formats.slips import qr_text
from sync.web.catalog import Texts, texts
from sync.web.paper import pdf_of
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.encounters import EncounterView
from vehicle.clinic.identity import mask_last4
from vehicle.clinic.ports import Journal
from vehicle.clinic.views import CHINA
from vehicle.printing.slip_contents import Letterhead, SlipContents, Wanted, on_paper
from vehicle.touchscreen.wording import value_text

RESULT_SHEET, REFERRAL_LETTER = "result_sheet", "referral_letter"
SHEETS = (RESULT_SHEET, REFERRAL_LETTER)
_FOLDER = Path(__file__).parent / "templates"


class Sheets:
    """:param contents: what slips say of the same encounter: referral, advice, head"""

    def __init__(self, store: Journal, case: CaseNotes, contents: SlipContents, origin: str) -> None:
        self._store = store
        self._case = case
        self._contents = contents
        self._origin = origin
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def content(self, form: str, encounter: EncounterView, wanted: Wanted, at: datetime) -> dict[str, Json]:
        """What the sheet says, for the entry. :param form: one of ``SHEETS``. :param at: when it is made"""
        t = texts(wanted.language)
        said = self._case.of(encounter.encounter, encounter.patient.patient, wanted.language)
        content: dict[str, Json] = {
            "form": form,
            "language": wanted.language,
            "head": self._head(self._contents.letterhead, encounter),
            "person": self._person(encounter, t),
            "values": [_row(row, t) for row in said["readings"] if row["type"] == "analyte" or row["values"]],
            "findings": [_finding(row) for row in said["prompts"] if row["grade"] in ("yellow", "orange", "red")],
            "advice": self._contents.advice(said, encounter, t),
            "next_on": on_paper(wanted.next_on, t) if wanted.next_on else "",
            "doctor": wanted.by_name,
            "made_at": f"{at.astimezone(CHINA):%Y-%m-%d %H:%M}",
            "practice": self._contents.letterhead.practice,
        }
        if form == REFERRAL_LETTER:
            content["referral"] = self._referral(encounter, said, t)
        return content

    def html(self, content: Mapping[str, Any], reference: str) -> str:
        """The page; everything stands inside it."""
        t = texts(str(content["language"]))
        code = segno.make(qr_text(self._origin, reference), error="m", micro=False)
        return self._environment.get_template(f"{content['form']}.html").render(
            c=content,
            w=lambda key, **facts: t(f"sheet.{key}", **facts),
            lang=content["language"],
            number=f"{reference[:4]} {reference[4:]}",
            qr=code.svg_inline(omitsize=True, border=0, dark="#111"),
        )

    def pdf(self, content: Mapping[str, Any], reference: str) -> bytes:
        """PDF/A; takes a second or two.

        :raises PrintingUnavailable: this computer lacks Pango or a Chinese font
        """
        return pdf_of(self.html(content, reference))

    def _head(self, letterhead: Letterhead, encounter: EncounterView) -> dict[str, Json]:
        rows = self._store.read("SELECT village_name, township FROM visits WHERE visit = ?", (encounter.visit or "",))
        place = " ".join(rows[0][name] for name in ("township", "village_name") if rows[0][name]) if rows else ""
        return {"clinic": letterhead.clinic, "plate": letterhead.plate, "phone": letterhead.phone, "place": place}

    def _person(self, encounter: EncounterView, t: Texts) -> dict[str, Json]:
        patient = encounter.patient
        age = "" if patient.age is None else t("touch.person.age", n=patient.age)
        return {
            "name": patient.name,
            "sex": t(f"touch.sex.{patient.sex}"),
            "born_on": patient.born_on.isoformat() if patient.born_on else "",
            "age": age,
            "id": mask_last4(patient.id_last4),
            "phone": patient.phone,
            "address": patient.address,
            "at": f"{encounter.opened_at.astimezone(CHINA):%Y-%m-%d %H:%M}",
        }

    def _referral(self, encounter: EncounterView, said: Mapping[str, Any], t: Texts) -> dict[str, Json]:
        referral = self._contents.referral(encounter.encounter)
        severe = [f"{row['title']}: {row['result']}" for row in said["prompts"] if row["grade"] in ("orange", "red")]
        rows = self._store.read(
            "SELECT fields_json FROM consultations WHERE encounter = ? ORDER BY requested_at DESC LIMIT 1",
            (encounter.encounter,),
        )
        asked = _fields(rows)
        return {
            "to": referral.to,
            "urgency": t(f"slip.urgent.{referral.urgency}") if referral.urgency else "",
            "why": referral.reason or t("slip.sentence_joint").join(severe),
            "history": "\n".join(asked[name] for name in ("chief_complaint", "preliminary") if asked.get(name)),
            "past": asked.get("history", ""),
            "findings": referral.findings,
        }


def _fields(rows: list[dict[str, Any]]) -> dict[str, str]:
    return json.loads(rows[0]["fields_json"]) if rows else {}


def _row(row: Mapping[str, Any], t: Texts) -> dict[str, Json]:
    analyte = row["type"] == "analyte"
    side = f"slip.side.{row.get('mark')}"
    return {
        "item": row["title"] if analyte else t(f"touch.tile.{row['type']}"),
        "text": row["text"] if analyte else value_text(row["type"], row["values"]),
        "unit": row["unit"],
        "grade": "none" if analyte else row["grade"],
        "word": (t(side) if side in t else "") if analyte else (row["grade_word"] if row["grade"] != "none" else ""),
        "at": f"{datetime.fromisoformat(row['at']).astimezone(CHINA):%H:%M}",
        "by": t("sheet.by_hand") if row["by_hand"] else row["device"],
    }


def _finding(row: Mapping[str, Any]) -> dict[str, Json]:
    return {
        "title": row["title"],
        "result": row["result"],
        "grade": row["grade"],
        "source": "; ".join(row["source"]),
    }
