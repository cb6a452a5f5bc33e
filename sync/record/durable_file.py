"""Files that are whole or not there: written under another name, synced, renamed, folder synced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sync.record.secret_file import sync_folder


@contextmanager
def growing_file(path: Path) -> Iterator[BinaryIO]:
    """A file that will be ``path`` once ``settle`` has been called; otherwise it is gone at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def settle(file: BinaryIO, path: Path) -> None:
    """Durable under its name when it returns."""
    file.flush()
    os.fsync(file.fileno())
    Path(file.name).replace(path)
    sync_folder(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """``content`` as ``path``, in place of what was there."""
    with growing_file(path) as file:
        file.write(content)
        settle(file, path)
