"""A disk with a volatile write cache, as a file in a FUSE file system.

``python -m tests.powercut.cache_disk MOUNT BYTES PARENT``

What is written to ``MOUNT/disk.img`` stays in the cache until a flush (fsync of the file: the loop driver turns
REQ_OP_FLUSH and FUA into it). A line written to ``MOUNT/ctl`` is an order:

- ``cut POLICY SEED``: the power goes. Of what was not flushed, ``random`` keeps each 512-byte sector with p = 1/2, in
  any mix of old and new; ``prefix`` keeps what came first and tears the write at which it stops; ``none`` keeps
  nothing. Until ``on``, every access is an I/O error.
- ``on``: the power is back.
- ``flush``: as if the drive had been told to flush; used after mkfs.

Ends when ``MOUNT`` is unmounted, and with its parent, the process PARENT, in whatever way that ends. It leaves the
parent's mount namespace: the kernel unmounts what is in one with its last process, and a process that serves a disk
would wait for ever for its own answer.
"""

from __future__ import annotations

import errno
import random
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mfusepy

from tests.powercut.mounts import detach, die_with, enter_private_namespace

SECTOR_BYTES = 512
POLICIES = ("random", "prefix", "none")
_ENTRIES = {"/": stat.S_IFDIR | 0o700, "/disk.img": stat.S_IFREG | 0o600, "/ctl": stat.S_IFREG | 0o600}

Write = tuple[int, bytes]


class CacheDisk(mfusepy.Operations):  # type: ignore[misc]
    """``_now`` is what a reader sees, ``_platter`` what a cut leaves; they differ by ``_cached``, in order."""

    use_ns = True

    def __init__(self, size: int, folder: Path | None = None) -> None:
        """:param folder: where it is mounted; None for a disk that is asked directly"""
        self._now, self._platter = bytearray(size), bytearray(size)
        self._cached: list[Write] = []
        self._off = False
        self._folder = folder

    # what FUSE asks ---------------------------------------------------------------------------------------------------

    def init(self, path: str) -> None:
        """It is mounted: out of the namespace in which it is."""
        if self._folder is not None:
            enter_private_namespace()
            detach(self._folder)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path not in _ENTRIES:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": _ENTRIES[path], "st_nlink": 1, "st_size": len(self._now) if path == "/disk.img" else 0}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", "disk.img", "ctl"]

    def open(self, path: str, flags: int) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._check_power()
        return bytes(self._now[offset : offset + size]) if path == "/disk.img" else b""

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if path == "/ctl":
            self._obey(data.decode().split())
            return len(data)
        self._check_power()
        self._now[offset : offset + len(data)] = data
        self._cached.append((offset, bytes(data)))
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        if path == "/disk.img":
            self._check_power()
            self._flush()
        return 0

    def flush(self, path: str, fh: int) -> int:
        """close(2), not a flush of the drive."""
        return 0

    def release(self, path: str, fh: int) -> int:
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        return 0

    def fallocate(self, *_: object) -> int:
        """No discard, no zeroing behind our back: the loop driver writes instead."""
        raise mfusepy.FuseOSError(errno.EOPNOTSUPP)

    # the drive --------------------------------------------------------------------------------------------------------

    def _check_power(self) -> None:
        if self._off:
            raise mfusepy.FuseOSError(errno.EIO)

    def _obey(self, order: list[str]) -> None:
        match order:
            case ["cut", policy, seed] if policy in POLICIES:
                self._cut(policy, random.Random(int(seed)))
            case ["on"]:
                self._off = False
            case ["flush"]:
                self._flush()
            case _:
                raise mfusepy.FuseOSError(errno.EINVAL)

    def _flush(self) -> None:
        for offset, data in self._cached:
            self._platter[offset : offset + len(data)] = data
        self._cached.clear()

    def _cut(self, policy: str, chance: random.Random) -> None:
        self._off = True
        for offset, data in _surviving(self._cached, policy, chance):
            self._platter[offset : offset + len(data)] = data
        for offset, data in self._cached:
            self._now[offset : offset + len(data)] = self._platter[offset : offset + len(data)]
        self._cached.clear()


def _surviving(cached: list[Write], policy: str, chance: random.Random) -> Iterator[Write]:
    """What of the cache reached the platter when the power went."""
    if policy == "random":
        for offset, data in cached:
            for place in range(0, len(data), SECTOR_BYTES):
                if chance.random() < 0.5:
                    yield offset + place, data[place : place + SECTOR_BYTES]
    elif policy == "prefix" and cached:
        whole = chance.randrange(len(cached))
        yield from cached[:whole]
        offset, data = cached[whole]
        yield offset, data[: chance.randrange(len(data) // SECTOR_BYTES + 1) * SECTOR_BYTES]


def main(folder: str, size: str, parent: str) -> None:
    die_with(int(parent))
    mfusepy.FUSE(CacheDisk(int(size), Path(folder)), folder, foreground=True, nothreads=True, fsname="cache-disk")


if __name__ == "__main__":
    main(*sys.argv[1:])
