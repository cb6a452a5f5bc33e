"""Every route of the running county against its own OpenAPI schema: requests that fit and that do not, by everybody.

The schema is not served; it is taken from the application. ``XUNZHEN_FUZZ`` sets how many requests each route gets.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from county_month import PASSWORD, Founded, at
from hypothesis import HealthCheck, Phase, given, settings

from devices.clock import SimulatedClock
from sync.formats.request_signature import signature_headers

EXAMPLES = int(os.environ.get("XUNZHEN_FUZZ", "3"))
PEOPLE = (None, "xu.jing", "he.ming")
HANDS = ("/sign-in", "/sign-out")
"""Tried without a session: they end or lock the session that the others need."""
_PLAIN = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


@dataclass
class Running:
    founded: Founded
    base_url: str

    def cookie(self, account: str | None) -> dict[str, str]:
        if account is None:
            return {}
        with httpx.Client(base_url=self.base_url, trust_env=False) as client:
            answer = client.post("/sign-in", data={"account": account, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    database = request.getfixturevalue("postgresql_server").fresh_database() if request.param == "postgresql" else ""
    founded = Founded(tmp_path_factory.mktemp("county"), SimulatedClock(at(9, 1, 6)), database)
    van = founded.van("van-07")
    van.visit(founded.villages[0], at(9, 1, 8, 20), 250, 4)
    asyncio.run(van.deliver())
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = uvicorn.Server(uvicorn.Config(founded.app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield Running(founded, f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.should_exit = True
        thread.join(10)
    founded.close()


@pytest.mark.parametrize("running", ["postgresql"], indirect=True)
def test_no_request_of_anybody_is_a_fault_of_the_server(running: Running) -> None:
    schema = schemathesis.openapi.from_dict(running.founded.app.openapi())
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert len(operations) >= 30
    before = running.founded.county.audit.latest(10_000)
    for operation in operations:
        for account in (None,) if operation.path in HANDS else PEOPLE:
            headers = running.cookie(account)

            _try(operation, partial(_within_reason, running, headers))
    assert len(running.founded.county.audit.latest(10_000)) >= len(before)


@pytest.mark.parametrize("running", ["postgresql"], indirect=True)
def test_no_signed_request_is_a_fault_of_the_server(running: Running) -> None:
    """The same by a vehicle: rightly signed, whatever the path and body."""
    schema = schemathesis.openapi.from_dict(running.founded.app.openapi())
    van = running.founded.vans["van-07"]
    for operation in (found.ok() for found in schema.get_all_operations()):
        if not operation.path.startswith(("/log/", "/recordings", "/enrol")):
            continue

        def answers(case: Any) -> None:
            case.path_parameters = {**(case.path_parameters or {}), "origin": van.store.origin}
            request = httpx.Request(case.method, running.base_url + case.formatted_path, params=case.query)
            target = request.url.raw_path.decode("ascii")
            signed = signature_headers(van.signer, case.method, target, b"", running.founded.clock.now())
            answer = httpx.request(request.method, request.url, headers=signed, trust_env=False)
            assert answer.status_code < 500, (case.method, target, answer.text)

        _try(operation, answers)
    assert van.store.size() == running.founded.county.mirror.log(van.store.origin).mirror_size


def _try(operation: Any, answers: Callable[[Any], None]) -> None:
    """``EXAMPLES`` requests of this operation."""

    @_PLAIN
    @given(case=operation.as_strategy())
    def one(case: Any) -> None:
        answers(case)

    one()


def _within_reason(running: Running, headers: dict[str, str], case: Any) -> None:
    answer = case.call(base_url=running.base_url, headers=headers)
    asked = (case.method, case.path, case.path_parameters, case.query)
    assert answer.status_code < 500, (asked, answer.text)
    if not headers and answer.status_code == 200:
        assert not case.path.startswith(("/county", "/api", "/recordings")), asked


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc"])
def test_the_schema_is_not_served(running: Running, path: str) -> None:
    assert httpx.get(running.base_url + path, trust_env=False).status_code == 404


@pytest.mark.parametrize(
    "odd", ["%00", "%ff", "%ED%A0%80", "%F0%9F%98%80", "a" * 4000, "%2e%2e%2f", "'", "%", "%0d%0a"]
)
def test_odd_names_in_paths_and_queries(running: Running, odd: str) -> None:
    headers = running.cookie("he.ming")
    with httpx.Client(base_url=running.base_url, trust_env=False, headers=headers) as client:
        for path in (
            f"/log/{odd}/checkpoint",
            f"/log/{odd}/tile/0/000",
            f"/log/{odd}/tile/entries/000",
            f"/county/visits/{odd}",
            f"/county/visits/{odd}/entries",
            f"/api/visits/{odd}",
            f"/api/visits/{odd}/evidence.zip",
            f"/api/villages/{odd}/evidence.zip?month=2026-09",
            f"/api/coverage?month={odd}",
            f"/county/coverage?month={odd}&practice={odd}",
            f"/county/map?month={odd}",
            f"/recordings/{odd}",
        ):
            answer = client.get(path)
            assert answer.status_code < 500, (path, answer.text)
