"""Four real worker processes on PostgreSQL, vans that send everything three times at once, a worker killed in between:
nothing is lost, nothing is there twice, and the tables are as one reader makes them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from county_month import PASSWORD
from sqlalchemy import select

from devices.clock import SystemClock
from sync.county.app import County, open_county
from sync.county.database import DatabaseRefused, fit_for_several_processes
from sync.county.schema import audit, entries, entry_facts, logs, metadata, projected, set_aside, subtrees, uploads
from sync.county.settings import CountySettings, read_county_settings
from sync.delivery.county_client import CountyClient
from sync.delivery.uploader import Uploader
from sync.formats.merkle import leaf_hash, root_of
from sync.formats.notes import Checkpoint, Note, SeedSigner
from sync.formats.records import Draft
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.sync.conftest import reading, recording
from tests.sync.postgresql import PostgresqlServer

VANS = 4
ROUNDS = 3
ENTRIES = 120


@dataclass
class Workers:
    """``python -m sync.county serve`` as it is started in a county."""

    folder: Path
    settings: CountySettings
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "sync.county", "--settings", str(self.folder / "county.toml")]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([*command, "serve", "--workers", "4", "--port", str(self.port)], stderr=log)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = (self.folder / "log").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if f'"event": "{event}"' in line]

    async def until(self, event: str) -> None:
        async with asyncio.timeout(180):
            while not self.said(event):
                assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
                await asyncio.sleep(0.05)

    def kill_one(self) -> None:
        """As the kernel does when memory is short."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        of_python = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(random.choice(of_python)), signal.SIGKILL)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


