"""How good the mobile link is, village by village: what vehicles summed up of their visits, put together.

A visit may have several entries (each hour one), a village several visits. Of medians and percentiles the median of all
entries counts, so that one bad hour does not condemn a village; the least is the least of all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from statistics import median_low
from typing import Any

from sqlalchemy import ColumnElement, select

from sync.county.database import Database
from sync.county.drawing import Plane, Point, corners, plane_of
from sync.county.office_sheet import office_sheet
from sync.county.schema import projected
from sync.formats.link_figures import FIGURES, RATES, Verdict, shortfalls, verdict
from sync.formats.records import format_time, parse_time
from sync.proof.areas import Village
from sync.proof.presence import LOCAL
from sync.web.catalog import Texts

PERIOD = timedelta(days=90)
MOST_ENTRIES = 50_000
GRID_DEG = 0.001
"""Of ``lat_e3`` and ``lon_e3``."""
WIDTH, HEIGHT = 1000.0, 680.0
_PARTS = {"min": min, "median": median_low, "p95": median_low}

_links = projected["link_qualities"]
Figures = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One entry ``link_quality/1`` as it was read."""

    village: str
    visit: str
    at: datetime
    technology: str
    figures: Mapping[str, Any]
    cells: tuple[str, ...]
    place: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class VillageLink:
    """:ivar figures: ``{name: {"min", "median", "p95"}}`` of ``sync.formats.link_figures.FIGURES``; :ivar village: None
    where the registry has no such code"""

    code: str
    village: Village | None
    visits: int
    last_at: datetime
    technology: str
    figures: Figures
    cells: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        return verdict(self.figures)

    @property
    def shortfalls(self) -> list[str]:
        return shortfalls(self.figures)

    def figure(self, name: str, part: str = "median") -> int | None:
        return self.figures.get(name, {}).get(part)


@dataclass(frozen=True, slots=True)
class Dot:
    """A cell of the grid with what was measured in it."""

    at: Point
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Share:
    """:ivar good: of ``measured`` visits"""

    good: int
    measured: int

    @property
    def percent(self) -> int | None:
        """Rounded down: 100 are all of them. None where nothing was measured."""
        return 100 * self.good // self.measured if self.measured else None


@dataclass(frozen=True, slots=True)
class LinkShares:
    """Visits that reach the programme's figures, among those where this was measured.

    :ivar rates: both ways at or above 50 Mbit/s; :ivar delay: at or below 100 ms; :ivar both: all of it
    """

    rates: Share
    delay: Share
    both: Share


@dataclass(frozen=True, slots=True)
class LinkReport:
    rows: tuple[VillageLink, ...]
    measured: tuple[Measured, ...]
    since: datetime
    practice: bool

    def of(self, state: str) -> int:
        """How many villages have a verdict."""
        return sum(row.verdict == state for row in self.rows)

    @property
    def shares(self) -> LinkShares:
        return shares_of(self.measured)


def shares_of(measured: Iterable[Measured]) -> LinkShares:
    """Of visits, each by the median of its entries."""
    of_visit: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in measured:
        of_visit.setdefault((one.village, one.visit), []).append(one.figures)
    figures = [combined(found) for found in of_visit.values()]
    short = [(shortfalls(found), found) for found in figures]
    rates = [not set(RATES) & set(missed) for missed, found in short if all(name in found for name in RATES)]
    delays = ["rtt_ms" not in missed for missed, found in short if "rtt_ms" in found]
    whole = [not missed for missed, found in short if all(name in found for name in (*RATES, "rtt_ms"))]
    return LinkShares(*(Share(sum(good), len(good)) for good in (rates, delays, whole)))


def shares_between(database: Database, first: date, last: date, practice: bool) -> LinkShares:
    """Of all visits of whole local days."""
    since, until = (format_time(datetime.combine(day, time(0), LOCAL)) for day in (first, last + timedelta(days=1)))
    query = select(_links).where(_links.c.started_at >= since, _links.c.started_at < until, _of(practice))
    return shares_of(one for row in database.rows(query) if (one := _measured(row)) is not None)


def _of(practice: bool) -> ColumnElement[bool]:
    return _links.c.practice != 0 if practice else (_links.c.practice == 0) | _links.c.practice.is_(None)


def link_report(database: Database, villages: Sequence[Village], now: datetime, practice: bool) -> LinkReport:
    """The last 90 days, worst villages first."""
    since = now - PERIOD
    query = (
        select(_links)
        .where(_links.c.started_at >= format_time(since), _of(practice))
        .order_by(_links.c.started_at.desc())
        .limit(MOST_ENTRIES)
    )
    measured = tuple(one for row in database.rows(query) if (one := _measured(row)) is not None)
    known = {village.code: village for village in villages}
    by_village: dict[str, list[Measured]] = {}
    for one in measured:
        by_village.setdefault(one.village, []).append(one)
    rows = [_village_link(code, known.get(code), found) for code, found in by_village.items()]
    rows.sort(key=lambda row: (list(Verdict).index(row.verdict) != 1, -len(row.shortfalls), row.code))
    return LinkReport(tuple(rows), measured, since, practice)


