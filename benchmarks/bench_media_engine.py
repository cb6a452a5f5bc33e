"""The media engine against plain aiortc (MediaRelay, an encoder for each viewer), in one run.

Both show the same moving 720p pictures at 30 a second, at the same rate, to viewers who do what aiortc does with
each of them: pack H.264 into RTP, serialize, encrypt (SRTP), send to a socket on this machine. What a viewer costs is
the slope of the process's CPU time from one viewer to nine, the median of three pairs of windows one after the other:
the encoder alone varies by more than a viewer costs on a machine that is shared. Of plain aiortc it is the first viewer
less the source, as every viewer has the same encoder there, and a second one may already be more than the machine can
do.
Plain aiortc gets its pictures in the pixel format its encoder wants, converted once, which is better than it has it
with OpenCV. Encode latency is from the capture of a picture to its packets in the viewers' queues.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import av
import cv2
import numpy as np
import pylibsrtp
from aiortc import MediaStreamTrack
from aiortc.codecs.h264 import H264Encoder
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import HeaderExtensionsMap, RtpPacket

from benchmarks.media_report import PAGE, put
from devices.clock import SystemClock
from telemedicine.__main__ import SWITCH_INTERVAL_S
from telemedicine.media.captures import Wish
from telemedicine.media.h264 import RTP_TIME_BASE, first_that_works
from telemedicine.media.ladder import Ladder, shapes
from telemedicine.media.picture_judge import Image
from telemedicine.media.sources import Source

WIDTH, HEIGHT, RATE_HZ, BIT_RATE_BPS = 1280, 720, 30.0, 3_000_000
PICTURES = 24
MANY_VIEWERS, PAIRS = 9, 3
SETTLE_S = 1.0
BUSY_BELOW_HZ = 28.0
ADDED_VIEWER_GOAL, FULL_SESSION_GOAL = 0.02, 0.8


def paint() -> list[Image]:
    """A ground with texture that drifts under a square that moves: what a hand-held probe or camera sends."""
    random = np.random.default_rng(1)
    ground = cv2.GaussianBlur(random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8), (0, 0), 6)
    ground = cv2.normalize(ground, None, 30, 220, cv2.NORM_MINMAX)
    noise = random.normal(0, 2, (HEIGHT, WIDTH, 3))
    pictures = []
    for number in range(PICTURES):
        swing = abs(PICTURES // 2 - number)
        image = np.clip(np.roll(ground, swing * 3, axis=1) + np.roll(noise, number * 31, axis=0), 0, 255)
        image = np.ascontiguousarray(image.astype(np.uint8))
        cv2.rectangle(image, (100 + swing * 40, 200), (260 + swing * 40, 360), (240, 240, 240), -1)
        pictures.append(image)
    return pictures


class Painted:
    """A capture that hands over painted pictures; ``Source`` paces and judges them as those of a file."""

    period_s = 1 / RATE_HZ

    def __init__(self, pictures: list[Image]) -> None:
        self._pictures, self._number = pictures, 0

    def read(self) -> Image:
        self._number += 1
        return self._pictures[self._number % PICTURES]

    def position_s(self) -> float | None:
        return None

    def rewind(self) -> bool:
        return False

    def release(self) -> None:
        pass


class Viewer:
    """What aiortc's RTCRtpSender does with one viewer's pictures."""

    def __init__(self, track: MediaStreamTrack, bit_rate_bps: int) -> None:
        self._track = track
        self._encoder = H264Encoder()
        self._encoder.target_bitrate = bit_rate_bps
        policy = pylibsrtp.Policy(key=os.urandom(30), ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._srtp = pylibsrtp.Session(policy)
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink.bind(("127.0.0.1", 0))
        self._extensions = HeaderExtensionsMap()
        self.pictures = self.octets = 0

    async def run(self) -> None:
        loop, sequence = asyncio.get_running_loop(), 0
        while True:
            try:
                data = await self._track.recv()
            except MediaStreamError:
                self._sink.close()
                return
            if isinstance(data, av.VideoFrame):
                payloads, timestamp = await loop.run_in_executor(None, self._encoder.encode, data, False)
            else:
                payloads, timestamp = self._encoder.pack(data)
            for number, payload in enumerate(payloads):
                sequence = sequence + 1 & 0xFFFF
                packet = RtpPacket(99, number == len(payloads) - 1, sequence, timestamp & 0xFFFFFFFF, 1, payload)
                sent = self._srtp.protect(packet.serialize(self._extensions))
                self._sink.sendto(sent, self._sink.getsockname())
                self.octets += len(payload)
            self.pictures += 1


class PlainTrack(MediaStreamTrack):
    """Raw pictures at their rate, as a capture loop gives them to MediaRelay."""

    kind = "video"

    def __init__(self, pictures: list[Image]) -> None:
        super().__init__()
        self._frames = [
            av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p") for image in pictures
        ]
        self._began_s, self._number = time.monotonic(), 0

    async def recv(self) -> av.VideoFrame:
        self._number += 1
        await asyncio.sleep(max(0.0, self._began_s + self._number / RATE_HZ - time.monotonic()))
        frame = self._frames[self._number % PICTURES]
        frame.pts, frame.time_base = int(self._number / RATE_HZ * 90_000), RTP_TIME_BASE
        return frame


@dataclass(frozen=True)
class Measured:
    """Over one window. ``core``: CPU seconds of this process per second."""

    core: float
    pictures_per_s: float
    """Of the slowest viewer."""
    mbit_s: float
    """Of the mean viewer."""
    latencies_s: tuple[float, ...] = ()


async def measure(tracks: list[MediaStreamTrack], seconds: float) -> Measured:
    """Let a viewer look at each of ``tracks``; they are stopped in the end."""
    viewers = [Viewer(track, BIT_RATE_BPS) for track in tracks]
    tasks = [asyncio.create_task(viewer.run()) for viewer in viewers]
    await asyncio.sleep(SETTLE_S)
    before = [(viewer.pictures, viewer.octets) for viewer in viewers]
    cpu_s, wall_s = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
    got = [(viewer.pictures - was[0], viewer.octets - was[1]) for viewer, was in zip(viewers, before, strict=True)]
    for track in tracks:
        track.stop()
    await asyncio.gather(*tasks)
    octets = statistics.mean(octets for _, octets in got) if got else 0.0
    return Measured(cpu_s / wall_s, min((seen for seen, _ in got), default=0) / wall_s, octets * 8e-6 / wall_s)


async def engine(pictures: list[Image], sources: int, viewers: int, seconds: float) -> Measured:
    """``viewers`` looking at each of ``sources``; with 0 viewers the sources run and nobody looks."""
    h264 = first_that_works()
    assert h264 is not None, "this FFmpeg has no H.264 encoder"
    clock = SystemClock()
    shape = shapes(WIDTH, HEIGHT, RATE_HZ, 250_000, BIT_RATE_BPS)
    made = [
        Source(f"source-{number}", "painted", clock, Wish(), lambda *_: Painted(pictures)) for number in range(sources)
    ]
    ladders = [Ladder(source, shape, clock, h264) for source in made]
    for source in made:
        source.start()
    tracks: list[MediaStreamTrack] = [ladder.track() for ladder in ladders for _ in range(viewers)]
    for ladder in ladders:
        ladder.rungs[0].set_bitrate_bps(BIT_RATE_BPS)
    measured = await measure(tracks, seconds)
    latencies = tuple(latency for ladder in ladders for latency in ladder.rungs[0].latencies_s)
    for ladder in ladders:
        for thread in ladder.close():
            await asyncio.to_thread(thread.join)
    return Measured(measured.core, measured.pictures_per_s, measured.mbit_s, latencies)


async def plain(pictures: list[Image], viewers: int, seconds: float) -> Measured:
    """aiortc alone: MediaRelay, and the encoder of each viewer's own sender."""
    relay, source = MediaRelay(), PlainTrack(pictures)
    measured = await measure([relay.subscribe(source) for _ in range(viewers)], seconds)
    source.stop()
    return measured


