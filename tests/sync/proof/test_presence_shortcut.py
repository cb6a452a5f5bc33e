"""While a vehicle stands still its place is not worked out for every fix: never with another outcome."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.proof.areas import METRES_PER_DEGREE, Village
from sync.proof.presence import Fix, Presence, Stay

START = datetime(2026, 9, 1, 14, 0, tzinfo=UTC)
"""Two hours before midnight in China."""


class Thorough(Presence):
    """Works out every fix."""

    def _stands_still(self, fix: Fix) -> bool:
        return False


def square(code: str, west_m: float, south_m: float, side_m: float = 1000.0) -> Village:
    corners = ((0, 0), (1, 0), (1, 1), (0, 1))
    ring = tuple(degrees(west_m + x * side_m, south_m + y * side_m) for x, y in corners)
    longitude, latitude = degrees(west_m + side_m / 2, south_m + side_m / 2)
    return Village(code, code, "白果镇", (ring,), latitude, longitude)


def degrees(east_m: float, north_m: float) -> tuple[float, float]:
    return 103.0 + east_m / METRES_PER_DEGREE / 0.857, 31.0 + north_m / METRES_PER_DEGREE


VILLAGES = (
    square("A", 0, 0),
    square("B", 1000, 0),
    square("C", 800, 700),
    Village("D", "D", "白果镇", None, 31.01, 103.02, 400.0),
)


def walk(seed: int, wander_m: float, leap_m: float) -> list[Fix]:
    """Stands, wanders a little, and leaps now and then; near borders, corners and overlaps."""
    chance = random.Random(seed)
    east, north, at = chance.uniform(-200, 2300), chance.uniform(-200, 1900), START
    fixes = []
    for _ in range(700):
        at += timedelta(seconds=10)
        if chance.random() < 0.02:
            east, north = east + chance.gauss(0, leap_m), north + chance.gauss(0, leap_m)
        east, north = east + chance.gauss(0, wander_m), north + chance.gauss(0, wander_m)
        longitude, latitude = degrees(east, north)
        fixes.append(Fix(at, latitude, longitude, chance.choice([4.0, 12.0, 45.0]), 9))
    return fixes


def followed(presence: Presence, fixes: list[Fix]) -> tuple[list[object], Stay | None]:
    events = [event for fix in fixes for event in presence.feed(fix)]
    return events, presence.stay


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), wander_m=st.sampled_from([0.2, 3.0, 15.0]), leap_m=st.sampled_from([40.0, 300.0]))
def test_the_shortcut_never_changes_the_outcome(seed: int, wander_m: float, leap_m: float) -> None:
    fixes = walk(seed, wander_m, leap_m)
    assert followed(Presence(VILLAGES), fixes) == followed(Thorough(VILLAGES), fixes)


def test_the_shortcut_is_taken() -> None:
    """Or the test above would compare nothing."""
    asked = 0

    class Counting(Presence):
        def _place_among(self, *given: object) -> Village | None:
            nonlocal asked
            asked += 1
            return super()._place_among(*given)  # type: ignore[arg-type]

    followed(Counting(VILLAGES), walk(3, 0.2, 300.0))
    assert asked < 350
