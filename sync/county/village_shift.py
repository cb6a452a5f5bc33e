"""Is a list of villages shifted? Compared with the list in force, or with where vans really stood when it is the first.

GCJ-02 is refused; a common shift of 50 to 500 m as well, unless a person says why it is right, such as a new survey.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from math import atan2, pi
from statistics import median
from typing import Protocol

from sqlalchemy import select

from sync.county.database import Database
from sync.county.schema import projected
from sync.formats.records import parse_time
from sync.proof.areas import Village, VillagesRefused
from sync.proof.gcj02 import COMMON_SHIFT, GCJ02_SUSPECTED, Place, Shift, shift_against_list, shift_against_vans
from sync.proof.presence import MAX_ACCURACY_M, Fix

MOST_VISITS = 300
"""Of the latest, for where vans stood."""
_DIRECTIONS = ("east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east")


class VillagesShifted(VillagesRefused):
    """The list lies beside the villages; the message has the figures and what to do."""

    def __init__(self, shift: Shift, against_vans: bool) -> None:
        super().__init__(_said(shift, against_vans))
        self.code = shift.code
        self.shift = shift
        self.against_vans = against_vans


class Fixes(Protocol):
    """Track points of a vehicle."""

    def fixes(self, origin: str, since: datetime, until: datetime) -> list[Fix]: ...


def find_shift(
    given: Sequence[Village], present: Sequence[Village], stood: Mapping[str, Place], today: date
) -> VillagesShifted | None:
    """:param stood: where vans stood, by village code; used when there is no list yet"""
    before = {village.code: _middle(village) for village in present if village.in_force(today)}
    if before:
        now = {village.code: _middle(village) for village in given if village.in_force(today)}
        shift = shift_against_list([(before[code], now[code]) for code in sorted(before.keys() & now.keys())])
        return VillagesShifted(shift, against_vans=False) if shift is not None else None
    centres = {
        village.code: (village.centre_latitude_deg, village.centre_longitude_deg)
        for village in given
        if village.in_force(today)
    }
    shift = shift_against_vans([(stood[code], centres[code]) for code in sorted(stood.keys() & centres.keys())])
    return VillagesShifted(shift, against_vans=True) if shift is not None else None


def standing_places(database: Database, visits: Fixes) -> dict[str, Place]:
    """Where vans stood while a visit was open, by the village that the crew named: the middle of all track points."""
    table = projected["visits"]
    ended = table.c.village.is_not(None) & table.c.opened_at.is_not(None) & table.c.closed_at.is_not(None)
    latest = select(table).where(ended).order_by(table.c.opened_at.desc()).limit(MOST_VISITS)
    found: dict[str, list[Place]] = {}
    for row in database.rows(latest):
        since, until = parse_time(row["opened_at"]), parse_time(row["closed_at"])
        if timedelta(0) < until - since < timedelta(days=1):
            place = _stood(visits.fixes(row["origin"], since, until))
            if place is not None:
                found.setdefault(row["village"], []).append(place)
    return {code: _middle_of(places) for code, places in found.items()}


def _stood(fixes: Iterable[Fix]) -> Place | None:
    good = [
        (fix.latitude_deg, fix.longitude_deg) for fix in fixes if fix.accuracy_m <= MAX_ACCURACY_M and not fix.spoof
    ]
    return _middle_of(good) if len(good) >= 10 else None


def _middle_of(places: Sequence[Place]) -> Place:
    return median(place[0] for place in places), median(place[1] for place in places)


def _middle(village: Village) -> Place:
    if village.polygon is None:
        return village.centre_latitude_deg, village.centre_longitude_deg
    west, south, east, north = village.box
    return (south + north) / 2, (west + east) / 2


def direction(shift: Shift) -> str:
    """One of eight, in English."""
    return _DIRECTIONS[round(atan2(shift.north_m, shift.east_m) / (pi / 4)) % 8]


def _said(shift: Shift, against_vans: bool) -> str:
    where = "where the vans really stood" if against_vans else "the list in force"
    many = (
        f"{shift.shown_by} of {shift.compared} villages lie {shift.metres:.0f} m to the {direction(shift)} of {where}"
    )
    if shift.code == GCJ02_SUSPECTED:
        return (
            f"{GCJ02_SUSPECTED}: {many}, as GCJ-02 is shifted there ({shift.gcj02_m:.0f} m): export the list in WGS-84 "
            "or CGCS2000; a list that is right all the same is taken with --accept-shift REASON"
        )
    if shift.back:
        many += f", as if that were GCJ-02 ({shift.gcj02_m:.0f} m) and this one right"
    return (
        f"{COMMON_SHIFT}: {many}: check the coordinates (WGS-84 or CGCS2000); after a new survey take the list with "
        "--accept-shift REASON"
    )
