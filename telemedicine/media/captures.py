"""Opening and reading one picture source. Blocks: for the reading thread of ``sources.Source`` only.

Devices, files and streams through OpenCV, the screen through FFmpeg's x11grab, which OpenCV does not reach.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import av.container
import av.error
import cv2
import numpy as np

from devices.errors import Retry
from telemedicine.media.capture_address import SCREEN, SourceKind, kind_of
from telemedicine.media.picture_judge import Image

OPEN_WITHIN_S, READ_WITHIN_S = 5.0, 3.0
"""A stream that takes longer is given up and opened again."""
FILE_RATE_HZ = 25.0
"""Of a file that does not say its own."""
CLOCKED = ("rtsp://", "rtsps://")
"""RTP carries the camera's clock; of MJPEG over HTTP FFmpeg only counts the pictures."""
SLOWEST_HZ, FASTEST_HZ = 1.0, 120.0
DEVICE_BUFFERS = 1
NEARLY = 0.9
MJPG = cv2.VideoWriter.fourcc(*"MJPG")

cv2.setNumThreads(1)  # two small pictures do not need a pool of threads beside the encoders


class CannotOpen(Retry):
    """There are no pictures behind the address now; ``str()`` says why as far as it is known."""

    code = "video_source_unavailable"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a device or a screen is asked for; it gives what it can."""

    width: int = 1280
    height: int = 720
    frame_rate_hz: float = 30.0


class Capture(Protocol):
    """An open source."""

    @property
    def period_s(self) -> float:
        """Seconds from one picture to the next when it has to be paced; 0 when pictures come by themselves."""

    def read(self) -> Image | None:
        """The next picture; None when there is none any more."""

    def position_s(self) -> float | None:
        """The source's own time of the picture that was read last; None where it has no clock."""

    def rewind(self) -> bool:
        """Go to the first picture; False when that is not possible."""

    def release(self) -> None: ...


def open_capture(address: str, wish: Wish) -> Capture:
    """
    :raises CannotOpen: nothing is there now
    """
    kind = kind_of(address)
    if kind == SourceKind.SCREEN:
        return ScreenCapture(address.removeprefix(SCREEN), wish)
    if kind == SourceKind.FILE:
        file = Path(address)
        if not file.exists():
            raise CannotOpen("no such file")
        if stat.S_ISFIFO(file.stat().st_mode):
            _expect_writer(file)
            return OpenCvCapture(_open(address, cv2.CAP_FFMPEG, _thread()), 0.0)
        return _file(address)
    if kind == SourceKind.STREAM:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(OPEN_WITHIN_S * 1000)]
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(READ_WITHIN_S * 1000)]
        stream = _open(address, cv2.CAP_FFMPEG, [*_thread(), *limits])
        return OpenCvCapture(stream, 0.0, has_clock=address.startswith(CLOCKED))
    device = _open(int(address) if address.isdigit() else address, cv2.CAP_V4L2, [])
    device.set(cv2.CAP_PROP_BUFFERSIZE, DEVICE_BUFFERS)
    agree(device, wish)
    return OpenCvCapture(device, 0.0)


class Properties(Protocol):
    """The part of ``cv2.VideoCapture`` that ``agree`` needs."""

    def set(self, property_id: int, setting: float, /) -> bool: ...

    def get(self, property_id: int, /) -> float: ...


def agree(device: Properties, wish: Wish) -> None:
    """Set a device to the wished size and rate: unpacked pictures if it can, else JPEG, which USB 2 has room for."""
    _ask(device, wish)
    wide = device.get(cv2.CAP_PROP_FRAME_WIDTH) >= wish.width
    if not wide or device.get(cv2.CAP_PROP_FPS) < NEARLY * wish.frame_rate_hz:
        device.set(cv2.CAP_PROP_FOURCC, MJPG)
        _ask(device, wish)


def _ask(device: Properties, wish: Wish) -> None:
    device.set(cv2.CAP_PROP_FRAME_WIDTH, wish.width)
    device.set(cv2.CAP_PROP_FRAME_HEIGHT, wish.height)
    device.set(cv2.CAP_PROP_FPS, wish.frame_rate_hz)


class OpenCvCapture:
    def __init__(self, capture: cv2.VideoCapture, period_s: float, has_clock: bool = False) -> None:
        self._capture = capture
        self._period_s = period_s
        self._has_clock = has_clock

    @property
    def period_s(self) -> float:
        return self._period_s

    def read(self) -> Image | None:
        try:
            good, image = self._capture.read()
        except cv2.error:  # a picture that cannot be decoded, for instance of another size in mid-stream
            return None
        return np.asarray(image, dtype=np.uint8) if good else None

    def position_s(self) -> float | None:
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000 if self._has_clock else None

    def rewind(self) -> bool:
        return self._period_s > 0 and bool(self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0))

    def release(self) -> None:
        self._capture.release()


class ScreenCapture:
    """The screen of an X display, from its upper left corner or the given point, with the mouse."""

    period_s = 0.0

    def __init__(self, display: str, wish: Wish) -> None:
        options = {"framerate": f"{wish.frame_rate_hz:g}", "video_size": f"{wish.width}x{wish.height}"}
        try:
            self._container = av.open(display, format="x11grab", options=options)
        except (av.error.FFmpegError, ValueError, OSError) as fault:
            raise CannotOpen(f"screen {display}: {fault}") from None
        assert isinstance(self._container, av.container.InputContainer)
        self._pictures: Iterator[av.VideoFrame] = self._container.decode(video=0)

    def read(self) -> Image | None:
        try:
            return np.asarray(next(self._pictures).to_ndarray(format="bgr24"), dtype=np.uint8)
        except (StopIteration, av.error.FFmpegError, OSError):
            return None

    def position_s(self) -> float | None:
        return None

    def rewind(self) -> bool:
        return False

    def release(self) -> None:
        self._container.close()


def _open(target: str | int, backend: int, settings: list[int]) -> cv2.VideoCapture:
    try:
        capture = cv2.VideoCapture(target, backend, settings)
    except cv2.error as fault:
        raise CannotOpen(str(fault)) from None
    if not capture.isOpened():
        capture.release()
        raise CannotOpen("cannot be opened")
    return capture


def _thread() -> list[int]:
    """One decoding thread: several would keep a picture each."""
    return [cv2.CAP_PROP_N_THREADS, 1]


def _file(address: str) -> OpenCvCapture:
    capture = _open(address, cv2.CAP_FFMPEG, _thread())
    rate_hz = capture.get(cv2.CAP_PROP_FPS)
    return OpenCvCapture(capture, 1.0 / (rate_hz if SLOWEST_HZ <= rate_hz <= FASTEST_HZ else FILE_RATE_HZ))


def _expect_writer(pipe: Path) -> None:
    """Opening a named pipe would block for as long as nobody writes into it.

    :raises CannotOpen: nobody has written into it within ``READ_WITHIN_S``
    """
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not any(event & select.POLLIN for _, event in poll.poll(READ_WITHIN_S * 1000)):
            raise CannotOpen("nobody writes into this pipe")
    finally:
        os.close(descriptor)
