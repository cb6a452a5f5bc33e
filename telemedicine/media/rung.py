"""One source encoded once at one size: an encoder in its own thread, its packets shared by all who subscribed.

The thread runs only while somebody is subscribed. It takes the newest picture the moment it is there, unless its slot
is not due or the sender has more to send than it can (``set_gate``): a picture that would wait is not encoded at all,
so neither a slow link nor a busy computer makes the next one late. A new rate is taken while the encoder is open; where
that is not possible the encoder is opened again, which costs a key frame. Whenever a key frame is due in any case, the
encoder is opened for the rate of that moment, so that no key frame is larger than a quarter second of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType

from devices.clock import Clock
from devices.errors import DropFrame
from devices.events import emit
from telemedicine.media.h264 import H264, LIBX264, RTP_TIME_BASE, VideoPacket
from telemedicine.media.packet_queue import RTP_CLOCK_HZ, PacketQueue
from telemedicine.media.picture_judge import Image
from telemedicine.media.slots import Slots
from telemedicine.media.sources import Pictures

KEY_FRAME_SPACING_S = 0.25
"""At most one key frame in this time, however many viewers ask."""
STILL_PERIOD_S = 0.5
"""While the source is silent its last picture is sent this often, so that a viewer who joins now sees something."""
HEADROOM = 1.5
"""An encoder that takes a new rate while open is opened for this multiple: that far no key frame is needed."""
LOWEST_OF_OPENED = 0.4
"""Below this part of the rate it was opened for, the buffer it was opened with lets pictures be too large."""
STEPS_DOWN, STEPS_UP = 0.8, 1.3
"""An encoder that keeps the rate it was opened with is opened again outside of these multiples of it."""
KEY_TOLERANCE = 1.25
"""Opened again at a key frame, where that costs nothing, if the rate to open for differs by this factor."""
REOPEN_UP_EVERY_S = 2.0
NOTICED_CHANGE = 0.03
SPACING_WEIGHT, LONGEST_SPACING_S = 0.05, 0.25
FEWEST_COMING = 0.67
LATENCIES_KEPT = 300
ENCODER_RETRY_S = 1.0


class SubscriptionEnded(DropFrame):
    """The subscription was closed; no packet comes any more."""

    code = "subscription_ended"


@dataclass(frozen=True, slots=True)
class RungShape:
    """What a rung is, whoever looks. Sizes in pixels, rates in bit/s of H.264 without transport."""

    name: str
    width: int
    height: int
    frame_rate_hz: float
    floor_bps: int
    """Below this the picture is not worth its name: a viewer who gets less belongs on the next rung down."""
    ceiling_bps: int
    start_bps: int
    sparse_below_bps: int
    """Below this every other picture is left out: half as many sharp ones show more than all of them blurred."""

    def __post_init__(self) -> None:
        if self.width % 2 or self.height % 2:
            raise ValueError(f"rung {self.name}: {self.width}x{self.height} must be even: the picture is sent as 4:2:0")
        if not 0 < self.floor_bps <= self.start_bps <= self.ceiling_bps:
            raise ValueError(f"rung {self.name}: rates must rise from floor to start to ceiling")


@dataclass(slots=True)
class RungCounts:
    """What a rung has done since it was made. Written by its thread only."""

    frames: int = 0
    key_frames: int = 0
    octets: int = 0
    opened: int = 0
    held_back: int = 0
    """Pictures that were not encoded because the sender could not have sent them in time."""
    missed: int = 0
    """Pictures of the source that this thread never saw: it, or the computer, was too slow."""


def captured_mono_s(packet: VideoPacket) -> float:
    """When the picture in ``packet`` was captured, on the monotonic clock; ``packet.pts`` is the same in 1/90000 s."""
    return (packet.pts or 0) / RTP_CLOCK_HZ


class Subscription:
    """One viewer's packets of one rung: begins with a key frame, bounded, skips to the next key frame when full."""

    def __init__(self, rung: Rung, arrived: asyncio.Event) -> None:
        self.rung = rung
        self._arrived = arrived
        self._queue: PacketQueue[VideoPacket] = PacketQueue()
        self.closed = False

    @property
    def dropped(self) -> int:
        """Packets this viewer did not get because it was not fast enough."""
        return self._queue.dropped

    @property
    def waiting(self) -> int:
        """Packets that can be taken now."""
        return len(self._queue)

    async def recv(self) -> VideoPacket:
        """The next packet.

        :raises SubscriptionEnded: it was closed
        """
        while True:
            if self.closed:
                raise SubscriptionEnded(f"rung {self.rung.shape.name}: the subscription was closed")
            packet = self.take()
            if packet is not None:
                return packet
            self._arrived.clear()
            if not self.waiting and not self.closed:
                await self._arrived.wait()

    def take(self) -> VideoPacket | None:
        """The next packet if it is there; where only a key frame could be the next one, it is asked for."""
        packet = self._queue.take()
        if packet is None and self._queue.waits_for_key_frame:
            self.rung.request_key_frame()
        return packet

    def offer(self, packet: VideoPacket) -> None:
        """Put ``packet``; the viewer sleeps on until ``wake``. Encoder thread only."""
        self._queue.put(packet)

    def wake(self) -> None:
        """Go on reading, if there is something to read or a key frame to ask for. Event loop only."""
        if len(self._queue) or self._queue.waits_for_key_frame:
            self._arrived.set()

    def close(self) -> None:
        """Leave; again is harmless. Event loop only."""
        if not self.closed:
            self.closed = True
            self._queue.clear()
            self._arrived.set()
            self.rung.unsubscribe(self)


