"""Enrolled vehicles and their journal keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from devices.clock import Clock
from devices.errors import AskPerson
from sync.county.database import Database
from sync.county.schema import vehicles
from sync.notes import ED25519, NoteRefused, VerifierKey


class EnrolmentRefused(AskPerson):
    """The vehicle cannot be enrolled as asked; the message says why."""

    code = "enrolment_refused"


@dataclass(frozen=True, slots=True)
class EnrolledVehicle:
    """:ivar origin: name of its journal, e.g. "van-07.qingxi.example"
    :ivar vehicle: short id shown to people, e.g. "van-07"
    """

    origin: str
    vkey: str
    vehicle: str
    plate: str
    enrolled_at: datetime
    revoked_at: datetime | None


class Fleet:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def enrol(self, origin: str, vkey: str, vehicle: str = "", plate: str = "") -> EnrolledVehicle:
        """Trust ``vkey`` for the journal ``origin`` from now on. The same again changes nothing.

        :raises EnrolmentRefused: not a journal key of this origin, or the origin has another key already
        """
        if not origin or "/" in origin or len(origin) > 100:
            raise EnrolmentRefused(f"origin {origin[:100]!r}: use a host name such as van-07.qingxi.example")
        try:
            key = VerifierKey.parse(vkey)
        except NoteRefused as fault:
            raise EnrolmentRefused(f"{fault}: copy the whole line that the vehicle shows") from None
        if key.name != origin:
            raise EnrolmentRefused(f"the key is of {key.name}, not of {origin}: check which vehicle you enrol")
        if key.algorithm != ED25519:
            raise EnrolmentRefused(f"the key of {origin} is a cosigner's key, not a journal's: take the vehicle's line")
        known = self.get(origin)
        if known is not None:
            if known.vkey == str(key) and known.revoked_at is None:
                return known
            raise EnrolmentRefused(f"{origin} has a key already: a vehicle with a new key gets a new origin")
        row: dict[str, Any] = {
            "origin": origin,
            "vkey": str(key),
            "vehicle": vehicle or origin.partition(".")[0],
            "plate": plate,
            "enrolled_at": self._clock.now(),
        }
        with self._database.write() as connection:
            connection.execute(insert(vehicles).values(row))
        return EnrolledVehicle(**row, revoked_at=None)

    def revoke(self, origin: str) -> None:
        """Take nothing more from this key; what was delivered stays.

        :raises EnrolmentRefused: not enrolled
        """
        if self.get(origin) is None:
            raise EnrolmentRefused(f"{origin[:100]!r} is not enrolled")
        with self._database.write() as connection:
            revoked = update(vehicles).where(vehicles.c.origin == origin).values(revoked_at=self._clock.now())
            connection.execute(revoked)

    def get(self, origin: str) -> EnrolledVehicle | None:
        row = self._database.row(select(vehicles).where(vehicles.c.origin == origin))
        return _vehicle(row) if row is not None else None

    def all(self) -> list[EnrolledVehicle]:
        return [_vehicle(row) for row in self._database.rows(select(vehicles).order_by(vehicles.c.origin))]

    def verifier(self, origin: str) -> VerifierKey | None:
        """The key trusted for ``origin``; None when it is not enrolled or revoked."""
        vehicle = self.get(origin)
        return VerifierKey.parse(vehicle.vkey) if vehicle is not None and vehicle.revoked_at is None else None


def _vehicle(row: dict[str, Any]) -> EnrolledVehicle:
    return EnrolledVehicle(**{name: row[name] for name in EnrolledVehicle.__dataclass_fields__})
