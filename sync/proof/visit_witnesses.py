"""Independent witnesses of a visit: what else than the position says that the vehicle was in that village. Pure.

- ``gnss``: valid positions inside the village, with dwell.
- ``odometer``: the wheels agree with the positions: at rest, or about as far as the positions say.
- ``cells``: a serving cell that the registry knows for this village.
- ``confirmed``: the village doctor confirmed with a PIN on the touchscreen during the stay.
- ``devices``: a device of this vehicle was attached with its serial number, and somebody was served during the stay.

Only ``odometer`` can contradict: a confirmation or a cell that is not there may be hidden or unknown, and says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sync.formats.records import Entry
from sync.proof.areas import Village, at_most_m, distance_m
from sync.proof.presence import BUFFER_M, MAX_ACCURACY_M, Fix, Stay
from sync.proof.tracks import Track

AGREES_WITHIN = 0.2
"""Part of the way by which wheels and positions may differ."""
CONTRADICTS_M = 2000.0
"""Metres beyond that which no detour of the positions explains."""


@dataclass(frozen=True, slots=True)
class Witness:
    """:ivar name: a word of ``sync.proof.coverage.WITNESSES``
    :ivar agrees: None when it says nothing
    """

    name: str
    agrees: bool | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the witnesses are asked about.

    :ivar stays: of the visit; empty when it was never seen in the village
    :ivar tracks: of the range, in order
    :ivar served: when the people served in the visit came, those within the stays only
    :ivar confirmations: moments of village_confirmed/1 for this visit and village
    :ivar since: and ``until``: the visit itself, asked where no stay was found
    """

    village: Village | None
    stays: Sequence[Stay]
    tracks: Sequence[Track]
    attached: Sequence[Entry]
    served: Sequence[datetime]
    confirmations: Sequence[datetime]
    since: datetime
    until: datetime

    def during(self, at: datetime) -> bool:
        if not self.stays:
            return self.since <= at <= self.until
        return any(stay.arrived_at <= at <= stay.left_at for stay in self.stays)


def witnesses_of(seen: Seen) -> tuple[Witness, ...]:
    """All witnesses, in the order of ``sync.proof.coverage.WITNESSES``."""
    return (
        Witness("gnss", True if any(stay.dwell_s > 0 for stay in seen.stays) else None),
        Witness("odometer", _odometer(seen)),
        Witness("cells", True if _known_cell(seen) else None),
        Witness("confirmed", True if any(map(seen.during, seen.confirmations)) else None),
        Witness("devices", True if seen.served and _has_serial(seen.attached) else None),
    )


def _odometer(seen: Seen) -> bool | None:
    """Over each stay: from the last reading before it to the first after it, as far as there are any."""
    said: list[bool | None] = []
    marks = odometer_marks(seen.tracks)
    for stay in seen.stays:
        inside = [mark for mark in marks if stay.arrived_at <= mark[0] <= stay.left_at]
        if len(inside) < 2:
            continue
        wheels_m = inside[-1][1] - inside[0][1]
        way_m = _way_m([fix for track in seen.tracks for fix in track.fixes], inside[0][0], inside[-1][0])
        said.append(_agree(wheels_m, way_m))
    if False in said:
        return False
    return True if True in said else None


def odometer_marks(tracks: Sequence[Track]) -> list[tuple[datetime, int]]:
    """(moment, metres) of every reading, in order."""
    marks = []
    for track in tracks:
        if track.odometer_m is not None:
            marks.append((track.points[0].at, track.odometer_m))
        if track.odometer_end_m is not None:
            marks.append((track.points[-1].at, track.odometer_end_m))
    return marks


def _agree(wheels_m: int, way_m: float) -> bool | None:
    difference_m, longer_m = abs(wheels_m - way_m), max(wheels_m, way_m)
    if wheels_m < 0 or difference_m > CONTRADICTS_M + AGREES_WITHIN * longer_m:
        return False
    return True if difference_m <= BUFFER_M + AGREES_WITHIN * longer_m else None


def _way_m(fixes: Sequence[Fix], since: datetime, until: datetime) -> float:
    """Length of the way over the fixes; what they wander within their accuracy is no way."""
    way_m, last = 0.0, None
    for fix in fixes:
        if not since <= fix.at <= until or fix.accuracy_m > MAX_ACCURACY_M:
            continue
        if last is None:
            last = fix
            continue
        wander_m = fix.accuracy_m + last.accuracy_m
        if at_most_m(last.latitude_deg, last.longitude_deg, fix.latitude_deg, fix.longitude_deg) <= wander_m:
            continue
        step_m = distance_m(last.latitude_deg, last.longitude_deg, fix.latitude_deg, fix.longitude_deg)
        if step_m > wander_m:
            way_m, last = way_m + step_m, fix
    return way_m


def _known_cell(seen: Seen) -> bool:
    if seen.village is None or not seen.village.cells:
        return False
    heard = {cell for track in seen.tracks if seen.during(track.points[-1].at) for cell in track.cells}
    return not heard.isdisjoint(seen.village.cells)


def _has_serial(attached: Sequence[Entry]) -> bool:
    return any(str(entry.fields["facts"].get("serial", "")).strip() for entry in attached)
