"""GCJ-02: the published examples, there and back, and lists of villages that were taken from a web map."""

from __future__ import annotations

import json
import random
from math import cos, hypot, radians
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sync.proof.areas import METRES_PER_DEGREE, read_villages
from sync.proof.gcj02 import (
    COMMON_SHIFT,
    GCJ02_SUSPECTED,
    Place,
    from_gcj02,
    shift_against_list,
    shift_against_vans,
    to_gcj02,
)

TOWNSHIP = Path(__file__).parents[3] / "xunzhen" / "demo" / "township.geojson"

in_china = st.tuples(st.floats(18.5, 53.0), st.floats(74.0, 134.5))


def moved(place: Place, east_m: float, north_m: float) -> Place:
    east = east_m / (METRES_PER_DEGREE * cos(radians(place[0])))
    return place[0] + north_m / METRES_PER_DEGREE, place[1] + east


def metres(one: Place, other: Place) -> float:
    east = (other[1] - one[1]) * METRES_PER_DEGREE * cos(radians(one[0]))
    return hypot(east, (other[0] - one[0]) * METRES_PER_DEGREE)


@pytest.mark.parametrize(
    ("wgs84", "gcj02"),
    [
        ((31.1774276, 121.5272106), (31.17530398364597, 121.531541859215)),
        ((22.543847, 113.912316), (22.540796131694766, 113.9171764808363)),
        ((39.911954, 116.377817), (39.91334545536069, 116.38404722455657)),
    ],
)
def test_the_published_examples(wgs84: Place, gcj02: Place) -> None:
    """Shanghai, Shenzhen, Beijing: test data of googollee/eviltransform."""
    assert to_gcj02(wgs84) == pytest.approx(gcj02, abs=1e-12)
    assert metres(from_gcj02(gcj02), wgs84) < 0.001


@given(in_china)
def test_there_and_back(place: Place) -> None:
    assert metres(from_gcj02(to_gcj02(place)), place) < 0.001


@given(in_china)
def test_the_shift_is_some_hundred_metres_anywhere(place: Place) -> None:
    assert 10 < metres(place, to_gcj02(place)) < 1200


@given(st.tuples(st.floats(-85, 0.8), st.floats(-170, 71)))
def test_abroad_nothing_is_shifted(place: Place) -> None:
    assert to_gcj02(place) == place


# against the list in force --------------------------------------------------------------------------------------------


@st.composite
def counties(draw: st.DrawFn, fewest: int = 1) -> list[Place]:
    """Villages within some 40 km."""
    middle = draw(in_china)
    offsets = draw(st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)), min_size=fewest, max_size=20))
    return [(middle[0] + north, middle[1] + east) for north, east in offsets]


@given(counties(), st.floats(0, 8), st.randoms(use_true_random=False))
def test_a_list_in_gcj02_is_recognised(villages: list[Place], noise_m: float, chance: random.Random) -> None:
    """Also when the outlines were drawn by hand on the web map, some metres off."""
    assume(all(metres(place, to_gcj02(place)) > 60 for place in villages))
    shaken = [
        moved(to_gcj02(p), chance.uniform(-noise_m, noise_m), chance.uniform(-noise_m, noise_m)) for p in villages
    ]
    shift = shift_against_list(list(zip(villages, shaken, strict=True)))
    assert shift is not None
    assert (shift.code, shift.shown_by) == (GCJ02_SUSPECTED, len(villages))
    assert shift.metres == pytest.approx(shift.gcj02_m, abs=60)


@given(counties(fewest=3))
def test_going_back_from_gcj02_is_asked_about(villages: list[Place]) -> None:
    assume(all(metres(place, to_gcj02(place)) > 60 for place in villages))
    shift = shift_against_list([(to_gcj02(place), place) for place in villages])
    assert shift is not None
    assert (shift.code, shift.back) == (COMMON_SHIFT, True)


@given(counties(fewest=3), st.floats(55, 495), st.floats(0, 6.28))
def test_villages_that_moved_together_are_noticed(villages: list[Place], length: float, angle: float) -> None:
    east, north = length * cos(angle), length * cos(angle - 1.5708)
    shift = shift_against_list([(place, moved(place, east, north)) for place in villages])
    assert shift is not None
    assert shift.metres == pytest.approx(hypot(east, north), rel=0.15)


@given(counties(), st.floats(0, 45), st.randoms(use_true_random=False))
def test_small_corrections_are_not_refused(villages: list[Place], size_m: float, chance: random.Random) -> None:
    pairs = [
        (p, moved(p, chance.uniform(-size_m, size_m) / 1.5, chance.uniform(-size_m, size_m) / 1.5)) for p in villages
    ]
    assert shift_against_list(pairs) is None


def test_one_village_that_really_moved_is_not_a_shift() -> None:
    """Resettled after a landslide, 300 m to the south; or a few of many that were measured again."""
    villages = [(31.0 + place / 100, 104.0) for place in range(12)]
    for count in (1, 2, 4):
        pairs = [(p, moved(p, 40.0, -300.0) if place < count else p) for place, p in enumerate(villages)]
        assert shift_against_list(pairs) is None
    scattered = [(p, moved(p, 400 * cos(place), 400 * cos(place + 2))) for place, p in enumerate(villages)]
    assert shift_against_list(scattered) is None
    assert shift_against_list([]) is None


# a first list, against where vans stood -------------------------------------------------------------------------------


def township() -> list[Place]:
    return [
        (village.centre_latitude_deg, village.centre_longitude_deg)
        for village in read_villages(json.loads(TOWNSHIP.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize("spread_m", [20.0, 150.0])
@pytest.mark.parametrize("seed", range(8))
def test_a_first_list_in_gcj02_is_recognised_by_where_vans_stood(spread_m: float, seed: int) -> None:
    chance = random.Random(seed)
    pairs = [(moved(p, chance.gauss(0, spread_m), chance.gauss(0, spread_m)), to_gcj02(p)) for p in township()]
    shift = shift_against_vans(pairs)
    assert shift is not None
    assert shift.code == GCJ02_SUSPECTED


@pytest.mark.parametrize("spread_m", [20.0, 300.0, 700.0])
@pytest.mark.parametrize("seed", range(12))
def test_a_good_first_list_is_taken(spread_m: float, seed: int) -> None:
    chance = random.Random(seed)
    pairs = [(moved(p, chance.gauss(0, spread_m), chance.gauss(0, spread_m)), p) for p in township()]
    assert shift_against_vans(pairs) is None


def test_another_common_shift_of_a_first_list() -> None:
    chance = random.Random(3)
    pairs = [(p, moved(p, 30 + chance.gauss(0, 15), 220 + chance.gauss(0, 15))) for p in township()]
    shift = shift_against_vans(pairs)
    assert shift is not None
    assert (shift.code, round(shift.north_m, -1)) == (COMMON_SHIFT, 220)
    assert shift_against_vans(pairs[:4]) is None
