"""The work of a month, or of twelve: screening by disease, red values, referrals, opinions, ECGs; by township, van or
month, as numbers.

Everything is added up by the database out of tables with an index on when it happened; ``visit_work`` has what would
be too much to be counted each time. Follow-ups are those of today. Severe mental illness is in none of these numbers
(Mental Health Law, art. 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, Table, and_, case, func, select

from sync.county.database import Database, Row
from sync.county.follow_up_report import Count, follow_ups_by_village
from sync.county.programme_lists import IN_TIME_MINUTES
from sync.county.red_values import Closed, closed_red_values
from sync.county.schema import logs, projected, visit_work
from sync.county.visit_work import SERVED
from sync.formats.records import format_time, parse_time
from sync.proof.areas import Village
from sync.proof.coverage import end_of_month, other_month
from sync.proof.presence import LOCAL, local_day

By = Literal["township", "van", "month"]
MONTHS = 12
_VISITS = projected["visits"]


@dataclass(slots=True)
class Tally:
    """The numbers of one township, van or month.

    :ivar screened: by disease, how often somebody was screened; ``found``: how often the result points at it
    :ivar answered_minutes: of each red value that was closed, from its confirmation on
    :ivar result: referrals of which the treatment is known; ``arrived`` has them too
    """

    visits: int = 0
    served: int = 0
    screened: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    critical: int = 0
    answered_minutes: list[int] = field(default_factory=list)
    sent: int = 0
    arrived: int = 0
    result: int = 0
    lost: int = 0
    overdue: int = 0
    consultations: int = 0
    unsigned_opinions: int = 0
    ecgs: int = 0
    unsigned_ecgs: int = 0
    follow_ups: Count = field(default_factory=Count)

    @property
    def in_time(self) -> int:
        return sum(minutes <= IN_TIME_MINUTES for minutes in self.answered_minutes)

    @property
    def open_critical(self) -> int:
        return self.critical - len(self.answered_minutes)


@dataclass(frozen=True, slots=True)
class WorkReport:
    """:ivar rows: by the name of the township or van, or by the month as YYYY-MM; in the order of the page
    :ivar first: first day; ``last``: last day
    """

    by: By
    rows: Mapping[str, Tally]
    first: date
    last: date
    practice: bool

    def parts(self, number: Callable[[Tally], int]) -> list[int]:
        """One number of every row."""
        return [number(tally) for tally in self.rows.values()]

    @property
    def all_minutes(self) -> list[int]:
        return [minutes for tally in self.rows.values() for minutes in tally.answered_minutes]


def period(month: date, by: By) -> tuple[date, date]:
    """First and last day: a month, or the twelve that end with it."""
    return (other_month(month, 1 - MONTHS) if by == "month" else month), end_of_month(month)


def local_midnight(day: date) -> str:
    return format_time(datetime.combine(day, time(0), LOCAL))


def work_report(
    database: Database, villages: Sequence[Village], month: date, by: By, practice: bool, now: datetime
) -> WorkReport:
    """:param month: its first day; by month, the last of the twelve"""
    first, last = period(month, by)
    journals = database.rows(select(logs.c.origin).where(logs.c.practice == practice))
    origins = [row["origin"] for row in journals]
    townships = {village.code: village.township for village in villages}
    closed = closed_red_values(database, origins, local_midnight(first))
    today = local_day(now)
    rows: dict[str, Tally] = {}
    for number in range(MONTHS if by == "month" else 1):
        counting = _Counting(database, origins, townships, other_month(month, -number), by)
        counting.visits()
        counting.critical(closed)
        counting.referrals(today)
        counting.consultations()
        counting.ecgs()
        if by != "month":
            counting.follow_ups(today, practice)
        rows |= counting.ordered()
    return WorkReport(by, rows, first, last, practice)


class _Counting:
    """One month. By month it has one row, which is there also when nothing was done."""

    def __init__(
        self, database: Database, origins: Sequence[str], townships: Mapping[str, str], month: date, by: By
    ) -> None:
        self._database, self._by, self._month = database, by, f"{month:%Y-%m}"
        self._since, self._until = local_midnight(month), local_midnight(other_month(month, 1))
        self._township, self._origins = townships, list(origins)
        self._tallies: dict[str, Tally] = {self._month: Tally()} if by == "month" else {}

    def ordered(self) -> dict[str, Tally]:
        """By name; what is of no township at the end."""
        return {name: self._tallies[name] for name in sorted(self._tallies, key=lambda name: (name == "", name))}

    def visits(self) -> None:
        for row in self._rows(_VISITS, _VISITS.c.opened_at, {"visits": func.count()}):
            self._tally(row).visits += row["visits"]
        within = self._within(_VISITS.c.origin, _VISITS.c.opened_at)
        columns = [_VISITS.c[name] for name in ("origin", "visit", "village", "township")]
        visits = select(*columns).where(within).cte("month_visits").prefix_with("MATERIALIZED")
        same = and_(visit_work.c.origin == visits.c.origin, visit_work.c.visit == visits.c.visit)
        numbers = [func.sum(visit_work.c[name]).label(name) for name in ("people", "found")]
        keys = [visits.c[key.name] for key in self._keys(_VISITS)]
        asked = select(*keys, visit_work.c.what, *numbers).select_from(visits.join(visit_work, same))
        for row in self._database.rows(asked.group_by(*keys, visit_work.c.what)):
            tally, what = self._tally(row), row["what"]
            if what == SERVED:
                tally.served += int(row["people"])
            else:
                tally.screened[what] = tally.screened.get(what, 0) + int(row["people"])
                tally.found[what] = tally.found.get(what, 0) + int(row["found"])

    def critical(self, closed: Mapping[tuple[str, str], Closed]) -> None:
        actions = projected["critical_actions"]
        each = select(actions.c.origin, actions.c.reading, actions.c.at.label("found_at"), *self._keys(actions))
        query = self._beside_visits(each, actions).where(
            self._within(actions.c.origin, actions.c.at), actions.c.action == "found"
        )
        for row in self._database.rows(query):
            tally = self._tally(row)
            tally.critical += 1
            done = closed.get((row["origin"], row["reading"]))
            if done is not None:
                tally.answered_minutes.append(minutes_between(row["found_at"], done.at))

    def referrals(self, today: date) -> None:
        table = projected["referrals"]
        outcome = func.coalesce(table.c.outcome, "")
        late = and_(outcome == "", table.c.follow_up_on < today.isoformat(), table.c.follow_up_on != "")
        numbers = {
            "sent": func.count(),
            "arrived": _count(outcome.in_(("arrived", "treated"))),
            "result": _count(outcome == "treated"),
            "lost": _count(outcome.in_(("not_gone", "not_reached"))),
            "overdue": _count(late),
        }
        for row in self._rows(table, table.c.at, numbers):
            self._add(row, numbers)

    def consultations(self) -> None:
        """A consultation that was cancelled or declined waits for no opinion."""
        table = projected["consultations"]
        due = and_(table.c.opinion_at.is_(None), table.c.state.not_in(("cancelled", "declined", "closed")))
        numbers = {"consultations": func.count(), "unsigned_opinions": _count(due)}
        for row in self._rows(table, table.c.requested_at, numbers):
            self._add(row, numbers)

    def ecgs(self) -> None:
        table = projected["ecg_analyses"]
        numbers = {"ecgs": func.count(), "unsigned_ecgs": _count(table.c.reviewed_at.is_(None))}
        for row in self._rows(table, table.c.analysed_at, numbers):
            self._add(row, numbers)

    def follow_ups(self, today: date, practice: bool) -> None:
        for of in follow_ups_by_village(self._database, today, practice):
            name = self._township.get(of.village, "") if self._by == "township" else of.origin.partition(".")[0]
            tally = self._tallies.setdefault(name, Tally())
            tally.follow_ups += of.count

    # how it is added up ---------------------------------------------------------------------------------------------

    def _rows(self, table: Table, at: ColumnElement[Any], numbers: Mapping[str, ColumnElement[Any]]) -> list[Row]:
        """Numbers of the rows of the month, by township or van as far as they are asked for."""
        keys = self._keys(table)
        asked = select(*keys, *(column.label(name) for name, column in numbers.items()))
        query = self._beside_visits(asked, table).where(self._within(table.c.origin, at))
        return self._database.rows(query.group_by(*keys))

    def _keys(self, table: Table) -> list[ColumnElement[Any]]:
        if self._by == "township":
            return [_VISITS.c.village, _VISITS.c.township]
        return [table.c.origin] if self._by == "van" else []

    def _beside_visits(self, asked: Select[Any], table: Table) -> Select[Any]:
        """A row's township is that of its visit's village."""
        if table is _VISITS or self._by != "township":
            return asked.select_from(table)
        same = and_(_VISITS.c.origin == table.c.origin, _VISITS.c.visit == table.c.visit)
        return asked.select_from(table.outerjoin(_VISITS, same))

    def _within(self, origin: ColumnElement[Any], at: ColumnElement[Any]) -> ColumnElement[bool]:
        return and_(origin.in_(self._origins), at >= self._since, at < self._until)

    def _tally(self, row: Row) -> Tally:
        if self._by == "month":
            name = self._month
        elif self._by == "van":
            name = row["origin"].partition(".")[0]
        else:
            name = self._township.get(row["village"] or "") or row["township"] or ""
        return self._tallies.setdefault(name, Tally())

    def _add(self, row: Row, numbers: Mapping[str, Any]) -> None:
        tally = self._tally(row)
        for name in numbers:
            setattr(tally, name, getattr(tally, name) + int(row[name] or 0))


def minutes_between(since: str, until: str) -> int:
    """Whole minutes between two moments as the tables have them; never negative."""
    return max(0, int((parse_time(until) - parse_time(since)).total_seconds() // 60))


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))
