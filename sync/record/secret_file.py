"""Secrets on disk: made once, readable by their owner only, durable before they are used."""

from __future__ import annotations

import os
from pathlib import Path

from devices.errors import AskPerson


class KeyMissing(AskPerson):
    code = "key_missing"


def create_secret(path: Path, text: str) -> None:
    """Write ``text`` as ``path`` with mode 0600, synced with its folder.

    :raises FileExistsError: there is one already; a secret is never overwritten.
    """
    written = _write_beside(path, text)
    try:
        os.link(written, path)
    finally:
        written.unlink()
    sync_folder(path.parent)


def replace_secret(path: Path, text: str) -> None:
    """As ``create_secret``, in place of what ``path`` holds: after a power cut the one or the other is there, whole."""
    os.replace(_write_beside(path, text), path)
    sync_folder(path.parent)


def _write_beside(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    return written


def read_secret(path: Path) -> str:
    """:raises KeyMissing: not there or not readable."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise KeyMissing(
            f"{path}: key not readable ({fault}); bring it back from its backup, or enrol the vehicle again", path=path
        ) from fault


def sync_folder(folder: Path) -> None:
    """fsync of a folder: makes a rename or a new name in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
