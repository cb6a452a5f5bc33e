"""A stick or an answer that is not what it should be is refused in words, and nothing false is stored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from stick_way import Way, new_county, tree

from devices.clock import SimulatedClock
from sync.county.freezing import frozen
from sync.county.stick_import import StickRefused, clear
from sync.delivery.stick_export import StickExport
from sync.delivery.stick_receipt import Returned, take_receipts
from sync.delivery.stick_receipt import StickRefused as AnswerRefused
from sync.formats import stick
from sync.formats.notes import SeedSigner
from sync.record.store import Store
from tests.sync.conftest import ORIGIN, OpenStore, reading


@pytest.fixture
def way(store: Store, signer: SeedSigner, clock: SimulatedClock, tmp_path: Path) -> Iterator[Way]:
    way = Way(store, signer, clock, tmp_path)
    yield way
    way.county.close()


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
