"""Van and county, both as they are shipped, in one process and in simulated time: the whole way of a record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from devices.clock import SimulatedClock
from sync.county.app import County, create_county
from sync.county.schema import metadata
from sync.county.settings import CountySettings
from sync.delivery.county_client import CountyClient
from sync.delivery.uploader import Uploader
from sync.formats import wire
from sync.formats.merkle import leaf_hash, root_of
from sync.formats.notes import Checkpoint, Note, SeedSigner, VerifierKey
from sync.formats.records import Draft
from sync.formats.request_signature import signature_headers
from sync.record.projection import TABLES
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.sync.conftest import ORIGIN, OpenStore, reading, recording

SERVER = "http://county"


class Pair:
    """One van and its county."""

    def __init__(self, store: Store, signer: SeedSigner, clock: SimulatedClock, folder: Path) -> None:
        settings = CountySettings(name="青峪县", data=folder / "county", origin="county.qingyu.example")
        self.app = create_county(settings, clock)
        self.county: County = self.app.state.county
        self.county.fleet.enrol(ORIGIN, str(signer.verifier_key()), "van-07")
        self.county_key = VerifierKey.parse(str(self.county.verifier_key))
        self.store, self.signer, self.clock = store, signer, clock
        self.recordings = Recordings(folder / "recordings")
        self.transport = httpx.ASGITransport(self.app)
        client = CountyClient(SERVER, self.county_key, signer, clock, self.transport)
        self.uploader = Uploader(store, self.recordings, client, clock)

    async def get(self, path: str) -> bytes:
        """As the vehicle itself."""
        headers = signature_headers(self.signer, "GET", path, b"", self.clock.now())
        async with httpx.AsyncClient(transport=self.transport, base_url=SERVER) as client:
            answer = await client.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.content


@pytest.fixture
def pair(open_store: OpenStore, signer: SeedSigner, clock: SimulatedClock, tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(open_store(), signer, clock, tmp_path)
    yield pair
    pair.county.close()


async def test_records_reach_the_county_word_for_word(pair: Pair) -> None:
    for day in range(3):
        pair.clock.advance(86_400)
        pair.store.commit_now(*(reading(day * 1000 + n) for n in range(400)))
        sha256, size = pair.recordings.store(b"ecg of day %d" % day * 60_000, "x/ecg")
        pair.store.commit_now(recording(sha256, size))
        delivered = await pair.uploader.deliver_now()
        assert (delivered.complete, delivered.recordings) == (True, 1)
        assert b"".join(pair.county.blobs.read(sha256)) == pair.recordings.read(sha256)
    size = pair.store.size()
    note = Note.parse(await pair.get(wire.log_path(ORIGIN, "checkpoint")))
    assert note.verified_by([pair.signer.verifier_key(), pair.county_key])
    tiles = [tile for tile in wire.tiles_of(size) if tile.level == -1]
    bundles = [await pair.get(wire.log_path(ORIGIN, tile.path())) for tile in tiles]
    entries = [entry for bundle in bundles for entry in wire.unpack_entries(bundle)]
    assert entries == pair.store.entries(0, size)
    assert Checkpoint.parse(note.text) == Checkpoint(ORIGIN, size, root_of(map(leaf_hash, entries)))


async def test_both_sides_project_the_same_tables(pair: Pair) -> None:
    crew = [{"person": "zhou.min", "role": "village_doctor", "name": "周敏"}]
    visit: dict[str, Any] = {"visit_id": "visit-1", "village": "510999100201", "village_name": "柳溪村"}
    visit |= {"township": "白果镇", "proposed_by": "position", "crew": crew, "arrived_at": "2026-03-02T00:30:00.000Z"}
    person: dict[str, Any] = {"patient": "p-1", "name": "张桂英", "sex": "female", "source": "manual"}
    pair.store.commit_now(
        Draft("visit_opened/1", visit, by="zhou.min"),
        Draft("patient/1", person),
        Draft("encounter/1", {"encounter_id": "e-1", "patient": "p-1", "purpose": ""}, visit="visit-1"),
        *(reading(n) for n in range(5)),
        Draft("reading_confirmed/1", {"reading": "reading-3", "patient": "p-1"}, by="zhou.min"),
        recording("ab" * 32, 5),
        Draft("access/1", {"action": "view", "what": "p-1"}, by="zhou.min"),
    )
    await pair.uploader.deliver_now()
    for name, table in TABLES.items():
        order = ", ".join(table.key)
        ours = pair.store.read(f"SELECT {', '.join(table.columns)} FROM {name} ORDER BY {order}")
        theirs = _rows(pair.county, name, list(table.columns), table.key)
        assert theirs == ours, name


async def test_vehicle_that_is_not_enrolled_is_parked_until_it_is(
    open_store: OpenStore, signer: SeedSigner, clock: SimulatedClock, tmp_path: Path
) -> None:
    pair = Pair(open_store(), signer, clock, tmp_path)
    try:
        pair.county.fleet.revoke(ORIGIN)
        delivered = await pair.uploader.deliver_now()
        assert not delivered.complete
        assert [parked.what for parked in pair.uploader.status().parked] == ["journal"]
        assert pair.store.waiting().entries == 1
    finally:
        pair.county.close()


async def test_rewritten_disk_is_refused_and_the_county_keeps_the_evidence(
    pair: Pair, open_store: OpenStore, tmp_path: Path
) -> None:
    pair.store.commit_now(reading(1))
    await pair.uploader.deliver_now()
    pair.clock.advance(3600)
    other = open_store(tmp_path / "rewritten")
    other.commit_now(*(reading(n) for n in range(10)))
    client = CountyClient(SERVER, pair.county_key, pair.signer, pair.clock, pair.transport)
    uploader = Uploader(other, pair.recordings, client, pair.clock)
    assert not (await uploader.deliver_now()).complete
    assert uploader.status().parked[0].status == 422
    assert other.delivered_size() == 0
    with pair.county.database.read() as connection:
        kept = connection.execute(select(metadata.tables["refused_checkpoints"])).all()
    assert len(kept) == 1


def _rows(county: County, name: str, columns: list[str], key: tuple[str, ...]) -> list[dict[str, Any]]:
    table = metadata.tables[name]
    with county.database.read() as connection:
        found = connection.execute(select(table).order_by(*(table.c[column] for column in key))).mappings().all()
    return [{column: row[column] for column in columns} for row in found]