class Thrice(httpx.AsyncBaseTransport):
    """Every request goes out three times at once, over connections of their own; one of the answers is heard."""

    def __init__(self) -> None:
        self._ways = [httpx.AsyncHTTPTransport() for _ in range(3)]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        answers = await asyncio.gather(*(self._answer(way, request) for way in self._ways), return_exceptions=True)
        whole = [answer for answer in answers if isinstance(answer, httpx.Response)]
        if not whole:
            raise httpx.ConnectError("none of the three came back")
        return random.choice(whole)

    async def _answer(self, way: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        async with asyncio.timeout(30):
            answer = await way.handle_async_request(request)
            await answer.aread()
            return answer

    async def aclose(self) -> None:
        for way in self._ways:
            await way.aclose()


class Van:
    def __init__(self, folder: Path, number: int) -> None:
        self.origin = f"van-{number:02d}.qingyu.example"
        self.signer = SeedSigner(self.origin, bytes([number]) * 32)
        self._folder, self._number = folder / f"van-{number}", number

    def open(self, url: str, county: County) -> None:
        clock = SystemClock()
        self.store = Store.open(self._folder, self.origin, self.signer, clock, vehicle=f"van-{self._number:02d}")
        self.recordings = Recordings(self._folder)
        client = CountyClient(url, county.verifier_key, self.signer, clock, Thrice())
        self.uploader = Uploader(self.store, self.recordings, client, clock)

    async def work_and_deliver(self, round: int) -> None:
        first = (self._number * ROUNDS + round) * ENTRIES
        await asyncio.to_thread(self.store.commit_now, *(reading(first + n) for n in range(ENTRIES)))
        sha256, size = self.recordings.store(b"%d of %d " % (round, self._number) * 40_000, "x/ecg")
        await asyncio.to_thread(self.store.commit_now, recording(sha256, size), Draft("network/1", {"facts": {}}))
        for _ in range(100):
            if (await self.uploader.deliver_now()).complete:
                return
            await asyncio.sleep(0.2)
        raise AssertionError("not delivered")


@pytest.fixture
def county(tmp_path: Path, postgresql_server: PostgresqlServer) -> Iterator[County]:
    (tmp_path / "county.toml").write_text(
        'name = "青峪县"\ndata = "county"\norigin = "county.qingyu.example"\n'
        f'database = "{postgresql_server.fresh_database()}"\n'
    )
    county = open_county(read_county_settings(tmp_path / "county.toml"))
    county.accounts.add("xu.jing", "许静", "administrator", PASSWORD)
    yield county
    county.close()


@pytest.fixture
def workers(tmp_path: Path, county: County) -> Iterator[Workers]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = Workers(tmp_path, county.settings, port)
    yield workers
    if workers.process.poll() is None:
        workers.process.kill()
        workers.process.wait(10)


async def test_four_workers_lose_nothing_and_double_nothing(tmp_path: Path, county: County, workers: Workers) -> None:
    vans = [Van(tmp_path, number) for number in range(VANS)]
    for van in vans:
        county.fleet.enrol(van.origin, str(van.signer.verifier_key()))
        van.open(workers.url, county)
    await workers.until("service_started")
    served = await asyncio.gather(_look_at_the_month(workers, 6), *(_drive(van) for van in vans), _kill(workers))
    assert workers.said("service_restarted"), "the killed worker was replaced"
    assert workers.stop() == 0

    for van in vans:
        _same_journal(county, van)
    _one_reader_makes_the_same_tables(county)
    stored = county.database.rows(select(uploads))
    assert len(stored) == VANS * ROUNDS
    for row in stored:
        assert sum(map(len, county.blobs.read(row["sha256"]))) == row["bytes"]
    signed_in = [line for line in county.database.rows(select(audit)) if line["action"] == "sign_in"]
    assert len(signed_in) == served[0]
    for van in vans:
        van.store.close()


async def _drive(van: Van) -> None:
    for round in range(ROUNDS):
        await van.work_and_deliver(round)


async def _kill(workers: Workers) -> None:
    await asyncio.sleep(1.0)
    workers.kill_one()
    await workers.until("service_restarted")


async def _look_at_the_month(workers: Workers, times: int) -> int:
    """Sign in and look, as several administrators would; how many sign-ins were answered."""

    async def once() -> int:
        with suppress(httpx.TransportError):  # of the worker that is killed
            async with httpx.AsyncClient(base_url=workers.url, trust_env=False, timeout=30) as client:
                answer = await client.post("/sign-in", data={"account": "xu.jing", "password": PASSWORD})
                signed_in = answer.status_code == 303
                assert (await client.get("/api/coverage?month=2026-09")).status_code == 200
                return int(signed_in)
        return 0

    return sum([await once() for _ in range(times)])


def _same_journal(county: County, van: Van) -> None:
    size = van.store.size()
    log = county.mirror.log(van.origin)
    assert (log.next_entry, log.mirror_size) == (size, size)
    stored = county.database.rows(select(entries).where(entries.c.origin == van.origin).order_by(entries.c.n))
    assert [row["body"] for row in stored] == list(van.store.entries(0, size))
    assert [row["n"] for row in stored] == list(range(size))
    complete = county.database.rows(select(subtrees.c.level, subtrees.c.place).where(subtrees.c.origin == van.origin))
    assert len(complete) == sum(size >> level for level in range(1, size.bit_length()))
    note = county.mirror.checkpoint(van.origin)
    assert note is not None
    checkpoint = Checkpoint.parse(Note.parse(note).text)
    assert (checkpoint.size, checkpoint.root) == (size, root_of(map(leaf_hash, van.store.entries(0, size))))
    assert van.store.waiting().entries == 0


def _one_reader_makes_the_same_tables(county: County) -> None:
    county.interpreter.catch_up_all()  # what was stored while the workers were told to stop
    read = _tables(county)
    assert len(read["readings"]) == VANS * ROUNDS * ENTRIES
    assert read["set_aside"] == []
    county.interpreter.rebuild()
    assert _tables(county) == read
    for row in county.database.rows(select(logs)):
        assert row["interpreted"] == row["next_entry"]


def _tables(county: County) -> Mapping[str, list[dict[str, Any]]]:
    tables = [metadata.tables[name] for name in (*projected, entry_facts.name, set_aside.name)]
    return {table.name: county.database.rows(select(table).order_by(*table.primary_key)) for table in tables}


def test_several_workers_on_an_old_sqlite_are_refused(tmp_path: Path) -> None:
    for url in ("sqlite:////srv/county.db", f"sqlite:///{tmp_path / 'county.db'}"):
        with pytest.raises(DatabaseRefused, match=r"need PostgreSQL .* or SQLite 3\.51\.3"):
            fit_for_several_processes(url, (3, 51, 2))
        fit_for_several_processes(url, (3, 51, 3))
    fit_for_several_processes("postgresql://county@/county", (3, 40, 1))


@pytest.mark.skipif(__import__("sqlite3").sqlite_version_info >= (3, 51, 3), reason="skipped: a sound SQLite")
def test_the_command_line_says_why(tmp_path: Path) -> None:
    (tmp_path / "county.toml").write_text('name = "青峪县"\ndata = "county"\norigin = "county.qingyu.example"\n')
    command = [sys.executable, "-m", "sync.county", "--settings", str(tmp_path / "county.toml"), "serve"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert re.search(r"several workers need PostgreSQL", done.stderr)
    assert not (tmp_path / "county").exists()
