"""What a new list of villages changes, and from which day: earlier visits are never judged anew by an import."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.proof.areas import ALWAYS, Village
from sync.proof.registry_entries import RegistryEntry
from sync.proof.registry_state import RegistryState, written_change
from sync.proof.village_import import ImportPlan, plan_import

TODAY = date(2026, 9, 10)
YESTERDAY = TODAY - timedelta(days=1)
NOW = datetime(2026, 9, 10, 2, tzinfo=UTC)


def village(number: int, metres: int = 0, name: str = "") -> Village:
    """``metres``: how far east of its first place."""
    longitude = 104 + number * 0.1 + metres * 1e-5
    return Village(f"99990110{number:04d}", name or f"村{number}", "青峪镇", None, 31.0, longitude)


class Registry:
    def __init__(self) -> None:
        self.state = RegistryState()

    def take(self, *given: Village, today: date = TODAY, valid_from: date | None = None) -> ImportPlan:
        plan = plan_import(given, self.state, today, valid_from)
        self.written = written_change(self.state, plan.drafts, NOW, "xu.jing")
        self.state = self.state.apply(self.written)
        return plan

    def on(self, day: date) -> list[tuple[str, str, float]]:
        found = [known for known in self.state.villages() if known.in_force(day)]
        return [(known.code[-1], known.name, round(known.centre_longitude_deg, 7)) for known in found]

    def versions(self, number: int) -> list[tuple[date, date | None]]:
        code = village(number).code
        return [(known.valid_from, known.valid_until) for known in self.state.villages() if known.code == code]


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_the_first_list_holds_for_all_time(registry: Registry) -> None:
    plan = registry.take(village(1), village(2))
    assert plan.first
    assert (plan.added, plan.changed, plan.removed) == (("999901100001", "999901100002"), (), ())
    assert registry.versions(1) == [(ALWAYS, None)]
    assert registry.state.villages_version == 2


def test_the_same_list_again_writes_nothing(registry: Registry) -> None:
    registry.take(village(1), village(2))
    assert registry.take(village(2), village(1)).changes_nothing
    assert registry.written == []


def test_only_what_changed_is_written(registry: Registry) -> None:
    registry.take(village(1), village(2), village(3))
    plan = registry.take(village(1), village(2, metres=40), village(3))
    assert plan.changed == ("999901100002",)
    kinds = [entry.kind for entry in registry.written]
    assert kinds == ["village/1", "village/1", "village_list/1", "index/1"]


def test_a_change_holds_from_the_day_of_the_import_and_not_before(registry: Registry) -> None:
    registry.take(village(1), village(2))
    registry.take(village(1, metres=40), village(2))
    assert registry.versions(1) == [(ALWAYS, YESTERDAY), (TODAY, None)]
    assert registry.on(YESTERDAY)[0] == ("1", "村1", 104.1)
    assert registry.on(TODAY)[0] == ("1", "村1", 104.1004)


def test_a_second_change_on_the_same_day_replaces_the_first(registry: Registry) -> None:
    registry.take(village(1))
    registry.take(village(1, metres=40))
    registry.take(village(1, metres=80))
    assert registry.versions(1) == [(ALWAYS, YESTERDAY), (TODAY, None)]
    assert registry.on(TODAY) == [("1", "村1", 104.1008)]


def test_a_new_village_begins_and_a_lost_one_ends_with_the_import(registry: Registry) -> None:
    registry.take(village(1), village(2))
    plan = registry.take(village(1), village(3))
    assert (plan.added, plan.removed) == (("999901100003",), ("999901100002",))
    assert [name for _, name, _ in registry.on(YESTERDAY)] == ["村1", "村2"]
    assert [name for _, name, _ in registry.on(TODAY)] == ["村1", "村3"]
    assert registry.take(village(1), village(3)).changes_nothing


def test_one_that_comes_back_begins_anew(registry: Registry) -> None:
    registry.take(village(1), village(2))
    registry.take(village(1))
    registry.take(village(1), village(2), today=TODAY + timedelta(days=5))
    assert registry.versions(2) == [(ALWAYS, YESTERDAY), (TODAY + timedelta(days=5), None)]
    assert len(registry.on(TODAY)) == 1


def test_the_list_says_itself_from_when_a_village_stands_elsewhere(registry: Registry) -> None:
    registry.take(village(1), village(2))
    moved = replace(village(1, metres=900), valid_from=date(2026, 11, 1))
    registry.take(moved, village(2))
    assert registry.versions(1) == [(ALWAYS, date(2026, 10, 31)), (date(2026, 11, 1), None)]
    assert registry.take(moved, village(2)).changes_nothing


def test_a_date_that_the_registry_has_already_is_no_news(registry: Registry) -> None:
    """Exported lists carry dates: one whose outline was corrected must not change what was judged years ago."""
    since = date(2024, 1, 1)
    plan = registry.take(replace(village(1), valid_from=since), replace(village(2), valid_from=since))
    assert (registry.versions(1), plan.judged_anew) == ([(since, None)], ())
    plan = registry.take(replace(village(1, metres=40), valid_from=since), replace(village(2), valid_from=since))
    assert registry.versions(1) == [(since, YESTERDAY), (TODAY, None)]
    assert plan.judged_anew == ()
    assert registry.take(replace(village(1, metres=40), valid_from=TODAY), village(2)).changes_nothing


def test_whoever_changes_earlier_days_is_told(registry: Registry) -> None:
    registry.take(village(1), village(2))
    plan = registry.take(replace(village(1, metres=40), valid_from=date(2026, 8, 1)), village(2))
    assert plan.judged_anew == (village(1).code,)
    plan = registry.take(village(1, metres=40), village(2, metres=40), valid_from=ALWAYS)
    assert plan.judged_anew == (village(1).code, village(2).code)


def test_an_end_that_is_announced_leaves_the_area_as_it_is(registry: Registry) -> None:
    registry.take(village(1), village(2))
    plan = registry.take(village(1), replace(village(2), valid_until=date(2026, 12, 31)))
    assert registry.versions(2) == [(ALWAYS, date(2026, 12, 31))]
    assert plan.judged_anew == ()
    plan = registry.take(village(1), replace(village(2), valid_until=date(2026, 8, 31)))
    assert registry.versions(2) == [(ALWAYS, date(2026, 8, 31))]
    assert plan.judged_anew == (village(2).code,)


def test_merged_villages(registry: Registry) -> None:
    """村2 goes into 村1 on the first of November: the list says both."""
    registry.take(village(1), village(2))
    gone = replace(village(2), valid_until=date(2026, 10, 31))
    large = replace(village(1, name="新村"), valid_from=date(2026, 11, 1), radius_m=4000.0)
    registry.take(replace(village(1), valid_until=date(2026, 10, 31)), large, gone)
    assert [name for _, name, _ in registry.on(date(2026, 10, 31))] == ["村1", "村2"]
    assert [name for _, name, _ in registry.on(date(2026, 11, 1))] == ["新村"]


def test_a_code_that_is_given_several_times_is_its_whole_history(registry: Registry) -> None:
    registry.take(village(1))
    first = replace(village(1, name="旧村"), valid_until=date(2025, 12, 31))
    second = replace(village(1, name="新村"), valid_from=date(2026, 1, 1))
    registry.take(second, first)
    assert registry.on(date(2025, 6, 1))[0][1] == "旧村"
    assert registry.on(TODAY)[0][1] == "新村"


def test_a_mistake_may_be_mended_for_all_time(registry: Registry) -> None:
    registry.take(village(1), village(2))
    registry.take(village(1, metres=40), village(2), valid_from=ALWAYS)
    assert registry.versions(1) == [(ALWAYS, None)]
    assert registry.on(date(2020, 1, 1))[0][2] == 104.1004


lists = st.dictionaries(
    st.integers(1, 5),
    st.tuples(st.sampled_from([0, 40, 80]), st.sampled_from(["甲村", "乙村"])),
    min_size=1,
    max_size=5,
).map(lambda said: [village(number, metres, name) for number, (metres, name) in said.items()])


@settings(deadline=None)
@given(st.lists(st.tuples(lists, st.integers(0, 3)), min_size=1, max_size=6))
def test_an_import_never_changes_a_day_before_it(imports: list[tuple[list[Village], int]]) -> None:
    """And on its own day exactly the list that was given is in force; of each code one version at most."""
    registry, today = Registry(), TODAY
    entries: list[RegistryEntry] = []
    for given_list, days in imports:
        today += timedelta(days=days)
        earlier = {day: registry.on(day) for day in (TODAY - timedelta(days=400), today - timedelta(days=1))}
        plan = registry.take(*given_list, today=today)
        entries += registry.written
        assert plan.judged_anew == ()
        if not plan.first:
            assert {day: registry.on(day) for day in earlier} == earlier
        wanted = sorted((one.code[-1], one.name, round(one.centre_longitude_deg, 7)) for one in given_list)
        assert sorted(registry.on(today)) == wanted
        codes = [code for code, _, _ in registry.on(today)]
        assert len(codes) == len(set(codes))
    assert RegistryState.after(entries).index == registry.state.index
