"""Villages as areas: inside, outside, how far; and lists that are refused with what to do."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.proof.areas import METRES_PER_DEGREE, AreaIndex, Village, VillagesRefused, as_geojson, read_villages
from sync.proof.registry_entries import village_fields, village_of
from sync.web.catalog import texts

LATITUDE, LONGITUDE = 31.0, 103.0
UP = 1000 / METRES_PER_DEGREE
"""A kilometre to the north in degrees."""
ACROSS = UP / math.cos(math.radians(LATITUDE))
"""A kilometre to the east in degrees."""
TOWNSHIP = Path(__file__).parents[3] / "xunzhen" / "demo" / "township.geojson"


def box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    """Corners in kilometres from (31 N, 103 E) as a closed GeoJSON ring."""
    corners = ((west, south), (east, south), (east, north), (west, north), (west, south))
    return [[LONGITUDE + x * ACROSS, LATITUDE + y * UP] for x, y in corners]


def feature(geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    said = {"code": "999901101201", "name": "云坪村", "township": "白果镇", **properties}
    return {"type": "Feature", "properties": said, "geometry": geometry}


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def village(*rings: list[list[float]], **properties: Any) -> Village:
    geometry = {"type": "Polygon", "coordinates": list(rings)}
    return read_villages(collection(feature(geometry, **properties)))[0]


def where(east_km: float, north_km: float) -> tuple[float, float]:
    return LATITUDE + north_km * UP, LONGITUDE + east_km * ACROSS


def test_inside_and_outside_of_a_square() -> None:
    square = village(box(-1, -1, 1, 1))
    assert square.contains(*where(0, 0))
    assert not square.contains(*where(1.01, 0))
    assert square.metres_outside(*where(0.5, 0.5)) == 0.0
    assert square.metres_outside(*where(1.25, 0)) == pytest.approx(250, rel=0.001)
    assert square.metres_outside(*where(1.3, 1.4)) == pytest.approx(500, rel=0.002)
    assert square.metres_inside(*where(0.9, 0)) == pytest.approx(100, rel=0.002)
    assert square.metres_inside(*where(2, 0)) == 0.0


def test_a_hole_is_outside() -> None:
    ring = village(box(-2, -2, 2, 2), box(-1, -1, 1, 1))
    assert ring.contains(*where(1.5, 0))
    assert not ring.contains(*where(0, 0))
    assert ring.metres_outside(*where(0, 0.9)) == pytest.approx(100, rel=0.002)


def test_two_parts_of_one_village() -> None:
    geometry = {"type": "MultiPolygon", "coordinates": [[box(0, 0, 1, 1)], [box(3, 0, 4, 1)]]}
    parts = read_villages(collection(feature(geometry)))[0]
    assert parts.contains(*where(0.5, 0.5))
    assert parts.contains(*where(3.5, 0.5))
    assert not parts.contains(*where(2, 0.5))


def test_a_point_is_a_circle_of_1500_m() -> None:
    circle = read_villages(collection(feature({"type": "Point", "coordinates": [LONGITUDE, LATITUDE]})))[0]
    assert circle.polygon is None
    assert circle.contains(*where(1.49, 0))
    assert circle.metres_outside(*where(0, 1.75)) == pytest.approx(250, rel=0.002)
    smaller = feature({"type": "Point", "coordinates": [LONGITUDE, LATITUDE]}, radius_m=400)
    assert not read_villages(collection(smaller))[0].contains(*where(0.5, 0))


def test_the_centre_is_the_centroid_unless_given() -> None:
    square = village(box(0, 0, 2, 4))
    assert (square.centre_latitude_deg, square.centre_longitude_deg) == pytest.approx(where(1, 2), abs=1e-9)
    named = village(box(0, 0, 2, 4), centre=[103.01, 31.01])
    assert (named.centre_longitude_deg, named.centre_latitude_deg) == (103.01, 31.01)


def test_in_force_from_and_until() -> None:
    moved = village(box(0, 0, 1, 1), valid_from="2025-01-01", valid_until="2025-06-30")
    assert [moved.in_force(date(2025, month, 30)) for month in (1, 6, 7)] == [True, True, False]
    assert not moved.in_force(date(2024, 12, 31))


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_exactly_one_of_two_neighbours_or_none_contains_a_place(east_km: float, north_km: float) -> None:
    left, right = village(box(-1, -1, 0, 1)), village(box(0, -1, 1, 1))
    assert left.contains(*where(east_km, north_km)) + right.contains(*where(east_km, north_km)) <= 1


def test_the_invented_township_reads_and_writes_back() -> None:
    villages = read_villages(json.loads(TOWNSHIP.read_text(encoding="utf-8")))
    assert len(villages) == 12
    assert read_villages(as_geojson(villages)) == villages
    index = AreaIndex(villages)
    for one in villages:
        assert one in index.near(one.centre_latitude_deg, one.centre_longitude_deg)
    assert index.near(0, 0) == ()


def test_serving_cells_of_a_village_are_read_written_and_kept_in_the_registry() -> None:
    cells = ["460-00-1A2B-3C4D5E6", "460-11-FF-1", "460-00-1A2B-3C4D5E6"]
    (known,) = read_villages(collection(feature(POINT, cells=cells)))
    assert known.cells == ("460-00-1A2B-3C4D5E6", "460-11-FF-1")
    assert read_villages(as_geojson([known])) == (known,)
    assert village_of(village_fields(known)) == known


POINT = {"type": "Point", "coordinates": [103.0, 31.0]}
REFUSED = [
    pytest.param([], "not a GeoJSON FeatureCollection", id="not an object"),
    pytest.param({"type": "Feature"}, "not a GeoJSON FeatureCollection", id="one feature"),
    pytest.param(collection(), "holds no village", id="empty"),
    pytest.param(collection("x"), "feature 1", id="no feature"),
    pytest.param(collection(feature(POINT, code=999901101201)), "12-digit", id="code as a number"),
    pytest.param(collection(feature(POINT, code="99990110120")), "12-digit", id="11 digits"),
    pytest.param(collection(feature(POINT, name="  ")), "'name'", id="no name"),
    pytest.param(collection(feature(POINT, valid_from="1.1.2025")), "YYYY-MM-DD", id="date"),
    pytest.param(collection(feature(POINT, radius_m="1500")), "radius_m", id="radius as text"),
    pytest.param(collection(feature(POINT, cells="460-00-1A2B-3C4D5E6")), "list", id="cells as text"),
    pytest.param(collection(feature(POINT, cells=["460-00-1a2b-3c4d5e6"])), "MCC-MNC-TAC-CI", id="cell in lower case"),
    pytest.param(collection(feature(POINT, cells=["460-00-1A2B-1"] * 201)), "at most 200", id="too many cells"),
    pytest.param(collection(feature({"type": "Point", "coordinates": [31.0, 103.0]})), "order", id="swapped"),
    pytest.param(collection(feature({"type": "LineString", "coordinates": []})), "not an area", id="line"),
    pytest.param(collection(feature({"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]})), "ring", id="two corners"),
    pytest.param(collection(feature({"type": "Polygon", "coordinates": [box(0, 0, 1, 1)[:-1]]})), "began", id="open"),
    pytest.param(collection(feature({"type": "Polygon", "coordinates": 7})), "not an area", id="number"),
    pytest.param(collection(feature(POINT), feature(POINT, name="上湾村")), "given twice", id="double code"),
]


@pytest.mark.parametrize(("geojson", "said"), REFUSED)
def test_a_list_is_refused_with_what_to_do(geojson: Any, said: str) -> None:
    with pytest.raises(VillagesRefused, match=said) as caught:
        read_villages(geojson)
    for language in ("zh", "en"):
        assert f"county.registry.refused_{caught.value.problem}" in texts(language)


def test_a_renamed_village_follows_its_former_self() -> None:
    before = feature(POINT, valid_until="2025-12-31")
    after = feature(POINT, name="新云坪村", valid_from="2026-01-01")
    assert [one.name for one in read_villages(collection(before, after))] == ["云坪村", "新云坪村"]