def line(name: str, measured: Measured) -> None:
    print(f"{name:34} {measured.core:8.3f} {measured.pictures_per_s:11.1f} {measured.mbit_s:10.2f}")


@dataclass(frozen=True)
class Costs:
    """What the rows say together; cores, and ms from capture to packet."""

    added: float
    added_plain: float
    added_plain_at_full_rate: float
    full_session: float
    latency_p50_ms: float
    latency_p95_ms: float
    busy: bool
    """The machine had other things to do: pictures were left out, so the figures are too low."""

    @classmethod
    def of(cls, rows: Mapping[str, Measured], pairs: Sequence[tuple[Measured, Measured]]) -> Costs:
        """
        :param pairs: the engine with one viewer, and right after it with ``MANY_VIEWERS``
        """
        engines = [row for name, row in rows.items() if name.startswith("engine")]
        engines += [row for pair in pairs for row in pair]
        plain_one = rows["plain aiortc, 1 viewer"]
        theirs = plain_one.core - rows["source alone"].core
        latencies_ms = [1000 * latency for latency in rows["engine, 1 viewer"].latencies_s]
        return cls(
            added=statistics.median((many.core - one.core) / (MANY_VIEWERS - 1) for one, many in pairs),
            added_plain=theirs,
            added_plain_at_full_rate=theirs * RATE_HZ / max(1.0, plain_one.pictures_per_s),
            full_session=rows["engine, 5 viewers x 2 sources"].core,
            latency_p50_ms=statistics.median(latencies_ms),
            latency_p95_ms=statistics.quantiles(latencies_ms, n=20)[-1],
            busy=min(row.pictures_per_s for row in engines) < BUSY_BELOW_HZ,
        )

    def section(self, on: date) -> str:
        """For docs/media/README.md."""
        return "\n".join(
            [
                "## What a viewer costs (`benchmarks/bench_media_engine.py`)",
                "",
                f"{WIDTH}x{HEIGHT} at {RATE_HZ:g}/s, {on.isoformat()}, {os.cpu_count()} cores.",
                "",
                "| | project | plain aiortc | goal |",
                "|---|---|---|---|",
                f"| each added viewer, core | {self.added:.3f} | {self.added_plain:.2f} | ≤ {ADDED_VIEWER_GOAL:g} |",
                f"| 5 viewers x 2 sources, core | {self.full_session:.2f} | not possible | ≤ {FULL_SESSION_GOAL:g} |",
                f"| capture to packet, median / p95, ms | {self.latency_p50_ms:.1f} / {self.latency_p95_ms:.1f} | | |",
            ]
        )


