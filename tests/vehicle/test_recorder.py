"""The recorder never drops: what came is stored, what did not come is a gap, a crash leaves a recording."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from devices.clock import SimulatedClock
from devices.readings import Samples, Stamped
from sync.formats import ecg_file
from sync.record.database import DiskFull
from sync.record.recordings import Partial, Recordings
from sync.record.store import Store
from vehicle.recorded_ecg import PARTIAL_TYPE, Served
from vehicle.recorder import (
    SAVE_AGAIN_S,
    AlreadyRecording,
    EcgNotSaved,
    EcgNotSending,
    EcgRecorder,
    Progress,
)

RATE_HZ = 500
N = 25
CHANNELS = ("I", "II", "V1")


class Sender:
    """An ECG device that sends 20 chunks a second in simulated time."""

    def __init__(self, clock: SimulatedClock, hear: Callable[[Stamped], None]) -> None:
        self.clock, self.hear = clock, hear
        self.segment, self.index = 1, 0
        self.sent: list[np.ndarray] = []

    def chunk(self) -> Stamped:
        ramp = np.arange(self.index, self.index + N, dtype=np.int64)
        counts = np.stack([(ramp * k) % 3000 for k in (1, 2, 3)], axis=1).astype(np.int16)
        samples = Samples("ecg", CHANNELS, float(RATE_HZ), self.segment, self.index, counts, 1.25, "uV")
        return Stamped("ecg-1", "contec_8000g", self.clock.now(), self.clock.monotonic_s(), samples)

    async def send(self, seconds: float) -> None:
        for _ in range(round(seconds * RATE_HZ / N)):
            self.clock.advance(N / RATE_HZ)
            stamped = self.chunk()
            self.sent.append(stamped.event.counts)
            self.hear(stamped)
            self.index += N
            await asyncio.sleep(0)

    def lose(self, samples: int) -> None:
        self.clock.advance(samples / RATE_HZ)
        self.index += samples

    def reconnect(self, away_s: float) -> None:
        self.clock.advance(away_s)
        self.segment += 1
        self.index = 0


class Bench:
    def __init__(self, folder: Path, store: Store, clock: SimulatedClock) -> None:
        self.store, self.recordings = store, Recordings(folder / "recordings")
        self.told: list[Progress | None] = []
        self.recorder = EcgRecorder(
            self.recordings, store, clock, lambda: Served("visit-1", "encounter-1", "patient-1"), self.told.append
        )
        self.sender = Sender(clock, self.recorder.on_samples)

    async def begin(self, seconds: float) -> asyncio.Task:
        await self.sender.send(0.1)
        self.sender.sent.clear()
        task = asyncio.create_task(self.recorder.record(seconds, by="zhou.min"))
        await asyncio.sleep(0)
        return task

    def row(self) -> dict:
        [row] = self.store.read("select * from recordings")
        return row

    def file(self, sha256: str):
        return ecg_file.read(self.recordings.read(sha256))


@pytest.fixture
def bench(tmp_path: Path, store: Store, clock: SimulatedClock) -> Bench:
    return Bench(tmp_path, store, clock)


async def test_ten_seconds_are_the_very_samples_that_were_sent(bench: Bench) -> None:
    task = await bench.begin(10)
    await bench.sender.send(11)
    view = await task
    header, counts = bench.file(view.sha256)
    assert header.channels == CHANNELS
    assert np.array_equal(counts, np.concatenate(bench.sender.sent)[:5000])
    assert (view.duration_ms, view.interrupted, view.gaps) == (10_000, False, 0)
    row = bench.row()
    assert (row["sha256"], row["patient"], row["encounter"], row["device"]) == (
        view.sha256, "patient-1", "encounter-1", "ecg-1",
    )  # fmt: skip
    assert bench.recorder.recordings_of("patient-1") == [view]
    assert bench.recorder.recordings_of("someone else") == []
    assert list(bench.recordings.partials()) == []


async def test_a_length_that_is_no_whole_number_of_chunks_is_cut_to_the_sample(bench: Bench) -> None:
    task = await bench.begin(1.01)
    await bench.sender.send(2)
    view = await task
    assert len(bench.file(view.sha256)[1]) == 505


async def test_lost_samples_are_a_gap_with_its_indices(bench: Bench) -> None:
    task = await bench.begin(10)
    await bench.sender.send(4)
    first_lost = bench.sender.index
    bench.sender.lose(250)
    await bench.sender.send(7)
    view = await task
    header, counts = bench.file(view.sha256)
    assert header.missing == 250
    assert len(counts) == 4750
    assert view.gaps == 1
    assert json.loads(bench.row()["facts_json"])["gaps"] == [{"segment": 1, "first_index": first_lost, "count": 250}]
    assert not view.interrupted


async def test_unplugging_and_replugging_gives_two_segments(bench: Bench) -> None:
    task = await bench.begin(10)
    await bench.sender.send(4)
    bench.sender.reconnect(2.0)
    await bench.sender.send(5)
    view = await task
    header, _ = bench.file(view.sha256)
    assert [(piece.segment, piece.first_index) for piece in header.pieces] == [(1, 50), (2, 0)]
    assert view.interrupted
    assert view.duration_ms == pytest.approx(8000, abs=100)


async def test_a_device_that_falls_silent_ends_it_early_and_keeps_what_came(
    bench: Bench, clock: SimulatedClock
) -> None:
    task = await bench.begin(10)
    await bench.sender.send(3)
    clock.advance(20)
    bench.recorder.tick()
    view = await task
    assert view.interrupted
    assert view.duration_ms == 3000
    assert np.array_equal(bench.file(view.sha256)[1], np.concatenate(bench.sender.sent))


async def test_nothing_is_written_when_nothing_comes(bench: Bench, clock: SimulatedClock) -> None:
    with pytest.raises(EcgNotSending):
        await bench.recorder.record(10, by="zhou.min")
    task = await bench.begin(10)
    clock.advance(20)
    bench.recorder.tick()
    with pytest.raises(EcgNotSending):
        await task
    assert bench.store.read("select * from recordings") == []
    assert list(bench.recordings.partials()) == []


async def test_one_at_a_time(bench: Bench) -> None:
    task = await bench.begin(2)
    with pytest.raises(AlreadyRecording):
        await bench.recorder.record(2)
    await bench.sender.send(3)
    await task
    assert bench.recorder.recording is None


async def test_every_five_seconds_reach_the_disk(bench: Bench) -> None:
    task = await bench.begin(20)
    await bench.sender.send(12)
    while bench.recorder.recording.kept_s < 9.9:
        bench.recorder.tick()  # as its service does: a slow disk may still be busy with the 5 s before
        await asyncio.sleep(0.005)
    [partial] = bench.recordings.partials()
    assert len(partial.read()) > 10 * RATE_HZ * len(CHANNELS) * 2
    await bench.sender.send(9)
    await task
    assert bench.told[-1] is None


async def test_a_page_that_goes_away_does_not_end_the_recording(bench: Bench) -> None:
    task = await bench.begin(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.sender.send(3)
    await bench.recorder.stop()
    while not bench.store.read("select * from recordings"):  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.005)
    assert bench.row()["duration_ms"] == 2000


async def test_stopping_the_vehicle_stores_what_has_come(bench: Bench) -> None:
    task = await bench.begin(10)
    await bench.sender.send(3)
    await bench.recorder.stop()
    view = await task
    assert view.interrupted
    assert view.duration_ms == 3000


@pytest.mark.parametrize("torn_bytes", [0, 1, 37])
async def test_a_crash_leaves_a_recording_that_says_so(
    tmp_path: Path, store: Store, clock: SimulatedClock, torn_bytes: int
) -> None:
    bench = Bench(tmp_path, store, clock)
    task = await bench.begin(10)
    await bench.sender.send(6)
    [partial] = bench.recordings.partials()
    raw = partial.read()
    task.cancel()
    crashed = tmp_path / "after"
    folder = crashed / "recordings"
    left = Recordings(folder).begin(
        "x", partial.path.stem, {**partial.facts, "media_type": partial.facts["media_type"]}
    )
    (folder / "tmp" / f"{partial.path.stem}.json").write_text(json.dumps(partial.facts))
    left.append(raw[: len(raw) - torn_bytes])
    again = Bench(crashed, store, clock)
    [view] = again.recorder.recover()
    whole = 6 * RATE_HZ - (N if torn_bytes else 0)
    assert view.interrupted
    assert view.duration_ms == whole * 2
    assert np.array_equal(again.file(view.sha256)[1], np.concatenate(bench.sender.sent)[:whole])
    row = again.row()
    assert (row["patient"], row["visit"]) == ("patient-1", "visit-1")
    assert json.loads(row["facts_json"])["interrupted"] is True
    assert again.recorder.recover() == []
    await bench.recorder.stop()


def power_comes_back(bench: Bench, left: Partial, raw: bytes) -> EcgRecorder:
    """``left`` is on the disk again, with ``raw`` as its bytes; the recorder of the next start."""
    left.path.write_bytes(raw)
    left.path.with_suffix(".json").write_text(json.dumps(left.facts))
    return EcgRecorder(bench.recordings, bench.store, bench.sender.clock, Served)


@pytest.mark.parametrize("kept", [1.0, 0.6, 0.1])
async def test_a_cut_before_the_partial_file_is_gone_from_the_disk_records_nothing_twice(
    bench: Bench, kept: float
) -> None:
    """Its end may never have been brought to the disk, as the whole recording is there under its own name."""
    task = await bench.begin(2)
    await bench.sender.send(1.9)
    [left] = bench.recordings.partials()
    raw = left.read()
    await bench.sender.send(1)
    await task
    size = bench.store.size()
    again = power_comes_back(bench, left, raw[: round(len(raw) * kept)])
    assert again.recover() == []
    assert bench.store.size() == size
    assert list(bench.recordings.partials()) == []


async def test_a_cut_while_recovering_records_nothing_twice(bench: Bench) -> None:
    task = await bench.begin(10)
    await bench.sender.send(1)
    [left] = bench.recordings.partials()
    raw = left.read()
    task.cancel()
    [recovered] = power_comes_back(bench, left, raw).recover()
    assert power_comes_back(bench, left, raw).recover() == []
    assert bench.row()["sha256"] == recovered.sha256
    await bench.recorder.stop()


async def test_a_full_disk_at_the_start_leaves_what_was_cut_off_for_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The van serves people without it; a start that fails would leave it standing."""
    task = await bench.begin(10)
    await bench.sender.send(1)
    [left] = bench.recordings.partials()
    raw = left.read()
    task.cancel()
    again = power_comes_back(bench, left, raw)

    def refuse(data: bytes, media_type: str) -> tuple[str, int]:
        raise DiskFull("no room")

    with monkeypatch.context() as full:
        full.setattr(bench.recordings, "store", refuse)
        assert again.recover() == []
    [view] = power_comes_back(bench, left, left.read()).recover()
    assert view.interrupted
    await bench.recorder.stop()


