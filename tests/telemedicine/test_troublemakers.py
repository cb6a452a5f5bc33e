"""Who floods, never reads, vanishes or has a wrong clock is told so or shown out; the others' session goes on."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import consultation_stage as stage_module
import pytest
from consultation_stage import ORIGIN, PASSWORD, Stage, consultation_stage, render_test_clip, until
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from httpx import AsyncClient
from media_stage import MjpegCamera
from test_consultation_session import SpecialistPage, Viewer, accepted, specialist
from websockets.asyncio.client import connect

from telemedicine.exchange.app import SOCKET_LIMIT_BYTES
from telemedicine.opinion import canonical_text

MESSAGE_TOO_BIG = 1009
"""Of RFC 6455, 7.4.1."""


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """With small buffers under the exchange's sockets, so that who does not read is soon known."""
    listening = stage_module.tcp_listener

    def small(port: int = 0) -> socket.socket:
        listener = listening(port)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return listener

    monkeypatch.setattr(stage_module, "tcp_listener", small)
    async with consultation_stage(tmp_path) as ready:
        yield ready


async def goes_on(viewer: Viewer) -> None:
    """Pictures of both cameras, samples and sound come, from now on."""
    pictures, samples = [len(feed) for feed in viewer.pictures], len(viewer.samples)
    viewer.sound.clear()
    await until(lambda: all(len(feed) > n + 3 for feed, n in zip(viewer.pictures, pictures, strict=True)))
    await until(lambda: len(viewer.samples) > samples + 10 and len(viewer.sound) > 10)
    assert viewer.pc.connectionState == "connected"


async def in_session(stage: Stage, page: SpecialistPage) -> Viewer:
    await accepted(stage, page)
    viewer = Viewer()
    await page.connect_media(viewer)
    await until(lambda: len(viewer.pictures) == 2 and all(viewer.pictures))
    return viewer


async def test_a_frame_that_is_too_big_ends_its_own_socket_only(stage: Stage) -> None:
    async with specialist(stage) as page:
        viewer = await in_session(stage, page)
        async with specialist(stage, "he.ping") as other:
            await other.socket.send("x" * (SOCKET_LIMIT_BYTES + 1))
            await other.socket.wait_closed()
            assert other.socket.close_code == MESSAGE_TOO_BIG
            other._reader.cancel()
        async with connect(f"ws://127.0.0.1:{stage.port}/exchange/van", proxy=None) as van:
            await van.recv()
            await van.send("x" * (SOCKET_LIMIT_BYTES + 1))
            await van.wait_closed()
            assert van.close_code == MESSAGE_TOO_BIG
        async with specialist(stage, "he.ping") as again:
            assert await again.next("welcome"), "who has learnt it is welcome again"
        await goes_on(viewer)
        assert stage.van.status()["exchange"] == "joined"
        await viewer.close()


def _masked(text: str) -> bytes:
    """A text frame of a client (RFC 6455, 5.2)."""
    payload, key = text.encode(), os.urandom(4)
    masked = bytes(octet ^ key[at % 4] for at, octet in enumerate(payload))
    return struct.pack("!BB", 0x81, 0x80 | len(payload)) + key + masked


