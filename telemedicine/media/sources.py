"""Picture sources through OpenCV: a capture device, a file looped at real time, a stream by URL.

Each source reads in its own thread and keeps the newest frame only: a slow reader sees fewer pictures, never older
ones. A source that goes away is opened again with back-off; a black or frozen picture is told as such.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from devices.clock import Clock
from devices.events import emit

Image = npt.NDArray[np.uint8]
"""BGR, shape (height, width, 3)."""

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 10.0
LOOK_EVERY_S = 1.0
"""How often the picture is looked at for black and frozen."""
FROZEN_AFTER_LOOKS = 4
BLACK_MEAN = 8.0
BLACK_SPREAD = 4.0

cv2.setNumThreads(1)  # two small pictures do not need a pool of threads beside the encoders


class SourceState(StrEnum):
    CLOSED = "closed"
    OPENING = "opening"
    LIVE = "live"
    BLACK = "black"
    FROZEN = "frozen"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Frame:
    image: Image
    number: int
    captured_mono_s: float


class Pictures(Protocol):
    """What an encoder encodes: ``Source``, or the specialist's face."""

    @property
    def feed(self) -> str: ...

    @property
    def state(self) -> SourceState: ...

    @property
    def frame_rate_hz(self) -> float: ...

    def start(self) -> None: ...

    def stop(self) -> threading.Thread | None: ...

    def newer(self, than: int, timeout_s: float) -> Frame | None: ...


class Source:
    """One picture source. ``start`` and ``stop`` may be called again and again; ``newer`` by any thread."""

    def __init__(self, feed: str, source: str, clock: Clock) -> None:
        self._feed = feed
        self._source = source
        self._is_file = "://" not in source and not source.isdigit() and not source.startswith("/dev/")
        self._clock = clock
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._state = SourceState.CLOSED
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._captured_at: list[float] = []

    @property
    def feed(self) -> str:
        return self._feed

    @property
    def state(self) -> SourceState:
        return self._state

    @property
    def frame_rate_hz(self) -> float:
        """Frames captured per second over the last two seconds."""
        now = self._clock.monotonic_s()
        with self._changed:
            self._captured_at = [at for at in self._captured_at if at > now - 2.0]
            return len(self._captured_at) / 2.0

    def start(self) -> None:
        if self._thread is None:
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._stopping,), name=f"source-{self._feed}", daemon=True
            )
            self._thread.start()

    def stop(self) -> threading.Thread | None:
        """Tell the source to close, at once; its thread, which ends at most one blocking read later."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            self._state = SourceState.CLOSED
        return thread

    def newer(self, than: int, timeout_s: float) -> Frame | None:
        """The newest frame when its number is greater than ``than``, waiting up to ``timeout_s``; else None."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None and self._frame.number > than, timeout_s)
            return self._frame if self._frame is not None and self._frame.number > than else None

    def _run(self, stopping: threading.Event) -> None:
        retry_s = FIRST_RETRY_S
        while not stopping.is_set():
            self._become(SourceState.OPENING)
            capture = self._open()
            if capture is None:
                self._lose("cannot be opened")
            else:
                try:
                    if self._read_until_lost(capture, stopping):
                        retry_s = FIRST_RETRY_S
                finally:
                    capture.release()
                if stopping.is_set():
                    break
                self._lose("no more pictures")
            stopping.wait(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    def _open(self) -> cv2.VideoCapture | None:
        if self._is_file and not Path(self._source).exists():
            return None
        if self._source.isdigit() or self._source.startswith("/dev/"):
            target: str | int = int(self._source) if self._source.isdigit() else self._source
            capture = cv2.VideoCapture(target, cv2.CAP_V4L2)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        else:
            capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not capture.isOpened():
            capture.release()
            return None
        return capture

    def _read_until_lost(self, capture: cv2.VideoCapture, stopping: threading.Event) -> bool:
        """Read until nothing comes any more; True when at least one picture came."""
        rate_hz = capture.get(cv2.CAP_PROP_FPS) if self._is_file else 0.0
        period_s = 1.0 / rate_hz if 1.0 <= rate_hz <= 120.0 else (0.04 if self._is_file else 0.0)
        due_s = self._clock.monotonic_s()
        looks = _Looks()
        number = self._frame.number if self._frame is not None else 0
        came = rewound = False
        while not stopping.is_set():
            good, image = capture.read()
            if not good:
                if self._is_file and came and not rewound:
                    rewound = bool(capture.set(cv2.CAP_PROP_POS_FRAMES, 0))
                    continue
                return came
            came, rewound = True, False
            now_s = self._clock.monotonic_s()
            if period_s:
                due_s = max(due_s + period_s, now_s - 0.2)
                if due_s > now_s and stopping.wait(due_s - now_s):
                    return came
                now_s = self._clock.monotonic_s()
            number += 1
            picture = np.asarray(image, dtype=np.uint8)
            self._publish(Frame(picture, number, now_s))
            judgement = looks.judge(picture, now_s)
            if not stopping.is_set():
                self._become(judgement)
        return came

    def _publish(self, frame: Frame) -> None:
        with self._changed:
            self._frame = frame
            self._captured_at.append(frame.captured_mono_s)
            if len(self._captured_at) > 200:
                del self._captured_at[:100]
            self._changed.notify_all()

    def _become(self, state: SourceState) -> None:
        if state == self._state or (state == SourceState.OPENING and self._state == SourceState.LOST):
            return
        if state == SourceState.LIVE and self._state in (SourceState.OPENING, SourceState.LOST):
            emit("video_source_opened", feed=self._feed)
        self._state = state

    def _lose(self, reason: str) -> None:
        if self._state != SourceState.LOST:
            emit("video_source_lost", feed=self._feed, reason=reason)
            self._state = SourceState.LOST


class _Looks:
    """Looks at the picture now and then, small and grey: black means unplugged or capped, unchanged means frozen."""

    def __init__(self) -> None:
        self._next_s = float("-inf")
        self._last: npt.NDArray[np.uint8] | None = None
        self._unchanged = 0
        self._judgement = SourceState.LIVE

    def judge(self, image: Image, now_s: float) -> SourceState:
        if now_s < self._next_s:
            return self._judgement
        self._next_s = now_s + LOOK_EVERY_S
        small = np.asarray(cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        same = self._last is not None and np.array_equal(small, self._last)
        self._unchanged = self._unchanged + 1 if same else 0
        self._last = small
        if float(small.mean()) < BLACK_MEAN and float(small.std()) < BLACK_SPREAD:
            self._judgement = SourceState.BLACK
        elif self._unchanged >= FROZEN_AFTER_LOOKS:
            self._judgement = SourceState.FROZEN
        else:
            self._judgement = SourceState.LIVE
        return self._judgement
