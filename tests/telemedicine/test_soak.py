"""The soak in short: what three consultations leave behind. ``make soak`` goes on for eight hours."""

from __future__ import annotations

from pathlib import Path

from soak import Left, memory_rises, soak


async def test_a_consultation_leaves_nothing_behind(tmp_path: Path) -> None:
    left = await soak(tmp_path, hours=0.0, least=3)
    assert len(left) == 3
    assert left[-1].memory_bytes < left[0].memory_bytes + 150e6


def test_memory_that_rises_is_seen() -> None:
    flat = [Left(1, 1, 1, 200 + number % 3) for number in range(40)]
    rising = [Left(1, 1, 1, 200 + number) for number in range(40)]
    assert memory_rises(flat) < 1.02
    assert memory_rises(rising) > 1.05
