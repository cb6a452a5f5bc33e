"""The registry as entries: what each kind takes, and villages in whole numbers."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_examples import EXAMPLES

from sync.formats.canonical import dumps
from sync.proof.areas import ALWAYS, Village, read_villages
from sync.proof.registry_entries import (
    KINDS,
    NEIGHBOUR_M,
    RegistryDraft,
    RegistryDraftRefused,
    RegistryUnreadable,
    neighbours_of,
    read_registry_entry,
    village_fields,
    village_of,
    write_registry_entry,
)
from sync.proof.registry_state import Index

TOWNSHIP = Path(__file__).parents[3] / "xunzhen" / "demo" / "township.geojson"
NOW = datetime(2026, 9, 3, 1, 2, 3, 456_000, tzinfo=UTC)


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
