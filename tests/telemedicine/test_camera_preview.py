"""What a camera shows before it is named: stills while somebody asks, and never at a consultation's cost."""

from __future__ import annotations

from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from consultation_stage import until

from devices.clock import SystemClock
from telemedicine import camera_preview
from telemedicine.camera_preview import (
    SETTLED_PICTURES,
    CameraInConsultation,
    CameraPreview,
    CameraShowsNothing,
    NoOutsideCamera,
    jpeg_of,
    same_place,
)
from telemedicine.local_app import create_local_app
from telemedicine.media.captures import CannotOpen, Capture, Wish
from telemedicine.media.picture_judge import Image
from telemedicine.media.sources import Source, SourceState

CLOCK = SystemClock()
CARD = "/dev/v4l/by-path/usb-4-video-index0"


class Shade:
    """A camera that shows one shade, ten times a second."""

    period_s = 0.1

    def __init__(self, shade: int) -> None:
        self.picture = np.full((360, 640, 3), shade, np.uint8)
        self.released = False

    def read(self) -> Image | None:
        return self.picture.copy()

    def position_s(self) -> float | None:
        return None

    def rewind(self) -> bool:
        return False

    def release(self) -> None:
        self.released = True


class Waking(Shade):
    """A camera whose first pictures are dark, as those of a camera are whose exposure is not yet right."""

    def __init__(self) -> None:
        super().__init__(10)
        self.read_already = 0

    def read(self) -> Image | None:
        self.read_already += 1
        return np.full((360, 640, 3), 10 if self.read_already < SETTLED_PICTURES else 200, np.uint8)


class Desk:
    """Cameras by address, which were opened, and whether a consultation has them."""

    def __init__(self, **shades: int) -> None:
        self.cameras = {f"/dev/{name}": Shade(shade) for name, shade in shades.items()}
        self.opened: list[str] = []
        self.in_use = False
        self.feed: Source | None = None
        self.preview = CameraPreview(CLOCK, lambda address: self.feed, lambda: self.in_use, self.open)

    def open(self, address: str, wish: Wish) -> Capture:
        self.opened.append(address)
        if address not in self.cameras:
            raise CannotOpen("nothing there")
        return self.cameras[address]


def shade_of(still: bytes) -> int:
    return round(float(cv2.imdecode(np.frombuffer(still, np.uint8), cv2.IMREAD_COLOR).mean()))


async def test_each_camera_shows_its_own_picture_and_is_opened_once() -> None:
    desk = Desk(video0=60, video2=180)
    try:
        for _ in range(3):
            assert shade_of(await desk.preview.still("/dev/video0")) == 60
            assert shade_of(await desk.preview.still("/dev/video2")) == 180
        assert sorted(desk.opened) == ["/dev/video0", "/dev/video2"]
    finally:
        desk.preview.close()
    await until(lambda: all(camera.released for camera in desk.cameras.values()))


async def test_a_camera_nobody_asks_for_any_more_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_preview, "IDLE_S", 0.2)
    desk = Desk(video0=60)
    await desk.preview.still("/dev/video0")
    await until(lambda: desk.cameras["/dev/video0"].released)
    assert shade_of(await desk.preview.still("/dev/video0")) == 60
    desk.preview.close()


async def test_a_consultation_gets_the_camera_back_and_nothing_is_opened_beside_it() -> None:
    desk = Desk(video0=60, video2=180)
    await desk.preview.still("/dev/video0")
    desk.in_use = True
    await until(lambda: desk.cameras["/dev/video0"].released)
    with pytest.raises(CameraInConsultation):
        await desk.preview.still("/dev/video2")
    assert desk.opened == ["/dev/video0"]


async def test_a_camera_whose_feed_is_watched_gives_that_very_picture() -> None:
    desk = Desk(video0=60)
    watched = Shade(200)
    desk.feed = Source("room", "/dev/video0", CLOCK, opener=lambda *_: watched)
    desk.feed.start()
    desk.in_use = True
    try:
        await until(lambda: desk.feed is not None and desk.feed.state != SourceState.OPENING)
        assert shade_of(await desk.preview.still("/dev/video0")) == 200
        assert not desk.opened
    finally:
        desk.feed.stop()


