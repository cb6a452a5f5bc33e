"""The work of a month, or of twelve: screening by disease, red values, referrals, opinions, ECGs; by township, van or
month, as numbers.

Everything is added up by the database out of tables with an index on when it happened; ``visit_work`` and
``attendances`` have what would be too much to be counted each time. Who is screened twice in a month, by whichever
vans, is one person in its row. Follow-ups are those of today. Severe mental illness is in none of these numbers
(Mental Health Law, art. 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Literal

from sqlalchemy import Column, ColumnElement, Select, Table, and_, case, func, literal_column, or_, select, true

from sync.county.attendances import BIT
from sync.county.database import Database, Row
from sync.county.follow_up_report import Count, follow_ups_by_village
from sync.county.programme_lists import IN_TIME_MINUTES
from sync.county.red_values import closed, closing_of
from sync.county.schema import attendances, logs, projected, visit_work
from sync.county.visit_work import SERVED
from sync.formats.records import format_time
from sync.proof.areas import Village
from sync.proof.coverage import end_of_month, other_month
from sync.proof.presence import LOCAL, local_day

By = Literal["township", "van", "month"]
MONTHS = 12
_VISITS = projected["visits"]


@dataclass(slots=True)
class Tally:
    """The numbers of one township, van or month.

    :ivar served: people in each visit, added up: who comes twice counts twice
    :ivar screened: by disease, how many people were screened; ``found``: of how many the result points at it
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
    overdue: int = 0
    consultations: int = 0
    unsigned_opinions: int = 0
    ecgs: int = 0
    unsigned_ecgs: int = 0
    follow_ups: Count = field(default_factory=Count)

    def screen(self, screened: int, found: int, people: int) -> None:
        """``people`` of whom each has these bits of diseases (``attendances.BIT``)."""
        for disease, bit in BIT.items():
            if screened & bit:
                self.screened[disease] = self.screened.get(disease, 0) + people
            if found & bit:
                self.found[disease] = self.found.get(disease, 0) + people

    @property
    def in_time(self) -> int:
        return sum(minutes <= IN_TIME_MINUTES for minutes in self.answered_minutes)

    @property
    def open_critical(self) -> int:
        return self.critical - len(self.answered_minutes)


@dataclass(frozen=True, slots=True)
class WorkReport:
    """:ivar rows: by the name of the township or van, or by the month as YYYY-MM; in the order of the page
    :ivar screening: how many people were screened in all rows together, each counted once; None over twelve months
    :ivar first: first day; ``last``: last day
    """

    by: By
    rows: Mapping[str, Tally]
    screening: Tally | None
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
    townships = {village.code: village.township for village in villages}
    counting = _Counting(database, [row["origin"] for row in journals], townships, month, by)
    today = local_day(now)
    counting.visits()
    every = counting.screening()
    counting.critical()
    counting.counted(today)
    if by != "month":
        counting.follow_ups(today, practice)
    return WorkReport(by, counting.ordered(), every, first, last, practice)


def counted(today: date) -> tuple[tuple[Table, Column[Any], Mapping[str, ColumnElement[bool]]], ...]:
    """Which rows of a table, by when they happened, are behind which numbers of a ``Tally``.

    A consultation that was cancelled or declined waits for no opinion.
    """
    referrals, consultations, ecgs = (projected[name] for name in ("referrals", "consultations", "ecg_analyses"))
    outcome = func.coalesce(referrals.c.outcome, "")
    due_on = referrals.c.follow_up_on
    unsigned = and_(
        consultations.c.opinion_at.is_(None), consultations.c.state.not_in(("cancelled", "declined", "closed"))
    )
    return (
        (
            referrals,
            referrals.c.at,
            {
                "sent": true(),
                "arrived": outcome.in_(("arrived", "treated")),
                "result": outcome == "treated",
                "overdue": and_(outcome == "", due_on < today.isoformat(), due_on != ""),
            },
        ),
        (consultations, consultations.c.requested_at, {"consultations": true(), "unsigned_opinions": unsigned}),
        (ecgs, ecgs.c.analysed_at, {"ecgs": true(), "unsigned_ecgs": ecgs.c.reviewed_at.is_(None)}),
    )


