"""What would spoil a start, found before anything is written: a demo that runs already, a port taken, a full disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from devices.errors import AskPerson
from sync.data_folder import FolderRefused
from xunzhen.demo.home import Home

ROOM_BYTES = 500 * 10**6
"""The past weeks take 70 MB; the rest is for what the live van records."""


class DemoRunsAlready(AskPerson):
    code = "demo_runs_already"


class PortIsTaken(AskPerson):
    code = "port_taken"


class NoRoom(AskPerson):
    code = "disk_full"


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """The folder is this demo's alone; the kernel gives it back however the demo ends.

    :raises DemoRunsAlready: another demo works in it
    :raises FolderRefused: it cannot be made or written to
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as refusal:
        raise FolderRefused(f"{folder}: {refusal.strerror}; choose another with make demo DEMO='--home ~/xz'") from None
    try:
        if not os.access(folder, os.W_OK):
            raise FolderRefused(f"{folder} belongs to somebody else; choose another with make demo DEMO='--home ~/xz'")
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoRunsAlready(
                f"a demo runs already in {folder}: use that one, end it with Ctrl-C where it was started, or start "
                "another beside it with make demo DEMO='--home /tmp/xz --ports 8410,8510'"
            ) from None
        yield
    finally:
        os.close(directory)


def forget(folder: Path) -> None:
    """Empty the folder; it stays itself, because it is what ``only_one`` holds."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def need_room(folder: Path, room_bytes: int = ROOM_BYTES) -> None:
    """:raises NoRoom: the disk of ``folder`` has less than ``room_bytes`` left"""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < room_bytes:
        raise NoRoom(
            f"{folder} has {free_bytes // 10**6} MB left and a demo needs {room_bytes // 10**6}: make room, or choose "
            "another disk with make demo DEMO='--home ~/xz'"
        )


def need_free_ports(home: Home) -> None:
    """:raises PortIsTaken: another program listens where the touchscreen or the county shall answer"""
    for what, port in (("touchscreen", home.ports.touchscreen), ("county", home.ports.county)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except (OSError, OverflowError) as refusal:
                raise PortIsTaken(
                    f"port {port} for the {what} cannot be used ({refusal}): end the program that holds it, or choose "
                    "other ports with make demo DEMO='--ports 8410,8510'"
                ) from None