async def test_a_page_that_never_reads_is_shown_out(stage: Stage) -> None:
    async with specialist(stage) as page:
        viewer = await in_session(stage, page)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, ("127.0.0.1", stage.port))
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /exchange/specialist HTTP/1.1",
            f"Host: 127.0.0.1:{stage.port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            f"Cookie: {page.cookie}",
        ]
        await loop.sock_sendall(deaf, ("\r\n".join(lines) + "\r\n\r\n").encode())
        pages = stage.exchange.rooms._pages
        await until(lambda: len(pages) == 2)
        ping = _masked('{"type":"ping"}')

        async def ask() -> None:
            while True:
                await loop.sock_sendall(deaf, ping * 50)

        asking = asyncio.create_task(ask())
        await until(lambda: len(pages) == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        deaf.close()
        await goes_on(viewer)
        await page.send(type="ping")
        assert await page.next("pong")
        await viewer.close()


async def test_a_viewer_that_dies_without_a_word_costs_the_others_nothing(stage: Stage) -> None:
    async with specialist(stage) as page:
        viewer = await in_session(stage, page)
        dead = Viewer()
        await page.send(type="offer", consultation="consultation-1", session="b_1", sdp=await dead.offer())
        await dead.take((await page.next("answer"))["sdp"])
        await until(lambda: len(dead.pictures) == 2 and all(dead.pictures))
        transports = {transceiver.sender.transport.transport for transceiver in dead.pc.getTransceivers()}
        for protocol in [protocol for ice in transports for protocol in ice._connection._protocols]:
            protocol.transport.abort()
        await goes_on(viewer)
        await goes_on(viewer)
        await dead.close()
        await viewer.close()


async def test_a_camera_that_vanishes_is_told_and_comes_back_beside_all_else(tmp_path: Path) -> None:
    camera = MjpegCamera()
    camera.plug_in()
    clips: dict[str, Any] = {"room": camera.url, "ultrasound": render_test_clip(tmp_path / "ultrasound.mp4", 20)}
    try:
        async with consultation_stage(tmp_path, clips) as stage, specialist(stage) as page:
            viewer = await in_session(stage, page)

            def told(feed: str) -> str:
                said = [message["feeds"][feed]["state"] for message in viewer.messages if message["type"] == "feeds"]
                return said[-1] if said else ""

            await until(lambda: told("room") == "live")
            camera.unplug()
            await until(lambda: told("room") == "lost")
            pictures = len(viewer.pictures[1])
            await until(lambda: len(viewer.pictures[1]) > pictures + 10)
            assert told("ultrasound") == "live"
            camera.plug_in()
            await until(lambda: told("room") == "live")
            await goes_on(viewer)
            await viewer.close()
    finally:
        camera.unplug()


async def test_an_opinion_by_a_wrong_clock_is_refused_and_can_be_signed_again(stage: Stage) -> None:
    async with specialist(stage) as page:
        viewer = await in_session(stage, page)
        key = Ed25519PrivateKey.generate()
        public_key = base64.b64encode(key.public_key().public_bytes_raw()).decode()

        def signed(at: datetime) -> dict[str, str]:
            opinion = {"findings": "a", "diagnosis": "b", "action": "refer", "advice": "c"}
            text = canonical_text(
                {
                    "format": "xunzhen-opinion/1",
                    "consultation": "consultation-1",
                    "origin": ORIGIN,
                    "specialist": "shen.ruochuan",
                    "specialist_name": "沈若川",
                    "title": "",
                    "institution": "",
                    "opinion": opinion,
                    "signed_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                }
            )
            signature = base64.b64encode(key.sign(text.encode())).decode()
            return {
                "consultation": "consultation-1",
                "signed_text": text,
                "signature": signature,
                "public_key": public_key,
            }

        async with AsyncClient(base_url=stage.url, headers={"Cookie": page.cookie}) as http:
            taken = await http.post("/specialist/key", data={"password": PASSWORD, "public_key": public_key})
            assert taken.is_success
        for wrong_h in (-3, 3):
            await page.send(type="opinion", signed=signed(datetime.now(UTC) + timedelta(hours=wrong_h)))
            refusal = await page.next("error")
            assert (refusal["word"], refusal["code"]) == ("clock", "message_refused")
        assert not stage.vehicle.opinions
        await goes_on(viewer)
        await page.send(type="opinion", signed=signed(datetime.now(UTC)))
        await until(lambda: len(stage.vehicle.opinions) == 1)
        assert json.loads(stage.vehicle.opinions[0].signed_text)["specialist"] == "shen.ruochuan"
        await viewer.close()
