"""A rung: one encoding for all, key frames on demand and rarely, the rate as asked, never a picture that waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import av
import av.error
import numpy as np
import pytest
from media_stage import SMALL, PushedPictures, moving

from devices.clock import SimulatedClock, SystemClock
from telemedicine.media import rung as rung_module
from telemedicine.media.h264 import H264, LIBX264, VideoPacket
from telemedicine.media.packet_queue import QUEUE_S, RTP_CLOCK_HZ
from telemedicine.media.rung import Rung, RungShape, Subscription, SubscriptionEnded, captured_mono_s, fitted

SLOT_S = 1 / 30


class Stage:
    """A rung whose pictures and time the test gives."""

    def __init__(self, shape: RungShape = SMALL, h264: H264 = LIBX264, repeats_still: bool = False) -> None:
        self.clock = SimulatedClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.source = PushedPictures()
        self.used: list[bool] = []
        self.rung = Rung(self.source, shape, self.clock, h264, self.used.append, repeats_still)

    async def play(self, pictures: int, each: Callable[[], None] = lambda: None) -> None:
        """Capture ``pictures`` one after the other, in their slots; ``each`` is called before every one."""
        for _ in range(pictures):
            each()
            self.clock.advance(SLOT_S)
            self.source.push(self.clock.monotonic_s())
            await asyncio.to_thread(self.source.wait_done)


@contextlib.asynccontextmanager
async def staged(stage: Stage) -> AsyncIterator[Stage]:
    try:
        yield stage
    finally:
        thread = stage.rung.close()
        if thread is not None:
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


def drained(subscription: Subscription) -> list[VideoPacket]:
    packets: list[VideoPacket] = []
    while (packet := subscription.take()) is not None:
        packets.append(packet)
    return packets


async def test_all_viewers_share_one_encoding_and_each_begins_at_a_key_frame() -> None:
    async with staged(Stage()) as stage:
        first = stage.rung.subscribe()
        await stage.play(6)
        seen_by_first = drained(first)
        second = stage.rung.subscribe()
        await stage.play(6)
        seen_by_first += drained(first)
        seen_by_second = drained(second)
        assert [packet.is_keyframe for packet in seen_by_second[:2]] == [True, False]
        assert seen_by_second[0] is seen_by_first[-len(seen_by_second)], "the very same packet"
        assert stage.rung.counts.frames == 12
        assert sum(thread.name == "encoder-room-whole" for thread in threading.enumerate()) == 1
        decoder = av.VideoCodecContext.create("h264", "r")
        pictures = [picture for packet in seen_by_second for picture in decoder.decode(packet)]
        assert (pictures[0].width, pictures[0].height) == (320, 240)


async def test_packets_carry_the_time_of_capture() -> None:
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        stage.clock.advance(100.0)
        stage.source.push(99.96)
        packet = await asyncio.wait_for(viewer.recv(), 20)
        assert captured_mono_s(packet) == pytest.approx(99.96, abs=1e-4)
        assert packet.time_base == pytest.approx(1 / RTP_CLOCK_HZ)


async def test_the_encoder_runs_only_while_somebody_looks() -> None:
    async with staged(Stage()) as stage:
        assert stage.rung.close() is None
        first, second = stage.rung.subscribe(), stage.rung.subscribe()
        assert stage.used == [True]
        first.close()
        first.close()
        assert stage.used == [True]
        second.close()
        assert stage.used == [True, False]
        with pytest.raises(SubscriptionEnded):
            await second.recv()
        thread = stage.rung.close()
        assert thread is not None
        await asyncio.to_thread(thread.join, 10)
        third = stage.rung.subscribe()
        await stage.play(2)
        assert drained(third)[0].is_keyframe
        assert stage.used == [True, False, True]


async def test_who_waits_is_told_when_the_rung_ends() -> None:
    async with staged(Stage()) as stage:
        waiting = asyncio.create_task(stage.rung.subscribe().recv())
        await asyncio.sleep(0)
        stage.rung.close()
        with pytest.raises(SubscriptionEnded):
            await asyncio.wait_for(waiting, 20)


async def test_who_waits_while_the_loop_is_held_up_goes_on_at_a_key_frame() -> None:
    """More pictures than a viewer may be behind, before the loop is told of the first: all of them are skipped."""
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        await stage.play(2)
        assert drained(viewer)[0].is_keyframe
        waiting = asyncio.create_task(viewer.recv())
        await asyncio.sleep(0)
        for _ in range(int(QUEUE_S / SLOT_S) + 3):
            stage.clock.advance(SLOT_S)
            stage.source.push(stage.clock.monotonic_s())
            stage.source.wait_done()
        assert not viewer.waiting
        await stage.play(3)
        async with asyncio.timeout(20):
            assert (await waiting).is_keyframe


async def test_key_frames_come_on_demand_and_at_most_four_a_second_for_all() -> None:
    async with staged(Stage()) as stage:
        viewers = [stage.rung.subscribe() for _ in range(5)]
        kinds: list[bool] = []
        for _ in range(60):
            await stage.play(1, each=stage.rung.request_key_frame)
            for viewer in viewers[1:]:
                drained(viewer)
            kinds += [packet.is_keyframe for packet in drained(viewers[0])]
        keys = [number for number, key in enumerate(kinds) if key]
        assert all(later - earlier >= 8 for earlier, later in pairwise(keys)), "8 slots are 0.27 s"
        assert len(keys) == 8
        for _ in range(2):  # the last one that was asked for
            await stage.play(5)
            drained(viewers[0])
        for _ in range(12):
            await stage.play(5)
            assert not any(packet.is_keyframe for packet in drained(viewers[0])), "none that nobody asked for"


async def test_a_change_of_scene_makes_no_key_frame() -> None:
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        await stage.play(3)
        stage.clock.advance(SLOT_S)
        stage.source.push(stage.clock.monotonic_s(), moving(1)[::-1, ::-1] // 2)
        await asyncio.to_thread(stage.source.wait_done)
        assert [packet.is_keyframe for packet in drained(viewer)] == [True, False, False, False]


async def test_a_viewer_that_never_reads_holds_a_quarter_second_and_costs_the_others_nothing() -> None:
    async with staged(Stage()) as stage:
        dead, alive = stage.rung.subscribe(), stage.rung.subscribe()
        for _ in range(60):
            await stage.play(5)
            drained(alive)
            assert dead.waiting <= QUEUE_S * 30 + 1
        assert dead.dropped == 300
        assert alive.dropped == 0
        assert stage.rung.counts.key_frames == 1
        assert dead.take() is None
        await stage.play(5)
        assert drained(dead)[0].is_keyframe, "it comes back to a key frame, not to the middle"
        assert dead.dropped == 300


def rate_bps(packets: list[VideoPacket]) -> float:
    return sum(packet.size for packet in packets) * 8 / (len(packets) * SLOT_S)


async def test_a_new_rate_is_kept_to_within_half_a_second_and_without_a_key_frame() -> None:
    """Pure noise, the hardest there is: whatever the encoder does not hold back would be sent."""
    random = np.random.default_rng(1)
    noise = [random.integers(0, 255, (240, 320, 3), dtype=np.uint8) for _ in range(12)]
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        sent: list[list[VideoPacket]] = []
        for asked_bps in (400_000, 250_000, 550_000):
            stage.rung.set_bitrate_bps(asked_bps)
            packets: list[VideoPacket] = []
            for number in range(60):
                stage.clock.advance(SLOT_S)
                stage.source.push(stage.clock.monotonic_s(), noise[number % 12])
                await asyncio.to_thread(stage.source.wait_done)
                packets += drained(viewer)
            assert rate_bps(packets[15:]) == pytest.approx(asked_bps, rel=0.15)
            sent.append(packets)
        assert sum(packet.is_keyframe for packets in sent for packet in packets) == 1
        assert stage.rung.counts.opened == 1


async def test_the_rate_is_used_also_where_every_other_picture_is_left_out() -> None:
    random = np.random.default_rng(1)
    noise = [random.integers(0, 255, (240, 320, 3), dtype=np.uint8) for _ in range(12)]
    async with staged(Stage(replace(SMALL, sparse_below_bps=300_000))) as stage:
        viewer = stage.rung.subscribe()
        for asked_bps, opened in ((400_000, 1), (250_000, 1), (150_000, 2), (290_000, 3), (500_000, 3), (240_000, 3)):
            stage.rung.set_bitrate_bps(asked_bps)
            octets = 0
            for number in range(90):
                stage.clock.advance(SLOT_S)
                stage.source.push(stage.clock.monotonic_s(), noise[number % 12])
                await asyncio.to_thread(stage.source.wait_done)
                octets += sum(packet.size for packet in drained(viewer)) if number >= 30 else 0
                drained(viewer)
            assert octets * 8 / (60 * SLOT_S) == pytest.approx(asked_bps, rel=0.2)
            assert stage.rung.counts.opened == opened


async def test_the_rate_is_used_also_by_a_camera_that_is_slower_than_asked() -> None:
    random = np.random.default_rng(1)
    noise = [random.integers(0, 255, (240, 320, 3), dtype=np.uint8) for _ in range(12)]
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        octets = 0
        for number in range(220):
            stage.clock.advance(1 / 22)
            stage.source.push(stage.clock.monotonic_s(), noise[number % 12])
            await asyncio.to_thread(stage.source.wait_done)
            octets += sum(packet.size for packet in drained(viewer)) if number >= 110 else 0
        assert octets * 8 / (110 / 22) == pytest.approx(400_000, rel=0.1)
        assert stage.rung.counts.opened == 1


async def test_far_above_and_far_below_it_is_opened_again() -> None:
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        await stage.play(5)
        drained(viewer)
        stage.rung.set_bitrate_bps(800_000)
        await stage.play(1)
        assert drained(viewer)[0].is_keyframe, "twice the rate it was opened for"
        stage.rung.set_bitrate_bps(200_000)
        await stage.play(1)
        assert drained(viewer)[0].is_keyframe, "a quarter of it"
        assert stage.rung.counts.opened == 3


async def test_a_key_frame_that_is_due_anyway_is_made_for_the_rate_of_the_moment() -> None:
    """A key frame may fill the buffer it was opened with: opened for 800 kbit/s that is 0.4 s at 300."""
    random = np.random.default_rng(1)
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        stage.rung.set_bitrate_bps(600_000)
        await stage.play(5)
        drained(viewer)
        stage.rung.set_bitrate_bps(330_000)
        await stage.play(5)
        drained(viewer)
        assert stage.rung.counts.opened == 1
        stage.rung.request_key_frame()
        stage.clock.advance(SLOT_S)
        stage.source.push(stage.clock.monotonic_s(), random.integers(0, 255, (240, 320, 3), dtype=np.uint8))
        await asyncio.to_thread(stage.source.wait_done)
        key_frame = drained(viewer)[0]
        assert key_frame.is_keyframe
        assert stage.rung.counts.opened == 2
        assert key_frame.size * 8 <= 0.25 * 330_000


async def test_rates_are_kept_between_floor_and_ceiling() -> None:
    rung = Stage().rung
    rung.set_bitrate_bps(1)
    assert rung.bitrate_bps == SMALL.floor_bps
    rung.set_bitrate_bps(10**9)
    assert rung.bitrate_bps == SMALL.ceiling_bps


async def test_a_closed_gate_leaves_pictures_out_before_they_are_encoded() -> None:
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        await stage.play(3)
        drained(viewer)
        stage.rung.set_gate(lambda: False)
        await stage.play(10)
        assert drained(viewer) == []
        assert stage.rung.counts.held_back == 10
        stage.rung.set_gate(lambda: True)
        await stage.play(2)
        assert [packet.is_keyframe for packet in drained(viewer)] == [False, False], "what was left out leaves no gap"


async def test_half_the_pictures_below_the_sparse_rate() -> None:
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        stage.rung.set_bitrate_bps(SMALL.sparse_below_bps - 1)
        await stage.play(30)
        assert stage.rung.counts.frames == pytest.approx(15, abs=1)
        stage.rung.set_bitrate_bps(SMALL.ceiling_bps)
        assert stage.rung.frame_rate_hz == 30
        viewer.close()


async def test_a_computer_that_is_too_slow_skips_pictures_and_never_queues_them() -> None:
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        for _ in range(20):
            stage.clock.advance(4 * SLOT_S)
            stage.source.push(stage.clock.monotonic_s(), missed=3)
            await asyncio.to_thread(stage.source.wait_done)
            newest = drained(viewer)[-1]
            assert captured_mono_s(newest) == pytest.approx(stage.clock.monotonic_s(), abs=1e-3)
        assert stage.rung.counts.frames == 20
        assert stage.rung.counts.missed == 19 * 3


async def test_a_silent_source_is_shown_black_or_still_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rung_module, "STILL_PERIOD_S", 0.01)
    async with staged(Stage(repeats_still=True)) as stage:
        viewer = stage.rung.subscribe()
        assert (await asyncio.wait_for(viewer.recv(), 20)).is_keyframe
        again = await asyncio.wait_for(viewer.recv(), 20)
        assert (again.pts or 0) > 0, "time goes on, also where nothing moves"


class RefusingPictures(PushedPictures):
    """A source that has pictures and shows none, as when a crop does not fit."""

    asked = 0

    def newer(self, than: int, timeout_s: float) -> None:
        self.asked += 1


async def test_a_source_that_refuses_its_pictures_costs_nothing() -> None:
    source = RefusingPictures()
    rung = Rung(source, SMALL, SystemClock(), LIBX264)
    viewer = rung.subscribe()
    for _ in range(3):
        await asyncio.wait_for(viewer.recv(), 20)
    assert source.asked <= 6
    thread = rung.close()
    assert thread is not None
    await asyncio.to_thread(thread.join, 10)


async def test_an_event_loop_that_is_held_up_finds_a_quarter_second_and_one_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        loop, calls = asyncio.get_running_loop(), list[object]()
        call_soon = loop.call_soon_threadsafe
        monkeypatch.setattr(
            loop, "call_soon_threadsafe", lambda call, *rest: (calls.append(call), call_soon(call, *rest))[1]
        )
        for _ in range(90):  # three seconds in which the loop does nothing else
            stage.clock.advance(SLOT_S)
            stage.source.push(stage.clock.monotonic_s())
            stage.source.wait_done()
        assert len(calls) == 1
        assert viewer.waiting <= QUEUE_S * 30 + 1
        await stage.play(3)
        stage.rung.set_gate(lambda: False)
        newest = drained(viewer)
        assert viewer.dropped >= 80
        assert not newest or newest[0].is_keyframe


class FailingContext:
    """An encoder on a chip that is reset while it works."""

    bit_rate = 400_000

    def encode(self, frame: av.VideoFrame) -> list[VideoPacket]:
        raise av.error.ExternalError(5, "device gone")


class FailingChip(H264):
    def open(self, width: int, height: int, frame_rate_hz: float, rate_bit_s: int) -> av.VideoCodecContext:
        return FailingContext()  # type: ignore[return-value]


async def test_an_encoder_that_fails_is_replaced_by_libx264(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rung_module, "ENCODER_RETRY_S", 0.0)
    async with staged(Stage(h264=FailingChip("h264_of_the_chip"))) as stage:
        viewer = stage.rung.subscribe()
        await stage.play(3)
        assert [packet.is_keyframe for packet in drained(viewer)] == [True, False]
        assert sum("h264_encoder_failed" in record.message for record in caplog.records) == 1


async def test_a_thread_that_meets_what_nobody_knows_is_logged_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rung_module, "ENCODER_RETRY_S", 0.0)
    async with staged(Stage()) as stage:
        viewer = stage.rung.subscribe()
        await stage.play(2)
        drained(viewer)
        surprises = [ZeroDivisionError("a bug of ours")]

        def gate() -> bool:
            if surprises:
                raise surprises.pop()
            return True

        stage.rung.set_gate(gate)
        packets: list[VideoPacket] = []
        await stage.play(12, lambda: packets.extend(drained(viewer)))
        assert packets[0].is_keyframe, "whoever looks has a whole picture again"
        assert len(packets) >= 4
        assert any("media_thread_failed" in record.message for record in caplog.records)


class Chip(H264):
    """An encoder that keeps the rate it was opened with, as V4L2's."""


