"""A real Janus, and in front of it the WHIP and WHEP endpoints that Debian's Janus has no server for.

Each endpoint is a room of Janus's VideoRoom plugin (https://janus.conf.meetecho.com/docs/videoroom.html). Whoever
publishes gives the offer; whoever subscribes gets one from Janus, which is WHEP's 406 (draft-ietf-wish-whep-02, 4.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response

PLUGINS = Path("/usr/lib/x86_64-linux-gnu/janus")
TOKEN = "a-token-of-the-hospital"
SDP = "application/sdp"
UP_WITHIN_S = 15.0

needs_janus = pytest.mark.skipif(shutil.which("janus") is None, reason="needs janus")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _configure(folder: Path, port: int) -> None:
    """Only what is needed: the VideoRoom plugin and the HTTP API on the loopback address."""
    folder.mkdir()
    others = {
        kind: ",".join(file.name for file in PLUGINS.glob(f"{kind}/*.so*") if kept not in file.name)
        for kind, kept in (("plugins", "videoroom"), ("transports", "http"))
    }
    (folder / "janus.jcfg").write_text(
        "general: { session_timeout = 30; debug_level = 4; }\nmedia: { ipv6 = false; }\n"
        f'plugins: {{ disable = "{others["plugins"]}"; }}\ntransports: {{ disable = "{others["transports"]}"; }}\n'
    )
    (folder / "janus.plugin.videoroom.jcfg").write_text("general: { }\n")
    (folder / "janus.transport.http.jcfg").write_text(
        f'general: {{ json = "compact"; base_path = "/janus"; http = true; port = {port}; ip = "127.0.0.1"; }}\n'
    )


@contextlib.asynccontextmanager
async def janus(folder: Path) -> AsyncIterator[str]:
    """The URL of its HTTP API."""
    port = _free_port()
    _configure(folder, port)
    log = folder / "janus.log"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec("janus", "-F", str(folder), stdout=said, stderr=said)
    try:
        url = f"http://127.0.0.1:{port}/janus"
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(UP_WITHIN_S):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{url}/info")).is_success:
                        break
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class _Handle:
    """One attachment to the VideoRoom plugin, in a session of its own."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client, self._url, self._handle = client, url, ""
        self._polling: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def attach(self) -> _Handle:
        session = (await self._ask(self._url, janus="create"))["data"]["id"]
        self._url = f"{self._url}/{session}"
        handle = (await self._ask(self._url, janus="attach", plugin="janus.plugin.videoroom"))["data"]["id"]
        self._handle = f"{self._url}/{handle}"
        self._polling = asyncio.create_task(self._poll())
        return self

    async def say(self, body: dict[str, Any], jsep: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the plugin says to ``body``: the answer itself, or the event that follows it."""
        said = await self._ask(self._handle, janus="message", body=body, **({"jsep": jsep} if jsep else {}))
        async with asyncio.timeout(10):
            while said["janus"] == "ack" or "plugindata" not in said:
                said = await self._events.get()
        data = said["plugindata"]["data"]
        assert "error" not in data, data
        return {**data, "jsep": said.get("jsep")}

    async def leave(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
        await self._ask(self._url, janus="destroy")

    async def _ask(self, url: str, **message: Any) -> dict[str, Any]:
        answer = await self._client.post(url, json={"transaction": uuid.uuid4().hex, **message}, timeout=10)
        said: dict[str, Any] = answer.json()
        assert said["janus"] in ("success", "ack"), said
        return said

    async def _poll(self) -> None:
        while True:
            answer = await self._client.get(self._url, params={"maxev": 1}, timeout=60)
            self._events.put_nowait(answer.json())


class Front:
    """WHIP and WHEP endpoints ``/whip/ROOM`` and ``/whep/ROOM`` for the bearer of ``TOKEN``.

    :ivar deleted: sessions whose owner has ended them
    """

    def __init__(self, janus_url: str) -> None:
        self._janus_url = janus_url
        self._client = httpx.AsyncClient(trust_env=False)
        self._sessions: dict[str, _Handle] = {}
        self._rooms: dict[str, int] = {}
        self._publisher: dict[str, str] = {}
        self.deleted: list[str] = []

    async def open(self, *rooms: str) -> None:
        handle = await _Handle(self._client, self._janus_url).attach()
        for number, room in enumerate(rooms, 1):
            made = {"request": "create", "room": number, "publishers": 1, "videocodec": "h264", "audiocodec": "opus"}
            await handle.say({**made, "bitrate": 4_000_000, "transport_wide_cc_ext": True})
            self._rooms[room] = number
        self._sessions["rooms"] = handle

    async def close(self) -> None:
        for handle in self._sessions.values():
            with contextlib.suppress(httpx.HTTPError):
                await handle.leave()
        await self._client.aclose()

    def publishing(self, room: str) -> bool:
        return room in self._publisher

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def token(request: Request, call_next: Any) -> Response:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return Response("no such token", 401)
            answer: Response = await call_next(request)
            return answer

        @app.post("/whip/{room}")
        async def whip(room: str, request: Request) -> Response:
            if room not in self._rooms:
                return Response("no such room", 404)
            if room in self._publisher:
                return Response("somebody publishes here already", 409)
            handle = await _Handle(self._client, self._janus_url).attach()
            body = {"request": "joinandconfigure", "ptype": "publisher", "room": self._rooms[room], "id": 7}
            said = await handle.say(body, {"type": "offer", "sdp": (await request.body()).decode()})
            return self._created(room, handle, said, publishes=True)

        @app.post("/whep/{room}")
        async def whep(room: str) -> Response:
            if room not in self._publisher:
                return Response("nobody publishes here", 404)
            handle = await _Handle(self._client, self._janus_url).attach()
            body = {"request": "join", "ptype": "subscriber", "room": self._rooms[room], "streams": [{"feed": 7}]}
            return self._created(room, handle, await handle.say(body), publishes=False)

        @app.patch("/session/{name}")
        async def answered(name: str, request: Request) -> Response:
            if name not in self._sessions:
                return Response(status_code=404)
            sdp = (await request.body()).decode()
            await self._sessions[name].say({"request": "start"}, {"type": "answer", "sdp": sdp})
            return Response(status_code=204)

        @app.delete("/session/{name}")
        async def ended(name: str) -> Response:
            handle = self._sessions.pop(name, None)
            if handle is None:
                return Response(status_code=404)
            await handle.leave()
            self._publisher = {room: owner for room, owner in self._publisher.items() if owner != name}
            self.deleted.append(name)
            return Response()

        return app

    def _created(self, room: str, handle: _Handle, said: dict[str, Any], publishes: bool) -> Response:
        name = uuid.uuid4().hex
        self._sessions[name] = handle
        if publishes:
            self._publisher[room] = name
        headers = {"Location": f"/session/{name}", "ETag": '"1"'}
        return Response(said["jsep"]["sdp"], 201 if publishes else 406, headers, SDP)
