"""The forecast of the running month out of the county's tables: for the coverage page and the warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import select

from sync.county.database import Database
from sync.county.month_table import MonthTable, VillageMonth
from sync.county.schema import logs, projected
from sync.county.village_warnings import LastVisit, last_visits
from sync.county.visit_forecast import WEEKS, Forecast, Habit, Lacking, forecast, habit_of
from sync.formats.records import format_time, parse_time
from sync.proof.coverage import VisitState
from sync.proof.presence import local_day

_VISITS = projected["visits"]


@dataclass(frozen=True, slots=True)
class MonthForecast:
    """:ivar villages: forecasts by village code, of all that still lack visits and are not excused
    :ivar habits: by van
    """

    villages: Mapping[str, Forecast]
    habits: Mapping[str, Habit]

    @property
    def missing(self) -> dict[str, Forecast]:
        """Villages that will not have all their visits."""
        return {code: one for code, one in self.villages.items() if one.misses}


def month_forecast(database: Database, table: MonthTable) -> MonthForecast:
    """Empty for a month that is not running.

    :param table: of all townships: they share their vans
    """
    if not table.days[0] <= table.today <= table.days[-1]:
        return MonthForecast({}, {})
    last = last_visits(database, table.practice, table.made_at)
    wanted = [one for row in table.rows if (one := _lacking(row, last)) is not None]
    habits = habits_of(database, table)
    found = forecast(wanted, habits, table.today, table.days[-1], table.rules.days_apart)
    return MonthForecast({one.village: one for one in found}, habits)


def habits_of(database: Database, table: MonthTable) -> dict[str, Habit]:
    """What each van usually does, by its short id."""
    since = format_time(table.made_at - timedelta(weeks=WEEKS, days=1))
    between = _VISITS.c.opened_at.between(since, format_time(table.made_at))
    asked = select(_VISITS.c.origin, _VISITS.c.village, _VISITS.c.opened_at).select_from(
        _VISITS.join(logs, logs.c.origin == _VISITS.c.origin)
    )
    visited: dict[str, list[tuple[date, str]]] = {}
    for row in database.rows(asked.where(between, logs.c.practice == table.practice)):
        day = local_day(parse_time(row["opened_at"]))
        visited.setdefault(row["origin"].partition(".")[0], []).append((day, row["village"] or ""))
    return {van: habit_of(days, table.today) for van, days in sorted(visited.items())}


def _lacking(row: VillageMonth, last: Mapping[str, LastVisit]) -> Lacking | None:
    """A visit that is going on is taken as made."""
    made = [visit for visit in row.visits if visit.verdict.state in (VisitState.COUNTED, VisitState.OPEN)]
    missing = row.verdict.missing - sum(visit.verdict.state is VisitState.OPEN for visit in made)
    if row.waiver is not None or missing <= 0:
        return None
    seen = last.get(row.village.code)
    counted_on = max((visit.case.facts.day for visit in made), default=None)
    return Lacking(row.village.code, seen.vehicle if seen else "", missing, counted_on, seen.day if seen else None)
