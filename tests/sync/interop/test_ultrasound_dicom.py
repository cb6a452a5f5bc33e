"""What is sent is DICOM: checked by dicom3tools, read back by pydicom."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import av
import cv2
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

from sync.interop import archive
from sync.interop.__main__ import data_set, main, run
from sync.interop.archive import Archive
from sync.interop.dicom_names import person_name, text, uid
from sync.interop.pictures import PictureUnreadable, jpeg_clip, mp4_clip, still
from tests.sync.interop.dicom_samples import FRAMES, WIDTH, clip, job, picture, png

NOWHERE = Archive("127.0.0.1", 1, "HOSPITAL", "VAN07", timeout_s=1.0)
CHECKER = shutil.which("dciodvfy")


@pytest.fixture(scope="module")
def cine(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clip(tmp_path_factory.mktemp("clip"))


def checked(file: Path) -> list[str]:
    """The errors that dciodvfy finds."""
    assert CHECKER is not None
    told = subprocess.run([CHECKER, "-new", str(file)], capture_output=True, text=True, timeout=60)
    return [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.skipif(CHECKER is None, reason="skipped: no dciodvfy (Debian package dicom3tools)")
@pytest.mark.parametrize(
    ("what", "clips", "pixel_mm"),
    [
        ("ultrasound_still", "jpeg", (0.2, 0.25)),
        ("ultrasound_still", "jpeg", None),
        ("ultrasound_clip", "jpeg", (0.2, 0.2)),
        ("ultrasound_clip", "mpeg4", (0.2, 0.2)),
    ],
)
def test_an_independent_validator_finds_no_error(
    tmp_path: Path, cine: bytes, what: str, clips: str, pixel_mm: tuple[float, float] | None
) -> None:
    content = png() if what == "ultrasound_still" else cine
    asked = job(tmp_path, NOWHERE, content, what, clips=clips, pixel_mm=pixel_mm)
    file = tmp_path / "made.dcm"
    assert run(asked, write_to=file).state == "stored"
    assert checked(file) == []


@pytest.mark.skipif(CHECKER is None, reason="skipped: no dciodvfy (Debian package dicom3tools)")
def test_the_validator_is_awake(tmp_path: Path) -> None:
    data = data_set(job(tmp_path, NOWHERE, png()))
    del data.StudyInstanceUID
    file = tmp_path / "wrong.dcm"
    file.write_bytes(archive.write(data))
    assert any("StudyInstanceUID" in error for error in checked(file))


def test_a_still_comes_back_without_loss_and_with_its_calibration(tmp_path: Path) -> None:
    read = pydicom.dcmread(io.BytesIO(archive.write(data_set(job(tmp_path, NOWHERE, png(3))))))
    assert np.array_equal(read.pixel_array, cv2.cvtColor(picture(3), cv2.COLOR_BGR2RGB))
    region = read.SequenceOfUltrasoundRegions[0]
    assert (region.PhysicalDeltaX, region.PhysicalDeltaY) == (0.02, 0.025)
    assert (region.PhysicalUnitsXDirection, region.RegionLocationMaxX1) == (3, WIDTH - 1)
    assert (read.SOPClassUID, read.file_meta.TransferSyntaxUID.name) == (
        "1.2.840.10008.5.1.4.1.1.6.1",
        "Explicit VR Little Endian",
    )


def test_a_person_is_named_in_both_groups(tmp_path: Path) -> None:
    read = pydicom.dcmread(io.BytesIO(archive.write(data_set(job(tmp_path, NOWHERE, png())))))
    assert read.SpecificCharacterSet == "ISO_IR 192"
    assert (read.PatientName.alphabetic, read.PatientName.ideographic) == ("Y^GF", "杨^桂芳")
    assert (read.PatientName.family_name, read.PatientSex, read.PatientBirthDate) == ("Y", "F", "19590312")
    assert (read.DeviceSerialNumber, read.ManufacturerModelName, read.StationName) == ("U7-0042", "DC-30", "川A·演07")
    assert (read.ContentDate, read.ContentTime, read.TimezoneOffsetFromUTC) == ("20260302", "090507.250000", "+0800")


def test_the_same_recording_is_the_same_instance_and_study_for_ever(tmp_path: Path, cine: bytes) -> None:
    one, again = (data_set(job(tmp_path, NOWHERE, png())) for _ in range(2))
    other = data_set(job(tmp_path, NOWHERE, png(1), number=2))
    assert one.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID
    assert one.StudyInstanceUID == other.StudyInstanceUID
    assert one.StudyInstanceUID == uid("van-07.qingxi.example", "study", "encounter-01JAAAAAAAAAAAAAAAAAAAAAAA")
    assert one.StudyInstanceUID == "2.25.79989662681783004824718570458216605230"
    forms = {
        data_set(job(tmp_path, NOWHERE, cine, "ultrasound_clip", clips=form)).SOPInstanceUID
        for form in ("jpeg", "mpeg4")
    }
    assert len(forms) == 2


def test_a_clip_of_jpeg_pictures_has_all_of_them_with_their_times(tmp_path: Path, cine: bytes) -> None:
    read = pydicom.dcmread(
        io.BytesIO(archive.write(data_set(job(tmp_path, NOWHERE, cine, "ultrasound_clip", clips="jpeg"))))
    )
    assert (read.NumberOfFrames, read.CineRate, len(read.FrameTimeVector)) == (FRAMES, 10, FRAMES)
    assert [float(step) for step in read.FrameTimeVector] == [0.0] + [100.0] * (FRAMES - 1)
    frames = list(generate_frames(read.PixelData, number_of_frames=FRAMES))
    shown = cv2.imdecode(np.frombuffer(frames[7], np.uint8), cv2.IMREAD_COLOR)
    assert float(np.abs(shown.astype(int) - picture(7).astype(int)).mean()) < 6
    assert read.PhotometricInterpretation == "YBR_FULL_422"


def test_a_clip_as_video_is_a_file_that_plays(tmp_path: Path, cine: bytes) -> None:
    read = pydicom.dcmread(
        io.BytesIO(archive.write(data_set(job(tmp_path, NOWHERE, cine, "ultrasound_clip", clips="mpeg4"))))
    )
    assert read.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.102"
    stream = next(generate_frames(read.PixelData, number_of_frames=1))
    with av.open(io.BytesIO(stream)) as video:
        assert sum(1 for _ in video.decode(video=0)) == read.NumberOfFrames == FRAMES
        assert video.streams.video[0].codec_context.profile == "High"
    assert read.FrameTime == pytest.approx(100.0)


def test_pictures_that_are_none_are_refused(cine: bytes) -> None:
    with pytest.raises(PictureUnreadable):
        still(b"\x89PNG\r\n\x1a\n" + bytes(50))
    for read in (jpeg_clip, mp4_clip):
        with pytest.raises(PictureUnreadable):
            read(cine[:600])
        with pytest.raises(PictureUnreadable):
            read(b"")


def test_a_damaged_recording_is_refused_in_words_and_not_sent(tmp_path: Path) -> None:
    asked = job(tmp_path, NOWHERE, png())
    asked.file.write_bytes(png(5))
    answer = run(asked)
    assert answer.state == "refused"
    assert "no longer has the bytes" in answer.reason


def test_the_process_takes_a_job_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(job(tmp_path, NOWHERE, png()).model_dump_json()))
    assert main([]) == 0
    assert '"state":"unreachable"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "initials", "ethnicity", "written"),
    [
        ("杨桂芳", "ygf", "01", "Y^GF=杨^桂芳"),
        ("王伟", "ww", "", "W^W=王^伟"),
        ("欧阳修文", "oyxw", "01", "OY^XW=欧阳^修文"),
        ("扎西顿珠", "zxdz", "04", "ZXDZ=扎西顿珠"),
        ("扎西顿珠", "zxdz", "", "ZXDZ=扎西顿珠"),
        ("阿卜杜拉·买买提", "abdlmmt", "05", "ABDLMMT=阿卜杜拉·买买提"),
        ("李𡿨", "l", "01", "L=李^𡿨"),
        ("李^=\\文", "lw", "01", "LW=李   文"),
        ("John Smith", "js", "", "John Smith"),
        ("未知", "", "", "=未^知"),
    ],
)
def test_names_of_people(name: str, initials: str, ethnicity: str, written: str) -> None:
    assert person_name(name, initials, ethnicity) == written


def test_texts_fit_their_fields() -> None:
    assert text("a\\b\nc", 64) == "a b c"
    assert text("川" * 20, 16) == "川" * 16
    assert len(uid("x")) <= 64
