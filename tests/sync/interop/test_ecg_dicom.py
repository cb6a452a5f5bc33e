"""An ECG as DICOM waveform: checked by dicom3tools, read back by pydicom and dcmtk, stored by a real Orthanc."""

from __future__ import annotations

import io
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import AmbulatoryECGWaveformStorage, GeneralECGWaveformStorage, TwelveLeadECGWaveformStorage

from devices import ecg_files
from devices.readings import INVALID_COUNT, Samples
from sync.formats import ecg_file
from sync.interop import archive, ecg_dicom, ecg_leads
from sync.interop.__main__ import data_set, run
from sync.interop.archive import Archive
from tests.sync.interop.dicom_samples import job
from tests.sync.interop.ecg_samples import stored
from tests.sync.interop.orthanc import installed, orthanc

NOWHERE = Archive("127.0.0.1", 1, "HOSPITAL", "VAN07", timeout_s=1.0)
CHECKER, DCMTK = shutil.which("dciodvfy"), shutil.which("dcm2json")
SAID = ("未审核", "筛查提示，不作为诊断依据")


def asked(folder: Path, content: bytes, **more: object) -> Any:
    return job(folder, NOWHERE, content, "ecg", **{"pixel_mm": None, "said": SAID, "heart_rate_bpm": 72, **more})


@pytest.mark.parametrize(
    ("seconds", "rate_hz", "channels", "sop_class"),
    [
        (10.0, 500.0, None, TwelveLeadECGWaveformStorage),
        (10.0, 1000.0, None, TwelveLeadECGWaveformStorage),
        (32.768, 500.0, None, TwelveLeadECGWaveformStorage),
        (32.77, 500.0, None, GeneralECGWaveformStorage),
        (30.0, 250.0, ("ECG",), GeneralECGWaveformStorage),
        (10.0, 500.0, ("I", "II"), GeneralECGWaveformStorage),
        (30.0, 125.0, ("II",), AmbulatoryECGWaveformStorage),
        (30.0, 130.0, ("ECG",), AmbulatoryECGWaveformStorage),
    ],
)
@pytest.mark.skipif(CHECKER is None, reason="skipped: no dciodvfy (Debian package dicom3tools)")
def test_each_recording_gets_the_class_that_may_hold_it_and_a_validator_finds_no_error(
    tmp_path: Path, seconds: float, rate_hz: float, channels: tuple[str, ...] | None, sop_class: str
) -> None:
    content = stored(seconds, rate_hz, **({"channels": channels} if channels else {}))
    file = tmp_path / "made.dcm"
    assert run(asked(tmp_path, content), write_to=file).state == "stored"
    assert pydicom.dcmread(file).SOPClassUID == sop_class
    assert CHECKER is not None
    told = subprocess.run([CHECKER, "-new", str(file)], capture_output=True, text=True, timeout=60)
    assert [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize(("rate_hz", "seconds"), [(40.0, 10.0), (2000.0, 1.0)])
def test_what_dicom_has_no_class_for_is_refused_in_words(tmp_path: Path, rate_hz: float, seconds: float) -> None:
    answer = run(asked(tmp_path, stored(seconds, rate_hz)))
    assert answer.state == "refused"
    assert f"{rate_hz:g} Hz" in answer.reason


def test_another_reader_gets_every_microvolt_back(tmp_path: Path) -> None:
    content = stored(hole=slice(700, 720))
    read = pydicom.dcmread(io.BytesIO(archive.write(data_set(asked(tmp_path, content)))))
    group = read.WaveformSequence[0]
    assert (group.NumberOfWaveformChannels, group.NumberOfWaveformSamples, group.SamplingFrequency) == (12, 5000, 500)
    names = [channel.ChannelSourceSequence[0].CodeMeaning.removeprefix("Lead ") for channel in read_channels(read)]
    assert tuple(names) == ecg_leads.STANDARD
    told = read.waveform_array(0)
    mine = ecg_leads.read(content)
    there = np.ones(5000, bool)
    there[700:720] = False
    for at, name in enumerate(names):
        assert np.array_equal(told[there, at], mine.lead(name).uv(2.5)[there])
    raw = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12)
    assert (raw[~there] == INVALID_COUNT).all()
    assert int.from_bytes(group.WaveformPaddingValue, "little", signed=True) == INVALID_COUNT


