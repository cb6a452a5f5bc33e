"""Consultations whose two ends reach nothing but a real coturn with the shipped settings."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aioice import stun, turn
from aiortc import RTCIceServer
from consultation_stage import (
    ORIGIN,
    FakeVehicle,
    consultation_settings,
    exchange_app,
    render_test_clip,
    serving,
    unix_listener,
    until,
)
from coturn import (
    COUNTY,
    PORT,
    SECRET,
    URLS,
    Coturn,
    Place,
    certificate,
    needs_coturn,
    relay,
    two_places,
    without_udp,
)
from test_consultation_session import SpecialistPage, Viewer, specialist

from devices.clock import SystemClock
from sync.keys.vehicle_key import VehicleKey
from telemedicine.exchange.turn import TurnCredentials
from telemedicine.media.h264 import LIBX264
from telemedicine.settings import IceServer
from telemedicine.transport import aiortc_patches
from telemedicine.transport.relay import RelayRefused, allocate, has_relay
from telemedicine.van import Van

pytestmark = needs_coturn


@dataclass
class Relayed:
    """One consultation: the exchange here, the van and the specialist each in a place of their own."""

    url: str
    here: asyncio.AbstractEventLoop
    vehicle: FakeVehicle
    van: Van
    at_van: Place
    at_specialist: Place
    coturn: Coturn

    async def do(self, work: Coroutine[Any, Any, None]) -> None:
        """From another place: here, where the county is."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.here))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Place, Coturn, Path]]:
    folder = tmp_path_factory.mktemp("coturn")
    trusted = certificate(folder)
    with two_places() as (at_van, at_specialist):
        coturn = Coturn(folder, trusted)
        coturn.start()
        yield at_van, at_specialist, coturn, trusted
        coturn.kill()


