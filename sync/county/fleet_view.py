"""What the fleet page shows of each vehicle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from sync.county.database import Database
from sync.county.fleet import EnrolledVehicle, Fleet
from sync.county.schema import logs, refused_checkpoints, set_aside, uploads
from sync.formats.notes import VerifierKey
from sync.formats.records import parse_time
from sync.keys.key_statements import fingerprint


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key of a vehicle with the sizes that it signs."""

    fingerprint: str
    from_size: int
    until_size: int | None


@dataclass(frozen=True, slots=True)
class VehicleLine:
    """:ivar state: "revoked", "frozen" or "enrolled"
    :ivar keys: the newest first
    :ivar goes_on_as: the journal that goes on from this one
    :ivar stored: entries durably here; ``delivered`` of them under a receipt
    :ivar set_aside: entries that could not be read; ``refused`` checkpoints that were no extension
    """

    vehicle: EnrolledVehicle
    state: str
    keys: tuple[KeyLine, ...]
    goes_on_as: str | None
    frozen_at: datetime | None
    frozen_reason: str | None
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
    """By vehicle; journals that go on from one another stand together, the oldest first."""
    heard = {row["origin"]: row for row in database.rows(select(logs))}
    aside = _counts(database, set_aside)
    refused = _counts(database, refused_checkpoints)
    files = select(uploads.c.origin, func.count().label("n"), func.sum(uploads.c.bytes).label("bytes"))
    stored = {row["origin"]: row for row in database.rows(files.group_by(uploads.c.origin))}
    vehicles = fleet.all()
    follows = {vehicle.succeeds: vehicle.origin for vehicle in vehicles if vehicle.succeeds}
    lines = []
    for vehicle in vehicles:
        log = heard.get(vehicle.origin, {})
        file = stored.get(vehicle.origin, {})
        last = log.get("last_entry_at")
        lines.append(
            VehicleLine(
                vehicle=vehicle,
                state="revoked" if vehicle.revoked else "frozen" if log.get("frozen_at") else "enrolled",
                keys=_key_lines(vehicle),
                goes_on_as=follows.get(vehicle.origin),
                frozen_at=log.get("frozen_at"),
                frozen_reason=log.get("frozen_reason"),
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
    place = {origin: n for vehicle in vehicles for n, origin in enumerate(fleet.lineage(vehicle.origin))}
    return sorted(lines, key=lambda line: (line.vehicle.vehicle, place[line.vehicle.origin], line.vehicle.origin))


def _key_lines(vehicle: EnrolledVehicle) -> tuple[KeyLine, ...]:
    lines = [KeyLine(fingerprint(VerifierKey.parse(key.key)), key.from_size, key.until_size) for key in vehicle.keys]
    return tuple(reversed(lines))


def _counts(database: Database, table: Any) -> dict[str, int]:
    counted = select(table.c.origin, func.count().label("n")).group_by(table.c.origin)
    return {row["origin"]: row["n"] for row in database.rows(counted)}
