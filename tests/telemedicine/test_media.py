"""Sources, the shared encoder and the voice bridge: newest frame only, bounded queues, one encoding for all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from consultation_stage import render_test_clip, until

from devices.clock import SystemClock
from telemedicine.media import h264, sources
from telemedicine.media.audio import FRAME_SAMPLES, QUEUE_FRAMES, AudioBridge
from telemedicine.media.encoder import Encoder, PacketTrack
from telemedicine.media.sources import Source, SourceState


@pytest.fixture
async def encoder(tmp_path: Path) -> AsyncIterator[Encoder]:
    clip = render_test_clip(tmp_path / "clip.mp4", 40)
    made = Encoder(Source("room", str(clip), SystemClock()), 320, 240, 20, 800_000, SystemClock())
    yield made
    await asyncio.to_thread(made.close)


def still_clip(file: Path, shade: int) -> Path:
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 30, (160, 120))
    image = np.full((120, 160, 3), shade, dtype=np.uint8)
    for _ in range(30):
        writer.write(image)
    writer.release()
    return file


async def test_a_file_plays_at_its_own_rate_and_begins_again(tmp_path: Path) -> None:
    source = Source("room", str(render_test_clip(tmp_path / "clip.mp4", 40)), SystemClock())
    source.start()
    try:
        await until(lambda: source.newer(50, 0.0) is not None)  # the clip has 40 pictures
        assert source.state == SourceState.LIVE
        assert 5 < source.frame_rate_hz < 30
    finally:
        thread = source.stop()
    assert source.state == SourceState.CLOSED
    assert thread is not None
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()


async def test_only_the_newest_frame_is_kept(tmp_path: Path) -> None:
    source = Source("room", str(render_test_clip(tmp_path / "clip.mp4", 40)), SystemClock())
    source.start()
    try:
        await until(lambda: source.newer(5, 0.0) is not None)
        newest = source.newer(0, 0.0)
        assert newest is not None
        assert newest.number > 5, "a slow reader does not get the older ones"
        assert source.newer(newest.number + 1000, 0.0) is None
    finally:
        source.stop()


async def test_a_source_that_comes_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FIRST_RETRY_S", 0.05)
    file = tmp_path / "later.mp4"
    source = Source("ultrasound", str(file), SystemClock())
    source.start()
    try:
        await until(lambda: source.state == SourceState.LOST)
        render_test_clip(tmp_path / "made.mp4", 40).rename(file)
        await until(lambda: source.state == SourceState.LIVE)
    finally:
        source.stop()


@pytest.mark.parametrize(("shade", "state"), [(0, SourceState.BLACK), (120, SourceState.FROZEN)])
async def test_black_and_frozen_pictures_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shade: int, state: SourceState
) -> None:
    monkeypatch.setattr(sources, "LOOK_EVERY_S", 0.1)
    source = Source("ultrasound", str(still_clip(tmp_path / "still.mp4", shade)), SystemClock())
    source.start()
    try:
        await until(lambda: source.state == state)
    finally:
        source.stop()


async def first_packets(track: PacketTrack, count: int) -> list[av.Packet]:
    return [await asyncio.wait_for(track.recv(), 20) for _ in range(count)]


async def test_each_viewer_begins_at_a_key_frame_and_all_share_one_encoding(encoder: Encoder) -> None:
    first = encoder.subscribe()
    assert (await first_packets(first, 5))[0].is_keyframe
    second = encoder.subscribe()
    got = await first_packets(second, 3)
    assert got[0].is_keyframe
    assert sum(thread.name == "encoder-room" for thread in threading.enumerate()) == 1
    decoder = av.VideoCodecContext.create("h264", "r")
    pictures = [picture for packet in got for picture in decoder.decode(packet)]
    assert pictures[0].width == 320
    assert pictures[0].height == 240
    for track in (first, second):
        track.stop()


async def test_a_viewer_that_does_not_read_skips_and_never_grows(encoder: Encoder) -> None:
    slow, quick = encoder.subscribe(), encoder.subscribe()
    for _ in range(25):
        await asyncio.wait_for(quick.recv(), 20)
        assert len(slow._packets) <= 5  # a quarter second at 20 pictures a second
    assert slow.skipped > 0
    assert quick.skipped <= 1 or quick.skipped < slow.skipped
    slow._packets.clear()
    slow._needs_key_frame = True
    assert (await asyncio.wait_for(slow.recv(), 20)).is_keyframe, "it comes back at a key frame, not in the middle"
    slow.stop()
    quick.stop()


async def test_key_frames_are_rate_limited(encoder: Encoder) -> None:
    track = encoder.subscribe()
    await first_packets(track, 2)
    kinds = []
    for _ in range(20):  # a second of pictures, a request before each
        encoder.request_key_frame()
        kinds.append((await asyncio.wait_for(track.recv(), 20)).is_keyframe)
    assert 1 <= sum(kinds) <= 7
    track.stop()


async def test_bit_rate_follows_without_a_key_frame(encoder: Encoder) -> None:
    track = encoder.subscribe()
    await first_packets(track, 5)
    encoder.aim_at(500_000)
    assert not any(packet.is_keyframe for packet in await first_packets(track, 10))
    encoder.aim_at(100)
    assert any(packet.is_keyframe for packet in await first_packets(track, 10)), "far below it is opened anew"
    track.stop()


async def test_source_and_encoder_close_when_nobody_looks(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemedicine.media.encoder.IDLE_S", 0.05)
    track = encoder.subscribe()
    await first_packets(track, 1)
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()
    await until(lambda: encoder.source.state == SourceState.CLOSED)
    again = encoder.subscribe()
    assert (await first_packets(again, 1))[0].is_keyframe
    again.stop()


async def test_a_lost_source_still_gives_a_picture_to_who_joins() -> None:
    encoder = Encoder(Source("room", "/nowhere/clip.mp4", SystemClock()), 320, 240, 20, 800_000, SystemClock())
    track = encoder.subscribe()
    assert (await first_packets(track, 1))[0].is_keyframe
    track.stop()
    await asyncio.to_thread(encoder.close)


async def test_everybody_hears_everybody_else_and_nobody_himself() -> None:
    bridge = AudioBridge(SystemClock())
    lines = [bridge.join(name) for name in ("kiosk", "first", "second")]
    for _ in range(4):
        for level, line in enumerate(lines):
            bridge.said(line, np.full(FRAME_SAMPLES, 10 ** (level + 1), dtype=np.int16))
    heard = [int((await line.recv()).to_ndarray()[0, 0]) for line in lines]
    assert heard == [1100, 1010, 110]
    lines[2].stop()
    assert int((await lines[0].recv()).to_ndarray()[0, 0]) == 100, "who left is not heard any more"


async def test_sound_that_is_not_fetched_does_not_pile_up() -> None:
    bridge = AudioBridge(SystemClock())
    speaker, listener = bridge.join("speaker"), bridge.join("listener")
    for number in range(100):
        bridge.said(speaker, np.full(FRAME_SAMPLES, number, dtype=np.int16))
    assert int((await listener.recv()).to_ndarray()[0, 0]) == 100 - QUEUE_FRAMES, "the oldest sound was given up"


async def test_loud_voices_do_not_wrap_around() -> None:
    bridge = AudioBridge(SystemClock())
    first, second, listener = (bridge.join(name) for name in ("a", "b", "c"))
    for line in (first, second):
        for _ in range(3):
            bridge.said(line, np.full(FRAME_SAMPLES, 30_000, dtype=np.int16))
    assert int((await listener.recv()).to_ndarray()[0, 0]) == 32_767


def test_the_first_encoder_that_makes_a_picture_is_taken() -> None:
    asked: list[str] = []

    def only_the_chip(encoder: h264.H264) -> bool:
        asked.append(encoder.name)
        return encoder.name == "h264_v4l2m2m"

    chosen = h264.first_that_works(works=only_the_chip)
    assert chosen is not None
    assert chosen.name == "h264_v4l2m2m"
    assert asked == ["h264_nvenc", "h264_vaapi", "h264_qsv", "h264_v4l2m2m"], "the chip's own before libx264"
    assert h264.first_that_works(works=lambda _: False) is None


@pytest.mark.parametrize("name", ["h264_of_nowhere", "h264_v4l2m2m", "libmp3lame", "h264"])
def test_an_encoder_that_is_missing_or_does_not_open_does_not_work(name: str) -> None:
    if name == "h264_v4l2m2m" and any(Path("/dev").glob("video1?")):
        pytest.skip("skipped: this computer may have a V4L2 encoder")
    assert not h264.works(h264.H264(name))


def test_libx264_works_where_ffmpeg_has_it() -> None:
    if "libx264" not in av.codecs_available:
        pytest.skip("skipped: this FFmpeg is built without libx264")
    assert h264.works(h264.LIBX264)