class _Counting:
    """One month, or twelve. By month each has a row, which is there also when nothing was done."""

    def __init__(
        self, database: Database, origins: Sequence[str], townships: Mapping[str, str], month: date, by: By
    ) -> None:
        self._database, self._by = database, by
        self._months = [other_month(month, -back) for back in range(MONTHS if by == "month" else 1)]
        self._since, self._until = local_midnight(self._months[-1]), local_midnight(other_month(month, 1))
        self._township, self._origins = townships, list(origins)
        self._tallies: dict[str, Tally] = {f"{one:%Y-%m}": Tally() for one in self._months} if by == "month" else {}

    def ordered(self) -> dict[str, Tally]:
        """By name, months the newest first; what is of no township at the end."""
        if self._by == "month":
            return self._tallies
        return {name: self._tallies[name] for name in sorted(self._tallies, key=lambda name: (name == "", name))}

    def visits(self) -> None:
        """With how many people each has served."""
        same = and_(visit_work.c.origin == _VISITS.c.origin, visit_work.c.visit == _VISITS.c.visit)
        both = _VISITS.outerjoin(visit_work, and_(same, visit_work.c.what == SERVED))
        numbers = (func.count().label("visits"), func.sum(visit_work.c.people).label("served"))
        keys = self._keys(_VISITS, _VISITS.c.opened_at)
        within = self._within(_VISITS.c.origin, _VISITS.c.opened_at)
        query = select(*keys, *numbers).select_from(both).where(within)
        for row in self._database.rows(query.group_by(*keys)):
            self._add(row, ("visits", "served"))

    def screening(self) -> Tally | None:
        """Of the people who were screened each is counted once in a row, and once in the sum of all rows, which is
        returned; there is none over twelve months."""
        if self._by == "month":
            self._screening_by_month()
            return None
        every = Tally()
        parts = ((attendances.c.new_screened, "screened"), (attendances.c.new_found, "found"))
        numbers = {(name, of): _count(part.bitwise_and(BIT[of]) != 0) for part, name in parts for of in BIT}
        keys = self._keys(attendances, attendances.c.month)
        new = self._attended(*keys, *(number.label(" ".join(name)) for name, number in numbers.items()))
        for row in self._database.rows(new.group_by(*keys)):
            some = [(name, of, people) for name, of in numbers if (people := int(row[f"{name} {of}"]))]
            for tally in (every, self._tally(row)):
                for name, of, people in some:
                    told: dict[str, int] = getattr(tally, name)
                    told[of] = told.get(of, 0) + people
        self._screened_again(keys)
        return every

    def _screened_again(self, keys: Sequence[ColumnElement[Any]]) -> None:
        """Who was screened in another row of the page before is new in this one too."""
        told = [attendances.c[name] for name in ("person", "screened", "found", "new_screened", "new_found")]
        again = attendances.alias("again")
        repeated = or_(again.c.new_screened != again.c.screened, again.c.new_found != again.c.found)
        people = select(again.c.person).where(again.c.month == self._name_of_month, repeated)
        seen: dict[tuple[str, str], list[int]] = {}
        for row in self._database.rows(self._attended(*keys, *told).where(attendances.c.person.in_(people))):
            bits = seen.setdefault((self._name(row), row["person"]), [0, 0, 0, 0])
            bits[:] = (before | row[part.name] for before, part in zip(bits, told[1:], strict=True))
        for (name, _), (screened, found, new_screened, new_found) in seen.items():
            self._tallies.setdefault(name, Tally()).screen(screened & ~new_screened, found & ~new_found, 1)

    @property
    def _name_of_month(self) -> str:
        return f"{self._months[0]:%Y-%m}"

    def _attended(self, *told: ColumnElement[Any]) -> Select[Any]:
        """Of the days of the month on which somebody was screened."""
        mine = and_(attendances.c.origin.in_(self._origins), attendances.c.screened > 0)
        return self._beside_visits(select(*told), attendances).where(mine, attendances.c.month == self._name_of_month)

    def _screening_by_month(self) -> None:
        """What is new in a row was not yet counted in its month. Read from an index alone."""
        keys = [attendances.c[name] for name in ("month", "new_screened", "new_found")]
        months = attendances.c.month.between(f"{self._months[-1]:%Y-%m}", f"{self._months[0]:%Y-%m}")
        of_vans = attendances.c.origin.in_(self._origins)
        asked = select(*keys, func.count().label("people")).where(of_vans, months).group_by(*keys)
        for row in self._database.rows(asked):
            self._tallies[row["month"]].screen(row["new_screened"], row["new_found"], row["people"])

    def critical(self) -> None:
        actions = projected["critical_actions"]
        found = (actions.c.at.label("found_at"), closing_of(actions).label("closing"))
        each = self._beside_visits(select(*self._keys(actions, actions.c.at), *found), actions)
        for row in self._database.rows(
            each.where(self._within(actions.c.origin, actions.c.at), actions.c.action == "found")
        ):
            tally = self._tally(row)
            tally.critical += 1
            done = closed(row["found_at"], row["closing"])
            if done is not None:
                tally.answered_minutes.append(done.minutes)

    def counted(self, today: date) -> None:
        for table, at, each in counted(today):
            self._count_rows(table, at, {name: _count(wanted) for name, wanted in each.items()})

    def follow_ups(self, today: date, practice: bool) -> None:
        for of in follow_ups_by_village(self._database, today, practice):
            name = self._township.get(of.village, "") if self._by == "township" else of.origin.partition(".")[0]
            tally = self._tallies.setdefault(name, Tally())
            tally.follow_ups += of.count

    # how it is added up ---------------------------------------------------------------------------------------------

    def _count_rows(self, table: Table, at: ColumnElement[Any], numbers: Mapping[str, ColumnElement[Any]]) -> None:
        """Numbers of the rows of the period, by what is asked for."""
        keys = self._keys(table, at)
        asked = select(*keys, *(column.label(name) for name, column in numbers.items()))
        query = self._beside_visits(asked, table).where(self._within(table.c.origin, at))
        for row in self._database.rows(query.group_by(*keys)):
            self._add(row, numbers)

    def _keys(self, table: Table, at: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        if self._by == "township":
            return [_VISITS.c.village, _VISITS.c.township]
        return [table.c.origin] if self._by == "van" else [self._month_of(at)]

    def _month_of(self, at: ColumnElement[Any]) -> ColumnElement[str]:
        """The local month of a moment of the period, the newest asked first."""
        midnights = [(local_midnight(month), f"{month:%Y-%m}") for month in self._months]
        since: list[tuple[Any, ColumnElement[str]]] = [
            (at >= literal_column(f"'{midnight}'"), literal_column(f"'{name}'")) for midnight, name in midnights
        ]
        return case(*since).label("month")

    def _beside_visits(self, asked: Select[Any], table: Table) -> Select[Any]:
        """A row's township is that of its visit's village."""
        if self._by != "township":
            return asked.select_from(table)
        same = and_(_VISITS.c.origin == table.c.origin, _VISITS.c.visit == table.c.visit)
        return asked.select_from(table.outerjoin(_VISITS, same))

    def _within(self, origin: ColumnElement[Any], at: ColumnElement[Any]) -> ColumnElement[bool]:
        return and_(origin.in_(self._origins), at >= self._since, at < self._until)

    def _name(self, row: Row) -> str:
        """Of the row of the table that a row of the database belongs to."""
        if self._by == "month":
            return str(row["month"])
        if self._by == "van":
            return str(row["origin"]).partition(".")[0]
        return self._township.get(row["village"] or "") or row["township"] or ""

    def _tally(self, row: Row) -> Tally:
        return self._tallies.setdefault(self._name(row), Tally())

    def _add(self, row: Row, numbers: Iterable[str]) -> None:
        tally = self._tally(row)
        for name in numbers:
            setattr(tally, name, getattr(tally, name) + int(row[name] or 0))


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))
