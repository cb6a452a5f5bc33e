"""Which H.264 encoder of this FFmpeg there is, and how each one is set for pictures that are seen at once.

libx264 is under the GPL and is missing from an FFmpeg built without it; then Cisco's libopenh264 or the encoder of the
computer's own chip (V4L2) do the work. A name in FFmpeg's list says little (the chip may not be there), so each one has
to encode a picture before it is believed.
"""

from __future__ import annotations

import fractions
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import av
import av.error

RTP_TIME_BASE = fractions.Fraction(1, 90_000)
KEY_FRAME_DISTANCE = 3000
PROBE_WIDTH, PROBE_HEIGHT, PROBE_RATE_HZ, PROBE_BIT_S = 320, 240, 20.0, 500_000
PROBE_PICTURES = 8
"""A chip may keep a few pictures before it gives the first packet."""


@dataclass(frozen=True, slots=True)
class H264:
    """One of FFmpeg's encoders."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    vbv: bool = False
    """Keeps to its rate within a quarter second, and then takes another ``bit_rate`` while open."""

    def open(self, width: int, height: int, frame_rate_hz: float, rate_bit_s: int) -> av.VideoCodecContext:
        """A new encoder, baseline, without B frames; key frames come on demand only (``pict_type`` I).

        :raises ValueError: FFmpeg does not know it
        """
        codec = av.CodecContext.create(self.name, "w")
        if not isinstance(codec, av.VideoCodecContext):
            raise ValueError(f"{self.name} is no encoder of pictures")
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.bit_rate = rate_bit_s
        codec.framerate = fractions.Fraction(round(frame_rate_hz * 1000), 1000)
        codec.time_base = RTP_TIME_BASE
        codec.gop_size = KEY_FRAME_DISTANCE
        codec.max_b_frames = 0
        codec.thread_count = 1
        codec.options = dict(self.options)
        if self.vbv:
            codec.options = {
                **self.options,
                "maxrate": str(int(rate_bit_s * 1.1)),
                "bufsize": str(int(rate_bit_s * 0.25)),
            }
        return codec


LIBX264 = H264(
    "libx264", {"profile": "baseline", "level": "31", "preset": "superfast", "tune": "zerolatency"}, vbv=True
)
KNOWN = (
    LIBX264,
    H264("libopenh264", {"profile": "constrained_baseline", "allow_skip_frames": "0"}),
    H264("h264_v4l2m2m"),
)
"""In the order of preference. VA-API, QSV and NVENC take pictures from the graphics card only and are not asked."""


def works(encoder: H264) -> bool:
    """Whether it is there, opens, and makes a key frame out of a few black pictures."""
    try:
        codec = encoder.open(PROBE_WIDTH, PROBE_HEIGHT, PROBE_RATE_HZ, PROBE_BIT_S)
        packets: list[av.Packet[av.VideoStream]] = []
        for number in range(PROBE_PICTURES):
            picture = av.VideoFrame(PROBE_WIDTH, PROBE_HEIGHT, "yuv420p")
            for plane in picture.planes:
                plane.update(bytes(plane.buffer_size))
            picture.pts, picture.time_base = number * 4500, RTP_TIME_BASE
            packets += codec.encode(picture)
    except (av.error.FFmpegError, ValueError, OSError):
        return False
    return any(packet.is_keyframe for packet in packets)


def first_that_works(known: Iterable[H264] = KNOWN, works: Callable[[H264], bool] = works) -> H264 | None:
    """The encoder to use, None when this FFmpeg has none."""
    return next((encoder for encoder in known if works(encoder)), None)
