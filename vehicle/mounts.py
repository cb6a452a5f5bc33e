"""Sticks that are put in: file systems mounted below the folders where removable media appear."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
_ESCAPED = re.compile(rb"\\([0-3][0-7]{2})")


@dataclass(frozen=True, slots=True)
class Stick:
    """``writable`` as far as the mount and its permissions say; a worn-out stick may still refuse."""

    path: Path
    device: str
    free_bytes: int
    total_bytes: int
    writable: bool

    @property
    def name(self) -> str:
        """As people know it: the label that it was mounted under."""
        return self.path.name


def find_sticks(folders: Sequence[Path], mounts: Path = MOUNTS) -> list[Stick]:
    """What is mounted below ``folders`` and can be read, by path."""
    return sorted(_sticks(folders, mounts), key=lambda stick: stick.path)


def _sticks(folders: Sequence[Path], mounts: Path) -> Iterator[Stick]:
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        device, place, kind, options, *_ = [_unescaped(field) for field in (*line.split(b" "), b"", b"", b"", b"")]
        path = Path(place)
        if kind == "autofs" or not any(folder in path.parents for folder in folders):
            continue
        try:
            space = os.statvfs(path)
        except OSError:
            continue  # pulled out without being unmounted
        writable = "ro" not in options.split(",") and os.access(path, os.W_OK | os.X_OK)
        yield Stick(path, device, space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize, writable)


def _unescaped(field: bytes) -> str:
    """A field of proc(5) mounts: blanks and the like are written in octal."""
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), field))
