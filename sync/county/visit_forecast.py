"""Which villages will miss visits of the running month: what is left of it, held against the vans' usual days. Pure.

The rule, in full. A weekday is a van's usual day when the van was in some village on it in at least two of the past
eight weeks. On such a day it goes to as many villages as it mostly did on its days out. A village belongs to the van
that was there last. From tomorrow to the end of the month each usual day goes to the van's villages that still lack
visits: whoever has waited longest first, nobody sooner after a counted visit than the rules allow. What finds no day
is forecast to be missed.

A visit that is going on counts as made; one that waits for a review does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import median_low

WEEKS = 8
LEAST_WEEKS = 2
"""Of ``WEEKS`` in which a van was out on a weekday that is to be a usual one."""


@dataclass(frozen=True, slots=True)
class Habit:
    """:ivar weekdays: Monday is 0; :ivar villages_a_day: at least 1"""

    weekdays: frozenset[int]
    villages_a_day: int = 1


@dataclass(frozen=True, slots=True)
class Lacking:
    """A village that still lacks visits.

    :ivar van: that was there last; empty for none
    :ivar missing: visits still wanted, at least 1
    :ivar counted_on: day of the last visit that counts, of this month; None while there is none
    :ivar visited_on: day of the last visit at all; None when no van was there
    """

    village: str
    van: str
    missing: int
    counted_on: date | None = None
    visited_on: date | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """:ivar days: on which the van can come; :ivar misses: visits for which there is no day
    :ivar why: of "no_van", "no_days" (the van has no usual day left), "too_close" (not far enough apart) and
        "others_first" (its days go to villages that have waited longer); empty when nothing is missed
    """

    village: str
    van: str
    days: tuple[date, ...]
    misses: int
    why: str = ""


@dataclass(slots=True)
class _Waiting:
    lacking: Lacking
    left: int
    last: date | None
    days: list[date] = field(default_factory=list)
    allowed: int = 0
    """Days of the van on which it might have been visited."""


def habit_of(visited: Iterable[tuple[date, str]], today: date) -> Habit:
    """What a van usually does.

    :param visited: day and village of its visits; those of today and of more than ``WEEKS`` ago are left out
    """
    since = today - timedelta(weeks=WEEKS)
    villages: dict[date, set[str]] = {}
    for day, village in visited:
        if since <= day < today:
            villages.setdefault(day, set()).add(village)
    weeks = Counter(day.weekday() for day in villages)
    usual = frozenset(weekday for weekday, times in weeks.items() if times >= LEAST_WEEKS)
    return Habit(usual, median_low([len(found) for found in villages.values()]) if villages else 1)


def forecast(
    lacking: Sequence[Lacking], habits: Mapping[str, Habit], today: date, last: date, days_apart: int
) -> list[Forecast]:
    """
    :param habits: by van
    :param last: day of the month
    :param days_apart: between two counted visits of a village
    :returns: in the order of ``lacking``
    """
    found: dict[str, Forecast] = {}
    vans = dict.fromkeys(one.van for one in lacking)
    for van in vans:
        mine = [_Waiting(one, one.missing, one.counted_on) for one in lacking if one.van == van]
        left = days_left(habits[van], today, last) if van in habits else []
        for day in left:
            _spend(day, habits[van].villages_a_day, mine, max(1, days_apart))
        found |= {one.lacking.village: _forecast(one, left) for one in mine}
    return [found[one.village] for one in lacking]


def days_left(habit: Habit, today: date, last: date) -> list[date]:
    """A van's usual days from tomorrow on."""
    days = ((today + timedelta(days=ahead)) for ahead in range(1, (last - today).days + 1))
    return [day for day in days if day.weekday() in habit.weekdays]


def _spend(day: date, villages: int, waiting: Sequence[_Waiting], days_apart: int) -> None:
    """A day of the van goes to those who have waited longest."""
    allowed = [one for one in waiting if one.left and (one.last is None or (day - one.last).days >= days_apart)]
    for one in allowed:
        one.allowed += 1
    for one in sorted(allowed, key=_waits_since)[:villages]:
        one.left -= 1
        one.last = day
        one.days.append(day)


def _waits_since(one: _Waiting) -> tuple[date, str]:
    seen = one.days[-1] if one.days else one.lacking.visited_on
    return seen or date.min, one.lacking.village


def _forecast(one: _Waiting, left: Sequence[date]) -> Forecast:
    why = ""
    if one.left:
        crowded = one.allowed > len(one.days)
        why = "others_first" if crowded else "too_close" if left else "no_days"
        why = why if one.lacking.van else "no_van"
    return Forecast(one.lacking.village, one.lacking.van, tuple(one.days), one.left, why)
