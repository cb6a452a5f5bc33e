"""The two disks that are cut: real ext4 on a loop device, its file in tmpfs (T1) or in ``cache_disk`` (T2)."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tests.powercut.cache_disk import POLICIES
from tests.powercut.loop_device import LoopDevice, NoLoopDevice
from tests.powercut.mounts import enter_private_namespace, mount, unmount

DISK_BYTES = 64 << 20
SCRATCH_BYTES = 256 << 20
_EXT4_IOC_SHUTDOWN = 0x8004587D
"""_IOR('X', 125, __u32); what xfstests' godown does."""
_NOLOGFLUSH = 2
_POLICY_WEIGHTS = (6, 3, 1)


class Disk(Protocol):
    """:ivar folder: where its file system is mounted"""

    folder: Path

    def renew(self) -> None:
        """An empty file system, mounted."""

    def cut(self, chance: random.Random) -> None:
        """The power goes, now: nothing more gets to the disk."""

    def power_up(self) -> None:
        """Unmount what is left and mount it again, as at the next start. Nobody may have a file open.

        :raises OSError: the file system does not mount.
        """

    def close(self) -> None: ...


class PlainDisk:
    """T1. The cut is ext4's own shutdown: what was not written to the device when it comes is lost."""

    def __init__(self, work: Path) -> None:
        self.folder = work / "mounted"
        self.folder.mkdir()
        self._loop, self._mounted = LoopDevice(), False
        image = work / "disk.img"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        self._loop.attach(image)

    def renew(self) -> None:
        self._unmount()
        _make_ext4(self._loop.path)
        self._mount()

    def cut(self, chance: random.Random) -> None:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
        finally:
            os.close(handle)

    def power_up(self) -> None:
        self._unmount()
        self._mount()

    def close(self) -> None:
        self._unmount()
        self._loop.release()

    def _mount(self) -> None:
        mount(str(self._loop.path), self.folder, "ext4")
        self._mounted = True

    def _unmount(self) -> None:
        if self._mounted:
            unmount(self.folder)
            self._mounted = False


class CachingDisk:
    """T2. The cut is the drive's: its write cache is lost, torn and reordered.

    :ivar process_id: of the drive
    """

    def __init__(self, work: Path) -> None:
        self.folder, self._drive = work / "mounted", work / "drive"
        self.folder.mkdir()
        self._drive.mkdir()
        self._loop, self._mounted = LoopDevice(), False
        self._process = _start_cache_disk(self._drive)
        self.process_id = self._process.pid

    def renew(self) -> None:
        self._unmount()
        self._loop.attach(self._drive / "disk.img")
        _make_ext4(self._loop.path)
        self._loop.detach()
        self._order("flush")
        self._mount()

    def cut(self, chance: random.Random) -> None:
        policy = chance.choices(POLICIES, _POLICY_WEIGHTS)[0]
        self._order(f"cut {policy} {chance.randrange(1 << 30)}")

    def power_up(self) -> None:
        self._unmount()
        self._order("on")
        self._mount()

    def close(self) -> None:
        with suppress(OSError):
            self._unmount()
        self._loop.release()
        unmount(self._drive)
        self._process.wait(10)

    def _order(self, order: str) -> None:
        handle = os.open(self._drive / "ctl", os.O_WRONLY)
        try:
            os.write(handle, order.encode())
        finally:
            os.close(handle)

    def _mount(self) -> None:
        """Attached anew each time: neither the device nor the file behind it keeps a page from before the cut."""
        self._loop.attach(self._drive / "disk.img")
        mount(str(self._loop.path), self.folder, "ext4")
        self._mounted = True

    def _unmount(self) -> None:
        if self._mounted:
            unmount(self.folder)
            self._mounted = False
        self._loop.detach()


def what_is_lacking() -> str | None:
    """Why no power can be cut here; else this process is in a mount namespace of its own afterwards."""
    if os.geteuid() != 0:
        return "not root"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no /dev/fuse"
    if not shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        return "no mkfs.ext4"
    try:
        LoopDevice().release()
        enter_private_namespace()
    except (NoLoopDevice, OSError) as fault:
        return str(fault)
    return None


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory that nobody else sees."""
    folder = Path(tempfile.mkdtemp(prefix="powercut-"))
    mount("tmpfs", folder, "tmpfs", f"size={SCRATCH_BYTES},mode=700")
    try:
        yield folder
    finally:
        unmount(folder)
        folder.rmdir()


def _make_ext4(device: Path) -> None:
    command = ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard", "-N", "4096", str(device)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _start_cache_disk(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.powercut.cache_disk", str(folder), str(DISK_BYTES), str(os.getpid())]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    until_s = time.monotonic() + 20
    while not (folder / "disk.img").exists():
        if process.poll() is not None or time.monotonic() > until_s:
            process.kill()
            raise RuntimeError("the disk with a volatile cache did not come up")
        time.sleep(0.01)  # FUSE tells nobody that it is mounted
    return process
