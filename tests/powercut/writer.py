"""The van's store as it is used, in one process: commits, recordings, an ECG under way, delivery. Says what is safe.

Everything that is said is said by the product: what ``commit`` and ``record`` return, the progress that the recorder
shows, and the log events of delivery.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from devices.clock import SimulatedClock, SystemClock
from devices.readings import Samples, Stamped
from sync.delivery.county_client import CountyClient
from sync.delivery.uploader import Uploader
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, SeedSigner
from sync.formats.records import format_time
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.powercut.children import Say
from tests.powercut.promises import READY, entries_said
from tests.sync.conftest import ORIGIN, START, reading, recording
from tests.sync.county_simulator import CountySimulator, Upload
from vehicle.recorded_ecg import Served
from vehicle.recorder import EcgRecorder, Progress

RATE_HZ = 500
CHUNK = 125
SAMPLES_OF_A_LIFE = 100_000_000
"""More than any life sends: two lives with the same samples would make two recordings of the same bytes."""
COSIGNER = SeedSigner("county.example", b"c" * 32, ED25519_COSIGNATURE)
GROUPS = (1, 1, 1, 1, 1, 1, 5, 20)
"""Entries of a commit."""
CHANNELS = ("I", "II", "V1")

MakeUploader = Callable[[Store, Recordings], Uploader]


@dataclass(frozen=True, slots=True)
class Mix:
    """What one life of the van does.

    :ivar recordings: share of commits that come with a recording
    :ivar checkpoint_pages: when SQLite empties its WAL; the store's own setting when None
    :ivar worn: begin with a WAL that is overwritten rather than grown, as after hours of use. Then no growing file has
        the file system's journal written as a side effect, which hides a forgotten fsync of a folder.
    :ivar pause_s: between two commits of the same hand, on the average
    """

    name: str
    recordings: float
    ecg: bool
    delivery: bool
    checkpoint_pages: int | None = None
    worn: bool = False
    pause_s: float = 0.0


MIXES = (
    Mix("clinic", 0.1, ecg=True, delivery=True),
    Mix("checkpoints", 0.1, ecg=True, delivery=True, checkpoint_pages=60),
    Mix("delivery", 0.3, ecg=False, delivery=True, checkpoint_pages=60, pause_s=0.01),
    Mix("ECGs after hours of use", 0.0, ecg=True, delivery=False, checkpoint_pages=1500, worn=True),
    Mix("hours of use", 0.03, ecg=False, delivery=False, checkpoint_pages=1500, worn=True),
)


@dataclass(frozen=True, slots=True)
class Life:
    """Number and chances of one life; numbers make its readings and ECGs differ from those of all others."""

    number: int
    seed: int
    mix: Mix


def signer() -> SeedSigner:
    return SeedSigner(ORIGIN, b"v" * 32)


def open_store(folder: Path) -> Store:
    return Store.open(folder, ORIGIN, signer(), SystemClock(), vehicle="van-07")


def open_recordings(folder: Path) -> Recordings:
    return Recordings(folder / "recordings")


def open_recorder(
    store: Store, recordings: Recordings, clock: SimulatedClock, changed: Callable[[Progress | None], None]
) -> EcgRecorder:
    return EcgRecorder(recordings, store, clock, lambda: Served("visit-1", "encounter-1", "patient-1"), changed)


def ecg_counts(first_index: int, count: int) -> np.ndarray:
    """The ECG that is sent: every sample follows from its index, so that none can be mistaken for another."""
    index = np.arange(first_index, first_index + count, dtype=np.int64)
    return np.stack([(index * step) % 30_011 for step in (1, 7, 11)], axis=1).astype(np.int16)


def write_for_ever(folder: Path, life: Life, say: Say, make_uploader: MakeUploader | None = None) -> None:
    """Never returns; raises what the disk makes the store raise.

    :param make_uploader: to the county in question; to one in this process's own memory when None
    """
    asyncio.run(_live(folder, life, say, make_uploader or uploader_to_memory))


async def _live(folder: Path, life: Life, say: Say, make_uploader: MakeUploader) -> None:
    chance = random.Random(life.seed)
    store, recordings = open_store(folder), open_recordings(folder)
    ecg = _Ecg(store, recordings, life, say)
    ecg.recorder.recover()
    _prepare(store, life.mix)
    async with asyncio.TaskGroup() as group:
        if life.mix.delivery:
            say_deliveries(say)
            group.create_task(make_uploader(store, recordings).run())
        numbers = itertools.count(life.number * 100_000)
        for _ in range(2):
            group.create_task(_commit(store, recordings, life.mix, chance, numbers, say))
        if life.mix.ecg:
            group.create_task(ecg.send(chance))
        say(f"{READY}\n")


def _prepare(store: Store, mix: Mix) -> None:
    if mix.checkpoint_pages is not None:
        store.transact(lambda db: db.execute(f"PRAGMA wal_autocheckpoint={mix.checkpoint_pages}"))
        wal = store.folder / "journal.db-wal"
        while mix.worn and wal.stat().st_size < mix.checkpoint_pages * 4096:
            store.commit_now(*(reading(n, device="x" * 50_000) for n in range(20)))


async def _commit(
    store: Store, recordings: Recordings, mix: Mix, chance: random.Random, numbers: itertools.count[int], say: Say
) -> None:
    for turn in itertools.count():
        drafts = [reading(next(numbers)) for _ in range(chance.choice(GROUPS))]
        stored = None
        if chance.random() < (mix.recordings if turn else bool(mix.recordings)):
            data = chance.randbytes(chance.randrange(1000, 200_000))
            stored, size = await asyncio.to_thread(recordings.store, data, "clip/x")
            drafts.append(recording(stored, size, "clip"))
        entries = await store.commit(*drafts)
        say(entries_said(entries) + (f"recording {stored}\n" if stored else ""))
        if mix.pause_s:
            await asyncio.sleep(chance.expovariate(1 / mix.pause_s))


class _Ecg:
    """An ECG device whose time runs 500 times as fast, and the recorder that hears it."""

    def __init__(self, store: Store, recordings: Recordings, life: Life, say: Say) -> None:
        self._clock = SimulatedClock(START + timedelta(hours=life.number))
        self._say = say
        self._started_at = ""
        self._index = life.number * SAMPLES_OF_A_LIFE
        self.recorder = open_recorder(store, recordings, self._clock, self._changed)

    async def send(self, chance: random.Random) -> None:
        self._chunk()
        while True:
            task = asyncio.create_task(self.recorder.record(chance.choice((5, 12, 60))))
            while not task.done():
                await asyncio.sleep(CHUNK / RATE_HZ / 500)
                self._chunk()
            self._say(f"recording {task.result().sha256}\n")
            for _ in range(chance.randrange(40)):  # shown and not recorded
                await asyncio.sleep(CHUNK / RATE_HZ / 500)
                self._chunk()

    def _chunk(self) -> None:
        self._clock.advance(CHUNK / RATE_HZ)
        counts = ecg_counts(self._index, CHUNK)
        samples = Samples("ecg", CHANNELS, float(RATE_HZ), 1, self._index, counts, 1.25, "uV")
        self._index += CHUNK
        now_s = self._clock.monotonic_s()
        self.recorder.on_samples(Stamped("ecg-1", "contec_8000g", self._clock.now(), now_s, samples))

    def _changed(self, progress: Progress | None) -> None:
        if progress is None:
            return
        if progress.covered_s == 0:  # it begins now, and its file says so
            self._started_at = format_time(self._clock.now())
        if progress.kept_s:
            self._say(f"ecg {self._started_at} {round(progress.kept_s * RATE_HZ)}\n")


def uploader_to_memory(store: Store, recordings: Recordings) -> Uploader:
    """A real uploader, and a county in memory that has what it confirmed to this van in earlier lives."""
    clock, key = SystemClock(), signer()
    county = CountySimulator(key.verifier_key(), clock)
    size = store.delivered_size()
    county.cosigner = COSIGNER
    county.entries, county.pending_size = store.entries(0, size), size
    county.pending = {size: Checkpoint(ORIGIN, size, store.root(size))}
    delivered = store.read("SELECT sha256 FROM recordings_delivered")
    county.uploads = {row["sha256"]: Upload(complete=True) for row in delivered}
    client = CountyClient("http://county", COSIGNER.verifier_key(), key, clock, county)
    return Uploader(store, recordings, client, clock)


class _Deliveries(logging.Handler):
    """Log events of delivery, as promises."""

    def __init__(self, say: Say) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        said = json.loads(record.getMessage())
        if said.get("event") == "receipt_verified":
            self._say(f"receipt {said['size']}\n")
        elif said.get("event") == "recording_delivered":
            self._say(f"delivered {said['sha256']}\n")


def say_deliveries(say: Say) -> None:
    log = logging.getLogger("xunzhen")
    log.setLevel(logging.INFO)
    log.addHandler(_Deliveries(say))
    log.propagate = False
