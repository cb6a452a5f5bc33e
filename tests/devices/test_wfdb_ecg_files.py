"""WFDB records as ECG files: a header and the signals beside it; held against the wfdb package."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from device_captures import SHARED, needs_shared
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices import ecg_files
from devices.ecg_files.document import EcgFileDamaged, EcgFileRefused, EcgFileUnsupported
from devices.readings import INVALID_COUNT

COUNTS = np.column_stack([np.arange(-500, 500), np.arange(500, -500, -1)]).astype("<i2")
HEADER = b"""A0001 2 500 1000 08:30:00 20/11/2026
A0001.dat 16 400/mV 16 0 0 0 0 I
A0001.dat 16 1000(100)/mV 16 0 0 0 0 aVR
# Age: 63
# Sex: Female
"""


def beside(**files: bytes) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        if name.replace(".", "_") not in files:
            raise FileNotFoundError(2, "not there", name)
        return files[name.replace(".", "_")]

    return read


SIGNALS = beside(A0001_dat=COUNTS.tobytes())


def test_gain_and_baseline_of_each_lead_are_applied() -> None:
    document = ecg_files.read(HEADER, SIGNALS)
    samples = document.samples
    assert (document.format, samples.channels, samples.sample_rate_hz) == ("wfdb", ("I", "aVR"), 500.0)
    assert samples.resolution == 1.0
    assert samples.values()[:, 0] == pytest.approx(np.round(COUNTS[:, 0] * 2.5), abs=0.51)
    assert np.array_equal(samples.values()[:, 1], COUNTS[:, 1] - 100.0)
    assert (document.person.age_years, document.person.sex) == (63, "female")
    assert document.recorded_said_at == "2026-11-20T08:30:00"


def test_a_value_that_is_none_stays_none_and_one_lead_of_another_name_is_an_ecg() -> None:
    counts = np.array([5, -32768, 7], "<i2")
    samples = ecg_files.read(
        b"x 1 300 3\nx.mat 16+2 1000/mV 16 0 0 0 0 lead\n", beside(x_mat=b"\0\0" + counts.tobytes())
    )
    assert samples.samples.channels == ("ECG",)
    assert samples.samples.counts[:, 0].tolist() == [5, INVALID_COUNT, 7]
    assert (samples.person.age_years, samples.recorded_said_at) == (None, None)


@pytest.mark.parametrize(
    ("header", "error", "says"),
    [
        (HEADER.replace(b"aVR", b"Aorta"), EcgFileUnsupported, "Aorta"),
        (HEADER.replace(b"aVR", b"I"), EcgFileUnsupported, "not known here"),
        (HEADER.replace(b".dat 16", b".dat 80"), EcgFileUnsupported, "format 80"),
        (HEADER.replace(b"A0001.dat", b"B.dat"), EcgFileUnsupported, "B.dat"),
        (HEADER.replace(b"400/mV", b"1e300/mV"), EcgFileDamaged, "cannot be"),
        (HEADER.replace(b"400/mV", b"-400/mV"), EcgFileDamaged, "cannot be"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(header: bytes, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ecg_files.read(header, SIGNALS)


def test_without_the_signals_the_header_alone_is_refused() -> None:
    with pytest.raises(EcgFileUnsupported, match=r"A0001\.dat"):
        ecg_files.read(HEADER)


@needs_shared
@pytest.mark.parametrize("name", ["samples12/cinc2021/HR06009", "samples12/cinc2021/JS20004"])
def test_published_twelve_lead_records_have_the_values_of_the_wfdb_package(name: str) -> None:
    wfdb = pytest.importorskip("wfdb")
    folder = (SHARED / "data" / "ecg" / name).parent
    header = (SHARED / "data" / "ecg" / f"{name}.hea").read_bytes()
    samples = ecg_files.read(header, lambda other: (folder / other).read_bytes()).samples
    theirs = wfdb.rdrecord(str(SHARED / "data" / "ecg" / name))
    assert samples.sample_rate_hz == theirs.fs
    assert [lead.lower() for lead in samples.channels] == [lead.lower() for lead in theirs.sig_name]
    assert samples.values() == pytest.approx(theirs.p_signal * 1000, abs=samples.resolution / 2 + 1e-6, nan_ok=True)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, len(HEADER) - 1), byte=st.integers(0, 255), cut=st.integers(0, len(HEADER)))
def test_spoiled_headers_raise_nothing_but_the_one_error(at: int, byte: int, cut: int) -> None:
    spoiled = bytearray(HEADER)
    spoiled[at] = byte
    for content in (bytes(spoiled), HEADER[:cut]):
        try:
            samples = ecg_files.read(content, SIGNALS).samples
        except EcgFileRefused:
            continue
        assert samples.counts.dtype == np.int16
        assert samples.resolution > 0
