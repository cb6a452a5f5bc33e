"""The bar of a visit: when the vehicle was in the village, holes, and when people were served."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sync.county.visit_report import VisitReport
from sync.proof.presence import LOCAL, MAX_STEP_S

_MARGIN = timedelta(minutes=50)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the bar: ``left`` and ``width`` in percent. kind: "inside" or "hole"."""

    kind: str
    left: float
    width: float
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """:ivar hours: full hours with their place in percent; ``served`` the same for encounters"""

    parts: tuple[Part, ...]
    hours: tuple[tuple[str, float], ...]
    served: tuple[float, ...]


def timeline(report: VisitReport, now: datetime) -> Timeline | None:
    """None when no stay was found."""
    found, going_on = report.judged.case.stays, report.judged.case.facts.open
    if not found:
        return None
    ends = [stay.left_at if stay.departed_at or not going_on else now for stay in found]
    since, until = _whole(found[0].arrived_at - _MARGIN), max(ends) + _MARGIN
    span_s = (until - since).total_seconds()

    def place(at: datetime) -> float:
        return round(min(100.0, max(0.0, (at - since).total_seconds() / span_s * 100)), 2)

    parts = [_part("inside", stay.arrived_at, end, place) for stay, end in zip(found, ends, strict=True)]
    for before, after in zip(report.fixes, report.fixes[1:], strict=False):
        long = (after.at - before.at).total_seconds() > MAX_STEP_S
        if long and any(
            stay.arrived_at <= before.at and after.at <= end for stay, end in zip(found, ends, strict=True)
        ):
            parts.append(_part("hole", before.at, after.at, place))
    every = max(1, round(span_s / 3600 / 8))
    hours, at = [], since
    while at <= until:
        if at.astimezone(LOCAL).hour % every == 0:
            hours.append((f"{at.astimezone(LOCAL):%-H:%M}", place(at)))
        at += timedelta(hours=1)
    served = tuple(place(at) for at in report.judged.case.served)
    return Timeline(tuple(parts), tuple(hour for hour in hours if 2 < hour[1] < 98), served)


def _part(kind: str, since: datetime, until: datetime, place: object) -> Part:
    assert callable(place)
    left = place(since)
    return Part(kind, left, round(place(until) - left, 2), since, until)


def _whole(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
