"""County databases of every version so far are opened for ever and brought up to date: add a file, never change one."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from county_month import QUICK, at
from sqlalchemy import MetaData, create_engine, inspect, select, text, update

from devices.clock import SimulatedClock
from sync.county import migrations
from sync.county.app import County, create_county, open_county
from sync.county.database import Database
from sync.county.schema import entry_facts, logs, meta, metadata, projected
from sync.county.settings import CountySettings
from sync.formats.merkle import root_of
from tests.sync.postgresql import PostgresqlServer

FOLDER = Path(__file__).with_name("county_databases")
SEVEN, NINE = "van-07.qingyu.example", "van-09.qingyu.example"
ROOTS = {
    SEVEN: "57e40aae2a5042645b188b34d52e4a73c287698b1fe50d39bbd0aec3e9bf7ff2",
    NINE: "a55dd03c5038290734e8cd7f953b14d53cf6b751a04230278242e869e2d168ab",
}


@pytest.fixture(params=sorted(path.name for path in FOLDER.iterdir()))
def old_sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    packed = (FOLDER / request.param).read_bytes()
    file = tmp_path / "old.db"
    file.write_bytes(zstandard.ZstdDecompressor().decompress(packed))
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, old_sqlite: str) -> str:
    if request.param == "sqlite":
        return old_sqlite
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    return _copied(old_sqlite, server.fresh_database())


def _copied(source: str, target: str) -> str:
    """The tables and rows of ``source``, with their types and constraints, in the database ``target``."""
    tables, ours, theirs = MetaData(), create_engine(source), create_engine(target)
    tables.reflect(ours)
    for table in tables.tables.values():
        for column in table.columns:
            column.type = column.type.as_generic()
    tables.create_all(theirs)
    with ours.connect() as read, theirs.begin() as write:
        for table in tables.sorted_tables:
            rows = [dict(row) for row in read.execute(select(table)).mappings()]
            if rows:
                write.execute(table.insert(), rows)
            if rows and "id" in table.columns and table.c.id.type.python_type is int:
                numbered = f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"
                write.execute(text(numbered))
    for engine in (ours, theirs):
        engine.dispose()
    return target


def _settings(folder: Path, database: str) -> CountySettings:
    return CountySettings(name="青峪县", data=folder / "county", origin="county.qingyu.example", database=database)


def _opened(folder: Path, database: str) -> County:
    return open_county(_settings(folder, database), SimulatedClock(at(9, 9, 8)), hasher=QUICK)


def _shape(url: str) -> dict[str, Any]:
    """Columns with type and nullability, keys and indexes of every table."""
    engine = create_engine(url)
    try:
        seen = inspect(engine)
        return {
            name: (
                sorted((column["name"], str(column["type"]), column["nullable"]) for column in seen.get_columns(name)),
                seen.get_pk_constraint(name)["constrained_columns"],
                sorted((str(index["name"]), index["column_names"]) for index in seen.get_indexes(name)),
                seen.get_foreign_keys(name),
            )
            for name in seen.get_table_names()
        }
    finally:
        engine.dispose()


def test_an_old_database_gets_the_shape_of_a_new_one(old: str, tmp_path: Path, database_url: str) -> None:
    if old.partition(":")[0] != database_url.partition(":")[0]:
        pytest.skip("another kind of database")
    _opened(tmp_path, old).close()
    _opened(tmp_path, database_url).close()
    updated, new = _shape(old), _shape(database_url)
    assert updated.keys() >= new.keys()
    assert {name: updated[name] for name in new} == new


def test_nothing_of_an_old_database_is_lost(old: str, tmp_path: Path) -> None:
    county = _opened(tmp_path, old)
    try:
        for origin, root in ROOTS.items():
            size = county.mirror.log(origin).mirror_size
            note = county.mirror.checkpoint(origin)
            assert note is not None
            leaves = county.mirror.leaves(origin, 0, size)
            assert root_of(leaves).hex() == root
            assert len(county.mirror.bodies(origin, 0, size)) == size
        assert {vehicle.plate for vehicle in county.fleet.all()} == {"川A·演07", "川A·演09"}
        assert len(county.accounts.all()) == 3
        assert len(county.registry.villages()) == 12
        assert [waiver.reason for waiver in county.registry.waivers(date(2026, 9, 1)).values()] == ["道路塌方"]
        assert county.audit.latest()
    finally:
        county.close()


def test_an_old_month_is_read_again_and_the_same(old: str, tmp_path: Path) -> None:
    app = create_county(_settings(tmp_path, old), SimulatedClock(at(9, 9, 8)), hasher=QUICK)
    county: County = app.state.county
    try:
        assert len(county.database.rows(select(entry_facts))) == 156 + 77
        assert len(county.database.rows(select(projected["patients"]))) == 9
        county.accounts.set_password("xu.jing", "practice-2580")

        async def month() -> Any:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://county.test") as client:
                await client.post("/sign-in", data={"account": "xu.jing", "password": "practice-2580"})
                return (await client.get("/api/coverage?month=2026-09")).json()

        villages = {village["name"]: village for village in asyncio.run(month())["villages"]}
        assert villages["老鹰岩村"]["state"] == "waived"
        assert [len(villages[name]["visits"]) for name in ("云坪村", "上湾村")] == [2, 1]
    finally:
        county.close()


def test_what_is_up_to_date_is_left_alone(database_url: str) -> None:
    Database(database_url, metadata, migrations.prepare).close()
    again = Database(database_url, metadata, migrations.prepare)
    with again.write() as connection:
        connection.execute(logs.insert().values(_log(SEVEN) | {"interpreted": 7}))
    again.close()
    third = Database(database_url, metadata, migrations.prepare)
    assert [row["interpreted"] for row in third.rows(select(logs))] == [7]
    third.close()


def test_entries_are_read_again_when_reading_changes(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(database_url, metadata, migrations.prepare)
    with database.write() as connection:
        registry = _log("registry.county.qingyu.example")
        connection.execute(logs.insert(), [_log(SEVEN) | {"interpreted": 7}, registry | {"interpreted": 5}])
        connection.execute(entry_facts.insert().values(origin=SEVEN, n=0, kind="boot/1", at="", boot=2**40))
    database.close()
    monkeypatch.setattr(migrations, "READING", migrations.READING + 1)
    again = Database(database_url, metadata, migrations.prepare)
    kept = {row["origin"]: row["interpreted"] for row in again.rows(select(logs))}
    assert kept == {SEVEN: 0, "registry.county.qingyu.example": 5}, "the registry is no vehicle's log"
    assert again.rows(select(entry_facts)) == []
    again.close()


def test_a_database_of_a_newer_version_is_left_alone(database_url: str) -> None:
    database = Database(database_url, metadata, migrations.prepare)
    with database.write() as connection:
        connection.execute(update(meta).where(meta.c.key == "steps").values(value="99"))
    before = database.rows(select(meta))
    database.close()
    with pytest.raises(migrations.DatabaseTooNew, match="newer version"):
        Database(database_url, metadata, migrations.prepare)
    unprepared = Database(database_url, metadata, lambda connection: None)
    assert unprepared.rows(select(meta)) == before
    unprepared.close()


def _log(origin: str) -> dict[str, Any]:
    return {"origin": origin, "pending_size": 9, "next_entry": 9, "mirror_size": 9}
