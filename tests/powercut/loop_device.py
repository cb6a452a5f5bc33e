"""A loop device of our own: a number that a lock keeps for us, detached by the kernel when this process ends.

A run that was killed may have left a device mounted. Its lock says which file it was attached to, and the next run
unmounts it.

``mkfs`` goes through the device, never to its file behind its back: the device has a page cache of its own.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.powercut.mounts import detach, mounted_at

NUMBERS = range(40, 100)
_LOOP_MAJOR = 7
_LOOP_CTL_ADD = 0x4C80
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4
_CONFIG_BYTES, _FLAGS_AT = 304, 60
"""struct loop_config of linux/loop.h: u32 fd, u32 block size, struct loop_info64 (lo_flags at 52), 8 reserved u64."""
_LONGEST_BUSY_S = 10.0


class NoLoopDevice(Exception):
    """None of the numbers is free, or loop devices are not to be had here."""


class LoopDevice:
    """:ivar path: the block device, once ``attach`` was called"""

    def __init__(self) -> None:
        """:raises NoLoopDevice: see there."""
        self._handle: int | None = None
        unmount_leftovers()
        for number in NUMBERS:
            lock = _lock(number)
            if lock is None:
                continue
            self._lock, self._number = lock, number
            self.path = _node(number)
            if _attached_to(number) is None:
                return
            os.close(lock)
        raise NoLoopDevice(f"no free loop device among {NUMBERS.start} to {NUMBERS.stop - 1}")

    def attach(self, image: Path) -> None:
        """Back the device by ``image``. The kernel detaches it when nobody has it open or mounted any more."""
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, os.fsencode(image), 0)
        behind = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        device = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        config = bytearray(_CONFIG_BYTES)
        struct.pack_into("=I", config, 0, behind)
        struct.pack_into("=I", config, _FLAGS_AT, _LO_FLAGS_AUTOCLEAR)
        try:
            fcntl.ioctl(device, _LOOP_CONFIGURE, config)
        except OSError:
            os.close(device)
            raise
        finally:
            os.close(behind)
        self._handle = device

    def detach(self) -> None:
        """Returns once the device has let go of its file, and with it of all cached pages.

        :raises TimeoutError: somebody else has it open.
        """
        if self._handle is None:
            return
        os.close(self._handle)
        self._handle = None
        until_s = time.monotonic() + _LONGEST_BUSY_S
        while _attached_to(self._number) is not None:
            if time.monotonic() > until_s:
                raise TimeoutError(f"{self.path} stays attached")
            time.sleep(0.001)  # the kernel offers no event for this

    def release(self) -> None:
        try:
            self.detach()
        finally:
            os.close(self._lock)


def unmount_leftovers() -> None:
    """Unmount what killed runs have left: attached to the file that the lock names, and nobody holds the lock."""
    for number in NUMBERS:
        if not _lock_file(number).exists() or (lock := _lock(number)) is None:
            continue
        try:
            if _attached_to(number) == os.pread(lock, 4096, 0).decode() != "":
                for target in mounted_at(Path(f"/dev/loop{number}")):
                    detach(target)
        finally:
            os.close(lock)


def _attached_to(number: int) -> str | None:
    try:
        named = Path(f"/sys/block/loop{number}/loop/backing_file").read_text(encoding="utf-8")
    except OSError:  # ENOENT: not attached; ENXIO: it is just being detached
        return None
    return named.rstrip("\n").removesuffix(" (deleted)")


def _lock(number: int) -> int | None:
    """One run per number, or two runs would cut each other's disks."""
    handle = os.open(_lock_file(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _lock_file(number: int) -> Path:
    return Path(tempfile.gettempdir()) / f"powercut-loop{number}.lock"


def _node(number: int) -> Path:
    try:
        control = os.open("/dev/loop-control", os.O_RDWR)
    except OSError as fault:
        raise NoLoopDevice(str(fault)) from fault
    try:
        with suppress(FileExistsError):
            fcntl.ioctl(control, _LOOP_CTL_ADD, number)
    except OSError as fault:
        raise NoLoopDevice(f"loop{number}: {fault}") from fault
    finally:
        os.close(control)
    path = Path(f"/dev/loop{number}")
    if not path.exists():  # a container without udev
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(_LOOP_MAJOR, number))
    return path