def dots(report: LinkReport, plane: Plane) -> list[Dot]:
    """One for each cell of the grid, of all that was measured in it."""
    by_place: dict[tuple[float, float], list[Measured]] = {}
    for one in report.measured:
        if one.place is not None:
            by_place.setdefault(one.place, []).append(one)
    return [
        Dot(plane.place(*place), verdict(combined(one.figures for one in found)))
        for place, found in sorted(by_place.items())
    ]


def map_plane(report: LinkReport, villages: Sequence[Village]) -> Plane | None:
    """None where there is nothing to show."""
    places = [one.place for one in report.measured if one.place is not None]
    positions = [*places, *(corner for village in villages for corner in corners(village))]
    return plane_of(positions, WIDTH, HEIGHT, 0.05) if positions else None


def combined(all_figures: Iterable[Mapping[str, Any]]) -> Figures:
    """Each part of each figure over several entries; what has another form is left out."""
    found: dict[str, dict[str, list[int]]] = {}
    for figures in all_figures:
        for name in FIGURES:
            said = figures.get(name)
            for part in _PARTS:
                value = said.get(part) if isinstance(said, Mapping) else None
                if type(value) is int:
                    found.setdefault(name, {}).setdefault(part, []).append(value)
    return {
        name: {part: int(_PARTS[part](values)) for part, values in parts.items()}  # type: ignore[operator]
        for name, parts in found.items()
    }


def as_json(report: LinkReport, county: str) -> dict[str, Any]:
    return {
        "county": county,
        "since": format_time(report.since),
        "practice": report.practice,
        "needed": {"kbit_s": 50_000, "rtt_ms": 100},
        "visits": {
            name: {"good": share.good, "measured": share.measured, "percent": share.percent}
            for name, share in (
                ("rates", report.shares.rates),
                ("delay", report.shares.delay),
                ("both", report.shares.both),
            )
        },
        "villages": [
            {
                "code": row.code,
                "name": row.village.name if row.village else None,
                "township": row.village.township if row.village else None,
                "visits": row.visits,
                "last_at": format_time(row.last_at),
                "technology": row.technology,
                "verdict": str(row.verdict),
                "short_of": row.shortfalls,
                "figures": row.figures,
                "cells": list(row.cells),
            }
            for row in report.rows
        ],
    }


def xlsx_bytes(report: LinkReport, county: str, t: Texts) -> bytes:
    """One sheet: a row for each village with its figures and the verdict in words."""
    mark = f" {t('county.practice_mark')}" if report.practice else ""
    title = t("county.link.sheet_title", county=county, since=report.since.date().isoformat()) + mark
    names = ("township", "village", "code", "verdict", "technology", "up", "down", "rtt", "loss", "signal", "visits")
    heads = [t(f"county.link.{name}") for name in (*names, "last")]
    return office_sheet(title, t("county.link.title") + mark, heads, [_cells(row, t) for row in report.rows])


def _cells(row: VillageLink, t: Texts) -> list[str | float | None]:
    loss, up, down = row.figure("loss_per_mille"), row.figure("up_kbit_s"), row.figure("down_kbit_s")
    return [
        row.village.township if row.village else "",
        row.village.name if row.village else "",
        row.code,
        t(f"county.link.verdict_{row.verdict}"),
        t(f"county.link.technology_{row.technology}"),
        None if up is None else up / 1000,
        None if down is None else down / 1000,
        row.figure("rtt_ms", "p95"),
        None if loss is None else loss / 10,
        row.figure("rsrp_dbm"),
        row.visits,
        row.last_at.date().isoformat(),
    ]


TECHNOLOGIES = ("nr_sa", "nr_nsa", "lte", "umts", "gsm", "none")


def _measured(row: Mapping[str, Any]) -> Measured | None:
    try:
        figures, cells = json.loads(row["figures_json"]), json.loads(row["cells_json"])
        at = parse_time(row["started_at"])
    except (ValueError, TypeError):
        return None
    if not isinstance(figures, dict) or not isinstance(cells, list) or not row["village"]:
        return None
    latitude, longitude = row["lat_e3"], row["lon_e3"]
    on_earth = latitude is not None and longitude is not None and abs(latitude) <= 90_000 and abs(longitude) <= 180_000
    technology = row["technology"] if row["technology"] in TECHNOLOGIES else "none"
    return Measured(
        village=row["village"],
        visit=row["visit"] or "",
        at=at,
        technology=technology,
        figures=figures,
        cells=tuple(cell for cell in cells if isinstance(cell, str)),
        place=(latitude * GRID_DEG, longitude * GRID_DEG) if on_earth else None,
    )


def _village_link(code: str, village: Village | None, found: Sequence[Measured]) -> VillageLink:
    technologies = Counter(one.technology for one in found)
    cells = dict.fromkeys(cell for one in found for cell in one.cells)
    return VillageLink(
        code=code,
        village=village,
        visits=len({one.visit for one in found}),
        last_at=max(one.at for one in found),
        technology=technologies.most_common(1)[0][0],
        figures=combined(one.figures for one in found),
        cells=tuple(cells)[:32],
    )
