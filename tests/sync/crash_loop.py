"""kill -9 of the real store in a loop: ``python -m tests.sync.crash_loop --cycles 20``.

Each cycle forks a writer that commits batches and recordings and says what it was promised; it is killed at a random
moment. The store is opened again, and everything that was promised must be there, once. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from pathlib import Path

from devices.clock import SystemClock
from sync.merkle import leaf_hash, root_of
from sync.notes import SeedSigner
from sync.recordings import Recordings
from sync.records import Draft, read_entry
from sync.store import Store
from tests.sync.conftest import ORIGIN, reading, recording

LONGEST_LIFE_S = 0.2
CYCLES_OF_A_JOURNAL = 20
"""Then a new one is begun, as the check reads all of it."""


def open_store(folder: Path) -> Store:
    return Store.open(folder, ORIGIN, SeedSigner(ORIGIN, b"v" * 32), SystemClock(), vehicle="van-07")


def write_for_ever(folder: Path, out: int, seed: int) -> None:
    """Says "<n> <leaf hash>" per entry once committed, "ready" first."""
    chance = random.Random(seed)
    store, recordings = open_store(folder), Recordings(folder / "recordings")
    os.write(out, b"ready\n")
    number = 0
    while True:
        drafts: list[Draft] = [reading(number + k) for k in range(chance.choice((1, 1, 1, 5, 20)))]
        number += len(drafts)
        if chance.random() < 0.15:
            drafts.append(recording(*recordings.store(chance.randbytes(chance.randrange(1000, 200_000)), "clip/x")))
        entries = store.commit_now(*drafts)
        os.write(out, "".join(f"{entry.n} {entry.leaf_hash.hex()}\n" for entry in entries).encode())


def life(folder: Path, seed: int, chance: random.Random) -> list[tuple[int, str]]:
    """One writer from birth to kill; what it was promised."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        try:
            write_for_ever(folder, write_end, seed)
        finally:
            os._exit(1)
    os.close(write_end)
    said = b""
    until_s = None
    while True:
        timeout_s = 30.0 if until_s is None else max(0.0, until_s - time.monotonic())
        if not select.select([read_end], [], [], timeout_s)[0]:
            break
        part = os.read(read_end, 1 << 16)
        if not part:
            break
        said += part
        if until_s is None and b"ready\n" in said:
            until_s = time.monotonic() + chance.random() * LONGEST_LIFE_S
    os.kill(child, signal.SIGKILL)
    while part := os.read(read_end, 1 << 16):
        said += part
    os.close(read_end)
    os.waitpid(child, 0)
    if b"ready\n" not in said:
        raise RuntimeError("the writer never came up")
    lines = said.decode().rpartition("\n")[0].splitlines()
    return [(int(line.split()[0]), line.split()[1]) for line in lines if line != "ready"]


def check(folder: Path, promised: dict[int, str]) -> list[str]:
    """Opens the store again; what is wrong with it."""
    store, recordings = open_store(folder), Recordings(folder / "recordings")
    try:
        bodies = store.entries(0, store.size())
        leaves = [leaf_hash(body) for body in bodies]
        faults = [f"entry {n} lost" for n, leaf in promised.items() if n >= len(leaves) or leaves[n].hex() != leaf]
        if len(bodies) != store.size() or root_of(leaves) != store.root(store.size()):
            faults.append("root does not fit the entries")
        said = [read_entry(body, n) for n, body in enumerate(bodies)]
        boots = [entry.boot for entry in said if entry.kind == "boot/1"]
        if boots != list(range(1, len(boots) + 1)):
            faults.append(f"boots {boots}")
        named = [entry.fields["sha256"] for entry in said if entry.kind == "recording/1"]
        faults += [f"recording {sha256} lost" for sha256 in named if not recordings.intact(sha256)]
        rows = store.read("SELECT (SELECT count(*) FROM recordings) AS recordings")[0]
        if rows["recordings"] != len(set(named)):
            faults.append("tables do not fit the journal")
        return faults
    finally:
        store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="on the disk to be tried; a temporary one when left out")
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)
    acknowledged, faults = 0, []
    for first in range(0, chosen.cycles, CYCLES_OF_A_JOURNAL):
        promised: dict[int, str] = {}
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            for cycle in range(first, min(first + CYCLES_OF_A_JOURNAL, chosen.cycles)):
                promised.update(life(Path(name), chosen.seed * 100_000 + cycle, chance))
                faults += check(Path(name), promised)
        acknowledged += len(promised)
    print(json.dumps({"cycles": chosen.cycles, "acknowledged": acknowledged, "faults": faults[:20]}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
