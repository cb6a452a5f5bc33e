"""Stores that break their word on purpose: each control leaves out one thing that durability needs.

A test that does not catch them proves nothing. They are put into the forked writer; the product has no such switches.
"""

from __future__ import annotations

import os
import stat
from typing import Any

import sync.record.store

CONTROLS = ("synchronous=NORMAL", "no fsync of files", "no fsync of folders")


def weaken(control: str) -> None:
    """Break this process's store. For a forked child only: there is no way back."""
    match control:
        case "synchronous=NORMAL":
            _open_without_full_sync()
        case "no fsync of files":
            _skip_syncs_of(stat.S_ISREG)
        case "no fsync of folders":
            _skip_syncs_of(stat.S_ISDIR)
        case _:
            raise ValueError(f"control {control!r} is none of {CONTROLS}")


def _open_without_full_sync() -> None:
    open_database = vars(sync.record.store)["open_database"]

    def open_weakly(*arguments: Any, **named: Any) -> Any:
        db = open_database(*arguments, **named)
        db.execute("PRAGMA synchronous=NORMAL")
        return db

    vars(sync.record.store)["open_database"] = open_weakly


def _skip_syncs_of(kind: Any) -> None:
    """``kind``: tells from a file's mode whether its fsync is left out. SQLite's own syncs are not Python's."""
    real = {name: getattr(os, name) for name in ("fsync", "fdatasync")}

    def unless(name: str) -> Any:
        return lambda handle: None if kind(os.fstat(_number(handle)).st_mode) else real[name](handle)

    for name in real:
        setattr(os, name, unless(name))


def _number(handle: Any) -> int:
    return handle if isinstance(handle, int) else int(handle.fileno())
