"""Recordings at the county: the same in a folder and in an object store, by several workers, through outages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from county_month import Founded, at
from sqlalchemy import delete, select

from devices.clock import SimulatedClock
from sync.county.blobs import BlobMissing, Blobs, BlobStore, FolderStore, StoreAway, UploadState
from sync.county.database import Database
from sync.county.mirror import Refused
from sync.county.object_store import ObjectStore
from sync.county.schema import metadata, uploads
from sync.settings_file import SettingsRefused
from tests.sync.conftest import recording
from tests.sync.object_store_server import ObjectStoreServer

VAN, OTHER = "van-07.qingyu.example", "van-09.qingyu.example"
CLIP = bytes(range(256)) * 50_000
NAME = sha256(CLIP).hexdigest()
LARGEST = 20_000_000


@pytest.fixture(params=["folder", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The setting ``recordings``."""
    if request.param == "folder":
        return str(tmp_path / "recordings")
    server: ObjectStoreServer = request.getfixturevalue("object_store_server")
    return server.fresh_bucket()


def opened(where: str) -> BlobStore:
    return ObjectStore(where) if where.startswith("s3:") else FolderStore(Path(where))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'county.db'}", metadata)
    yield database
    database.close()


@pytest.fixture
def blobs(where: str, database: Database) -> Blobs:
    return Blobs(opened(where), database, SimulatedClock(at(9, 1, 8)), LARGEST)


def send(blobs: Blobs, first: int, end: int, origin: str = VAN) -> UploadState:
    """A part of ``CLIP``; the last one completes it."""
    return blobs.append(origin, NAME, first, CLIP[first:end], end >= len(CLIP), len(CLIP))


def test_parts_become_a_recording(blobs: Blobs, database: Database) -> None:
    assert blobs.state(VAN, NAME) is None
    assert not blobs.has(NAME)
    assert send(blobs, 0, 7_000_000) == UploadState(7_000_000, False)
    assert blobs.state(VAN, NAME) == UploadState(7_000_000, False)
    assert not blobs.has(NAME)
    assert send(blobs, 7_000_000, len(CLIP)) == UploadState(len(CLIP), True)
    assert blobs.state(OTHER, NAME) == UploadState(len(CLIP), True)
    assert b"".join(blobs.read(NAME)) == CLIP
    assert [(row["sha256"], row["bytes"]) for row in database.rows(select(uploads))] == [(NAME, len(CLIP))]


def test_another_worker_takes_the_next_part(blobs: Blobs, where: str, database: Database) -> None:
    send(blobs, 0, 1000)
    elsewhere = Blobs(opened(where), database, SimulatedClock(at(9, 1, 9)), LARGEST)
    send(elsewhere, 1000, 5000)
    send(blobs, 5000, len(CLIP))
    assert b"".join(elsewhere.read(NAME)) == CLIP


@pytest.mark.parametrize("offset", [0, 999, 1001, len(CLIP)])
def test_a_wrong_offset_changes_nothing(blobs: Blobs, offset: int) -> None:
    send(blobs, 0, 1000)
    with pytest.raises(Refused) as refused:
        blobs.append(VAN, NAME, offset, b"spoilt", False, None)
    assert (refused.value.status, refused.value.size) == (409, 1000)
    send(blobs, 1000, len(CLIP))
    assert b"".join(blobs.read(NAME)) == CLIP


def test_another_hash_starts_over(blobs: Blobs) -> None:
    blobs.append(VAN, NAME, 0, b"other ", False, None)
    with pytest.raises(Refused) as refused:
        blobs.append(VAN, NAME, 6, b"bytes", True, None)
    assert refused.value.status == 422
    assert (blobs.has(NAME), blobs.state(VAN, NAME)) == (False, None)
    assert send(blobs, 0, len(CLIP)).complete


def test_one_vehicle_cannot_spoil_anothers_upload(blobs: Blobs) -> None:
    send(blobs, 0, 1000)
    blobs.append(OTHER, NAME, 0, b"spoilt", False, None)
    with pytest.raises(Refused):
        blobs.append(OTHER, NAME, 6, b"spoilt", True, None)
    assert send(blobs, 1000, len(CLIP)).complete
    assert b"".join(blobs.read(NAME)) == CLIP


def test_an_empty_recording_and_an_empty_last_part(blobs: Blobs) -> None:
    nothing = sha256(b"").hexdigest()
    assert blobs.append(VAN, nothing, 0, b"", True, 0) == UploadState(0, True)
    assert b"".join(blobs.read(nothing)) == b""
    blobs.append(VAN, NAME, 0, CLIP, False, None)
    assert blobs.append(VAN, NAME, len(CLIP), b"", False, None) == UploadState(len(CLIP), False)
    assert blobs.append(VAN, NAME, len(CLIP), b"", True, len(CLIP)) == UploadState(len(CLIP), True)


def test_bounds(blobs: Blobs) -> None:
    for body, length, status in ((b"x", LARGEST + 1, 413), (b"xx", 1, 400), (b"x", 2, 400)):
        with pytest.raises(Refused) as refused:
            blobs.append(VAN, NAME, 0, body, True, length)
        assert refused.value.status == status
    assert blobs.state(VAN, NAME) is None


