"""What the registry's entries say together: its index, the rules of a month, waivers, decisions, keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_examples import EXAMPLES

from sync.proof.coverage import Rules
from sync.proof.registry_entries import (
    RegistryContradicts,
    RegistryDraft,
    RegistryDraftRefused,
    RegistryEntry,
    RegistryUnreadable,
    write_registry_entry,
)
from sync.proof.registry_state import Change, Decision, Index, RegistryState, Waiver, written_change

NOW = datetime(2026, 9, 3, 1, 2, 3, 456_000, tzinfo=UTC)
SEPTEMBER = date(2026, 9, 1)


def test_nothing_is_in_force_at_first() -> None:
    empty = RegistryState()
    assert (empty.villages(), empty.villages_version, empty.rules()) == ((), 0, Rules())
    assert (empty.waivers(SEPTEMBER), empty.reviews(SEPTEMBER), empty.verdicts(SEPTEMBER)) == ({}, {}, {})
    assert (empty.vehicle("van-07"), empty.vehicles(), empty.villages_around("999901101201")) == (None, {}, ())


class Book:
    """A registry that grows in memory, with what it should say beside it."""

    def __init__(self) -> None:
        self.entries: list[RegistryEntry] = []
        self.state = RegistryState()
        self.at = NOW

    def change(self, change: Change) -> list[RegistryEntry]:
        self.at += timedelta(seconds=1)
        written = written_change(self.state, change, self.at, "xu.jing")
        self.entries += written
        self.state = self.state.apply(written)
        return written


def waiver(code: int, reason: str = "大雪封路", month: date = SEPTEMBER) -> Waiver:
    return Waiver(f"{code:012d}", month, reason, "xu.jing", NOW)


def decided(decision: str = "counted", reason: str = "电话核实") -> Decision:
    return Decision("van-07.qingyu.example", decision, reason, "xu.jing", NOW)


def test_every_change_closes_with_its_index() -> None:
    book = Book()
    for number in range(3):
        written = book.change(lambda state, n, number=number: [state.waive(waiver(number))])
        assert [entry.kind for entry in written] == ["waivers/1", "index/1"]
    assert written_change(book.state, lambda state, n: [], NOW, "xu.jing") == []
    assert [entry.n for entry in book.entries] == list(range(6))
    with pytest.raises(RegistryDraftRefused, match="by the registry itself"):
        book.change(lambda state, n: [Index().draft()])


def test_an_index_that_points_to_older_rules_is_found_out() -> None:
    book = Book()
    book.change(lambda state, n: [state.change_rules(Rules(version=2, staff=3))])
    book.change(lambda state, n: [state.change_rules(Rules(version=3, staff=4))])
    assert book.state.rules().staff == 4
    assert [entry.n for entry in book.state.rules_chain()] == [2, 0]
    forged = write_registry_entry(Index(rules=0).draft(), 4, book.at, "xu.jing")
    with pytest.raises(RegistryUnreadable, match="index at 4 does not say"):
        book.state.apply([forged])
    with pytest.raises(RegistryUnreadable, match="not followed by an index"):
        RegistryState.after(book.entries[:3])
    with pytest.raises(RegistryUnreadable, match="entry 1 of the registry is missing"):
        RegistryState.after([book.entries[0], *book.entries[2:]])


def test_no_entry_says_an_earlier_time_than_the_one_before_it() -> None:
    """Else rules of today could be dated into a month that is judged already."""
    book = Book()
    book.change(lambda state, n: [state.change_rules(Rules(version=2, staff=3))])
    back_dated = RegistryDraft("rules/1", {"version": 3, "rules": Rules(version=3, staff=1).as_json(), "before": 0})
    earlier = book.at - timedelta(days=40)
    forged = [
        write_registry_entry(back_dated, 2, earlier, "xu.jing"),
        write_registry_entry(replace(book.state.index, rules=2).draft(), 3, book.at, "xu.jing"),
    ]
    with pytest.raises(RegistryContradicts, match="entry 2 of the registry says 2026") as caught:
        book.state.apply(forged)
    assert caught.value.code == "registry_backdated"
    with pytest.raises(RegistryContradicts):
        RegistryState.after([*book.entries, *forged])


def test_a_clock_that_was_set_back_makes_no_entry_older_than_the_one_before() -> None:
    book = Book()
    book.change(lambda state, n: [state.waive(waiver(1))])
    reached = book.at
    book.at -= timedelta(days=3)
    (again, _) = book.change(lambda state, n: [state.waive(waiver(2))])
    assert again.at == reached


def test_rules_that_leave_a_version_out_are_refused() -> None:
    """The months of the version between would be judged by others."""
    book = Book()
    for staff in (3, 4):
        book.change(lambda state, n, staff=staff: [state.change_rules(Rules(version=n + 2, staff=staff))])
    fields = {"version": 9, "rules": Rules(version=9).as_json()}
    for before in ({}, {"before": 0}):
        draft = RegistryDraft("rules/1", {**fields, **before})
        forged = [
            write_registry_entry(draft, 4, book.at, "xu.jing"),
            write_registry_entry(replace(book.state.index, rules=4).draft(), 5, book.at, "xu.jing"),
        ]
        with pytest.raises(RegistryContradicts, match="do not go on from") as caught:
            book.state.apply(forged)
        assert caught.value.code == "rules_left_out"


@pytest.mark.parametrize(
    ("kind", "field", "item"),
    [
        ("waivers/1", "waived", {"reason": "大雪封路", "by": "xu.jing", "at": "2026-09-03T01:02:03.456Z"}),
        ("reviews/1", "decided", next(iter(EXAMPLES["reviews/1"]["decided"].values()))),
    ],
)
def test_a_newer_list_holds_what_the_one_before_held(kind: str, field: str, item: dict[str, Any]) -> None:
    book = Book()
    first, second = ("999901101201", "999901101202") if kind == "waivers/1" else ("visit-a", "visit-b")
    book.change(lambda state, n: [RegistryDraft(kind, {"month": "2026-09", field: {first: item}})])

    def forged(said: dict[str, Any]) -> list[RegistryEntry]:
        place = {field.replace("waived", "waivers").replace("decided", "reviews"): {"2026-09": 2}}
        written = write_registry_entry(RegistryDraft(kind, {"month": "2026-09", **said}), 2, book.at, "xu.jing")
        return [written, write_registry_entry(replace(book.state.index, **place).draft(), 3, book.at, "xu.jing")]

    for said in ({field: {}}, {field: {second: item}}):
        with pytest.raises(RegistryContradicts, match=f"no longer says what was {field} about {first}") as caught:
            book.state.apply(forged(said))
        assert caught.value.code == "registry_item_dropped"
    for good in ({field: {first: item, second: item}}, {field: {second: item}, "before": 0}):
        assert book.state.apply(forged(good)).size == 4
    other = {"month": "2026-10", field: {second: item}}
    assert book.change(lambda state, n: [RegistryDraft(kind, other)])[0].n == 2


def test_a_waiver_that_is_withdrawn_stays_in_the_list_as_withdrawn() -> None:
    book = Book()
    for number in (1, 2):
        book.change(lambda state, n, number=number: [state.waive(waiver(number))])
    book.change(lambda state, n: [state.waive(replace(waiver(1, "写错了村"), withdrawn=True))])
    assert list(book.state.waivers(SEPTEMBER)) == ["000000000002"]
    (said, _) = book.entries[-2:]
    assert said.fields["waived"]["000000000001"]["withdrawn"] is True
    assert RegistryState.after(book.entries).waivers(SEPTEMBER) == book.state.waivers(SEPTEMBER)
    book.change(lambda state, n: [state.waive(waiver(1, "又封路"))])
    assert book.state.waivers(SEPTEMBER)["000000000001"].reason == "又封路"


def test_a_chain_that_leads_forward_is_refused() -> None:
    fields = {**EXAMPLES["rules/1"], "before": 1}
    entries = [
        write_registry_entry(RegistryDraft("rules/1", fields), 0, NOW, "x"),
        write_registry_entry(Index(rules=0).draft(), 1, NOW, "x"),
    ]
    with pytest.raises(RegistryUnreadable, match="not before it"):
        list(RegistryState.shown(entries).rules_chain())


def test_a_few_entries_say_the_same_as_all() -> None:
    book = Book()
    book.change(lambda state, n: [state.change_rules(Rules(version=2, staff=3))])
    book.change(lambda state, n: [state.waive(waiver(1))])
    book.change(lambda state, n: [RegistryDraft("vehicle/1", EXAMPLES["vehicle/1"])])
    shown = RegistryState.shown([book.entries[0], book.entries[-1]])
    assert shown.size == book.state.size
    assert shown.rules() == book.state.rules()
    with pytest.raises(RegistryUnreadable, match="entry 2 of the registry is not here"):
        shown.waivers(SEPTEMBER)
    vehicle = book.state.vehicle("van-07.qingyu.example")
    assert vehicle is not None
    assert [key.until_size for key in vehicle.keys] == [10, None]
    assert vehicle.revoked is not None
    assert vehicle.revoked.size == 20
    assert book.state.vehicles() == {vehicle.origin: vehicle}
    with pytest.raises(RegistryUnreadable, match="no entry"):
        RegistryState.shown([])
    with pytest.raises(RegistryUnreadable, match="not an index"):
        RegistryState.shown(book.entries[:1])


def test_a_sealed_verdict_is_read_back() -> None:
    book = Book()
    book.change(lambda state, n: [RegistryDraft("verdict/1", EXAMPLES["verdict/1"])])
    (verdict,) = book.state.verdicts(SEPTEMBER).values()
    assert (verdict.township, verdict.rules, verdict.village_list, verdict.supersedes) == ("青峪镇", 4, 2, 7)
    (visit,) = verdict.villages["999901101201"].visits
    assert (visit.day, visit.state, visit.reasons) == (date(2026, 9, 8), "short", ("too_short",))


def test_a_month_with_very_many_decisions_goes_on_in_further_entries() -> None:
    book = Book()
    wanted = {}
    for number in range(150):
        wanted[f"visit-{number}"] = decided(reason="核" * 200)
        book.change(
            lambda state, n, number=number: [state.decide(SEPTEMBER, {f"visit-{number}": decided(reason="核" * 200)})]
        )
    book.change(lambda state, n: [state.decide(SEPTEMBER, {"visit-0": decided("refused")})])
    wanted["visit-0"] = decided("refused")
    assert book.state.reviews(SEPTEMBER) == wanted
    assert max(len(entry.body) for entry in book.entries) <= 60_000


def test_an_index_never_outgrows_an_entry() -> None:
    """Fifty townships for twelve years: it names the newest months, and always whole ones."""
    index = Index()
    fields = {**EXAMPLES["verdict/1"], "villages": {}}
    for month in range(144):
        for township in range(50):
            said = {"month": f"{2026 + month // 12}-{month % 12 + 1:02d}", "township_code": f"5199{township:05d}"}
            entry = RegistryEntry(10**6 + month * 50 + township, "verdict/1", NOW, "sealing", {**fields, **said}, b"")
            index = index.after(entry)
    assert len(write_registry_entry(index.draft(), 9, NOW, "sealing").body) < 50_000
    assert max(index.verdicts) == "2037-12"
    assert {len(month) for month in index.verdicts.values()} == {50}
    assert len(index.verdicts) == 48


rules_drawn = st.builds(
    lambda staff, days: {"staff": staff, "provisional_days": days}, st.integers(0, 9), st.integers(0, 30)
)
steps = st.one_of(
    st.tuples(st.just("rules"), rules_drawn, st.integers(0, 40)),
    st.tuples(st.just("waive"), st.integers(0, 5), st.text("雪路", min_size=2, max_size=5)),
    st.tuples(st.just("decide"), st.integers(0, 5), st.sampled_from(["counted", "refused"])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25))
def test_the_state_is_what_plain_bookkeeping_says(taken: list[tuple[str, Any, Any]]) -> None:
    """Against a dictionary for each thing; and however the entries are cut, following them gives the same."""
    book = Book()
    rules = [(date(1970, 1, 1), Rules())]
    waived: dict[str, str] = {}
    decisions: dict[str, str] = {}
    for what, one, other in taken:
        if what == "rules":
            book.at += timedelta(days=other)
            changed = Rules(version=rules[-1][1].version + 1, **one)
            book.change(lambda state, n, changed=changed: [state.change_rules(changed)])
            rules.append(((book.at + timedelta(hours=8)).date(), changed))
        elif what == "waive":
            waived[f"{one:012d}"] = other
            book.change(lambda state, n, one=one, other=other: [state.waive(waiver(one, other))])
        else:
            decisions[str(one)] = other
            book.change(lambda state, n, one=one, other=other: [state.decide(SEPTEMBER, {str(one): decided(other)})])
        assert book.entries[-1].kind == "index/1"
        assert RegistryState.shown(book.entries).index == book.state.index
    assert book.state.rules() == rules[-1][1]
    judged_by = rules[0][1]
    for since, changed in rules[1:]:
        if since > date(2026, 9, 30) + timedelta(days=judged_by.provisional_days):
            break
        judged_by = changed
    assert book.state.rules_of(SEPTEMBER) == judged_by
    assert {code: one.reason for code, one in book.state.waivers(SEPTEMBER).items()} == waived
    assert {visit: one.decision for visit, one in book.state.reviews(SEPTEMBER).items()} == decisions
    again = RegistryState.after(book.entries)
    assert (again.size, again.index) == (book.state.size, book.state.index)