class Rung:
    """See the module. ``subscribe`` and ``unsubscribe`` in the event loop, everything else by any thread."""

    def __init__(
        self,
        source: Pictures,
        shape: RungShape,
        clock: Clock,
        h264: H264,
        on_use: Callable[[bool], None] = lambda _: None,
        repeats_still: bool = True,
    ) -> None:
        """
        :param on_use: called in the event loop with True before the thread starts, with False after it was told to end
        :param repeats_still: False: nothing is sent while the source is silent, so a viewer knows that it is
        """
        self.shape = shape
        self.counts = RungCounts()
        self.latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)
        """From capture to the viewers' queues, of the newest pictures."""
        self._source = source
        self._clock = clock
        self._h264 = h264
        self._on_use = on_use
        self._repeats_still = repeats_still
        self._bit_rate = shape.start_bps
        self._gate: Callable[[], bool] = lambda: True
        self._subscriptions: tuple[Subscription, ...] = ()
        """Replaced as a whole: the thread reads it while the loop changes it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = threading.Event()
        self._key_frame_asked = threading.Event()
        self._last_key_s = float("-inf")
        self._encoded_s: float | None = None
        self._spacing_s = 1 / shape.frame_rate_hz
        self._stopping = threading.Event()
        self._stopping.set()
        self._thread: threading.Thread | None = None
        """The newest one; it has ended, or is about to, when ``_stopping`` is set."""

    # who looks

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    def subscribe(self, arrived: asyncio.Event | None = None) -> Subscription:
        """A new viewer's packets, from a key frame that is made at once; starts the encoder for the first viewer.

        :param arrived: set whenever packets can be taken, for a reader that waits for several subscriptions
        """
        self._loop = asyncio.get_running_loop()
        subscription = Subscription(self, arrived or asyncio.Event())
        self._subscriptions = (*self._subscriptions, subscription)
        self.request_key_frame()
        if self._stopping.is_set():
            self._on_use(True)
            self._stopping = threading.Event()
            name = f"encoder-{self._source.feed}-{self.shape.name}"
            self._thread = threading.Thread(target=self._run, args=(self._stopping,), name=name, daemon=True)
            self._thread.start()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """What ``Subscription.close`` calls; the encoder ends with the last one."""
        self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)
        if not self._subscriptions:
            self._end()

    def close(self) -> threading.Thread | None:
        """Close all subscriptions and end the encoder; its thread, which ends within ``STILL_PERIOD_S``."""
        for subscription in self._subscriptions:
            subscription.close()
        return self._thread

    def _end(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            self._on_use(False)

    # what the sender controls

    @property
    def bitrate_bps(self) -> int:
        """The rate aimed at."""
        return self._bit_rate

    def set_bitrate_bps(self, bitrate_bps: int) -> None:
        """Aim at ``bitrate_bps``, kept between the shape's floor and ceiling, from the next picture on."""
        self._bit_rate = max(self.shape.floor_bps, min(bitrate_bps, self.shape.ceiling_bps))

    @property
    def frame_rate_hz(self) -> float:
        """Pictures per second at most, at the present rate."""
        return self.shape.frame_rate_hz / (2 if self._bit_rate < self.shape.sparse_below_bps else 1)

    def set_gate(self, may_encode: Callable[[], bool]) -> None:
        """``may_encode`` is asked before each picture, in the encoder's thread: False leaves the picture out.

        For a sender whose pacer holds more than 80 ms of packets. It must answer at once and not raise.
        """
        self._gate = may_encode

    def request_key_frame(self) -> None:
        """Ask for a key frame as soon as ``KEY_FRAME_SPACING_S`` since the last one allows."""
        self._key_frame_asked.set()

    # the thread

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                self._encode_for_ever(stopping)
            except Exception as fault:  # whatever it was: whoever looks must not be left with a still picture
                thread, reason = threading.current_thread().name, f"{type(fault).__name__}: {fault}"
                emit("media_thread_failed", logging.ERROR, thread=thread, reason=reason)
                self.request_key_frame()
                stopping.wait(ENCODER_RETRY_S)

    def _encode_for_ever(self, stopping: threading.Event) -> None:
        slots, codec = Slots(), _Codec(self.shape, self._h264)
        still: Image = np.zeros((self.shape.height, self.shape.width, 3), dtype=np.uint8)
        seen, failing = -1, False
        while not stopping.is_set():
            asked_s = self._clock.monotonic_s()
            frame = self._source.newer(seen, STILL_PERIOD_S)
            if frame is None and self._clock.monotonic_s() - asked_s < STILL_PERIOD_S / 2:
                stopping.wait(STILL_PERIOD_S / 2)  # a source that refuses its pictures does not wait for better ones
            if frame is not None:
                self.counts.missed += max(0, frame.number - seen - 1) if seen >= 0 else 0
                still, seen = frame.image, frame.number
                captured_s = frame.captured_mono_s
                if not slots.take(captured_s, self.frame_rate_hz):
                    continue
            elif self._repeats_still:
                captured_s = self._clock.monotonic_s()
            else:
                continue
            if not self._gate():
                self.counts.held_back += 1
                continue
            if stopping.is_set():
                return
            try:
                packets = self._encode(codec, still, captured_s)
            except (av.error.FFmpegError, ValueError, OSError, NotImplementedError) as fault:
                if not failing:
                    emit("h264_encoder_failed", logging.WARNING, encoder=codec.h264.name, reason=str(fault))
                failing, codec = True, _Codec(self.shape, LIBX264)
                stopping.wait(ENCODER_RETRY_S)
                continue
            failing = False
            self._fan_out(packets)
            self.latencies_s.append(self._clock.monotonic_s() - captured_s)

    def _encode(self, codec: _Codec, image: Image, captured_s: float) -> list[VideoPacket]:
        now_s = self._clock.monotonic_s()
        key = self._key_frame_asked.is_set() and now_s - self._last_key_s >= KEY_FRAME_SPACING_S
        codec.aim_at(self._bit_rate, self.frame_rate_hz, self._coming_hz(captured_s), key, now_s)
        packets = codec.encode(
            fitted(image, self.shape.width, self.shape.height), round(captured_s * RTP_CLOCK_HZ), key
        )
        if any(packet.is_keyframe for packet in packets):
            self._key_frame_asked.clear()
            self._last_key_s = now_s
            self.counts.key_frames += 1
        self.counts.frames += 1
        self.counts.octets += sum(packet.size for packet in packets)
        self.counts.opened += codec.opened_now
        return packets

    def _coming_hz(self, captured_s: float) -> float:
        """How many pictures a second are really encoded: a camera may be slower than it was asked to be, and some are
        left out; at least ``FEWEST_COMING`` of what should come."""
        if self._encoded_s is not None:
            spacing_s = min(captured_s - self._encoded_s, LONGEST_SPACING_S)
            self._spacing_s += SPACING_WEIGHT * (spacing_s - self._spacing_s)
        self._encoded_s = captured_s
        wanted_hz = self.frame_rate_hz
        return max(FEWEST_COMING * wanted_hz, min(wanted_hz, 1 / max(self._spacing_s, 1e-3)))

    def _fan_out(self, packets: list[VideoPacket]) -> None:
        """To everyone, then one wake-up for all: a call into the loop for each viewer costs more than the packets."""
        for packet in packets:
            for subscription in self._subscriptions:
                subscription.offer(packet)
        if packets and self._loop is not None and not self._woken.is_set():
            self._woken.set()
            with contextlib.suppress(RuntimeError):  # the loop has been closed: the process is ending
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken.clear()
        for subscription in self._subscriptions:
            subscription.wake()


