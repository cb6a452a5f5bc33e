"""Is there a picture, and does it live? From the pixels alone; pure.

Black: dark and even, in two looks one after the other (a hand before the lens is not an unplugged cable).

Frozen: not one bit of one pixel has changed for a while. The rule asks for identity and not for little change, because
a still scene changes little too: an empty room at night moves nothing but noise. But it does move that: the noise of a
sensor, well under one step of 256, still turns over some of its million pixels from each picture to the next, so that
two equal pictures in a row are the same picture twice. What can make a living picture repeat itself is a compressor
that finds the change not worth sending, and it does so until its next key frame at most: hence a camera that sends a
compressed stream has longer (``FROZEN_AFTER_S``) than a device that hands over every picture. A screen is made of
pixels without noise and may stand still for as long as nobody touches it; it is never called frozen.
"""

from __future__ import annotations

import zlib
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from telemedicine.media.capture_address import SourceKind

Image = npt.NDArray[np.uint8]
"""BGR, shape (height, width, 3)."""

LOOK_EVERY_S = 1.0
"""How often the whole picture is looked at; between, every picture is sampled."""
SAMPLED_ROWS = 16
"""Every 16th row of every picture is compared: 0.1 ms of 720 lines."""
BLACK_MEAN, BLACK_SPREAD = 8.0, 4.0
"""Of 255. Video black is 0 here, a covered lens gives 1 to 5; a room by moonlight has a spread above 4."""
BLACK_LOOKS = 2
FROZEN_AFTER_S: dict[SourceKind, float | None] = {
    SourceKind.DEVICE: 3.0,
    SourceKind.FILE: 3.0,
    SourceKind.STREAM: 12.0,
    SourceKind.SCREEN: None,
}
"""A stream's 12 s is longer than the key frame distance that network cameras are set to (1 to 4 s, 10 s at most)."""


class Verdict(StrEnum):
    LIVE = "live"
    BLACK = "black"
    FROZEN = "frozen"


class PictureJudge:
    """Asked for every picture of one source, in order; times are seconds of one monotonic clock."""

    def __init__(self, kind: SourceKind) -> None:
        self._frozen_after_s = FROZEN_AFTER_S[kind]
        self._next_look_s = float("-inf")
        self._sample = self._whole = -1
        self._changed_s = float("-inf")
        self._dark_looks = 0

    def judge(self, image: Image, at_s: float) -> Verdict:
        sample = zlib.crc32(np.ascontiguousarray(image[::SAMPLED_ROWS]).data)
        if sample != self._sample:
            self._sample, self._changed_s = sample, at_s
        if at_s >= self._next_look_s:
            self._next_look_s = at_s + LOOK_EVERY_S
            self._look(image, at_s)
        if self._dark_looks >= BLACK_LOOKS:
            return Verdict.BLACK
        still_s = at_s - self._changed_s
        return Verdict.FROZEN if self._frozen_after_s is not None and still_s >= self._frozen_after_s else Verdict.LIVE

    def _look(self, image: Image, at_s: float) -> None:
        whole = zlib.crc32(np.ascontiguousarray(image).data)
        if whole != self._whole:
            self._whole, self._changed_s = whole, at_s
        rows = image[::SAMPLED_ROWS]
        dark = float(rows.mean()) < BLACK_MEAN and float(rows.std()) < BLACK_SPREAD
        self._dark_looks = self._dark_looks + 1 if dark else 0