async def test_what_another_version_left_keeps_no_van_from_starting(bench: Bench) -> None:
    left = bench.recordings.begin(PARTIAL_TYPE, "ecg-of-another-version", {"device": "ecg-1", "patients": ["a", "b"]})
    left.append(b"blocks of another kind")
    again = EcgRecorder(bench.recordings, bench.store, bench.sender.clock, Served)
    assert again.recover() == []
    assert [partial.path.stem for partial in bench.recordings.partials()] == ["ecg-of-another-version"]


async def test_an_evicted_recording_is_not_recorded_again(bench: Bench) -> None:
    task = await bench.begin(2)
    await bench.sender.send(1)
    [left] = bench.recordings.partials()
    raw = left.read()
    await bench.sender.send(2)
    bench.recordings.remove((await task).sha256)
    assert power_comes_back(bench, left, raw).recover() == []


@pytest.mark.parametrize("damage", ["other samples", "unreadable"])
async def test_what_the_recording_of_that_moment_does_not_have_is_recovered(bench: Bench, damage: str) -> None:
    """A clock that was set back gives two recordings one beginning; a damaged file has nothing."""
    task = await bench.begin(2)
    await bench.sender.send(1)
    [left] = bench.recordings.partials()
    raw = left.read()
    await bench.sender.send(2)
    first = await task
    if damage == "unreadable":
        bench.recordings.path(first.sha256).write_bytes(b"xunzhen-ecg/1\n?")
    else:
        task = await bench.begin(2)
        await bench.sender.send(1)
        [other] = bench.recordings.partials()
        raw = other.read()
        await bench.sender.send(2)
        await task
    [view] = power_comes_back(bench, left, raw).recover()
    assert view.started_at == first.started_at
    assert view.sha256 != first.sha256
    assert view.interrupted