@pytest.fixture(autouse=True)
def trusted(places: tuple[Place, Place, Coturn, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(places[3]))


@contextlib.asynccontextmanager
async def relayed(
    folder: Path, places: tuple[Place, Place, Coturn, Path], urls: list[str], valid_s: float = 60.0
) -> AsyncIterator[Relayed]:
    at_van, at_specialist, coturn, _ = places
    aiortc_patches.apply()
    clock, key, vehicle = SystemClock(), VehicleKey.load_or_create(folder / "van.key", ORIGIN), FakeVehicle()
    listener = socket.socket()
    listener.bind((COUNTY, 0))
    port = listener.getsockname()[1]
    clips = {name: render_test_clip(folder / f"{name}.mp4", 60) for name in ("room", "ultrasound")}
    settings = consultation_settings(folder, port, clips, (320, 240))
    exchange = settings.exchange.model_copy(update={"url": f"ws://{COUNTY}:{port}/exchange/van"})
    settings = settings.model_copy(update={"exchange": exchange})
    app, _ = exchange_app(folder, key, TurnCredentials(urls, SECRET, valid_s, clock))
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(serving(vehicle.app(), unix_listener(settings.vehicle_socket)))
        await stack.enter_async_context(serving(app, listener))
        ecg = asyncio.create_task(vehicle.send_ecg())
        stack.callback(ecg.cancel)
        van = await at_van.do(_van(settings, key))
        running = asyncio.run_coroutine_threadsafe(van.run(), at_van.loop)
        stack.push_async_callback(_ended, running)
        await until(lambda: van.status()["vehicle_feed"] == "up" and (van.status()["relay"] or {}).get("url"))
        here = asyncio.get_running_loop()
        yield Relayed(f"http://{COUNTY}:{port}", here, vehicle, van, at_van, at_specialist, coturn)


async def _van(settings: object, key: VehicleKey) -> Van:
    return Van(settings, key, SystemClock(), lambda: 0.0, LIBX264)  # type: ignore[arg-type]


async def _ended(running: object) -> None:
    running.cancel()  # type: ignore[attr-defined]
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wrap_future(running)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def accepted(stage: Relayed) -> AsyncIterator[SpecialistPage]:
    """In the specialist's place."""
    async with specialist(stage) as page:  # type: ignore[arg-type]
        await page.next("welcome")
        stage.here.call_soon_threadsafe(stage.vehicle.request)
        await until(lambda: page.state() == "invited")
        await page.send(type="accept", consultation="consultation-1")
        await until(lambda: page.state() == "accepted")
        yield page


async def shown(viewer: Viewer) -> None:
    """Pictures of both cameras and ECG come, from now on."""
    pictures, samples = [len(feed) for feed in viewer.pictures], len(viewer.samples)
    await until(
        lambda: (
            len(viewer.samples) > samples + 10
            and len(viewer.pictures) == 2
            and all(len(feed) > (pictures or [0, 0])[n] + 10 for n, feed in enumerate(viewer.pictures))
        )
    )


def told_relays(page: SpecialistPage) -> list[RTCIceServer]:
    told = page.last("relays")
    assert told is not None
    return [RTCIceServer(**relay) for relay in told["relays"]]


@pytest.mark.parametrize("transport", URLS)
async def test_without_a_direct_way_pictures_and_ecg_come_through_the_vans_relay(
    tmp_path: Path, places: tuple[Place, Place, Coturn, Path], transport: str
) -> None:
    async with relayed(tmp_path, places, [URLS[transport]]) as stage:

        async def look_on() -> dict[str, Any]:
            async with accepted(stage) as page:
                viewer = Viewer()  # offers its own address only, which the van cannot reach
                await page.connect_media(viewer)
                await shown(viewer)
                status = stage.van.status()
                await viewer.close()
                return status

        status = await stage.at_specialist.do(look_on())
        assert [route.split()[0] for route in status["routes"].values()] == ["relay"], status["routes"]
        assert status["relay"] == {"url": URLS[transport], "refused": {}}


async def test_names_are_renewed_and_a_session_outlives_the_one_it_began_with(
    tmp_path: Path, places: tuple[Place, Place, Coturn, Path]
) -> None:
    async with relayed(tmp_path, places, [URLS["udp"]], valid_s=4.0) as stage:

        async def look_on() -> None:
            async with accepted(stage) as page:
                first = told_relays(page)
                viewer = Viewer(relays=first)
                await page.connect_media(viewer)
                await shown(viewer)
                await until(lambda: _expiry(told_relays(page)) >= _expiry(first) + 4)
                await shown(viewer)
                later = Viewer(relays=told_relays(page))
                await page.connect_media(later, "s_2")
                await shown(later)
                await later.close()
                await viewer.close()

        await stage.at_specialist.do(look_on())


def _expiry(relays: list[RTCIceServer]) -> int:
    return int(str(relays[0].username).partition(":")[0])


async def test_a_relay_that_is_killed_and_comes_back_brings_the_session_back(
    tmp_path: Path, places: tuple[Place, Place, Coturn, Path]
) -> None:
    async with relayed(tmp_path, places, [URLS["tcp"], URLS["tls"]]) as stage:

        async def look_on() -> None:
            async with accepted(stage) as page:
                viewer = Viewer(relays=told_relays(page))
                await page.connect_media(viewer)
                await shown(viewer)
                await stage.do(asyncio.to_thread(stage.coturn.kill))
                await viewer.close()
                meanwhile = Viewer()
                await page.send(type="offer", consultation="consultation-1", session="s_1", sdp=await meanwhile.offer())
                assert not has_relay((await page.next("answer"))["sdp"])
                await meanwhile.close()
                await until(lambda: stage.van.status()["relay"]["url"] is None)
                refused = stage.van.status()["relay"]["refused"]
                assert set(refused) == {URLS["tcp"], URLS["tls"]}
                assert all("not reached" in reason for reason in refused.values())
                await stage.do(asyncio.to_thread(stage.coturn.start))
                again = Viewer(relays=told_relays(page))
                await page.connect_media(again, "s_2")
                await shown(again)
                await again.close()

        await stage.at_specialist.do(look_on())
        assert stage.van.status()["relay"] == {"url": URLS["tcp"], "refused": {}}


async def test_where_no_udp_goes_through_tcp_is_taken(
    tmp_path: Path, places: tuple[Place, Place, Coturn, Path]
) -> None:
    with without_udp(places[0]):
        async with relayed(tmp_path, places, [URLS["udp"], URLS["tcp"], URLS["tls"]]) as stage:
            assert stage.van.status()["relay"]["url"] == URLS["tcp"]

            async def look_on() -> None:
                async with accepted(stage) as page:
                    viewer = Viewer(relays=told_relays(page))
                    await page.connect_media(viewer)
                    await shown(viewer)
                    await viewer.close()

            await stage.at_specialist.do(look_on())


@pytest.mark.parametrize("transport", URLS)
@pytest.mark.parametrize(("valid_s", "secret"), [(-5.0, SECRET), (60.0, "f" * 64)], ids=["expired", "wrong"])
async def test_expired_and_wrong_names_are_refused_in_words(transport: str, valid_s: float, secret: str) -> None:
    with pytest.raises(RelayRefused, match="expired, or its static-auth-secret is not the county's"):
        await allocate(relay(URLS[transport], valid_s=valid_s, secret=secret))
    await allocate(relay(URLS[transport]))


async def test_a_relay_whose_certificate_nobody_knows_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none.pem").write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(RelayRefused, match="install the county's CA"):
        await allocate(relay(URLS["tls"]))


async def test_silence_is_told_as_down_or_blocked() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((COUNTY, 0))
        url = f"turn:{COUNTY}:{silent.getsockname()[1]}?transport=udp"
        with pytest.raises(RelayRefused, match="down, or this network does not let it through"):
            await allocate(relay(url), within_s=0.3)


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("203.0.113.7", True),
        ("10.20.0.5", False),
        ("100.64.3.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.20.1.1", False),
        ("192.168.1.1", False),
        ("224.0.0.251", False),
    ],
)
async def test_the_shipped_settings_relay_into_nobodys_own_network(peer: str, allowed: bool) -> None:
    answer = None
    while answer is None:  # a relay that a busy machine does not let answer in time is asked again
        with contextlib.suppress(stun.TransactionTimeout):
            answer = await bound(relay(URLS["udp"], who=f"visitor-{peer}"), peer)
    assert answer == ("bound" if allowed else "403")


