"""What leaves for the pages: chunks merged while bits are scarce, none lost, none across a gap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from consultation_stage import CHUNK, ecg_chunk
from hypothesis import given
from hypothesis import strategies as st

from devices.packed_samples import SampleForm, unpack
from devices.readings import Samples
from devices.wire import unpack_samples
from telemedicine.live_chunks import LiveChunk, LiveChunks


class Page:
    """Knows the forms that were told, reads both forms of a chunk."""

    def __init__(self) -> None:
        self.forms: dict[int, SampleForm] = {}
        self.chunks = LiveChunks(self.forms.__setitem__)
        self.got: list[Samples] = []

    def take(self, ready: Iterable[LiveChunk]) -> None:
        for chunk in ready:
            assert chunk.packed is not None
            device, packed = unpack(chunk.packed, self.forms)
            assert device == chunk.device == "ecg-1"
            _, plain = unpack_samples(chunk.plain)
            assert np.array_equal(packed.counts, plain.counts)
            assert (packed.segment, packed.first_index) == (plain.segment, plain.first_index)
            self.got.append(packed)

    def covered(self) -> list[tuple[int, int]]:
        return [(chunk.segment, chunk.first_index + i) for chunk in self.got for i in range(len(chunk.counts))]


def test_with_room_each_chunk_leaves_at_once() -> None:
    page = Page()
    for number in range(5):
        page.take(page.chunks.add("ecg-1", ecg_chunk(number * CHUNK)))
        assert len(page.got) == number + 1


def test_while_bits_are_scarce_a_fifth_of_a_second_travels_together() -> None:
    page = Page()
    page.chunks.merging = True
    for first in range(0, 1000, 25):
        page.take(page.chunks.add("ecg-1", ecg_chunk(first, 25)))
    assert [len(chunk.counts) for chunk in page.got] == [100] * 10
    assert page.got[-1].counts.tolist() == ecg_chunk(900, 100).counts.tolist()


def test_what_waits_leaves_when_the_link_is_wide_again_or_belongs_to_somebody_else() -> None:
    page = Page()
    page.chunks.merging = True
    page.take(page.chunks.add("ecg-1", ecg_chunk(0)))
    page.take(page.chunks.flush())
    assert page.covered() == [(1, index) for index in range(CHUNK)]
    page.take(page.chunks.add("ecg-1", ecg_chunk(CHUNK)))
    page.chunks.forget()
    page.take(page.chunks.flush())
    assert len(page.got) == 1


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(1, 120), st.booleans()), max_size=40))
def test_everything_leaves_once_and_in_order(steps: list[tuple[int, int, int, bool]]) -> None:
    page, sent, segment, at = Page(), [], 0, 0
    for new_segment, gap, count, merging in steps:
        segment, at = (segment + 1, 0) if new_segment else (segment, at + 7 * gap)
        page.chunks.merging = merging
        page.take(page.chunks.add("ecg-1", ecg_chunk(at, count, segment)))
        sent += [(segment, at + i) for i in range(count)]
        at += count
    page.take(page.chunks.flush())
    assert page.covered() == sent
    for chunk in page.got:
        assert np.array_equal(chunk.counts, ecg_chunk(chunk.first_index, len(chunk.counts)).counts)


def test_a_form_is_told_once_and_another_one_gets_another_number() -> None:
    page = Page()
    page.take(page.chunks.add("ecg-1", ecg_chunk(0)))
    page.take(page.chunks.add("ecg-1", ecg_chunk(CHUNK)))
    assert list(page.forms) == [0]
    few = Samples("ecg", ("I",), 250.0, 3, 0, np.zeros((10, 1), np.int16), 2.5, "uV")
    page.take(page.chunks.add("ecg-1", few))
    assert page.forms[1].channels == ("I",)
    assert page.got[-1].sample_rate_hz == 250.0