def test_what_is_not_there(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing):
        list(blobs.read(NAME))
    for name in ("x", NAME.upper(), "../county.db"):
        with pytest.raises(ValueError, match="SHA-256"):
            blobs.has(name)
    with pytest.raises(Refused):
        blobs.state("../../etc", NAME)


def test_a_row_lost_between_bytes_and_database_is_written_again(blobs: Blobs, database: Database) -> None:
    send(blobs, 0, len(CLIP))
    with database.write() as connection:
        connection.execute(delete(uploads))
    assert send(blobs, 0, 1000).complete
    assert len(database.rows(select(uploads))) == 1


def test_several_workers_at_once_make_one_whole_recording(where: str, database: Database) -> None:
    """Eight senders with parts of their own sizes, each as a worker of its own; all of them end with it complete."""
    clock, ready = SimulatedClock(at(9, 1, 8)), threading.Barrier(8)

    def sender(number: int) -> int:
        blobs, step, conflicts = Blobs(opened(where), database, clock, LARGEST), 900_000 + number * 250_000, 0
        ready.wait(30)
        state = UploadState(0, False)
        while not state.complete:
            try:
                state = send(blobs, state.offset, state.offset + step)
            except Refused as refused:
                if refused.size is None:
                    raise
                state, conflicts = UploadState(refused.size, False), conflicts + 1
        return conflicts

    with ThreadPoolExecutor(8) as pool:
        conflicts = list(pool.map(sender, range(8), timeout=60))
    assert sum(conflicts) > 0, "they met"
    assert b"".join(opened(where).read(NAME)) == CLIP
    assert opened(where).begun(VAN, NAME) is None
    assert len(database.rows(select(uploads))) == 1


# a store that cannot be used ------------------------------------------------------------------------------------------


def test_a_disk_that_cannot_be_written_is_no_refusal(tmp_path: Path, database: Database) -> None:
    (tmp_path / "recordings").write_text("a file where the folder should be")
    blobs = Blobs(FolderStore(tmp_path / "recordings"), database, SimulatedClock(at(9, 1, 8)), LARGEST)
    with pytest.raises(StoreAway, match="folder cannot be used"):
        send(blobs, 0, 1000)


def test_a_missing_bucket_is_not_a_missing_recording(object_store_server: ObjectStoreServer) -> None:
    store = ObjectStore(object_store_server.url("nobody-made-it"))
    for asked in (
        lambda: store.size(NAME),
        lambda: store.begun(VAN, NAME),
        lambda: store.add(VAN, NAME, 0, b"x"),
        lambda: list(store.read(NAME)),
    ):
        with pytest.raises(StoreAway, match="nobody-made-it"):
            asked()


def test_a_wrong_key_is_told(object_store_server: ObjectStoreServer) -> None:
    store = ObjectStore(object_store_server.fresh_bucket())
    object_store_server.check_keys(True)
    try:
        with pytest.raises(StoreAway):
            store.add(VAN, NAME, 0, b"x")
        with pytest.raises(StoreAway):
            store.size(NAME)
    finally:
        object_store_server.check_keys(False)
    store.add(VAN, NAME, 0, b"x")


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///x", "s3://bucket?endpont=http://x", "s3://key:secret@bucket/x", "s3://bucket/x?access_key_id=1"],
)
def test_an_address_with_a_typo_or_a_secret_is_refused(url: str) -> None:
    with pytest.raises(SettingsRefused, match="s3://bucket/prefix"):
        ObjectStore(url)


async def test_a_van_waits_for_an_object_store_that_went_away(
    tmp_path: Path, object_store_server: ObjectStoreServer
) -> None:
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), recordings=object_store_server.fresh_bucket())
    van = founded.van("van-07")
    try:
        first, second = (van.recordings.store(text * 50_000, "x/ecg")[0] for text in (b"first", b"second"))
        van.store.commit_now(recording(first, 250_000))
        assert (await van.deliver()).recordings == 1
        van.store.commit_now(recording(second, 300_000))
        object_store_server.go_away()
        try:
            delivered = await van.deliver()
            assert (delivered.complete, van.store.waiting().entries) == (False, 0), "entries do not wait for files"
            answer = await founded.signed(van.signer, "HEAD", f"/recordings/{second}")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        finally:
            object_store_server.come_back()
        delivered = await van.deliver()
        assert delivered.complete
        assert b"".join(founded.county.blobs.read(second)) == b"second" * 50_000
        assert van.uploader.status().parked == []
    finally:
        founded.close()


def test_a_recording_that_was_removed_may_come_again(blobs: Blobs) -> None:
    blobs.remove(NAME)
    assert send(blobs, 0, len(CLIP)).complete
    blobs.remove(NAME)
    assert not blobs.has(NAME)
    with pytest.raises(BlobMissing):
        next(blobs.read(NAME))
    assert send(blobs, 0, len(CLIP)).complete
    assert b"".join(blobs.read(NAME)) == CLIP
