"""Names for the county's relay: their form, who gets them, and which relay a van takes."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from consultation_stage import ORIGIN, exchange_app, serving, tcp_listener, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from devices.clock import SimulatedClock, SystemClock
from sync.county.settings import TurnSettings, read_county_settings
from sync.keys.vehicle_key import VehicleKey
from sync.settings_file import SettingsRefused
from telemedicine.exchange.turn import TurnCredentials, TurnSecretRefused, turn_credentials
from telemedicine.settings import IceServer
from telemedicine.transport.relay import RelayChoice, RelayRefused, has_relay
from telemedicine.wire import CHALLENGE, MessageRefused, Relays, challenge_bytes, parse_from_exchange

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SECRET = "north" * 8
UDP, TCP, TLS = "turn:turn.example:3478?transport=udp", "turn:turn.example:3478?transport=tcp", "turns:turn.example:443"


def test_a_name_carries_its_end_and_the_password_is_its_keyed_hash() -> None:
    told = TurnCredentials([UDP, TLS], "north", 3600, SimulatedClock(NOW)).issue("van-07.example")
    assert told.expires_at == "2026-03-01T09:00:00+00:00"
    relay = told.relays[0]
    assert relay.urls == [UDP, TLS]
    assert relay.username == f"{int(NOW.timestamp()) + 3600}:van-07.example"
    # printf '1772355600:van-07.example' | openssl dgst -sha1 -hmac north -binary | base64
    assert relay.credential == "GvjrZabbN1Hda2+5B+d7Ihiknck="
    assert parse_from_exchange(told.text()) == told


async def test_new_ones_come_at_half_time() -> None:
    class Link:
        told: list[str] = []  # noqa: RUF012

        def send(self, text: str) -> None:
            self.told.append(text)
            if len(self.told) == 3:
                raise ConnectionResetError

    link = Link()
    with pytest.raises(ConnectionResetError):
        await TurnCredentials([UDP], SECRET, 600, SimulatedClock(NOW)).keep("shen.ruochuan", link)
    ends = [
        int(json.loads(text)["relays"][0]["username"].partition(":")[0]) - int(NOW.timestamp()) for text in link.told
    ]
    assert ends == [900, 1200, 1500]


@pytest.mark.parametrize("content", [None, "short\n", "é" * 40])
def test_a_secret_that_is_none_is_refused_with_what_to_do(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "turn.secret"
    if content is not None:
        file.write_text(content)
    settings = TurnSettings(urls=(UDP,), secret_file=file)
    with pytest.raises(TurnSecretRefused, match=r"turn\.secret.*openssl rand -hex 32.*static-auth-secret"):
        turn_credentials(settings, SystemClock())
    assert turn_credentials(None, SystemClock()) is None


@pytest.mark.parametrize(
    "url", ["stun:stun.l.example:19302", "turn:a b:1", "turns:x:443?transport=udp", "turn:me@x", ""]
)
def test_addresses_that_are_no_relay_are_refused(tmp_path: Path, url: str) -> None:
    file = tmp_path / "county.toml"
    turn = f'[turn]\nurls = ["{url}"]\nsecret_file = "turn.secret"\n'
    file.write_text(f'name = "某县"\ndata = "data"\norigin = "county.example"\n{turn}')
    with pytest.raises(SettingsRefused, match=r"turn\.urls"):
        read_county_settings(file)
    file.write_text(file.read_text().replace(url or '""', UDP if url else f'"{UDP}"'))
    settings = read_county_settings(file)
    assert settings.turn is not None
    assert settings.turn.secret_file == tmp_path / "turn.secret"


async def test_only_who_has_proven_himself_is_told(tmp_path: Path) -> None:
    key = VehicleKey.load_or_create(tmp_path / "van.key", ORIGIN)
    stranger = VehicleKey.load_or_create(tmp_path / "stranger.key", ORIGIN)
    app, exchange = exchange_app(tmp_path, key, TurnCredentials([UDP], SECRET, 600, SystemClock()))
    listener = tcp_listener()
    port = listener.getsockname()[1]
    async with serving(app, listener):
        with pytest.raises(InvalidStatus):
            await connect(f"ws://127.0.0.1:{port}/exchange/specialist", proxy=None)
        assert [message["type"] for message in await _as_van(port, stranger)] == ["challenge", "error"]
        told = await _as_van(port, key)
        assert [message["type"] for message in told] == ["challenge", "welcome", "relays"]
        assert told[2]["relays"][0]["username"].endswith(f":{ORIGIN}")
        assert SECRET not in json.dumps(told)
    exchange.store.close()


async def _as_van(port: int, key: VehicleKey) -> list[dict[str, object]]:
    """The first three messages, or what came before the end."""
    told: list[dict[str, object]] = []
    async with connect(f"ws://127.0.0.1:{port}/exchange/van", proxy=None) as socket:
        told.append(json.loads(await socket.recv()))
        signature = key.sign_for(CHALLENGE, challenge_bytes(str(told[0]["nonce"]), ORIGIN))
        hello = {"type": "hello", "origin": ORIGIN, "signature": _b64(signature)}
        await socket.send(json.dumps(hello))
        try:
            while len(told) < 3:
                told.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            pass
    return told


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_relay_elsewhere_than_turn_is_refused_by_the_van() -> None:
    text = json.dumps(
        {
            "type": "relays",
            "relays": [{"urls": ["stun:foreign.example"], "username": "", "credential": ""}],
            "expires_at": "2026",
        }
    )
    with pytest.raises(MessageRefused, match="urls"):
        parse_from_exchange(text)


class Relaying:
    """Which URLs answer, and how soon."""

    def __init__(self, **delay_s: float) -> None:
        self.works = {{"udp": UDP, "tcp": TCP, "tls": TLS}[name]: seconds for name, seconds in delay_s.items()}
        self.tried: list[IceServer] = []

    async def __call__(self, server: IceServer) -> None:
        self.tried.append(server)
        if server.urls[0] not in self.works:
            raise RelayRefused("down")
        await asyncio.sleep(self.works[server.urls[0]])


def offered(name: str = "9:van") -> Relays:
    return Relays.model_validate(
        {"relays": [{"urls": [UDP, TCP, TLS], "username": name, "credential": "x"}], "expires_at": "2026"}
    )


@pytest.mark.parametrize(
    ("relaying", "url"),
    [
        (Relaying(udp=0.02, tcp=0.0, tls=0.0), UDP),
        (Relaying(udp=60.0, tcp=0.0, tls=0.0), TCP),
        (Relaying(tcp=0.0, tls=0.0), TCP),
        (Relaying(tls=0.05), TLS),
    ],
    ids=["all", "udp lost", "udp refused", "tls only"],
)
async def test_the_first_in_the_countys_order_that_answers_is_taken(relaying: Relaying, url: str) -> None:
    choice = RelayChoice(SystemClock(), relaying)
    running = asyncio.create_task(choice.run())
    assert await choice.servers() == ()
    assert choice.told_as() is None
    choice.take(offered())
    assert [server.urls for server in await choice.servers()] == [[url]]
    choice.take(offered("10:van"))
    await until(lambda: len(relaying.tried) == 6)
    await until(lambda: choice.told_as()["url"] == url)
    assert (await choice.servers())[0].username in ("9:van", "10:van")
    running.cancel()


async def test_one_that_goes_away_is_dropped_and_taken_again_when_it_is_back() -> None:
    relaying = Relaying(udp=0.0)
    choice = RelayChoice(SystemClock(), relaying)
    running = asyncio.create_task(choice.run())
    choice.take(offered())
    await until(lambda: choice.told_as()["url"] == UDP)
    before, relaying.works = relaying.works, {}
    choice.look_again()
    await until(lambda: choice.told_as()["url"] is None)
    assert choice.told_as()["refused"] == {UDP: "down", TCP: "down", TLS: "down"}
    assert await choice.servers() == ()
    relaying.works = before
    assert [server.urls for server in await choice.servers()] == [[UDP]]
    running.cancel()


def test_has_relay() -> None:
    line = "a=candidate:1 1 udp 16777215 203.0.113.1 5000 typ {} raddr 10.0.0.1 rport 1\r\n"
    assert has_relay("v=0\r\n" + line.format("relay"))
    assert not has_relay("v=0\r\n" + line.format("host"))
