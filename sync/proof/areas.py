"""Areas of villages: which one a position lies in, and how far outside or inside its border.

WGS-84 / CGCS2000 degrees. Distances are metres on a local equirectangular plane around the asked position: below
0.1 % wrong within 20 km of it at Chinese latitudes. Pure: no files, no clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

from devices.errors import AskPerson

METRES_PER_DEGREE = 111_195.08
"""One degree of a great circle of a sphere of 6,371,008.8 m (IUGG mean radius)."""

Ring = tuple[tuple[float, float], ...]
"""Closed ring of (longitude_deg, latitude_deg), the order of GeoJSON (RFC 7946 section 3.1.1)."""

Edge = tuple[float, float, float, float]
"""Longitude and latitude of both ends."""
_CELL = re.compile(r"[0-9]{3}-[0-9]{2,3}-[0-9A-F]{1,8}-[0-9A-F]{1,9}")
"""As a van writes it: mobile country and network code, tracking area, cell identity, the last two in hexadecimal."""
_MOST_CELLS = 200
_BANDS = 32
_HAIR = 1e-9
"""Degrees by which neighbouring bands overlap, against rounding."""

DEFAULT_RADIUS_M = 1500.0
ALWAYS = date(1970, 1, 1)


class Where(NamedTuple):
    """A feature of a list: its number, from 1, and its name."""

    place: int
    name: str

    def __str__(self) -> str:
        return f"feature {self.place} ({self.name})"


class VillagesRefused(AskPerson):
    """The list of villages cannot be read; the message names the feature and what to do.

    :ivar problem: the same as one word, for pages in other languages; empty when there is none
    :ivar where: the feature; None when it is the whole list
    :ivar facts: what was found, and what else the words name
    """

    code = "villages_refused"

    def __init__(self, message: str, problem: str = "", where: Where | None = None, **facts: object) -> None:
        super().__init__(message)
        self.problem, self.where = problem, where
        self.facts = {name: str(fact)[:60] for name, fact in facts.items()}


def distance_m(latitude_a: float, longitude_a: float, latitude_b: float, longitude_b: float) -> float:
    """Metres between two positions near each other."""
    east = (longitude_b - longitude_a) * math.cos(math.radians((latitude_a + latitude_b) / 2))
    return math.hypot(latitude_b - latitude_a, east) * METRES_PER_DEGREE


def at_most_m(latitude_a: float, longitude_a: float, latitude_b: float, longitude_b: float) -> float:
    """Metres that ``distance_m`` never exceeds, quickly."""
    return (abs(latitude_b - latitude_a) + abs(longitude_b - longitude_a)) * METRES_PER_DEGREE


@dataclass(frozen=True)
class Village:
    """An administrative village (行政村) and its area: a polygon, else a circle around its centre.

    :ivar code: 12-digit statistical code, kept as text
    :ivar polygon: all rings of the polygon or polygons; a position inside an odd number of rings is inside
    :ivar radius_m: of the circle; not used when there is a polygon
    :ivar valid_until: last day in force, None while it stands
    :ivar cells: serving cells of mobile networks known to be heard there, "MCC-MNC-TAC-CI"
    """

    code: str
    name: str
    township: str
    polygon: tuple[Ring, ...] | None
    centre_latitude_deg: float
    centre_longitude_deg: float
    radius_m: float = DEFAULT_RADIUS_M
    valid_from: date = ALWAYS
    valid_until: date | None = None
    cells: tuple[str, ...] = ()

    def in_force(self, on: date) -> bool:
        return self.valid_from <= on and (self.valid_until is None or on <= self.valid_until)

    def contains(self, latitude_deg: float, longitude_deg: float) -> bool:
        if self.polygon is None:
            return self.metres_from_centre(latitude_deg, longitude_deg) <= self.radius_m
        west, south, east, north = self.box
        if not (south <= latitude_deg <= north and west <= longitude_deg <= east):
            return False
        band = min(_BANDS - 1, int((latitude_deg - south) / (north - south) * _BANDS)) if north > south else 0
        return _crossings(self._edges[band], latitude_deg, longitude_deg) % 2 == 1

    def metres_outside(self, latitude_deg: float, longitude_deg: float) -> float:
        """Metres to the border from outside; 0.0 inside."""
        if self.contains(latitude_deg, longitude_deg):
            return 0.0
        return self._metres_to_border(latitude_deg, longitude_deg)

    def metres_inside(self, latitude_deg: float, longitude_deg: float) -> float:
        """Metres to the border from inside; 0.0 outside."""
        if not self.contains(latitude_deg, longitude_deg):
            return 0.0
        return self._metres_to_border(latitude_deg, longitude_deg)

    def metres_from_centre(self, latitude_deg: float, longitude_deg: float) -> float:
        return distance_m(self.centre_latitude_deg, self.centre_longitude_deg, latitude_deg, longitude_deg)

    def _metres_to_border(self, latitude_deg: float, longitude_deg: float) -> float:
        if self.polygon is None:
            return abs(self.metres_from_centre(latitude_deg, longitude_deg) - self.radius_m)
        return _metres_to_rings(self.polygon, latitude_deg, longitude_deg)

    @cached_property
    def _edges(self) -> tuple[tuple[Edge, ...], ...]:
        """Edges by bands of latitude from south to north, so that few are looked at for one position."""
        _, south, _, north = self.box
        height = (north - south) / _BANDS
        edges = [
            (*point, *before)
            for ring in self.polygon or ()
            for point, before in zip(ring, (*ring[-1:], *ring[:-1]), strict=True)
        ]
        return tuple(
            tuple(
                edge
                for edge in edges
                if min(edge[1], edge[3]) <= south + height * (band + 1) + _HAIR
                and max(edge[1], edge[3]) >= south + height * band - _HAIR
            )
            for band in range(_BANDS)
        )

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the area in degrees."""
        if self.polygon is None:
            up = self.radius_m / METRES_PER_DEGREE
            across = up / math.cos(math.radians(self.centre_latitude_deg))
            longitude, latitude = self.centre_longitude_deg, self.centre_latitude_deg
            return longitude - across, latitude - up, longitude + across, latitude + up
        longitudes = [point[0] for ring in self.polygon for point in ring]
        latitudes = [point[1] for ring in self.polygon for point in ring]
        return min(longitudes), min(latitudes), max(longitudes), max(latitudes)


