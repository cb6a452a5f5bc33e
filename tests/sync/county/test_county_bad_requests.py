"""Requests that are malformed, forged, replayed, reordered, cut off or too long: a clear refusal, the state as before.

One county for the module; every example that may change something has a log of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Any

import httpx
import pytest
import uvicorn
from county_month import Founded, at
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from devices.clock import SimulatedClock
from sync.county.schema import checkpoints, entries, logs, refused_checkpoints, uploads
from sync.county.vehicle_requests import MOST_BODY_BYTES
from sync.formats import wire
from sync.formats.merkle import consistency_proof, leaf_hash, root_of
from sync.formats.notes import Checkpoint, SeedSigner
from sync.formats.request_signature import signature_headers
from sync.web.body_limits import MOST_BYTES, BodyLimits
from tests.sync.formats.test_merkle import reader

_FEW = settings(max_examples=35, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    county = Founded(tmp_path_factory.mktemp("county"), SimulatedClock(at(9, 1, 8)))
    yield county
    county.close()


@dataclass(frozen=True)
class Request:
    """As it stands on the wire."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]

    def of(self, founded: Founded) -> httpx.Response:
        async def send() -> httpx.Response:
            async with founded.client() as client:
                raw = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
                return await client.request(self.method, self.path, content=self.body, headers=raw)

        return asyncio.run(send())


class Log:
    """A vehicle's log of ``size`` entries made by hand, and the requests that deliver it in two steps.

    Every log's requests are as long as the others', so that examples can be repeated.
    """

    def __init__(self, founded: Founded, size: int = 300, first: int = 100) -> None:
        number = next(_NUMBERS)
        self.founded, self.size = founded, size
        self.signer = SeedSigner(f"van-{number:06d}.qingyu.example", number.to_bytes(32, "big"))
        self.bodies = [json.dumps({"n": n, "of": self.signer.name}).encode() for n in range(size)]
        self.clip = b"clip of %06d " % number * 800
        self.leaves = [leaf_hash(body) for body in self.bodies]
        founded.county.fleet.enrol(self.signer.name, str(self.signer.verifier_key()))
        self.checkpoints = [self.checkpoint(0, first), self.checkpoint(first, size)]
        self.uploads = [self.entries(0, first), self.entries(first, size)]
        self.parts = [self.part(0, 4000, False), self.part(4000, len(self.clip), True)]

    def checkpoint(self, old: int, size: int) -> Request:
        note = Checkpoint(self.signer.name, size, root_of(self.leaves[:size])).signed(self.signer)
        asked = wire.AddCheckpoint(old, tuple(consistency_proof(old, size, reader(self.leaves[:size]))), note)
        return self.signed("POST", wire.log_path(self.signer.name, "add-checkpoint"), bytes(asked))

    def entries(self, start: int, end: int) -> Request:
        packages = [
            wire.build_package(a, b, end, reader(self.leaves[:end]), lambda n, count: self.bodies[n : n + count])
            for a, b in wire.package_ranges(start, end)
        ]
        body = wire.add_entries_body(wire.AddEntriesHead(self.signer.name, start, end), packages)
        return self.signed("POST", wire.log_path(self.signer.name, "add-entries"), body)

    def part(self, start: int, end: int, complete: bool) -> Request:
        headers = {wire.UPLOAD_OFFSET: str(start), wire.UPLOAD_COMPLETE: wire.boolean(complete)}
        method = "PATCH" if start else "PUT"
        return self.signed(method, wire.recording_path(sha256(self.clip).hexdigest()), self.clip[start:end], **headers)

    def signed(self, method: str, path: str, body: bytes, **headers: str) -> Request:
        signed = signature_headers(self.signer, method, path, body, self.founded.clock.now())
        return Request(method, path, body, {**signed, **headers})

    def again(self, request: Request, body: bytes) -> Request:
        """The same with another body, rightly signed: what a vehicle with a fault, or a thief of its key, sends."""
        extra = {name: value for name, value in request.headers.items() if name.startswith("Upload")}
        return self.signed(request.method, request.path, body, **extra)

    def all(self) -> list[Request]:
        return [self.checkpoints[0], self.uploads[0], self.checkpoints[1], self.uploads[1], *self.parts]

    def stored(self) -> list[bytes]:
        return [body for _, body in self.founded.county.mirror.bodies(self.signer.name, 0, self.size + 1)]


def state(founded: Founded) -> Any:
    """Everything that a request of a vehicle may change, refused checkpoints apart: those are evidence."""
    database = founded.county.database
    counts = [
        database.row(select(func.count().label("n")).select_from(table)) for table in (checkpoints, entries, uploads)
    ]
    columns = [column for column in logs.c if column.name not in ("frozen_at", "frozen_reason")]
    folder = founded.folder / "county" / "recordings"
    files = sorted((path.name, path.stat().st_size) for path in folder.rglob("*") if path.is_file())
    return counts, database.rows(select(*columns).order_by(logs.c.origin)), files


