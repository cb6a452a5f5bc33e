"""One patient, one still, one clip, and the job that sends them."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from sync.interop.archive import Archive
from sync.interop.job import ArchiveSaid, Job, MachineSaid, PatientSaid, StudySaid

WIDTH, HEIGHT, FRAMES = 320, 240, 20


def picture(number: int = 0) -> npt.NDArray[np.uint8]:
    """BGR, different in every number and corner."""
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[:, :, 0] = np.linspace(0, 200, WIDTH, dtype=np.uint8)
    image[:, :, 1] = np.linspace(0, 200, HEIGHT, dtype=np.uint8)[:, None]
    image[10:30, 10 + 8 * number : 40 + 8 * number] = 255
    return image


def png(number: int = 0) -> bytes:
    return cv2.imencode(".png", picture(number))[1].tobytes()


def clip(folder: Path) -> bytes:
    """Two seconds at 10 Hz, fragmented as the van writes them."""
    file = folder / "made.mp4"
    with av.open(str(file), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}) as made:
        stream = made.add_stream("libx264", rate=10, options={"preset": "superfast", "profile": "high", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 10, 0
        for number in range(FRAMES):
            made.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="bgr24")))
        made.mux(stream.encode(None))
    return file.read_bytes()


def job(
    folder: Path,
    archive: Archive,
    content: bytes,
    what: str = "ultrasound_still",
    **changed: object,
) -> Job:
    sha256 = hashlib.sha256(content).hexdigest()
    file = folder / sha256
    file.write_bytes(content)
    said = {
        "archive": ArchiveSaid(
            host=archive.host,
            port=archive.port,
            called_ae_title=archive.called_ae_title,
            calling_ae_title=archive.calling_ae_title,
            timeout_s=archive.timeout_s,
        ),
        "patient": PatientSaid(
            patient="patient-01JA",
            name="杨桂芳",
            initials="ygf",
            ethnicity_code="01",
            sex="female",
            born_on=date(1959, 3, 12),
        ),
        "study": StudySaid(
            origin="van-07.qingxi.example",
            encounter="encounter-01JAAAAAAAAAAAAAAAAAAAAAAA",
            begun_at=datetime(2026, 3, 2, 1, 0, tzinfo=UTC),
            institution="青峪县人民医院",
            station="川A·演07",
            referring="周敏",
        ),
        "machine": MachineSaid(name="ultrasound-1", manufacturer="Mindray", model="DC-30", serial="U7-0042"),
        "what": what,
        "file": file,
        "sha256": sha256,
        "number": 1,
        "taken_at": datetime(2026, 3, 2, 1, 5, 7, 250_000, tzinfo=UTC),
        "pixel_mm": (0.2, 0.25),
        "performed_by": "周敏",
    } | changed
    return Job.model_validate(said)
