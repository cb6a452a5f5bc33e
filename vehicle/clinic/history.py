"""Everything confirmed of a person, over all their registrations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.formats.records import parse_time
from vehicle.clinic.ports import Journal, marks
from vehicle.clinic.units import shown_values


@dataclass(frozen=True, slots=True)
class PastReading:
    reading: str
    type: str
    values: dict[str, object]
    at: datetime
    encounter: str
    by_hand: bool


@dataclass(frozen=True, slots=True)
class PastEncounter:
    encounter: str
    opened_at: datetime
    closed_at: datetime | None
    purpose: str
    village_name: str


@dataclass(frozen=True, slots=True)
class PastResult:
    rule: str
    code: str
    level: str
    at: datetime
    encounter: str


@dataclass(frozen=True, slots=True)
class History:
    """Everything confirmed of a person, newest first, over all their registrations."""

    encounters: tuple[PastEncounter, ...]
    readings: tuple[PastReading, ...]
    results: tuple[PastResult, ...]
    consultations: tuple[str, ...]
    recordings: tuple[str, ...]


def history(store: Journal, registrations: tuple[str, ...], limit: int) -> History:
    """
    :param registrations: all of one person
    :param limit: rows of each kind
    """

    def rows(sql: str) -> list[dict[str, Any]]:
        return store.read(f"{sql.format(who=f'({marks(registrations)})')} LIMIT {int(limit)}", registrations)

    return History(
        encounters=tuple(
            _past_encounter(row)
            for row in rows(
                "SELECT e.*, v.village_name FROM encounters e LEFT JOIN visits v ON v.visit = e.visit "
                "WHERE e.patient IN {who} ORDER BY e.opened_at DESC"
            )
        ),
        readings=tuple(
            _past_reading(row)
            for row in rows(
                "SELECT * FROM readings WHERE patient IN {who} AND confirmed_at IS NOT NULL "
                "AND rejected_at IS NULL AND type != 'answers' ORDER BY taken_at DESC, reading DESC"
            )
        ),
        results=tuple(
            PastResult(row["rule"], row["code"], row["level"], parse_time(row["at"]), row["encounter"] or "")
            for row in rows("SELECT * FROM screening_results WHERE patient IN {who} ORDER BY at DESC, result DESC")
        ),
        consultations=tuple(
            row["consultation"]
            for row in rows("SELECT consultation FROM consultations WHERE patient IN {who} ORDER BY requested_at DESC")
        ),
        recordings=tuple(
            row["sha256"]
            for row in rows(
                "SELECT sha256 FROM recordings WHERE patient IN {who} AND what = 'ecg' ORDER BY started_at DESC"
            )
        ),
    )


def _past_reading(row: Mapping[str, Any]) -> PastReading:
    return PastReading(
        reading=row["reading"],
        type=row["type"],
        values=shown_values(json.loads(row["values_json"])),
        at=parse_time(row["taken_at"]),
        encounter=row["encounter"] or "",
        by_hand=bool(row["by_hand"]),
    )


def _past_encounter(row: Mapping[str, Any]) -> PastEncounter:
    return PastEncounter(
        encounter=row["encounter"],
        opened_at=parse_time(row["opened_at"]),
        closed_at=parse_time(row["closed_at"]) if row["closed_at"] else None,
        purpose=row["purpose"],
        village_name=row["village_name"] or "",
    )