@st.composite
def damage(draw: st.DrawFn, body: bytes) -> bytes:
    """``body`` with bits turned, a piece cut, doubled, put in or swapped."""
    place = draw(st.integers(0, max(0, len(body) - 1)))
    other = draw(st.integers(0, max(0, len(body) - 1)))
    first, last = sorted((place, other))
    match draw(st.sampled_from(["bit", "cut", "drop", "double", "insert", "swap", "noise"])):
        case "bit" if body:
            return body[:place] + bytes([body[place] ^ (1 << draw(st.integers(0, 7)))]) + body[place + 1 :]
        case "cut":
            return body[:place]
        case "drop":
            return body[:first] + body[last:]
        case "double":
            return body[:last] + body[first:last] + body[last:]
        case "insert":
            return body[:place] + draw(st.binary(min_size=1, max_size=80)) + body[place:]
        case "swap":
            return body[last:] + body[first:last] + body[:first]
        case _:
            return draw(st.binary(max_size=300))


@_FEW
@given(st.data())
def test_what_is_changed_on_the_way_is_not_taken(founded: Founded, data: st.DataObject) -> None:
    log = _begun(founded)
    request = data.draw(st.sampled_from([log.checkpoints[1], log.uploads[0], log.parts[1]]))
    body = data.draw(damage(request.body))
    assume(body != request.body)
    before = state(founded)
    answer = Request(request.method, request.path, body, request.headers).of(founded)
    assert answer.status_code == 401, answer.text
    assert state(founded) == before


@_FEW
@given(st.data())
def test_a_lie_of_the_vehicle_itself_is_never_stored(founded: Founded, data: st.DataObject) -> None:
    """The request is rightly signed, its body is not what it should be: what is stored stays a beginning of the log."""
    log = Log(founded)
    step = data.draw(st.integers(0, 3))
    for request in log.all()[:step]:
        assert request.of(founded).status_code in (200, 204)
    request = log.all()[step]
    body = data.draw(damage(request.body))
    assume(body != request.body)
    before = state(founded)
    answer = log.again(request, body).of(founded)
    assert answer.status_code in (200, 202, 400, 403, 404, 409, 422), answer.text
    assert log.stored() == log.bodies[: len(log.stored())]
    if answer.status_code in (400, 403, 404, 409) or (answer.status_code == 422 and "add-checkpoint" in request.path):
        assert state(founded) == before
    if answer.status_code not in (200, 202):
        assert answer.content, "with a reason"


def _begun(founded: Founded) -> Log:
    """A log of which the first checkpoint and the first part of a recording are here."""
    log = Log(founded)
    for request in (log.checkpoints[0], log.parts[0]):
        assert request.of(founded).status_code in (200, 204)
    return log


_HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=300)


@_FEW
@given(st.data())
def test_headers_of_any_kind(founded: Founded, data: st.DataObject) -> None:
    log = _begun(founded)
    request = data.draw(st.sampled_from([log.checkpoints[1], log.uploads[0], log.parts[1]]))
    names = ["Signature-Input", "Signature", "Content-Digest", "Content-Encoding", *_UPLOAD, "Content-Type", "Accept"]
    name = data.draw(st.sampled_from(names))
    value = data.draw(st.one_of(_HEADER.map(str.strip), st.sampled_from(_ODD), _changed(request.headers.get(name, ""))))
    before = state(founded)
    answer = Request(request.method, request.path, request.body, {**request.headers, name: value}).of(founded)
    assert answer.status_code < 500, (name, value, answer.text)
    assert answer.status_code < 400 or state(founded) == before


_UPLOAD = (wire.UPLOAD_OFFSET, wire.UPLOAD_LENGTH, wire.UPLOAD_COMPLETE)
_ODD = [
    "",
    "0",
    "-1",
    "9" * 30,
    "?1",
    "?2",
    "1e9",
    "gzip",
    "zstd",
    "br",
    "gzip, gzip",
    "identity;q=0",
    "\u00e9",
    "a" * 8000,
]


def _changed(value: str) -> st.SearchStrategy[str]:
    def changed(place: int, character: str) -> str:
        return value[:place] + character + value[place + 1 :]

    return st.builds(changed, st.integers(0, max(0, len(value) - 1)), st.sampled_from('"();=:@ 0Aa,'))


@settings(_FEW, max_examples=25)
@given(st.data())
def test_requests_in_any_order_and_number(founded: Founded, data: st.DataObject) -> None:
    """Replayed and reordered as a network or a thief may: never a fault, and the log arrives whole in the end."""
    log = Log(founded, 60, 20)
    requests = log.all()
    for place in data.draw(st.lists(st.integers(0, len(requests) - 1), max_size=8)):
        answer = requests[place].of(founded)
        assert answer.status_code in (200, 201, 202, 204, 400, 409, 422), answer.text
        assert log.stored() == log.bodies[: len(log.stored())]
    for request in requests:
        request.of(founded)
    assert log.stored() == log.bodies
    assert founded.county.mirror.log(log.signer.name).mirror_size == log.size
    rows = founded.county.database.rows(
        select(refused_checkpoints).where(refused_checkpoints.c.origin == log.signer.name)
    )
    assert rows == []


