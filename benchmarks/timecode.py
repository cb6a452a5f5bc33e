"""Moving pictures that carry the clock, so that a page can read how old they are.

The top strip holds 40 cells over the whole width (so it survives scaling): 1010, 28 bits of Unix milliseconds modulo
2^28, 8 bits of check sum; white is 1. The rest is what costs an encoder: texture, a moving object, speckle.
"""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np

from telemedicine.media.picture_judge import Image
from telemedicine.media.sources import Frame, SourceState

CELLS = 40
MILLISECONDS = 1 << 28
WHITE, BLACK = 235, 16
PICTURES = 24


def strip(milliseconds: int) -> list[int]:
    """The 40 bits for a moment."""
    value = milliseconds % MILLISECONDS
    check = (value ^ value >> 8 ^ value >> 16 ^ value >> 24 ^ 0x5A) & 0xFF
    return [
        1,
        0,
        1,
        0,
        *(value >> shift & 1 for shift in range(27, -1, -1)),
        *(check >> s & 1 for s in range(7, -1, -1)),
    ]


def stamp(image: Image, milliseconds: int) -> None:
    """Paint the strip into ``image`` (BGR), in place."""
    cell = image.shape[1] // CELLS
    row = np.repeat(np.where(np.array(strip(milliseconds)) == 1, WHITE, BLACK).astype(np.uint8), cell)
    image[:cell, : row.size] = row[None, :, None]


def pictures(width: int, height: int, count: int = PICTURES) -> list[Image]:
    """A loop of ``count`` pictures without the strip."""
    chance = np.random.default_rng(7)
    room = cv2.GaussianBlur(chance.normal(0, 60, (height, width, 3)), (7, 7), 0)
    room += np.linspace(60, 170, width)[None, :, None] * 0.6 + 40
    patch = cv2.GaussianBlur(chance.normal(120, 160, (height // 3, width // 5, 3)), (3, 3), 0)
    made = []
    for number in range(count):
        image = np.clip(room, 16, 235)
        turn = 2 * np.pi * number / count
        left = int((0.5 + 0.45 * np.sin(turn)) * (width - patch.shape[1]))
        top = 60 + int((0.5 + 0.45 * np.cos(turn)) * (height - patch.shape[0] - 80))
        image[top : top + patch.shape[0], left : left + patch.shape[1]] = np.clip(patch, 16, 235)
        speckle = cv2.GaussianBlur(np.abs(chance.normal(0, 1, (height // 2, width // 2))), (3, 3), 0) * 110
        image[height // 2 - 20 :, 20 : 20 + width // 2][: height // 2] = np.clip(speckle, 16, 235)[:, :, None]
        made.append(image.astype(np.uint8))
    return made


class TimecodeSource:
    """Like ``sources.Source``, but paints its pictures itself, at an even rate."""

    def __init__(self, feed: str, width: int, height: int, frame_rate_hz: float) -> None:
        self._feed = feed
        self._rate_hz = frame_rate_hz
        self._pictures = pictures(width, height)
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._stopping: threading.Event | None = None

    @property
    def feed(self) -> str:
        return self._feed

    @property
    def state(self) -> SourceState:
        return SourceState.LIVE if self._stopping is not None else SourceState.CLOSED

    @property
    def frame_rate_hz(self) -> float:
        return self._rate_hz

    def start(self) -> None:
        if self._stopping is None:
            self._stopping = threading.Event()
            threading.Thread(target=self._paint, args=(self._stopping,), name="timecode", daemon=True).start()

    def stop(self) -> threading.Thread | None:
        if self._stopping is not None:
            self._stopping.set()
            self._stopping = None
        return None

    def newer(self, than: int, timeout_s: float) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None and self._frame.number > than, timeout_s)
            return self._frame if self._frame is not None and self._frame.number > than else None

    def _paint(self, stopping: threading.Event) -> None:
        number, due_s = 0, time.monotonic()
        while not stopping.wait(max(0.0, due_s - time.monotonic())):
            image = self._pictures[number % len(self._pictures)].copy()
            captured_s = time.monotonic()
            stamp(image, int(time.time() * 1000))
            number += 1
            with self._changed:
                self._frame = Frame(image, number, captured_s)
                self._changed.notify_all()
            due_s = max(due_s + 1 / self._rate_hz, captured_s)  # late slots are left out
