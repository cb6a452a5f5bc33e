"""Live data in real Chromium: what was lost is filled in, and the ECG is not later than the picture beside it."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Browser
from test_specialist import (
    CHUNK,
    RATE_HZ,
    Stage,
    becomes,
    browser,
    clips,
    counter,
    ecg_count,
    enter_session,
    moves,
    signed_in,
    stage,
    until,
)

from telemedicine.peer import Leg
from xunzhen.demo.clips import read_counter

pytestmark = pytest.mark.browser
__all__ = ["browser", "clips", "stage"]

CLIP_FPS = 20
LATER_AT_MOST_S = 0.1
LOOKS = 25
NEXT_ECG = "(() => { const it = window.xunzhen.samples('ecg'); return it.first_index + it.counts.length; })()"
HOLES = "window.xunzhen.samples('ecg').counts.filter((row) => row[0] === -32768).length"


class Tunnel:
    """A way to the exchange whose open connections can fall silent without a word, as after a computer's sleep."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._silent = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    def fall_silent(self) -> None:
        """Nothing more comes through the connections that are open now; new ones work."""
        self._silent.set()
        self._silent = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent = self._silent
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, inner_writer]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    if not silent.is_set():
                        sink.write(data)
                if not silent.is_set():
                    sink.close()

        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.mark.long
async def test_a_line_that_died_in_a_sleep_is_found_and_the_session_goes_on(stage: Stage, browser: Browser) -> None:
    tunnel = Tunnel(stage.port)
    server = await asyncio.start_server(tunnel.serve, "127.0.0.1", 0)
    through = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    context = await browser.new_context(base_url=through)
    page = await context.new_page()
    await page.goto("/test/sign-in?as=shen.ruochuan&to=/specialist")
    await enter_session(stage, page)
    tunnel.fall_silent()
    stage.vehicle.readings.append({"type": "glucose", "values": {"glucose_mmol_l": 11.9}, "grade": "red"})
    stage.vehicle.tell({"type": "reading", "live": False, "state": "confirmed", "kind": "glucose"})
    await becomes(page, "document.getElementById('readings').textContent.includes('11.9')")
    assert await page.evaluate("document.body.dataset.media") == "connected", "pictures and voice never stopped"
    await context.close()
    tunnel.close()
    server.close()


@pytest.mark.long
async def test_pictures_and_socket_that_fell_silent_together_come_back_by_one_request(
    stage: Stage, browser: Browser
) -> None:
    tunnel = Tunnel(stage.port)
    server = await asyncio.start_server(tunnel.serve, "127.0.0.1", 0)
    context = await browser.new_context(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    page = await context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/offer?" in request.url else None)
    await page.goto("/test/sign-in?as=shen.ruochuan&to=/specialist")
    await enter_session(stage, page)
    assert await moves(page, "ultrasound")
    assert asked == [], "by the socket while it is alive"
    leg = next(iter(stage.van._legs.connected().values()))
    tunnel.fall_silent()
    with no_radio(leg):
        await becomes(page, "document.body.dataset.media === 'restoring'")
        await becomes(page, "document.body.dataset.media === 'connected'")
    assert asked
    assert await moves(page, "ultrasound")
    await context.close()
    tunnel.close()
    server.close()


async def test_lost_samples_are_filled_in_and_said(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        await becomes(page, f"{NEXT_ECG} > 1000")
        lost_from = stage.vehicle.sent
        stage.vehicle.sent += 5 * CHUNK  # a fifth of a second that the page never gets as live data
        await until(lambda: stage.vehicle.sent > lost_from + 10 * CHUNK)
        await page.get_by_text("已补").wait_for()
        await becomes(page, f"{HOLES} === 0")
        got = await page.evaluate("window.xunzhen.samples('ecg')")
        filled = got["counts"][lost_from - got["first_index"] : lost_from - got["first_index"] + 5 * CHUNK]
        assert filled == [[ecg_count(lost_from + i, channel) for channel in range(8)] for i in range(5 * CHUNK)]


@pytest.mark.long
async def test_the_ecg_is_not_later_than_the_picture(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        assert await moves(page, "ultrasound")
        await becomes(page, f"{NEXT_ECG} > 2000")
        source = stage.van._engine.ladders["ultrasound"].source
        ecg_s, picture_s = [], []
        for _ in range(LOOKS):
            sent, newest = stage.vehicle.sent, source.newer(-1, 0)
            shown = await counter(page, "ultrasound")
            drawn = await page.evaluate(NEXT_ECG)
            assert newest is not None
            behind = read_counter(newest.image) - shown
            if shown >= 0 and 0 <= behind < CLIP_FPS:  # not where the clip begins anew
                ecg_s.append((sent - drawn) / RATE_HZ)
                picture_s.append(behind / CLIP_FPS)
        assert len(ecg_s) > LOOKS / 3
        assert statistics.median(ecg_s) <= statistics.median(picture_s) + LATER_AT_MOST_S


@contextlib.contextmanager
def no_radio(leg: Leg) -> Iterator[None]:
    """Nothing comes or goes through the van's end of ``leg``."""

    async def nowhere(data: bytes, address: tuple[str, int]) -> None:
        pass

    transports = {transceiver.sender.transport.transport for transceiver in leg._pc.getTransceivers()}
    protocols = [protocol for ice in transports for protocol in ice._connection._protocols]
    for protocol in protocols:
        protocol.datagram_received = lambda data, address: None
        protocol.send_stun, protocol.send_data = lambda message, address: None, nowhere
    yield
    for protocol in protocols:
        del protocol.datagram_received, protocol.send_stun, protocol.send_data


async def test_after_a_tunnel_the_same_connection_goes_on(
    stage: Stage, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    legs, asked, out = stage.van._legs, asyncio.Event(), asyncio.Event()
    answer = legs.answer

    async def in_the_tunnel(*offer: Any) -> str:
        asked.set()
        await out.wait()
        return await answer(*offer)

    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        assert await moves(page, "ultrasound")
        leg = next(iter(legs.connected().values()))
        monkeypatch.setattr(legs, "answer", in_the_tunnel)
        with no_radio(leg):
            await becomes(page, "document.body.dataset.media === 'restoring'")
            await asked.wait()
        await becomes(page, "document.body.dataset.media === 'connected'")
        assert await moves(page, "ultrasound")
        out.set()
        await until(lambda: leg not in legs._legs.values())
        assert [*legs.connected().values()] == [leg], "an offer that came late does not end what works"
        assert await moves(page, "ultrasound")


async def test_a_new_connection_takes_the_place_of_a_silent_one(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        assert await moves(page, "ultrasound")
        leg = next(iter(stage.van._legs.connected().values()))
        with no_radio(leg):
            await becomes(page, "document.body.dataset.media === 'restoring'")
            assert await counter(page, "ultrasound") >= 0, "the last picture stays until there is another one"
            await becomes(page, "document.body.dataset.media === 'connected'")
            assert await moves(page, "ultrasound")
            await until(lambda: leg.state == "closed")
        assert leg not in stage.van._legs.connected().values()
