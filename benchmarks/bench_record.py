"""Durable commits of the journal against plain sqlite3 with the same guarantee (WAL, synchronous=FULL), in one run.

A line of the peer is one INSERT of a body of the same size in its own transaction; a line of ours is the whole entry:
canonical JSON, Merkle hashes, searchable tables. Rounds alternate between both, each of ours between two of the peer's,
so a noisy disk hits both; ratios are medians over rounds. What they come to depends on what a flush costs: a disk that
takes 0.05 ms for it (a virtual one, or with a battery) shows our CPU, one that takes a millisecond hides it.

Besides: from handing over to acknowledged at a steady pace with an ECG being recorded, and how long ``Store.waiting``
takes however much waits. ``tests.powercut.reopen`` measures the start of a large journal after a cut.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np

from devices.clock import SystemClock
from devices.readings import Samples, Stamped
from sync.formats.notes import SeedSigner
from sync.formats.records import Draft
from sync.record.recordings import Recordings
from sync.record.store import Store
from vehicle.recorded_ecg import Served
from vehicle.recorder import EcgRecorder

ORIGIN = "bench.example"
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
CHUNK = 25
ECG_RATE_HZ = 500
GROUP = 20


def reading(number: int) -> Draft:
    return Draft(
        "reading/1",
        {
            "reading": f"reading-01ARZ3NDEKTSV4RRFFQ{number:06d}",
            "device": "cuff-1",
            "driver": "bluetooth_blood_pressure",
            "type": "blood_pressure",
            "values": {"systolic_mmhg": 128, "diastolic_mmhg": 84, "pulse_bpm": 71},
            "by_hand": False,
        },
        by="zhou.min",
        visit="visit-01ARZ3NDEKTSV4RRFFQ69G5FAV",
    )


class Plain:
    """The peer: one table, one INSERT, one COMMIT."""

    def __init__(self, folder: Path, body: bytes) -> None:
        self._connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE lines (n INTEGER PRIMARY KEY, body BLOB)")
        self._body = body

    def commit(self) -> None:
        self._connection.execute("BEGIN")
        self._connection.execute("INSERT INTO lines (body) VALUES (?)", (self._body,))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


def open_store(folder: Path) -> Store:
    return Store.open(folder, ORIGIN, SeedSigner(ORIGIN, b"b" * 32), SystemClock(), vehicle="bench")


def per_second(work: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return times / (time.perf_counter() - began)


def flush_ms(folder: Path) -> float:
    """What bringing one page to this disk costs, without a file that grows."""
    handle = os.open(folder / "page", os.O_RDWR | os.O_CREAT)
    try:
        took = []
        for _ in range(200):
            os.pwrite(handle, os.urandom(4096), 0)
            began = time.perf_counter()
            os.fdatasync(handle)
            took.append((time.perf_counter() - began) * 1000)
        return statistics.median(took)
    finally:
        os.close(handle)


def measure(folder: Path, rounds: int, times: int) -> dict[str, float]:
    """Rates per second and ratios; both sides are warm before the first round, their logs as long as they get."""
    numbers = count()
    with _open(folder) as store:
        body = store.commit_now(reading(next(numbers)))[0].body
        plain = Plain(folder, body)

        def single() -> None:
            store.commit_now(reading(next(numbers)))

        def group() -> None:
            store.commit_now(*(reading(next(numbers)) for _ in range(GROUP)))

        async def awaited() -> float:
            began = time.perf_counter()
            for _ in range(times):
                await store.commit(reading(next(numbers)))
            return times / (time.perf_counter() - began)

        for work in (plain.commit, single):
            per_second(work, 1200)
        measured: dict[str, Callable[[], float]] = {
            "single": lambda: per_second(single, times),
            "awaited": lambda: asyncio.run(awaited()),
            "grouped": lambda: GROUP * per_second(group, max(1, times // 5)),
        }
        found: dict[str, list[float]] = {}
        before = per_second(plain.commit, times)
        for _ in range(rounds):
            for name, ours in measured.items():
                rate = ours()
                after = per_second(plain.commit, times)
                found.setdefault("plain_per_s", []).append(after)
                found.setdefault(f"{name}_per_s", []).append(rate)
                found.setdefault(f"{name}_over_plain", []).append(rate / ((before + after) / 2))
                before = after
        plain.close()
    result = {name: statistics.median(values) for name, values in found.items()}
    grouped_over_single = zip(found["grouped_per_s"], found["single_per_s"], strict=True)
    return {
        **result,
        "grouped_over_single": statistics.median(grouped / single for grouped, single in grouped_over_single),
        "flush_ms": flush_ms(folder),
        "entry_bytes": len(body),
    }


# at a steady pace, with an ECG being recorded -------------------------------------------------------------------------


async def acknowledge_ms(store: Store, seconds: float, per_s: float, recorder: EcgRecorder | None) -> list[float]:
    """From handing over to acknowledged, sorted."""
    took: list[float] = []

    async def one(number: int) -> None:
        began = time.perf_counter()
        await store.commit(reading(500_000 + number))
        took.append((time.perf_counter() - began) * 1000)

    ecg = asyncio.create_task(_send_ecg(recorder)) if recorder else None
    async with asyncio.TaskGroup() as group:
        for number in range(round(seconds * per_s)):
            group.create_task(one(number))
            await asyncio.sleep(1 / per_s)
    if ecg and recorder:
        await recorder.stop()
        ecg.cancel()
    return sorted(took)


async def _send_ecg(recorder: EcgRecorder) -> None:
    """12 leads at 500 Hz in real time, recorded all the while."""
    chance = np.random.default_rng(1)
    began, recordings = time.monotonic(), set()
    for chunk in count():
        counts = chance.integers(-3000, 3000, (CHUNK, len(LEADS)), dtype=np.int16)
        samples = Samples("ecg", LEADS, ECG_RATE_HZ, 1, chunk * CHUNK, counts, 1.25, "uV")
        clock = SystemClock()
        recorder.on_samples(Stamped("ecg-1", "contec_8000g", clock.now(), clock.monotonic_s(), samples))
        if recorder.recording is None:
            task = asyncio.create_task(recorder.record(30.0))
            recordings.add(task)
            task.add_done_callback(recordings.discard)
        await asyncio.sleep(began + (chunk + 1) * CHUNK / ECG_RATE_HZ - time.monotonic())


def steady(folder: Path, seconds: float, ecg: bool) -> list[float]:
    with _open(folder) as store:
        recordings = Recordings(folder / "recordings")
        recorder = EcgRecorder(recordings, store, SystemClock(), Served) if ecg else None
        return asyncio.run(acknowledge_ms(store, seconds, 50.0, recorder))


# however much waits --------------------------------------------------------------------------------------------------


def waiting_us(folder: Path, entries: int) -> float:
    """How long ``Store.waiting`` takes when ``entries`` wait, in microseconds."""
    with _open(folder) as store:
        for first in range(0, entries, 1000):
            store.commit_now(*(reading(600_000 + first + number) for number in range(1000)))
        return 1e6 / per_second(store.waiting, 200)


@contextmanager
def _open(folder: Path) -> Iterator[Store]:
    folder.mkdir(exist_ok=True)
    store = open_store(folder)
    try:
        yield store
    finally:
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=300, help="single commits in a round")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the steady pace, without ECG and with")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to be measured, not a RAM disk")
    chosen = parser.parse_args()
    gc.freeze()  # as the vehicle process does
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        _tell_rates(measure(folder / "rates", chosen.rounds, chosen.count))
        for ecg in (False, True):
            took = steady(folder / f"steady{ecg}", chosen.seconds, ecg)
            print(
                f"hand over to acknowledged at 50/s{', ECG on' if ecg else ''}: p50 {took[len(took) // 2]:.1f} ms,"
                f" p99 {took[len(took) * 99 // 100]:.1f} ms, longest {took[-1]:.1f} ms (goal: p99 below 50)"
            )
        few, many = waiting_us(folder / "few", 1000), waiting_us(folder / "many", 60_000)
        print(f"what waits is known in {few:.0f} us with 1,000 entries, {many:.0f} us with 60,000")


def _tell_rates(found: dict[str, float]) -> None:
    print(
        f"entry of {found['entry_bytes']:.0f} bytes, WAL, synchronous=FULL, SQLite {sqlite3.sqlite_version},"
        f" a flush of this disk {found['flush_ms']:.2f} ms"
    )
    print(f"plain sqlite3           {found['plain_per_s']:9.0f} commits/s")
    for words, name in (("one at a time", "single"), ("one awaited  ", "awaited"), (f"groups of {GROUP} ", "grouped")):
        rate, ratio = found[f"{name}_per_s"], found[f"{name}_over_plain"]
        print(f"journal, {words}  {rate:9.0f} entries/s  {ratio:5.2f} x plain")
    print(f"groups are {found['grouped_over_single']:.1f} x one at a time (goals: 0.8 x plain, groups 5 x)")


if __name__ == "__main__":
    main()