class _Codec:
    """The encoder, opened again when its rate cannot be changed otherwise. Used by one thread."""

    def __init__(self, shape: RungShape, h264: H264) -> None:
        self.h264 = h264
        self.opened_now = False
        """Whether the last ``aim_at`` opened it."""
        self._shape = shape
        self._context: av.VideoCodecContext | None = None
        self._opened_bps = 0
        self._opened_hz = shape.frame_rate_hz
        self._raised_s = float("-inf")
        self._last_pts = -1

    def aim_at(self, bit_rate_bps: int, frame_rate_hz: float, coming_hz: float, key: bool, now_s: float) -> None:
        """Be at ``bit_rate_bps`` for the next picture, as nearly as this encoder can.

        :param frame_rate_hz: how many pictures a second it is to be opened for
        :param coming_hz: how many it gets. An encoder shares its rate out among as many as it was opened for; where
            fewer come it is told a rate that is higher by as much
        :param key: the next picture is a key frame in any case
        """
        best_bps = self._best_to_open(bit_rate_bps)
        opened_bps, context = self._opened_bps, self._context
        told_bps = round(bit_rate_bps * self._opened_hz / coming_hz)
        lowest, highest = (LOWEST_OF_OPENED, 1.0) if self.h264.retunes else (STEPS_DOWN, STEPS_UP)
        other_hz = frame_rate_hz != self._opened_hz
        anew = key and (other_hz or not opened_bps / KEY_TOLERANCE <= best_bps <= opened_bps * KEY_TOLERANCE)
        starved = other_hz and told_bps > KEY_TOLERANCE * opened_bps
        short = starved or min(told_bps, bit_rate_bps) > highest * opened_bps
        rises = short and now_s - self._raised_s >= REOPEN_UP_EVERY_S
        if context is None or anew or rises or bit_rate_bps < lowest * opened_bps:
            if rises and context is not None:
                self._raised_s = now_s
            context = self._context = self._open(best_bps, frame_rate_hz)
            self._opened_bps, self._opened_hz, self.opened_now = best_bps, frame_rate_hz, True
            told_bps = round(bit_rate_bps * frame_rate_hz / coming_hz)
        else:
            self.opened_now = False
        aim_bps = min(told_bps, self._opened_bps)
        if self.h264.retunes and abs(aim_bps - (context.bit_rate or 0)) > NOTICED_CHANGE * aim_bps:
            context.bit_rate = aim_bps

    def _best_to_open(self, bit_rate_bps: int) -> int:
        return min(round(bit_rate_bps * HEADROOM), self._shape.ceiling_bps) if self.h264.retunes else bit_rate_bps

    def _open(self, rate_bps: int, frame_rate_hz: float) -> av.VideoCodecContext:
        return self.h264.open(self._shape.width, self._shape.height, frame_rate_hz, rate_bps)

    def encode(self, picture: npt.NDArray[np.uint8], pts: int, key: bool) -> list[VideoPacket]:
        """
        :param picture: I420, shape (height * 3 / 2, width)
        """
        assert self._context is not None
        frame = av.VideoFrame.from_numpy_buffer(picture, format="yuv420p")
        if self.h264.pixel_format != "yuv420p":
            frame = frame.reformat(format=self.h264.pixel_format)
        self._last_pts = frame.pts = max(pts, self._last_pts + 1)
        frame.time_base = RTP_TIME_BASE
        frame.pict_type = PictureType.I if key else PictureType.NONE
        packets = self._context.encode(frame)
        for packet in packets:
            packet.pts, packet.time_base = packet.pts if packet.pts is not None else frame.pts, RTP_TIME_BASE
        return packets


def fitted(image: Image, width: int, height: int) -> npt.NDArray[np.uint8]:
    """``image`` scaled into ``width`` x ``height`` with black borders, as I420: an ultrasound must not be distorted.

    The mean over areas is for halving and less: from 1080 to 720 lines it costs 9 ms, between two pixels 3 ms.
    """
    image_height, image_width = image.shape[:2]
    if (image_width, image_height) != (width, height):
        scale = min(width / image_width, height / image_height)
        inner = (max(1, round(image_width * scale)), max(1, round(image_height * scale)))
        small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR)
        if inner != (width, height):
            left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
            bordered = np.zeros((height, width, 3), dtype=np.uint8)
            bordered[top : top + inner[1], left : left + inner[0]] = small
            small = bordered
        image = np.asarray(small, dtype=np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)
