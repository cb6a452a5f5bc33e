"""Room on the van's disk: what the county confirmed goes first, told before it goes; the rest is kept or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from touch_bench import PIN, Bench

from devices.clock import SimulatedClock
from devices.readings import Samples, Stamped
from sync.formats import ecg_file
from sync.formats.canonical import Json
from sync.formats.records import Draft, read_entry
from sync.record.database import DiskFull
from sync.record.eviction import Eviction
from sync.record.recordings import RecordingMissing, Recordings
from sync.record.store import Store
from tests.sync.small_disk import SmallDisk, small_disk
from tests.vehicle.conftest import open_store
from vehicle.disk import ClipRefused, Disk, Level, Space
from vehicle.hints import hint
from vehicle.recorded_ecg import Served
from vehicle.recorder import SAVE_AGAIN_S, EcgNotSaved, EcgRecorder
from vehicle.touchscreen.app import create_touchscreen

KB = 1000
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


class Van:
    """A store with recordings on a disk of 100 kB, as far as ``Disk`` can see."""

    def __init__(self, store: Store, folder: Path, clock: SimulatedClock) -> None:
        self.store, self.recordings = store, Recordings(folder / "recordings")
        self.other_bytes = 0
        self.disk = Disk(folder, clock, Eviction(store, self.recordings), store, look=self.look)
        self.recordings.admit = self.disk.admit

    def look(self, _: Path) -> Space:
        mine = sum(self.recordings.size(sha256) for sha256 in self.recordings.names())
        return Space(100 * KB - self.other_bytes - mine, 100 * KB)

    def keep(self, number: int, *, confirmed: bool) -> str:
        """A recording of 10 kB."""
        sha256, size = self.recordings.store(bytes([number]) * 10 * KB, "x/y")
        fields: dict[str, Json] = {"sha256": sha256, "bytes": size, "media_type": "x/y", "what": "ecg", "facts": {}}
        started: dict[str, Json] = {"started_at": "2026-03-02T00:30:00.000Z", "duration_ms": 0}
        self.store.commit_now(Draft("recording/1", fields | started))
        if confirmed:
            self.store.transact(lambda db: db.execute("INSERT INTO recordings_delivered VALUES (?, '')", (sha256,)))
        return sha256

    def evicted(self) -> list[str]:
        found = [read_entry(body) for body in self.store.entries(0, self.store.size())]
        return [entry.fields["sha256"] for entry in found if entry.kind == "recording_evicted/1"]


@pytest.fixture
def van(store: Store, tmp_path: Path, clock: SimulatedClock) -> Van:
    return Van(store, tmp_path / "data", clock)


async def test_the_oldest_that_the_county_has_go_until_there_is_room(van: Van) -> None:
    unconfirmed = van.keep(0, confirmed=False)
    confirmed = [van.keep(number, confirmed=True) for number in range(1, 6)]
    van.other_bytes = 37 * KB
    await van.disk.look_after()
    assert van.disk.level is Level.WARN
    assert van.evicted() == confirmed[:2], "97 % to below 80 %"
    assert set(van.recordings.names()) == {unconfirmed, *confirmed[2:]}
    rows = van.store.read("SELECT sha256 FROM recordings WHERE evicted_at IS NOT NULL ORDER BY n")
    assert [row["sha256"] for row in rows] == confirmed[:2]


async def test_what_the_county_has_not_confirmed_is_never_evicted(van: Van) -> None:
    kept = {van.keep(number, confirmed=False) for number in range(3)}
    van.other_bytes = 70 * KB
    await van.disk.look_after()
    assert van.disk.level is Level.FULL
    assert set(van.recordings.names()) == kept
    assert van.evicted() == []


async def test_file_goes_only_after_its_entry(van: Van, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = van.keep(1, confirmed=True)

    async def refuse(*_: Draft) -> list[object]:
        raise DiskFull("not even the reserve")

    monkeypatch.setattr(van.store, "commit", refuse)
    van.other_bytes = 80 * KB
    with pytest.raises(DiskFull):
        await van.disk.look_after()
    assert van.recordings.has(sha256)


async def test_file_whose_turn_a_power_cut_took_goes_at_the_next_need(van: Van) -> None:
    sha256 = van.keep(1, confirmed=True)
    van.store.commit_now(Draft("recording_evicted/1", {"sha256": sha256, "reason": "disk_nearly_full"}))
    van.other_bytes = 80 * KB
    await van.disk.look_after()
    assert not van.recordings.has(sha256)
    assert van.evicted() == [sha256]


async def test_reader_of_an_evicted_recording_hears_where_it_is(van: Van) -> None:
    sha256 = van.keep(1, confirmed=True)
    van.other_bytes = 80 * KB
    await van.disk.look_after()
    with pytest.raises(RecordingMissing):
        van.recordings.read(sha256)


async def test_nearly_full_disk_takes_ecg_but_no_clips(van: Van) -> None:
    van.other_bytes = 96 * KB
    await van.disk.look_after()
    with pytest.raises(ClipRefused):
        van.recordings.begin("video/mp4")
    van.recordings.begin("application/vnd.xunzhen.ecg-partial").abandon()


# on a real disk that is full -----------------------------------------------------------------------------------------


class FullVan:
    """ECG on a disk of 64 MB."""

    def __init__(self, disk: SmallDisk, clock: SimulatedClock) -> None:
        self.disk, self.clock, self.index = disk, clock, 0
        folder = disk.folder / "data"
        self.store = open_store(folder, clock)
        self.recordings = Recordings(folder / "recordings")
        self.recorder = EcgRecorder(self.recordings, self.store, clock, Served)

    async def send(self, seconds: float) -> None:
        """12 leads at 500 Hz of noise, which does not pack."""
        chance = np.random.default_rng(self.index)
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)
            counts = chance.integers(-30_000, 30_000, (25, 12), dtype=np.int16)
            samples = Samples("ecg", LEADS, 500.0, 1, self.index, counts, 1.25, "uV")
            self.recorder.on_samples(
                Stamped("ecg-1", "contec_8000g", self.clock.now(), self.clock.monotonic_s(), samples)
            )
            self.index += 25
            await asyncio.sleep(0)

    def ecgs(self) -> list[str]:
        return [row["sha256"] for row in self.store.read("SELECT sha256 FROM recordings ORDER BY n")]


@pytest.fixture
def full_van(tmp_path: Path, clock: SimulatedClock) -> Iterator[FullVan]:
    with small_disk(tmp_path) as disk:
        van = FullVan(disk, clock)
        yield van
        van.store.close()


async def test_ecg_that_finds_no_room_is_told_and_saved_once_there_is(full_van: FullVan) -> None:
    van = full_van
    await van.send(0.1)
    begun = van.index
    recording = asyncio.create_task(van.recorder.record(10.0))
    await asyncio.sleep(0)
    await van.send(2.0)
    van.disk.fill()
    await van.send(8.5)
    with pytest.raises(EcgNotSaved):
        await recording
    assert van.recorder.fault == "ecg_not_saved"
    with pytest.raises(EcgNotSaved, match="before"):
        await van.recorder.record(10.0)
    van.disk.empty()
    van.clock.advance(SAVE_AGAIN_S)
    van.recorder.tick()
    await van.recorder.stop()
    assert van.recorder.fault is None
    (sha256,) = van.ecgs()
    header, counts = ecg_file.read(van.recordings.read(sha256))
    assert (header.pieces[0].first_index, header.missing, len(counts)) == (begun, 0, 5000)
    assert list(van.recordings.partials()) == []


async def test_ecg_does_not_begin_on_a_full_disk_and_says_so(full_van: FullVan) -> None:
    van = full_van
    await van.send(0.1)
    van.disk.fill()
    with pytest.raises(DiskFull):
        await van.recorder.record(10.0)
    assert van.recorder.recording is None
    assert van.store.reserve_held


# what the doctor sees -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_page_of_an_evicted_ecg_says_where_it_is(tmp_path: Path, clock: SimulatedClock, language: str) -> None:
    bench = Bench(tmp_path, clock, language=language)
    try:
        bench.send_ecg()
        recording = asyncio.create_task(bench.vehicle.ecg.record(1.0))
        await asyncio.sleep(0)
        for _ in range(30):
            clock.advance(0.05)
            bench.send_ecg()
            await asyncio.sleep(0)
        sha256 = (await recording).sha256
        path = f"/ecg/recordings/{sha256}"
        async with signed_in(bench) as caller:
            assert 'id="paper"' in (await caller.get(path)).text
            assert (await caller.get(f"{path}/samples")).status_code == 200
            bench.vehicle.recordings.remove(sha256)
            page = (await caller.get(path)).text
            assert "evicted" in page
            assert hint("recording_missing", language).title in page
            assert 'id="paper"' not in page
            refused = await caller.get(f"{path}/samples")
            assert (refused.status_code, refused.json()["code"]) == (404, "recording_missing")
    finally:
        await bench.vehicle.stop()


async def test_status_says_that_records_live_on_the_reserve(tmp_path: Path, clock: SimulatedClock) -> None:
    bench = Bench(tmp_path, clock)
    try:
        (bench.vehicle.store.folder / "reserve").unlink()
        async with signed_in(bench) as caller:
            page = (await caller.get("/status")).text
        assert 'data-testid="fault-disk_reserve_used"' in page
        await bench.vehicle.disk.look_after()
        assert bench.vehicle.store.reserve_held
    finally:
        await bench.vehicle.stop()


def signed_in(bench: Bench) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    return SignedIn(transport=transport, base_url="http://van")


class SignedIn(httpx.AsyncClient):
    """The village doctor's browser."""

    async def __aenter__(self) -> SignedIn:
        await super().__aenter__()
        await self.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        return self