class AreaIndex:
    """Finds the few villages near a position among many, by a grid of about two kilometres.

    :param margin_m: villages whose border is at most this far away are near as well
    """

    CELL_DEG = 0.02

    def __init__(self, villages: Iterable[Village], margin_m: float = 150.0) -> None:
        self._cells: dict[tuple[int, int], tuple[Village, ...]] = {}
        for village in villages:
            for cell in self._touched(village, margin_m):
                self._cells[cell] = (*self._cells.get(cell, ()), village)

    def near(self, latitude_deg: float, longitude_deg: float) -> tuple[Village, ...]:
        cell = math.floor(latitude_deg / self.CELL_DEG), math.floor(longitude_deg / self.CELL_DEG)
        return self._cells.get(cell, ())

    def clear_deg(self, latitude_deg: float, longitude_deg: float) -> float:
        """Within this distance, in degrees of latitude or longitude, ``near`` gives the same villages."""
        up, across = latitude_deg / self.CELL_DEG % 1.0, longitude_deg / self.CELL_DEG % 1.0
        return min(up, 1.0 - up, across, 1.0 - across) * self.CELL_DEG * 0.99

    def _touched(self, village: Village, margin_m: float) -> Iterator[tuple[int, int]]:
        west, south, east, north = village.box
        up = margin_m / METRES_PER_DEGREE
        across = up / math.cos(math.radians(village.centre_latitude_deg))
        for row in range(math.floor((south - up) / self.CELL_DEG), math.floor((north + up) / self.CELL_DEG) + 1):
            for column in range(
                math.floor((west - across) / self.CELL_DEG), math.floor((east + across) / self.CELL_DEG) + 1
            ):
                yield row, column


def _crossings(edges: Sequence[Edge], latitude_deg: float, longitude_deg: float) -> int:
    """How many edges a ray to the east meets (the even-odd rule; holes come out by themselves)."""
    count = 0
    for x, y, x_before, y_before in edges:
        if (y > latitude_deg) != (y_before > latitude_deg):
            meets_at = x + (x_before - x) * (latitude_deg - y) / (y_before - y)
            if longitude_deg < meets_at:
                count += 1
    return count


def _metres_to_rings(rings: Sequence[Ring], latitude_deg: float, longitude_deg: float) -> float:
    """Metres from the position, put at the origin of the plane, to the nearest edge."""
    across = METRES_PER_DEGREE * math.cos(math.radians(latitude_deg))
    nearest = math.inf
    for ring in rings:
        ax, ay = (ring[-1][0] - longitude_deg) * across, (ring[-1][1] - latitude_deg) * METRES_PER_DEGREE
        for longitude, latitude in ring:
            bx, by = (longitude - longitude_deg) * across, (latitude - latitude_deg) * METRES_PER_DEGREE
            dx, dy = bx - ax, by - ay
            length_squared = dx * dx + dy * dy
            along = 0.0 if length_squared == 0 else min(1.0, max(0.0, -(ax * dx + ay * dy) / length_squared))
            x, y = ax + along * dx, ay + along * dy
            nearest = min(nearest, x * x + y * y)
            ax, ay = bx, by
    return math.sqrt(nearest)


