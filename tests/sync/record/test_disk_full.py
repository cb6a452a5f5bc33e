"""A full disk: the reserve keeps the journal writable, then it says so in words; nothing acknowledged is lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.formats.merkle import leaf_hash, root_of
from sync.formats.notes import SeedSigner
from sync.formats.records import Draft
from sync.record.database import DiskFull
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.sync.conftest import ORIGIN, START, reading
from tests.sync.small_disk import SmallDisk, small_disk

RESERVE_BYTES = 8 << 20


class Van:
    def __init__(self, disk: SmallDisk) -> None:
        self.disk = disk
        self.folder = disk.folder / "van"
        self.store = self.open()

    def open(self) -> Store:
        signer = SeedSigner(ORIGIN, b"v" * 32)
        clock = SimulatedClock(START)
        self.store = Store.open(self.folder, ORIGIN, signer, clock, vehicle="van-07", reserve_bytes=RESERVE_BYTES)
        return self.store

    def write_until_full(self) -> int:
        """Entries acknowledged until the store says that it takes no more."""
        large = Draft("network/1", {"facts": {"long": "x" * 50_000}})
        for written in itertools.count():
            try:
                self.store.commit_now(large)
            except DiskFull:
                return written
        raise AssertionError("a small disk that is never full")


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with small_disk(tmp_path) as disk:
        opened = Van(disk)
        yield opened
        opened.store.close()


def test_records_go_on_when_the_disk_is_full(van: Van) -> None:
    assert van.store.reserve_held
    van.disk.fill()
    entries = [van.store.commit_now(reading(n))[0] for n in range(300)]
    assert not van.store.reserve_held
    assert [entry.n for entry in entries] == list(range(1, 301))
    assert len(van.store.read("SELECT 1 FROM readings")) == 300


def test_reserve_is_made_again_when_there_is_room(van: Van) -> None:
    van.disk.fill()
    van.store.commit_now(*(reading(n) for n in range(300)))
    assert not van.store.make_reserve()
    van.disk.empty()
    assert van.store.make_reserve()
    assert van.store.reserve_held


def test_when_the_reserve_is_used_up_it_is_said_and_nothing_is_lost(van: Van) -> None:
    van.disk.fill()
    assert van.write_until_full() > 50
    size, root = van.store.size(), van.store.root(van.store.size())
    with pytest.raises(DiskFull):
        van.store.commit_now(Draft("network/1", {"facts": {"long": "x" * 50_000}}))
    assert van.store.size() == size
    van.disk.empty()
    van.store.commit_now(reading(1))
    assert root_of(map(leaf_hash, van.store.entries(0, size))) == root


def test_start_on_a_full_disk_uses_the_reserve(van: Van) -> None:
    van.store.commit_now(*(reading(n) for n in range(100)))
    size = van.store.size()
    van.store.close()
    van.disk.fill()
    van.open()
    assert van.store.size() == size + 1
    assert van.store.boot == 2
    van.store.commit_now(reading(200))


def test_recording_that_finds_no_room_leaves_nothing_behind(van: Van) -> None:
    recordings = Recordings(van.folder / "recordings")
    van.disk.fill()
    with pytest.raises(DiskFull):
        recordings.store(b"x" * 100_000, "x/y")
    assert list(recordings.partials()) == []
    assert list(recordings.names()) == []
    assert van.store.reserve_held, "what is kept back is not for recordings"