def test_the_leads_carry_mdc_codes_and_the_derived_ones_halves_of_counts(tmp_path: Path) -> None:
    read = data_set(asked(tmp_path, stored(channels=("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "V7"))))
    codes = [channel.ChannelSourceSequence[0] for channel in read_channels(read)]
    assert {code.CodingSchemeDesignator for code in codes} == {"MDC"}
    assert [code.CodeValue for code in codes] == [f"2:{n}" for n in (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8, 9)]
    sensitivity = {
        channel.ChannelLabel: (channel.ChannelSensitivity, channel.ChannelSensitivityUnitsSequence[0].CodeValue)
        for channel in read_channels(read)
    }
    assert (sensitivity["I"], sensitivity["III"]) == ((2.5, "uV"), (2.5, "uV"))
    assert sensitivity["aVF"] == (2.5, "uV")  # the test's counts are even
    assert "ChannelDerivationDescription" in read_channels(read)[3]
    assert "ChannelDerivationDescription" not in read_channels(read)[0]


def test_odd_sums_become_halves_and_only_what_does_not_fit_becomes_coarser() -> None:
    odd = lead_of([(1, 0), (3, 2)], "aVR")
    assert (odd[0].tolist(), odd[1]) == ([-1, -5], 1)
    large = lead_of([(30_000, -32_000), (1, 0)], "III")
    assert (large[0].tolist(), large[1]) == ([-31_000, 0], 4)


def lead_of(rows: list[tuple[int, int]], name: str) -> tuple[Any, int]:
    counts = np.array(rows, np.int16)
    blob = ecg_file.write([Samples("ecg", ("I", "II"), 500.0, 0, 0, counts, 1.0, "uV")])
    return ecg_dicom._column(ecg_leads.read(blob).lead(name))


def test_names_device_and_what_is_said_stand_in_it_as_utf8(tmp_path: Path) -> None:
    read = pydicom.dcmread(
        io.BytesIO(archive.write(data_set(asked(tmp_path, stored(), device_said_at="2026-03-02T08:59:30"))))
    )
    assert str(read.PatientName) == "Y^GF=杨^桂芳"
    assert (read.Modality, read.SpecificCharacterSet, read.SeriesNumber) == ("ECG", "ISO_IR 192", 2)
    assert (read.AcquisitionDateTime, read.ContentTime) == ("20260302085930", "090507.250000")
    notes = read.WaveformAnnotationSequence
    assert [note.UnformattedTextValue for note in notes[:2]] == list(SAID)
    assert (notes[2].ConceptNameCodeSequence[0].CodeValue, notes[2].NumericValue) == ("8867-4", 72)


def test_an_averaged_beat_is_a_second_group(tmp_path: Path) -> None:
    said = asked(tmp_path, stored())
    beat = ecg_leads.read(stored(seconds=1.2))
    patient, study, machine = (
        getattr(ecg_dicom, name)(**getattr(said, name.lower()).model_dump()) for name in ("Patient", "Study", "Machine")
    )
    recording = ecg_dicom.Recording(said.sha256, 1, said.taken_at)
    read = ecg_dicom.data_set(patient, study, machine, recording, ecg_leads.read(stored()), beat)
    labels = [(group.MultiplexGroupLabel, group.WaveformOriginality) for group in read.WaveformSequence]
    assert labels == [("RHYTHM", "ORIGINAL"), ("MEDIAN BEAT", "DERIVED")]
    assert read.waveform_array(1).shape == (600, 12)
    assert "WaveformAnnotationSequence" not in read


def test_what_is_exported_can_be_imported_again_with_every_microvolt(tmp_path: Path) -> None:
    content = stored(hole=slice(700, 720))
    document = ecg_files.read(archive.write(data_set(asked(tmp_path, content))))
    mine = ecg_leads.read(content)
    assert document.samples.channels == mine.names()
    wanted = np.column_stack([mine.lead(name).uv(2.5) for name in mine.names()])
    assert np.array_equal(document.samples.values(), wanted, equal_nan=True)
    assert (document.person.name, document.person.born_on) == ("杨桂芳", date(1959, 3, 12))


@pytest.mark.skipif(DCMTK is None, reason="skipped: no dcm2json (Debian package dcmtk)")
def test_a_reader_that_is_not_pydicom_reads_the_same(tmp_path: Path) -> None:
    import base64
    import json

    file = tmp_path / "made.dcm"
    content = stored()
    run(asked(tmp_path, content), write_to=file)
    assert DCMTK is not None
    told = json.loads(subprocess.run([DCMTK, str(file)], capture_output=True, timeout=60, check=True).stdout)
    group = told["54000100"]["Value"][0]
    counts = np.frombuffer(base64.b64decode(group["54001010"]["InlineBinary"]), "<i2").reshape(-1, 12)
    channel = group["003A0200"]["Value"][0]
    assert channel["003A0208"]["Value"][0]["00080100"]["Value"] == ["2:1"]
    sensitivity = float(channel["003A0210"]["Value"][0])
    assert np.array_equal(counts[:, 0] * sensitivity, ecg_leads.read(content).lead("I").uv(2.5))


@pytest.mark.skipif(not installed(), reason="skipped: no Orthanc (Debian package orthanc)")
def test_a_real_archive_takes_all_three_classes_and_gives_the_samples_back(tmp_path: Path) -> None:
    contents = [stored(), stored(30.0, 250.0, ("ECG",)), stored(30.0, 125.0, ("II",))]
    with orthanc(tmp_path / "orthanc") as hospital:
        for content in contents:
            sent = job(tmp_path, hospital.archive, content, "ecg", pixel_mm=None, said=SAID)
            answer = run(sent)
            assert (answer.state, answer.reason, answer.confirmed) == ("stored", "", True)
        again = run(sent)
        assert again.state == "stored"
        names = hospital.instances()
        assert len(names) == 3
        counts = {
            np.frombuffer(hospital.bytes(f"/instances/{name}/content/5400-0100/0/5400-1010"), "<i2").tobytes()
            for name in names
        }
    wanted = {archive_counts(content) for content in contents}
    assert counts == wanted


def archive_counts(content: bytes) -> bytes:
    read = ecg_leads.read(content)
    columns = [ecg_dicom._column(read.lead(name))[0] for name in read.names()]
    return np.column_stack(columns).astype("<i2").tobytes()


def read_channels(read: pydicom.Dataset) -> Any:
    return read.WaveformSequence[0].ChannelDefinitionSequence
