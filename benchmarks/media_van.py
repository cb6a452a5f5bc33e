"""The van's side of the media benchmark, as a process: offers come in as JSON lines, answers go out.

"project" is the project's own ladder, leg and uplink. "plain" is aiortc as its documentation shows it: a track through
``MediaRelay``, an encoder for each viewer, a data channel. Both show the same pictures, speak the same tone and send
the same 25 ECG messages a second.
"""

from __future__ import annotations

import asyncio
import fractions
import itertools
import json
import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay

from benchmarks.timecode import TimecodeSource
from devices.clock import SystemClock
from devices.readings import Samples
from telemedicine.live_chunks import LiveChunk
from telemedicine.live_data import DataViewer, LiveData
from telemedicine.media.audio import AudioBridge, Line
from telemedicine.media.h264 import first_that_works
from telemedicine.media.ladder import Ladder, shapes
from telemedicine.media.opus import VoiceEncoder
from telemedicine.peer import Leg, without_mdns
from telemedicine.transport import addresses, aiortc_patches
from telemedicine.transport.media_uplink import MediaUplink
from telemedicine.transport.uplink import PICTURE_SHARE, Stream
from telemedicine.vehicle_client import VehicleClient

WIDTH, HEIGHT, FRAME_RATE_HZ = 1280, 720, 30.0
FLOOR_BPS, MOST_BPS = 250_000, 5_000_000
SAMPLE_RATE_HZ, FRAME_SAMPLES = 48_000, 960
ECG_EVERY_S, ECG_BYTES = 0.04, 256
ECG = Samples("ecg", ("I",), 500.0, 0, 0, np.zeros((20, 1), np.int16), 1.25, "uV")
PLAIN_DATA_BOUND_BYTES = 1 << 20


class Van(Protocol):
    async def answer(self, offer: str) -> str: ...

    def send_ecg(self, message: bytes) -> None: ...

    def facts(self) -> dict[str, Any]: ...


class ProjectVan:
    """The project's rungs, legs and uplink."""

    def __init__(self) -> None:
        clock = SystemClock()
        h264 = first_that_works()
        assert h264 is not None
        self._uplink = MediaUplink(clock)
        self._uplink.add_stream(Stream("room", 1, 0.4, 150_000, MOST_BPS / PICTURE_SHARE))
        rungs = shapes(WIDTH, HEIGHT, FRAME_RATE_HZ, FLOOR_BPS, MOST_BPS)
        self._ladder = Ladder(TimecodeSource("room", WIDTH, HEIGHT, FRAME_RATE_HZ), rungs, clock, h264)
        for rung in self._ladder.rungs:
            rung.set_gate(lambda: self._uplink.may_encode("room"))
        self._uplink.on_rates(self._allot)
        self._bridge = AudioBridge(clock)
        self._tone = self._bridge.join("tone")
        self._live = LiveData(VehicleClient(Path("unused.sock")), clock, lambda _: None)
        self._viewers: list[DataViewer] = []
        self._legs: list[Leg] = []
        self.work = [
            asyncio.create_task(self._uplink.run(addresses.changes())),
            asyncio.create_task(speak(self._tone)),
        ]

    async def answer(self, offer: str) -> str:
        viewer = self._live.join()
        name = f"viewer-{len(self._legs)}"
        leg = Leg(name, [self._ladder], self._bridge.join(name), viewer, (), lambda *_: None, self._uplink)
        self._viewers.append(viewer)
        self._legs.append(leg)
        return await leg.answer(offer)

    def send_ecg(self, message: bytes) -> None:
        for viewer in self._viewers:
            viewer.send_frame(LiveChunk("ecg", ECG, message, None))

    def facts(self) -> dict[str, Any]:
        return {
            "target": round(self._uplink.target_bit_s),
            "states": [str(self._uplink.state(leg.path)) for leg in self._legs],
            "connections": [leg.state for leg in self._legs],
            "rung": [rung.bitrate_bps for rung in self._ladder.rungs],
            "held_back": sum(rung.counts.held_back for rung in self._ladder.rungs),
            "missed": sum(rung.counts.missed for rung in self._ladder.rungs),
            "key_frames": sum(rung.counts.key_frames for rung in self._ladder.rungs),
            **self._uplink.facts(),
        }

    def _allot(self) -> None:
        shares = {
            leg.tracks[self._ladder]: self._uplink.picture_bit_s("room", leg.path)
            for leg in self._legs
            if self._ladder in leg.tracks and leg.state == "connected"
        }
        self._ladder.allot({track: share_bps for track, share_bps in shares.items() if share_bps > 0})


