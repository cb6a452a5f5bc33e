"""One H.264 encoder per source, its packets shared by all viewers.

A picture is encoded once, in the encoder's own thread, and handed as ``av.Packet`` to every viewer's ``PacketTrack``;
aiortc then only packs it into RTP. x264 runs superfast and zerolatency with a VBV buffer of a quarter second, because
only with VBV does it take a new ``bit_rate`` while open, without a key frame; other encoders (``h264``) are opened
again when the rate changes much. Key frames are made on demand only,
at most four a second for all viewers together. A viewer that does not keep up loses pictures until the next key frame;
its queue never grows.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TypeAlias

import av
import cv2
import numpy as np
import numpy.typing as npt
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.video.frame import PictureType

from devices.clock import Clock
from telemedicine.media.h264 import H264, LIBX264, RTP_TIME_BASE
from telemedicine.media.sources import Image, Pictures

VideoPacket: TypeAlias = "av.Packet[av.VideoStream]"
QUEUE_S = 0.25
"""A viewer's queue in seconds of pictures; more is never kept."""
KEY_FRAME_SPACING_S = 0.25
STILL_PERIOD_S = 0.5
"""While the source is silent its last picture is sent this often, so that a viewer who joins now sees something."""
IDLE_S = 4.0
"""Source and encoder are closed this long after the last viewer left."""
RATE_FLOOR, RATE_CEILING = 0.4, 1.15
"""Between these multiples of the rate it was opened with, x264 changes its rate without being opened again."""


class PacketTrack(MediaStreamTrack):
    """One viewer's view of a shared encoder: begins at a key frame, bounded, skips to the next key frame when full."""

    kind = "video"

    def __init__(self, encoder: Encoder, bound: int) -> None:
        super().__init__()
        self._encoder = encoder
        self._packets: deque[VideoPacket] = deque()
        self._bound = bound
        self._arrived = asyncio.Event()
        self._needs_key_frame = True
        self.skipped = 0
        """Packets this viewer did not get because it was not fast enough."""

    def feed(self, packet: VideoPacket) -> None:
        """Take ``packet`` into the queue, or skip it. Event loop only."""
        if len(self._packets) >= self._bound:
            self.skipped += len(self._packets)
            self._packets.clear()
            self._needs_key_frame = True
            self._encoder.request_key_frame()
        if self._needs_key_frame and not packet.is_keyframe:
            self.skipped += 1
            return
        self._needs_key_frame = False
        self._packets.append(packet)
        self._arrived.set()

    async def recv(self) -> VideoPacket:
        """The next packet.

        :raises MediaStreamError: the viewer has left
        """
        while not self._packets:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        if self.readyState != "live":
            raise MediaStreamError
        return self._packets.popleft()

    def stop(self) -> None:
        super().stop()
        self._arrived.set()
        self._packets.clear()
        self._encoder.unsubscribe(self)


