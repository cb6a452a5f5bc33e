"""Which H.264 encoder there is, and how each one is set for pictures that are seen at once.

An encoder on the computer's own chip costs next to no processor time and is preferred; libx264 is the rule on an
industrial PC without one. libx264 is under the GPL and is missing from an FFmpeg built without it; then Cisco's
libopenh264 does the work. A name in FFmpeg's list says little (the chip, its driver or the right to use it may be
missing), so each one has to encode a few pictures before it is believed.
"""

from __future__ import annotations

import fractions
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import av
import av.error
from av.codec.hwaccel import HWAccel

VideoPacket: TypeAlias = "av.Packet[av.VideoStream]"
RTP_TIME_BASE = fractions.Fraction(1, 90_000)
KEY_FRAME_DISTANCE = 3000
VBV_BUFFER_S = 0.15
"""Seconds of the rate it was opened for that a single picture may take at most. Short, because this is also how soon a
new rate is kept to: from 4 to 1.8 Mbit/s x264 needs 15 pictures with 0.15 s, 25 with 0.25 s, 35 with 0.4 s."""
PROBE_WIDTH, PROBE_HEIGHT, PROBE_RATE_HZ, PROBE_BIT_S = 320, 240, 20.0, 500_000
PROBE_PICTURES = 8
MOST_KEPT = 1
"""Pictures an encoder may keep to itself: each one is a thirtieth of a second later at the specialist's."""


@dataclass(frozen=True, slots=True)
class H264:
    """One of FFmpeg's encoders."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    pixel_format: str = "yuv420p"
    device: str = ""
    """The kind of FFmpeg hardware device that pictures are uploaded to; "" when it takes them from memory."""
    vbv: bool = True
    """It keeps to ``maxrate`` over ``bufsize``; False: it knows a mean rate only."""
    retunes: bool = False
    """Takes another ``bit_rate`` while open, without a key frame."""

    def open(self, width: int, height: int, frame_rate_hz: float, rate_bit_s: int) -> av.VideoCodecContext:
        """A new encoder, baseline, without B frames; key frames come on demand only (``pict_type`` I).

        :param rate_bit_s: the highest it will be asked for; ``bit_rate`` may be lowered and raised again below that
        :raises ValueError: FFmpeg does not know it
        :raises OSError, NotImplementedError, av.error.FFmpegError: its device is not there
        """
        hwaccel = HWAccel(self.device, allow_software_fallback=False) if self.device else None
        codec = av.CodecContext.create(self.name, "w", hwaccel=hwaccel)
        if not isinstance(codec, av.VideoCodecContext):
            raise ValueError(f"{self.name} is no encoder of pictures")
        codec.width, codec.height, codec.pix_fmt = width, height, self.pixel_format
        codec.bit_rate = rate_bit_s
        codec.framerate = fractions.Fraction(round(frame_rate_hz * 1000), 1000)
        codec.time_base = RTP_TIME_BASE
        codec.gop_size = KEY_FRAME_DISTANCE
        codec.max_b_frames = 0
        codec.thread_count = 1
        codec.options = {**self.options, **(_vbv(rate_bit_s) if self.vbv else {})}
        codec.open()
        return codec


def _vbv(rate_bit_s: int) -> dict[str, str]:
    """The peak rate is the rate: with any room between the two x264 goes by the mean of all pictures since the
    beginning and, told another ``bit_rate``, goes on as before."""
    return {"maxrate": str(rate_bit_s), "bufsize": str(int(rate_bit_s * VBV_BUFFER_S))}


LIBX264 = H264(
    "libx264",
    {"profile": "baseline", "preset": "superfast", "tune": "zerolatency", "sc_threshold": "0", "qcomp": "0"},
    retunes=True,
)
"""Without scene-change detection: a scanning probe changes scenes all the time, and each key frame is a burst. The same
bits for every picture (qcomp 0): a hard picture that took more would be late."""
KNOWN = (
    H264(
        "h264_nvenc",
        {"preset": "p2", "tune": "ull", "zerolatency": "1", "delay": "0", "rc": "cbr", "profile": "baseline"}
        | {"forced-idr": "1"},
    ),
    H264("h264_vaapi", {"rc_mode": "CBR", "profile": "constrained_baseline", "async_depth": "1"}, "nv12", "vaapi"),
    H264(
        "h264_qsv",
        {"preset": "veryfast", "async_depth": "1", "look_ahead": "0", "forced_idr": "1", "profile": "baseline"},
        "nv12",
    ),
    H264("h264_v4l2m2m", vbv=False),
    LIBX264,
    H264("libopenh264", {"profile": "constrained_baseline", "allow_skip_frames": "0"}, vbv=False),
)
"""In the order of preference: the chip's own first. Options: FFmpeg's documentation of each encoder."""


def works(encoder: H264, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Whether it is there, opens, begins with a key frame and gives each picture back before the next but one.

    Blocks for up to half a second, at an encoder that has to be waited for.
    """
    try:
        codec = encoder.open(PROBE_WIDTH, PROBE_HEIGHT, PROBE_RATE_HZ, PROBE_BIT_S)
        packets: list[VideoPacket] = []
        for number in range(PROBE_PICTURES):
            picture = av.VideoFrame(PROBE_WIDTH, PROBE_HEIGHT, encoder.pixel_format)
            for plane in picture.planes:
                plane.update(bytes(plane.buffer_size))
            picture.pts, picture.time_base = number * 4500, RTP_TIME_BASE
            packets += codec.encode(picture)
            if len(packets) <= number:
                sleep(1 / PROBE_RATE_HZ)  # a chip works beside us, at its own speed
    except (av.error.FFmpegError, ValueError, OSError, NotImplementedError):
        return False
    return len(packets) >= PROBE_PICTURES - MOST_KEPT and packets[0].is_keyframe


def first_that_works(known: Iterable[H264] = KNOWN, works: Callable[[H264], bool] = works) -> H264 | None:
    """The encoder to use, None when this FFmpeg has none."""
    return next((encoder for encoder in known if works(encoder)), None)
