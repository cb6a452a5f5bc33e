"""A consultation on one machine: a small vehicle behind a Unix socket, the real exchange, the real media process.

The vehicle is a fake with the local API's shape and the real state table; accounts, fleet, exchange and van are the
production classes. Everything runs in the test's event loop on free ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from devices.clock import SystemClock
from devices.readings import Samples
from devices.wire import pack_samples
from sync.county.accounts import Accounts
from sync.county.database import Database
from sync.county.fleet import Fleet
from sync.county.mirror import Mirror
from sync.county.registry import Registry
from sync.county.schema import metadata
from sync.formats.notes import ED25519_COSIGNATURE
from sync.keys.vehicle_key import VehicleKey
from sync.web.access import PUBLIC, Caller, guarded_app, roles
from sync.web.pages import Pages
from telemedicine.consultation import OPEN, State, WrongMoment, next_state
from telemedicine.exchange.app import SOCKET_LIMIT_BYTES, Exchange, add_exchange
from telemedicine.exchange.turn import TurnCredentials
from telemedicine.media.h264 import H264, LIBX264
from telemedicine.opinion import OpinionRefused, SignedOpinion, verify_opinion
from telemedicine.settings import ConsultationSettings, ExchangeSettings, FeedSettings, IdentitySettings, SfuSettings
from telemedicine.transport import aiortc_patches
from telemedicine.van import Van

ORIGIN = "van-07.example"
CHANNELS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
RATE_HZ = 500
CHUNK = 20
SPECIALISTS = {"shen.ruochuan": "沈若川", "he.ping": "何平"}
PASSWORD = "a-long-password"

SUMMARY: dict[str, Any] = {
    "patient": {
        "name": "杨桂芳",
        "sex": "female",
        "age": 67,
        "masked_id": "51************0021",
    },
    "fields": {
        "chief_complaint": "右上腹隐痛 2 个月",
        "history": "牧区长大，家里养犬；未手术",
        "findings": "右上腹轻压痛",
        "preliminary": "肝囊性占位 K76.8",
        "question": "是活动期包虫吗？要不要转诊？",
    },
    "readings": [
        {
            "type": "blood_pressure",
            "values": {"systolic_mmhg": 162, "diastolic_mmhg": 98, "pulse_bpm": 76},
            "grade": "orange",
            "grade_word": "异常",
            "at": "2025-11-21T03:04:00Z",
        },
        {"type": "glucose", "values": {"glucose_mmol_l": 6.4}, "grade": "yellow", "grade_word": "注意"},
        {
            "type": "pulse_oximetry",
            "values": {"spo2_percent": 96, "pulse_bpm": 74},
            "grade": "green",
            "grade_word": "正常",
        },
    ],
    "village": {"code": "511900100201", "name": "云坪村", "township": "白果镇"},
    "doctor": {"id": "zhou.min", "name": "周敏", "role": "village_doctor"},
    "consent": {"signed_by": "patient", "read_aloud": True, "text_version": "consent/0"},
    "trends": [
        {
            "type": "blood_pressure",
            "values": {"systolic_mmhg": 128 + 6 * month, "diastolic_mmhg": 80 + 3 * month},
            "at": f"2025-{5 + month:02d}-11T03:00:00Z",
        }
        for month in range(5)
    ],
    "requested_at": "2025-11-21T03:20:00Z",
}


def ecg_count(index: int, channel: int) -> int:
    """What the fake device sends at one sample: a function, so that a test can check any number anywhere."""
    beat = index % 400
    spike = 900 * math.exp(-(((beat - 200) / 9.0) ** 2)) + 160 * math.exp(-(((beat - 290) / 26.0) ** 2))
    return round(spike * (0.6 + 0.1 * channel)) + (index % 7) - 3


def ecg_chunk(first: int, count: int = CHUNK, segment: int = 1) -> Samples:
    counts = [[ecg_count(index, channel) for channel in range(len(CHANNELS))] for index in range(first, first + count)]
    return Samples("ecg", CHANNELS, RATE_HZ, segment, first, np.array(counts, dtype=np.int16), 1.25, "uV")


@dataclass
class FakeVehicle:
    """The vehicle's local API with the real state table; remembers what it was told."""

    consultation: str = "consultation-1"
    state: State | None = None
    events: list[tuple[str, str, str]] = field(default_factory=list)
    opinions: list[SignedOpinion] = field(default_factory=list)
    accesses: list[dict[str, Any]] = field(default_factory=list)
    decision: dict[str, Any] | None = None
    practice: bool = False
    session_over: bool = False
    beside: dict[str, Any] = field(default_factory=dict)
    """What the summary has besides."""
    readings: list[dict[str, Any]] = field(default_factory=lambda: list(SUMMARY["readings"]))
    recordings: list[dict[str, Any]] = field(default_factory=list)
    readers: set[asyncio.Queue[str | bytes]] = field(default_factory=set)
    sent: int = 0
    """ECG samples sent so far."""

    def request(self, consultation: str = "consultation-1") -> None:
        self.consultation, self.state, self.decision = consultation, State.REQUESTED, None
        self.session_over = False
        self.tell({"type": "consultation", "consultation": consultation, "state": "requested"})

    def step(self, event: str, who: str = "", reason: str = "") -> None:
        assert self.state is not None
        after = next_state(self.state, event)
        hung_up = event == "ended" and not self.session_over
        self.session_over |= hung_up
        if after != self.state or hung_up:
            self.state = after
            self.events.append((event, who, reason))
            self.tell({"type": "consultation", "consultation": self.consultation, "state": str(after)})

    def decide(self, decision: str, plan: str) -> None:
        self.decision = {"decision": decision, "plan": plan, "by_name": "周敏"}
        assert self.state is not None
        self.state = next_state(self.state, "decision_signed")
        self.tell(
            {"type": "consultation", "consultation": self.consultation, "state": "closed", "decision": self.decision}
        )

    def tell(self, message: dict[str, Any]) -> None:
        self.feed(json.dumps(message))

    def feed(self, item: str | bytes) -> None:
        for queue in self.readers:
            queue.put_nowait(item)

    async def send_ecg(self) -> None:
        """For ever, at real time: 25 chunks of 20 samples a second."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            self.feed(pack_samples("ecg-1", ecg_chunk(self.sent)))
            self.sent += CHUNK
            await asyncio.sleep(max(0.0, began + self.sent / RATE_HZ - loop.time()))

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/api/consultation")
        async def consultation() -> Response:
            if self.state is None or self.state not in OPEN:
                return Response(status_code=204)
            summary = SUMMARY | {"practice": self.practice, "readings": self.readings, "recordings": self.recordings}
            summary |= {"session_over": True} if self.session_over else {}
            summary |= self.beside
            return JSONResponse(
                {"consultation": self.consultation, "state": self.state, "urgency": "urgent", "summary": summary}
            )

        @app.post("/api/consultation/{name}/event")
        async def event(name: str, request: Request) -> Response:
            body = await request.json()
            try:
                if name != self.consultation or self.state is None:
                    raise WrongMoment("no such consultation")
                self.step(body["event"], body["who"], body["reason"])
            except WrongMoment as refusal:
                return JSONResponse({"title": "", "cause": str(refusal), "next_step": ""}, 409)
            return JSONResponse({"state": self.state})

        @app.post("/api/consultation/{name}/access")
        async def access(name: str, request: Request) -> Response:
            self.accesses.append(await request.json())
            return JSONResponse({"consultation": name})

        @app.post("/api/consultation/{name}/opinion")
        async def opinion(name: str, request: Request) -> Response:
            signed = SignedOpinion.from_json(await request.json())
            try:
                verify_opinion(signed, name, ORIGIN)
                self.step("opinion_signed", "", "")
            except (OpinionRefused, WrongMoment) as refusal:
                return JSONResponse({"cause": str(refusal)}, 409)
            if signed not in self.opinions:
                self.opinions.append(signed)
            return JSONResponse({"state": self.state})

        @app.get("/api/samples")
        async def samples(device: str, segment: int, first: int, count: int) -> Response:
            return Response(pack_samples(device, ecg_chunk(first, count, segment)))

        @app.websocket("/live")
        async def live(feed: WebSocket) -> None:
            await feed.accept()
            queue: asyncio.Queue[str | bytes] = asyncio.Queue()
            queue.put_nowait(json.dumps({"type": "device", "device": "ecg-1", "link": "connected", "leads_off": []}))
            self.readers.add(queue)
            try:
                while True:
                    item = await queue.get()
                    await (feed.send_text(item) if isinstance(item, str) else feed.send_bytes(item))
            except (WebSocketDisconnect, RuntimeError, asyncio.CancelledError):
                pass  # the reader or this server is going away
            finally:
                self.readers.discard(queue)

        return app


class QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    server = QuietServer(
        uvicorn.Config(
            app,
            log_level="error",
            lifespan="off",
            timeout_graceful_shutdown=1,
            ws_max_size=SOCKET_LIMIT_BYTES,
            ws_ping_timeout=120,  # all parties share one event loop, and a busy computer holds it up
        )
    )
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:  # noqa: ASYNC110 (uvicorn has a flag, no event)
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


def tcp_listener(port: int = 0) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def unix_listener(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


class Received(dict[str, bytes]):
    """Recordings that the county has, by hash."""

    def has(self, sha256: str) -> bool:
        return sha256 in self

    def read(self, sha256: str) -> Iterator[bytes]:
        yield self[sha256]


@dataclass
class SmallCounty:
    accounts: Accounts
    fleet: Fleet
    blobs: Received


def exchange_app(folder: Path, key: VehicleKey, turn: TurnCredentials | None = None) -> tuple[FastAPI, Exchange]:
    """The exchange behind the real gate, with real accounts and fleet; ``/test/sign-in?as=ID`` signs in."""
    clock = SystemClock()
    database = Database(f"sqlite:///{folder / 'county.db'}", metadata)
    cosigner = VehicleKey.load_or_create(folder / "county.key", "county.example", algorithm=ED25519_COSIGNATURE)
    registry_key = VehicleKey.load_or_create(folder / "registry.key", "registry.county.example")
    registry = Registry(database, Mirror(database, cosigner, clock), registry_key, clock)
    county = SmallCounty(Accounts(database, clock, os.urandom), Fleet(database, registry, clock), Received())
    for account, name in SPECIALISTS.items():
        if county.accounts.get(account) is None:
            county.accounts.add(account, name, "specialist", PASSWORD)
    county.fleet.enrol(ORIGIN, str(key.verifier_key()))

    async def identify(connection: Any) -> Caller | None:
        account = county.accounts.get(connection.session.get("account", ""))
        return Caller(account.id, account.role, account.name) if account is not None else None

    app = guarded_app("exchange under test", identify, "x" * 40, secure_cookies=False)
    exchange = add_exchange(app, county, f"sqlite:///{folder / 'exchange.db'}", clock, turn=turn)
    exchange.store.set_profile("shen.ruochuan", "主任医师", "青峪县人民医院")
    Pages.mount(app)

    @app.get("/test/sign-in")
    @roles(PUBLIC)
    async def sign_in(request: Request) -> Response:
        request.session["account"] = request.query_params["as"]
        return RedirectResponse(request.query_params.get("to", "/specialist"), 303)

    app.state.received = county.blobs
    return app, exchange


def render_test_clip(file: Path, shade: int) -> Path:
    """Two seconds of a bright square that moves."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 20, (320, 240))
    for number in range(40):
        image = np.full((240, 320, 3), shade, dtype=np.uint8)
        cv2.rectangle(image, (number * 7, 80), (number * 7 + 40, 140), (240, 240, 240), -1)
        writer.write(image)
    writer.release()
    return file


