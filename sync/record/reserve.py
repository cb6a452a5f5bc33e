"""Room kept back on the disk, so that the journal can still be written when everything else has filled it.

A file of real blocks beside the journal. When a commit meets a full disk, the file goes, the commit is tried once more
and succeeds; a person is told, and the file is made again once there is room.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from devices.events import emit
from sync.record.secret_file import sync_folder

RESERVE_BYTES = 16 << 20
"""The write-ahead log (4 MB) and about 10,000 entries: some days of records without recordings."""


class Reserve:
    """``make`` and ``release`` may be called from any thread, but not at the same time."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path, self._size_bytes = path, size_bytes

    @property
    def held(self) -> bool:
        """Whether the room is there to be released; always, when none is wanted."""
        try:
            return self._size_bytes == 0 or self._path.stat().st_size >= self._size_bytes
        except FileNotFoundError:
            return False

    def make(self) -> bool:
        """Take the room, if as much stays free beside it; whether it is held."""
        if self.held:
            return True
        space = os.statvfs(self._path.parent)
        if space.f_bavail * space.f_frsize < 2 * self._size_bytes:
            return False
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(handle, 0, self._size_bytes)
        except OSError:
            self._path.unlink()
            return False
        finally:
            os.close(handle)
        return True

    def release(self) -> bool:
        """Give the room to whoever writes next; whether there was any."""
        if self._size_bytes == 0 or not self.held:
            return False
        self._path.unlink()
        sync_folder(self._path.parent)  # freed blocks may be used only once the file system has written that down
        emit("reserve_released", level=logging.WARNING, bytes=self._size_bytes)
        return True
