"""Mounts that nobody else sees: a mount namespace of this process's own, mount(2) and umount2(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_LONGEST_BUSY_S = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


def enter_private_namespace() -> None:
    """From here on mounts of this process and its children are theirs alone, and end with the last of them.

    :raises OSError: not root, or not allowed in this container.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "mount --make-rprivate /")


def mount(source: str, target: Path, kind: str, options: str = "") -> None:
    """:raises OSError: the kernel refuses; for a file system after a cut that means: it did not survive."""
    done = _libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(0), options.encode())
    _check(done, f"mount {source} as {kind}")


def unmount(target: Path) -> None:
    """Waits for what the kernel still holds after a process was killed. :raises OSError: busy for 10 s."""
    until_s = time.monotonic() + _LONGEST_BUSY_S
    while _libc.umount2(os.fsencode(target), 0) != 0:
        code = ctypes.get_errno()
        if code != errno.EBUSY or time.monotonic() > until_s:
            raise OSError(code, f"umount {target}: {os.strerror(code)}")
        time.sleep(0.005)  # the kernel offers no event for this


def _check(done: int, what: str) -> None:
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
