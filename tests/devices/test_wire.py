"""The binary samples frame: what goes in comes out, anything else is refused as one kind of error."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from devices.readings import INVALID_COUNT, Samples
from devices.wire import FrameUnreadable, pack_samples, unpack_samples

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


def chunk(counts: np.ndarray, channels: tuple[str, ...]) -> Samples:
    return Samples("ecg", channels, 500.0, 2, 1234, counts, 1.25, "uV")


def test_layout_is_the_agreed_one() -> None:
    counts = np.array([[1, -2], [INVALID_COUNT, 32767]], np.int16)
    frame = pack_samples("ecg-1", chunk(counts, ("I", "II")))
    (length,) = struct.unpack_from("<I", frame)
    assert json.loads(frame[4 : 4 + length]) == {
        "type": "samples",
        "stream": "ecg",
        "device": "ecg-1",
        "channels": ["I", "II"],
        "sample_rate_hz": 500.0,
        "segment": 2,
        "first_index": 1234,
        "n": 2,
        "resolution": 1.25,
        "unit": "uV",
    }
    assert frame[4 + length :] == bytes.fromhex("0100 feff 0080 ff7f")


@given(arrays(np.int16, array_shapes(min_dims=2, max_dims=2, max_side=8)))
def test_there_and_back(counts: np.ndarray) -> None:
    sent = chunk(counts, LEADS[: counts.shape[1]])
    device, received = unpack_samples(pack_samples("ecg-1", sent))
    assert device == "ecg-1"
    assert np.array_equal(received.counts, counts)
    assert received.counts.flags.writeable
    names = ("stream", "channels", "sample_rate_hz", "segment", "first_index", "resolution", "unit")
    assert all(getattr(received, name) == getattr(sent, name) for name in names)


def test_counts_of_another_shape_are_refused_before_they_leave() -> None:
    with pytest.raises(ValueError, match="channels"):
        pack_samples("ecg-1", chunk(np.zeros((5, 3), np.int16), LEADS))


@given(st.binary(max_size=300), st.integers(0, 200))
def test_anything_else_is_unreadable(noise: bytes, cut: int) -> None:
    frame = pack_samples("ecg-1", chunk(np.zeros((5, 8), np.int16), LEADS))
    for wrong in (noise, frame[:cut], frame + b"\x00", struct.pack("<I", 2**31) + frame[4:]):
        with pytest.raises(FrameUnreadable):
            unpack_samples(wrong)
