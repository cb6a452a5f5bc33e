"""Durable commits of the journal against plain sqlite3 with the same guarantee (WAL, synchronous=FULL), in one run.

Rounds alternate, so a noisy disk hits both; the ratio is the median over rounds. A line of the peer is one INSERT of a
body of the same size in its own transaction; a line of ours is the whole entry: canonical JSON, Merkle hashes,
searchable tables, the writer's thread.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from devices.clock import SystemClock
from sync.notes import SeedSigner
from sync.records import Draft
from sync.store import Store

ORIGIN = "bench.example"


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


def per_second(work: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - began)


async def acknowledge_ms(store: Store, count: int, per_s: float) -> list[float]:
    """From handing over to acknowledged, at a steady pace."""
    took: list[float] = []

    async def one(number: int) -> None:
        began = time.perf_counter()
        await store.commit(reading(number))
        took.append((time.perf_counter() - began) * 1000)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))
            await asyncio.sleep(1 / per_s)
    return sorted(took)


def measure(folder: Path, rounds: int, count: int) -> dict[str, float]:
    store = Store.open(folder, ORIGIN, SeedSigner(ORIGIN, b"b" * 32), SystemClock(), vehicle="bench")
    numbers = iter(range(10**9))
    body = store.commit_now(reading(next(numbers)))[0].body
    plain = Plain(folder, body)

    def single() -> None:
        store.commit_now(reading(next(numbers)))

    def group() -> None:
        store.commit_now(*(reading(next(numbers)) for _ in range(20)))

    found: dict[str, list[float]] = {"plain_per_s": [], "single_per_s": [], "grouped_per_s": []}
    try:
        for _ in range(rounds):
            found["plain_per_s"].append(per_second(plain.commit, count))
            found["single_per_s"].append(per_second(single, count))
            found["grouped_per_s"].append(20 * per_second(group, max(1, count // 10)))
        took = asyncio.run(acknowledge_ms(store, 250, 50.0))
    finally:
        plain.close()
        store.close()
    pairs = list(zip(found["plain_per_s"], found["single_per_s"], found["grouped_per_s"], strict=True))
    return {
        **{name: statistics.median(values) for name, values in found.items()},
        "single_over_plain": statistics.median(single / plain for plain, single, _ in pairs),
        "grouped_over_plain": statistics.median(grouped / plain for plain, _, grouped in pairs),
        "acknowledge_p50_ms": took[len(took) // 2],
        "acknowledge_p99_ms": took[len(took) * 99 // 100],
        "entry_bytes": len(body),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=200, help="single commits in a round")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to be measured, not a RAM disk")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        found = measure(Path(name), chosen.rounds, chosen.count)
    print(f"entry of {found['entry_bytes']:.0f} bytes, WAL, synchronous=FULL, SQLite {sqlite3.sqlite_version}")
    print(f"plain sqlite3          {found['plain_per_s']:9.0f} commits/s")
    lines = (("journal, one at a time", "single", 0.8), ("journal, groups of 20 ", "grouped", 5))
    for words, name, goal in lines:
        rate, ratio = found[f"{name}_per_s"], found[f"{name}_over_plain"]
        print(f"{words} {rate:9.0f} entries/s  {ratio:5.2f} x plain (goal {goal})")
    print(
        f"hand over to acknowledged at 50/s: p50 {found['acknowledge_p50_ms']:.1f} ms,"
        f" p99 {found['acknowledge_p99_ms']:.1f} ms (goal 50)"
    )


if __name__ == "__main__":
    main()
