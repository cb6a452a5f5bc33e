"""Who lives together, who speaks for a child, which diseases are known: what the programme's lists are made from.

Each is an entry and the newest counts; nothing is overwritten. A household is known by its members, and has the address
of its head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devices.errors import AskPerson
from sync.formats.records import Draft, parse_time
from vehicle.clinic.guardians import Guardian, guardian_draft
from vehicle.clinic.people import PatientView, People
from vehicle.clinic.ports import Ids, Journal, marks

RELATIONS = ("head", "spouse", "son", "daughter", "grandchild", "parent", "grandparent", "sibling", "other")
"""To the head of the household: GB/T 4761, the first digits 0 to 8 in this order."""
MONITORED = ("unstable", "marginal", "sudden")
"""Households watched against falling back into poverty: unstable after getting out of it, on its edge (State Council
poverty office 2020 no. 6), in sudden hardship (added 2021); "none" when that is over."""
CONDITIONS: dict[str, str] = {
    "hypertension": "I10",
    "diabetes": "E11",
    "copd": "J44",
    "coronary": "I25",
    "stroke": "I63",
    "atrial_fibrillation": "I48",
    "kidney": "N18",
    "cancer": "C80",
    "tuberculosis": "A16",
    "echinococcosis": "B67",
}
"""Diseases that the lists ask for, with the category of ICD-10. Severe mental illness is not among them: it stands on
no list (Mental Health Law, art. 4)."""
LEFT = "left"


class HouseholdRefused(AskPerson):
    """A relation, category or disease that cannot be; ``facts["field"]`` says which."""

    code = "household_refused"


@dataclass(frozen=True, slots=True)
class Member:
    patient: PatientView
    relation: str


@dataclass(frozen=True, slots=True)
class Household:
    household: str
    members: tuple[Member, ...]
    """The head first, then by age."""
    monitored: str
    """Of ``MONITORED``; empty when the household is not watched."""

    @property
    def address(self) -> str:
        return next((member.patient.address for member in self.members if member.patient.address), "")


@dataclass(frozen=True, slots=True)
class Condition:
    condition: str
    icd10: str
    since: datetime


class Households:
    def __init__(self, store: Journal, ids: Ids, people: People) -> None:
        self._store = store
        self._ids = ids
        self._people = people

    def of(self, patient: str) -> Household | None:
        """The household somebody lives in; None when nobody said."""
        household = self._household(patient)
        if not household:
            return None
        rows = self._store.read(
            "SELECT patient, relation FROM household_members WHERE household = ? ORDER BY since", (household,)
        )
        here = [row for row in rows if self._household(row["patient"]) == household]
        once = {min(self._people.registrations(row["patient"])): row for row in here}
        members = [Member(self._people.get(row["patient"]), row["relation"]) for row in once.values()]
        members.sort(key=lambda one: (RELATIONS.index(one.relation) > 0, -(one.patient.age or 0), one.patient.patient))
        watched = self._store.read("SELECT category FROM household_monitoring WHERE household = ?", (household,))
        category = watched[0]["category"] if watched else ""
        return Household(household, tuple(members), category if category in MONITORED else "")

    def neighbours(self, patient: str, limit: int = 12) -> list[PatientView]:
        """Others registered at the very same address who are not in the same household: who may belong to it."""
        me, who = self._people.get(patient), self._people.registrations(patient)
        if not me.address:
            return []
        rows = self._store.read(
            "SELECT p.patient FROM patients p LEFT JOIN household_members m ON m.patient = p.patient "
            f"WHERE p.address = ? AND p.patient NOT IN ({marks(who)}) AND (m.household IS NULL OR m.household != ?) "
            "ORDER BY p.patient LIMIT ?",
            (me.address, *who, self._household(patient) or "-", limit),
        )
        return [self._people.get(row["patient"]) for row in rows]

    async def join(self, patient: str, beside: str, relation: str, by: str) -> Household:
        """Put somebody into the household of another person, who becomes its head when there was none.

        :raises HouseholdRefused: no such relation, or the person themselves
        :raises NobodyFound: one of them does not exist
        """
        if relation not in RELATIONS or patient in self._people.registrations(beside):
            raise HouseholdRefused("choose the relation to the head of the household", field="relation")
        self._people.get(patient)
        self._people.get(beside)
        household, drafts = self._household(beside), []
        if not household:
            household = self._ids.new("household")
            first = "other" if relation == "head" else "head"
            drafts.append(_membership(household, beside, first, by))
        elif relation == "head":
            heads = self._store.read(
                "SELECT patient FROM household_members WHERE household = ? AND relation = 'head'", (household,)
            )
            drafts += [_membership(household, row["patient"], "other", by) for row in heads]
        drafts.append(_membership(household, patient, relation, by))
        await self._store.commit(*drafts)
        joined = self.of(patient)
        assert joined is not None
        return joined

    async def leave(self, patient: str, by: str) -> None:
        """Somebody does not live there any more; does nothing when they were in no household."""
        if self._household(patient):
            await self._store.commit(_membership("", patient, LEFT, by))

    async def monitor(self, patient: str, category: str, by: str) -> None:
        """Say that the household of this person is watched against poverty, or ("none") no longer.

        Somebody without a household becomes the head of one.

        :raises HouseholdRefused: no such category
        """
        if category not in (*MONITORED, "none"):
            raise HouseholdRefused("choose the kind of monitored household", field="category")
        self._people.get(patient)
        household, drafts = self._household(patient), []
        if not household:
            household = self._ids.new("household")
            drafts.append(_membership(household, patient, "head", by))
        drafts.append(Draft("household_monitoring/1", {"household": household, "category": category}, by=by))
        await self._store.commit(*drafts)

    def guardian(self, patient: str) -> Guardian | None:
        """Who speaks for somebody; None when nobody said."""
        who = self._people.registrations(patient)
        rows = self._store.read(f"SELECT * FROM guardians WHERE patient IN ({marks(who)}) ORDER BY since DESC", who)
        return Guardian(rows[0]["name"], rows[0]["relation"], rows[0]["phone"] or "") if rows else None

    async def set_guardian(self, patient: str, guardian: Guardian, by: str) -> None:
        """:raises GuardianRefused: names the fields that cannot be right"""
        self._people.get(patient)
        await self._store.commit(guardian_draft(patient, guardian, by))

    def conditions(self, patient: str) -> list[Condition]:
        """The diseases that somebody is known to have, in the order of ``CONDITIONS``."""
        known = {row["condition"]: row for row in self._known(patient)}
        return [
            Condition(name, code, parse_time(known[name]["since"]))
            for name, code in CONDITIONS.items()
            if name in known
        ]

    async def set_conditions(self, patient: str, known: frozenset[str], by: str) -> None:
        """Say which diseases somebody is known to have; what changed becomes entries.

        :raises HouseholdRefused: a disease that is not in ``CONDITIONS``
        """
        if not known <= CONDITIONS.keys():
            raise HouseholdRefused("choose from the list of diseases", field="condition")
        self._people.get(patient)
        before = [(row["patient"], row["condition"]) for row in self._known(patient)]
        new = [(patient, name, "known") for name in known - {name for _, name in before}]
        over = [(registration, name, "withdrawn") for registration, name in before if name not in known]
        drafts = [
            Draft("condition/1", {"patient": one, "condition": name, "icd10": CONDITIONS[name], "state": state}, by=by)
            for one, name, state in sorted(new + over)
        ]
        if drafts:
            await self._store.commit(*drafts)

    def _known(self, patient: str) -> list[dict[str, Any]]:
        """Diseases over all registrations, the one that was noted first last."""
        who = self._people.registrations(patient)
        return self._store.read(
            f"SELECT * FROM conditions WHERE patient IN ({marks(who)}) AND state = 'known' ORDER BY since DESC", who
        )

    def _household(self, patient: str) -> str:
        """What was said last, under whichever registration; empty: nobody said, or they have left."""
        who = self._people.registrations(patient)
        rows = self._store.read(
            f"SELECT household FROM household_members WHERE patient IN ({marks(who)}) ORDER BY since DESC", who
        )
        return str(rows[0]["household"]) if rows else ""


def _membership(household: str, patient: str, relation: str, by: str) -> Draft:
    fields: Mapping[str, Any] = {"household": household, "patient": patient, "relation": relation}
    return Draft("household_member/1", fields, by=by)
