"""What is free in the C library's heap goes back to the system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from telemedicine import heap

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
BLOCK_BYTES, BLOCKS = 60_000, 3_000
"""Below what the C library takes from the system one by one."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def test_free_memory_under_what_is_still_used_goes_back() -> None:
    if "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"):
        pytest.skip("skipped: another C library")
    blocks = [bytearray(os.urandom(16) * (BLOCK_BYTES // 16)) for _ in range(BLOCKS)]
    full = resident_bytes()
    last = blocks[-1]
    blocks.clear()
    holes = resident_bytes()
    assert holes > full - 0.2 * BLOCKS * BLOCK_BYTES, "the C library gave it back by itself: this test shows nothing"
    heap.give_back()
    assert resident_bytes() < full - 0.8 * BLOCKS * BLOCK_BYTES
    assert len(last) == BLOCK_BYTES
