"""Killed with -9 at any moment, van and county have every entry and recording that was acknowledged, once."""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sync.record.database import APPLICATION_ID, JournalUnreadable
from tests.sync.conftest import OpenStore

ROOT = Path(__file__).parents[3]
ROLLBACK_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Begins a rollback journal; then pages in it, nonce, pages of the database before, bytes of a sector and of a page."""


def test_nothing_acknowledged_is_lost_or_doubled_in_twenty_kills(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sync.crash_loop", "--cycles", "20", "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["faults"] == []
    assert said["entries"] > 100, "killed before it wrote anything, the loop proves nothing"


@pytest.mark.parametrize("whole", [True, False])
def test_cut_while_the_journal_is_made_begins_it_again(open_store: OpenStore, tmp_path: Path, whole: bool) -> None:
    """Its first page, as far as it got to the disk, beside the rollback journal that says: it was empty before."""
    folder = tmp_path / "van"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    page = (folder / "journal.db").read_bytes()
    if not whole:
        (folder / "journal.db").write_bytes(bytes(512) + page[512:])
    header = struct.pack(">8sIIIII", ROLLBACK_MAGIC, 0, 1, 0, 512, len(page))
    (folder / "journal.db-journal").write_bytes(header.ljust(512, b"\0"))
    store = open_store(folder)
    assert store.size() == 1
    assert not (folder / "journal.db-journal").exists()


def test_file_that_is_no_journal_stays_as_it_is(open_store: OpenStore, tmp_path: Path) -> None:
    """A rollback journal that is not a hot one makes nothing of it."""
    folder = tmp_path / "van"
    folder.mkdir()
    (folder / "journal.db").write_bytes(b"a letter" * 1000)
    (folder / "journal.db-journal").write_bytes(b"another letter")
    with pytest.raises(JournalUnreadable):
        open_store(folder)
    assert (folder / "journal.db").read_bytes() == b"a letter" * 1000
