"""A picture source that a test plays by hand: the next picture comes when the test says so."""

from __future__ import annotations

import threading

import numpy as np

from devices.clock import Clock
from telemedicine.media.sources import Frame, SourceState
from telemedicine.ultrasound.preparing import Image


def fan(number: int, width: int = 320, height: int = 240) -> Image:
    """A picture that differs in every number and in every corner."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:, :, 0] = np.linspace(0, 200, width, dtype=np.uint8)
    image[:, :, 1] = np.linspace(0, 200, height, dtype=np.uint8)[:, None]
    image[10:30, 10 + number % 200 : 40 + number % 200] = 255
    return image


class PlayedSource:
    """A ``Pictures``; ``opened`` counts how often it was opened, ``open`` says whether it is."""

    def __init__(self, clock: Clock, feed: str = "ultrasound") -> None:
        self.feed = feed
        self.state = SourceState.CLOSED
        self.frame_rate_hz = 20.0
        self.opened = 0
        self.open = False
        self._clock = clock
        self._frame: Frame | None = None
        self._came = threading.Condition()

    def start(self) -> None:
        if not self.open:
            self.open, self.state = True, SourceState.LIVE
            self.opened += 1

    def stop(self) -> threading.Thread | None:
        self.open, self.state = False, SourceState.CLOSED
        return None

    def show(self, image: Image, at_s: float | None = None) -> None:
        with self._came:
            number = 0 if self._frame is None else self._frame.number + 1
            self._frame = Frame(image, number, self._clock.monotonic_s() if at_s is None else at_s)
            self._came.notify_all()

    def newer(self, than: int, timeout_s: float) -> Frame | None:
        with self._came:
            self._came.wait_for(lambda: self._frame is not None and self._frame.number > than, min(timeout_s, 0.2))
            return self._frame if self._frame is not None and self._frame.number > than else None
