"""What a camera shows, before the crew names it: stills of a capture device, for as long as somebody asks for them; and
one photo for the record.

A consultation goes first. A camera whose feed is open is not opened a second time: its newest picture is given. While
anybody watches the van's pictures, or their sources are still open, no other camera is opened, and what was opened for
a preview is given back within ``LOOK_EVERY_S``; a source that meets it meanwhile tries again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import cv2

from devices.clock import Clock
from devices.errors import AskPerson
from telemedicine.media.capture_address import SourceKind, kind_of
from telemedicine.media.captures import Capture, Wish, open_capture
from telemedicine.media.picture_judge import Image
from telemedicine.media.sources import OPEN, Frame, Pictures, Source

WISH = Wish(640, 360, 10.0)
WIDEST = 640
JPEG_QUALITY = 75
PHOTO_WISH = Wish(1280, 720, 10.0)
PHOTO_WIDEST = 1280
PHOTO_QUALITY = 85
SETTLED_PICTURES = 8
"""So many a camera takes after its opening until its exposure is right."""
SETTLED_WITHIN_S = 2.0
MOST_OPEN = 3
"""More do not fit on one USB bus in any case."""
FIRST_WITHIN_S = 5.0
IDLE_S = 4.0
"""Nobody asked for so long: the page is closed."""
LOOK_EVERY_S = 0.25


class CameraInConsultation(AskPerson):
    """A consultation has the cameras now."""

    code = "camera_in_consultation"


class CameraShowsNothing(AskPerson):
    """It gives no picture: pulled out, or another program has it."""

    code = "camera_shows_nothing"


class NoOutsideCamera(AskPerson):
    """Neither the settings nor the crew say which camera looks out of the van."""

    code = "no_outside_camera"


class CameraPreview:
    """
    :param feed_of: address -> the pictures of the feed that comes from there; None: none does
    :param in_use: somebody watches the van's pictures, or their sources are still open
    """

    def __init__(
        self,
        clock: Clock,
        feed_of: Callable[[str], Pictures | None],
        in_use: Callable[[], bool],
        opener: Callable[[str, Wish], Capture] = open_capture,
    ) -> None:
        self._clock, self._feed_of, self._in_use, self._opener = clock, feed_of, in_use, opener
        self._sources: dict[str, Source] = {}
        self._asked_s: dict[str, float] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._photographing = asyncio.Lock()

    async def still(self, address: str) -> bytes:
        """The newest picture as JPEG, at most ``WIDEST`` wide. Waits for the first one.

        :raises CameraInConsultation: it would have to be opened while pictures are watched
        :raises CameraShowsNothing: no picture came, or it is no capture device
        """
        pictures = self._feed_of(address)
        if pictures is None or pictures.state not in OPEN:
            pictures = self._opened(address)
        frame = await asyncio.to_thread(pictures.newer, -1, FIRST_WITHIN_S)
        if frame is None:
            raise CameraShowsNothing(f"no picture from {address}", camera=address)
        return await asyncio.to_thread(jpeg_of, frame.image)

    async def photo(self, address: str) -> bytes:
        """One picture as JPEG, at most ``PHOTO_WIDEST`` wide, from any address of ``capture_address``.

        :param address: of the settings or of the crew's choice, never of a request
        :raises CameraInConsultation: a device that would have to be opened while pictures are watched, on the same bus
        :raises CameraShowsNothing: no picture came
        """
        async with self._photographing:
            pictures = self._feed_of(address)
            if pictures is not None and pictures.state in OPEN:
                frame = await asyncio.to_thread(pictures.newer, -1, FIRST_WITHIN_S)
            else:
                frame = await self._opened_once(address)
        if frame is None:
            raise CameraShowsNothing(f"no picture from {address}", camera=address)
        return await asyncio.to_thread(jpeg_of, frame.image, PHOTO_WIDEST, PHOTO_QUALITY)

    async def _opened_once(self, address: str) -> Frame | None:
        """The picture of a camera that is opened for it, once its exposure is right."""
        if self._in_use() and kind_of(address) == SourceKind.DEVICE:
            raise CameraInConsultation("a consultation has the cameras", camera=address)
        if address in self._sources:
            self._give_back(address)
        source = Source("photo", address, self._clock, PHOTO_WISH, self._opener)
        source.start()
        try:
            first = await asyncio.to_thread(source.newer, -1, FIRST_WITHIN_S)
            if first is None:
                return None
            settled = await asyncio.to_thread(source.newer, first.number + SETTLED_PICTURES - 2, SETTLED_WITHIN_S)
            return settled or source.newer(-1, 0.0) or first
        finally:
            source.stop()

    def close(self) -> None:
        """Give every camera back."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for address in [*self._sources]:
            self._give_back(address)

    def _opened(self, address: str) -> Source:
        if self._in_use():
            self.close()
            raise CameraInConsultation("a consultation has the cameras", camera=address)
        if kind_of(address) != SourceKind.DEVICE:
            raise CameraShowsNothing(f"{address} is no camera", camera=address)
        self._asked_s[address] = self._clock.monotonic_s()
        if address not in self._sources:
            while len(self._sources) >= MOST_OPEN:
                self._give_back(min(self._sources, key=lambda one: self._asked_s[one]))
            source = self._sources[address] = Source("preview", address, self._clock, WISH, self._opener)
            source.start()
        if self._looking is None:
            self._look()
        return self._sources[address]

    def _look(self) -> None:
        """Again and again while a camera is open."""
        idle_since_s = self._clock.monotonic_s() - IDLE_S
        for address in [*self._sources]:
            if self._in_use() or self._asked_s[address] < idle_since_s:
                self._give_back(address)
        loop = asyncio.get_running_loop()
        self._looking = loop.call_later(LOOK_EVERY_S, self._look) if self._sources else None

    def _give_back(self, address: str) -> None:
        self._sources.pop(address).stop()
        del self._asked_s[address]


def same_place(one: str, other: str) -> bool:
    """Whether two addresses are one device: a link below /dev/v4l/by-path and the device it leads to."""
    return one == other or (kind_of(one) == kind_of(other) == SourceKind.DEVICE and _device(one) == _device(other))


def _device(address: str) -> Path:
    return Path(f"/dev/video{address}" if address.isdigit() else address).resolve()


def jpeg_of(image: Image, widest: int = WIDEST, quality: int = JPEG_QUALITY) -> bytes:
    height, width = image.shape[:2]
    if width > widest:
        image = cv2.resize(image, (widest, round(height * widest / width)), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return packed.tobytes()
