"""The specialist's own camera as the touchscreen sees it: the pictures of a WebRTC track as a source for ``Encoder``.

Small and slow on purpose (the page sends 320x240 at 10 Hz): a face to talk to, no picture to judge by.
"""

from __future__ import annotations

import threading

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from devices.clock import Clock
from telemedicine.media.sources import Frame, SourceState

WIDTH, HEIGHT, FRAME_RATE_HZ, BIT_RATE_BIT_S = 320, 240, 10.0, 250_000
LARGEST_SIDE_PIXELS = 1280
GONE_AFTER_S = 2.0


class Face:
    """Newest picture of whichever page sends its camera. ``watch`` in the event loop, ``newer`` by any thread."""

    feed = "specialist"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._of: MediaStreamTrack | None = None

    @property
    def state(self) -> SourceState:
        """LIVE while pictures come, else CLOSED."""
        frame = self._frame
        fresh = frame is not None and self._clock.monotonic_s() - frame.captured_mono_s < GONE_AFTER_S
        return SourceState.LIVE if fresh else SourceState.CLOSED

    @property
    def frame_rate_hz(self) -> float:
        return FRAME_RATE_HZ if self.state == SourceState.LIVE else 0.0

    def start(self) -> None:
        """Nothing to open: the specialist's page decides when pictures come."""

    def stop(self) -> threading.Thread | None:
        return None

    def newer(self, than: int, timeout_s: float) -> Frame | None:
        """As ``Source.newer``."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None and self._frame.number > than, timeout_s)
            return self._frame if self._frame is not None and self._frame.number > than else None

    async def watch(self, track: MediaStreamTrack, yields: bool = False) -> None:
        """Take the pictures of ``track`` until it ends; those that come too fast or too large are left out.

        :param yields: shown only while no other track has pictures: a hospital's stream, beside the specialist's face
        """
        while True:
            try:
                picture = await track.recv()
            except MediaStreamError:
                return
            now_s = self._clock.monotonic_s()
            last = self._frame
            early = last is not None and now_s - last.captured_mono_s < 0.8 / FRAME_RATE_HZ
            if yields and self._of is not track and self.state == SourceState.LIVE:
                continue
            if early or not isinstance(picture, VideoFrame) or max(picture.width, picture.height) > LARGEST_SIDE_PIXELS:
                continue
            image = np.asarray(picture.to_ndarray(format="bgr24"), dtype=np.uint8)
            with self._changed:
                self._of = track
                self._frame = Frame(image, last.number + 1 if last is not None else 1, now_s)
                self._changed.notify_all()
