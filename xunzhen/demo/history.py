"""Has the demo lived through its past weeks, and if not, live them: one process for each van, side by side."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from xunzhen.demo.home import CREWS, Home
from xunzhen.demo.processes import ServiceDidNotStart, end_with_the_demo


def lived_through(home: Home) -> bool:
    return _mark(home).exists()


async def live_through(home: Home, days: int) -> None:
    """Live the ``days`` before today, all vans at once, each in a process of its own.

    :raises ServiceDidNotStart: a van's weeks failed; the message carries the end of what it said
    """
    lives = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "xunzhen.demo.weeks", str(home.folder), vehicle, str(days)),
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=end_with_the_demo,
        )
        for vehicle in CREWS
    ]
    try:
        for vehicle, life, (_, said) in zip(CREWS, lives, await _all_said(lives), strict=True):
            if life.returncode:
                raise ServiceDidNotStart(
                    f"the past weeks of {vehicle} failed:\n{said.decode(errors='replace')[-2000:]}"
                )
    finally:
        for life in lives:
            if life.returncode is None:
                life.kill()
    _mark(home).write_text(f"{days} days\n")


async def _all_said(lives: Sequence[asyncio.subprocess.Process]) -> list[tuple[bytes, bytes]]:
    return await asyncio.gather(*(life.communicate() for life in lives))


def _mark(home: Home) -> Path:
    return home.folder / "lived-through"
