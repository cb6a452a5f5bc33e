"""Tracks as they stand in the journal (entry kind ``track/1``): where the vehicle was, every five minutes. Pure.

The heartbeat of a vehicle: while it is powered there is a point every 10 s, or every 30 s without a fix, so that a hole
is visible. Beside the points: odometer at both ends, serving cells, ignition, and what the receiver said of itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, TypeAlias

from sync.proof.presence import Fix

NO_FIX_ACCURACY_M = 9999
"""Written as the accuracy of a point without a fix. It repeats the position before it and says nothing of its own."""


@dataclass(frozen=True, slots=True)
class NoFix:
    """A moment without a position: the vehicle was powered, the receiver silent or without a fix."""

    at: datetime
    satellites: int = 0


Point: TypeAlias = Fix | NoFix


@dataclass(frozen=True, slots=True)
class Track:
    """One ``track/1`` entry.

    :ivar points: in the order written, at least one
    :ivar odometer_m: at the first point; ``odometer_end_m`` at the last
    :ivar cells: serving cells seen, "MCC-MNC-TAC-CI" in the modem's own digits
    :ivar flags: what the receiver said of itself: "spoofing", "jamming"
    """

    points: tuple[Point, ...]
    odometer_m: int | None = None
    odometer_end_m: int | None = None
    cells: tuple[str, ...] = ()
    ignition: bool | None = None
    flags: tuple[str, ...] = ()

    @property
    def fixes(self) -> list[Fix]:
        return [point for point in self.points if isinstance(point, Fix)]


def track_fields(points: Sequence[Point]) -> dict[str, Any]:
    """Fields of a ``track/1`` entry: the first point, then steps ``[dt_s, dlat_e7, dlon_e7, accuracy_m, satellites]``.

    Each step is the difference to the point before it; seconds are rounded on the way from the start, so that nothing
    adds up. A fix with the spoofing flag has a sixth number 1; for the first point that is a step of dt 0.

    :raises ValueError: no points
    """
    if not points:
        raise ValueError("a track needs at least one point")
    first = points[0]
    dt_s, latitude, longitude = 0, *_position(first, (0, 0))
    fields: dict[str, Any] = {
        "started_at": _written(first.at),
        "lat_e7": latitude,
        "lon_e7": longitude,
        "accuracy_m": _accuracy(first),
        "satellites": first.satellites,
    }
    steps = [[0, 0, 0, _accuracy(first), first.satellites, 1]] if isinstance(first, Fix) and first.spoof else []
    for point in points[1:]:
        now = round((point.at - first.at).total_seconds()), *_position(point, (latitude, longitude))
        step = [now[0] - dt_s, now[1] - latitude, now[2] - longitude, _accuracy(point), point.satellites]
        steps.append([*step, 1] if isinstance(point, Fix) and point.spoof else step)
        dt_s, latitude, longitude = now
    fields["steps"] = steps
    return fields


def track_of(fields: Mapping[str, Any]) -> Track:
    """The track that the fields of a ``track/1`` entry say.

    :raises ValueError: a field is missing or of the wrong kind
    """
    try:
        at = datetime.fromisoformat(fields["started_at"]).astimezone(UTC)
        latitude, longitude = int(fields["lat_e7"]), int(fields["lon_e7"])
        points = [_point(at, latitude, longitude, fields["accuracy_m"], fields["satellites"])]
        waits: dict[int, timedelta] = {}  # nearly all steps are of the same few seconds
        for step in fields["steps"]:
            dt_s, dlat_e7, dlon_e7, accuracy_m, satellites = step if len(step) == 5 else step[:5]
            if dt_s not in waits:
                waits[dt_s] = timedelta(seconds=dt_s)
            at += waits[dt_s]
            latitude, longitude = latitude + dlat_e7, longitude + dlon_e7
            point = _point(at, latitude, longitude, accuracy_m, satellites, len(step) > 5 and bool(step[5]))
            if dt_s == 0 and len(points) == 1:
                points[0] = point
            else:
                points.append(point)
        return Track(
            points=tuple(points),
            odometer_m=fields.get("odometer_m"),
            odometer_end_m=fields.get("odometer_end_m"),
            cells=tuple(cell for cell in fields.get("cells", ()) if isinstance(cell, str)),
            ignition=fields.get("ignition"),
            flags=tuple(flag for flag in fields.get("flags", ()) if isinstance(flag, str)),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as fault:
        raise ValueError(f"not a track: {fault}") from fault


def fixes_of_track(fields: Mapping[str, Any]) -> list[Fix]:
    """The fixes of a ``track/1`` entry, without the points that have none.

    :raises ValueError: a field is missing or of the wrong kind
    """
    return track_of(fields).fixes


def _point(
    at: datetime, lat_e7: int, lon_e7: int, accuracy_m: int | float, satellites: int, spoof: bool = False
) -> Point:
    if accuracy_m >= NO_FIX_ACCURACY_M:
        return NoFix(at, int(satellites))
    return Fix(at, lat_e7 / 1e7, lon_e7 / 1e7, float(accuracy_m), int(satellites), spoof)


def _accuracy(point: Point) -> int:
    """Whole metres, never better than it was."""
    return min(ceil(point.accuracy_m), NO_FIX_ACCURACY_M - 1) if isinstance(point, Fix) else NO_FIX_ACCURACY_M


def _position(point: Point, before: tuple[int, int]) -> tuple[int, int]:
    if isinstance(point, NoFix):
        return before
    return round(point.latitude_deg * 1e7), round(point.longitude_deg * 1e7)


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