class Encoder:
    """Encodes the newest picture of ``source`` at up to ``frame_rate_hz`` while somebody looks."""

    def __init__(
        self,
        source: Pictures,
        width: int,
        height: int,
        frame_rate_hz: float,
        bit_rate_bit_s: int,
        clock: Clock,
        h264: H264 = LIBX264,
        repeats_still: bool = True,
    ) -> None:
        """:param repeats_still: False: nothing is sent while the source is silent, so a viewer knows that it is"""
        self.source = source
        self._repeats_still = repeats_still
        self._h264 = h264
        self.frame_rate_hz = frame_rate_hz
        self.bit_rate_bit_s = bit_rate_bit_s
        self._width, self._height = width, height
        self._wanted_bit_rate = bit_rate_bit_s
        self._clock = clock
        self._tracks: set[PacketTrack] = set()
        self._key_frame_asked = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._still: Image = np.zeros((height, width, 3), dtype=np.uint8)
        self.frames = 0
        self.key_frames = 0

    @property
    def viewers(self) -> int:
        return len(self._tracks)

    def subscribe(self) -> PacketTrack:
        """A new viewer's track; opens source and encoder when it is the first. Event loop only."""
        track = PacketTrack(self, max(2, round(self.frame_rate_hz * QUEUE_S)))
        self._tracks.add(track)
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._thread is None:
            self._stopping = threading.Event()
            self.source.start()
            self._thread = threading.Thread(
                target=self._run,
                args=(asyncio.get_running_loop(), self._stopping),
                name=f"encoder-{self.source.feed}",
                daemon=True,
            )
            self._thread.start()
        self.request_key_frame()
        return track

    def unsubscribe(self, track: PacketTrack) -> None:
        self._tracks.discard(track)
        if not self._tracks and self._thread is not None and self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(IDLE_S, self._close_if_unseen)

    def close(self) -> None:
        """Stop thread and source; returns when both have ended (5 s at most each)."""
        for thread in self._release():
            thread.join(timeout=5.0)

    def request_key_frame(self) -> None:
        """Ask for a key frame as soon as the spacing allows; any thread."""
        self._key_frame_asked.set()

    def aim_at(self, bit_rate_bit_s: int) -> None:
        """Set the rate for the next pictures, never above the configured one; any thread."""
        self._wanted_bit_rate = max(100_000, min(bit_rate_bit_s, self.bit_rate_bit_s))

    def _close_if_unseen(self) -> None:
        self._closing = None
        if not self._tracks:
            self._release()

    def _release(self) -> list[threading.Thread]:
        thread, self._thread = self._thread, None
        if thread is None:
            return []
        self._stopping.set()
        return [thread, *filter(None, [self.source.stop()])]

    def _run(self, loop: asyncio.AbstractEventLoop, stopping: threading.Event) -> None:
        began_s = self._clock.monotonic_s()
        last_key_s, due_s, seen = float("-inf"), began_s, -1
        codec = self._open(self._wanted_bit_rate)
        opened_rate = self._wanted_bit_rate
        while not stopping.is_set():
            now_s = self._clock.monotonic_s()
            if due_s > now_s and stopping.wait(due_s - now_s):
                break
            fresh = self.source.newer(seen, STILL_PERIOD_S)
            if fresh is not None:
                self._still, seen = fresh.image, fresh.number
            elif not self._repeats_still:
                continue
            now_s = self._clock.monotonic_s()
            # late slots are skipped, not caught up with
            due_s = max(due_s + 1 / self.frame_rate_hz, now_s - 1 / self.frame_rate_hz)
            wanted = self._wanted_bit_rate
            if not RATE_FLOOR * opened_rate <= wanted <= RATE_CEILING * opened_rate:
                codec, opened_rate = self._open(wanted), wanted
            elif self._h264.retunes and abs(wanted - (codec.bit_rate or 0)) > 0.03 * wanted:
                codec.bit_rate = wanted
            key = self._key_frame_asked.is_set() and now_s - last_key_s >= KEY_FRAME_SPACING_S
            if key:
                self._key_frame_asked.clear()
            packets = self._encode(codec, int((now_s - began_s) * 90_000), key)
            if any(packet.is_keyframe for packet in packets):
                last_key_s = now_s
                self.key_frames += 1
            try:
                loop.call_soon_threadsafe(self._fan_out, packets)
            except RuntimeError:  # the loop has been closed: the process is ending
                return

    def _open(self, rate_bit_s: int) -> av.VideoCodecContext:
        return self._h264.open(self._width, self._height, self.frame_rate_hz, rate_bit_s)

    def _encode(self, codec: av.VideoCodecContext, pts: int, key: bool) -> list[VideoPacket]:
        frame = av.VideoFrame.from_ndarray(self._fitted(self._still), format="yuv420p")
        frame.pts, frame.time_base = pts, RTP_TIME_BASE
        frame.pict_type = PictureType.I if key else PictureType.NONE
        packets = codec.encode(frame)
        for packet in packets:
            packet.pts, packet.time_base = pts, RTP_TIME_BASE
        self.frames += 1
        return packets

    def _fitted(self, image: Image) -> npt.NDArray[np.uint8]:
        """``image`` scaled into the feed's size with black borders, as I420: an ultrasound must not be distorted."""
        height, width = image.shape[:2]
        if (width, height) != (self._width, self._height):
            scale = min(self._width / width, self._height / height)
            inner = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
            left, top = (self._width - inner[0]) // 2, (self._height - inner[1]) // 2
            image = np.zeros((self._height, self._width, 3), dtype=np.uint8)
            image[top : top + inner[1], left : left + inner[0]] = small
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)

    def _fan_out(self, packets: list[VideoPacket]) -> None:
        for packet in packets:
            for track in tuple(self._tracks):
                track.feed(packet)
