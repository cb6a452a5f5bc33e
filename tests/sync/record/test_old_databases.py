"""Journals written by every version so far are opened for ever: add a file and a row, never change one.

A file is made with the key ``b"v" * 32`` and packed with zstd; the row says what it held when it was made.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pytest
import zstandard

from devices.clock import SimulatedClock
from sync.formats.merkle import root_of
from sync.formats.notes import SeedSigner
from sync.record.store import Store
from tests.sync.conftest import ORIGIN

FOLDER = Path(__file__).with_name("databases")
HELD = {
    "0001_journal.db.zst": (24, "3e097ecd0ffa700e5379f68273f9d2274c54682aae830e6727743016faa9c517", 20),
    "0002_journal.db.zst": (36, "431834bfb1c30f5e27206923542c0eccbe1e58655d56b3c70ac2959db2c265a2", 25),
}


def test_every_old_database_has_its_row() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(HELD)


@pytest.mark.parametrize("name", HELD)
def test_old_database_opens_and_goes_on(name: str, tmp_path: Path, clock: SimulatedClock, signer: SeedSigner) -> None:
    size, root, readings = HELD[name]
    packed = (FOLDER / name).read_bytes()
    (tmp_path / "journal.db").write_bytes(zstandard.ZstdDecompressor().decompress(packed))
    store = Store.open(tmp_path, ORIGIN, signer, clock, vehicle="van-07")
    try:
        assert store.root(size).hex() == root
        assert store.delivered_size() == size
        assert store.size() == size + 2, "boot and anchor of this opening"
        assert len(store.read("SELECT * FROM readings")) == readings
        assert store.read("SELECT patient FROM readings WHERE reading = 'reading-3'") == [{"patient": "p-1"}]
        before = store.read("SELECT * FROM readings")
        store.rebuild()
        assert store.read("SELECT * FROM readings") == before
        leaves = [row["leaf_hash"] for row in store.read("SELECT leaf_hash FROM entries ORDER BY n")]
        for level in range(5):
            for index in range(size >> level):
                expected = root_of(leaves[index << level : (index + 1) << level])
                assert store.read_subtree(level, index) == expected
    finally:
        store.close()


def test_journal_of_before_the_sums_knows_what_waits(tmp_path: Path, clock: SimulatedClock, signer: SeedSigner) -> None:
    packed = (FOLDER / "0001_journal.db.zst").read_bytes()
    (tmp_path / "journal.db").write_bytes(zstandard.ZstdDecompressor().decompress(packed))
    store = Store.open(tmp_path, ORIGIN, signer, clock, vehicle="van-07")
    try:
        size = store.size()
        sizes = [row["size"] for row in store.read("SELECT length(body) AS size FROM entries ORDER BY n")]
        sums = [row["total_bytes"] for row in store.read("SELECT total_bytes FROM entries ORDER BY n")]
        assert sums == list(accumulate(sizes))
        assert store.waiting().bytes == sum(sizes[size - 2 :])
        recordings = store.read("SELECT count(*) AS n FROM recordings")[0]["n"]
        delivered = store.read("SELECT count(*) AS n FROM recordings_delivered")[0]["n"]
        assert store.waiting().recordings == recordings - delivered
    finally:
        store.close()
