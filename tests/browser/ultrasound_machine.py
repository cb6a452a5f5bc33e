"""An ultrasound machine for page tests: a painted sector with a cyst, and the media process's freeze and clip."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI

from devices.clock import SystemClock
from telemedicine.local_app import create_local_app
from telemedicine.media.h264 import LIBX264
from telemedicine.media.sources import Frame, SourceState
from telemedicine.peer import OfferRefused
from telemedicine.ultrasound.bridge import UltrasoundBridge
from telemedicine.ultrasound.machine import MachineSettings
from telemedicine.ultrasound.picture import SharedPicture
from telemedicine.ultrasound.vehicle_record import VehicleRecord
from telemedicine.vehicle_client import VehicleClient

WIDTH, HEIGHT = 960, 720
MACHINE = MachineSettings.model_validate(
    {
        "name": "ultrasound-1",
        "manufacturer": "Mindray",
        "model": "DC-30",
        "serial": "U7-0042",
        "source_size": [WIDTH, HEIGHT],
        "depths": [{"name": "12 cm", "mm_per_pixel": 0.18}, {"name": "16 cm", "mm_per_pixel": 0.24}],
        "clip_longest_s": 3,
    }
)


def sector(number: int) -> npt.NDArray[np.uint8]:
    """Speckle in a sector with a cyst of 200 x 150 pixels in its middle, which moves a little."""
    noise = np.random.default_rng(number % 7).gamma(2.0, 28.0, (HEIGHT // 2, WIDTH // 2))
    speckle = cv2.resize(np.clip(noise, 0, 255).astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    cv2.ellipse(mask, (WIDTH // 2, -60), (740, 740), 0, 50, 130, 255, -1)
    cv2.circle(mask, (WIDTH // 2, -60), 110, 0, -1)
    cv2.ellipse(speckle, (480 + number % 5, 380), (100, 75), 12, 0, 360, 8, -1)
    grey = cv2.bitwise_and(speckle, mask)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)


class Painted:
    """A ``Pictures`` that is never late: ten pictures a second of ``sector``."""

    feed, state, frame_rate_hz = "ultrasound", SourceState.LIVE, 10.0

    def __init__(self) -> None:
        self._began_s = SystemClock().monotonic_s()
        self._wait = threading.Event()

    def start(self) -> None: ...

    def stop(self) -> threading.Thread | None:
        return None

    def newer(self, than: int, timeout_s: float) -> Frame | None:
        now_s = SystemClock().monotonic_s()
        number = int((now_s - self._began_s) * 10)
        if number <= than:
            self._wait.wait((than + 1) / 10 - (now_s - self._began_s))
            number = than + 1
        return Frame(sector(number), number, self._began_s + number / 10)


class MediaProcess:
    """As much of the media process as freeze and clip need."""

    def __init__(self, bridge: UltrasoundBridge) -> None:
        self.ultrasound = bridge

    async def kiosk_answer(self, sdp: str) -> str:
        raise OfferRefused("no pictures over WebRTC in this test")

    async def hang_up(self) -> None: ...

    def status(self) -> dict[str, Any]:
        return {"viewers": []}


@contextlib.asynccontextmanager
async def media_process(vehicle_app: FastAPI, folder: Path, socket_file: Path) -> AsyncIterator[UltrasoundBridge]:
    """The vehicle's API on a Unix socket, and the media process on ``socket_file``."""
    local = folder / "vehicle.sock"
    async with _serving(vehicle_app, local):
        client = VehicleClient(local)
        picture = SharedPicture(Painted(), MACHINE)
        bridge = UltrasoundBridge(picture, VehicleRecord(client), 10.0, LIBX264, SystemClock(), lambda: "")
        telling = asyncio.create_task(bridge.run())
        async with _serving(create_local_app(MediaProcess(bridge), "x" * 40), socket_file):
            try:
                yield bridge
            finally:
                telling.cancel()
                await client.close()


@contextlib.asynccontextmanager
async def _serving(app: FastAPI, file: Path) -> AsyncIterator[None]:
    listener = socket.socket(socket.AF_UNIX)
    file.parent.mkdir(parents=True, exist_ok=True)
    listener.bind(str(file))
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server._serve([listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task
