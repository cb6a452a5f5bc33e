"""The registry as entries: what each kind takes, villages in whole numbers, and what the index says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.formats.canonical import dumps
from sync.proof.areas import ALWAYS, Village, read_villages
from sync.proof.coverage import Rules
from sync.proof.registry_entries import (
    KINDS,
    NEIGHBOUR_M,
    RegistryContradicts,
    RegistryDraft,
    RegistryDraftRefused,
    RegistryEntry,
    RegistryUnreadable,
    neighbours_of,
    read_registry_entry,
    village_fields,
    village_of,
    write_registry_entry,
)
from sync.proof.registry_state import (
    Change,
    Decision,
    Index,
    RegistryState,
    Waiver,
    written_change,
)

TOWNSHIP = Path(__file__).parents[3] / "xunzhen" / "demo" / "township.geojson"
NOW = datetime(2026, 9, 3, 1, 2, 3, 456_000, tzinfo=UTC)
SEPTEMBER = date(2026, 9, 1)
VKEY = "van-07.qingyu.example+00000000+AA=="

EXAMPLES: dict[str, dict[str, Any]] = {
    "village/1": {
        "code": "999901101201",
        "name": "王家村",
        "township": "青峪镇",
        "valid_from": "1970-01-01",
        "valid_until": "2026-12-31",
        "centre": [1040000000, 310000000],
        "rings": [[[1039900000, 309900000], [1040100000, 309900000], [1040000000, 310100000]]],
        "neighbours": ["999901101202"],
        "cells": ["460-00-1-2"],
    },
    "village_list/1": {"villages": {"999901101201": [0]}},
    "rules/1": {"version": 2, "rules": Rules(version=2).as_json()},
    "screening_rules/1": {
        "edition": 2,
        "sha256": "ab" * 32,
        "file": "eJyrVkrLz1eyUkpKLFKqBQAjUgRX",
        "name": "许静",
        "reason": "县专家组 9 月会议",
        "rules": ["BP-GRADE"],
        "before": 4,
    },
    "waivers/1": {
        "month": "2026-09",
        "waived": {"999901101201": {"reason": "大雪封路", "by": "xu.jing", "at": "2026-09-03T01:02:03.456Z"}},
    },
    "reviews/1": {
        "month": "2026-09",
        "decided": {
            "visit-1": {
                "origin": "van-07.qingyu.example",
                "decision": "counted",
                "reason": "电话核实",
                "by": "xu.jing",
                "at": "2026-09-03T01:02:03.456Z",
            }
        },
        "before": 3,
    },
    "vehicle/1": {
        "origin": "van-07.qingyu.example",
        "vehicle": "van-07",
        "plate": "川A·演07",
        "keys": [{"key": VKEY, "from_size": 0, "until_size": 10}, {"key": VKEY, "from_size": 10}],
        "revoked": {"size": 20, "at": "2026-09-03T01:02:03.456Z", "reason": "失窃"},
        "succeeds": "van-06.qingyu.example",
    },
    "verdict/1": {
        "month": "2026-09",
        "township": "青峪镇",
        "township_code": "999901101",
        "practice": False,
        "rules": 4,
        "village_list": 2,
        "villages": {
            "999901101201": {
                "state": "partial",
                "counted": 1,
                "visits": [
                    {
                        "visit": "visit-1",
                        "origin": "van-07.qingyu.example",
                        "day": "2026-09-08",
                        "state": "short",
                        "reasons": ["too_short"],
                    }
                ],
            }
        },
        "supersedes": 7,
    },
    "index/1": {
        "rules": 4,
        "village_list": 2,
        "waivers": {"2026-09": 5},
        "reviews": {},
        "vehicles": {"van-07.qingyu.example": 6},
        "verdicts": {"2026-08": {"999901101": 7}},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_as_it_was_written(kind: str) -> None:
    written = write_registry_entry(RegistryDraft(kind, EXAMPLES[kind]), 9, NOW, "xu.jing")
    assert read_registry_entry(written.body, 9) == written
    assert written.at == NOW
    with pytest.raises(RegistryUnreadable, match="place"):
        read_registry_entry(written.body, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_without_a_field_or_with_another_type_is_refused(kind: str) -> None:
    for name, wanted in KINDS[kind].items():
        wrong = {**EXAMPLES[kind], name: 1.5}
        with pytest.raises(RegistryDraftRefused, match=f"{name} is not of type"):
            write_registry_entry(RegistryDraft(kind, wrong), 0, NOW, "xu.jing")
        if not wanted.endswith("?"):
            less = {key: value for key, value in EXAMPLES[kind].items() if key != name}
            with pytest.raises(RegistryDraftRefused, match=f"{name} is missing"):
                write_registry_entry(RegistryDraft(kind, less), 0, NOW, "xu.jing")
            said = {**less, "kind": kind, "n": 0, "at": "2026-09-03T01:02:03.456Z", "by": "xu.jing"}
            with pytest.raises(RegistryUnreadable, match=f"{name} is missing"):
                read_registry_entry(dumps(said))
    with pytest.raises(RegistryDraftRefused, match="not in the table"):
        write_registry_entry(RegistryDraft(kind, {**EXAMPLES[kind], "more": 1}), 0, NOW, "xu.jing")


def test_unknown_kinds_and_fields_are_kept_and_change_nothing() -> None:
    said = {"kind": "anthem/1", "n": 0, "at": "2026-09-03T01:02:03.456Z", "by": "xu.jing", "verse": 1}
    entry = read_registry_entry(dumps(said), 0)
    assert entry.fields == {"verse": 1}
    assert Index().after(entry) == Index()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"\xff", b'{"kind":"rules/1"}', b'{"at":"2026-09-03","by":"x","kind":"rules/1","n":0}'],
)
def test_what_is_no_entry_is_called_so(body: bytes) -> None:
    with pytest.raises(RegistryUnreadable):
        read_registry_entry(body)


def test_an_outline_that_is_too_fine_is_refused_with_the_remedy() -> None:
    ring = [[1040000000 + place, 310000000 + place % 7] for place in range(4000)]
    fields = {**EXAMPLES["village/1"], "rings": [ring]}
    with pytest.raises(RegistryDraftRefused, match=r"王家村.*simplify its outline to about 5 m"):
        write_registry_entry(RegistryDraft("village/1", fields), 0, NOW, "xu.jing")


# villages in whole numbers --------------------------------------------------------------------------------------------

degrees = st.tuples(st.floats(103, 105), st.floats(30, 32))
areas = st.one_of(st.none(), st.lists(st.lists(degrees, min_size=3, max_size=8).map(tuple), min_size=1, max_size=3))


@st.composite
def any_village(draw: st.DrawFn) -> Village:
    rings = draw(areas)
    longitude, latitude = draw(degrees)
    since = draw(st.one_of(st.just(ALWAYS), st.dates(date(2020, 1, 1), date(2030, 1, 1))))
    lasts = draw(st.one_of(st.none(), st.integers(0, 1000)))
    return Village(
        code=draw(st.from_regex(r"\A[0-9]{12}\Z")),
        name=draw(st.text("王家村青峪", min_size=1)),
        township="青峪镇",
        polygon=tuple(rings) if rings else None,
        centre_latitude_deg=latitude,
        centre_longitude_deg=longitude,
        radius_m=draw(st.floats(50, 20_000)) if rings is None else 1500.0,
        valid_from=since,
        valid_until=since + timedelta(days=lasts) if lasts is not None else None,
        cells=tuple(draw(st.lists(st.from_regex(r"\A460-0[0-9]-[1-9]-[1-9]\Z"), max_size=3, unique=True))),
    )


@given(any_village())
def test_a_village_written_and_read_is_the_same_to_a_centimetre_and_then_for_ever(village: Village) -> None:
    fields = village_fields(village, ["999901101202"])
    entry = write_registry_entry(RegistryDraft("village/1", fields), 0, NOW, "xu.jing")
    read = village_of(read_registry_entry(entry.body).fields)
    assert village_fields(read, ["999901101202"]) == fields
    assert village_of(village_fields(read)) == read
    assert (read.code, read.name, read.valid_from, read.valid_until) == (
        village.code,
        village.name,
        village.valid_from,
        village.valid_until,
    )
    assert sorted(read.cells) == sorted(village.cells)
    assert abs(read.centre_latitude_deg - village.centre_latitude_deg) <= 0.51e-7
    assert abs(read.radius_m - village.radius_m) <= 0.5
    for ring, before in zip(read.polygon or (), village.polygon or (), strict=True):
        assert len(ring) == len(before)
        for point, exact in zip(ring, before, strict=True):
            assert point == pytest.approx(exact, abs=0.51e-7)


@given(st.lists(any_village(), max_size=8, unique_by=lambda village: village.code))
def test_neighbours_are_mutual_and_are_those_whose_boxes_are_near(villages: list[Village]) -> None:
    found = neighbours_of(villages)
    degree = NEIGHBOUR_M / 111_195.08
    for village, codes in zip(villages, found, strict=True):
        for other, back in zip(villages, found, strict=True):
            assert (other.code in codes) == (village.code in back)
            west, south, east, north = village.box
            west_o, south_o, east_o, north_o = other.box
            touch = west <= east_o and west_o <= east and south <= north_o and south_o <= north
            apart = max(south_o - north, south - north_o) > degree * 1.001
            if village is other or apart:
                assert other.code not in codes
            elif touch:
                assert other.code in codes


def test_the_township_keeps_its_shape() -> None:
    villages = read_villages(json.loads(TOWNSHIP.read_text(encoding="utf-8")))
    around = neighbours_of(villages)
    assert len(villages) == 12
    assert all(around)
    for village, codes in zip(villages, around, strict=True):
        read = village_of(village_fields(village, codes))
        assert read.box == pytest.approx(village.box, abs=1e-7)
        assert village.code not in codes


# what is in force -----------------------------------------------------------------------------------------------------


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
