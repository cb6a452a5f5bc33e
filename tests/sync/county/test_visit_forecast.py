"""The forecast of the running month: usual days, whose turn it is, and what finds no day."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from sync.county.visit_forecast import Forecast, Habit, Lacking, days_left, forecast, habit_of

TODAY = date(2026, 9, 21)  # a Monday
LAST = date(2026, 9, 30)
TUESDAY, THURSDAY = 1, 3
VAN = "van-07"


def weeks_ago(weeks: int, weekday: int) -> date:
    return TODAY - timedelta(weeks=weeks) + timedelta(days=weekday)


def test_a_weekday_is_usual_from_the_second_week_on() -> None:
    visited = [(weeks_ago(week, TUESDAY), "a") for week in (1, 2)] + [(weeks_ago(1, THURSDAY), "b")]
    assert habit_of(visited, TODAY) == Habit(frozenset({TUESDAY}), 1)


def test_two_villages_on_one_day_are_one_week_and_two_villages() -> None:
    visited = [(weeks_ago(week, TUESDAY), village) for week in (1, 2, 3) for village in ("a", "b")]
    assert habit_of(visited, TODAY) == Habit(frozenset({TUESDAY}), 2)
    assert habit_of(visited[:2], TODAY) == Habit(frozenset(), 2)


def test_what_is_long_ago_or_today_is_no_habit() -> None:
    visited = [(weeks_ago(week, TUESDAY), "a") for week in (1, 9, 10)] + [(TODAY, "a"), (weeks_ago(8, 0), "a")]
    assert habit_of(visited, TODAY) == Habit(frozenset(), 1)
    assert habit_of([(weeks_ago(8, 0), "a"), (weeks_ago(7, 0), "a")], TODAY).weekdays == {0}


def test_the_days_that_are_left_begin_tomorrow_and_end_with_the_month() -> None:
    every_day = Habit(frozenset(range(7)))
    assert days_left(every_day, TODAY, LAST)[0] == date(2026, 9, 22)
    assert days_left(every_day, TODAY, LAST)[-1] == LAST
    assert days_left(Habit(frozenset({TUESDAY})), TODAY, LAST) == [date(2026, 9, 22), date(2026, 9, 29)]
    assert days_left(every_day, LAST, LAST) == []


def made(*lacking: Lacking, habit: Habit | None = None, days_apart: int = 5) -> list[Forecast]:
    habits = {VAN: habit or Habit(frozenset({TUESDAY, THURSDAY}))}  # the 22nd, 24th and 29th
    return forecast(lacking, habits, TODAY, LAST, days_apart)


def test_whoever_has_waited_longest_goes_first() -> None:
    lacking = [Lacking(f"v{day}", VAN, 1, visited_on=date(2026, 9, day)) for day in (9, 2, 5, 3)]
    found = {one.village: one for one in made(*lacking)}
    assert found["v2"].days == (date(2026, 9, 22),)
    assert found["v3"].days == (date(2026, 9, 24),)
    assert found["v5"].days == (date(2026, 9, 29),)
    assert found["v9"] == Forecast("v9", VAN, (), 1, "others_first")


def test_a_village_that_no_van_ever_visited_goes_before_all() -> None:
    first, second = made(Lacking("old", VAN, 1, visited_on=date(2026, 3, 1)), Lacking("new", VAN, 1))
    assert (first.days, second.days) == ((date(2026, 9, 24),), (date(2026, 9, 22),))


def test_two_visits_are_as_far_apart_as_the_rules_want() -> None:
    (one,) = made(Lacking("a", VAN, 2))
    assert one == Forecast("a", VAN, (date(2026, 9, 22), date(2026, 9, 29)), 0)
    (one,) = made(Lacking("a", VAN, 2), days_apart=8)
    assert one == Forecast("a", VAN, (date(2026, 9, 22),), 1, "too_close")
    (one,) = made(Lacking("a", VAN, 1, counted_on=date(2026, 9, 20)))
    assert one.days == (date(2026, 9, 29),)
    (one,) = made(Lacking("a", VAN, 1, counted_on=date(2026, 9, 19)))
    assert one.days == (date(2026, 9, 24),)


def test_a_van_that_goes_to_two_villages_a_day_has_twice_the_room() -> None:
    lacking = [Lacking(name, VAN, 1) for name in "abcd"]
    assert [one.misses for one in made(*lacking)] == [0, 0, 0, 1]
    assert [one.misses for one in made(*lacking, habit=Habit(frozenset({TUESDAY, THURSDAY}), 2))] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("van", "habit", "why"),
    [("", None, "no_van"), (VAN, Habit(frozenset()), "no_days"), ("van-99", None, "no_days")],
    ids=["nobody", "rarely", "unknown"],
)
def test_why_there_is_no_day(van: str, habit: Habit | None, why: str) -> None:
    assert made(Lacking("a", van, 2), habit=habit) == [Forecast("a", van, (), 2, why)]


def test_vans_have_days_of_their_own() -> None:
    habits = {VAN: Habit(frozenset({TUESDAY})), "van-09": Habit(frozenset({THURSDAY}))}
    lacking = [Lacking("a", VAN, 1), Lacking("b", "van-09", 1), Lacking("c", VAN, 1), Lacking("d", VAN, 1)]
    found = forecast(lacking, habits, TODAY, LAST, 5)
    assert [one.village for one in found] == ["a", "b", "c", "d"]
    assert [one.misses for one in found] == [0, 0, 0, 1]
    assert found[1].days == (date(2026, 9, 24),)
