"""Power cuts of the real store on real ext4: nothing acknowledged is lost, and a store that cheats is caught."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.powercut.__main__ import CANNOT, table
from tests.powercut.cache_disk import SECTOR_BYTES, CacheDisk
from tests.powercut.controls import CONTROLS
from tests.powercut.cycles import Tally
from tests.powercut.promises import Promises

ROOT = Path(__file__).parents[2]
OLD, NEW = b"o" * SECTOR_BYTES * 64, b"n" * SECTOR_BYTES * 64


@pytest.mark.parametrize("level", ["t1", "t2"])
def test_nothing_acknowledged_is_lost_in_twenty_power_cuts(level: str) -> None:
    others = {"t1": "--t2", "t2": "--t1"}[level]
    done = subprocess.run(
        [sys.executable, "-m", "tests.powercut", f"--{level}", "20", others, "0", "--controls", "10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    row = next(line for line in lines if line.startswith(f"{level.upper()}  "))
    _, _, entries, recordings, confirmed, *_ = row.split()
    written = int(entries) > 100 and int(recordings) > 3 and int(confirmed) > 0
    assert written, "cut before it wrote anything, the loop proves nothing"
    assert sum(control in line for line in lines for control in CONTROLS) == len(CONTROLS)


@pytest.fixture
def disk() -> CacheDisk:
    """With OLD on its platter and NEW in its cache."""
    disk = CacheDisk(len(OLD))
    disk.write("/disk.img", OLD, 0, 0)
    disk.fsync("/disk.img", 0, 0)
    disk.write("/disk.img", NEW, 0, 0)
    return disk


def after_cut(disk: CacheDisk, policy: str, seed: int = 1) -> list[bytes]:
    """Sectors, once the power is back."""
    disk.write("/ctl", f"cut {policy} {seed}".encode(), 0, 0)
    with pytest.raises(OSError, match="5"):
        disk.read("/disk.img", 1, 0, 0)
    disk.write("/ctl", b"on", 0, 0)
    data = disk.read("/disk.img", len(OLD), 0, 0)
    return [data[place : place + SECTOR_BYTES] for place in range(0, len(data), SECTOR_BYTES)]


def test_what_was_flushed_survives_every_cut(disk: CacheDisk) -> None:
    disk.fsync("/disk.img", 0, 0)
    assert set(after_cut(disk, "random")) == {NEW[:SECTOR_BYTES]}


def test_a_cut_tears_what_was_not_flushed_sector_by_sector(disk: CacheDisk) -> None:
    assert {bytes({sector[0]}) for sector in after_cut(disk, "random")} == {b"o", b"n"}


def test_a_cut_may_keep_an_orderly_beginning(disk: CacheDisk) -> None:
    kinds = b"".join(bytes({sector[0]}) for sector in after_cut(disk, "prefix", random.Random(3).randrange(99)))
    assert kinds == b"n" * kinds.count(b"n") + b"o" * kinds.count(b"o")
    assert b"n" in kinds


def test_a_cut_may_keep_nothing(disk: CacheDisk) -> None:
    assert set(after_cut(disk, "none")) == {OLD[:SECTOR_BYTES]}


def test_a_torn_last_line_was_never_promised() -> None:
    promises = Promises()
    promises.hear(b"ready\nentry 1 ab\nrecording cd\necg t 250\necg t 125\nentry 2 e")
    assert promises == Promises({1: "ab"}, {"cd"}, {"t": 250})
    with pytest.raises(ValueError, match="gibberish"):
        promises.hear(b"gibberish\n")


def test_the_table_says_what_was_caught() -> None:
    said = table(
        [Tally("T1", 1000, 5000, 40), Tally("T1, no fsync of files", 10, 50, 4, 2, lost=3, caught=9, seconds=5.0)]
    )
    assert [len(line) for line in said.splitlines()] == [len(said.splitlines()[0])] * 3
    assert said.splitlines()[2].split()[-7:] == ["50", "4", "2", "3", "9", "90%", "0.50"]