def consultation_settings(
    folder: Path, port: int, clips: dict[str, Path], size: tuple[int, int]
) -> ConsultationSettings:
    width, height = size
    return ConsultationSettings(
        socket=folder / "consultation.sock",
        vehicle_socket=folder / "vehicle.sock",
        exchange=ExchangeSettings(url=f"ws://127.0.0.1:{port}/exchange/van"),
        identity=IdentitySettings(origin=ORIGIN, key=folder / "van.key"),
        feeds=[
            FeedSettings(name="room", source=str(clips["room"]), width=width, height=height, frame_rate_hz=15),
            FeedSettings(
                name="ultrasound", source=str(clips["ultrasound"]), width=width, height=height, frame_rate_hz=20
            ),
        ],
    )


@dataclass
class Stage:
    folder: Path
    port: int
    vehicle: FakeVehicle
    key: VehicleKey
    exchange: Exchange
    settings: ConsultationSettings
    van: Van
    received: Received

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def consultation_stage(
    folder: Path,
    clips: dict[str, Path] | None = None,
    h264: H264 | None = LIBX264,
    sfu: tuple[SfuSettings, ...] = (),
    size: tuple[int, int] | None = None,
) -> AsyncIterator[Stage]:
    """Everything up and joined; no consultation requested yet."""
    aiortc_patches.apply()
    key = VehicleKey.load_or_create(folder / "van.key", ORIGIN)
    vehicle = FakeVehicle()
    size = size or ((640, 480) if clips else (320, 240))
    clips = clips or {
        "room": render_test_clip(folder / "room.mp4", 60),
        "ultrasound": render_test_clip(folder / "ultrasound.mp4", 20),
    }
    listener = tcp_listener()
    port = listener.getsockname()[1]
    app, exchange = exchange_app(folder, key)
    settings = consultation_settings(folder, port, clips, size).model_copy(update={"sfu": sfu})
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(serving(vehicle.app(), unix_listener(settings.vehicle_socket)))
        await stack.enter_async_context(serving(app, listener))
        van = Van(settings, key, SystemClock(), lambda: 0.0, h264)
        work = [asyncio.create_task(van.run()), asyncio.create_task(vehicle.send_ecg())]
        stack.push_async_callback(_cancel, work)
        await until(lambda: van.status()["exchange"] == "joined" and van.status()["vehicle_feed"] == "up")
        yield Stage(folder, port, vehicle, key, exchange, settings, van, app.state.received)


async def _cancel(work: list[asyncio.Task[None]]) -> None:
    for task in work:
        task.cancel()
    _, hanging = await asyncio.wait(work, timeout=20)
    assert not hanging, [task.get_stack() for task in hanging]


async def until(condition: Any, timeout_s: float = 60.0) -> None:
    """Wait for ``condition()``; the bound is generous because the machine may be busy."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 (the condition lies in other processes and threads)
            await asyncio.sleep(0.02)