async def test_no_more_cameras_are_open_than_may_be() -> None:
    desk = Desk(**{f"video{n}": 20 * n + 20 for n in range(5)})
    for n in range(5):
        assert shade_of(await desk.preview.still(f"/dev/video{n}")) == 20 * n + 20
    await until(lambda: sum(camera.released for camera in desk.cameras.values()) == 2)
    desk.preview.close()


@pytest.mark.parametrize("address", ["/dev/video9", "http://example.invalid/camera", "/etc/passwd"])
async def test_what_is_no_camera_shows_nothing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_preview, "FIRST_WITHIN_S", 0.1)
    desk = Desk()
    with pytest.raises(CameraShowsNothing):
        await desk.preview.still(address)
    assert set(desk.opened) <= {"/dev/video9"}
    desk.preview.close()


async def test_a_photo_is_taken_once_the_exposure_is_right_and_the_camera_given_back() -> None:
    desk = Desk(video0=60)
    camera = desk.cameras["/dev/video0"] = Waking()
    try:
        assert shade_of(await desk.preview.photo("/dev/video0")) == 200
        await until(lambda: camera.released)
        await desk.preview.still("/dev/video0")
        await desk.preview.photo("/dev/video0")
        assert desk.opened == ["/dev/video0"] * 3
    finally:
        desk.preview.close()


async def test_a_photo_is_that_of_the_open_feed_and_a_device_else_waits_for_the_consultation() -> None:
    """A camera of the network is on no bus that the consultation's cameras need."""
    desk = Desk(video0=60)
    watched = Shade(90)
    desk.feed = Source("room", "/dev/video0", CLOCK, opener=lambda *_: watched)
    desk.feed.start()
    desk.in_use = True
    try:
        await until(lambda: desk.feed is not None and desk.feed.state != SourceState.OPENING)
        assert shade_of(await desk.preview.photo("/dev/video0")) == 90
    finally:
        desk.feed.stop()
    with pytest.raises(CameraInConsultation):
        await desk.preview.photo("/dev/video0")
    assert not desk.opened
    desk.cameras["rtsp://192.0.2.1/outside"] = Shade(120)
    desk.feed = None
    assert shade_of(await desk.preview.photo("rtsp://192.0.2.1/outside")) == 120


async def test_a_camera_that_shows_nothing_gives_no_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_preview, "FIRST_WITHIN_S", 0.1)
    with pytest.raises(CameraShowsNothing):
        await Desk().preview.photo("rtsp://192.0.2.1/outside")


async def test_asked_on_the_socket_it_is_a_jpeg_or_a_reason() -> None:
    class Van:
        desk = Desk(video0=60)
        preview = desk.preview
        outside: str | None = "/dev/video0"

        async def photo(self) -> bytes:
            if self.outside is None:
                raise NoOutsideCamera
            return await self.preview.photo(self.outside)

    app = create_local_app(Van(), "00" * 32)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://consultation") as caller:
        answer = await caller.get("/camera/still", params={"camera": "/dev/video0"})
        assert (answer.headers["content-type"], shade_of(answer.content)) == ("image/jpeg", 60)
        answer = await caller.get("/camera/photo")
        assert (answer.headers["content-type"], shade_of(answer.content)) == ("image/jpeg", 60)
        Van.outside = None
        assert (await caller.get("/camera/photo")).json()["detail"]["code"] == "no_outside_camera"
        Van.desk.in_use = True
        answer = await caller.get("/camera/still", params={"camera": "/dev/video0"})
        assert (answer.status_code, answer.json()["detail"]["code"]) == (409, "camera_in_consultation")


def test_a_link_and_its_device_are_one_place(tmp_path: Path) -> None:
    link = tmp_path / "by-path"
    link.symlink_to("/dev/null")
    assert same_place("/dev/null", "/dev/null")
    assert same_place("0", "/dev/video0")
    assert not same_place("/dev/video0", "/dev/video1")
    assert not same_place("http://a/1", "http://a/2")


def test_a_large_picture_is_made_smaller() -> None:
    still = cv2.imdecode(np.frombuffer(jpeg_of(np.zeros((1080, 1920, 3), np.uint8)), np.uint8), cv2.IMREAD_COLOR)
    assert still.shape == (360, 640, 3)
