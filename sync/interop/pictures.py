"""Recordings as the pictures that DICOM carries: PNG to pixels, a clip to JPEG pictures or to one MP4 with an index."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

JPEG_QUALITY = 90


class PictureUnreadable(ValueError):
    """The recording is no picture, or a damaged one."""


@dataclass(frozen=True, slots=True)
class Still:
    width: int
    height: int
    rgb: bytes


@dataclass(frozen=True, slots=True)
class JpegClip:
    width: int
    height: int
    frames: list[bytes]
    times_s: list[float]


@dataclass(frozen=True, slots=True)
class Mp4Clip:
    width: int
    height: int
    mp4: bytes
    frames: int
    seconds: float


def still(png: bytes) -> Still:
    """:raises PictureUnreadable: see there"""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise PictureUnreadable("the still is no picture any more")
    height, width = image.shape[:2]
    return Still(width, height, cv2.cvtColor(image, cv2.COLOR_BGR2RGB).tobytes())


def jpeg_clip(mp4: bytes) -> JpegClip:
    """Every picture of the clip, 4:2:2. :raises PictureUnreadable: see there"""
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x211111]
    frames, times_s, size = [], [], (0, 0)
    try:
        with av.open(io.BytesIO(mp4), "r") as clip:
            for frame in clip.decode(video=0):
                size = (frame.width, frame.height)
                done, jpeg = cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"), settings)
                if not done:
                    raise PictureUnreadable("OpenCV made no JPEG of a picture")
                frames.append(jpeg.tobytes())
                times_s.append(float(frame.time or 0.0))
    except (av.error.FFmpegError, IndexError) as fault:
        raise PictureUnreadable(f"the clip cannot be decoded: {fault}") from fault
    if not frames:
        raise PictureUnreadable("the clip has no picture")
    return JpegClip(*size, frames, times_s)


def mp4_clip(fragmented: bytes) -> Mp4Clip:
    """The same H.264 pictures in a file whose index stands first. :raises PictureUnreadable: see there"""
    times: list[float] = []
    try:
        with (
            tempfile.TemporaryDirectory() as folder,  # the muxer reads again what it wrote, to put the index first
            av.open(io.BytesIO(fragmented), "r") as clip,
        ):
            file = Path(folder) / "clip.mp4"
            whole = av.open(str(file), "w", format="mp4", options={"movflags": "+faststart"})
            stream = clip.streams.video[0]
            copy = whole.add_stream_from_template(stream)
            for packet in clip.demux(stream):
                if packet.dts is None:
                    continue
                times.append(float((packet.pts or 0) * (packet.time_base or 0)))
                packet.stream = copy
                whole.mux(packet)
            whole.close()
            if not times:
                raise PictureUnreadable("the clip has no picture")
            mp4 = file.read_bytes()
            size = (stream.codec_context.width, stream.codec_context.height)
    except (av.error.FFmpegError, IndexError) as fault:
        raise PictureUnreadable(f"the clip cannot be read: {fault}") from fault
    step_s = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.04
    return Mp4Clip(*size, mp4, len(times), times[-1] - times[0] + step_s)
