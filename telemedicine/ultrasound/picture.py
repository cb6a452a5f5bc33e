"""One machine's picture for several readers: the encoder, a freeze, a clip.

``SharedPicture`` stands between a source and who looks at it. Each captured picture is prepared once, whoever asks
first; the source is open while anybody holds it, so that a clip goes on when the last viewer leaves.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from telemedicine.media.sources import Frame, Pictures, SourceState
from telemedicine.ultrasound.machine import MachineSettings
from telemedicine.ultrasound.preparing import CropOutside, prepare

FIRST_WITHIN_S = 5.0
"""How long the source may take to give its first picture."""
FRESH_S = 1.0
"""A picture older than this is not what is seen now."""


class NoPicture(AskPerson):
    """The machine's picture does not come."""

    code = "no_ultrasound_picture"


class SharedPicture:
    """A ``telemedicine.media.sources.Pictures`` over another one. All methods by any thread."""

    def __init__(self, source: Pictures, machine: MachineSettings) -> None:
        self._source = source
        self.machine = machine
        self._lock = threading.Lock()
        self._held = 0
        self._viewed = False
        self._prepared: Frame | None = None
        self._source_size = (0, 0)
        self._outside = False

    @property
    def feed(self) -> str:
        return self._source.feed

    @property
    def state(self) -> SourceState:
        return SourceState.LOST if self._outside else self._source.state

    @property
    def frame_rate_hz(self) -> float:
        return self._source.frame_rate_hz

    @property
    def source_size(self) -> tuple[int, int]:
        """Width and height of the newest captured picture, before it was prepared; zeros before the first."""
        return self._source_size

    def start(self) -> None:
        """The encoder looks."""
        with self._lock:
            self._viewed = True
            self._source.start()

    def stop(self) -> threading.Thread | None:
        """The encoder looks no longer; the source's thread when it ends with that."""
        with self._lock:
            self._viewed = False
            return None if self._held else self._source.stop()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While something is read beside the encoder."""
        with self._lock:
            self._held += 1
            self._source.start()
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1
                if not self._held and not self._viewed:
                    self._source.stop()

    def newer(self, than: int, timeout_s: float) -> Frame | None:
        """The newest picture as it is shown, when its number is greater than ``than``; else None.

        A captured picture that the crop does not fit is not shown at all: what is burnt in around it may name people,
        and what is measured on it would be wrong.
        """
        frame = self._source.newer(than, timeout_s)
        if frame is None:
            return None
        with self._lock:
            if self._prepared is None or self._prepared.number != frame.number:
                self._prepared = self._prepare(frame)
            return self._prepared

    def _prepare(self, frame: Frame) -> Frame | None:
        height, width = frame.image.shape[:2]
        self._source_size = (width, height)
        try:
            prepared = replace(frame, image=prepare(frame.image, self.machine))
        except CropOutside as fault:
            if not self._outside:
                emit("video_source_lost", logging.ERROR, feed=self.feed, reason=str(fault))
            self._outside = True
            return None
        self._outside = False
        return prepared


def fresh_frame(picture: SharedPicture, clock: Clock) -> Frame:
    """The picture that is seen now, while ``picture`` is held; blocks while the source opens.

    :raises NoPicture: none came within ``FIRST_WITHIN_S``
    """
    asked_s = clock.monotonic_s()
    frame = picture.newer(-1, FIRST_WITHIN_S)
    if frame is not None and asked_s - frame.captured_mono_s > FRESH_S:  # what an earlier look has left
        frame = picture.newer(frame.number, FIRST_WITHIN_S)
    if frame is None:
        raise NoPicture("no picture comes from the ultrasound machine: look at its cable and the capture card")
    return frame