async def test_a_disk_that_is_slow_again_records_nothing_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks and the stop of the vehicle find the saving under way."""
    store, asked, may_go_on = bench.recordings.store, [], threading.Event()

    def refuse(data: bytes, media_type: str) -> tuple[str, int]:
        raise DiskFull("no room")

    def store_slowly(data: bytes, media_type: str) -> tuple[str, int]:
        asked.append(len(data))
        may_go_on.wait()
        return store(data, media_type)

    monkeypatch.setattr(bench.recordings, "store", refuse)
    task = await bench.begin(2)
    await bench.sender.send(3)
    with pytest.raises(EcgNotSaved):
        await task
    monkeypatch.setattr(bench.recordings, "store", store_slowly)
    for _ in range(2):
        bench.sender.clock.advance(SAVE_AGAIN_S)
        bench.recorder.tick()
        await asyncio.sleep(0)
    stopped = asyncio.create_task(bench.recorder.stop())
    await asyncio.sleep(0)
    may_go_on.set()
    await stopped
    assert len(asked) == 1
    assert len(bench.store.read("select n from entries where kind = 'recording/1'")) == 1
    assert list(bench.recordings.partials()) == []


def test_leftovers_of_others_are_not_touched(bench: Bench) -> None:
    bench.recordings.begin("video/mp4", "clip-1", {"what": "clip"}).append(b"abc")
    assert bench.recorder.recover() == []
    assert [partial.facts["what"] for partial in bench.recordings.partials()] == ["clip"]


@pytest.mark.parametrize("seconds", [0, -1, 601])
async def test_lengths_out_of_bounds_are_refused(bench: Bench, seconds: float) -> None:
    with pytest.raises(ValueError, match="at most 600"):
        await bench.recorder.record(seconds)