def test_a_request_of_yesterday_is_not_taken_again(founded: Founded) -> None:
    log = Log(founded)
    for request in log.all():
        request.of(founded)
    before = state(founded)
    founded.clock.advance(3600)
    assert {request.of(founded).status_code for request in log.all()} == {401}
    assert state(founded) == before


_PARTS = ["log", "recordings", "tile", "entries", "add-checkpoint", "..", "%2e%2e", "x", "%00", "0" * 64, "é"]


@_FEW
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"]),
    st.lists(st.sampled_from(_PARTS), max_size=6),
    st.binary(max_size=200),
)
def test_any_path_by_anybody(founded: Founded, method: str, parts: list[str], body: bytes) -> None:
    before = state(founded)
    answer = Request(method, "/" + "/".join(parts), body, {}).of(founded)
    assert 200 <= answer.status_code < 500
    assert state(founded) == before


def test_every_refusal_stands_in_the_log_with_its_reason(founded: Founded, caplog: pytest.LogCaptureFixture) -> None:
    log = Log(founded)
    wrong = [
        log.again(log.checkpoints[0], b"nonsense"),
        log.uploads[1],
        log.again(log.uploads[0], b"\x00"),
        log.part(5, 10, False),
        Request("POST", log.uploads[0].path, log.uploads[0].body, {}),
        Request("GET", "/county/coverage?practice=perhaps", b"", {}),
    ]
    for request in wrong:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="xunzhen"):
            answer = request.of(founded)
        assert 400 <= answer.status_code < 500
        said = [json.loads(record.message) for record in caplog.records if '"request_refused"' in record.message]
        assert len(said) == 1, answer.text
        assert len(said[0]["reason"]) > 8


async def test_a_query_that_does_not_fit_is_refused_in_words(
    founded: Founded, caplog: pytest.LogCaptureFixture
) -> None:
    """And what was typed is repeated neither to the page nor in the log: it may be anything."""
    client = await founded.signed_in("xu.jing")
    with caplog.at_level(logging.INFO, logger="xunzhen"):
        for accept in ("application/json", "text/html"):
            answer = await client.get("/county/coverage?practice=p4ssw0rd", headers={"Accept": accept})
            assert answer.status_code == 422
            assert "p4ssw0rd" not in answer.text.partition("<main")[2] + caplog.text
    assert "practice: String should match pattern" in caplog.text


# too long, too slow ---------------------------------------------------------------------------------------------------


def test_bodies_that_are_too_long_are_not_even_read(founded: Founded) -> None:
    """What people send is bounded for everybody, before it is known who sends it."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b"a" * 65536

    async def post(path: str, **headers: str) -> int:
        async with founded.client() as client:
            return (await client.post(path, content=endless(), headers=headers)).status_code

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert asyncio.run(post("/sign-in", **form)) == 413
    assert sent <= MOST_BYTES + 2 * 65536
    log, sent = Log(founded), 0
    claim = signature_headers(log.signer, "POST", log.uploads[0].path, b"", founded.clock.now())
    assert asyncio.run(post(log.uploads[0].path, **claim)) == 413
    assert sent <= MOST_BODY_BYTES + 2 * 65536


@pytest.fixture
def impatient(founded: Founded) -> Iterator[int]:
    """The port of a server that waits a fifth of a second for the next part of a body, half a second for all of it."""
    app = BodyLimits(founded.app, stall_s=0.2, whole_s=0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize("pieces", [1, 1000], ids=["stalls", "one byte after the other"])
def test_a_body_that_does_not_come_is_given_up(impatient: int, pieces: int) -> None:
    form = b"POST /sign-in HTTP/1.1\r\nHost: county\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with closing(socket.create_connection(("127.0.0.1", impatient), 10)) as connection:
        connection.sendall(form + b"Content-Length: 500\r\n\r\n")
        answered = threading.Event()

        def dribble() -> None:
            for _ in range(pieces):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return
                if answered.wait(0.05):
                    return

        slow = threading.Thread(target=dribble)
        slow.start()
        head = connection.recv(4096)
        answered.set()
        slow.join(10)
    assert head.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
    ids=["version", "TLS", "negative length", "two lengths", "no chunk", "long path", "long header"],
)
def test_bytes_that_are_no_request_end_only_themselves(impatient: int, raw: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", impatient), 10)) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert not answer.startswith(b"HTTP/1.1 5")
    assert httpx.get(f"http://127.0.0.1:{impatient}/sign-in", trust_env=False).status_code == 200