async def test_an_encoder_that_cannot_change_its_rate_is_opened_again_but_rarely() -> None:
    chip = Chip("libx264", LIBX264.options, retunes=False)
    async with staged(Stage(h264=chip)) as stage:
        viewer = stage.rung.subscribe()
        await stage.play(2)
        for step in range(10):
            stage.rung.set_bitrate_bps(400_000 + 40_000 * step)
            await stage.play(6)
            drained(viewer)
        assert stage.rung.counts.opened == 2, "from 400 to 760 kbit/s in 2 s"
        stage.rung.set_bitrate_bps(150_000)
        await stage.play(1)
        assert drained(viewer)[0].is_keyframe, "down at once"


@pytest.mark.parametrize("size", [(240, 320), (480, 200), (100, 1000), (720, 1280)])
def test_pictures_are_fitted_without_distortion(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 200, dtype=np.uint8)
    picture = fitted(image, 320, 240)
    assert picture.shape == (360, 320)
    bright = picture[:240] > 100
    rows, columns = int(bright.any(axis=1).sum()), int(bright.any(axis=0).sum())
    assert max(rows / 240, columns / 320) == pytest.approx(1.0, abs=0.01)
    assert columns / rows == pytest.approx(size[1] / size[0], rel=0.05)


@pytest.mark.parametrize("change", [{"width": 321}, {"floor_bps": 900_000}, {"start_bps": 900_000}, {"floor_bps": 0}])
def test_a_shape_that_cannot_be_is_refused(change: dict[str, int]) -> None:
    fields = {name: getattr(SMALL, name) for name in SMALL.__slots__}
    with pytest.raises(ValueError, match="rung whole"):
        RungShape(**{**fields, **change})
