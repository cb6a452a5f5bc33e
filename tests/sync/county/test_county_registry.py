"""The registry as a log in the county's tables: every change signed, nothing overwritten, safe with several workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from county_month import QUICK, TOWNSHIP, Founded, at
from sqlalchemy import insert, select

from devices.clock import SimulatedClock
from sync.county.app import County, open_county
from sync.county.registry import RegistryRefused
from sync.county.schema import checkpoints, entries, logs
from sync.county.schema import registry as old_table
from sync.county.settings import CountySettings
from sync.county.village_shift import VillagesShifted, standing_places
from sync.formats.merkle import root_of, verify_consistency
from sync.formats.notes import ED25519, Checkpoint, Note, SeedSigner, b64, unb64
from sync.formats.wire import Tile
from sync.keys.key_roles import KeyInTwoRoles
from sync.proof.areas import read_villages
from sync.proof.gcj02 import Place, to_gcj02
from sync.proof.registry_entries import RegistryDraft, registry_origin, village_fields
from sync.proof.registry_state import RegistryState

ORIGIN = "county.qingyu.example"
SEPTEMBER = date(2026, 9, 1)
Open = Callable[[], County]


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(at(9, 1, 8))


@pytest.fixture
def open_one(request: pytest.FixtureRequest, tmp_path: Path, clock: SimulatedClock) -> Iterator[Open]:
    """Opens the same county again and again, each time as another worker would.

    On SQLite; on both databases for a test that asks for ``database_url``.
    """
    url = request.getfixturevalue("database_url") if "database_url" in request.fixturenames else ""
    settings = CountySettings(name="青峪县", data=tmp_path / "data", origin=ORIGIN, database=url)
    with ExitStack() as stack:

        def open_it() -> County:
            county = open_county(settings, clock, hasher=QUICK)
            stack.callback(county.close)
            return county

        yield open_it


@pytest.fixture
def county(open_one: Open) -> County:
    return open_one()


def township() -> dict[str, Any]:
    geojson: dict[str, Any] = json.loads(TOWNSHIP.read_text(encoding="utf-8"))
    return geojson


def checkpoints_of(county: County) -> list[Note]:
    rows = county.database.rows(
        select(checkpoints).where(checkpoints.c.origin == county.registry.origin).order_by(checkpoints.c.size)
    )
    return [Note.parse(row["note"]) for row in rows]


def all_entries(county: County) -> RegistryState:
    size = county.registry.state().size
    return RegistryState.after(county.registry.entries(0, size))


def test_every_change_is_signed_by_the_registry_and_cosigned_by_the_county(county: County, database_url: str) -> None:
    registry = county.registry
    registry.import_villages(township(), by="xu.jing")
    registry.set_rules({"days_apart": 7}, by="xu.jing")
    registry.waive("999901101201", "2026-09", "大雪封路", by="xu.jing")
    assert registry.origin == registry_origin(ORIGIN) == "registry.county.qingyu.example"
    notes = checkpoints_of(county)
    assert len(notes) == 3
    for note in notes:
        assert {signature.name for signature in note.verified_by([registry.verifier_key, county.verifier_key])} == {
            registry.origin,
            ORIGIN,
        }
        size = Checkpoint.parse(note.text).size
        leaves = county.mirror.leaves(registry.origin, 0, size)
        assert root_of(leaves) == Checkpoint.parse(note.text).root
        assert registry.entries(size - 1, size)[0].kind == "index/1"
    assert county.mirror.checkpoint(registry.origin) == bytes(notes[-1])
    state = registry.state()
    assert (state.size, all_entries(county).index) == (Checkpoint.parse(notes[-1].text).size, state.index)


def test_tiles_of_the_registry_are_served_like_those_of_a_vehicle(county: County) -> None:
    county.registry.import_villages(township(), by="xu.jing")
    size = county.registry.state().size
    tile = county.mirror.tile(county.registry.origin, Tile(0, 0, size))
    assert tile == b"".join(county.mirror.leaves(county.registry.origin, 0, size))


def test_what_one_worker_writes_the_others_see(open_one: Open, database_url: str) -> None:
    first, second = open_one(), open_one()
    first.registry.import_villages(township(), by="xu.jing")
    assert len(second.registry.villages()) == 12
    first.registry.set_rules({"staff": 3}, by="xu.jing")
    second.registry.set_rules({"staff": 4}, by="xu.jing")
    assert (first.registry.rules().version, first.registry.rules().staff) == (3, 4)
    assert second.registry.verifier_key == first.registry.verifier_key


def test_workers_that_write_at_once_lose_nothing(open_one: Open, database_url: str) -> None:
    """Each waiver is added to what the month has: a lost update would show as a missing village."""
    workers = [open_one() for _ in range(3)]
    workers[0].registry.import_villages(township(), by="xu.jing")
    codes = [village.code for village in workers[0].registry.villages()]

    def write(place: int) -> None:
        registry = workers[place % 3].registry
        registry.waive(codes[place], "2026-09", f"大雪封路 {place}", by=f"worker-{place % 3}")
        registry.decide(SEPTEMBER, {f"visit-{place}": "van-07.qingyu.example"}, "counted", "电话核实", by="he.ming")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(12)))
    for worker in workers:
        assert {code: waiver.reason for code, waiver in worker.registry.waivers(SEPTEMBER).items()} == {
            code: f"大雪封路 {place}" for place, code in enumerate(codes)
        }
        assert sorted(worker.registry.reviews(SEPTEMBER)) == sorted(f"visit-{place}" for place in range(12))
    state = all_entries(workers[0])
    assert state.index == workers[1].registry.state().index
    notes = checkpoints_of(workers[0])
    assert len(notes) == 25
    assert len({Checkpoint.parse(note.text).size for note in notes}) == 25


def test_a_refused_change_leaves_nothing_behind(county: County) -> None:
    county.registry.import_villages(township(), by="xu.jing")
    size = county.registry.state().size
    draft = RegistryDraft("waivers/1", {"month": "2026-09", "waived": {"1": {}}})
    with pytest.raises(RegistryRefused, match="waived is not of type"):
        county.registry.append(draft, by="xu.jing")
    for decision, reason in (("maybe", "电话核实"), ("counted", " ")):
        with pytest.raises(RegistryRefused):
            county.registry.decide(SEPTEMBER, {"visit-1": "van-07"}, decision, reason, by="xu.jing")
    fine = {**township()["features"][0], "geometry": {"type": "Polygon", "coordinates": [_spiral(4000)]}}
    with pytest.raises(RegistryRefused, match="simplify its outline"):
        county.registry.import_villages({"type": "FeatureCollection", "features": [fine]}, by="xu.jing")
    assert county.registry.state().size == size
    assert county.mirror.log(county.registry.origin).next_entry == size


def _spiral(points: int) -> list[list[float]]:
    ring = [[104 + place * 1e-5, 31 + (place % 2) * 1e-3] for place in range(points)]
    return [*ring, ring[0]]


def test_villages_are_what_the_list_says(county: County) -> None:
    county.registry.import_villages(township(), by="xu.jing")
    given = read_villages(township())
    assert [village_fields(village) for village in county.registry.villages()] == sorted(
        (village_fields(village) for village in given), key=lambda fields: str(fields["code"])
    )
    for village in given:
        around = county.registry.state().villages_around(village.code)
        assert around[0].code == village.code
        assert len(around) > 1


def test_what_stood_in_the_old_table_is_carried_over_once(
    tmp_path: Path, database_url: str, open_one: Open, clock: SimulatedClock
) -> None:
    """Times and accounts stay: rules made after a month was settled must not judge it."""
    county = open_one()
    old = [
        ("villages", at(3, 1, 8), {**township(), "features": township()["features"][:3]}),
        ("rules", at(3, 2, 8), {"version": 2, "staff": 3}),
        ("villages", at(4, 1, 8), township()),
        ("waiver", at(5, 1, 8), {"village": "999901101201", "month": "2026-05-01", "reason": "塌方"}),
        ("rules", at(8, 2, 8), {"version": 3, "staff": 4}),
        ("waiver", at(8, 3, 8), {"village": "999901101201", "month": "2026-05-01", "reason": "塌方未通"}),
    ]
    with county.database.write() as connection:
        for kind, when, body in old:
            connection.execute(insert(old_table).values(kind=kind, at=when, by="xu.jing", body=json.dumps(body)))
    registry = open_one().registry
    assert len(registry.villages()) == 12
    assert [village.valid_until for village in registry.villages()] == [None] * 12
    assert [registry.rules_of(date(2026, month, 1)).staff for month in (1, 5, 9)] == [2, 3, 4]
    waiver = registry.waivers(date(2026, 5, 1))["999901101201"]
    assert (waiver.reason, waiver.by, waiver.at) == ("塌方未通", "xu.jing", at(8, 3, 8))
    size = registry.state().size
    assert open_one().registry.state().size == size


def test_one_key_in_two_roles_stops_the_county(tmp_path: Path, open_one: Open) -> None:
    open_one()
    keys = tmp_path / "data" / "keys"
    seed = unb64((keys / "county.key").read_text().strip().split("+", 4)[4])[1:]
    key = SeedSigner(registry_origin(ORIGIN), seed)
    encoded = b64(bytes([ED25519]) + seed)
    (keys / "registry.key").write_text(f"PRIVATE+KEY+{key.name}+{key.verifier_key().key_id.hex()}+{encoded}\n")
    with pytest.raises(KeyInTwoRoles, match=r"the county and its registry have the same key"):
        open_one()


def test_reading_all_entries_again_leaves_the_registry_alone(county: County) -> None:
    county.registry.import_villages(township(), by="xu.jing")
    county.interpreter.rebuild()
    log = county.database.row(select(logs).where(logs.c.origin == county.registry.origin))
    assert log is not None
    assert log["interpreted"] == log["next_entry"]


def test_an_older_checkpoint_is_a_prefix_of_a_newer_one(county: County) -> None:
    county.registry.import_villages(township(), by="xu.jing")
    county.registry.set_rules({"staff": 3}, by="xu.jing")
    old, new = (Checkpoint.parse(note.text) for note in checkpoints_of(county))
    proof = county.mirror.consistency(county.registry.origin, old.size, new.size)
    assert verify_consistency(old.size, old.root, new.size, new.root, proof)
    assert len(county.database.rows(select(entries.c.n).where(entries.c.origin == county.registry.origin))) == new.size


# lists that lie beside the villages -----------------------------------------------------------------------------------


def shifted(geojson: dict[str, Any], shift: Callable[[Place], Place]) -> dict[str, Any]:
    def moved(point: Sequence[float]) -> list[float]:
        latitude, longitude = shift((point[1], point[0]))
        return [longitude, latitude]

    def feature(of: dict[str, Any]) -> dict[str, Any]:
        geometry = of["geometry"]
        point = geometry["type"] == "Point"
        coordinates = geometry["coordinates"]
        there = moved(coordinates) if point else [[moved(p) for p in ring] for ring in coordinates]
        properties = dict(of["properties"])
        if "centre" in properties:
            properties["centre"] = moved(properties["centre"])
        return {**of, "geometry": {**geometry, "coordinates": there}, "properties": properties}

    return {**geojson, "features": [feature(of) for of in geojson["features"]]}


def test_a_list_in_gcj02_is_refused_with_figures_and_taken_with_a_reason(county: County) -> None:
    county.registry.import_villages(township(), by="xu.jing")
    from_the_web = shifted(township(), to_gcj02)
    size = county.registry.state().size
    with pytest.raises(VillagesShifted, match=r"gcj02_suspected: 12 of 12 villages lie \d+ m to the") as caught:
        county.registry.import_villages(from_the_web, by="xu.jing")
    assert caught.value.code == "gcj02_suspected"
    assert county.registry.state().size == size
    with pytest.raises(RegistryRefused, match="needs a reason"):
        county.registry.import_villages(from_the_web, by="xu.jing", accept_shift=" ")
    county.registry.import_villages(from_the_web, by="xu.jing", accept_shift="省里重测")
    listed = county.registry.entry(county.registry.villages_version)
    assert listed.fields["note"] == "gcj02_suspected accepted: 省里重测"
    with pytest.raises(VillagesShifted, match="as if that were GCJ-02"):
        county.registry.import_villages(township(), by="xu.jing")


def test_a_common_shift_is_refused(county: County) -> None:
    county.registry.import_villages(township(), by="xu.jing")
    south = shifted(township(), lambda place: (place[0] - 0.001, place[1]))
    with pytest.raises(VillagesShifted, match="common_shift: 12 of 12 villages lie 111 m to the south of the list"):
        county.registry.import_villages(south, by="xu.jing")


async def test_a_first_list_is_compared_with_where_the_vans_stood(tmp_path: Path) -> None:
    """The vans were there before the county had a list of villages."""
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
    van = founded.van("van-07", practice=True)
    for place, village in enumerate(founded.villages[:6]):
        van.visit(village, at(9, 2 + place, 8), 60)
    await van.deliver()
    stood = standing_places(founded.county.database, founded.county.visits)
    assert set(stood) == {village.code for village in founded.villages[:6]}
    settings = CountySettings(name="青峪县", data=tmp_path / "fresh", origin=ORIGIN)
    fresh = open_county(settings, founded.clock, hasher=QUICK)
    from_the_web = shifted(township(), to_gcj02)
    with pytest.raises(VillagesShifted, match=r"gcj02_suspected: 6 of 6 villages .* where the vans really stood"):
        fresh.registry.import_villages(from_the_web, by="xu.jing", stood=stood)
    fresh.registry.import_villages(township(), by="xu.jing", stood=stood)
    assert len(fresh.registry.villages()) == 12
    fresh.close()
    founded.close()
