"""Consultation after consultation on one machine, with all that happens on the road, and what is left over each time.

    python tests/telemedicine/soak.py --hours 8 --pace 8

A day has twelve consultations an hour, one after the other, and each is live until the next one begins: specialists
come, reload, look from two pages, drive through tunnels; the line to the exchange breaks, the camera is unplugged, the
touchscreen comes and goes. ``--pace 8`` is the same day in an eighth of the time: what happens stays, only what is
looked at in peace is shorter. After each consultation, at rest, tasks, sockets, other open files and threads must be
as many as before, and memory must not rise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiortc import MediaStreamTrack
from aiortc.rtp import RtpPacket
from consultation_stage import Stage, consultation_stage, render_test_clip, until
from media_stage import MjpegCamera
from simulated_link import feedback_message
from test_consultation_session import SpecialistPage, Viewer, specialist

from telemedicine import heap
from telemedicine.consultation import State
from telemedicine.transport.aiortc_patches import pass_packets
from telemedicine.transport.feedback import MOST_PACKETS, RTPFB, SEQUENCE_WRAP, TRANSPORT_CC, Unwrapper

CONSULTATION_S = 300.0
"""From the beginning of one to that of the next, at pace 1."""
TUNNEL_S = 1.5
FEEDBACK_EVERY_S = 0.05
STAMPS = 1 << 32
PICTURES_WITHIN_S = 180.0
"""A computer that is far too busy looks like a narrow link, and pictures wait until it is calm."""
RISES_MOST = 1.05
"""Of the memory in the second quarter, in the last one."""
POOLS = ("asyncio_", "AnyIO worker")
"""Threads that wait for work and are bounded by themselves."""
FEWEST_FOR_MEMORY = 12
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


COUNTED = ("tasks", "sockets", "files", "threads")


def _opened() -> list[str]:
    """What stands behind each open descriptor."""
    targets = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of this listing
            targets.append(os.readlink(f"/proc/self/fd/{number}"))
    return targets


@dataclass(frozen=True, slots=True)
class Left:
    """What is there at rest."""

    tasks: int
    sockets: int
    files: int
    """Others that are open."""
    threads: int
    memory_bytes: int
    """Without what is free and can go back to the system."""

    @classmethod
    def now(cls) -> Left:
        gc.collect()
        heap.give_back()  # of the specialists' side, which is in this process too
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        opened = _opened()
        sockets = sum(name.startswith("socket:") for name in opened)
        threads = [thread for thread in threading.enumerate() if not thread.name.startswith(POOLS)]
        tasks = len(asyncio.all_tasks())
        return cls(tasks, sockets, len(opened) - sockets, len(threads), resident * PAGE_BYTES)

    def exceeds(self, before: Left) -> bool:
        pairs = ((getattr(self, name), getattr(before, name)) for name in COUNTED)
        return any(now > then for now, then in pairs)


class Watcher(Viewer):
    """Counts pictures by their timestamps and decodes none: it may look for minutes. Tells what arrived and when, as a
    browser does and aiortc does not, so that the van's rate control, pacer and probes work as they do with a page."""

    async def take(self, sdp: str) -> None:
        for transceiver in self.pc.getTransceivers():
            if transceiver.kind == "video":
                self.pictures.append([])
                pass_packets(transceiver.receiver, partial(self._count, self.pictures[-1]))
        await super().take(sdp)
        self._tasks.append(asyncio.create_task(self._tell_arrivals()))

    def _track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            super()._track(track)

    @staticmethod
    def _count(stamps: list[Any], _: int, stamp: int, payload: bytes) -> None:
        if not stamps or 0 < (stamp - stamps[-1]) % STAMPS < STAMPS // 2:
            stamps.append(stamp)

    async def _tell_arrivals(self) -> None:
        transport = next(iter(self.pc.getTransceivers())).sender.transport
        pass_on, numbers, arrivals_s = transport._handle_rtp_data, Unwrapper(SEQUENCE_WRAP), dict[int, float]()

        async def note(data: bytes, arrival_time_ms: int) -> None:
            number = RtpPacket.parse(data, transport._rtp_header_extensions_map).extensions.transport_sequence_number
            if number is not None:
                arrivals_s[numbers.unwrap(number)] = time.monotonic()
            await pass_on(data, arrival_time_ms)

        transport._handle_rtp_data = note
        told, count = 0, 0
        while True:
            await asyncio.sleep(FEEDBACK_EVERY_S)
            newest = max(arrivals_s, default=-1)
            first = max(told or min(arrivals_s, default=0), newest - MOST_PACKETS + 1)
            if newest < first:
                arrivals_s.clear()  # of before what was told
                continue
            message = feedback_message(first, [arrivals_s.get(number) for number in range(first, newest + 1)], count)
            arrivals_s.clear()
            told, count = newest + 1, (count + 1) % 256
            with contextlib.suppress(ConnectionError):  # the connection ends before this task does
                await transport._send_rtp(rtcp_feedback(message))


