"""A ladder: each viewer on its rung, from one rung to the other without a break, the source open while it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise

import av
import pytest
from aiortc.mediastreams import MediaStreamError
from consultation_stage import until
from hypothesis import given
from hypothesis import strategies as st
from media_stage import WHOLE_AND_SMALL, PushedPictures

from devices.clock import SimulatedClock
from telemedicine.media import ladder as ladder_module
from telemedicine.media.h264 import LIBX264, VideoPacket
from telemedicine.media.ladder import CLIMB_AT, Ladder, PacketTrack, rung_for, shapes

SLOT_S = 1 / 30


class Stage:
    def __init__(self) -> None:
        self.clock = SimulatedClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.source = PushedPictures()
        self.ladder = Ladder(self.source, WHOLE_AND_SMALL, self.clock, LIBX264, repeats_still=False)

    async def shown(self, track: PacketTrack, pictures: int) -> list[VideoPacket]:
        """What ``track`` got while ``pictures`` were captured; every rung in use encodes each."""
        got: list[VideoPacket] = []
        for _ in range(pictures):
            self.clock.advance(SLOT_S)
            before = [rung.counts.frames for rung in self.ladder.rungs]
            self.source.push(self.clock.monotonic_s())
            await until(
                lambda before=before: all(
                    rung.counts.frames > count or not rung.subscribers
                    for rung, count in zip(self.ladder.rungs, before, strict=True)
                )
            )
            await asyncio.to_thread(self.source.wait_done)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    while True:
                        got.append(await track.recv())
        return got


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    for thread in made.ladder.close():
        await asyncio.to_thread(thread.join, 10)


def sizes(packets: list[VideoPacket]) -> list[int]:
    decoder = av.VideoCodecContext.create("h264", "r")
    return [picture.height for packet in packets for picture in decoder.decode(packet)]


async def test_a_viewer_goes_down_and_up_without_a_break(stage: Stage) -> None:
    track = stage.ladder.track()
    whole, small = stage.ladder.rungs
    got = await stage.shown(track, 3)
    track.move_to(small)
    track.move_to(small)
    assert track.rung is small
    got += await stage.shown(track, 4)
    assert not whole.subscribers, "nobody looks at the whole picture now"
    track.move_to(whole)
    got += await stage.shown(track, 4)
    heights = sizes(got)
    assert len(heights) == len(got), "every packet shows a picture, whatever the rung"
    assert sorted(set(heights)) == [360, 720]
    assert heights == sorted(heights[:7], reverse=True) + sorted(heights[7:])
    stamps = [packet.pts or 0 for packet in got]
    assert all(earlier < later for earlier, later in pairwise(stamps))
    assert {(whole.subscribers, small.subscribers)} == {(1, 0)}


async def test_a_change_of_mind_before_the_key_frame_is_harmless(stage: Stage) -> None:
    track = stage.ladder.track()
    whole, small = stage.ladder.rungs
    track.move_to(small)
    track.move_to(whole)
    assert track.rung is whole
    assert (whole.subscribers, small.subscribers) == (1, 0)
    assert set(sizes(await stage.shown(track, 3))) == {720}


async def test_each_viewer_gets_its_rung_and_each_rung_its_slowest_viewer(stage: Stage) -> None:
    whole, small = stage.ladder.rungs
    good, fair, weak, unknown = (stage.ladder.track() for _ in range(4))
    stage.ladder.allot({good: 2_500_000, fair: 900_000, weak: 200_000})
    assert [track.rung for track in (good, fair, weak, unknown)] == [whole, whole, small, whole]
    assert whole.bitrate_bps == 900_000
    assert small.bitrate_bps == 200_000
    stage.ladder.allot({weak: 2_000_000})
    assert weak.rung is whole
    assert stage.ladder.viewers == 4


async def test_a_viewer_that_left_leaves_nothing(stage: Stage) -> None:
    track = stage.ladder.track()
    track.move_to(stage.ladder.rungs[1])
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    track.stop()
    track.stop()
    with pytest.raises(MediaStreamError):
        await asyncio.wait_for(waiting, 20)
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert stage.ladder.viewers == 0


async def test_viewers_are_told_when_the_ladder_closes(stage: Stage) -> None:
    track = stage.ladder.track()
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    stage.ladder.close()
    with pytest.raises(MediaStreamError):
        await asyncio.wait_for(waiting, 20)
    assert track.readyState == "ended"


async def test_the_source_is_open_while_any_rung_is_used_and_a_moment_longer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder_module, "SOURCE_IDLE_S", 0.05)
    track = stage.ladder.track()
    track.move_to(stage.ladder.rungs[1])
    track.stop()
    again = stage.ladder.track()
    await asyncio.sleep(0.1)  # longer than a source may idle: a page that was loaded again finds it open
    assert stage.source.closed == 0
    again.stop()
    await until(lambda: stage.source.closed == 1)


async def test_joining_and_leaving_leaves_no_threads(stage: Stage) -> None:
    for turn in range(6):
        tracks = [stage.ladder.track(), stage.ladder.track()]
        tracks[0].move_to(stage.ladder.rungs[1])
        assert (await stage.shown(tracks[1], 2))[0].is_keyframe, f"turn {turn}"
        for track in tracks:
            track.stop()
        assert stage.ladder.viewers == 0
    for thread in stage.ladder.close():
        await asyncio.to_thread(thread.join, 10)
    await until(lambda: not any(thread.name.startswith("encoder-room") for thread in threading.enumerate()))


async def test_a_lost_picture_is_asked_for_where_the_viewer_is(stage: Stage) -> None:
    track = stage.ladder.track()
    await stage.shown(track, 10)
    track.request_key_frame()
    assert [packet.is_keyframe for packet in await stage.shown(track, 2)] == [True, False]


@given(st.floats(0, 10_000_000), st.integers(0, 1))
def test_the_rung_fits_the_rate_and_stays_where_it_is(bitrate_bps: float, now_on: int) -> None:
    on = rung_for(bitrate_bps, WHOLE_AND_SMALL, now_on)
    assert rung_for(bitrate_bps, WHOLE_AND_SMALL, on) == on, "no going to and fro at one rate"
    assert on == 1 or bitrate_bps >= WHOLE_AND_SMALL[0].floor_bps
    if bitrate_bps >= CLIMB_AT * WHOLE_AND_SMALL[0].floor_bps:
        assert on == 0


def test_a_small_feed_has_one_rung_and_a_large_one_a_small_one_of_its_shape() -> None:
    assert [(shape.width, shape.height) for shape in shapes(1280, 720, 30, 250_000, 4_000_000)] == [
        (1280, 720),
        (640, 360),
    ]
    assert [(shape.width, shape.height) for shape in shapes(1024, 768, 25, 800_000, 3_000_000)] == [
        (1024, 768),
        (480, 360),
    ]
    assert len(shapes(640, 480, 20, 250_000, 1_500_000)) == 1
