"""A database that is cut off in the middle: requests are put off, not refused; what was answered for is still there."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from county_month import Founded, Van, at
from signed_posts import Post, asking, fill, stored, upload

from devices.clock import SimulatedClock
from sync.county.database import Database, DatabaseRefused
from sync.county.schema import metadata
from tests.sync import postgresql
from tests.sync.postgresql import PostgresqlServer


@pytest.fixture
def server() -> Iterator[PostgresqlServer]:
    """One of its own, as it is pulled out from under the county."""
    if not postgresql.installed():
        pytest.skip("skipped: postgresql not installed")
    server = PostgresqlServer()
    yield server
    server.close()


async def test_a_county_goes_on_when_its_database_is_back(tmp_path: Path, server: PostgresqlServer) -> None:
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), server.fresh_database())
    van: Van = founded.van("van-07")
    post = Post(founded, van.signer)
    fill(van, 300)
    assert (await van.deliver()).complete
    fill(van, 300)
    asked = asking(van, old=301)
    assert (await post.checkpoint(asked)).status_code == 200

    server.stop("immediate")
    for answer in (
        await post.entries(upload(van, start=301)),
        await post.checkpoint(asked),
        await founded.client().get(f"/log/{van.store.origin}/checkpoint"),
        await founded.client().post("/sign-in", data={"account": "xu.jing", "password": "x"}),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30"), answer.text
    assert not (await van.deliver()).complete
    assert van.uploader.status().parked == []

    server.start()
    assert stored(founded) >= 301
    assert (await van.deliver()).complete
    size = van.store.size()
    assert [body for _, body in founded.county.mirror.bodies(van.store.origin, 0, size)] == list(
        van.store.entries(0, size)
    )
    assert founded.county.interpreter.catch_up(van.store.origin) == 0
    founded.close()


def test_a_database_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    for url, said in (
        (f"postgresql://county@/county?host={tmp_path}", "cannot be opened"),
        ("mysql://county@db/county", "must be"),
        ("nonsense", "must be"),
        (f"sqlite:///{tmp_path}", "cannot be opened"),
    ):
        with pytest.raises(DatabaseRefused, match=said):
            Database(url, metadata)


def test_a_run_of_tests_that_is_killed_leaves_no_server_behind() -> None:
    if not postgresql.installed():
        pytest.skip("skipped: postgresql not installed")
    run = "from tests.sync.postgresql import *\nprint(PostgresqlServer().pid, flush=True)\ntime.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        server = Path("/proc", running.stdout.readline().strip())
        assert (server / "comm").read_text() == "postgres\n"
        running.kill()
    until = time.monotonic() + 30
    while server.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not server.exists()
