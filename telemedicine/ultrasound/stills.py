"""A frozen picture: the newest one, whole and without loss, as PNG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from devices.clock import Clock
from telemedicine.ultrasound.picture import SharedPicture, fresh_frame
from telemedicine.ultrasound.preparing import Image

MEDIA_TYPE = "image/png"
COMPRESSION = 3
"""Of zlib: half a picture's size is gained at 3, and little more at 9 for five times the work."""


@dataclass(frozen=True, slots=True)
class Still:
    """A frozen picture. ``width`` and ``height`` are as shown, ``source_size`` as captured."""

    png: bytes
    width: int
    height: int
    source_size: tuple[int, int]
    age_s: float
    """How long ago it was captured, when it was taken up."""


def freeze(picture: SharedPicture, clock: Clock) -> Still:
    """The newest picture at the source's full resolution; blocks while the source opens, so run it in a thread.

    :raises NoPicture: none came
    """
    with picture.held():
        frame = fresh_frame(picture, clock)
        source_size, age_s = picture.source_size, max(0.0, clock.monotonic_s() - frame.captured_mono_s)
    height, width = frame.image.shape[:2]
    return Still(as_png(frame.image), width, height, source_size, age_s)


def as_png(image: Image) -> bytes:
    """``image`` (BGR) without loss."""
    done, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION])
    if not done:
        raise ValueError("OpenCV made no PNG of the picture")
    return encoded.tobytes()
