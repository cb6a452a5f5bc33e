"""Maps drawn by us: villages and tracks on a local plane, as numbers for an SVG; no tiles, no outside service."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sync.proof.areas import METRES_PER_DEGREE, Village
from sync.proof.presence import Fix

Point = tuple[float, float]
_SCALE_STEPS_M = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
_CIRCLE_CORNERS = 48


@dataclass(frozen=True, slots=True)
class Plane:
    """A window on the ground: SVG units to the right and down from its north-west corner.

    :ivar width: of the drawing in SVG units, and ``height``
    :ivar unit_m: metres per SVG unit
    """

    latitude_deg: float
    longitude_deg: float
    unit_m: float
    width: float
    height: float

    def place(self, latitude_deg: float, longitude_deg: float) -> Point:
        across = METRES_PER_DEGREE * math.cos(math.radians(self.latitude_deg))
        x = self.width / 2 + (longitude_deg - self.longitude_deg) * across / self.unit_m
        y = self.height / 2 - (latitude_deg - self.latitude_deg) * METRES_PER_DEGREE / self.unit_m
        return round(x, 1), round(y, 1)

    def path(self, village: Village) -> str:
        """SVG path data of the village's area; holes come out by ``fill-rule: evenodd``."""
        return " ".join(
            "M" + "L".join(f"{x:g} {y:g}" for x, y in (self.place(lat, lon) for lon, lat in ring)) + "Z"
            for ring in _rings(village)
        )

    def line(self, fixes: Iterable[Fix]) -> str:
        """Points of a polyline; those less than a unit from the last drawn one are left out."""
        drawn: list[Point] = []
        for fix in fixes:
            point = self.place(fix.latitude_deg, fix.longitude_deg)
            if not drawn or math.dist(point, drawn[-1]) >= 1:
                drawn.append(point)
        return " ".join(f"{x:g},{y:g}" for x, y in drawn)

    def scale_bar(self) -> tuple[float, str]:
        """Length in SVG units, about a seventh of the width, and what it says."""
        wanted_m = self.width * self.unit_m / 7
        metres = min(_SCALE_STEPS_M, key=lambda step: abs(math.log(step / wanted_m)))
        return metres / self.unit_m, f"{metres // 1000} km" if metres >= 1000 else f"{metres} m"

    def shows(self, village: Village) -> bool:
        """Whether any of it may be seen, with half a width to spare for wide or high windows."""
        west, south, east, north = village.box
        (left, bottom), (right, top) = self.place(south, west), self.place(north, east)
        spare = self.width / 2
        return right > -spare and left < self.width + spare and bottom > -spare and top < self.height + spare


def plane_of(positions: Sequence[tuple[float, float]], width: float, height: float, margin: float) -> Plane:
    """The plane that shows all (latitude, longitude), with ``margin`` as a part of its size on every side.

    :raises ValueError: no positions
    """
    if not positions:
        raise ValueError("a map needs at least one position")
    latitudes, longitudes = zip(*positions, strict=True)
    latitude, longitude = (min(latitudes) + max(latitudes)) / 2, (min(longitudes) + max(longitudes)) / 2
    down_m = max(200.0, (max(latitudes) - min(latitudes)) * METRES_PER_DEGREE)
    across_m = (max(longitudes) - min(longitudes)) * METRES_PER_DEGREE * math.cos(math.radians(latitude))
    room = 1 - 2 * margin
    unit_m = max(down_m / (height * room), max(200.0, across_m) / (width * room))
    return Plane(latitude, longitude, unit_m, width, height)


def corners(village: Village) -> list[tuple[float, float]]:
    """(latitude, longitude) of the box around the area."""
    west, south, east, north = village.box
    return [(south, west), (north, east)]


def _rings(village: Village) -> Iterable[Iterable[tuple[float, float]]]:
    """(longitude, latitude) of the border; a circle as a polygon of many corners."""
    if village.polygon is not None:
        return village.polygon
    west, south, east, north = village.box
    turns = (2 * math.pi * corner / _CIRCLE_CORNERS for corner in range(_CIRCLE_CORNERS))
    return [
        [
            (
                village.centre_longitude_deg + (east - west) / 2 * math.cos(turn),
                village.centre_latitude_deg + (north - south) / 2 * math.sin(turn),
            )
            for turn in turns
        ]
    ]
