"""What the fleet page shows of each vehicle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from sync.county.database import Database
from sync.county.fleet import EnrolledVehicle, Fleet
from sync.county.schema import logs, refused_checkpoints, set_aside, uploads
from sync.keys import fingerprint
from sync.notes import VerifierKey
from sync.records import parse_time


@dataclass(frozen=True, slots=True)
class VehicleLine:
    """:ivar stored: entries durably here; ``delivered`` of them under a receipt
    :ivar set_aside: entries that could not be read; ``refused`` checkpoints that were no extension
    """

    vehicle: EnrolledVehicle
    fingerprint: str
    practice: bool
    last_seen_at: datetime | None
    last_entry_at: datetime | None
    stored: int
    delivered: int
    recordings: int
    recording_bytes: int
    set_aside: int
    refused: int


def fleet_view(database: Database, fleet: Fleet) -> list[VehicleLine]:
    heard = {row["origin"]: row for row in database.rows(select(logs))}
    aside = _counts(database, set_aside)
    refused = _counts(database, refused_checkpoints)
    files = select(uploads.c.origin, func.count().label("n"), func.sum(uploads.c.bytes).label("bytes"))
    stored = {row["origin"]: row for row in database.rows(files.group_by(uploads.c.origin))}
    lines = []
    for vehicle in fleet.all():
        log = heard.get(vehicle.origin, {})
        file = stored.get(vehicle.origin, {})
        last = log.get("last_entry_at")
        lines.append(
            VehicleLine(
                vehicle=vehicle,
                fingerprint=fingerprint(VerifierKey.parse(vehicle.vkey)),
                practice=bool(log.get("practice")),
                last_seen_at=log.get("last_seen_at"),
                last_entry_at=parse_time(last) if last else None,
                stored=log.get("next_entry", 0),
                delivered=log.get("mirror_size", 0),
                recordings=file.get("n", 0),
                recording_bytes=int(file.get("bytes") or 0),
                set_aside=aside.get(vehicle.origin, 0),
                refused=refused.get(vehicle.origin, 0),
            )
        )
    return lines


def _counts(database: Database, table: Any) -> dict[str, int]:
    counted = select(table.c.origin, func.count().label("n")).group_by(table.c.origin)
    return {row["origin"]: row["n"] for row in database.rows(counted)}