async def run(seconds: float) -> Costs:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    pictures = paint()
    encoder = first_that_works()
    print(f"{WIDTH}x{HEIGHT} at {RATE_HZ:g}/s, {encoder.name if encoder else '-'}, windows of {seconds:g} s")
    print(f"{'':34} {'core':>8} {'pictures/s':>11} {'Mbit/s':>10}")
    rows: dict[str, Measured] = {}
    steps: list[tuple[str, Callable[[], Awaitable[Measured]]]] = [
        ("source alone", lambda: engine(pictures, 1, 0, seconds)),
        ("engine, 1 viewer", lambda: engine(pictures, 1, 1, seconds)),
        ("plain aiortc, 1 viewer", lambda: plain(pictures, 1, seconds)),
        ("plain aiortc, 2 viewers", lambda: plain(pictures, 2, seconds)),
        ("engine, 5 viewers x 2 sources", lambda: engine(pictures, 2, 5, seconds)),
    ]
    for name, step in steps:
        rows[name] = await step()
        line(name, rows[name])
    pairs = []
    for _ in range(PAIRS):
        pairs.append((await engine(pictures, 1, 1, seconds), await engine(pictures, 1, MANY_VIEWERS, seconds)))
        line("engine, 1 viewer again", pairs[-1][0])
        line(f"engine, {MANY_VIEWERS} viewers", pairs[-1][1])
    costs = Costs.of(rows, pairs)
    print(f"\nadded viewer: engine {costs.added:.3f} core (goal {ADDED_VIEWER_GOAL}), ", end="")
    print(
        f"plain aiortc {costs.added_plain:.3f} ({costs.added_plain_at_full_rate:.3f} if it kept up with {RATE_HZ:g}/s)"
    )
    print(f"5 viewers x 2 sources: {costs.full_session:.2f} core of {os.cpu_count()} (goal {FULL_SESSION_GOAL})")
    print(f"capture to packet, 1 viewer: p50 {costs.latency_p50_ms:.1f} ms, p95 {costs.latency_p95_ms:.1f} ms")
    if costs.busy:
        print("the machine was busy with something else: pictures were left out, so the figures are too low")
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each of the windows")
    parser.add_argument("--write", action="store_true", help="write what was found into docs/media")
    options = parser.parse_args()
    costs = asyncio.run(run(options.seconds))
    if options.write and not costs.busy:
        PAGE.write_text(put(PAGE.read_text("utf-8"), "engine", costs.section(datetime.now(UTC).date())), "utf-8")


if __name__ == "__main__":
    main()
