"""The whole county application, exchange included: every route and socket names its roles and refuses the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from devices.clock import SimulatedClock
from sync.web.access import PUBLIC
from telemedicine.exchange.app import add_exchange
from tests.sync.county_month import PASSWORD, PEOPLE, Founded, at

FILL = {
    "rule": "BP-GRADE",
    "origin": "van-07.qingyu.example",
    "path": "000",
    "sha256": "0" * 64,
    "visit": "v",
    "consultation": "c",
    "token": "t",
    "code": "500103101001",
    "form": "xlsx",
    "list": "chronic",
    "what": "critical",
}


@pytest.fixture
def founded(tmp_path: Path) -> Iterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
    exchange = add_exchange(county.app, county.county, f"sqlite:///{tmp_path / 'exchange.db'}", county.clock)
    yield county
    exchange.store.close()
    county.close()


def endpoints(founded: Founded) -> Iterator[tuple[str, set[str], Any]]:
    """(path, methods or none for a socket, endpoint) of everything that is not a folder of static files."""
    pending = list(founded.app.routes)
    while pending:
        route = pending.pop()
        if getattr(route, "endpoint", None) is not None:
            path = route.path.replace("{path:path}", "{path}").format(**FILL)
            yield path, set(getattr(route, "methods", None) or ()), route.endpoint
        else:
            inner = getattr(route, "original_router", None) or getattr(route, "router", None)
            pending += getattr(inner, "routes", [])


def test_the_exchange_adds_its_routes_and_all_name_their_roles(founded: Founded) -> None:
    found = list(endpoints(founded))
    paths = {path for path, _, _ in found}
    assert {"/specialist", "/specialist/to-sign", "/exchange/van", "/exchange/specialist"} <= paths
    assert [path for path, _, endpoint in found if not getattr(endpoint, "__roles__", None)] == []


@pytest.mark.parametrize("person", [None, *PEOPLE])
def test_pages_and_sockets_refuse_every_role_that_is_not_named(founded: Founded, person: str | None) -> None:
    role = PEOPLE[person][1] if person else None
    walked = 0
    with TestClient(founded.app, base_url="http://county.test") as browser:
        if person:
            browser.post("/sign-in", data={"account": person, "password": PASSWORD}, follow_redirects=False)
        for path, methods, endpoint in endpoints(founded):
            named = endpoint.__roles__
            if PUBLIC in named or role in named:
                continue
            walked += 1
            for method in methods - {"HEAD"}:
                answer = browser.request(method, path, follow_redirects=False)
                assert answer.status_code == (403 if role else 401), (method, path)
            if not methods:
                with pytest.raises(WebSocketDisconnect) as refusal, browser.websocket_connect(path):
                    pass
                assert refusal.value.code in (4401, 4403, 1008, 1000)
    assert walked >= 6


def test_a_foreign_page_cannot_open_the_specialists_socket(founded: Founded) -> None:
    with TestClient(founded.app, base_url="http://county.test") as browser:
        browser.post("/sign-in", data={"account": "shen.ruochuan", "password": PASSWORD}, follow_redirects=False)
        foreign = {"origin": "http://evil.test", "sec-fetch-site": "cross-site"}
        with (
            pytest.raises(WebSocketDisconnect),
            browser.websocket_connect("/exchange/specialist", headers=foreign) as socket,
        ):
            socket.receive_json()


def test_a_browser_asks_whether_scripts_are_still_those_of_this_release(founded: Founded) -> None:
    client = TestClient(founded.app)
    for path in ("/specialist/static/session.js", "/shared/tokens.css", "/static/county.css"):
        first = client.get(path)
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        told = [(answer.status_code, answer.headers.get("cache-control")) for answer in (first, again)]
        assert told == [(200, "max-age=60"), (304, "max-age=60")], path
