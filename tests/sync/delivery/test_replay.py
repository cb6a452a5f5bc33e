"""Everything a van has ever sent, sent again by somebody who listened: within its five minutes and after, in any order.

A signed request is good for ``LARGEST_SKEW_S`` and carries no nonce, because no repetition may change anything: a
checkpoint is taken once, entries are proven to be those of the log, a recording is named by its hash, statements about
keys are taken once. This is the test of that sentence.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from county_month import Founded, at
from sqlalchemy import select

from devices.clock import SimulatedClock
from sync.county.schema import metadata
from sync.delivery.key_rotation import RotatingClient
from sync.delivery.uploader import Uploader
from sync.formats.records import Draft
from sync.formats.request_signature import LARGEST_SKEW_S
from sync.keys.journal_keys import JournalKeys
from sync.keys.key_statements import SALT_BYTES, EnrolmentAsk, code_hash
from sync.record.recordings import Recordings
from sync.record.store import Store

ORIGIN = "van-07.qingyu.example"
PASSING = {"last_seen_at", "seen_at"}
"""When somebody was heard last; a repetition may move it by the five minutes that it is good for."""


class Listening(httpx.AsyncBaseTransport):
    """Writes down every request on its way to the county."""

    def __init__(self, founded: Founded) -> None:
        self._inner = httpx.ASGITransport(founded.app)
        self.heard: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(
            httpx.Request(request.method, request.url, headers=request.headers, content=await request.aread())
        )
        return await self._inner.handle_async_request(request)


def state_of(founded: Founded) -> dict[str, Any]:
    """All that the county keeps: every row of every table and every file of its recordings."""
    state: dict[str, Any] = {}
    with founded.county.database.read() as connection:
        for table in metadata.sorted_tables:
            rows = [dict(row) for row in connection.execute(select(table)).mappings()]
            state[table.name] = sorted(repr({k: v for k, v in row.items() if k not in PASSING}) for row in rows)
    folder = founded.folder / "county" / "recordings"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    state["recordings"] = [(path.name, sha256(path.read_bytes()).hexdigest()) for path in files]
    return state


@pytest.fixture
async def founded(tmp_path: Path) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
    yield county
    county.close()


async def a_day(founded: Founded, line: Listening) -> None:
    """Asks to be enrolled, is, delivers entries and recordings in parts, changes its key, delivers more."""
    folder, clock = founded.folder / "van", founded.clock
    keys = JournalKeys.load_or_create(folder / "keys", ORIGIN)
    store = Store.open(folder, ORIGIN, keys, clock, vehicle="van-07")
    recordings = Recordings(folder / "recordings")

    def uploader() -> Uploader:
        client = RotatingClient("http://county.test", founded.county.verifier_key, keys, clock, line)
        return Uploader(store, recordings, client, clock, jitter=lambda: 0.0)

    async def works(first: int) -> None:
        content = random.Random(first).randbytes(700_000)
        name, size = recordings.store(content, "x/ecg")
        fields = {"sha256": name, "bytes": size, "media_type": "x/ecg", "what": "ecg", "duration_ms": 0, "facts": {}}
        drafts = [Draft("clock/1", {"seconds_ms": first + n, "source": "gnss"}) for n in range(300)]
        store.commit_now(*drafts, Draft("recording/1", {**fields, "started_at": "2026-09-01T00:00:00.000Z"}))
        assert (await uploader().deliver_now()).complete
        clock.advance(10)

    assert not (await uploader().deliver_now()).complete
    key, salt = keys.verifier_key(), b"s" * SALT_BYTES
    client = RotatingClient("http://county.test", founded.county.verifier_key, keys, clock, line)
    assert (
        await client.ask_enrolment(
            bytes(EnrolmentAsk(key, "van-07", "川A·演07", salt, code_hash("12345678", salt, key), 1800))
        )
        == "waiting"
    )
    (waiting,) = founded.county.enrolments.waiting()
    founded.county.enrolments.confirm(waiting.id, "12345678", True, "xu.jing")
    store.transact(lambda db: db.execute("DELETE FROM parked"))
    await works(0)
    await works(1000)
    keys.prepare()
    keys.resume(store)
    await works(2000)
    store.close()


async def test_nothing_sent_again_changes_anything(founded: Founded) -> None:
    line = Listening(founded)
    await a_day(founded, line)
    paths = {request.url.path.rpartition("/")[2] for request in line.heard}
    assert {"add-checkpoint", "add-entries", "enrol", "rotate-key"} <= paths
    assert any(request.url.path.startswith("/recordings/") for request in line.heard)
    before = state_of(founded)
    chance = random.Random(7)
    statuses: set[int] = set()
    async with founded.client() as client:
        for order in (line.heard, line.heard[::-1], chance.sample(line.heard, len(line.heard))):
            for request in order:
                answer = await client.request(
                    request.method, request.url.path, headers=dict(request.headers), content=request.content
                )
                statuses.add(answer.status_code)
                assert answer.status_code < 500
            assert state_of(founded) == before
    assert 200 in statuses, "some are still within their time: otherwise this would be a test of clocks"
    assert 401 in statuses, "those by the old key are not"


async def test_after_its_time_nothing_signed_is_even_looked_at(founded: Founded) -> None:
    line = Listening(founded)
    await a_day(founded, line)
    before = state_of(founded)
    founded.clock.advance(LARGEST_SKEW_S + 60)
    async with founded.client() as client:
        for request in line.heard:
            answer = await client.request(
                request.method, request.url.path, headers=dict(request.headers), content=request.content
            )
            proves_itself = request.url.path.endswith("/rotate-key")
            assert answer.status_code == (200 if proves_itself else 401), request.url
    assert state_of(founded) == before


async def test_a_part_of_a_recording_sent_again_in_between_spoils_nothing(founded: Founded) -> None:
    van = founded.van("van-07")
    line = Listening(founded)
    client = RotatingClient("http://county.test", founded.county.verifier_key, _keys_of(van), founded.clock, line)
    content = random.Random(1).randbytes(500_000)
    name = sha256(content).hexdigest()
    assert (await client.append_recording(name, 0, content[:200_000], len(content))).offset == 200_000
    first = line.heard[-1]
    assert (await client.append_recording(name, 200_000, content[200_000:300_000], len(content))).offset == 300_000
    async with founded.client() as other:
        for request in (first, line.heard[-1], first):
            await other.request(
                request.method, request.url.path, headers=dict(request.headers), content=request.content
            )
    state = await client.recording_state(name)
    assert state.offset in (200_000, 300_000), "at worst the upload goes on from an earlier place"
    end = await client.append_recording(name, state.offset, content[state.offset :], len(content))
    assert end.complete


def _keys_of(van: Any) -> Any:
    """The van's plain signer, with the face that the client wants: nothing of it ever changes here."""

    class Same:
        name = van.signer.name
        verifier_key = van.signer.verifier_key
        sign = van.signer.sign
        waiting = None

    return Same()
