"""What the fleet page shows of each vehicle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from sync.county.database import Database, Row
from sync.county.fleet import EnrolledVehicle, Fleet
from sync.county.freezing import evidence_of
from sync.county.interpretation import said
from sync.county.schema import logs, projected, refused_checkpoints, set_aside, uploads
from sync.formats.notes import Checkpoint, VerifierKey
from sync.formats.records import parse_time
from sync.keys.key_statements import fingerprint


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key of a vehicle with the sizes that it signs."""

    fingerprint: str
    from_size: int
    until_size: int | None


@dataclass(frozen=True, slots=True)
class FrozenLine:
    """Why a log is frozen.

    :ivar shows: of ``freezing.py``; None for a log frozen by a version that did not say
    :ivar ours: entries of the checkpoint that the county has, ``theirs`` of the one that it refused
    :ivar reason: as the command line tells it
    """

    at: datetime
    reason: str
    shows: str | None = None
    ours: int = 0
    theirs: int = 0


@dataclass(frozen=True, slots=True)
class Asset:
    """A device with its serial number, as it was attached last."""

    device: str
    driver: str
    serial: str
    at: datetime


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
    frozen: FrozenLine | None
    assets: tuple[Asset, ...]
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
    vehicles, assets = fleet.all(), _assets(database)
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
                frozen=_frozen(database, vehicle.origin, log),
                assets=assets.get(vehicle.origin, ()),
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


def _frozen(database: Database, origin: str, log: Row) -> FrozenLine | None:
    at = log.get("frozen_at")
    if at is None:
        return None
    reason = log.get("frozen_reason") or ""
    found = [evidence for evidence in evidence_of(database, origin) if evidence.reason[:300] == reason]
    if not found:
        return FrozenLine(at, reason)
    ours, theirs = (Checkpoint.parse(note.text).size for note in (found[-1].ours, found[-1].refused))
    return FrozenLine(at, reason, found[-1].shows, ours, theirs)


def _assets(database: Database) -> dict[str, tuple[Asset, ...]]:
    """Of each vehicle, by device: those whose serial number the last ``attached`` told."""
    told = projected["device_events"]
    last = select(told.c.origin, func.max(told.c.n).label("n")).where(told.c.event == "attached")
    newest = last.group_by(told.c.origin, told.c.device).subquery()
    both = told.join(newest, (told.c.origin == newest.c.origin) & (told.c.n == newest.c.n))
    found: dict[str, list[Asset]] = {}
    for row in database.rows(select(told).select_from(both).order_by(told.c.origin, told.c.device)):
        serial = said(row["facts_json"]).get("serial")
        if isinstance(serial, str) and serial:
            asset = Asset(row["device"], row["driver"], serial[:64], parse_time(row["at"]))
            found.setdefault(row["origin"], []).append(asset)
    return {origin: tuple(assets) for origin, assets in found.items()}


def _key_lines(vehicle: EnrolledVehicle) -> tuple[KeyLine, ...]:
    lines = [KeyLine(fingerprint(VerifierKey.parse(key.key)), key.from_size, key.until_size) for key in vehicle.keys]
    return tuple(reversed(lines))


def _counts(database: Database, table: Any) -> dict[str, int]:
    counted = select(table.c.origin, func.count().label("n")).group_by(table.c.origin)
    return {row["origin"]: row["n"] for row in database.rows(counted)}
