"""Every ECG that a driver makes of its captures goes to screens and specialists without a count lost."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from device_captures import captures_of

from devices import catalog, packed_samples
from devices.capture import read_capture, run_through
from devices.readings import Samples
from devices.wire import pack_samples, unpack_samples

ECG = [name for name in catalog.drivers() if any(metric.key == "ecg" for metric in catalog.about(name).metrics)]
CAPTURES = [pytest.param(path, id=f"{name}/{path.name}") for name in ECG for path in captures_of(name)]


def waves(path: Path) -> list[Samples]:
    capture = read_capture(path)
    events = run_through(catalog.driver(capture.head.driver)(), capture)
    return [event for event in events if isinstance(event, Samples) and event.stream == "ecg"]


@pytest.mark.parametrize("driver", ECG)
def test_every_ecg_driver_has_a_capture_with_a_wave(driver: str) -> None:
    assert any(waves(path) for path in captures_of(driver))


@pytest.mark.parametrize("path", CAPTURES)
def test_both_forms_of_the_live_feed_carry_it_whole(path: Path) -> None:
    for samples in waves(path):
        _, again = unpack_samples(pack_samples("ecg-1", samples))
        form = packed_samples.form_of("ecg-1", samples)
        packed = packed_samples.unpack(packed_samples.pack(3, samples), {3: form})[1]
        for arrived in (again, packed):
            assert np.array_equal(arrived.counts, samples.counts)
            assert (arrived.channels, arrived.first_index, arrived.segment) == (
                samples.channels,
                samples.first_index,
                samples.segment,
            )
            assert (arrived.sample_rate_hz, arrived.resolution, arrived.unit) == (
                samples.sample_rate_hz,
                samples.resolution,
                "uV",
            )


@pytest.mark.parametrize("path", CAPTURES)
def test_the_index_has_no_holes_that_are_not_gaps(path: Path) -> None:
    """Chunks follow each other; what is jumped over was lost."""
    chunks = waves(path)
    for before, chunk in pairwise(chunks):
        if chunk.segment == before.segment:
            assert chunk.first_index > before.last_index
        else:
            assert chunk.first_index == 0
    assert all(len(chunk.counts) <= chunk.sample_rate_hz for chunk in chunks)
