"""Picture sources: a reading thread each that keeps the newest picture only, opens again what goes away, and tells
what a person must know about the picture: that it is gone, black, or does not change.

A slow reader sees fewer pictures, never older ones.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from devices.clock import Clock
from devices.events import emit
from telemedicine.media.capture_address import kind_of
from telemedicine.media.captures import CannotOpen, Capture, Wish, open_capture
from telemedicine.media.lateness import Lateness
from telemedicine.media.picture_judge import Image, PictureJudge

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 10.0
STALLED_AFTER_S = 2.0
"""A source that is open and gives nothing for this long is gone, whatever its driver is still waiting for."""
LATE_S = 2.0
"""A stream that is later than this is opened again: what waits in its connection is of no use any more."""
CATCH_UP_S = 0.2
"""A file that was held up by more than this goes on from now."""
RATE_OVER_S = 2.0
CAPTURES_KEPT = 240


class SourceState(StrEnum):
    CLOSED = "closed"
    OPENING = "opening"
    LIVE = "live"
    BLACK = "black"
    FROZEN = "frozen"
    LOST = "lost"


OPEN = frozenset({SourceState.LIVE, SourceState.BLACK, SourceState.FROZEN})
"""Pictures come, whatever they show."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured picture. ``number`` rises by one from picture to picture, also over a loss of the source."""

    image: Image
    number: int
    captured_mono_s: float


class Pictures(Protocol):
    """What a rung encodes: ``Source``, a prepared ultrasound picture, or the specialist's face."""

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

    def __init__(
        self,
        feed: str,
        address: str,
        clock: Clock,
        wish: Wish = Wish(),  # noqa: B008 (immutable)
        opener: Callable[[str, Wish], Capture] = open_capture,
    ) -> None:
        """:param address: as in ``capture_address``"""
        self._feed = feed
        self._address = address
        self._kind = kind_of(address)
        self._clock = clock
        self._wish = wish
        self._opener = opener
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._number = 0
        self._state = SourceState.CLOSED
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._captured_s: deque[float] = deque(maxlen=CAPTURES_KEPT)

    @property
    def feed(self) -> str:
        return self._feed

    @property
    def state(self) -> SourceState:
        return self._state

    @property
    def frame_rate_hz(self) -> float:
        """Pictures captured per second over the last two seconds."""
        since_s = self._clock.monotonic_s() - RATE_OVER_S
        with self._changed:
            return sum(at_s > since_s for at_s in self._captured_s) / RATE_OVER_S

    def start(self) -> None:
        if self._thread is None:
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._stopping,), name=f"source-{self._feed}", daemon=True
            )
            self._thread.start()

    def stop(self) -> threading.Thread | None:
        """Tell the source to close, at once; its thread, which ends at most one blocking read later.

        The last picture is forgotten: it must not be the first one that the next viewer sees.
        """
        thread, self._thread = self._thread, None
        with self._changed:
            self._stopping.set()
            self._state, self._frame = SourceState.CLOSED, None
            self._captured_s.clear()
        return thread

    def newer(self, than: int, timeout_s: float) -> Frame | None:
        """The newest frame when its number is greater than ``than``, waiting up to ``timeout_s``; else None."""
        with self._changed:
            if self._changed.wait_for(lambda: self._frame is not None and self._frame.number > than, timeout_s):
                return self._frame
            self._notice_silence()
            return None

    # reading thread

    def _run(self, stopping: threading.Event) -> None:
        retry_s = FIRST_RETRY_S
        while not stopping.is_set():
            self._become(SourceState.OPENING, stopping)
            try:
                reason, came = self._read_once(stopping)
            except Exception as fault:  # a driver's surprise: this thread must live, the feed says "lost"
                reason, came = f"{type(fault).__name__}: {fault}", False
                emit("media_thread_failed", logging.ERROR, thread=f"source-{self._feed}", reason=reason)
            self._become(SourceState.LOST, stopping, reason)
            if came:
                retry_s = FIRST_RETRY_S
            stopping.wait(retry_s)
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    def _read_once(self, stopping: threading.Event) -> tuple[str, bool]:
        """Open and read until nothing comes any more: why it ended, and whether any picture came."""
        try:
            capture = self._opener(self._address, self._wish)
        except CannotOpen as fault:
            return str(fault), False
        try:
            return self._read_until_lost(capture, stopping)
        finally:
            capture.release()

    def _read_until_lost(self, capture: Capture, stopping: threading.Event) -> tuple[str, bool]:
        due_s = self._clock.monotonic_s()
        judge, lateness = PictureJudge(self._kind), Lateness()
        came = rewound = False
        while not stopping.is_set():
            image = capture.read()
            if image is None:
                if came and not rewound and capture.rewind():
                    rewound = True
                    continue
                return "no more pictures", came
            came, rewound = True, False
            if capture.period_s:
                now_s = self._clock.monotonic_s()
                due_s = max(due_s + capture.period_s, now_s - CATCH_UP_S)
                if due_s > now_s and stopping.wait(due_s - now_s):
                    break
            now_s = self._clock.monotonic_s()
            position_s = capture.position_s()
            if position_s is not None and lateness.late_s(position_s, now_s) > LATE_S:
                return f"its pictures came more than {LATE_S:g} s late", came
            self._publish(image, now_s, stopping)
            self._become(SourceState(judge.judge(image, now_s)), stopping)
        return "closed", came

    def _publish(self, image: Image, captured_s: float, stopping: threading.Event) -> None:
        with self._changed:
            if stopping.is_set():
                return
            self._number += 1
            self._frame = Frame(image, self._number, captured_s)
            self._captured_s.append(captured_s)
            self._changed.notify_all()

    def _become(self, state: SourceState, stopping: threading.Event, reason: str = "") -> None:
        with self._changed:
            if not stopping.is_set():
                self._tell(state, reason)

    # any thread, with the lock held

    def _notice_silence(self) -> None:
        if self._state in OPEN and self._frame is not None:
            silent_s = self._clock.monotonic_s() - self._frame.captured_mono_s
            if silent_s >= STALLED_AFTER_S:
                self._tell(SourceState.LOST, f"no picture for {STALLED_AFTER_S:g} s")

    def _tell(self, state: SourceState, reason: str = "") -> None:
        """Be in ``state``; what a person must know is logged once when it begins and once when it is over."""
        before = self._state
        if state == before or (state == SourceState.OPENING and before == SourceState.LOST):
            return  # a lost source stays lost until pictures come
        self._state = state
        if state == SourceState.LOST:
            emit("video_source_lost", feed=self._feed, reason=reason)
        elif state in OPEN and before not in OPEN:
            emit("video_source_opened", feed=self._feed)
        if state in (SourceState.BLACK, SourceState.FROZEN):
            emit("video_picture_suspect", feed=self._feed, state=str(state))
        elif state == SourceState.LIVE and before in OPEN:
            emit("video_picture_good", feed=self._feed)
