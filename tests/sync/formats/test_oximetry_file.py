"""Stored oximetry as a file: written and read back, the same bytes for the same stretch, damage refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.readings import StoredOximetry
from sync.formats import oximetry_file
from sync.formats.oximetry_file import OximetryFileUnreadable

VALUES = st.lists(st.tuples(st.none() | st.integers(1, 100), st.none() | st.integers(1, 300)), min_size=1, max_size=200)
NIGHT = StoredOximetry((97, None, 88), (60, 201, None), 4.0, "2026-11-20T22:41:07")


@given(values=VALUES, interval_ms=st.integers(1, 60_000), said_at=st.none() | st.just("2026-11-20T22:41:07"))
def test_what_was_written_is_read(values: list[tuple[int | None, int | None]], interval_ms: int, said_at: str) -> None:
    spo2, pulse = zip(*values, strict=True)
    stored = StoredOximetry(spo2, pulse, interval_ms / 1000, said_at)
    file = oximetry_file.write(stored)
    assert oximetry_file.read(file) == stored
    assert oximetry_file.write(stored) == file


def test_a_quiet_night_is_small() -> None:
    night = StoredOximetry((96,) * 28_800, (58,) * 28_800, 1.0)
    assert len(oximetry_file.write(night)) < 1000


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"xunzhen-oximetry/2\n",
        oximetry_file.write(NIGHT)[:-3],
        oximetry_file.write(NIGHT).replace(b'"count":3', b'"count":4'),
        oximetry_file.write(NIGHT).replace(b'"count":3', b'"count":0'),
        oximetry_file.write(NIGHT).replace(b'"interval_ms":4000', b'"interval_ms":""'),
        oximetry_file.write(NIGHT).replace(b'"count"', b'"counts"'),
        oximetry_file.write(NIGHT).replace(b"{", b"[", 1),
    ],
    ids=["empty", "later-version", "cut-off", "too-few", "none", "no-interval", "no-count", "no-object"],
)
def test_what_is_damaged_is_refused(file: bytes) -> None:
    with pytest.raises(OximetryFileUnreadable):
        oximetry_file.read(file)