async def bound(server: IceServer, peer: str) -> str:
    """ "bound", or the error code of the relay when a channel to ``peer`` is asked for."""
    transport, _ = await turn.create_turn_endpoint(
        asyncio.DatagramProtocol, (COUNTY, PORT), server.username, server.credential
    )
    inner = transport._TurnTransport__inner_protocol  # type: ignore[attr-defined]
    try:
        await inner.channel_bind(0x4000, (peer, 5000))
    except stun.TransactionFailed as refused:
        return str(refused.response.attributes["ERROR-CODE"][0])
    finally:
        await inner.delete()
    return "bound"


async def test_one_name_has_a_quota() -> None:
    """Also when it has been issued anew: what counts is who it was issued to."""
    held = []
    try:
        for number in range(12):
            server = relay(URLS["udp"], who="greedy", valid_s=60 + number)
            transport, _ = await turn.create_turn_endpoint(
                asyncio.DatagramProtocol, (COUNTY, PORT), server.username, server.credential
            )
            held.append(transport)
        with pytest.raises(RelayRefused, match="as many connections through it as user-quota allows"):
            await allocate(relay(URLS["udp"], who="greedy", valid_s=90))
        await allocate(relay(URLS["udp"], who="modest"))
    finally:
        await asyncio.gather(*(one._TurnTransport__inner_protocol.delete() for one in held))  # type: ignore[attr-defined]
