"""How long a van with a large journal takes from start to its first acknowledged entry after the power was gone.

``python -m tests.powercut.reopen --gigabytes 4 --folder /var/tmp``: builds a journal of small entries as they are and
large ones to fill it, kills the writer with -9 at a full WAL, drops the files from the page cache and opens the store.
Prints one JSON line per WAL size. The goal is under 2 s at 10 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sync.formats.records import Draft
from sync.record.store import Store
from tests.powercut.children import Child, Say
from tests.powercut.promises import READY
from tests.powercut.writer import open_store
from tests.sync.conftest import reading

SMALL_ENTRIES = 100_000
LARGE_BYTES = 55_000
OF_A_COMMIT = 200
LONGEST_BUILD_S = 3600.0
FILES = ("journal.db", "journal.db-wal")


def build(folder: Path, size: int, say: Say) -> None:
    """A journal of ``size`` bytes, its WAL emptied."""
    store = open_store(folder)
    for first in range(0, SMALL_ENTRIES, 1000):
        store.commit_now(*(reading(n) for n in range(first, first + 1000)))
    filler = Draft("network/1", {"facts": {"filler": "x" * LARGE_BYTES}})
    while (folder / "journal.db").stat().st_size < size:
        store.commit_now(*[filler] * OF_A_COMMIT)
    store.close()
    say(f"{READY}\n")


def fill_wal(folder: Path, wal_bytes: int, say: Say) -> None:
    """Write single entries until the WAL has ``wal_bytes``, then wait to be killed."""
    store = open_store(folder)
    with _kept_from_checkpoint(folder):
        number = SMALL_ENTRIES
        while (folder / FILES[1]).stat().st_size < wal_bytes:
            store.commit_now(*(reading(number + k) for k in range(50)))
            number += 50
        say(f"{READY}\n")
        time.sleep(LONGEST_BUILD_S)


@contextmanager
def _kept_from_checkpoint(folder: Path) -> Iterator[None]:
    """A reader in the middle of a query keeps SQLite from emptying the WAL."""
    connection = sqlite3.connect(f"{(folder / FILES[0]).as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM meta").fetchone()
    try:
        yield
    finally:
        connection.close()


def reopen(folder: Path, say: Say) -> None:
    """Open, commit one entry, and say how long each took."""
    began_s = time.monotonic()
    store: Store = open_store(folder)
    opened_s = time.monotonic()
    store.commit_now(reading(-1))
    done_s = time.monotonic()
    say(json.dumps({"open_s": round(opened_s - began_s, 3), "commit_s": round(done_s - opened_s, 3)}))
    store.close()


def measure(folder: Path, wal_bytes: int) -> dict[str, float]:
    _let_live(Child(lambda say: fill_wal(folder, wal_bytes, say)))
    sizes = {name: (folder / name).stat().st_size for name in FILES}
    for name in FILES:
        _forget(folder / name)
    child = Child(lambda say: reopen(folder, say))
    said, _ = child.listen(LONGEST_BUILD_S)
    child.kill()
    times: dict[str, float] = json.loads(said)
    return {"database_gb": round(sizes[FILES[0]] / 1e9, 2), "wal_mb": round(sizes[FILES[1]] / 1e6, 1), **times}


def _let_live(child: Child) -> None:
    child.listen_until(READY, LONGEST_BUILD_S)
    child.kill()


def _forget(path: Path) -> None:
    """Out of the page cache, as after a start."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--wal-megabytes", type=float, nargs="*", default=[1.0, 16.0, 256.0])
    parser.add_argument("--folder", type=Path, help="on the disk to be tried; a temporary one when left out")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        _let_live(Child(lambda say: build(folder, round(chosen.gigabytes * 1e9), say)))
        for megabytes in chosen.wal_megabytes:
            print(json.dumps(measure(folder, round(megabytes * 1e6))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
