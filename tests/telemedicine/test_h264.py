"""The encoder is found by trying, the chip's own first."""

from __future__ import annotations

import contextlib
from pathlib import Path

import av
import av.error
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


class KeepingContext:
    """An encoder that gives a packet for the picture ``kept`` pictures before."""

    def __init__(self, kept: int) -> None:
        self._context = h264.LIBX264.open(h264.PROBE_WIDTH, h264.PROBE_HEIGHT, 20, 500_000)
        self._waiting: list[h264.VideoPacket] = []
        self._kept = kept

    def encode(self, frame: av.VideoFrame) -> list[h264.VideoPacket]:
        self._waiting += self._context.encode(frame)
        return [self._waiting.pop(0)] if len(self._waiting) > self._kept else []


class KeepingChip(h264.H264):
    kept = 0

    def open(self, width: int, height: int, frame_rate_hz: float, rate_bit_s: int) -> av.VideoCodecContext:
        return KeepingContext(self.kept)  # type: ignore[return-value]


@pytest.mark.parametrize(("kept", "good"), [(0, True), (1, True), (2, False), (9, False)])
def test_an_encoder_that_keeps_pictures_to_itself_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, kept: int, good: bool
) -> None:
    monkeypatch.setattr(KeepingChip, "kept", kept)
    waited: list[float] = []
    assert h264.works(KeepingChip("h264_of_the_chip"), waited.append) == good
    assert bool(waited) == (kept > 0)


@pytest.mark.parametrize("encoder", h264.KNOWN, ids=lambda encoder: encoder.name)
def test_an_encoder_opens_or_says_why_not(encoder: h264.H264) -> None:
    """What ``works`` relies on: no other error than these, whatever is missing on this computer."""
    with contextlib.suppress(av.error.FFmpegError, ValueError, OSError, NotImplementedError):
        assert encoder.open(640, 360, 30.0, 600_000).is_open
