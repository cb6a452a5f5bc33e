"""Which programs run, and which of them has a port open: read from /proc, as far as the rights go."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PROC = Path("/proc")


def running(proc: Path = PROC) -> dict[int, str]:
    """Process id -> name (the kernel cuts it after 15 characters)."""
    found = {}
    with contextlib.suppress(OSError):
        for entry in proc.iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    found[int(entry.name)] = (entry / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return found


def holders(port: str, proc: Path = PROC) -> dict[int, str]:
    """Those that have the port open, by whatever name it was opened; other users' programs only for root."""
    device = os.path.realpath(port)
    return {pid: name for pid, name in running(proc).items() if _has_open(proc / str(pid) / "fd", device)}


def _has_open(descriptors: Path, device: str) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor) == device:
                    return True
    return False
