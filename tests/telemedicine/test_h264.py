"""The encoder is found by trying, the chip's own first."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from telemedicine.media import h264


def test_the_first_encoder_that_makes_a_picture_is_taken() -> None:
    asked: list[str] = []

    def only_the_chip(encoder: h264.H264) -> bool:
        asked.append(encoder.name)
        return encoder.name == "h264_v4l2m2m"

    chosen = h264.first_that_works(works=only_the_chip)
    assert chosen is not None
    assert chosen.name == "h264_v4l2m2m"
    assert asked == ["h264_nvenc", "h264_vaapi", "h264_qsv", "h264_v4l2m2m"], "the chip's own before libx264"
    assert h264.first_that_works(works=lambda _: False) is None


@pytest.mark.parametrize("name", ["h264_of_nowhere", "h264_v4l2m2m", "libmp3lame", "h264"])
def test_an_encoder_that_is_missing_or_does_not_open_does_not_work(name: str) -> None:
    if name == "h264_v4l2m2m" and any(Path("/dev").glob("video1?")):
        pytest.skip("skipped: this computer may have a V4L2 encoder")
    assert not h264.works(h264.H264(name))


def test_libx264_works_where_ffmpeg_has_it() -> None:
    if "libx264" not in av.codecs_available:
        pytest.skip("skipped: this FFmpeg is built without libx264")
    assert h264.works(h264.LIBX264)