class PlainVan:
    """aiortc without anything of ours."""

    def __init__(self) -> None:
        self._relay, self._pictures = MediaRelay(), PlainPictures()
        self._connections: list[RTCPeerConnection] = []
        self._channels: list[RTCDataChannel] = []

    async def answer(self, offer: str) -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.on("datachannel", self._channels.append)
        connection.addTrack(self._relay.subscribe(self._pictures))
        connection.addTrack(Tone())
        await connection.setRemoteDescription(RTCSessionDescription(without_mdns(offer), "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        self._connections.append(connection)
        return str(connection.localDescription.sdp)

    def send_ecg(self, message: bytes) -> None:
        for channel in self._channels:
            waits = channel.bufferedAmount >= PLAIN_DATA_BOUND_BYTES
            if channel.label == "live" and channel.readyState == "open" and not waits:
                channel.send(message)

    def facts(self) -> dict[str, Any]:
        return {"states": [connection.connectionState for connection in self._connections]}


class PlainPictures(MediaStreamTrack):
    """The same pictures as frames."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._source = TimecodeSource("room", WIDTH, HEIGHT, FRAME_RATE_HZ)
        self._source.start()
        self._seen, self._began_s = 0, time.monotonic()

    async def recv(self) -> av.VideoFrame:
        picture = None
        while picture is None:
            picture = await asyncio.get_running_loop().run_in_executor(None, self._source.newer, self._seen, 1.0)
        self._seen = picture.number
        planes = np.asarray(cv2.cvtColor(picture.image, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = int((picture.captured_mono_s - self._began_s) * 90_000)
        frame.time_base = fractions.Fraction(1, 90_000)
        return frame


def tone(number: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """20 ms of 440 Hz, mono."""
    moments = np.arange(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES) / SAMPLE_RATE_HZ
    return np.asarray(np.sin(2 * np.pi * 440 * moments) * 8000, dtype=np.int16)


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._number, self._began_s = 0, time.monotonic()

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(max(0.0, self._began_s + self._number * 0.02 - time.monotonic()))
        frame = av.AudioFrame.from_ndarray(tone(self._number).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, self._number * FRAME_SAMPLES
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE_HZ)
        self._number += 1
        return frame


async def speak(line: Line) -> None:
    """The tone as this line's voice."""
    encoder, began_s = VoiceEncoder(), time.monotonic()
    for number in itertools.count():
        await asyncio.sleep(max(0.0, began_s + number * 0.02 - time.monotonic()))
        payload = encoder.encode(tone(number))
        if payload is not None:
            line.take_packet(number & 0xFFFF, number * FRAME_SAMPLES & 0xFFFFFFFF, payload)


async def _beat(van: Van) -> None:
    began_s = time.monotonic()
    for number in itertools.count():
        await asyncio.sleep(max(0.0, began_s + number * ECG_EVERY_S - time.monotonic()))
        van.send_ecg(struct.pack("!Id", number, time.time() * 1000).ljust(ECG_BYTES, b"x"))


async def _log(van: Van, out: Callable[[dict[str, Any]], None]) -> None:
    while True:
        await asyncio.sleep(0.2)
        out({"log": {"at": time.time(), **van.facts()}})


def _used() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"at": time.time(), "cpu_s": used.ru_utime + used.ru_stime, "rss_bytes": rss}


async def serve(kind: str) -> None:
    """Offers on standard input, one JSON line each; answers and facts on standard output, until it ends."""
    loop = asyncio.get_running_loop()
    if kind == "project":
        aiortc_patches.apply()
    van: Van = ProjectVan() if kind == "project" else PlainVan()

    def out(message: dict[str, Any]) -> None:
        print(json.dumps(message), flush=True)

    tasks = [loop.create_task(_beat(van)), loop.create_task(_log(van, out))]
    reader = asyncio.StreamReader(limit=1 << 22)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        request = json.loads(line)
        if "offer" in request:
            out({"answer": await van.answer(request["offer"])})
        else:
            out({"mark": _used()})
    for task in tasks:
        task.cancel()
    os._exit(0)  # encoder threads and sockets die with the process; there is nothing to keep


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
