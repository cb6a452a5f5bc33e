"""The van publishes to a real Janus by WHIP and plays out from it by WHEP, beside a specialist who looks on."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from consultation_stage import Stage, consultation_stage, serving, tcp_listener, until
from janus import TOKEN, Front, janus, needs_janus
from test_consultation_session import Camera, Tone, Viewer, accepted, specialist

from telemedicine.consultation import State
from telemedicine.settings import SfuSettings
from telemedicine.sfu.http_session import HttpSession

pytestmark = needs_janus
HOSPITAL_HZ, SPECIALIST_HZ = 880.0, 440.0


@dataclass
class Hospital:
    """The other end of the SFU: an aiortc peer that publishes or plays."""

    http: HttpSession
    viewer: Viewer

    async def publish(self) -> None:
        """A face and a tone."""
        pc = self.viewer.pc = RTCPeerConnection()
        codecs = RTCRtpSender.getCapabilities("video").codecs
        pc.addTransceiver(Camera(), direction="sendonly").setCodecPreferences(
            [codec for codec in codecs if codec.mimeType in ("video/H264", "video/rtx")]
        )
        pc.addTransceiver(Tone(HOSPITAL_HZ), direction="sendonly")
        await pc.setLocalDescription(await pc.createOffer())
        described = await self.http.open(pc.localDescription.sdp)
        await pc.setRemoteDescription(RTCSessionDescription(described.sdp, "answer"))
        await until(lambda: pc.connectionState == "connected")

    async def play(self) -> None:
        described = await self.http.open("v=0\r\n" + "a" * 20)
        assert described.is_offer
        pc = self.viewer.pc = RTCPeerConnection()
        pc.on("track", self.viewer._track)
        await pc.setRemoteDescription(RTCSessionDescription(described.sdp, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        await self.http.answer(pc.localDescription.sdp)
        await until(lambda: pc.connectionState == "connected")


@contextlib.asynccontextmanager
async def hospital(url: str) -> AsyncIterator[Hospital]:
    async with httpx.AsyncClient(trust_env=False) as client:
        made = Hospital(HttpSession(client, url, TOKEN), Viewer(videos=0, data=False))
        yield made
        await made.http.close()
        await made.viewer.close()


@contextlib.asynccontextmanager
async def sfu(folder: Path, *rooms: str) -> AsyncIterator[tuple[Front, str]]:
    async with janus(folder / "janus") as janus_url:
        front, listener = Front(janus_url), tcp_listener()
        await front.open(*rooms)
        async with serving(front.app(), listener):
            yield front, f"http://127.0.0.1:{listener.getsockname()[1]}"
            await front.close()


def lines(stage: Stage) -> dict[str, str]:
    return {line["what"]: line["state"] for line in stage.van.status()["sfu"]}


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "sfu.token"
    file.write_text(f"{TOKEN}\n")
    return file


async def test_pictures_and_voices_go_to_the_sfu_from_the_one_encoder_and_the_session_ends_there_too(
    tmp_path: Path, token: Path
) -> None:
    async with sfu(tmp_path, "ultrasound", "room") as (front, url):
        publish = {"ultrasound": f"{url}/whip/ultrasound", "room": f"{url}/whip/room"}
        settings = SfuSettings(name="县医院会诊中心", publish=publish, token=token)
        async with consultation_stage(tmp_path, sfu=(settings,)) as stage, specialist(stage) as page:
            assert lines(stage) == {"ultrasound": "idle", "room": "idle"}
            await accepted(stage, page)
            viewer = Viewer(tone_hz=SPECIALIST_HZ)
            await page.connect_media(viewer)
            await until(lambda: lines(stage) == {"ultrasound": "connected", "room": "connected"})
            async with hospital(f"{url}/whep/ultrasound") as there:
                await there.play()
                await until(lambda: there.viewer.pictures and len(there.viewer.pictures[0]) > 20)
                first, last = there.viewer.pictures[0][0], there.viewer.pictures[0][-1]
                assert np.abs(first.astype(int) - last).max() > 100, "the square in the clip moves"
                await until(lambda: len(there.viewer.sound) > 60)
                assert abs(there.viewer.loudest_hz() - SPECIALIST_HZ) < 15, "the specialist is heard in the hospital"
                ladder = stage.van._engine.ladders["ultrasound"]
                assert ladder.viewers == 2
                assert sum(rung.counts.opened > 0 for rung in ladder.rungs) == 1, "one encoder for both"
            came = [(access["who"], access["role"], access["here"]) for access in stage.vehicle.accesses]
            assert ("县医院会诊中心 (sfu/县医院会诊中心)", "observer", True) in came

            before = len(front.deleted)
            stage.vehicle.step("ended", "zhou.min", "")
            await until(lambda: len(front.deleted) == before + 2)
            assert not front.publishing("ultrasound")
            assert not front.publishing("room")
            await until(lambda: stage.vehicle.accesses[-1]["here"] is False)
            assert lines(stage) == {"ultrasound": "idle", "room": "idle"}
            await viewer.close()


async def test_what_the_hospital_sends_is_heard_by_all_and_seen_in_the_van(tmp_path: Path, token: Path) -> None:
    async with sfu(tmp_path, "doctors", "ultrasound") as (front, url), hospital(f"{url}/whip/doctors") as doctors:
        await doctors.publish()
        settings = SfuSettings(name="县医院", play=f"{url}/whep/doctors", token=token)
        async with consultation_stage(tmp_path, sfu=(settings,)) as stage, specialist(stage) as page:
            await accepted(stage, page)
            viewer = Viewer(tone_hz=SPECIALIST_HZ)
            await page.connect_media(viewer)
            await until(lambda: lines(stage) == {"play": "connected"})
            await until(lambda: stage.van.status()["face"] == "on")
            await until(lambda: len(viewer.sound) > 60 and abs(viewer.loudest_hz() - HOSPITAL_HZ) < 15)
            kiosk = Viewer(videos=3, data=False, tone_hz=500)
            await kiosk.take(await stage.van.kiosk_answer(await kiosk.offer()))
            await until(lambda: len(kiosk.pictures) == 3 and len(kiosk.pictures[2]) > 3)
            assert abs(float(kiosk.pictures[2][-1].mean()) - 150) < 15

            stage.vehicle.step("ended", "zhou.min", "")
            await until(lambda: len(front.deleted) == 1)
            assert stage.vehicle.state == State.ENDED
            await viewer.close()
            await kiosk.close()
