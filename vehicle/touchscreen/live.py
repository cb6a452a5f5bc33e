"""The live feed as a WebSocket: what the touchscreen draws and what the consultation process forwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import APIRouter, Query
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from devices.readings import INVALID_COUNT, Samples
from devices.wire import pack_samples
from sync.web.access import roles
from sync.web.pages import HEADERS
from vehicle.clinic.ecg.findings import analyse, median_beat
from vehicle.live import LiveReader
from vehicle.touchscreen.recent import RecentSamples
from vehicle.touchscreen.sessions import CLINICAL, CREW, LOCAL

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle

DRIVER_SEES = {"device", "status", "visit", "clock", "pairing", "driving", "emergency"}
"""Nothing about people reaches a driver's page."""
PAGE_SECONDS = 10.0
BEAT_SECONDS = 30.0


def routes(vehicle: Vehicle, recent: RecentSamples) -> APIRouter:
    router = APIRouter()

    @router.websocket("/live")
    @roles(*CREW, LOCAL)
    async def live(socket: WebSocket) -> None:
        """Text frames: JSON by ``type``. Binary frames: samples of ``?streams=ecg,pleth``, see devices/wire.py."""
        driver = socket.state.caller.role == "driver"
        asked = socket.query_params.get("streams", "")
        streams = () if driver else [stream for stream in asked.split(",") if stream]
        await socket.accept()
        with vehicle.live.subscribe(streams) as reader:
            gone = asyncio.create_task(_until_gone(socket, reader))
            try:
                await _forward(socket, reader, driver)
            finally:
                gone.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await gone

    @router.get("/live/recent")
    @roles(*CLINICAL)
    async def recently(stream: str = Query(pattern="^(ecg|pleth)$")) -> Response:
        """The last seconds of a waveform as one frame, for a page that was just opened; 204 when there are none."""
        kept = recent.newest(stream, PAGE_SECONDS)
        if kept is None:
            return Response(status_code=204)
        device, samples = kept
        return Response(pack_samples(device, samples), media_type="application/octet-stream", headers=HEADERS)

    @router.get("/live/beat")
    @roles(*CLINICAL)
    async def beat() -> Response:
        """The median of the last half minute's usual beats as one frame; 204 while there are too few."""
        kept = recent.newest("ecg", BEAT_SECONDS)
        samples = await asyncio.to_thread(_median_of, kept[1]) if kept is not None else None
        if kept is None or samples is None:
            return Response(status_code=204)
        return Response(pack_samples(kept[0], samples), media_type="application/octet-stream", headers=HEADERS)

    return router


def _median_of(samples: Samples) -> Samples | None:
    found = analyse(samples.channels, samples.sample_rate_hz, samples.counts, samples.resolution, INVALID_COUNT)
    counts = median_beat(samples.counts, samples.sample_rate_hz, found, INVALID_COUNT)
    return None if counts is None else replace(samples, segment=0, first_index=0, counts=counts)


async def _forward(socket: WebSocket, reader: LiveReader, driver: bool) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        async for item in reader:
            if isinstance(item, bytes):
                await socket.send_bytes(item)
            elif not driver or json.loads(item)["type"] in DRIVER_SEES:
                await socket.send_text(item)


async def _until_gone(socket: WebSocket, reader: LiveReader) -> None:
    """Closes the reader when the other end has gone; what it says is not read."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_text()
    reader.close()
