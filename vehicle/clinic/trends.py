"""Trends of a person's values as small drawings: points on a time axis, two lines for blood pressure. Pure.

The drawing is SVG without a size of its own; its parts carry classes, the page or the sheet says the colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

WIDTH, HEIGHT = 360, 130
LEFT, RIGHT, TOP, BOTTOM = 40, 352, 12, 106
MOST_POINTS = 24


@dataclass(frozen=True, slots=True)
class Trend:
    """:ivar lines: one or two series of the same days, oldest first
    :ivar limits: values to draw a line at
    """

    type: str
    days: tuple[date, ...]
    lines: tuple[tuple[float, ...], ...]
    limits: tuple[float, ...] = ()
    digits: int = 0


SERIES: Mapping[str, tuple[tuple[str, ...], tuple[float, ...], int]] = {
    "blood_pressure": (("systolic_mmhg", "diastolic_mmhg"), (140, 90), 0),
    "glucose": (("glucose_mmol_l",), (7.0,), 1),
    "weight": (("weight_kg",), (), 1),
}
"""Type to its numbers, the lines of control (national service, third edition: 140/90 mmHg, 7.0 mmol/L) and decimals."""


def trend_of(type_: str, rows: Sequence[tuple[date, Mapping[str, object]]]) -> Trend | None:
    """The trend of one type of reading from (day, values), oldest first; None for fewer than two whole rows."""
    names, limits, digits = SERIES[type_]
    told = [(day, [values.get(name) for name in names]) for day, values in rows]
    whole = [
        (day, [float(number) for number in numbers if isinstance(number, int | float)])
        for day, numbers in told
        if all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
    ][-MOST_POINTS:]
    if len(whole) < 2:
        return None
    lines = tuple(tuple(numbers[place] for _, numbers in whole) for place in range(len(names)))
    return Trend(type_, tuple(day for day, _ in whole), lines, limits, digits)


def svg(trend: Trend, label: str, style: str = "") -> str:
    """
    :param label: what it shows, for those who cannot see it
    :param style: CSS for inside, where the sheet's own does not reach into drawings (WeasyPrint)
    """
    numbers = [number for line in trend.lines for number in line]
    low, high = min([*numbers, *trend.limits]), max([*numbers, *trend.limits])
    room: float = max((high - low) * 0.12, 1.0 / 10**trend.digits)
    low, high = low - room, high + room
    first, last = trend.days[0], trend.days[-1]
    span = max((last - first).days, 1)

    def x(day: date) -> float:
        return round(LEFT + (RIGHT - LEFT - 8) * (day - first).days / span, 1)

    def y(number: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (number - low) / (high - low), 1)

    parts = [f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}"/>']
    for limit in trend.limits:
        parts.append(f'<path class="limit" d="M{LEFT} {y(limit)}H{RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y(limit) + 5}" text-anchor="end">{limit:g}</text>')
    for place, line in enumerate(trend.lines):
        second = " second" if place else ""
        points = " ".join(f"{x(day)},{y(number)}" for day, number in zip(trend.days, line, strict=True))
        parts.append(f'<polyline class="line{second}" points="{points}"/>')
        parts += [
            f'<circle class="dot{second}" cx="{x(day)}" cy="{y(number)}" r="3.4"/>'
            for day, number in zip(trend.days, line, strict=True)
        ]
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">{first.isoformat()}</text>')
    parts.append(f'<text x="{RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{last.isoformat()}</text>')
    return (
        f'<svg class="trend" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{f"<style>{style}</style>" if style else ""}{"".join(parts)}</svg>'
    )