# reading GeoJSON (RFC 7946) -------------------------------------------------------------------------------------------


def read_villages(geojson: Mapping[str, Any]) -> tuple[Village, ...]:
    """Villages of a GeoJSON FeatureCollection.

    Each feature: geometry Polygon, MultiPolygon, or Point with optional property ``radius_m``; properties ``code``
    (12 digits, as text), ``name``, ``township``, optional ``valid_from``, ``valid_until`` (YYYY-MM-DD), ``cells``
    (serving cells heard there, such as "460-00-1A2B-3C4D5E6") and, for polygons, ``centre`` [longitude, latitude] (else
    the centroid).

    :raises VillagesRefused: with the number and name of the feature and the remedy
    """
    features = geojson.get("features") if isinstance(geojson, Mapping) else None
    if not isinstance(features, list) or geojson.get("type") != "FeatureCollection":
        raise VillagesRefused(
            "not a GeoJSON FeatureCollection: export the villages as GeoJSON (RFC 7946)", "not_geojson"
        )
    villages = tuple(_village(feature, place) for place, feature in enumerate(features, start=1))
    if not villages:
        raise VillagesRefused("the FeatureCollection holds no village: check the export", "empty")
    _refuse_doubles(villages)
    return villages


def as_geojson(villages: Iterable[Village]) -> dict[str, Any]:
    """The FeatureCollection from which ``read_villages`` makes the same villages."""
    return {"type": "FeatureCollection", "features": [_feature(village) for village in villages]}


def _feature(village: Village) -> dict[str, Any]:
    centre = [village.centre_longitude_deg, village.centre_latitude_deg]
    properties: dict[str, Any] = {"code": village.code, "name": village.name, "township": village.township}
    if village.valid_from != ALWAYS:
        properties["valid_from"] = village.valid_from.isoformat()
    if village.valid_until is not None:
        properties["valid_until"] = village.valid_until.isoformat()
    if village.cells:
        properties["cells"] = [*village.cells]
    if village.polygon is None:
        properties["radius_m"] = village.radius_m
        geometry: dict[str, Any] = {"type": "Point", "coordinates": centre}
    else:
        properties["centre"] = centre
        rings = [[[*point] for point in (*ring, ring[0])] for ring in village.polygon]
        geometry = {"type": "Polygon", "coordinates": rings}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _village(feature: Any, place: int) -> Village:
    if not isinstance(feature, Mapping) or not isinstance(feature.get("properties"), Mapping):
        raise VillagesRefused(
            f"feature {place}: not a GeoJSON feature with properties", "no_properties", Where(place, "—")
        )
    properties = feature["properties"]
    where = Where(place, str(properties.get("name", "no name"))[:60])
    geometry = feature.get("geometry")
    if not isinstance(geometry, Mapping):
        raise VillagesRefused(
            f"{where}: has no geometry; give a Polygon, or a Point with radius_m", "no_geometry", where
        )
    polygon = _rings(geometry, where)
    centre = properties.get("centre", geometry.get("coordinates") if polygon is None else None)
    longitude, latitude = _position(centre, where) if centre is not None else _centroid(polygon or ())
    radius = properties.get("radius_m", DEFAULT_RADIUS_M)
    if isinstance(radius, bool) or not isinstance(radius, (int, float)) or not 50 <= radius <= 20_000:
        raise VillagesRefused(
            f"{where}: radius_m must be a number from 50 to 20000 (found {radius!r})", "radius", where, found=radius
        )
    return Village(
        code=_code(properties, where),
        name=_text(properties, "name", where),
        township=_text(properties, "township", where),
        polygon=polygon,
        centre_latitude_deg=latitude,
        centre_longitude_deg=longitude,
        radius_m=float(radius),
        valid_from=_day(properties, "valid_from", where) or ALWAYS,
        valid_until=_day(properties, "valid_until", where),
        cells=_cells(properties, where),
    )


def _rings(geometry: Mapping[str, Any], where: Where) -> tuple[Ring, ...] | None:
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "Point":
        return None
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(coordinates, list):
        raise VillagesRefused(
            f"{where}: geometry {kind!r} is not an area; give a Polygon, MultiPolygon or Point",
            "no_area",
            where,
            found=kind,
        )
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not all(isinstance(polygon, list) for polygon in polygons):
        raise VillagesRefused(f"{where}: coordinates are not nested as GeoJSON asks", "nesting", where)
    rings = tuple(_ring(ring, where) for polygon in polygons for ring in polygon)
    if not rings:
        raise VillagesRefused(f"{where}: the polygon has no ring", "no_ring", where)
    return rings