def rtcp_feedback(message: bytes) -> bytes:
    """``message`` as a packet (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1), padded with zeros."""
    body = bytes(8) + message + bytes(-len(message) % 4)
    return struct.pack("!BBH", 0x80 | TRANSPORT_CC, RTPFB, len(body) // 4) + body


@contextlib.asynccontextmanager
async def soaking(folder: Path) -> AsyncIterator[tuple[Stage, MjpegCamera]]:
    """A consultation's parties, with a network camera for the room."""
    camera = MjpegCamera()
    camera.plug_in()
    clips: dict[str, Any] = {"room": camera.url, "ultrasound": render_test_clip(folder / "ultrasound.mp4", 20)}
    try:
        async with consultation_stage(folder, clips, size=(320, 240)) as stage:
            yield stage, camera
    finally:
        camera.unplug()


async def tunnel(viewer: Viewer) -> None:
    """Nothing comes or goes for a while; then it does again."""
    transports = {transceiver.sender.transport.transport for transceiver in viewer.pc.getTransceivers()}
    protocols = [protocol for ice in transports for protocol in ice._connection._protocols]
    for protocol in protocols:
        protocol.datagram_received = lambda data, address: None
        protocol.send_stun = lambda message, address: None
    await asyncio.sleep(TUNNEL_S)
    for protocol in protocols:
        del protocol.datagram_received, protocol.send_stun


async def pictures_come(stage: Stage, viewer: Viewer, feed: int = 1) -> None:
    """:raises AssertionError: they do not; says how everything stands"""
    seen = len(viewer.pictures[feed])
    with contextlib.suppress(TimeoutError):
        await until(lambda: len(viewer.pictures[feed]) > seen + 3, PICTURES_WITHIN_S)
    stands = (viewer.pc.connectionState, [len(pictures) for pictures in viewer.pictures], stage.van.status())
    assert len(viewer.pictures[feed]) > seen + 3, stands


async def consultation(stage: Stage, camera: MjpegCamera, page: SpecialistPage, number: int, until_s: float) -> None:
    """One from request to decision, live at least until ``until_s`` of the monotonic clock."""
    name = f"consultation-{number}"
    stage.vehicle.request(name)
    await until(lambda: _case(page, name, "invited"))
    await page.send(type="accept", consultation=name)
    await until(lambda: _case(page, name, "accepted"))
    viewer, second, kiosk = Watcher(), Watcher(), Watcher(videos=3, data=False)
    await _connect(page, name, viewer, "a_1")
    await pictures_come(stage, viewer)
    await kiosk.take(await stage.van.kiosk_answer(await kiosk.offer()))
    await _connect(page, name, second, "b_1")
    await pictures_come(stage, second)
    await tunnel(viewer)
    await pictures_come(stage, viewer)
    camera.unplug()
    _cut_exchange(stage)
    await viewer.close()
    viewer = Watcher()  # a reload
    await until(lambda: stage.van.status()["exchange"] == "joined")
    camera.plug_in()
    await _connect(page, name, viewer, "a_2")
    await pictures_come(stage, viewer)
    await asyncio.gather(second.close(), kiosk.close())
    await asyncio.sleep(max(0.0, until_s - time.monotonic()))
    await pictures_come(stage, viewer)
    stage.vehicle.step("ended", "zhou.min")
    await until(lambda: _case(page, name, "ended"))
    await viewer.close()
    stage.vehicle.step("opinion_signed")
    stage.vehicle.decide("accept", "")
    await until(lambda: _case(page, name, "closed"))


def _case(page: SpecialistPage, name: str, state: str) -> bool:
    told = [message["case"] for message in page.received if message["type"] == "case"]
    return any(case["consultation"] == name and case["state"] == state for case in told)


async def _connect(page: SpecialistPage, name: str, viewer: Viewer, session: str) -> None:
    await page.send(type="offer", consultation=name, session=session, sdp=await viewer.offer())
    await viewer.take((await page.next("answer"))["sdp"])
    await until(lambda: viewer.pc.connectionState == "connected")


def _cut_exchange(stage: Stage) -> None:
    connection = stage.van._signalling._connection
    if connection is not None:
        connection.transport.abort()


async def rest(stage: Stage, before: Left | None) -> Left:
    """What is there when everything has ended; more than ``before`` is named.

    :raises AssertionError: it stays
    """
    await until(lambda: all(feed["state"] == "closed" for feed in stage.van.status()["feeds"].values()))
    with contextlib.suppress(TimeoutError):
        await until(lambda: before is None or not Left.now().exceeds(before))
    now = Left.now()
    assert before is None or not now.exceeds(before), (before, now, sorted(map(str, asyncio.all_tasks())))
    return now


async def soak(folder: Path, consultations: int, apart_s: float = 0.0) -> list[Left]:
    """What was left after each consultation."""
    left: list[Left] = []
    async with soaking(folder) as (stage, camera):
        for number in range(1, consultations + 1):
            until_s = time.monotonic() + apart_s
            async with specialist(stage) as page:
                await consultation(stage, camera, page, number, until_s)
            assert stage.vehicle.state == State.CLOSED
            left.append(await rest(stage, left[0] if left else None))
            print(f"{number}: {left[-1]}", file=sys.stderr, flush=True)
    return left


def memory_rises(left: Sequence[Left]) -> float:
    """Memory in the last quarter in parts of that in the second."""
    quarter = len(left) // 4
    second, last = left[quarter : 2 * quarter], left[-quarter:]
    return statistics.median(x.memory_bytes for x in last) / statistics.median(x.memory_bytes for x in second)


def slope_bytes(left: Sequence[Left]) -> float:
    """How much memory a consultation adds: a line through all but the first quarter, in which caches fill."""
    later = left[len(left) // 4 :]
    return statistics.linear_regression(range(len(later)), [one.memory_bytes for one in later]).slope


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=8.0, help="of the day")
    parser.add_argument("--pace", type=float, default=1.0, help="the day takes so many times less")
    options = parser.parse_args()
    consultations = max(FEWEST_FOR_MEMORY, round(options.hours * 3600 / CONSULTATION_S))
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        left = asyncio.run(soak(Path(folder), consultations, CONSULTATION_S / options.pace))
    first, last, rises = left[0], left[-1], memory_rises(left)
    print(f"{len(left)} consultations in {(time.monotonic() - began_s) / 60:.0f} min")
    print(", ".join(f"{name} {getattr(first, name)} and {getattr(last, name)}" for name in COUNTED))
    print(
        f"memory {first.memory_bytes / 1e6:.0f} MB and {last.memory_bytes / 1e6:.0f} MB, last quarter {rises:.3f} of "
        f"the second, {slope_bytes(left) / 1e3:+.0f} kB for each consultation"
    )
    return 0 if rises <= RISES_MOST else 1


if __name__ == "__main__":
    raise SystemExit(main())
