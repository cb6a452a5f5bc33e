"""A stick carries a journal from a van without a network to its county, and a receipt back; or is refused in words."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from devices.clock import SimulatedClock
from sync.county.app import County, open_county
from sync.county.freezing import frozen
from sync.county.settings import CountySettings
from sync.county.stick_import import Imported, StickImport, StickRefused, clear
from sync.delivery.stick_export import (
    Exported,
    ExportStopped,
    Progress,
    StickExport,
    StickFull,
    StickGone,
    StickReadOnly,
)
from sync.delivery.stick_receipt import Returned, take_receipts
from sync.delivery.stick_receipt import StickRefused as AnswerRefused
from sync.formats import stick
from sync.formats.merkle import leaf_hash, root_of
from sync.formats.notes import Checkpoint, Note, SeedSigner, VerifierKey
from sync.formats.wire import Tile
from sync.keys.vehicle_key import VehicleKey
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.sync.conftest import ORIGIN, OpenStore, reading, recording


class Way:
    """A van, a stick and a county that never see a network."""

    def __init__(self, store: Store, signer: SeedSigner, clock: SimulatedClock, folder: Path) -> None:
        self.store, self.signer, self.clock, self.root = store, signer, clock, folder / "stick"
        self.root.mkdir()
        self.recordings = Recordings(folder / "recordings")
        self.county = new_county(folder / "county", "county.qingyu.example", clock)
        self.county.fleet.enrol(ORIGIN, str(signer.verifier_key()), "van-07")

    @property
    def county_key(self) -> VerifierKey:
        return VerifierKey.parse(str(self.county.verifier_key))

    @property
    def folder(self) -> Path:
        return self.root / stick.folder_of(ORIGIN)

    def keep(self, data: bytes, what: str = "ecg") -> str:
        sha256, size = self.recordings.store(data, "application/octet-stream")
        self.store.commit_now(recording(sha256, size, what))
        return sha256

    def export(self, tell: Callable[[Progress], None] = lambda _: None, whole: bool = False) -> Exported:
        return StickExport(self.store, self.recordings, self.county_key, tell).run(self.root, whole)

    def take(self, county: County | None = None) -> Imported:
        chosen = county or self.county
        (imported,) = StickImport(chosen, VehicleKey.load(chosen.settings.key_file)).run(self.root)
        return imported

    def answer(self) -> Returned:
        return take_receipts(self.root, self.store, self.county_key, self.clock)

    def stored(self) -> list[bytes]:
        return [body for _, body in self.county.mirror.bodies(ORIGIN, 0, 10**6)]


def new_county(folder: Path, origin: str, clock: SimulatedClock) -> County:
    return open_county(CountySettings(name="青峪县", data=folder, origin=origin), clock)


@pytest.fixture
def way(store: Store, signer: SeedSigner, clock: SimulatedClock, tmp_path: Path) -> Iterator[Way]:
    way = Way(store, signer, clock, tmp_path)
    yield way
    way.county.close()


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


# not what it should be ------------------------------------------------------------------------------------------------


def test_stick_for_another_county_is_refused(way: Way, clock: SimulatedClock, tmp_path: Path) -> None:
    way.export()
    other = new_county(tmp_path / "other", "county.lanshui.example", clock)
    try:
        other.fleet.enrol(ORIGIN, str(way.signer.verifier_key()), "van-07")
        with pytest.raises(StickRefused, match="hand it in there"):
            way.take(other)
        assert other.mirror.log(ORIGIN).next_entry == 0
    finally:
        other.close()


def test_unknown_vehicle_is_refused(way: Way) -> None:
    way.export()
    way.folder.rename(way.root / stick.folder_of("van-99.qingyu.example"))
    with pytest.raises(StickRefused, match="not enrolled"):
        way.take()


def test_folder_of_another_vehicle_is_refused(way: Way) -> None:
    way.export()
    way.county.fleet.enrol("van-08.qingyu.example", str(SeedSigner("van-08.qingyu.example", b"8" * 32).verifier_key()))
    way.folder.rename(way.root / stick.folder_of("van-08.qingyu.example"))
    with pytest.raises(StickRefused):
        way.take()
    assert way.county.mirror.log("van-08.qingyu.example").next_entry == 0


def test_empty_stick_is_refused(way: Way) -> None:
    with pytest.raises(StickRefused, match="no records"):
        way.take()


def test_any_changed_file_is_refused_and_nothing_false_is_stored(way: Way) -> None:
    way.store.commit_now(*(reading(n) for n in range(600)))
    way.export()
    ours = way.store.entries(0, way.store.size())
    needed = [name for name in sorted(tree(way.folder)) if name == "checkpoint" or name.startswith("tile/entries")]
    for name in needed:
        path = way.folder / name
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(StickRefused):
                way.take()
        path.write_bytes(whole[:-1])
        with pytest.raises(StickRefused):
            way.take()
        path.unlink()
        with pytest.raises(StickRefused):
            way.take()
        path.write_bytes(whole)
        assert way.stored() == ours[: len(way.stored())]
        assert not (way.folder / stick.RECEIPT).exists()
    assert way.take().size == len(ours)
    assert way.stored() == ours


@pytest.mark.parametrize("delivered", [16, 20, 256])
def test_changed_hashes_on_a_stick_never_freeze_the_log(way: Way, delivered: int) -> None:
    """Nobody has signed them. A power of two: there a proof that does not fit looks like a rewritten journal."""
    way.store.commit_now(*(reading(n) for n in range(delivered - way.store.size())))
    way.export()
    way.take()
    way.store.commit_now(*(reading(n) for n in range(600)))
    shutil.rmtree(way.root / stick.TOP)
    way.export()
    for name in (name for name in sorted(tree(way.folder)) if name.startswith("tile/") and "entries" not in name):
        path = way.folder / name
        whole = path.read_bytes()
        for place in range(len(whole) - 1, 0, -(len(whole) // 5)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with suppress(StickRefused):
                way.take()
            assert frozen(way.county.database, ORIGIN) is None
        path.write_bytes(whole)
    assert way.take().size == way.store.size()


def test_changed_recording_is_not_taken_and_the_others_are(way: Way) -> None:
    changed, good = way.keep(b"changed"), way.keep(b"good")
    way.export()
    (way.folder / stick.recording_path(changed)).write_bytes(b"CHANGED")
    imported = way.take()
    assert (imported.recordings, imported.damaged) == (1, 1)
    assert not way.county.blobs.has(changed)
    assert way.answer().recordings == 1
    assert way.store.waiting().recordings == 1
    assert way.county.blobs.has(good)


def test_links_on_the_stick_lead_nowhere(way: Way, tmp_path: Path) -> None:
    way.export()
    secret = tmp_path / "secret"
    secret.write_bytes((way.folder / "checkpoint").read_bytes())
    (way.folder / "checkpoint").unlink()
    (way.folder / "checkpoint").symlink_to(secret)
    with pytest.raises((StickRefused, OSError)):
        way.take()
    (way.folder / "checkpoint").unlink()
    (way.folder / "checkpoint").write_bytes(secret.read_bytes())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (way.folder / stick.RECEIVED).symlink_to(elsewhere)
    with pytest.raises(StickRefused, match="leads elsewhere"):
        way.take()
    assert list(elsewhere.iterdir()) == []


def test_rewritten_journal_on_a_stick_is_refused(way: Way, open_store: OpenStore, tmp_path: Path) -> None:
    way.store.commit_now(*(reading(n) for n in range(20)))
    way.export()
    way.take()
    stored = way.stored()
    way.clock.advance(3600)
    other = open_store(tmp_path / "rewritten")
    other.commit_now(*(reading(n) for n in range(40)))
    shutil.rmtree(way.root / stick.TOP)
    StickExport(other, way.recordings, way.county_key).run(way.root)
    with pytest.raises(StickRefused):
        way.take()
    assert way.stored() == stored
    assert frozen(way.county.database, ORIGIN) is not None


def test_county_that_lost_entries_asks_for_the_whole_journal(way: Way, clock: SimulatedClock, tmp_path: Path) -> None:
    way.store.commit_now(*(reading(n) for n in range(600)))
    way.export()
    way.take()
    way.answer()
    key = way.county.settings.key_file
    lost = tmp_path / "restored"
    (lost / "keys").mkdir(parents=True)
    shutil.copy(key, lost / "keys" / key.name)
    restored = new_county(lost, "county.qingyu.example", clock)
    try:
        restored.fleet.enrol(ORIGIN, str(way.signer.verifier_key()), "van-07")
        way.export()
        with pytest.raises(StickRefused, match="--whole"):
            way.take(restored)
        way.export(whole=True)
        assert way.take(restored).entries == way.store.size()
    finally:
        restored.close()


@pytest.mark.parametrize("whole", [False, True])
def test_what_waits_beside_pruned_entries_reaches_the_county(way: Way, whole: bool) -> None:
    way.store.commit_now(*(reading(n) for n in range(20)))
    way.export()
    way.take()
    way.answer()
    way.store.prune([], [3, 7])
    way.store.commit_now(*(reading(n) for n in range(20, 30)))
    assert way.export(whole=whole).entries == (way.store.size() - 8 if whole else 10)
    assert (way.take().entries, way.answer().entries) == (10, 10)
    assert way.county.mirror.log(ORIGIN).mirror_size == way.store.size()


def test_county_that_lost_what_was_pruned_hears_what_to_do(way: Way) -> None:
    way.store.commit_now(*(reading(n) for n in range(20)))
    way.store.prune([], [3, 7])
    way.export(whole=True)
    with pytest.raises(StickRefused, match="entry 3 was removed on the vehicle"):
        way.take()


# the answer -----------------------------------------------------------------------------------------------------------


def test_answer_of_another_key_is_no_answer(way: Way) -> None:
    way.keep(b"ecg")
    way.export()
    way.take()
    stranger = SeedSigner("county.qingyu.example", b"s" * 32, 4).verifier_key()
    with pytest.raises(AnswerRefused):
        take_receipts(way.root, way.store, stranger, way.clock)
    assert way.store.waiting().recordings == 1


@pytest.mark.parametrize("name", ["receipt", "received/0001"])
def test_changed_answer_says_nothing(way: Way, name: str) -> None:
    way.keep(b"ecg")
    way.export()
    way.take()
    path = way.folder / name
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        before = way.store.delivered_size()
        try:
            way.answer()
        except AnswerRefused:
            continue
        assert way.store.delivered_size() >= before, "only a line of an unknown signer may change unnoticed"
    assert way.store.waiting().recordings in (0, 1)


def test_answer_for_another_vehicle_is_refused(way: Way, tmp_path: Path, clock: SimulatedClock) -> None:
    origin = "van-08.qingyu.example"
    signer = SeedSigner(origin, b"8" * 32)
    other = Store.open(tmp_path / "van-08", origin, signer, clock, vehicle="van-08")
    try:
        way.store.commit_now(*(reading(n) for n in range(5)))
        way.export()
        way.take()
        way.folder.rename(way.root / stick.folder_of(origin))
        with pytest.raises(AnswerRefused):
            take_receipts(way.root, other, way.county_key, clock)
        assert other.delivered_size() == 0
    finally:
        other.close()


def test_cleared_stick_holds_no_patient_data_and_still_the_receipt(way: Way) -> None:
    way.keep(b"ecg")
    way.export()
    imported = way.take()
    clear(way.root, [imported])
    assert set(tree(way.folder)) == {stick.README, stick.COUNTY, stick.RECEIPT, f"{stick.RECEIVED}/0001"}
    assert way.answer() == Returned(2, 1)
