"""Van and county side by side, read with SQLite and hashlib alone: nothing lost on the way, nothing there twice."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sync.record.projection import TABLES
from tests.powercut.audit import Found
from tests.powercut.promises import Promises
from tests.sync.conftest import ORIGIN


def look_at_county(county: Path, van: Path, promises: Promises, found: Found) -> None:
    """What the van was given receipts for is at the county, and the county has nothing that the van does not have.

    May be called while the survivor of a kill goes on: the county is read first, so the van has at least as much.
    """
    with _database(county / "county.db") as database:
        theirs = dict(database.execute("SELECT n, body FROM entries WHERE origin = ?", [ORIGIN]))
        stored = Counter(sha256 for (sha256,) in database.execute("SELECT sha256 FROM uploads"))
    with _database(van / "journal.db") as database:
        ours = dict(database.execute("SELECT n, body FROM entries"))
    if sorted(theirs) != list(range(len(theirs))):
        found.faults.append("places are missing at the county")
    changed = [n for n, body in theirs.items() if ours.get(n) != body]
    found.faults += [f"entry {n} is another at the county" for n in changed[:3]]
    for size in promises.receipts:
        if size > len(theirs):
            found.miss(f"entries {len(theirs)} to {size}, with a receipt, at the county:")
    for sha256 in promises.delivered:
        if not _intact(county / "recordings", sha256):
            found.miss(f"delivered recording {sha256[:8]} at the county:")
    found.faults += [f"recording {sha256[:8]} is in the books {times} times" for sha256, times in _twice(stored)]
    found.faults += [f"{what} is in the journal {times} times" for what, times in _twice(_names(ours))]


def compare_both(county: Path, van: Path, found: Found) -> None:
    """Once all is delivered and read: entries body by body, recordings by hash, and every searchable table."""
    with _database(county / "county.db") as theirs, _database(van / "journal.db") as ours:
        at_county = theirs.execute("SELECT n, body FROM entries WHERE origin = ? ORDER BY n", [ORIGIN])
        if at_county.fetchall() != ours.execute("SELECT n, body FROM entries ORDER BY n").fetchall():
            found.faults.append("van and county have other entries")
        booked = {sha256 for (sha256,) in theirs.execute("SELECT sha256 FROM uploads")}
        named = {sha256 for (sha256,) in ours.execute("SELECT sha256 FROM recordings")}
        for name, table in TABLES.items():
            query = f"SELECT {', '.join(table.columns)} FROM {name} ORDER BY {', '.join(table.key)}"
            if theirs.execute(query).fetchall() != ours.execute(query).fetchall():
                found.faults.append(f"table {name} is another at the county")
    for sha256 in named:
        if not _intact(county / "recordings", sha256):
            found.miss(f"recording {sha256[:8]} at the county:")
    files = {path.name for path in (county / "recordings").glob("[0-9a-f][0-9a-f]/*")}
    found.faults += [f"recording {sha256[:8]} is at the county and nobody named it" for sha256 in files - named]
    found.faults += [f"recording {sha256[:8]} is at the county and not in its books" for sha256 in files - booked]


def _names(bodies: dict[int, bytes]) -> Counter[str]:
    """How often each reading and each recording was entered."""
    said: list[dict[str, Any]] = [json.loads(body) for body in bodies.values()]
    of_kind = {"reading/1": "reading", "recording/1": "sha256"}
    return Counter(entry[of_kind[entry["kind"]]] for entry in said if entry["kind"] in of_kind)


def _twice(counted: Counter[str]) -> list[tuple[str, int]]:
    return [(what, times) for what, times in counted.items() if times > 1][:3]


def _intact(folder: Path, sha256: str) -> bool:
    path = folder / sha256[:2] / sha256
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


@contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        yield connection
    finally:
        connection.close()
