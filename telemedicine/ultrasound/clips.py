"""A clip of the ultrasound, made in the van with an encoder of its own: never of what the link leaves of the picture.

H.264 High profile in fragmented MP4, a fragment a second, so that every whole second on the disk can be played
whatever happens next (``fragments``). Pictures that the encoder is too slow for are left out, never queued.
"""

from __future__ import annotations

import fractions
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.video.frame import PictureType

from devices.clock import Clock
from telemedicine.media.h264 import LIBX264
from telemedicine.media.sources import Frame
from telemedicine.ultrasound.fragments import FRAGMENT_S
from telemedicine.ultrasound.picture import SharedPicture, fresh_frame
from telemedicine.ultrasound.preparing import Image

MEDIA_TYPE = "video/mp4"
TIME_BASE = fractions.Fraction(1, 90_000)
SILENT_FOR_S = 5.0
"""A source that gives nothing for so long ends the clip."""
MOST_BIT_S = 10_000_000
"""Speckle would take half as much again; half a minute is then at most 38 MB."""
X264 = {
    "preset": "superfast",
    "tune": "zerolatency",
    "crf": "20",
    "profile": "high",
    "level": "4.1",
    "maxrate": str(MOST_BIT_S),
    "bufsize": str(2 * MOST_BIT_S),
}
"""High profile, level 4.1: what DICOM's MPEG-4 transfer syntax allows (PS3.5, 8.2.7)."""
OTHER_BIT_RATE = 8_000_000
LARGEST_WIDTH, LARGEST_HEIGHT = 1920, 1080


class _Sink:
    """What the muxer writes to."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> int:
        self.written += data
        return len(data)


class FragmentedMp4:
    """Turns pictures into fragments of MP4; one thread at a time."""

    def __init__(self, width: int, height: int, frame_rate_hz: float, encoder: str = LIBX264.name) -> None:
        """
        :param width: of the pictures, as ``height``; larger than 1920 x 1080 they are made smaller
        :param encoder: FFmpeg's name of one that works here (``telemedicine.media.h264``)
        """
        self.scale = min(1.0, LARGEST_WIDTH / width, LARGEST_HEIGHT / height)
        self.width, self.height = int(width * self.scale) // 2 * 2, int(height * self.scale) // 2 * 2
        self._sink = _Sink()
        movflags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._file = av.open(self._sink, "w", format="mp4", options=movflags)
        rate = fractions.Fraction(round(frame_rate_hz * 1000), 1000)
        stream = self._file.add_stream(encoder, rate=rate, options=X264 if encoder == LIBX264.name else {})
        if not isinstance(stream, av.VideoStream):
            raise ValueError(f"{encoder} is no encoder of pictures")
        self._stream = stream
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
        codec = stream.codec_context
        codec.time_base, codec.gop_size, codec.max_b_frames = TIME_BASE, 100_000, 0
        if encoder != LIBX264.name:
            codec.bit_rate = OTHER_BIT_RATE
        self._next_key_s = 0.0

    def add(self, image: Image, at_s: float) -> bytes:
        """The whole fragments that ``image``, taken ``at_s`` after the beginning, completes; often none."""
        if self.scale == 1.0:  # an odd last row or column goes; nothing is scaled, so that lengths stay true
            image = np.ascontiguousarray(image[: self.height, : self.width])
        frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(self.width, self.height, "yuv420p")
        frame.pts, frame.time_base = round(at_s / TIME_BASE), TIME_BASE
        if at_s >= self._next_key_s:
            frame.pict_type = PictureType.I
            self._next_key_s = at_s + FRAGMENT_S
        self._file.mux(self._stream.encode(frame))
        return self._taken()

    def close(self) -> bytes:
        """The rest."""
        self._file.mux(self._stream.encode(None))
        self._file.close()
        return self._taken()

    def _taken(self) -> bytes:
        taken = bytes(self._sink.written)
        self._sink.written.clear()
        return taken


@dataclass(frozen=True, slots=True)
class Piece:
    """A whole fragment of a clip. ``width``, ``height``: of its pictures; ``scale``: 1 unless they were made smaller;
    ``covered_s``: pictures so far; ``source_size``: of the captured picture."""

    data: bytes
    covered_s: float
    width: int
    height: int
    scale: float
    source_size: tuple[int, int]


def record(
    picture: SharedPicture,
    seconds: float,
    frame_rate_hz: float,
    stopping: threading.Event,
    clock: Clock,
    encoder: str = LIBX264.name,
) -> Iterator[Piece]:
    """Each fragment as soon as it is complete; blocks, so run it in a thread.

    Ends after ``seconds``, when ``stopping`` is set, or when the source is silent or changes the size of its pictures.

    :raises NoPicture: no picture came; nothing was handed over
    """
    with picture.held():
        first = fresh_frame(picture, clock)
        frame: Frame | None = first
        shape, began_s, covered_s = first.image.shape, first.captured_mono_s, 0.0
        made = FragmentedMp4(shape[1], shape[0], frame_rate_hz, encoder)

        def piece(data: bytes) -> Piece:
            return Piece(data, covered_s, made.width, made.height, made.scale, picture.source_size)

        while frame is not None and frame.image.shape == shape:
            at_s = frame.captured_mono_s - began_s
            if at_s > seconds - 0.5 / frame_rate_hz or stopping.is_set():
                break
            if at_s + 0.25 / frame_rate_hz >= covered_s:  # a source that is faster than asked loses pictures
                fragment = made.add(frame.image, at_s)
                if fragment:
                    yield piece(fragment)
                covered_s = at_s + 1 / frame_rate_hz
            frame = picture.newer(frame.number, SILENT_FOR_S)
        yield piece(made.close())
