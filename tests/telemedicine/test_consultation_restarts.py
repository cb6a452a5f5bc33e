"""Whatever is killed comes back into the same consultation: media process, exchange, vehicle feed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from consultation_stage import (
    ORIGIN,
    Stage,
    consultation_stage,
    exchange_app,
    serving,
    tcp_listener,
    until,
)
from test_consultation_session import Viewer, accepted, specialist
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from devices.clock import SystemClock
from sync.keys.vehicle_key import VehicleKey
from telemedicine.consultation import State
from telemedicine.media.h264 import LIBX264
from telemedicine.signalling_client import SignallingClient
from telemedicine.van import Van
from telemedicine.wire import Fault, FromExchange, OpinionStored


async def test_media_process_killed_and_started_again(tmp_path: Path) -> None:
    async with consultation_stage(tmp_path) as stage, specialist(stage) as page:
        await accepted(stage, page)
        first = Viewer()
        await page.connect_media(first, "s1")
        await until(lambda: stage.vehicle.state == State.CONNECTED)
        await kill_van(stage)
        await until(lambda: page.last("case")["case"]["van_online"] is False)
        again = Van(stage.settings, stage.key, SystemClock(), lambda: 0.0, LIBX264)
        running = asyncio.create_task(again.run())
        try:
            await until(lambda: page.last("case")["case"]["van_online"] is True)
            await until(lambda: stage.vehicle.state == State.INTERRUPTED)
            assert page.last("case")["case"]["specialist"] == "shen.ruochuan", "the exchange knew who had accepted"
            second = Viewer()
            await page.connect_media(second, "s2")
            await until(lambda: stage.vehicle.state == State.CONNECTED and len(second.samples) > 5)
            await second.close()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await first.close()


async def kill_van(stage: Stage) -> None:
    """Drop everything the media process holds, as a crash would: no goodbye to anybody."""
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "") == "Van.run":
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=20)
            assert done, task.get_stack()


async def test_exchange_restarted_in_a_session(tmp_path: Path) -> None:
    """A second exchange on the same database: the case, its specialist and a waiting opinion are still there."""
    key = VehicleKey.load_or_create(tmp_path / "van.key", ORIGIN)
    async with consultation_stage(tmp_path) as stage, specialist(stage) as page:
        await accepted(stage, page)
        stage.exchange.store.close()
        app, exchange = exchange_app(tmp_path, key)
        card = exchange.rooms.case_for("shen.ruochuan", "consultation-1")
        assert card is not None
        assert card["state"] == "accepted"
        assert card["van_online"] is False
        assert exchange.rooms.case_for("he.ping", "consultation-1") is None
        listener = tcp_listener()
        async with serving(app, listener):
            settings = stage.settings.model_copy(
                update={
                    "exchange": stage.settings.exchange.model_copy(
                        update={"url": f"ws://127.0.0.1:{listener.getsockname()[1]}/exchange/van"}
                    )
                }
            )
            await kill_van(stage)
            van = Van(settings, key, SystemClock(), lambda: 0.0, LIBX264)
            running = asyncio.create_task(van.run())
            try:
                await until(lambda: exchange.rooms.card("consultation-1")["van_online"])
                await until(lambda: van.status()["consultation"] == "consultation-1")
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
        exchange.store.close()


async def test_media_goes_on_while_the_exchange_is_away(tmp_path: Path) -> None:
    async with consultation_stage(tmp_path) as stage, specialist(stage) as page:
        await accepted(stage, page)
        viewer = Viewer()
        await page.connect_media(viewer)
        await until(lambda: stage.vehicle.state == State.CONNECTED)
        connection = stage.van._signalling._connection
        assert connection is not None
        await connection.close()
        await until(lambda: stage.van.status()["exchange"] == "lost")
        before = len(viewer.samples)
        await until(lambda: stage.van.status()["exchange"] == "joined" and len(viewer.samples) > before + 20)
        assert viewer.pc.connectionState == "connected"
        assert stage.vehicle.state == State.CONNECTED
        await viewer.close()


async def test_an_ended_consultation_waits_for_its_opinion_while_the_next_one_runs(tmp_path: Path) -> None:
    async with consultation_stage(tmp_path) as stage, specialist(stage) as page:
        await accepted(stage, page)
        stage.vehicle.step("connected")
        stage.vehicle.step("ended")
        await until(lambda: page.state() == "ended")
        stage.vehicle.request("consultation-2")
        await until(lambda: stage.exchange.rooms.case_for("shen.ruochuan", "consultation-2") is not None)
        waiting = stage.exchange.rooms.case_for("shen.ruochuan", "consultation-1")
        assert waiting is not None
        assert waiting["state"] == "ended"
        stage.vehicle.tell({"type": "consultation", "consultation": "consultation-1", "state": "cancelled"})
        await until(lambda: stage.exchange.rooms.card("consultation-1")["state"] == "cancelled")


@pytest.mark.parametrize("wrong", ["signature", "origin", "form"])
async def test_a_van_that_cannot_prove_itself_is_shown_out(tmp_path: Path, wrong: str) -> None:
    stranger = VehicleKey.load_or_create(tmp_path / "stranger.key", ORIGIN)
    async with consultation_stage(tmp_path) as stage:
        async with connect(f"ws://127.0.0.1:{stage.port}/exchange/van", proxy=None) as socket:
            nonce = json.loads(await socket.recv())["nonce"]
            signature = stranger.sign_for("exchange-challenge", nonce.encode()).hex()
            hello = {"type": "hello", "origin": ORIGIN, "signature": signature}
            if wrong == "origin":
                hello["origin"] = "van-99.example"
            if wrong == "form":
                hello = {"type": "hello", "origin": "x" * 5000}
            await socket.send(json.dumps(hello))
            told = json.loads(await socket.recv())
            assert told["code"] == "not_proven"
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        assert stage.van.status()["exchange"] == "joined", "the real van is not disturbed"


async def test_an_invitation_with_a_forged_summary_is_refused(tmp_path: Path) -> None:
    async with consultation_stage(tmp_path) as stage, specialist(stage) as page:
        stage.vehicle.request()
        await until(lambda: page.state() == "invited")
        case = stage.van._case
        assert case is not None
        forged = case.invitation.model_copy(update={"summary": {"patient": {"name": "别人"}}})
        await stage.van._signalling.send(case.model_copy(update={"invitation": forged}))
        await until(lambda: stage.van.status()["exchange"] == "refused")
        stage.vehicle.step("cancelled")
        await until(lambda: page.received[-1]["type"] == "gone" or page.state() == "cancelled")
        assert all("别人" not in json.dumps(message, ensure_ascii=False) for message in page.received)
        await until(lambda: stage.van.status()["exchange"] == "joined")


async def test_a_van_whose_key_is_not_enrolled_says_that_it_is_refused(tmp_path: Path) -> None:
    async with consultation_stage(tmp_path) as stage:
        stranger = VehicleKey.load_or_create(tmp_path / "stranger.key", ORIGIN)
        client = SignallingClient(
            f"ws://127.0.0.1:{stage.port}/exchange/van", stranger, SystemClock(), lambda: 0.5, lambda: None, ignored
        )
        running = asyncio.create_task(client.run())
        await until(lambda: client.refused)
        assert not client.joined
    await until(lambda: not client.refused)  # the exchange is gone: that is the network's, not the key's
    running.cancel()


async def test_only_a_refused_case_is_told_as_one(tmp_path: Path) -> None:
    async with consultation_stage(tmp_path) as stage, specialist(stage) as page:
        stage.vehicle.request()
        await until(lambda: page.state() == "invited")
        heard: list[FromExchange] = []
        take = stage.van._signalling._on_message

        async def hear(message: FromExchange) -> None:
            await take(message)
            heard.append(message)

        stage.van._signalling._on_message = hear
        await stage.van._signalling.send(OpinionStored(consultation="consultation-of-others", signature="AAAA"))
        await until(lambda: [message.code for message in heard if isinstance(message, Fault)] == ["message_refused"])
        assert stage.van.status()["exchange"] == "joined", "specialists see the case all the same"


async def ignored(_: FromExchange) -> None: ...