def _ring(points: Any, where: Where) -> Ring:
    if not isinstance(points, list):
        raise VillagesRefused(f"{where}: a ring must be a list of positions", "nesting", where)
    ring = [_position(point, where) for point in points]
    if len(ring) < 4 or ring[0] != ring[-1]:
        raise VillagesRefused(f"{where}: a ring needs at least 4 positions and must end where it began", "ring", where)
    return tuple(ring[:-1])


def _position(point: Any, where: Where) -> tuple[float, float]:
    good = isinstance(point, (list, tuple)) and len(point) >= 2
    if not good or not all(isinstance(part, (int, float)) and not isinstance(part, bool) for part in point[:2]):
        raise VillagesRefused(
            f"{where}: a position must be [longitude, latitude] (found {point!r})", "position", where, found=point
        )
    longitude, latitude = float(point[0]), float(point[1])
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise VillagesRefused(
            f"{where}: {point!r} is no position in degrees; is the order longitude, latitude?",
            "degrees",
            where,
            found=point,
        )
    return longitude, latitude


def _centroid(rings: Sequence[Ring]) -> tuple[float, float]:
    """Longitude and latitude of the centroid of the outer ring (shoelace formula)."""
    ring = rings[0]
    x0, y0 = ring[0]
    doubled = x_sum = y_sum = 0.0
    for (ax, ay), (bx, by) in zip(ring, (*ring[1:], ring[0]), strict=True):
        ax, ay, bx, by = ax - x0, ay - y0, bx - x0, by - y0
        cross = ax * by - bx * ay
        doubled += cross
        x_sum += (ax + bx) * cross
        y_sum += (ay + by) * cross
    if doubled == 0:
        return sum(x for x, _ in ring) / len(ring), sum(y for _, y in ring) / len(ring)
    return x0 + x_sum / (3 * doubled), y0 + y_sum / (3 * doubled)


def _code(properties: Mapping[str, Any], where: Where) -> str:
    code = properties.get("code")
    if not (isinstance(code, str) and len(code) == 12 and code.isascii() and code.isdigit()):
        raise VillagesRefused(
            f"{where}: code must be the 12-digit statistical code written as text (found {code!r})",
            "code",
            where,
            found=code,
        )
    return code


def _text(properties: Mapping[str, Any], name: str, where: Where) -> str:
    text = properties.get(name)
    if not isinstance(text, str) or not text.strip() or len(text) > 60:
        raise VillagesRefused(
            f"{where}: property {name!r} must be a text of 1 to 60 characters (found {text!r})",
            "text",
            where,
            property=name,
        )
    return text.strip()


def _cells(properties: Mapping[str, Any], where: Where) -> tuple[str, ...]:
    """Sorted, each once."""
    cells = properties.get("cells", [])
    if not isinstance(cells, list) or len(cells) > _MOST_CELLS:
        raise VillagesRefused(
            f"{where}: cells must be a list of at most {_MOST_CELLS} serving cells", "cells", where, most=_MOST_CELLS
        )
    for cell in cells:
        if not isinstance(cell, str) or not _CELL.fullmatch(cell):
            raise VillagesRefused(
                f"{where}: cells must be written MCC-MNC-TAC-CI, such as 460-00-1A2B-3C4D5E6 (found {cell!r})",
                "cell",
                where,
                found=cell,
            )
    return tuple(sorted(set(cells)))


def _day(properties: Mapping[str, Any], name: str, where: Where) -> date | None:
    text = properties.get(name)
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        raise VillagesRefused(
            f"{where}: {name} must be a date YYYY-MM-DD (found {text!r})", "day", where, property=name, found=text
        ) from None


def _refuse_doubles(villages: Sequence[Village]) -> None:
    """The same code twice is right only for villages that follow one another in time."""
    latest: dict[str, Village] = {}
    for village in sorted(villages, key=lambda village: village.valid_from):
        before = latest.get(village.code)
        if before is not None and (before.valid_until is None or before.valid_until >= village.valid_from):
            raise VillagesRefused(
                f"code {village.code} is given twice ({before.name}, {village.name}) for the same days: "
                "correct the code, or give valid_from and valid_until",
                "twice",
                None,
                found=village.code,
                name=village.name,
                other=before.name,
            )
        latest[village.code] = village
