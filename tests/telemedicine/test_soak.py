"""The soak in short: what two consultations leave behind. ``make soak`` goes on for eight hours."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from soak import Left, memory_rises, slope_bytes, soak


async def test_a_consultation_leaves_nothing_behind(tmp_path: Path) -> None:
    left = await soak(tmp_path, consultations=2)
    assert len(left) == 2
    assert left[-1].memory_bytes < left[0].memory_bytes + 150e6


def test_memory_that_rises_is_seen() -> None:
    flat = [Left(1, 1, 1, 1, 200 + number % 3) for number in range(40)]
    rising = [Left(1, 1, 1, 1, 200 + number) for number in range(40)]
    assert memory_rises(flat) < 1.02
    assert memory_rises(rising) > 1.05
    assert abs(slope_bytes(flat)) < 0.1
    assert slope_bytes(rising) == pytest.approx(1)


async def test_a_socket_a_file_or_a_task_that_stays_is_seen(tmp_path: Path) -> None:
    before = Left.now()
    with socket.socket():
        assert Left.now().exceeds(before)
    with (tmp_path / "file").open("w"):
        assert Left.now().exceeds(before)
    task = asyncio.create_task(asyncio.Event().wait())
    assert Left.now().exceeds(before)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not Left.now().exceeds(before)
