"""Recordings: named by what they hold, found again after a cut, and ECG files that lose nothing."""

from __future__ import annotations

import errno
import hashlib
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from devices.readings import INVALID_COUNT, Samples
from sync.formats import ecg_file
from sync.record.database import DiskFault
from sync.record.recordings import RecordingMissing, Recordings

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def chunk(counts: np.ndarray, first: int = 0, segment: int = 1) -> Samples:
    return Samples("ecg", LEADS[: counts.shape[1]], 500.0, segment, first, counts, 1.25, "uV")


def test_finished_recording_has_the_name_of_its_bytes(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    writer = recordings.begin("video/mp4")
    writer.append(b"one ")
    writer.append(b"two")
    sha256, size = writer.finish()
    assert (sha256, size) == (hashlib.sha256(b"one two").hexdigest(), 7)
    assert recordings.path(sha256) == tmp_path / sha256[:2] / sha256
    assert recordings.read(sha256) == b"one two"
    assert recordings.read(sha256, 4, 2) == b"tw"
    assert recordings.intact(sha256)
    assert recordings.size(sha256) == 7
    assert list(recordings.partials()) == []


def test_disk_that_fills_up_in_a_recording_leaves_its_bytes_and_its_name_in_step(tmp_path: Path) -> None:
    writer = Recordings(tmp_path).begin("x/y")
    writer.append(b"a" * 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
    try:
        with pytest.raises(DiskFault, match="large"):
            writer.append(b"b" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.append(b"c")
    sha256, size = writer.finish()
    assert Recordings(tmp_path).read(sha256) == b"a" * 1000 + b"c"
    assert (size, Recordings(tmp_path).intact(sha256)) == (1001, True)


def test_a_disk_that_takes_no_writes_any_more_says_so_when_room_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = Recordings(tmp_path)
    sha256, _ = recordings.store(b"an old clip", "video/mp4")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "unlink", refuse)
        with pytest.raises(DiskFault, match="Read-only"):
            recordings.remove(sha256)
    assert recordings.remove(sha256) == len(b"an old clip")
    assert recordings.remove(sha256) == 0


def test_same_bytes_twice_are_one_file(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    assert recordings.store(b"same", "x/y") == recordings.store(b"same", "x/y")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_interrupted_recording_is_found_again_with_its_facts(tmp_path: Path) -> None:
    writer = Recordings(tmp_path).begin("x/ecg", name="ecg-1", facts={"patient": "p-1"})
    writer.append(b"half an ECG")
    writer.sync()
    (partial,) = Recordings(tmp_path).partials()
    assert (partial.read(), partial.facts) == (b"half an ECG", {"media_type": "x/ecg", "patient": "p-1"})
    with pytest.raises(FileExistsError):
        Recordings(tmp_path).begin("x/ecg", name="ecg-1")
    partial.discard()
    assert list(Recordings(tmp_path).partials()) == []


def test_leftovers_of_an_earlier_process_are_not_written_over(tmp_path: Path) -> None:
    before = Recordings(tmp_path).begin("x/y")
    before.append(b"left by a process with the same number")
    assert Recordings(tmp_path).store(b"new", "x/y")[1] == 3
    assert [(partial.read(), partial.facts) for partial in Recordings(tmp_path).partials()] == [
        (before.path.read_bytes(), {})
    ]
    assert before.path.read_bytes() == b"left by a process with the same number"


def test_leftovers_that_nobody_can_bring_back_go_at_the_start(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    recordings.begin("x/y").append(b"a photo that was being written")
    recordings.begin("x/ecg", name="ecg-1", facts={"patient": "p-1"}).append(b"half an ECG")
    (tmp_path / "tmp" / "ecg-0.json").write_text("{}")
    assert Recordings(tmp_path).discard_unclaimed() == 2
    assert [partial.path.stem for partial in Recordings(tmp_path).partials()] == ["ecg-1"]
    assert len(list((tmp_path / "tmp").iterdir())) == 2


def test_finished_and_abandoned_recordings_leave_no_facts_behind(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    recordings.begin("x/y", facts={"a": 1}).finish()
    recordings.begin("x/y", facts={"a": 1}).abandon()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_missing_and_damaged_recordings_are_noticed(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    sha256, _ = recordings.store(b"as recorded", "x/y")
    recordings.path(sha256).write_bytes(b"as tampered")
    assert not recordings.intact(sha256)
    recordings.path(sha256).unlink()
    assert not recordings.intact(sha256)
    assert not recordings.has(sha256)
    for ask in (recordings.read, recordings.size):
        with pytest.raises(RecordingMissing):
            ask(sha256)
    for name in ("../etc/passwd", "AB" * 32, ""):
        with pytest.raises(ValueError, match="SHA-256"):
            recordings.path(name)
    with pytest.raises(ValueError, match="no name"):
        recordings.begin("x/y", name="../up")


@settings(deadline=None)
@given(arrays(np.int16, st.tuples(st.integers(1, 300), st.integers(1, 8))), st.integers(1, 50))
def test_ecg_is_read_back_bit_by_bit(counts: np.ndarray, step: int) -> None:
    chunks = [chunk(counts[first : first + step], first) for first in range(0, len(counts), step)]
    header, found = ecg_file.read(ecg_file.write(chunks))
    assert np.array_equal(found, counts)
    assert header.pieces == (ecg_file.Piece(1, 0, len(counts)),)
    assert (header.sample_rate_hz, header.resolution_uv, header.missing) == (500.0, 1.25, 0)


def test_gaps_stay_gaps() -> None:
    counts = np.arange(80, dtype=np.int16).reshape(40, 2)
    counts[3, 1] = INVALID_COUNT
    data = ecg_file.write([chunk(counts[:10], 0), chunk(counts[15:30], 15), chunk(counts[30:], 0, segment=2)])
    header, found = ecg_file.read(data)
    assert (header.count, header.missing, len(header.pieces)) == (35, 5, 3)
    assert len(found) == 35
    first, second = ecg_file.read_with_gaps(data)
    assert np.array_equal(first[:10], counts[:10])
    assert np.all(first[10:15] == INVALID_COUNT)
    assert np.array_equal(first[15:], counts[15:30])
    assert np.array_equal(second, counts[30:])


def test_ecg_like_signal_packs_well() -> None:
    at = np.arange(5000) / 500
    beats = sum(900 * np.exp(-(((at - second) / 0.02) ** 2)) for second in np.arange(0.4, 10, 0.8))
    noise = np.random.default_rng(1).normal(0, 4, (5000, 8))
    counts = (np.outer(beats, np.linspace(0.4, 1, 8)) + noise).astype(np.int16)
    assert len(ecg_file.write([chunk(counts)])) < counts.nbytes / 2.2


@settings(deadline=None)
@given(st.data())
def test_damaged_ecg_files_are_refused(data: st.DataObject) -> None:
    counts = np.arange(400, dtype=np.int16).reshape(100, 4)
    good = ecg_file.write([chunk(counts)])
    damaged = bytearray(good)
    if data.draw(st.booleans()):
        damaged[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del damaged[data.draw(st.integers(0, len(good) - 1)) :]
    try:
        header, found = ecg_file.read(bytes(damaged))
    except ecg_file.EcgFileUnreadable:
        return
    assert header.count == 100, "a changed name or number in the header alone is for the hash to notice"
    assert np.array_equal(found, counts)


def test_unlike_chunks_are_refused() -> None:
    counts = np.zeros((5, 2), np.int16)
    with pytest.raises(ValueError, match="no samples"):
        ecg_file.write([])
    with pytest.raises(ValueError, match="same channels"):
        ecg_file.write([chunk(counts), chunk(np.zeros((5, 3), np.int16))])
    with pytest.raises(ValueError, match="uV"):
        ecg_file.write([Samples("pleth", ("pleth",), 60.0, 1, 0, counts[:, :1], 1.0, "1")])
