"""The van's side of enrolment: the code on the touchscreen, the asking, and what follows once the key is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from touch_bench import settings_in

from devices.clock import SimulatedClock
from sync.county.app import County, create_county
from sync.county.enrolment import CodeRefused, WaitingVehicle
from sync.county.settings import CountySettings as CountyServerSettings
from sync.formats.notes import SeedSigner
from sync.formats.records import Draft
from sync.keys.vehicle_key import fingerprint
from tests.vehicle.conftest import MORNING, counting_bytes
from vehicle.assembly import Vehicle, assemble
from vehicle.enrolment import SHOWN_FOR_S
from vehicle.settings import CountySettings
from vehicle.touchscreen.app import create_touchscreen


class Road(httpx.AsyncBaseTransport):
    """The way to the county, which may be closed."""

    def __init__(self, inner: httpx.AsyncBaseTransport, clock: SimulatedClock) -> None:
        self._inner, self._clock = inner, clock
        self.closed = False
        self.seen: list[tuple[str, float]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.url.path, self._clock.monotonic_s()))
        if self.closed:
            raise httpx.ConnectError("no network")
        return await self._inner.handle_async_request(request)


@dataclass
class Pair:
    vehicle: Vehicle
    app: httpx.ASGITransport
    county: County
    road: Road
    clock: SimulatedClock

    def waiting(self) -> list[WaitingVehicle]:
        return self.county.enrolments.waiting()

    def enrol(self, code: str) -> None:
        (waiting,) = self.waiting()
        self.county.enrolments.confirm(waiting.id, code, True, "xu.jing")

    @property
    def state(self) -> str:
        return self.vehicle.enrolment.state


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    clock = SimulatedClock(MORNING)
    server = create_county(
        CountyServerSettings(name="青峪县", data=tmp_path / "county", origin="county.qingxi.example"), clock
    )
    county = server.state.county
    road = Road(httpx.ASGITransport(server), clock)
    settings = settings_in(tmp_path).model_copy(
        update={"county": CountySettings(url="http://county.test", key=str(county.verifier_key))}
    )
    vehicle = assemble(settings, clock, counting_bytes(), sessions=False, transport=road)
    yield Pair(vehicle, httpx.ASGITransport(create_touchscreen(vehicle)), county, road, clock)
    await vehicle.stop()
    county.close()


def faults(pair: Pair) -> list[str]:
    return [fault["code"] for fault in pair.vehicle.health.status()["faults"]]


async def test_from_the_first_refusal_to_the_first_receipt(pair: Pair) -> None:
    enrolment = pair.vehicle.enrolment
    assert pair.state == "unknown"
    assert not (await pair.vehicle.uploader.deliver_now()).complete
    assert "not_enrolled" in faults(pair)
    assert "upload_parked" not in faults(pair), "one thing to do, not two"
    view = await enrolment.show()
    assert view.code is not None
    assert (len(view.code), view.code.isdecimal(), view.left_s) == (8, True, 1800)
    assert await enrolment.ask() == "waiting"
    (waiting,) = pair.waiting()
    key = pair.vehicle.key.verifier_key()
    assert view.fingerprint == waiting.fingerprint == fingerprint(key)
    pair.enrol(view.code)
    assert await enrolment.ask() == "enrolled"
    assert (await enrolment.show()).code is None
    assert pair.vehicle.uploader.status().parked == [], "what was refused for that reason goes out at once"
    assert (await pair.vehicle.uploader.deliver_now()).complete
    assert pair.state == "enrolled"
    assert "not_enrolled" not in faults(pair)


async def test_the_code_does_not_leave_the_van(pair: Pair) -> None:
    view = await pair.vehicle.enrolment.show()
    await pair.vehicle.enrolment.ask()
    assert view.code is not None
    assert view.code.encode() not in everything_below(pair.county.settings.data)


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_another_code_makes_the_first_worthless(pair: Pair) -> None:
    enrolment = pair.vehicle.enrolment
    first = (await enrolment.show()).code
    await enrolment.ask()
    pair.clock.advance(5)
    await enrolment.new_code()
    second = (await enrolment.show()).code
    assert first != second
    await enrolment.ask()
    with pytest.raises(CodeRefused):
        pair.enrol(str(first))
    pair.enrol(str(second))
    assert await enrolment.ask() == "enrolled"


async def test_a_code_that_ran_out_is_followed_by_another(pair: Pair) -> None:
    enrolment = pair.vehicle.enrolment
    first = await enrolment.show()
    pair.clock.advance(1801)
    second = await enrolment.show()
    assert second.code is not None
    assert (second.code != first.code, second.left_s) == (True, 1800)


async def test_a_locked_code_asks_for_another(pair: Pair) -> None:
    enrolment = pair.vehicle.enrolment
    view = await enrolment.show()
    await enrolment.ask()
    for number in range(5):
        with pytest.raises(CodeRefused):
            pair.enrol(f"{number:08d}")
    assert await enrolment.ask() == "locked"
    pair.clock.advance(1)
    await enrolment.new_code()
    assert await enrolment.ask() == "waiting"
    code = (await enrolment.show()).code
    assert code != view.code
    pair.enrol(str(code))
    assert await enrolment.ask() == "enrolled"


async def test_without_a_network_the_code_stands_and_the_asking_goes_on(pair: Pair) -> None:
    enrolment = pair.vehicle.enrolment
    pair.road.closed = True
    view = await enrolment.show()
    assert await enrolment.ask() == "unreachable"
    assert (await enrolment.show()).code == view.code
    pair.road.closed = False
    assert await enrolment.ask() == "waiting"


async def test_it_asks_while_the_code_is_looked_at_and_no_longer(pair: Pair) -> None:
    await pair.vehicle.enrolment.show()
    service = asyncio.create_task(pair.vehicle.enrolment.run())
    while pair.clock.monotonic_s() < 60:  # noqa: ASYNC110 simulated time passes in the service's own sleep
        await asyncio.sleep(0)
    service.cancel()
    assert [at_s for path, at_s in pair.road.seen if path == "/enrol"] == [0.0, 5.0, 10.0]
    assert SHOWN_FOR_S == 15


async def test_an_origin_of_another_key_shows_no_code(pair: Pair) -> None:
    enrolment, origin = pair.vehicle.enrolment, pair.vehicle.settings.vehicle.origin
    pair.county.fleet.enrol(origin, str(SeedSigner(origin, b"o" * 32).verifier_key()))
    await enrolment.show()
    assert await enrolment.ask() == "other_key"
    view = await enrolment.show()
    assert (view.state, view.code) == ("other_key", None)
    assert "not_enrolled" in faults(pair)


async def test_revoked_later_is_said_as_that(pair: Pair) -> None:
    enrolment = pair.vehicle.enrolment
    view = await enrolment.show()
    await enrolment.ask()
    pair.enrol(str(view.code))
    await enrolment.ask()
    assert (await pair.vehicle.uploader.deliver_now()).complete
    pair.county.fleet.revoke(pair.vehicle.settings.vehicle.origin, "sold")
    pair.vehicle.store.commit_now(Draft("access/1", {"action": "x", "what": "y"}))
    assert not (await pair.vehicle.uploader.deliver_now()).complete
    assert "not_enrolled" in faults(pair)
    await enrolment.show()
    assert await enrolment.ask() == "revoked"
    assert (await enrolment.show()).code is None


async def test_the_page_is_there_before_anybody_signs_in(pair: Pair) -> None:
    async with httpx.AsyncClient(transport=pair.app, base_url="http://van.test") as screen:
        page = await screen.get("/enrol")
        said = (await screen.get("/enrol/state")).json()
        assert page.status_code == 200
        assert said["fingerprint"].split()[0] in page.text
        assert (len(said["code"]), said["left_minutes"], said["state"]) == (8, 30, "unknown")
        answer = await screen.post("/enrol/new-code")
        assert (answer.status_code, answer.headers["location"]) == (303, "/enrol")
        second = (await screen.get("/enrol/state")).json()["code"]
        assert second != said["code"]
        await screen.post("/enrol/new-code", headers={"Sec-Fetch-Site": "cross-site"})
        assert (await screen.get("/enrol/state")).json()["code"] == second, "only our own page makes a new one"
        await pair.vehicle.uploader.deliver_now()
        assert "see-code" in (await screen.get("/sign-in")).text


async def test_without_a_county_there_is_nothing_to_read_out(tmp_path: Path) -> None:
    vehicle = assemble(settings_in(tmp_path), SimulatedClock(MORNING), counting_bytes(), sessions=False)
    try:
        view = await vehicle.enrolment.show()
        assert (view.state, view.code) == ("no_county", None)
    finally:
        await vehicle.stop()
