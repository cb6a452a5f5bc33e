"""What lasts of a person: allergies, past illnesses, operations, family, drugs, as the basic-information form has it.

The last signed form counts; for allergies that of each registration (``sync.record.allergies``). What was tapped since
and not yet signed counts too where it is an allergy, and is said to be unsigned: an allergy that somebody has told must
not wait for a signature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sync.formats.canonical import Json
from sync.formats.records import parse_time
from sync.record.allergies import counting, together
from sync.record.person_links import LINKED
from vehicle.clinic.forms.form import BACKGROUND, Field, shipped_forms
from vehicle.clinic.forms.wording import SEPARATOR, shown_answer
from vehicle.clinic.people import People
from vehicle.clinic.ports import Journal, marks
from vehicle.clinic.views import CHINA

ALLERGIES = (("drug_allergies", "drug_allergies_other", "5"), ("other_allergies", "other_allergies_said", ""))
"""(field of codes, field of its words, the code that the words replace; empty: they are told besides)."""
NONE = "1"
HISTORY = (
    "exposures",
    "past_illnesses",
    "past_illnesses_said",
    "operations_said",
    "injuries_said",
    "transfusions_said",
    "family_father",
    "family_mother",
    "family_siblings",
    "family_children",
    "family_said",
    "hereditary_said",
    "disabilities",
    "blood_group",
    "rhesus",
)
"""What is told of the form besides allergies and drugs, in this order; what says "none" is left out."""


@dataclass(frozen=True)
class Background:
    """
    :ivar answers: of the newest signed form, with the allergies of all that count and of an unsigned one
    :ivar unsigned: whether an allergy in it waits for a signature
    :ivar n: place of the signed form in the journal; None: never signed
    """

    answers: Mapping[str, Json] = field(default_factory=dict)
    unsigned: bool = False
    n: int | None = None
    on: date | None = None

    @property
    def asked(self) -> bool:
        """Whether anybody has asked for allergies to drugs."""
        return bool(self.answers.get("drug_allergies"))

    def allergies(self, language: str) -> list[str]:
        """Each in words; empty: none known, or never asked (``asked``)."""
        told = []
        for name, words, replaced in ALLERGIES:
            said = str(self.answers.get(words) or "")
            codes = [code for code in _codes(self.answers.get(name)) if code != NONE]
            group = [
                said if said and code == replaced else shown_answer(_field(name), [code], language) for code in codes
            ]
            if said and not replaced and group:
                group[-1] += f"（{said}）" if language == "zh" else f" ({said})"
            told += group
        return told

    def history(self, language: str) -> list[tuple[str, str]]:
        """(what, in words) of everything else that says something."""
        rows = [(_field(name), self.answers.get(name)) for name in HISTORY]
        return [
            (one.words(language), shown_answer(one, value, language))
            for one, value in rows
            if value and _codes(value) != [NONE]
        ]

    @property
    def drugs(self) -> list[Mapping[str, Json]]:
        found = self.answers.get("drugs")
        return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []

    def told(self, language: str) -> dict[str, Any]:
        """As a specialist reads it, JSON-able."""
        return {
            "asked": self.asked,
            "unsigned": self.unsigned,
            "allergies": self.allergies(language),
            "history": [{"title": title, "text": text} for title, text in self.history(language)],
            "drugs": [f"{row.get('name', '')} {row.get('use', '')}".strip() for row in self.drugs],
            "on": self.on.isoformat() if self.on else "",
        }


class Backgrounds:
    def __init__(self, store: Journal, people: People) -> None:
        self._store = store
        self._people = people

    def of(self, patient: str) -> Background:
        """Over all registrations."""
        who = self._people.registrations(patient)
        rows = signed_forms(self._store, who)
        signed = [json.loads(row["answers_json"]) for row in rows]
        allergies, told = together(signed), together([*signed, self._tapped(who)])
        last = signed[0] if signed else {}
        return Background(
            answers={name: value for name, value in {**last, **told}.items() if value is not None},
            unsigned=told != allergies,
            n=rows[0]["n"] if rows else None,
            on=parse_time(rows[0]["filled_at"]).astimezone(CHINA).date() if rows else None,
        )

    def _tapped(self, who: tuple[str, ...]) -> dict[str, Json | None]:
        """Allergies of an open draft; one that was taken away there stays until that is signed."""
        names = [name for row in ALLERGIES for name in row[:2]]
        rows = self._store.read(
            "SELECT a.field, a.answer_json FROM follow_up_answers a JOIN follow_up_drafts d ON d.draft = a.draft "
            f"WHERE d.form = ? AND d.closed_at IS NULL AND d.corrects IS NULL AND d.patient IN ({marks(who)}) "
            f"AND a.field IN ({marks(names)}) ORDER BY a.at",
            (BACKGROUND, *who, *names),
        )
        found = {row["field"]: json.loads(row["answer_json"]).get("is") for row in rows}
        return {name: value for name, value in found.items() if value and _codes(value) != [NONE]}


def signed_forms(store: Journal, who: Sequence[str]) -> list[dict[str, Any]]:
    """The signed forms of what lasts whose allergies count, newest first.

    :param who: all registrations of one person
    """
    rows = store.read(
        f"SELECT n, patient, answers_json, filled_at FROM follow_up_forms WHERE form = ? AND patient IN ({marks(who)})",
        (BACKGROUND, *who),
    )
    links = store.read("SELECT n, what FROM access_log WHERE action = ?", (LINKED,)) if len(who) > 1 else []
    return [dict(row) for row in counting(rows, links, who)]


def _field(name: str) -> Field:
    return shipped_forms()[BACKGROUND].fields[name]


def _codes(value: object) -> list[str]:
    return [str(code) for code in value] if isinstance(value, list) else []


def listed(words: list[str], language: str) -> str:
    """ "青霉素、磺胺" """
    return SEPARATOR[language].join(words)
