"""What the touchscreen says of pictures, link and SFU while a session is on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from playwright.sync_api import expect
from test_ultrasound_pages import serve

from telemedicine.consultation import Event
from vehicle.consultation_request import FIELDS, PNG, Consent

pytestmark = pytest.mark.browser

GOOD = {
    "feeds": {"ultrasound": {"state": "live", "fps": 29.6}, "room": {"state": "live", "fps": 25.0}},
    "link": {"rung": "live", "up_kbit_s": 3210, "rtt_ms": 52},
    "sfu": [{"name": "县医院", "what": "ultrasound", "state": "connected"}],
}
BAD = {
    "feeds": {"ultrasound": {"state": "lost", "fps": 0.0}, "room": {"state": "frozen", "fps": 25.0}},
    "link": {"rung": "audio_ecg", "up_kbit_s": 90, "rtt_ms": 820},
    "sfu": [
        {"name": "县医院", "what": "ultrasound", "state": "refused", "code": "sfu_unauthorized", "reason": "401"},
        {"name": "县医院", "what": "play", "state": "idle"},
    ],
}

BAD_SAID = {
    "zh": [
        "超声：图像来源断了，看接线和电源",
        "车内：图像不动，看机器是否冻结",
        "网很慢，只有声音和心电：上行 0.1 Mbit/s，往返 820 ms",
        "医院的会诊服务器不认这辆车",
    ],
    "en": [
        "Ultrasound: no picture, check cable and power",
        "Room: does not change; is the machine frozen?",
        "Very slow link, voice and ECG only: up 0.1 Mbit/s, round trip 820 ms",
        "The hospital's SFU does not know this van",
    ],
}


@contextlib.asynccontextmanager
async def media_status(status: dict[str, Any], socket: Path) -> AsyncIterator[None]:
    app = FastAPI()

    @app.get("/status")
    async def told() -> dict[str, Any]:
        return status

    server = uvicorn.Server(uvicorn.Config(app, uds=str(socket), log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn has a flag, no event)
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def status() -> dict[str, Any]:
    return dict(GOOD)


@pytest.fixture
def van(tmp_path: Path, status: dict[str, Any]) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at((30.60, 104.00)))
        media = media_status(status, tmp_path / "consultation.sock")
        running.wait(lambda bench: media.__aenter__())
        yield running
        running.wait(lambda bench: media.__aexit__(None, None, None))


def figures(page: Any, wanted: list[str]) -> None:
    """Wait until the lines say just this."""
    try:
        page.wait_for_function(
            "wanted => JSON.stringify([...document.querySelectorAll('#feed-figures li')].map((li) => li.textContent))"
            " === JSON.stringify(wanted)",
            arg=wanted,
        )
    except Exception:
        raise AssertionError(page.locator("#feed-figures li").all_inner_texts()) from None


def test_pictures_link_and_sfu_are_said_with_their_figures(
    van: Van, browser: Any, status: dict[str, Any], complaints: Callable[[Any], list[str]], tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    page = context.new_page()
    page.set_default_timeout(90_000)
    serve(van, page)
    consent = Consent(PNG + bytes(40), read_aloud=True, signed_by="patient")

    asked: list[str] = []

    async def ask(bench: Any) -> None:
        made = await bench.vehicle.consultations.request(
            dict.fromkeys(FIELDS, "头晕三天"), "routine", consent, "zhou.min"
        )
        asked.append(made.consultation)

    async def begin(bench: Any) -> None:
        for event in (Event.INVITED, Event.ACCEPTED, Event.CONNECTED):
            await bench.vehicle.consultations.change(asked[0], event, "沈若川, 主任医师 (shen.ruochuan)")

    van.wait(ask)
    page.goto(f"{van.address}/consult")
    waits = page.get_by_test_id("waiting-told")
    expect(waits).to_have_text("专家接受后这一页自己变", timeout=90_000)
    status["exchange"] = "lost"
    expect(waits).to_contain_text("连不上县里的会诊服务", timeout=90_000)
    assert complaints(page) == []
    status["exchange"] = "refused"
    expect(waits).to_contain_text("请县管理员核对这辆车的登记和密钥", timeout=90_000)
    assert complaints(page) == []
    status["exchange"] = "joined"
    expect(waits).to_have_text("专家接受后这一页自己变", timeout=90_000)
    van.wait(begin)
    figures(page, ["超声 30 帧/秒", "车内 25 帧/秒", "上行 3.2 Mbit/s，往返 52 ms", "县医院已接通"])
    for language, theme in (("zh", "day"), ("en", "night")):
        status.update(BAD)
        page.goto(f"{van.address}/consult?lang={language}&theme={theme}")
        figures(page, BAD_SAID[language])
        assert complaints(page) == []
        page.screenshot(path=str(tmp_path / f"figures-{language}.png"))
    context.close()
