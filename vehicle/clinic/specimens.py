"""Specimens: a tube or a cup with a number, taken from the person who is served. The number finds its results.

Analysers know numbers, not people. A number that was written down here when the specimen was taken says whose a result
is; anything less than that is not enough, and the result waits for somebody to say it.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.records import Draft, format_time, parse_time
from vehicle.clinic.encounters import Encounters
from vehicle.clinic.laboratory_report import MATERIALS, TYPE
from vehicle.clinic.ports import Ids, Journal, Live
from vehicle.clinic.prompts import NoEncounter
from vehicle.clinic.views import CHINA

VALID_FOR = timedelta(hours=48)
"""A number names its specimen for so long; later a result under it may be of another one."""
MOST_A_DAY = 999
_NUMBER = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,29}")


class SpecimenNumberRefused(AskPerson):
    """Not a number: letters, digits, ``. _ / -``, at most 30."""

    code = "specimen_number_refused"


class SpecimenNumberTaken(AskPerson):
    """Another person's specimen has this number: take another one."""

    code = "specimen_number_taken"


class SpecimenUnknown(AskPerson):
    """No such specimen, or it was discarded: the page is old, look again."""

    code = "specimen_unknown"


@dataclass(frozen=True, slots=True)
class Specimen:
    specimen: str
    number: str
    material: str
    patient: str
    encounter: str
    visit: str | None
    taken_at: datetime
    taken_by: str
    results: int
    """How many results came under it."""


def same_number(said: str) -> str:
    """The form in which numbers are compared: without blanks, letters large, and digits without leading zeros."""
    bare = "".join(said.split()).upper()
    return bare.lstrip("0") or "0" if bare.isdigit() else bare


class Specimens:
    def __init__(self, store: Journal, ids: Ids, clock: Clock, live: Live, encounters: Encounters) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._live = live
        self._encounters = encounters
        self._taking = asyncio.Lock()

    async def take(self, material: str, number: str, by: str) -> Specimen:
        """A specimen of the person being served, under a number scanned or typed. The same again is the same one.

        :raises NoEncounter: nobody is being served
        :raises SpecimenNumberRefused, SpecimenNumberTaken: with nothing written
        """
        number = "".join(number.split())
        if material not in MATERIALS or not _NUMBER.fullmatch(number):
            raise SpecimenNumberRefused("letters and digits, at most 30", number=number)
        async with self._taking:
            served = self._encounters.current()
            if served is None:
                raise NoEncounter("nobody is being served: swipe a card or choose a person first")
            for known in self.named(number):
                if known.patient != served.patient.patient:
                    raise SpecimenNumberTaken("another person's specimen has this number", number=number)
                if known.material == material:
                    return known
            specimen = self._ids.new("specimen")
            fields = {
                "specimen": specimen,
                "number": number,
                "material": material,
                "patient": served.patient.patient,
            }
            await self._store.commit(Draft("specimen/1", fields, by, served.visit, served.encounter))
        self._live.send({"type": "reading", "live": False, "state": "specimen", "kind": TYPE, "reading": None})
        return self.get(specimen)

    async def discard(self, specimen: str, reason: str, by: str) -> None:
        """Spilled, mislabelled, taken by mistake: nothing that comes under its number is assigned any more.

        :param reason: a word: spilled, mislabelled, mistake
        :raises SpecimenUnknown: no such specimen, or discarded before
        """
        known = self.get(specimen)
        fields = {"specimen": specimen, "reason": reason}
        await self._store.commit(Draft("specimen_discarded/1", fields, by, known.visit, known.encounter))
        self._live.send({"type": "reading", "live": False, "state": "specimen", "kind": TYPE, "reading": None})

    def get(self, specimen: str) -> Specimen:
        """:raises SpecimenUnknown: no such specimen, or discarded before"""
        found = self._where("specimen = ?", specimen)
        if not found:
            raise SpecimenUnknown("this specimen is not there any more: look again", specimen=specimen)
        return found[0]

    def named(self, number: str) -> list[Specimen]:
        """Specimens that this number may mean now, newest first."""
        wanted = same_number(number)
        return [known for known in self.recent() if same_number(known.number) == wanted]

    def recent(self) -> list[Specimen]:
        """Specimens whose number still counts, newest first."""
        return self._where("taken_at >= ?", format_time(self._clock.now() - VALID_FOR))

    def proposed_number(self) -> str:
        """The next free number of ours: day of the month and a running number, five digits to type at an analyser.

        An analyser that counts by itself hardly comes to such a number by chance. One that was discarded is not given
        again: its tube may still stand there. Empty when all of the day are used.
        """
        since = format_time(self._clock.now() - VALID_FOR)
        rows = self._store.read("SELECT number FROM specimens WHERE taken_at >= ?", (since,))
        used = {same_number(row["number"]) for row in rows}
        today = f"{self._clock.now().astimezone(CHINA):%d}"
        ours = (f"{today}{number:03}" for number in range(1, MOST_A_DAY + 1))
        return next((number for number in ours if same_number(number) not in used), "")

    def _where(self, condition: str, wanted: str) -> list[Specimen]:
        rows = self._store.read(
            "SELECT s.*, (SELECT count(*) FROM readings r WHERE r.specimen = s.specimen AND r.rejected_at IS NULL) "
            f"AS results FROM specimens s WHERE s.{condition} AND s.discarded_at IS NULL "
            "ORDER BY s.taken_at DESC, s.specimen DESC",
            (wanted,),
        )
        return [_specimen(row) for row in rows]


def _specimen(row: dict[str, Any]) -> Specimen:
    return Specimen(
        specimen=row["specimen"],
        number=row["number"],
        material=row["material"],
        patient=row["patient"],
        encounter=row["encounter"],
        visit=row["visit"],
        taken_at=parse_time(row["taken_at"]),
        taken_by=row["taken_by"] or "",
        results=int(row["results"]),
    )
