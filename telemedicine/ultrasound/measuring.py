"""Lengths and areas on a calibrated picture, and lines drawn on any. Pure; ``devices/web/measuring.js`` is its twin.

Points are (x, y) in pixels from the upper left corner of the picture, x to the right, y down. Everything is computed
in millimetres, because a pixel need not be square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from devices.errors import AskPerson
from telemedicine.ultrasound.machine import PixelSize

Point = tuple[float, float]


class Tool(StrEnum):
    DISTANCE = "distance"
    """Two points."""
    ELLIPSE = "ellipse"
    """Three points: the ends of one axis, and how far the ellipse reaches to its side."""
    LINE = "line"
    """Drawn by hand, to show something: it has no size, so the picture need not be calibrated."""


POINTS = {Tool.DISTANCE: 2, Tool.ELLIPSE: 3}
MOST_LINE_POINTS = 80


class MeasureRefused(AskPerson):
    """The points are no measurement of this picture; ``str()`` says why."""

    code = "measure_refused"


@dataclass(frozen=True, slots=True)
class Measured:
    """Integers, as entries have no fractions: micrometres, and square micrometres."""

    tool: Tool
    length_um: int | None = None
    """Of the distance, or of the axis through the first two points."""
    width_um: int | None = None
    """Of the other axis."""
    circumference_um: int | None = None
    area_um2: int | None = None

    def facts(self) -> dict[str, int]:
        named = {
            "length_um": self.length_um,
            "width_um": self.width_um,
            "circumference_um": self.circumference_um,
            "area_um2": self.area_um2,
        }
        return {name: size for name, size in named.items() if size is not None}


def measure(tool: str, points: Sequence[Point], size: PixelSize | None, width: int, height: int) -> Measured:
    """
    :param size: of one pixel; None: only lines can be drawn
    :param width: of the picture, in pixels, as ``height``
    :raises MeasureRefused: unknown tool, wrong number of points, a point outside the picture, two points in one place
    """
    try:
        chosen = Tool(tool)
    except ValueError:
        raise MeasureRefused(f"no such tool: {tool!r}; there are distance, ellipse and line") from None
    if chosen is Tool.LINE and not 2 <= len(points) <= MOST_LINE_POINTS:
        raise MeasureRefused(f"a line has 2 to {MOST_LINE_POINTS} points, not {len(points)}")
    if chosen is not Tool.LINE and len(points) != POINTS[chosen]:
        raise MeasureRefused(f"{chosen} has {POINTS[chosen]} points, not {len(points)}")
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y) and 0 <= x <= width and 0 <= y <= height):
            raise MeasureRefused(f"a point lies outside the picture of {width} x {height}")
    if chosen is Tool.LINE:
        return Measured(chosen)
    if size is None:
        raise MeasureRefused("nobody knows how large a pixel of this picture is")
    length_mm = distance_mm(points[0], points[1], size)
    if length_mm <= 0:
        raise MeasureRefused("both ends lie in one place")
    if chosen is Tool.DISTANCE:
        return Measured(chosen, round(length_mm * 1e3))
    width_mm = 2 * beside_mm(points[2], points[0], points[1], size)
    if width_mm <= 0:
        raise MeasureRefused("the third point lies on the axis: draw the ellipse wider")
    return Measured(
        chosen,
        round(length_mm * 1e3),
        round(width_mm * 1e3),
        round(circumference_mm(length_mm / 2, width_mm / 2) * 1e3),
        round(math.pi * length_mm / 2 * width_mm / 2 * 1e6),
    )


def distance_mm(a: Point, b: Point, size: PixelSize) -> float:
    return math.hypot((b[0] - a[0]) * size.width_mm, (b[1] - a[1]) * size.height_mm)


def beside_mm(point: Point, a: Point, b: Point, size: PixelSize) -> float:
    """How far ``point`` lies beside the line through ``a`` and ``b``, which differ."""
    along = ((b[0] - a[0]) * size.width_mm, (b[1] - a[1]) * size.height_mm)
    away = ((point[0] - a[0]) * size.width_mm, (point[1] - a[1]) * size.height_mm)
    return abs(along[0] * away[1] - along[1] * away[0]) / math.hypot(*along)


def circumference_mm(a_mm: float, b_mm: float) -> float:
    """Of the ellipse with the half axes ``a_mm`` and ``b_mm``: Ramanujan's second formula, better than 0.04 % for
    every ellipse and than 1e-6 for axes up to 1 : 3 (G. Almkvist, B. Berndt, Amer. Math. Monthly 95, 1988)."""
    h = ((a_mm - b_mm) / (a_mm + b_mm)) ** 2
    return math.pi * (a_mm + b_mm) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))
