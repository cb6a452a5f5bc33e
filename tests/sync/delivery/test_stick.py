"""A stick carries a journal from a van without a network to its county."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from stick_way import Way, tree

from devices.clock import SimulatedClock
from sync.county.stick_import import StickRefused
from sync.delivery.stick_export import ExportStopped, Progress, StickExport, StickFull, StickGone, StickReadOnly
from sync.delivery.stick_receipt import Returned
from sync.formats import stick
from sync.formats.merkle import leaf_hash, root_of
from sync.formats.notes import Checkpoint, Note, SeedSigner
from sync.formats.wire import Tile
from sync.record.store import Store
from tests.sync.conftest import ORIGIN, reading


@pytest.fixture
def way(store: Store, signer: SeedSigner, clock: SimulatedClock, tmp_path: Path) -> Iterator[Way]:
    way = Way(store, signer, clock, tmp_path)
    yield way
    way.county.close()


def test_records_and_recordings_reach_the_county_and_the_receipt_comes_back(way: Way) -> None:
    way.store.commit_now(*(reading(n) for n in range(700)))
    ecg, clip = way.keep(b"ecg" * 50_000), way.keep(b"clip" * 900_000, "clip")
    size = way.store.size()
    exported = way.export()
    assert (exported.entries, exported.recordings, exported.left, exported.damaged) == (size, 2, 0, 0)
    assert way.store.waiting().entries == size, "nothing is delivered before the county has said so"
    imported = way.take()
    assert (imported.entries, imported.recordings, imported.damaged) == (size, 2, 0)
    assert way.stored() == way.store.entries(0, size)
    assert b"".join(way.county.blobs.read(clip)) == b"clip" * 900_000
    assert way.county.blobs.has(ecg)
    assert way.answer() == Returned(size, 2)
    waiting = way.store.waiting()
    assert (waiting.entries, waiting.recordings) == (0, 0)
    assert way.answer() == Returned(0, 0), "taken in twice, it changes nothing"


def test_stick_is_a_tlog_tiles_directory(way: Way) -> None:
    way.store.commit_now(*(reading(n) for n in range(600)))
    way.export()
    size = way.store.size()
    note = Note.parse((way.folder / "checkpoint").read_bytes())
    assert note.verified_by([way.signer.verifier_key()])
    leaves = b"".join(
        (way.folder / Tile(0, n, w).path()).read_bytes() for n, w in ((0, 256), (1, 256), (2, size % 256))
    )
    entries = [leaves[at : at + 32] for at in range(0, len(leaves), 32)]
    assert Checkpoint.parse(note.text) == Checkpoint(ORIGIN, size, root_of(entries))
    assert entries == [leaf_hash(body) for body in way.store.entries(0, size)]


def test_second_stick_carries_only_what_has_no_receipt(way: Way) -> None:
    way.store.commit_now(*(reading(n) for n in range(1100)))
    first = way.keep(b"first")
    way.export()
    way.take()
    way.answer()
    way.store.commit_now(*(reading(n) for n in range(300)))
    second = way.keep(b"second")
    size = way.store.size()
    assert way.export().entries == 301
    names = set(tree(way.folder))
    assert stick.recording_path(second) in names
    assert Tile(-1, 0).path() not in names, "what the county has is taken off the stick"
    assert Tile(1, 0, size // 256).path() in names
    imported = way.take()
    assert (imported.entries, imported.recordings) == (301, 1)
    assert way.stored() == way.store.entries(0, size)
    assert way.county.blobs.has(first)


def test_the_same_stick_twice_changes_nothing(way: Way) -> None:
    way.store.commit_now(*(reading(n) for n in range(300)))
    way.keep(b"ecg")
    way.export()
    way.take()
    receipt = (way.folder / stick.RECEIPT).read_bytes()
    way.clock.advance(3600)
    again = way.take()
    assert (again.entries, again.recordings, again.known_recordings) == (0, 0, 1)
    assert (way.folder / stick.RECEIPT).read_bytes() == receipt


def test_older_stick_after_a_newer_one_is_answered_with_the_newer_receipt(way: Way, tmp_path: Path) -> None:
    way.store.commit_now(*(reading(n) for n in range(10)))
    way.export()
    shutil.copytree(way.root, tmp_path / "older")
    way.store.commit_now(*(reading(n) for n in range(10)))
    way.export()
    way.take()
    newer, way.root = way.root, tmp_path / "older"
    assert way.take().entries == 0
    assert way.answer().entries == way.store.size()
    assert newer.exists()


@pytest.mark.parametrize("what", ["stick", "folder", "vehicle"])
def test_import_finds_the_records_wherever_one_points(way: Way, what: str) -> None:
    way.export()
    way.root = {"stick": way.root, "folder": way.root / stick.TOP, "vehicle": way.folder}[what]
    assert way.take().entries == 1


# interrupted ----------------------------------------------------------------------------------------------------------


def test_interrupted_export_leaves_the_former_one_whole_and_goes_on(way: Way) -> None:
    way.store.commit_now(*(reading(n) for n in range(300)))
    way.export()
    before = (way.folder / "checkpoint").read_bytes()
    way.store.commit_now(*(reading(n) for n in range(300)))
    kept = [way.keep(bytes([n]) * 300_000, "clip") for n in range(5)]
    seen: list[Progress] = []

    def stop_soon(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 3:
            export.stop()

    export = StickExport(way.store, way.recordings, way.county_key, stop_soon)
    with pytest.raises(ExportStopped):
        export.run(way.root)
    assert (way.folder / "checkpoint").read_bytes() == before
    assert not [name for name in tree(way.folder) if name.endswith(".tmp")]
    there = [sha256 for sha256 in kept if (way.folder / stick.recording_path(sha256)).exists()]
    stamps = {sha256: (way.folder / stick.recording_path(sha256)).stat().st_mtime_ns for sha256 in there}
    assert there
    assert way.take().entries == 301, "the stick still brings what it brought before"
    way.export()
    assert {sha: (way.folder / stick.recording_path(sha)).stat().st_mtime_ns for sha in there} == stamps
    assert way.take().entries == way.store.size() - 301


def test_progress_ends_at_the_whole(way: Way) -> None:
    way.keep(b"x" * 3_000_000, "clip")
    told: list[Progress] = []
    way.export(told.append)
    assert told[-1].done_bytes == told[-1].total_bytes
    assert [progress.done_bytes for progress in told] == sorted(progress.done_bytes for progress in told)


def test_unfinished_export_is_refused_at_the_county(way: Way) -> None:
    way.export()
    (way.folder / "checkpoint").unlink()
    with pytest.raises(StickRefused, match="not finished"):
        way.take()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StickFull),
        (errno.EROFS, StickReadOnly),
        (errno.EIO, StickGone),
        (errno.ENODEV, StickGone),
        (errno.ENOENT, StickGone),
    ],
)
def test_faults_of_the_stick_have_words(
    way: Way, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    way.keep(b"ecg")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match="stick"):
        way.export()
    monkeypatch.undo()
    assert way.store.waiting().recordings == 1
    assert way.export().recordings == 1


def test_stick_that_is_not_there(way: Way) -> None:
    way.root.rmdir()
    with pytest.raises(StickGone):
        way.export()
    assert not way.root.exists(), "nothing is written where no stick is"


def test_small_stick_takes_the_records_and_the_urgent_recordings(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, ecg = way.keep(b"c" * 3_000_000, "clip"), way.keep(b"e" * 400_000)
    real = os.statvfs(way.root)
    _free(monkeypatch, real, 2_500_000)
    exported = way.export()
    assert (exported.recordings, exported.left) == (1, 1)
    assert (way.folder / stick.recording_path(ecg)).exists()
    assert not (way.folder / stick.recording_path(clip)).exists()
    _free(monkeypatch, real, 1000)
    way.store.commit_now(*(reading(n) for n in range(300)))
    with pytest.raises(StickFull, match="lacks"):
        way.export()


def _free(monkeypatch: pytest.MonkeyPatch, real: os.statvfs_result, free_bytes: int) -> None:
    values = list(real)
    values[4] = free_bytes // real.f_frsize
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))


def test_recording_damaged_on_this_pc_is_left_out_and_counted(way: Way) -> None:
    damaged, good = way.keep(b"damaged"), way.keep(b"good")
    way.recordings.path(damaged).write_bytes(b"DAMAGED")
    exported = way.export()
    assert (exported.recordings, exported.damaged) == (1, 1)
    assert not (way.folder / stick.recording_path(damaged)).exists()
    assert way.take().recordings == 1
    assert way.county.blobs.has(good)
