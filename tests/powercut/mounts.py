"""Mounts that nobody else sees: a mount namespace of this process's own, mount(2) and umount2(2); its end with its
parent."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import time
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
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


def detach(target: Path) -> None:
    """Unmount now, for all who look; what is still open in it keeps it alive unseen. :raises OSError: not mounted."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def mounted_at(source: Path) -> list[Path]:
    """Where ``source`` is mounted in this process's namespace, the newest first."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [Path(_unescaped(target)) for named, target, *_ in reversed(lines) if named == str(source)]


def _unescaped(name: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), name)


def die_with(parent: int) -> None:
    """From here on this process is killed when ``parent``, which has started it, ends in any way."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:  # it was faster
        os._exit(1)


def _check(done: int, what: str) -> None:
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
