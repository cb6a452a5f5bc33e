"""Which camera shows what: said at the touchscreen, kept beside the journal, with who said it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from touch_bench import PIN, Bench

from devices.cameras import Camera
from devices.clock import SimulatedClock
from sync.formats.records import read_entry
from vehicle.camera_choice import FILE, CameraChoice, CameraGone
from vehicle.touchscreen.app import create_touchscreen

WEBCAM = Camera("/dev/v4l/by-path/usb-1-video-index0", "/dev/video0", "HD Webcam", "046d:0825", "1-1")
CARD = Camera("/dev/v4l/by-path/usb-4-video-index0", "/dev/video2", "USB Video", "534d:2109", "1-4")
PAGE = "/status/devices/add/camera"


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    yield made
    await made.vehicle.stop()


def plugged(bench: Bench, *there: Camera) -> CameraChoice:
    choice = bench.vehicle.camera_choice = CameraChoice(
        bench.settings.data, bench.vehicle.store, lambda: sorted(there, key=lambda camera: camera.path)
    )
    return choice


async def test_each_picture_has_one_camera_and_each_camera_one_picture(bench: Bench) -> None:
    choice = plugged(bench, WEBCAM, CARD)
    await choice.choose(CARD.path, "room", "zhou.min")
    await choice.choose(CARD.path, "ultrasound", "zhou.min")
    await choice.choose(WEBCAM.path, "room", "zhou.min")
    assert json.loads((bench.settings.data / FILE).read_text()) == {"room": WEBCAM.path, "ultrasound": CARD.path}
    await choice.give_back("room", "zhou.min")
    assert choice.chosen() == {"ultrasound": CARD.path}
    store = bench.vehicle.store
    noted = [read_entry(body) for body in store.entries(0, store.size())]
    assert [(one.by, one.fields["what"]) for one in noted if one.fields.get("action") == "camera_chosen"][-2:] == [
        ("zhou.min", f"room {WEBCAM.path}"),
        ("zhou.min", "room as in the settings"),
    ]


async def test_a_camera_that_was_pulled_out_is_refused_and_nothing_changes(bench: Bench) -> None:
    choice = plugged(bench, WEBCAM)
    await choice.choose(WEBCAM.path, "room", "zhou.min")
    with pytest.raises(CameraGone):
        await choice.choose(CARD.path, "room", "zhou.min")
    assert choice.chosen() == {"room": WEBCAM.path}


async def test_on_the_page_a_camera_is_named_and_one_that_is_away_is_told(bench: Bench) -> None:
    plugged(bench, WEBCAM, CARD)
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van", follow_redirects=True) as caller:
        await caller.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        assert PAGE in (await caller.get("/status/devices/add")).text
        text = (await caller.post(PAGE, data={"camera": CARD.path, "picture": "ultrasound"})).text
        assert f'data-path="{CARD.path}" data-shows="ultrasound"' in text
        assert "超声画面改用这个摄像头" in text
    plugged(bench, WEBCAM)
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van") as caller:
        await caller.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        assert "超声采集卡没有插上" in (await caller.get(PAGE)).text


async def test_the_page_shows_what_a_camera_shows_or_why_it_shows_nothing(bench: Bench) -> None:
    plugged(bench, WEBCAM)
    answers = [b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 4\r\n\r\nJPEG"]
    refused = json.dumps({"detail": {"code": "camera_in_consultation", "reason": "busy"}}).encode()
    head = f"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: {len(refused)}\r\n\r\n"
    answers.append(head.encode() + refused)
    asked: list[bytes] = []

    async def consultation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
        writer.write(answers.pop(0))
        await writer.drain()
        writer.close()

    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van") as caller:
        await caller.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        assert f'data-still="{WEBCAM.path}"' in (await caller.get(PAGE)).text
        away = await caller.get(f"{PAGE}/still", params={"camera": WEBCAM.path})
        assert (away.status_code, away.json()["code"]) == (409, "consultation_down")
        async with await asyncio.start_unix_server(consultation, bench.settings.consultation.socket):
            still = await caller.get(f"{PAGE}/still", params={"camera": WEBCAM.path})
            assert (still.headers["content-type"], still.content) == ("image/jpeg", b"JPEG")
            busy = await caller.get(f"{PAGE}/still", params={"camera": WEBCAM.path})
            assert (busy.status_code, busy.json()["code"]) == (409, "camera_in_consultation")
            gone = await caller.get(f"{PAGE}/still", params={"camera": "/etc/passwd"})
            assert gone.json()["code"] == "camera_gone"
    assert len(asked) == 2
    assert asked[0].startswith(b"/camera/still?camera=%2Fdev%2Fv4l")
