"""Sources: newest picture only, opened again when they went away, told when they are gone, black or frozen."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from consultation_stage import render_test_clip, until
from media_stage import Image, MjpegCamera, moving
from rtsp_camera import RtspCamera

from devices.clock import SimulatedClock, SystemClock
from telemedicine.media import captures, picture_judge, sources
from telemedicine.media.captures import CannotOpen, Capture, Wish, agree
from telemedicine.media.sources import Source, SourceState


@asynccontextmanager
async def running(source: Source) -> AsyncIterator[Source]:
    source.start()
    try:
        yield source
    finally:
        thread = source.stop()
        if thread is not None:
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    made = MjpegCamera()
    yield made
    made.hangs.clear()
    made.unplug()


@pytest.fixture
def retries_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(sources, "LAST_RETRY_S", 0.2)


def still_clip(file: Path, shade: int) -> Path:
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 30, (160, 120))
    for _ in range(30):
        writer.write(np.full((120, 160, 3), shade, dtype=np.uint8))
    writer.release()
    return file


async def test_a_file_plays_at_its_own_rate_and_begins_again(tmp_path: Path) -> None:
    source = Source("room", str(render_test_clip(tmp_path / "clip.mp4", 40)), SystemClock())
    async with running(source):
        await until(lambda: source.newer(50, 0.0) is not None)  # the clip has 40 pictures
        assert source.state == SourceState.LIVE
        assert 5 < source.frame_rate_hz < 30
    assert source.state == SourceState.CLOSED
    assert source.newer(-1, 0.0) is None, "the last picture is not shown to whoever looks next"


async def test_only_the_newest_picture_is_kept(tmp_path: Path) -> None:
    source = Source("room", str(render_test_clip(tmp_path / "clip.mp4", 40)), SystemClock())
    async with running(source):
        await until(lambda: source.newer(5, 0.0) is not None)
        newest = source.newer(0, 0.0)
        assert newest is not None
        assert newest.number > 5, "a slow reader does not get the older ones"
        assert source.newer(newest.number + 1000, 0.0) is None


@pytest.mark.usefixtures("retries_soon")
async def test_a_source_that_comes_later_is_found(tmp_path: Path) -> None:
    file = tmp_path / "later.mp4"
    source = Source("ultrasound", str(file), SystemClock())
    async with running(source):
        await until(lambda: source.state == SourceState.LOST)
        render_test_clip(tmp_path / "made.mp4", 40).rename(file)
        await until(lambda: source.state == SourceState.LIVE)


@pytest.mark.usefixtures("retries_soon")
@pytest.mark.parametrize("kind", [MjpegCamera, RtspCamera])
async def test_a_network_camera_that_is_unplugged_comes_back(
    kind: type[MjpegCamera | RtspCamera], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    camera = kind()
    camera.plug_in()
    source = Source("room", camera.url, SystemClock())
    async with running(source):
        await until(lambda: source.state == SourceState.LIVE)
        frame = source.newer(-1, 5.0)
        assert frame is not None
        assert frame.image.shape == (240, 320, 3)
        camera.unplug()
        await until(lambda: source.state == SourceState.LOST)
        seen = source.newer(-1, 0.0)
        assert seen is not None
        camera.plug_in()
        await until(lambda: source.newer(seen.number, 0.0) is not None)
        await until(lambda: source.state == SourceState.LIVE)
    camera.unplug()
    told = [record.message for record in caplog.records]
    assert sum("video_source_lost" in line for line in told) == 1
    assert sum("video_source_opened" in line for line in told) == 2


@pytest.mark.usefixtures("retries_soon")
async def test_a_camera_that_hangs_is_told_before_its_connection_ends(
    camera: MjpegCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "STALLED_AFTER_S", 0.3)
    monkeypatch.setattr(captures, "READ_WITHIN_S", 60.0)
    camera.plug_in()
    source = Source("room", camera.url, SystemClock())
    source.start()
    await until(lambda: source.state == SourceState.LIVE)
    camera.hangs.set()

    def lost() -> bool:
        newest = source.newer(-1, 0.0)
        return newest is not None and source.newer(newest.number, 0.0) is None and source.state == SourceState.LOST

    await until(lost)
    camera.hangs.clear()
    await until(lambda: source.state == SourceState.LIVE)
    thread = source.stop()
    assert thread is not None
    await asyncio.to_thread(thread.join, 10)


@pytest.mark.usefixtures("retries_soon")
async def test_a_pipe_is_read_as_it_is_written_and_again_by_the_next_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "grabber.mjpg"
    os.mkfifo(pipe)

    def write(first: int) -> None:
        with pipe.open("wb", buffering=0) as written:
            for number in range(first, first + 80):
                try:
                    written.write(cv2.imencode(".jpg", moving(number))[1].tobytes())
                except BrokenPipeError:
                    return

    source = Source("ultrasound", str(pipe), SystemClock())
    async with running(source):
        for first in (0, 100):
            writer = threading.Thread(target=write, args=(first,), daemon=True)
            writer.start()
            before = source.newer(-1, 0.0)
            await until(lambda before=before: source.newer(before.number if before else -1, 0.0) is not None)
            await until(lambda: source.state == SourceState.LOST)


async def test_a_pipe_without_a_writer_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "READ_WITHIN_S", 0.05)
    os.mkfifo(tmp_path / "silent")
    with pytest.raises(CannotOpen, match="nobody writes"):
        captures.open_capture(str(tmp_path / "silent"), Wish())


@pytest.mark.parametrize(("shade", "state"), [(0, SourceState.BLACK), (120, SourceState.FROZEN)])
async def test_black_and_frozen_pictures_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shade: int, state: SourceState
) -> None:
    monkeypatch.setattr(picture_judge, "LOOK_EVERY_S", 0.1)
    monkeypatch.setitem(picture_judge.FROZEN_AFTER_S, captures.SourceKind.FILE, 0.3)
    source = Source("ultrasound", str(still_clip(tmp_path / "still.mp4", shade)), SystemClock())
    async with running(source):
        await until(lambda: source.state == state)


class StuckDevice:
    """A device whose driver hands out a few pictures and then never returns, until it is released by force."""

    period_s = 0.0

    def __init__(self) -> None:
        self.left = 3
        self.let_go = threading.Event()

    def read(self) -> Image | None:
        if self.left:
            self.left -= 1
            return moving(self.left)
        self.let_go.wait(20)
        return moving(99)

    def position_s(self) -> float | None:
        return None

    def rewind(self) -> bool:
        return False

    def release(self) -> None:
        pass


async def test_what_a_stuck_driver_gives_after_its_source_was_closed_is_thrown_away() -> None:
    stuck, fresh = StuckDevice(), StuckDevice()
    devices: list[Capture] = [fresh, stuck]
    source = Source("room", "/dev/video0", SystemClock(), opener=lambda *_: devices.pop())
    source.start()
    await until(lambda: source.newer(2, 0.0) is not None)
    old = source.stop()
    source.start()
    await until(lambda: source.newer(5, 0.0) is not None)
    stuck.let_go.set()
    assert old is not None
    await asyncio.to_thread(old.join, 10)
    newest = source.newer(-1, 0.0)
    assert newest is not None
    assert newest.number == 6, "the late picture of the old reader is not taken"
    assert source.state == SourceState.LIVE
    source.stop()
    fresh.let_go.set()


class SlowlyDecoded:
    """A stream of 25 pictures a second on a computer that decodes ten."""

    period_s = 0.0

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock, self._number = clock, 0

    def read(self) -> Image | None:
        self._clock.advance(0.1)
        self._number += 1
        return moving(self._number)

    def position_s(self) -> float | None:
        return self._number / 25

    def rewind(self) -> bool:
        return False

    def release(self) -> None:
        pass


@pytest.mark.usefixtures("retries_soon")
async def test_a_stream_that_falls_behind_is_opened_again_at_the_present(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock, opened = SimulatedClock(datetime(2026, 3, 1, tzinfo=UTC)), list[SlowlyDecoded]()

    def opener(address: str, wish: Wish) -> Capture:
        opened.append(SlowlyDecoded(clock))
        return opened[-1]

    source = Source("room", "rtsp://192.0.2.1/room", clock, opener=opener)
    async with running(source):
        await until(lambda: len(opened) >= 2)
        newest = source.newer(-1, 0.0)
        assert newest is not None
        assert newest.number >= 32, "0.06 s more with every picture, until 2 s"
    assert any("late" in record.message for record in caplog.records)


class Surprising(SlowlyDecoded):
    """A driver that raises what nobody knows."""

    def position_s(self) -> float | None:
        return None

    def read(self) -> Image | None:
        if self._number == 5:
            raise ZeroDivisionError("the driver's own")
        return super().read()


@pytest.mark.usefixtures("retries_soon")
async def test_whatever_a_driver_raises_the_feed_says_lost_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    clock, opened = SimulatedClock(datetime(2026, 3, 1, tzinfo=UTC)), list[SlowlyDecoded]()

    def opener(address: str, wish: Wish) -> Capture:
        opened.append(SlowlyDecoded(clock) if opened else Surprising(clock))
        return opened[-1]

    source = Source("room", "/dev/video0", clock, opener=opener)
    async with running(source):
        await until(lambda: source.newer(20, 0.0) is not None)
        assert source.state == SourceState.LIVE
    said = [record.message for record in caplog.records]
    assert any("media_thread_failed" in message and "the driver's own" in message for message in said)


async def test_an_rtsp_camera_has_a_clock_and_an_http_camera_has_none() -> None:
    for kind, has_clock in ((RtspCamera, True), (MjpegCamera, False)):
        camera = kind()
        camera.plug_in()
        capture = await asyncio.to_thread(captures.open_capture, camera.url, Wish())
        positions: list[float | None] = []
        for _ in range(5):
            assert await asyncio.to_thread(capture.read) is not None
            positions.append(capture.position_s())
        assert all((position is not None) == has_clock for position in positions)
        if has_clock:
            assert positions[-1] == pytest.approx((positions[1] or 0.0) + 3 / 25, abs=1e-6)
        capture.release()
        camera.unplug()


class CaptureCard:
    """A UVC card: unpacked it gives little at 720p, as JPEG all of it."""

    def __init__(self, unpacked_hz: float) -> None:
        self._unpacked_hz = unpacked_hz
        self.settings: dict[int, float] = {}

    def set(self, property_id: int, setting: float, /) -> bool:
        self.settings[property_id] = setting
        return True

    def get(self, property_id: int, /) -> float:
        if property_id == cv2.CAP_PROP_FPS and cv2.CAP_PROP_FOURCC not in self.settings:
            return self._unpacked_hz
        return self.settings[property_id]


@pytest.mark.parametrize(("unpacked_hz", "packed"), [(10.0, True), (30.0, False)])
def test_a_device_is_asked_for_jpeg_only_when_it_must_be(unpacked_hz: float, packed: bool) -> None:
    card = CaptureCard(unpacked_hz)
    agree(card, Wish(1280, 720, 30))
    assert (cv2.CAP_PROP_FOURCC in card.settings) == packed
    assert card.settings[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert card.settings[cv2.CAP_PROP_FPS] == 30


@pytest.mark.parametrize("address", ["/nowhere/clip.mp4", "screen::77", "http://127.0.0.1:9/none", "/dev/video77"])
def test_nothing_there_is_said_in_words(address: str) -> None:
    with pytest.raises(CannotOpen) as fault:
        captures.open_capture(address, Wish())
    assert str(fault.value)


@pytest.fixture
def screen() -> Iterator[str]:
    if shutil.which("Xvfb") is None:
        pytest.skip("skipped: no Xvfb")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as told:
        yield f":{told.readline().strip()}"
    server.terminate()
    server.wait(10)


async def test_a_screen_is_a_source_and_may_stand_still(screen: str) -> None:
    source = Source("ultrasound", f"screen:{screen}", SystemClock(), Wish(320, 240, 20))
    async with running(source):
        frame = await asyncio.to_thread(source.newer, 10, 20.0)
        assert frame is not None
        assert frame.image.shape == (240, 320, 3)
        assert source.state in (SourceState.LIVE, SourceState.BLACK)
