"""A run that is killed in the middle leaves no disk behind that would hang the machine or be in the next run's way."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.powercut.loop_device import unmount_leftovers

ROOT = Path(__file__).parents[2]
CACHING_DISK = """
import sys
from tests.powercut.disks import CachingDisk, scratch, what_is_lacking
if what_is_lacking() is None:
    with scratch() as work:
        disk = CachingDisk(work)
        disk.renew()
        (disk.folder / "unflushed").write_bytes(b"x" * 1_000_000)
        print(disk.process_id, flush=True)
        sys.stdin.read()
"""
SMALL_DISK = """
import sys
from pathlib import Path
from tests.sync.small_disk import small_disk
with small_disk(Path(sys.argv[1])) as disk:
    print(disk.folder, flush=True)
    sys.stdin.read()
"""


def killed(program: str, *arguments: str) -> str:
    """What a run had said when it was killed with -9."""
    command = [sys.executable, "-c", program, *arguments]
    run = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdin is not None
    assert run.stdout is not None
    with run.stdin, run.stdout:
        said = run.stdout.readline().strip()
        if said:
            run.kill()
        run.wait(60)
    if not said:
        pytest.skip("needs root, loop devices and /dev/fuse")
    return said


def test_disk_with_a_volatile_cache_ends_with_its_run() -> None:
    disk = int(killed(CACHING_DISK))
    try:
        end = os.pidfd_open(disk)
    except ProcessLookupError:
        return
    try:
        assert select.select([end], [], [], 20)[0], "it waits for its own answer: the kernel unmounts it from within"
    finally:
        os.close(end)


def test_next_run_unmounts_what_a_killed_one_left(tmp_path: Path) -> None:
    folder = Path(killed(SMALL_DISK, str(tmp_path)))
    assert folder.is_mount()
    unmount_leftovers()
    assert not folder.is_mount()
