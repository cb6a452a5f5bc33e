"""What the tests of the record share: a vehicle's key, a clock that stands still, a store in a fresh folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from devices.clock import Clock, SimulatedClock
from sync.formats.canonical import Json
from sync.formats.notes import ED25519_COSIGNATURE, SeedSigner
from sync.formats.records import Draft
from sync.record.store import Store
from tests.sync import postgresql
from tests.sync.county_month import Founded, Van, at
from tests.sync.evidence_county import EvidenceCounty, working_month
from tests.sync.object_store_server import ObjectStoreServer

ORIGIN = "van-07.qingyu.example"
START = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)

OpenStore = Callable[..., Store]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.PostgresqlServer]:
    if not postgresql.installed():
        pytest.skip("skipped: postgresql not installed")
    server = postgresql.PostgresqlServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def object_store_server() -> Iterator[ObjectStoreServer]:
    server = ObjectStoreServer()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of each kind that a county may have; ``Founded(folder, clock, database_url)`` takes it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'county.db'}"
    server: postgresql.PostgresqlServer = request.getfixturevalue("postgresql_server")
    return server.fresh_database()


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    """A county on the morning of 1 September, on each kind of database."""
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), database_url)
    yield county
    county.close()


@pytest.fixture
def van(founded: Founded) -> Van:
    return founded.van("van-07")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(START)


@pytest.fixture
def signer() -> SeedSigner:
    return SeedSigner(ORIGIN, b"v" * 32)


@pytest.fixture
def open_store(tmp_path: Path, signer: SeedSigner, clock: SimulatedClock) -> Iterator[OpenStore]:
    """Opens ``tmp_path/van``; closes at the end what is still open."""
    opened: list[Store] = []

    def open_it(folder: Path | None = None, clock: Clock = clock, practice: bool = False) -> Store:
        store = Store.open(folder or tmp_path / "van", ORIGIN, signer, clock, vehicle="van-07", practice=practice)
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


def reading(number: int, **more: str) -> Draft:
    """A blood-pressure reading named by ``number``."""
    fields: dict[str, Json] = {
        "device": "cuff-1",
        "driver": "bluetooth_blood_pressure",
        "type": "blood_pressure",
        "by_hand": False,
    }
    values = {"systolic_mmhg": 120 + number % 60, "diastolic_mmhg": 80, "pulse_bpm": 70}
    return Draft("reading/1", {"reading": f"reading-{number}", "values": values, **fields, **more}, by="zhou.min")


def recording(sha256: str, size: int, what: str = "ecg") -> Draft:
    fields: dict[str, Json] = {"sha256": sha256, "bytes": size, "media_type": "application/octet-stream", "what": what}
    return Draft("recording/1", {**fields, "started_at": "2026-03-02T00:30:00.000Z", "duration_ms": 0, "facts": {}})


@pytest.fixture
def county_cosigner() -> SeedSigner:
    return SeedSigner("county.example", b"c" * 32, ED25519_COSIGNATURE)


@pytest.fixture(scope="session")
def evidence_month() -> Iterator[tuple[EvidenceCounty, dict[str, str]]]:
    """A month of visits with evidence; tests only read it. In memory where that can be had: thousands of commits."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        county, visits = asyncio.run(working_month(Path(folder)))
        yield county, visits
        county.close()
