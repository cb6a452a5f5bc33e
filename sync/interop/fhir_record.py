"""What the record holds of one person, or of one encounter, gathered for other people's forms.

The tables are those of ``sync.record.tables``, the same on the van and at the county; each side says how it reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sync.record.allergies import FORM, counting
from sync.record.person_links import LINKED, UNLINKED, PersonLinks

Row = Mapping[str, Any]
ReadRows = Callable[[str, str, str], Sequence[Row]]
"""(table, column, value) -> the rows of one journal in which the column has that value."""


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """Rows of one journal that belong to one person. ``readings`` are confirmed ones only, nothing that was rejected.

    :ivar devices: by name, those that measured something of it
    :ivar staff: (visit, person) -> the duty row
    """

    origin: str
    patient: Row
    encounters: Sequence[Row]
    visits: Mapping[str, Row]
    readings: Sequence[Row]
    recordings: Sequence[Row]
    analyses: Mapping[str, Row]
    """By the recording's SHA-256."""
    consultations: Sequence[Row]
    results: Sequence[Row] = ()
    """Of screening rules, oldest first."""
    forms: Sequence[Row] = ()
    """Signed follow-up forms, oldest first."""
    allergies: Sequence[Row] = ()
    """The signed forms whose allergies count, of all registrations of the person, newest first."""
    actions: Sequence[Row] = ()
    """Found red values and what was done about them, in their order."""
    findings: Sequence[Row] = ()
    """What of an ECG or ultrasound is among the red values."""
    devices: Mapping[str, Row] = field(default_factory=dict)
    staff: Mapping[tuple[str, str], Row] = field(default_factory=dict)

    @property
    def practice(self) -> bool:
        return any(row["practice"] for row in self.encounters)

    def name_of(self, visit: str | None, person: str | None) -> str:
        """Of one of the crew; their id when they were not on duty."""
        found = self.staff.get((visit or "", person or ""))
        return str(found["name"]) if found else person or ""


def of_person(read: ReadRows, origin: str, patient: str) -> PersonRecord | None:
    """Everything of a person; None when the journal knows no such person."""
    return _gathered(read, origin, patient, read("encounters", "patient", patient), None)


def of_encounter(read: ReadRows, origin: str, encounter: str) -> PersonRecord | None:
    """One encounter; None when the journal knows no such encounter, or not whose it is."""
    rows = read("encounters", "encounter", encounter)
    if not rows or not rows[0]["patient"]:
        return None
    return _gathered(read, origin, rows[0]["patient"], rows, encounter)


def _gathered(
    read: ReadRows, origin: str, patient: str, encounters: Sequence[Row], only: str | None
) -> PersonRecord | None:
    people = [row for row in read("patients", "patient", patient) if row["registered_at"]]
    if not people:
        return None
    column, value = ("patient", patient) if only is None else ("encounter", only)

    def mine(table: str) -> list[Row]:
        return [row for row in read(table, column, value) if row["patient"] in (None, patient)]

    readings = [row for row in mine("readings") if row["confirmed_at"] and not row["rejected_at"]]
    recordings = [row for row in mine("recordings") if row["media_type"]]
    names = {row["visit"] for row in encounters if row["visit"]}
    duty = [row for visit in sorted(names) for row in read("duty", "visit", visit)]
    used = sorted({row["device"] for row in (*readings, *recordings) if row["device"]})
    return PersonRecord(
        origin=origin,
        patient=people[0],
        encounters=sorted((row for row in encounters if row["opened_at"]), key=lambda row: str(row["opened_at"])),
        visits={row["visit"]: row for visit in sorted(names) for row in read("visits", "visit", visit)},
        readings=sorted(readings, key=lambda row: (row["taken_at"], row["reading"])),
        recordings=sorted(recordings, key=lambda row: (row["started_at"], row["sha256"])),
        analyses={
            row["sha256"]: found
            for row in recordings
            for found in read("ecg_analyses", "sha256", row["sha256"])
            if found["analysed_at"]
        },
        consultations=[row for row in mine("consultations") if row["requested_at"]],
        results=sorted((row for row in mine("screening_results") if row["at"]), key=lambda row: row["result"]),
        forms=sorted((row for row in mine("follow_up_forms") if row["filled_at"]), key=lambda row: int(row["n"])),
        allergies=_allergies(read, patient),
        actions=sorted((row for row in mine("critical_actions") if row["at"]), key=lambda row: int(row["n"])),
        findings=[row for row in mine("critical_findings") if row["found_at"]],
        devices={row["device"]: row for name in used for row in read("devices", "device", name)},
        staff={(row["visit"], row["person"]): row for row in duty},
    )


def _allergies(read: ReadRows, patient: str) -> list[Row]:
    links, parted = (read("access_log", "action", action) for action in (LINKED, UNLINKED))
    notes = sorted((*links, *parted), key=lambda row: int(row["n"]))
    who = (patient, *PersonLinks((row["action"], row["what"]) for row in notes).beside(patient))
    forms = [row for one in who for row in read("follow_up_forms", "patient", one)]
    return counting((row for row in forms if row["form"] == FORM and row["filled_at"]), links, who)


def said(row: Row, column: str) -> Any:
    """What a ``*_json`` column says; {} when there is nothing."""
    return json.loads(row[column]) if row[column] else {}
