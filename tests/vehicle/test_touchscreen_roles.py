"""Every route of the touchscreen, asked by every role: nobody gets in where no role was named for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from touch_bench import PIN, STAFF, Bench

from devices.clock import SimulatedClock
from sync.web.access import PUBLIC
from sync.web.body_limits import MOST_BYTES
from vehicle.touchscreen.app import create_touchscreen
from vehicle.touchscreen.sessions import CLINICAL, CREW, DOCTORS, IDLE_LIMIT, LOCAL

PEOPLE = {role: person for person, _, role, _ in STAFF}
EXPECTED = {
    "/health": (PUBLIC,),
    "/": (PUBLIC,),
    "/sign-in": (PUBLIC,),
    "/lock": (PUBLIC,),
    "/emergency": (PUBLIC,),
    "/emergency/start": (PUBLIC,),
    "/emergency/state": (PUBLIC,),
    "/emergency/step": (PUBLIC,),
    "/enrol": (PUBLIC,),
    "/enrol/state": (PUBLIC,),
    "/enrol/new-code": (PUBLIC,),
    "/today": CREW,
    "/visit/start": CREW,
    "/visit/end": CREW,
    "/visit/confirm": CREW,
    "/visit/outreach": CREW,
    "/visit/photo": CREW,
    "/visit/photo/waiting": CREW,
    "/visit/photo/keep": CREW,
    "/visit/pictures/{sha256}": CREW,
    "/visit/signature": CREW,
    "/status": CREW,
    "/status/upload": CREW,
    "/status/screen": CREW,
    "/status/link": CREW,
    "/voice/say/{sentence}": CREW,
    "/voice/clips/{language}/{clip}": CREW,
    "/voice/language": CREW,
    "/pairing/answer": CREW,
    "/pairing/cancel": CREW,
    "/pairing/seen": CREW,
    "/pairing/forget": CREW,
    "/status/devices/{name}": CREW,
    "/status/devices/list.{form}": CREW,
    "/live": (*CREW, LOCAL),
    "/consult/{consultation}/decide": DOCTORS,
    "/ecg/recordings/{sha256}/review": DOCTORS,
    "/ultrasound/{sha256}/critical": DOCTORS,
}
"""Whatever is not named here is clinical, or local below /api."""


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    yield made
    await made.vehicle.stop()


@pytest.fixture
def app(bench: Bench) -> FastAPI:
    return create_touchscreen(bench.vehicle)


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://van")


async def signed_in(app: FastAPI, person: str) -> httpx.AsyncClient:
    caller = client(app)
    answer = await caller.post("/sign-in", data={"person": person, "pin": PIN[person]})
    assert answer.headers["location"] == "/today"
    return caller


def all_routes(app: FastAPI) -> list[tuple[str, str, tuple[str, ...]]]:
    """(method, path, roles) of every route behind the gate."""
    found = []
    for route in _flat(app.routes):
        if isinstance(route, APIRoute):
            found += [(method, route.path, getattr(route.endpoint, "__roles__", ())) for method in route.methods]
        elif isinstance(route, APIWebSocketRoute):
            found.append(("WS", route.path, getattr(route.endpoint, "__roles__", ())))
    return found


def _flat(routes):
    for route in routes:
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        if isinstance(route, APIRoute | APIWebSocketRoute):
            yield route
        elif inner:
            yield from _flat(inner)


def concrete(path: str) -> str:
    for name in (
        "patient",
        "reading",
        "kind",
        "sha256",
        "rule",
        "consultation",
        "path",
        "referral",
        "draft",
        "signed",
        "emergency",
    ):
        path = path.replace(f"{{{name}}}", "unknown")
    return path


def test_every_route_names_the_roles_that_were_meant(app: FastAPI) -> None:
    routes = all_routes(app)
    assert len(routes) > 40
    for method, path, named in routes:
        expected = EXPECTED.get(path, (LOCAL,) if path.startswith("/api/") else CLINICAL)
        assert named == expected, f"{method} {path}"


async def test_each_role_gets_through_exactly_where_it_is_named(app: FastAPI) -> None:
    callers = {role: await signed_in(app, person) for role, person in PEOPLE.items()}
    callers["nobody"] = client(app)
    for method, path, named in all_routes(app):
        if method == "WS" or path in ("/lock", "/sign-in", "/visit/end"):
            continue
        for role, caller in callers.items():
            answer = await caller.request(method, concrete(path), headers={"accept": "application/json"})
            refused = answer.status_code in (401, 403)
            allowed = PUBLIC in named or role in named
            assert refused is not allowed, f"{role} {method} {path}: {answer.status_code}"


async def test_somebody_who_is_not_signed_in_is_led_to_the_sign_in_page(app: FastAPI) -> None:
    answer = await client(app).get("/people")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


async def test_a_driver_reads_in_words_that_a_page_is_not_for_them(app: FastAPI) -> None:
    answer = await (await signed_in(app, "zhao.hai")).get("/people")
    assert answer.status_code == 403
    assert "您的身份不能打开这一页" in answer.text


async def test_a_form_from_a_foreign_page_is_refused(app: FastAPI) -> None:
    caller = await signed_in(app, "zhou.min")
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = await caller.post("/encounter/close", headers={**headers, "accept": "application/json"})
        assert answer.status_code == 403


@pytest.mark.parametrize("says", [True, False], ids=["said", "sent"])
async def test_a_request_that_is_too_long_is_refused_before_it_is_read(app: FastAPI, says: bool) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * MOST_BYTES:
            sent += 65536
            yield b"a" * 65536

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    length = {"Content-Length": "99000000000"} if says else {}
    answer = await client(app).post("/sign-in", content=endless(), headers={**form, **length})
    assert answer.status_code == 413
    assert sent <= (0 if says else MOST_BYTES + 65536)


async def test_a_wrong_pin_is_refused_and_the_fifth_locks_the_name(app: FastAPI) -> None:
    caller = client(app)
    for _ in range(5):
        answer = await caller.post("/sign-in", data={"person": "zhou.min", "pin": "0000"})
        assert 'data-testid="refused"' in answer.text
    answer = await caller.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
    assert answer.status_code == 200
    assert 'data-testid="refused"' in answer.text


async def test_a_locked_screen_stays_locked_for_the_old_cookie(app: FastAPI) -> None:
    caller = await signed_in(app, "zhou.min")
    stolen = dict(caller.cookies)
    await caller.post("/lock")
    again = client(app)
    again.cookies.update(stolen)
    assert (await again.get("/today")).headers.get("location") == "/sign-in"


async def test_half_an_hour_without_a_touch_ends_the_session(app: FastAPI, clock: SimulatedClock) -> None:
    caller = await signed_in(app, "zhou.min")
    clock.advance(IDLE_LIMIT.total_seconds() - 5)
    assert (await caller.get("/today", headers={"x-background": "1"})).status_code == 200
    clock.advance(10)
    assert (await caller.get("/today")).headers.get("location") == "/sign-in"


async def test_pages_carry_a_strict_policy_and_a_strict_cookie(app: FastAPI) -> None:
    caller = client(app)
    answer = await caller.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    page = await caller.get("/today")
    assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_the_unix_socket_is_the_role_local_and_only_that(app: FastAPI) -> None:
    async def over_socket(scope, receive, send) -> None:
        await app({**scope, "client": None, "server": ("/run/vehicle.sock", None)}, receive, send)

    local = httpx.AsyncClient(transport=httpx.ASGITransport(over_socket), base_url="http://vehicle")
    assert (await local.get("/api/consultation")).status_code == 204
    assert (await local.get("/api/status")).json()["versions"]["python"]
    assert (await local.get("/people", headers={"accept": "application/json"})).status_code == 403
    assert (await client(app).get("/api/status")).status_code == 401
