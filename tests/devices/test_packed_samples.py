"""Packed samples: what goes in comes out bit for bit, anything else is refused, and real ECG becomes small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from devices.packed_samples import (
    MOST_SAMPLES,
    PackedUnreadable,
    SampleForm,
    form_of,
    is_packed,
    pack,
    unpack,
)
from devices.readings import INVALID_COUNT, Samples
from devices.simulators.ecg_source import ecg_source
from devices.wire import pack_samples

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8", "V9", "V3R")
RECORD = Path(__file__).parents[3] / "shared/data/ecg/samples12/cinc2021/E07500.hea"


def chunk(counts: np.ndarray, segment: int = 2, first_index: int = 1234) -> Samples:
    return Samples("ecg", LEADS[: counts.shape[1]], 500.0, segment, first_index, counts, 1.25, "uV")


def there_and_back(sent: Samples, number: int = 7) -> Samples:
    device, received = unpack(pack(number, sent), {number: form_of("ecg-1", sent)})
    assert device == "ecg-1"
    names = ("stream", "channels", "sample_rate_hz", "segment", "first_index", "resolution", "unit")
    assert all(getattr(received, name) == getattr(sent, name) for name in names)
    assert received.counts.dtype == np.int16
    return received


SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=12)
EDGES = st.sampled_from([INVALID_COUNT, -32767, -1, 0, 1, 32767])


@given(
    st.one_of(
        arrays(np.int16, SHAPES),
        arrays(np.int16, SHAPES, elements=st.integers(-40, 40)),
        arrays(np.int16, SHAPES, elements=EDGES),
        arrays(np.int16, st.tuples(st.integers(0, 2), st.integers(0, 3))),
    ),
    st.integers(0, 255),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
)
def test_any_counts_of_any_shape_come_back(counts: np.ndarray, number: int, segment: int, first: int) -> None:
    assert np.array_equal(there_and_back(chunk(counts, segment, first), number).counts, counts)


@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 12), st.integers(0, 14))
def test_long_chunks_of_any_noise_come_back(seed: int, n: int, leads: int, scale: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 1 << scale, (n, leads)).cumsum(axis=0)
    counts = np.clip(noise, -32768, 32767).astype(np.int16)
    assert np.array_equal(there_and_back(chunk(counts)).counts, counts)


def as_bytes(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)


def test_the_bits_are_the_documented_ones() -> None:
    counts = np.array([[INVALID_COUNT, 0], [INVALID_COUNT, -1], [INVALID_COUNT, 1], [INVALID_COUNT, 0]], np.int16)
    bits = "11" + "1000000000000000" + "00" + "0000" + "0" + "10" + "110" + "0"
    assert pack(5, chunk(counts, segment=1, first_index=300)) == bytes([5, 0x81, 1, 0xAC, 0x02, 4]) + as_bytes(bits)


def test_differences_and_escapes_are_read_as_documented() -> None:
    counts = np.array([[3], [5], [7], [8], [-32768]], np.int16)
    folded = 2 * (32768 + 9) - 1  # of -32768 - (2 * 8 - 7)
    bits = "10" + "0001" + f"{3:016b}" + f"{5:016b}" + "00" + "01" + "1" * 20 + f"{folded:018b}"
    _, read = unpack(bytes([0, 0x81, 0, 0, 5]) + as_bytes(bits), {0: form_of("ecg-1", chunk(counts))})
    assert np.array_equal(read.counts, counts)


@pytest.mark.parametrize(
    "wrong",
    [
        chunk(np.zeros((5, 3), np.int32)),
        chunk(np.zeros((MOST_SAMPLES + 1, 1), np.int16)),
        chunk(np.zeros((1, 1), np.int16), first_index=-1),
        Samples("ecg", LEADS, 500.0, 0, 0, np.zeros((5, 3), np.int16), 1.25, "uV"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_leaves(wrong: Samples) -> None:
    with pytest.raises(ValueError):
        pack(0, wrong)


@given(st.binary(max_size=60), st.integers(0, 59))
def test_anything_else_is_unreadable(noise: bytes, cut: int) -> None:
    """Or it is some other chunk, where the noise happens to be one: never another error, never much memory."""
    sent = chunk(np.random.default_rng(1).normal(0, 20, (25, 3)).astype(np.int16))
    whole, forms = pack(0, sent), {0: form_of("ecg-1", sent)}
    for wrong in (whole[: min(cut, len(whole) - 1)], whole + b"\x00", bytes([1]) + whole[1:], b"\x00\x82" + whole[2:]):
        with pytest.raises(PackedUnreadable):
            unpack(wrong, forms)
    try:
        _, read = unpack(b"\x00\x81" + noise, forms)
    except PackedUnreadable:
        return
    assert read.counts.shape[0] <= MOST_SAMPLES


@given(arrays(np.int16, SHAPES))
def test_a_plain_frame_is_not_taken_for_a_packed_one(counts: np.ndarray) -> None:
    sent = chunk(counts)
    assert is_packed(pack(0, sent))
    assert not is_packed(pack_samples("ecg-1", sent))


@pytest.mark.parametrize(("n", "most_kbit_s"), [(25, 29.0), (100, 26.0)])
@pytest.mark.parametrize("record", [None, RECORD], ids=["synthesised", "recorded"])
def test_real_ecg_becomes_small(record: Path | None, n: int, most_kbit_s: float) -> None:
    """64 kbit/s of counts, 104 with the headers of ``devices.wire``."""
    if record is not None and not record.exists():
        pytest.skip("no ../shared")
    counts = np.round(ecg_source(record).next_uv(5000) / 1.25).astype(np.int16)
    chunks = [chunk(counts[at : at + n], 1, at) for at in range(0, 5000, n)]
    forms: dict[int, SampleForm] = {1: form_of("ecg-1", chunks[0])}
    frames = [pack(1, each) for each in chunks]
    assert np.array_equal(np.concatenate([unpack(frame, forms)[1].counts for frame in frames]), counts)
    assert sum(map(len, frames)) * 8 / 10 / 1000 < most_kbit_s
