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
from collections import deque
from collections.abc import Callable
from dataclasses import replace
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
from telemedicine.live_data import QUEUED_RTT_S, DataViewer, LiveData
from telemedicine.media.audio import Line
from telemedicine.media.h264 import first_that_works
from telemedicine.media.opus import VoiceEncoder
from telemedicine.media_engine import MediaEngine
from telemedicine.peer import Leg, without_mdns
from telemedicine.settings import FeedSettings
from telemedicine.transport import aiortc_patches
from telemedicine.vehicle_client import VehicleClient

WIDTH, HEIGHT, FRAME_RATE_HZ = 1280, 720, 30.0
MOST_BPS = 5_000_000
SAMPLE_RATE_HZ, FRAME_SAMPLES = 48_000, 960
ECG_EVERY_S, ECG_BYTES = 0.04, 256
ECG = Samples("ecg", ("I",), 500.0, 0, 0, np.zeros((20, 1), np.int16), 1.25, "uV")
MERGED_MESSAGES, MERGED_BYTES = 5, 683
"""While bits are scarce: 0.2 s of eight leads packed (the largest of a real record)."""
MERGED_ECG = replace(ECG, counts=np.zeros((100, 1), np.int16))
PLAIN_DATA_BOUND_BYTES = 1 << 20


class Van(Protocol):
    async def answer(self, offer: str) -> str: ...

    def send_ecg(self, message: bytes) -> None: ...

    def facts(self) -> dict[str, Any]: ...


class ProjectVan:
    """The project's media engine and legs."""

    def __init__(self) -> None:
        clock = SystemClock()
        feed = FeedSettings(name="room", source="timecode", bit_rate_bit_s=MOST_BPS)
        pictures = TimecodeSource("room", WIDTH, HEIGHT, FRAME_RATE_HZ)
        self._engine = MediaEngine([feed], first_that_works(), clock, lambda _: pictures, self._spare)
        self._live = LiveData(VehicleClient(Path("unused.sock")), clock, lambda _: None)
        self._scarce, self._held, self._merged = False, False, deque[bytes](maxlen=MERGED_MESSAGES)
        self._viewers: dict[Leg, DataViewer] = {}
        self._seen = 0
        self.work = [
            asyncio.create_task(self._engine.run()),
            asyncio.create_task(speak(self._engine.voices.join("tone"))),
        ]

    async def answer(self, offer: str) -> str:
        engine, viewer, self._seen = self._engine, self._live.join(), self._seen + 1
        name = f"viewer-{self._seen}"
        ladders, line = [engine.ladders["room"]], engine.voices.join(name)
        leg = Leg(name, ladders, line, viewer, (), self._state_changed, engine.uplink)
        answer = await leg.answer(offer)
        self._viewers[leg] = viewer
        engine.viewers.add(leg)
        return answer

    def _state_changed(self, leg: Leg, state: str) -> None:
        """What the page had before goes when the new one is connected, as in ``telemedicine.legs``."""
        before = itertools.takewhile(lambda other: other is not leg, tuple(self._viewers))
        ended = {"connected": [*before], "failed": [leg], "closed": [leg]}.get(state, [])
        for each in ended:
            if self._viewers.pop(each, None) is not None:
                self._engine.viewers.discard(each)
                self.work.append(asyncio.create_task(each.close()))

    def _spare(self, scarce: bool, rtt_s: float) -> None:
        self._scarce, self._held = scarce, scarce and rtt_s > QUEUED_RTT_S

    def send_ecg(self, message: bytes) -> None:
        """While bits are scarce in larger messages, each with the time of its oldest part, as ``LiveData`` sends it."""
        samples = ECG
        if self._scarce:
            self._merged.append(message)
            if len(self._merged) < MERGED_MESSAGES:
                return
            message, samples = self._merged[0].ljust(MERGED_BYTES, b"x"), MERGED_ECG
        self._merged.clear()
        for viewer in self._viewers.values():
            viewer.send_frame(LiveChunk("ecg", samples, message, None), self._held)

    def facts(self) -> dict[str, Any]:
        uplink, counts = self._engine.uplink, [rung.counts for rung in self._engine.ladders["room"].rungs]
        return {
            "target": round(uplink.target_bit_s),
            "states": [str(uplink.state(leg.path)) for leg in self._viewers],
            "connections": [leg.state for leg in self._viewers],
            "rung": [rung.bitrate_bps for rung in self._engine.ladders["room"].rungs],
            "held_back": sum(count.held_back for count in counts),
            "missed": sum(count.missed for count in counts),
            "key_frames": sum(count.key_frames for count in counts),
            **uplink.facts(),
        }


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
