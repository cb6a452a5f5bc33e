"""What the two maps show: the county's month, and one visit with its track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from sync.county.drawing import Plane, Point, corners, plane_of
from sync.county.month_table import MonthTable, VillageMonth
from sync.county.visit_report import VisitReport
from sync.proof.areas import Village
from sync.proof.presence import MAX_ACCURACY_M, MIN_SATELLITES, Fix

WIDTH, HEIGHT = 1000.0, 680.0
VISIT_WIDTH, VISIT_HEIGHT = 900.0, 430.0


@dataclass(frozen=True, slots=True)
class Area:
    """:ivar row: the village's month, on the county's map"""

    village: Village
    path: str
    label: Point
    row: VillageMonth | None = None


@dataclass(frozen=True, slots=True)
class CountyMap:
    width: float
    height: float
    areas: tuple[Area, ...]
    scale: tuple[float, str]


@dataclass(frozen=True, slots=True)
class VisitMap:
    """:ivar entered: where the track first was inside, and ``rest`` where it mostly was, both None without a stay"""

    width: float
    height: float
    village: Area
    others: tuple[Area, ...]
    track: str
    entered: Point | None
    rest: Point | None
    accuracy_m: int | None
    satellites: int | None
    inside: int
    scale: tuple[float, str]


def county_map(table: MonthTable) -> CountyMap | None:
    """None while no village is registered."""
    villages = [row.village for row in table.rows]
    if not villages:
        return None
    plane = plane_of([corner for village in villages for corner in corners(village)], WIDTH, HEIGHT, 0.05)
    areas = tuple(_area(plane, row.village, row) for row in table.rows)
    return CountyMap(WIDTH, HEIGHT, areas, plane.scale_bar())


def visit_map(report: VisitReport, villages: Sequence[Village]) -> VisitMap:
    village, found = report.village, report.judged.case.stays
    inside = [fix for fix in report.fixes if _good(fix) and village.contains(fix.latitude_deg, fix.longitude_deg)]
    plane = plane_of(corners(village), VISIT_WIDTH, VISIT_HEIGHT, 0.09)
    others = tuple(_area(plane, other) for other in villages if other.code != village.code and plane.shows(other))
    rest = inside if found else []
    return VisitMap(
        width=VISIT_WIDTH,
        height=VISIT_HEIGHT,
        village=_area(plane, village),
        others=others,
        track=plane.line(fix for fix in report.fixes if _good(fix)),
        entered=plane.place(rest[0].latitude_deg, rest[0].longitude_deg) if rest else None,
        rest=_middle(plane, rest) if rest else None,
        accuracy_m=round(median(fix.accuracy_m for fix in rest)) if rest else None,
        satellites=round(median(fix.satellites for fix in rest)) if rest else None,
        inside=len(inside),
        scale=plane.scale_bar(),
    )


def _area(plane: Plane, village: Village, row: VillageMonth | None = None) -> Area:
    label = plane.place(village.centre_latitude_deg, village.centre_longitude_deg)
    return Area(village, plane.path(village), label, row)


def _middle(plane: Plane, fixes: Sequence[Fix]) -> Point:
    return plane.place(median(fix.latitude_deg for fix in fixes), median(fix.longitude_deg for fix in fixes))


def _good(fix: Fix) -> bool:
    return fix.accuracy_m <= MAX_ACCURACY_M and fix.satellites >= MIN_SATELLITES and not fix.spoof
