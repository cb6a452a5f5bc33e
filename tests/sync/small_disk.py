"""A small real disk that can be filled: ext4 on a loop device, for tests of what happens when there is no room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sync.record.secret_file import sync_folder
from tests.powercut.loop_device import LoopDevice, NoLoopDevice
from tests.powercut.mounts import detach, mount, unmount

DISK_BYTES = 64 << 20


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, leave_bytes: int = 0) -> None:
        """With the files of somebody else, until ``leave_bytes`` are free."""
        with self._filler.open("ab") as file:
            _to_the_last_block(file.fileno())
            if leave_bytes:
                file.truncate(os.fstat(file.fileno()).st_size - leave_bytes)
            os.fsync(file.fileno())

    def empty(self) -> None:
        """What ``fill`` wrote goes."""
        self._filler.unlink()
        sync_folder(self.folder)

    @property
    def free_bytes(self) -> int:
        space = os.statvfs(self.folder)
        return space.f_bavail * space.f_frsize


def _to_the_last_block(handle: int) -> None:
    step = 1 << 20
    while step >= 4096:
        try:
            os.posix_fallocate(handle, os.fstat(handle).st_size, step)
        except OSError:
            step //= 2


@contextmanager
def small_disk(work: Path) -> Iterator[SmallDisk]:
    """Mounted below ``work``; skips where that is not allowed. Whoever has a file open on it closes it before.

    :raises OSError: somebody did not; it is no longer mounted all the same
    """
    folder, image = work / "small", work / "small.img"
    folder.mkdir()
    image.write_bytes(b"")
    os.truncate(image, DISK_BYTES)
    with ExitStack() as after:
        try:
            loop = LoopDevice()
            after.callback(loop.release)
            loop.attach(image)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(loop.path)], check=True, capture_output=True)
            mount(str(loop.path), folder, "ext4")
        except (NoLoopDevice, OSError, subprocess.CalledProcessError) as fault:
            pytest.skip(f"no file system of our own to fill: {fault}")
        after.callback(_unmount, folder)
        yield SmallDisk(folder)


def _unmount(folder: Path) -> None:
    try:
        unmount(folder)
    except OSError:
        detach(folder)
        raise
