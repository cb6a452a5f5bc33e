"""DICOM ECG files of other makers read back: written here as other machines write them, and one that was published."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from device_captures import SHARED, needs_shared
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage

from devices import ecg_files
from devices.ecg_files.document import EcgFileDamaged, EcgFileRefused, EcgFileUnsupported
from devices.readings import INVALID_COUNT

COUNTS = (np.arange(2000).reshape(-1, 2) * 7 % 911 - 400).astype(np.int16)


def code(value: str, scheme: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def channel(lead: tuple[str, str, str], unit: str = "uV", **said: str) -> Dataset:
    made = Dataset()
    made.ChannelSourceSequence = [code(*lead)]
    made.ChannelSensitivityUnitsSequence = [code(unit, "UCUM", unit)]
    for name, value in ({"ChannelSensitivity": "2.5"} | said).items():
        setattr(made, name, value)
    return made


def group(counts: npt.NDArray[Any], *channels: Dataset, **said: Any) -> Dataset:
    made = Dataset()
    made.WaveformOriginality = "ORIGINAL"
    made.NumberOfWaveformSamples, made.NumberOfWaveformChannels = counts.shape
    made.SamplingFrequency = "500"
    made.ChannelDefinitionSequence = list(channels)
    made.WaveformBitsAllocated, made.WaveformSampleInterpretation = 16, "SS"
    made.add_new("WaveformData", "OW", counts.tobytes())
    for name, value in said.items():
        setattr(made, name, value)
    return made


def file_of(*groups: Dataset, **said: Any) -> bytes:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = TwelveLeadECGWaveformStorage, "1.2.3"
    made.SpecificCharacterSet = "ISO_IR 192"
    for name, value in said.items():
        setattr(made, name, value)
    made.WaveformSequence = list(groups)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = made.SOPClassUID, "1.2.3"
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()


I_MDC, II_SCP = ("2:1", "MDC", "Lead I"), ("5.6.3-9-2", "SCPECG", "Lead II")


def test_counts_leads_and_rate_are_those_of_the_file() -> None:
    document = ecg_files.read(file_of(group(COUNTS, channel(I_MDC), channel(II_SCP))))
    samples = document.samples
    assert (document.format, samples.channels, samples.sample_rate_hz) == ("dicom-ecg", ("I", "II"), 500.0)
    assert (samples.resolution, samples.unit) == (2.5, "uV")
    assert np.array_equal(samples.counts, COUNTS)
    assert document.duration_s == 2.0


def test_leads_of_other_units_and_with_an_offset_keep_their_microvolts() -> None:
    leads = [
        channel(I_MDC, ChannelSensitivity="1.25"),
        channel(II_SCP, unit="mV", ChannelSensitivity="0.005", ChannelBaseline="-0.1"),
    ]
    samples = ecg_files.read(file_of(group(COUNTS, *leads))).samples
    assert samples.resolution == 1.25
    assert np.array_equal(samples.values()[:, 0], COUNTS[:, 0] * 1.25)
    assert samples.values()[:, 1] == pytest.approx(COUNTS[:, 1] * 5.0 - 100)


def test_what_does_not_fit_16_bits_is_made_coarser_not_cut_off() -> None:
    counts = np.array([[100_000], [-70_000], [40]], "<i4")
    made = group(counts, channel(I_MDC, ChannelSensitivity="1"), WaveformSampleInterpretation="SL")
    samples = ecg_files.read(file_of(made)).samples
    assert samples.resolution == 4.0
    assert samples.values()[:, 0].tolist() == [100_000, -70_000, 40]


def test_padding_is_no_value_and_the_averaged_beat_is_left_out() -> None:
    counts = COUNTS.copy()
    counts[5] = -32768
    made = group(counts, channel(I_MDC), channel(II_SCP))
    made.add_new("WaveformPaddingValue", "OW", b"\x00\x80")
    beat = group(np.tile(COUNTS, (3, 1)), channel(I_MDC), channel(II_SCP), WaveformOriginality="DERIVED")
    samples = ecg_files.read(file_of(beat, made)).samples
    assert len(samples.counts) == len(COUNTS)
    assert samples.counts[5].tolist() == [INVALID_COUNT, INVALID_COUNT]
    assert np.isnan(samples.values()[5]).all()


def test_person_device_and_time_are_told_as_the_file_has_them() -> None:
    said = {
        "PatientName": "Y^GF=杨^桂芳",
        "PatientID": "M 0042",
        "PatientSex": "F",
        "PatientBirthDate": "19590312",
        "PatientAge": "066Y",
        "Manufacturer": "GE",
        "ManufacturerModelName": "MAC 5500",
        "AcquisitionDateTime": "20260302085930.250+0800",
    }
    document = ecg_files.read(file_of(group(COUNTS, channel(I_MDC), channel(II_SCP)), **said))
    person = document.person
    assert (person.name, person.id_number, person.sex) == ("杨桂芳", "M 0042", "female")
    assert (person.born_on, person.age_years) == (date(1959, 3, 12), 66)
    assert (document.device_said, document.recorded_said_at) == ("GE MAC 5500", "2026-03-02T08:59:30")
    only = ecg_files.read(file_of(group(COUNTS, channel(I_MDC), channel(II_SCP)), PatientName="LI^MING"))
    assert (only.person.name, only.recorded_said_at, only.device_said) == ("LI MING", None, "")


@pytest.mark.parametrize(
    ("made", "error", "says"),
    [
        (group(COUNTS, channel(I_MDC), channel(I_MDC)), EcgFileUnsupported, "twice"),
        (group(COUNTS, channel(I_MDC), channel(("X", "MDC", "Aorta"))), EcgFileUnsupported, "Aorta"),
        (group(COUNTS, channel(I_MDC), channel(II_SCP), WaveformSampleInterpretation="MB"), EcgFileUnsupported, "MB"),
        (group(COUNTS, channel(I_MDC, unit="mm[Hg]"), channel(II_SCP)), EcgFileUnsupported, r"mm\[hg\]"),
        (group(COUNTS, channel(I_MDC), channel(II_SCP), NumberOfWaveformSamples=4000), EcgFileDamaged, "announced"),
        (group(COUNTS, channel(I_MDC), channel(II_SCP), NumberOfWaveformSamples=2**31), EcgFileDamaged, "cannot be"),
        (group(COUNTS, channel(I_MDC), channel(II_SCP), SamplingFrequency="0"), EcgFileDamaged, "rate"),
        (group(COUNTS, channel(I_MDC, ChannelSensitivity="0"), channel(II_SCP)), EcgFileDamaged, "step"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(made: Dataset, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ecg_files.read(file_of(made))


def test_a_picture_and_a_packed_file_are_refused() -> None:
    with pytest.raises(EcgFileUnsupported, match="without a waveform"):
        ecg_files.read(file_of())
    with pytest.raises(EcgFileUnsupported, match="packed"):
        ecg_files.read(b"\0" * 128 + b"DICM" + b"1.2.840.10008.1.2.1.99")


@needs_shared
def test_a_published_record_has_the_values_that_another_reader_gives() -> None:
    file = SHARED / "data" / "ecg" / "formats" / "sample.dcm"
    document = ecg_files.read(file.read_bytes())
    assert document.samples.channels == ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    assert (len(document.samples.counts), document.samples.sample_rate_hz) == (5000, 500.0)
    assert (document.person.age_years, document.recorded_said_at) == (39, "2009-04-28T11:39:09")
    assert document.samples.values() == pytest.approx(pydicom.dcmread(file).waveform_array(0))


GOOD = file_of(group(COUNTS, channel(I_MDC), channel(II_SCP)), PatientName="LI^MING", PatientBirthDate="19590312")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(132, len(GOOD) - 1), cut=st.integers(132, len(GOOD)), byte=st.integers(0, 255))
def test_spoiled_bytes_raise_nothing_but_the_one_error(at: int, cut: int, byte: int) -> None:
    spoiled = bytearray(GOOD)
    spoiled[at] = byte
    for content in (bytes(spoiled), GOOD[:cut]):
        try:
            samples = ecg_files.read(content).samples
        except EcgFileRefused:
            continue
        assert samples.counts.dtype == np.int16
        assert samples.counts.shape == (len(samples.counts), len(samples.channels))
