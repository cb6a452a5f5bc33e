"""A whole consultation without a browser: the specialist is an aiortc peer that speaks the page's messages."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fractions
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError
from consultation_stage import CHANNELS, ORIGIN, PASSWORD, Stage, consultation_stage, ecg_count, until
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import ClientConnection, connect

from devices.readings import Samples
from devices.wire import unpack_samples
from telemedicine import heap
from telemedicine.consultation import State
from telemedicine.opinion import canonical_text

TONE_HZ = 440


class Tone(MediaStreamTrack):
    """A sine at 48 kHz, in real time."""

    kind = "audio"

    def __init__(self, hz: float = TONE_HZ) -> None:
        super().__init__()
        self._hz, self._n, self._began = hz, 0, 0.0

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now = asyncio.get_running_loop().time()
        self._began = self._began or now
        await asyncio.sleep(max(0.0, self._began + self._n * 0.02 - now))
        times = (np.arange(960) + self._n * 960) / 48_000
        wave = (8000 * np.sin(2 * np.pi * self._hz * times)).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._n * 960, fractions.Fraction(1, 48_000)
        self._n += 1
        return frame


class Camera(VideoStreamTrack):
    """A specialist's face: one grey."""

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 150, dtype=np.uint8), format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Viewer:
    """What a page does with WebRTC: makes the offer, counts pictures, keeps samples and sound."""

    def __init__(
        self,
        videos: int = 2,
        data: bool = True,
        tone_hz: float = TONE_HZ,
        camera: MediaStreamTrack | None = None,
        relays: Sequence[RTCIceServer] = (),
    ) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=list(relays)))
        for _ in range(videos):
            self.pc.addTransceiver("video", direction="recvonly")
        if camera is not None:
            self.pc.addTransceiver(camera, direction="sendonly")
        self.pc.addTrack(Tone(tone_hz))
        self.pictures: list[list[np.ndarray[Any, Any]]] = []
        self.sound: list[np.ndarray[Any, Any]] = []
        self.samples: list[Samples] = []
        self.messages: list[dict[str, Any]] = []
        self.backfilled: list[Samples] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.pc.on("track", self._track)
        if data:
            self.live = self.pc.createDataChannel("live", ordered=False, maxRetransmits=0)
            self.vitals = self.pc.createDataChannel("vitals")
            self.live.on("message", lambda frame: self.samples.append(unpack_samples(frame)[1]))
            self.vitals.on("message", self._vital)

    def _vital(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.backfilled.append(unpack_samples(message)[1])
        else:
            self.messages.append(json.loads(message))

    def _track(self, track: MediaStreamTrack) -> None:
        kept: list[Any] = []
        if track.kind == "video":
            self.pictures.append(kept)
        self._tasks.append(asyncio.create_task(self._consume(track, kept)))

    async def _consume(self, track: MediaStreamTrack, kept: list[Any]) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if isinstance(frame, av.VideoFrame):
                    kept.append(frame.to_ndarray(format="gray"))
                else:
                    self.sound.append(frame.to_ndarray().reshape(-1, 2)[:, 0])
                    del self.sound[:-100]

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def take(self, sdp: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    def loudest_hz(self) -> float:
        heard = np.concatenate(self.sound[-40:]).astype(float)
        spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
        return float(np.argmax(spectrum) * 48_000 / len(heard))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.pc.close()


class SpecialistPage:
    """The socket of a specialist's page."""

    def __init__(self, socket: ClientConnection, cookie: str, stage: Stage) -> None:
        self.socket, self.cookie, self.stage = socket, cookie, stage
        self.received: list[dict[str, Any]] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for text in self.socket:
            self.received.append(json.loads(text))

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    def last(self, kind: str) -> dict[str, Any] | None:
        return next((message for message in reversed(self.received) if message["type"] == kind), None)

    def state(self) -> str | None:
        case = self.last("case")
        return case["case"]["state"] if case else None

    async def next(self, kind: str) -> dict[str, Any]:
        """The next message of this type that has not been read yet."""
        await until(lambda: any(message["type"] == kind for message in self.received))
        found = next(message for message in self.received if message["type"] == kind)
        self.received.remove(found)
        return found

    async def connect_media(self, viewer: Viewer, session: str = "s1") -> None:
        await self.send(type="offer", consultation="consultation-1", session=session, sdp=await viewer.offer())
        answer = await self.next("answer")
        assert answer["session"] == session
        await viewer.take(answer["sdp"])
        await until(lambda: viewer.pc.connectionState == "connected")


@contextlib.asynccontextmanager
async def specialist(stage: Stage, account: str = "shen.ruochuan") -> AsyncIterator[SpecialistPage]:
    async with httpx.AsyncClient(base_url=stage.url) as http:
        await http.get("/test/sign-in", params={"as": account})
        cookie = f"xunzhen_session={http.cookies['xunzhen_session']}"
    async with connect(
        f"{stage.url.replace('http', 'ws', 1)}/exchange/specialist",
        additional_headers={"Cookie": cookie},
        proxy=None,
        ping_timeout=120,
    ) as socket:
        yield SpecialistPage(socket, cookie, stage)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with consultation_stage(tmp_path) as ready:
        yield ready


async def accepted(stage: Stage, page: SpecialistPage) -> None:
    stage.vehicle.request()
    await until(lambda: stage.vehicle.state == State.INVITED and page.state() == "invited")
    await page.send(type="accept", consultation="consultation-1")
    await until(lambda: page.state() == "accepted")


async def test_pictures_voice_and_the_very_samples_reach_the_specialist(stage: Stage) -> None:
    async with specialist(stage) as page:
        await accepted(stage, page)
        assert stage.vehicle.events == [("invited", "", ""), ("accepted", "沈若川, 主任医师 (shen.ruochuan)", "")]
        viewer, kiosk = Viewer(), Viewer(data=False, tone_hz=880)
        await kiosk.take(await stage.van.kiosk_answer(await kiosk.offer()))
        await page.connect_media(viewer)
        await until(lambda: stage.vehicle.state == State.CONNECTED)
        await until(lambda: all(len(feed) > 20 for feed in (*viewer.pictures, *kiosk.pictures)))
        for feed in (*viewer.pictures, *kiosk.pictures):
            assert feed[-1].shape == (240, 320)
            assert np.abs(feed[-1].astype(int) - feed[-8].astype(int)).max() > 100, "the picture moves"
        room, ultrasound = (float(np.median(feed[-1])) for feed in viewer.pictures)
        assert room > ultrasound + 20, "room is the first video line, ultrasound the second"

        await until(lambda: len(viewer.samples) > 50)
        assert viewer.samples[0].channels == CHANNELS
        for chunk in viewer.samples:
            expected = [[ecg_count(chunk.first_index + i, c) for c in range(8)] for i in range(len(chunk.counts))]
            assert chunk.counts.tolist() == expected
        assert any(message["type"] == "device" for message in viewer.messages), "states are told on joining"

        await until(lambda: len(viewer.sound) > 60 and len(kiosk.sound) > 60)
        await until(lambda: abs(viewer.loudest_hz() - 880) < 15 and abs(kiosk.loudest_hz() - 440) < 15)
        await viewer.close()
        await kiosk.close()


async def test_the_specialists_face_is_in_the_van_while_the_camera_runs(stage: Stage) -> None:
    async with specialist(stage) as page:
        await accepted(stage, page)
        camera = Camera()
        viewer, kiosk = Viewer(camera=camera), Viewer(videos=3, data=False)
        await kiosk.take(await stage.van.kiosk_answer(await kiosk.offer()))
        await page.connect_media(viewer)
        await until(lambda: len(kiosk.pictures[2]) > 5)
        assert kiosk.pictures[2][-1].shape == (240, 320)
        assert abs(float(np.median(kiosk.pictures[2][-1])) - 150) < 12
        assert stage.van.status()["face"] == "on"
        camera.stop()
        await until(lambda: stage.van.status()["face"] == "off")
        shown = len(kiosk.pictures[2])
        await until(lambda: len(kiosk.pictures[0]) > 20)
        assert len(kiosk.pictures[2]) <= shown + 2, "no picture stands for a face that is not sent"
        await viewer.close()
        await kiosk.close()


async def test_without_an_encoder_voice_and_data_go_on(tmp_path: Path) -> None:
    async with consultation_stage(tmp_path, h264=None) as stage, specialist(stage) as page:
        status = stage.van.status()
        assert status["h264_encoder"] is None
        assert {name: feed["state"] for name, feed in status["feeds"].items()} == {
            "room": "no_h264_encoder",
            "ultrasound": "no_h264_encoder",
        }
        await accepted(stage, page)
        viewer, kiosk = Viewer(camera=Camera()), Viewer(videos=3, data=False, tone_hz=880)
        await kiosk.take(await stage.van.kiosk_answer(await kiosk.offer()))
        await page.connect_media(viewer)
        await until(lambda: len(viewer.samples) > 20 and len(viewer.sound) > 60)
        await until(lambda: abs(viewer.loudest_hz() - 880) < 15)
        assert not any(viewer.pictures)
        told = next(message for message in reversed(viewer.messages) if message["type"] == "feeds")
        assert told["feeds"]["ultrasound"]["state"] == "no_h264_encoder"
        await viewer.close()
        await kiosk.close()


async def test_missed_samples_are_given_on_request(stage: Stage) -> None:
    async with specialist(stage) as page:
        await accepted(stage, page)
        viewer = Viewer()
        await page.connect_media(viewer)
        await until(lambda: viewer.vitals.readyState == "open" and viewer.samples)
        viewer.vitals.send(json.dumps({"type": "backfill", "device": "ecg-1", "segment": 1, "first": 100, "count": 40}))
        await until(lambda: viewer.backfilled)
        assert viewer.backfilled[0].first_index == 100
        assert viewer.backfilled[0].counts[0].tolist() == [ecg_count(100, channel) for channel in range(8)]
        viewer.vitals.send("{ not json")
        await until(lambda: any(message["type"] == "error" for message in viewer.messages))
        await viewer.close()


async def test_a_lost_link_is_told_and_the_same_specialist_comes_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[str] = []
    monkeypatch.setattr(heap, "give_back", lambda: given_back.append(str(stage.vehicle.state)))
    async with specialist(stage) as page:
        await accepted(stage, page)
        first = Viewer()
        await page.connect_media(first, "s1")
        await until(lambda: stage.vehicle.state == State.CONNECTED)
        await first.close()
        await until(lambda: stage.vehicle.state == State.INTERRUPTED)
        second = Viewer()
        await page.connect_media(second, "s2")
        await until(lambda: stage.vehicle.state == State.CONNECTED and len(second.samples) > 5)
        await page.send(type="hang_up", consultation="consultation-1")
        await until(lambda: stage.vehicle.state == State.ENDED)
        await until(lambda: second.pc.connectionState in ("closed", "failed", "disconnected"))
        await second.close()
        await until(lambda: State.ENDED in given_back)


async def test_two_pages_of_one_specialist_do_not_throw_each_other_out(stage: Stage) -> None:
    async with specialist(stage) as page:
        await accepted(stage, page)
        first, second = Viewer(), Viewer()
        await page.connect_media(first, "office_1")
        await page.connect_media(second, "phone_1")
        await until(lambda: len(second.samples) > 10)
        before = len(first.samples)
        await until(lambda: len(first.samples) > before + 10)
        await second.close()
        await until(lambda: stage.van.status()["viewers"] == ["shen.ruochuan"])
        assert stage.vehicle.state == State.CONNECTED, "one page is still there"
        await first.close()
        await until(lambda: stage.vehicle.state == State.INTERRUPTED)


async def test_opinion_reaches_the_journal_and_the_decision_comes_back(stage: Stage) -> None:
    async with specialist(stage) as page:
        await accepted(stage, page)
        key = Ed25519PrivateKey.generate()
        public_key = base64.b64encode(key.public_key().public_bytes_raw()).decode()
        text = canonical_text(
            {
                "format": "xunzhen-opinion/1",
                "consultation": "consultation-1",
                "origin": ORIGIN,
                "specialist": "shen.ruochuan",
                "specialist_name": "沈若川",
                "title": "主任医师",
                "institution": "青峪县人民医院",
                "opinion": {
                    "findings": "囊性占位",
                    "diagnosis": "肝囊肿",
                    "action": "refer",
                    "advice": "两周内到县医院",
                },
                "signed_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            }
        )
        signed = {
            "consultation": "consultation-1",
            "signed_text": text,
            "signature": base64.b64encode(key.sign(text.encode())).decode(),
            "public_key": public_key,
        }
        await page.send(type="opinion", signed=signed)
        assert "confirm your password" in (await page.next("error"))["message"]
        async with httpx.AsyncClient(base_url=stage.url, headers={"Cookie": page.cookie}) as http:
            wrong = await http.post("/specialist/key", data={"password": "wrong-one", "public_key": public_key})
            assert wrong.status_code == 403
            right = await http.post("/specialist/key", data={"password": PASSWORD, "public_key": public_key})
            assert right.status_code == 200
        forged = {**signed, "signed_text": text.replace("肝囊肿", "血管瘤")}
        await page.send(type="opinion", signed=forged)
        assert "does not fit" in (await page.next("error"))["message"]
        assert not stage.vehicle.opinions
        await page.send(type="opinion", signed=signed)
        await until(lambda: page.state() == "opinion_signed" and page.last("case")["case"]["opinion"]["in_journal"])
        assert stage.vehicle.opinions[0].signed_text == text
        stage.vehicle.decide("accept", "两周内送县医院")
        await until(lambda: page.state() == "closed")
        assert page.last("case")["case"]["decision"]["plan"] == "两周内送县医院"


async def test_declining_names_the_reason(stage: Stage) -> None:
    async with specialist(stage) as page:
        stage.vehicle.request()
        await until(lambda: page.state() == "invited")
        rooms = stage.exchange.rooms
        van = rooms._vans.pop(ORIGIN)
        await page.send(type="decline", consultation="consultation-1", reason="手术中，请找何平")
        assert (await page.next("error"))["word"] == "van_away"
        assert rooms.case_for("shen.ruochuan", "consultation-1"), "nobody heard it: the invitation stands"
        rooms._vans[ORIGIN] = van
        await page.send(type="decline", consultation="consultation-1", reason="手术中，请找何平")
        await until(lambda: stage.vehicle.state == State.DECLINED)
        assert stage.vehicle.events[-1] == ("declined", "沈若川, 主任医师 (shen.ruochuan)", "手术中，请找何平")


async def test_second_specialist_is_told_that_it_is_taken(stage: Stage) -> None:
    async with specialist(stage) as page, specialist(stage, "he.ping") as other:
        stage.vehicle.request()
        await until(lambda: page.state() == "invited" and other.state() == "invited")
        await page.send(type="accept", consultation="consultation-1")
        await until(lambda: page.state() == "accepted")
        await until(lambda: other.received[-1] == {"type": "gone", "consultation": "consultation-1"})
        viewer = Viewer()
        await other.send(type="offer", consultation="consultation-1", session="x", sdp=await viewer.offer())
        assert "not yours" in (await other.next("error"))["message"]
        await viewer.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{ not json", "Invalid JSON"),
        ('{"type":"accept"}', "Field required"),
        ('{"type":"reboot"}', "tag"),
        ('{"type":"accept","consultation":"consultation-1","extra":1}', "Extra inputs"),
        (json.dumps({"type": "offer", "consultation": "consultation-1", "session": "s", "sdp": "x" * 70_000}), "60000"),
        ('{"type":"decline","consultation":"consultation-1","reason":"' + "x" * 250_000 + '"}', "200000"),
        (
            json.dumps({"type": "offer", "consultation": "consultation-1", "session": "s", "sdp": "v=0 and no more"}),
            "session",
        ),
    ],
)
async def test_bad_signalling_is_refused_in_words_and_disturbs_nobody(stage: Stage, text: str, why: str) -> None:
    async with specialist(stage) as page, specialist(stage) as troublemaker:
        await accepted(stage, page)
        viewer = Viewer()
        await page.connect_media(viewer)
        await until(lambda: viewer.samples)
        await troublemaker.socket.send(text)
        await until(lambda: any(message["type"] in ("error", "refused") for message in troublemaker.received))
        told = next(message for message in troublemaker.received if message["type"] in ("error", "refused"))
        assert why in (told.get("message") or told["reason"])
        before = len(viewer.samples)
        await until(lambda: len(viewer.samples) > before + 10)
        assert viewer.pc.connectionState == "connected"
        await viewer.close()
