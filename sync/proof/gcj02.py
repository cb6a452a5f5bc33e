"""GCJ-02, the shifted coordinates of Chinese web maps, and how a list of villages in them is recognised. Pure.

GNSS receivers and surveys give WGS-84 or CGCS2000, which agree to centimetres. Outlines copied from a web map are
shifted by 50 to 700 m, differently from place to place: visits would be counted in the neighbouring village.

``to_gcj02`` is the formula that is published in many open programs since 2010 (googollee/eviltransform, MIT licence,
among them), with the parameters of the ellipsoid of Krasovsky 1940; checked against that project's examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, hypot, pi, radians, sin, sqrt
from statistics import fmean, median, stdev

from sync.proof.areas import METRES_PER_DEGREE

_SEMI_MAJOR_AXIS_M = 6_378_245.0
_ECCENTRICITY_SQUARED = 0.00669342162296594323
GCJ02_SUSPECTED = "gcj02_suspected"
COMMON_SHIFT = "common_shift"

SHORTEST_SHIFT_M, LONGEST_SHIFT_M = 50.0, 500.0
AGREES_M = 20.0
"""How far apart two shifts may be to be called the same; or a tenth of the shift."""
MOST = 0.6
"""Share of the villages that must show a shift."""
FEWEST_MOVED = 3
FEWEST_STOOD = 5

Place = tuple[float, float]
"""Latitude and longitude in degrees."""


@dataclass(frozen=True, slots=True)
class Shift:
    """:ivar code: ``GCJ02_SUSPECTED`` or ``COMMON_SHIFT``
    :ivar east_m, north_m: of the new list against what it is compared with
    :ivar shown_by: villages that show it, of ``compared``
    :ivar gcj02_m: by how much GCJ-02 is shifted there
    :ivar back: the list in force looks like GCJ-02, and the new one does not
    """

    code: str
    east_m: float
    north_m: float
    shown_by: int
    compared: int
    gcj02_m: float
    back: bool = False

    @property
    def metres(self) -> float:
        return hypot(self.east_m, self.north_m)


def is_in_china(place: Place) -> bool:
    """The rectangle within which the formula is used."""
    return 0.8293 <= place[0] <= 55.8271 and 72.004 <= place[1] <= 137.8347


def to_gcj02(place: Place) -> Place:
    """WGS-84 to GCJ-02; unchanged outside of the rectangle around China."""
    latitude, longitude = place
    if not is_in_china(place):
        return place
    x, y = longitude - 105.0, latitude - 35.0
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * sqrt(abs(x)) + _waves(x, y, 160.0, 320.0)
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * sqrt(abs(x)) + _waves(x, x, 150.0, 300.0)
    phi = radians(latitude)
    curved = 1 - _ECCENTRICITY_SQUARED * sin(phi) ** 2
    meridian_m = _SEMI_MAJOR_AXIS_M * (1 - _ECCENTRICITY_SQUARED) / (curved * sqrt(curved))
    parallel_m = _SEMI_MAJOR_AXIS_M / sqrt(curved) * cos(phi)
    return latitude + north * 180.0 / (meridian_m * pi), longitude + east * 180.0 / (parallel_m * pi)


def from_gcj02(place: Place) -> Place:
    """GCJ-02 to WGS-84, to a millimetre: the inverse by repeated correction."""
    latitude, longitude = place
    for _ in range(8):
        shifted = to_gcj02((latitude, longitude))
        latitude, longitude = latitude + place[0] - shifted[0], longitude + place[1] - shifted[1]
    return latitude, longitude


def _waves(x: float, slow: float, first: float, second: float) -> float:
    """The three sums of sines that both axes have; ``slow`` is the axis of the slower two."""
    waves = (20.0 * sin(6.0 * x * pi) + 20.0 * sin(2.0 * x * pi)) * 2.0 / 3.0
    waves += (20.0 * sin(slow * pi) + 40.0 * sin(slow / 3.0 * pi)) * 2.0 / 3.0
    long_m = (first * sin(slow / 12.0 * pi) + second * sin(slow * pi / 30.0)) * 2.0 / 3.0
    return waves + long_m


# recognising ----------------------------------------------------------------------------------------------------------


def shift_against_list(pairs: Sequence[tuple[Place, Place]]) -> Shift | None:
    """Whether villages moved together: (middle in the list in force, middle in the new one) for each code in both."""
    moved = [_metres(before, after) for before, after in pairs]
    if not any(hypot(*vector) >= SHORTEST_SHIFT_M for vector in moved):
        return None
    to = [_metres(before, to_gcj02(before)) for before, _ in pairs]
    back = [_metres(before, from_gcj02(before)) for before, _ in pairs]
    by_gcj02 = [one for one, gcj02 in zip(moved, to, strict=True) if hypot(*gcj02) > 1 and _agree(one, gcj02)]
    by_back = [one for one, gcj02 in zip(moved, back, strict=True) if hypot(*gcj02) > 1 and _agree(one, gcj02)]
    gcj02_m = median(hypot(*one) for one in to)
    if len(by_gcj02) >= MOST * len(moved):
        return Shift(GCJ02_SUSPECTED, *_middle(by_gcj02), len(by_gcj02), len(moved), gcj02_m)
    if len(by_back) >= max(FEWEST_MOVED, MOST * len(moved)):
        return Shift(COMMON_SHIFT, *_middle(by_back), len(by_back), len(moved), gcj02_m, back=True)
    common = _middle(moved)
    agreeing = [one for one in moved if _agree(one, common)]
    if SHORTEST_SHIFT_M <= hypot(*common) <= LONGEST_SHIFT_M and len(agreeing) >= max(FEWEST_MOVED, MOST * len(moved)):
        return Shift(COMMON_SHIFT, *common, len(agreeing), len(moved), gcj02_m)
    return None


def shift_against_vans(pairs: Sequence[tuple[Place, Place]]) -> Shift | None:
    """Whether a first list is shifted: (where a van really stood in a village, the village's middle in the list).

    A van stands somewhere in a village, seldom in its middle, but not in all villages on the same side of it: the mean
    is compared with its standard error, 3 times for the very shift of GCJ-02 and 4 times for any other.
    """
    if len(pairs) < FEWEST_STOOD:
        return None
    apart = [_metres(stood, middle) for stood, middle in pairs]
    mean = fmean(one[0] for one in apart), fmean(one[1] for one in apart)
    error_m = hypot(*(stdev(one[axis] for one in apart) for axis in (0, 1))) / sqrt(2 * len(apart))
    to = [_metres(stood, to_gcj02(stood)) for stood, _ in pairs]
    gcj02 = fmean(one[0] for one in to), fmean(one[1] for one in to)
    metres, count = hypot(*mean), len(pairs)
    if metres < SHORTEST_SHIFT_M:
        return None
    if metres > 3 * error_m and hypot(mean[0] - gcj02[0], mean[1] - gcj02[1]) <= AGREES_M + 2 * error_m:
        return Shift(GCJ02_SUSPECTED, *mean, count, count, hypot(*gcj02))
    if metres > 4 * error_m and metres <= LONGEST_SHIFT_M:
        return Shift(COMMON_SHIFT, *mean, count, count, hypot(*gcj02))
    return None


def _metres(before: Place, after: Place) -> tuple[float, float]:
    """East and north."""
    east = (after[1] - before[1]) * METRES_PER_DEGREE * cos(radians(before[0]))
    return east, (after[0] - before[0]) * METRES_PER_DEGREE


def _agree(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return hypot(one[0] - other[0], one[1] - other[1]) <= max(AGREES_M, 0.1 * hypot(*other))


def _middle(vectors: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return median(east for east, _ in vectors), median(north for _, north in vectors)
