"""C-STORE to a real Orthanc: taken, refused, away and back, with Chinese names read back through its REST."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import UltrasoundImageStorage  # type: ignore[attr-defined]

from sync.interop.__main__ import data_set, main, run
from sync.interop.archive import Archive, State, send
from tests.sync.interop.dicom_samples import FRAMES, clip, job, picture, png
from tests.sync.interop.orthanc import CALLED, CALLING, Orthanc, installed, orthanc

needs_orthanc = pytest.mark.skipif(not installed(), reason="skipped: no Orthanc (Debian package orthanc)")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@needs_orthanc
def test_a_still_is_stored_confirmed_and_named_in_chinese(hospital: Orthanc, tmp_path: Path) -> None:
    answer = run(job(tmp_path, hospital.archive, png(2)))
    assert (answer.state, answer.confirmed, answer.transfer_syntax) == ("stored", True, "1.2.840.10008.1.2.1")
    found = [
        one
        for one in (hospital.get(f"/instances/{name}/simplified-tags") for name in hospital.instances())
        if one["SOPInstanceUID"] == answer.instance
    ]
    tags = found[0]
    assert tags["PatientName"] == "Y^GF=杨^桂芳"
    assert (tags["InstitutionName"], tags["StationName"], tags["DeviceSerialNumber"]) == (
        "青峪县人民医院",
        "川A·演07",
        "U7-0042",
    )
    assert tags["SequenceOfUltrasoundRegions"][0]["PhysicalDeltaX"] == "0.02"
    assert hospital.get("/patients?expand")[0]["MainDicomTags"]["PatientName"] == "Y^GF=杨^桂芳"


@needs_orthanc
def test_sending_again_is_once(hospital: Orthanc, tmp_path: Path) -> None:
    asked = job(tmp_path, hospital.archive, png(4))
    assert run(asked).state == "stored"
    count = len(hospital.instances())
    assert run(asked).state == "stored"
    assert len(hospital.instances()) == count


@needs_orthanc
def test_a_clip_of_jpeg_pictures_can_be_looked_at_in_orthanc(hospital: Orthanc, tmp_path: Path) -> None:
    answer = run(job(tmp_path, hospital.archive, clip(tmp_path), "ultrasound_clip"))
    assert (answer.state, answer.confirmed) == ("stored", True)
    name = _name_of(hospital, answer.instance)
    assert hospital.get(f"/instances/{name}/tags?simplify")["NumberOfFrames"] == str(FRAMES)
    preview = hospital.bytes(f"/instances/{name}/frames/6/preview")
    shown = cv2.imdecode(np.frombuffer(preview, np.uint8), cv2.IMREAD_COLOR)
    assert float(np.abs(shown.astype(int) - picture(6).astype(int)).mean()) < 8


@needs_orthanc
def test_a_clip_as_video_is_kept_as_it_was_sent(hospital: Orthanc, tmp_path: Path) -> None:
    asked = job(tmp_path, hospital.archive, clip(tmp_path), "ultrasound_clip", clips="mpeg4")
    answer = run(asked)
    assert (answer.state, answer.transfer_syntax) == ("stored", "1.2.840.10008.1.2.4.102")
    kept = pydicom.dcmread(io.BytesIO(hospital.bytes(f"/instances/{_name_of(hospital, answer.instance)}/file")))
    assert kept.PixelData == data_set(asked).PixelData


@needs_orthanc
def test_a_wrong_title_of_the_archive_says_what_to_correct(hospital: Orthanc, tmp_path: Path) -> None:
    wrong = Archive("127.0.0.1", hospital.dicom_port, "ELSEWHERE", CALLING, timeout_s=5.0)
    answer = run(job(tmp_path, wrong, png()))
    assert answer.state == "association_refused"
    assert "not called ELSEWHERE" in answer.reason


@needs_orthanc
def test_a_title_that_the_archive_does_not_know_says_what_to_ask_for(tmp_path: Path) -> None:
    with orthanc(tmp_path / "strict", DicomAlwaysAllowStore=False, DicomAlwaysAllowEcho=False) as strict:
        stranger = Archive("127.0.0.1", strict.dicom_port, CALLED, "STRANGER", timeout_s=60.0)
        answer = run(job(tmp_path, stranger, png()))
        assert answer.state in ("association_refused", "refused")
        assert answer.reason
        assert strict.instances() == []
        assert run(job(tmp_path, strict.archive, png())).state == "stored"


@needs_orthanc
def test_an_archive_that_takes_no_ultrasound_says_so(tmp_path: Path) -> None:
    with orthanc(tmp_path / "picky", AcceptedTransferSyntaxes=["1.2.840.10008.1.2"]) as picky:
        answer = run(job(tmp_path, picky.archive, clip(tmp_path), "ultrasound_clip"))
        assert answer.state == "refused"
        assert "takes no Ultrasound Multi-frame Image Storage as JPEG Baseline" in answer.reason


@needs_orthanc
def test_an_archive_that_was_away_takes_it_when_it_is_back(tmp_path: Path) -> None:
    with orthanc(tmp_path / "back") as server:
        asked = job(tmp_path, server.archive, png())
        server.stop()
        away = run(asked)
        assert (away.state, away.confirmed) == ("unreachable", False)
        assert "does not answer" in away.reason
        server.start()
        assert run(asked).state == "stored"


@needs_orthanc
def test_whoever_sets_it_up_can_ask_whether_it_answers(hospital: Orthanc, capsys: pytest.CaptureFixture[str]) -> None:
    port = str(hospital.dicom_port)
    assert main(["--echo", "127.0.0.1", port, CALLED, CALLING]) == 0
    assert main(["--echo", "127.0.0.1", port, "ELSEWHERE", CALLING]) == 1
    assert "not called ELSEWHERE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "state", "says"),
    [
        (0x0000, State.STORED, ""),
        (0xB000, State.STORED, "warning"),
        (0xA700, State.UNREACHABLE, "no room"),
        (0xA900, State.REFUSED, "A900"),
        (0xC123, State.REFUSED, "C123"),
        (0x0124, State.ASSOCIATION_REFUSED, "does not allow"),
    ],
)
def test_what_the_archive_answers_is_said_in_words(tmp_path: Path, status: int, state: State, says: str) -> None:
    entity = AE(ae_title=CALLED)
    entity.add_supported_context(UltrasoundImageStorage, "1.2.840.10008.1.2.1")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: status)])
    try:
        archive = Archive("127.0.0.1", server.socket.getsockname()[1], CALLED, CALLING, timeout_s=5.0)
        outcome = send(archive, data_set(job(tmp_path, archive, png())))
    finally:
        server.shutdown()
    assert outcome.state is state
    assert says in outcome.reason
    assert outcome.confirmed is False


def test_a_line_that_breaks_while_sending_is_tried_again(tmp_path: Path) -> None:
    entity = AE(ae_title=CALLED)
    entity.add_supported_context(UltrasoundImageStorage, "1.2.840.10008.1.2.1")
    broke = threading.Event()

    def cut(event: evt.Event) -> int:
        broke.set()
        event.assoc.abort()
        return 0

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, cut)])
    try:
        archive = Archive("127.0.0.1", server.socket.getsockname()[1], CALLED, CALLING, timeout_s=5.0)
        outcome = send(archive, data_set(job(tmp_path, archive, png())))
    finally:
        server.shutdown()
    assert broke.is_set()
    assert outcome.state is State.UNREACHABLE


def _name_of(server: Orthanc, instance: str) -> str:
    for name in server.instances():
        if server.get(f"/instances/{name}/simplified-tags")["SOPInstanceUID"] == instance:
            return name
    raise AssertionError(f"{instance} is not there")
