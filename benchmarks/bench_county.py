"""The county's month table: 600 villages, a year of work by 20 vans, on SQLite and on PostgreSQL.

The year is made once through the real mirror and interpreter (``county_year.py``), its past months are sealed, and it
is kept under ``build/``, by what it is made of. PostgreSQL gets the same tables from SQLite. Every month of the year
is asked for in turn:

- first: by a county opened anew, as the first table after its start
- again: by the same county
- page: ``GET /county/coverage`` through the application, signed in, HTML included
- JSON: ``GET /api/coverage`` in the same way

Times are of the wall; CPU is this process's own share of it, without the database server's. Goal: every table within
200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import httpx
import psycopg
from argon2 import PasswordHasher

from benchmarks.county_year import Size, found, live_through
from devices.clock import SimulatedClock
from sync.county.app import create_county, open_county
from sync.county.database import Database
from sync.county.migrations import prepare
from sync.county.schema import metadata
from sync.county.settings import CountySettings
from sync.proof.coverage import end_of_month
from sync.proof.presence import LOCAL
from sync.service import collect_rarely
from tests.sync.postgresql import PostgresqlServer, installed

GOAL_MS = 200
MADE = 2
"""Raise it when ``county_year.py`` makes something else of the same size."""
BUILD = Path("build")
_ENOUGH_BYTES = 8 * 1024**3
ACCOUNT, PASSWORD = "xu.jing", "practice-2580"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Signing in is not what is measured."""
_LEFT_OUT = {"audit", "registry", "refused_checkpoints"}
"""Empty, or numbered by the database itself."""
Taken = tuple[float, float]
"""Wall and CPU, ms."""
_Asked = ParamSpec("_Asked")
_Result = TypeVar("_Result")


# what is measured -----------------------------------------------------------------------------------------------------


def kept_year(size: Size) -> CountySettings:
    """The year of ``size``; made when it is not there yet."""
    parts = (MADE, size.year, size.months, size.villages, size.vans, size.people, size.every_s, size.entry_s)
    folder = BUILD / ("county-year-" + "-".join(map(str, parts)))
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=_memory()) as name:
            _make(_settings(Path(name) / "county"), size)
            BUILD.mkdir(exist_ok=True)
            shutil.move(Path(name) / "county", folder)
    settings = _settings(folder)
    county = open_county(settings, after(size), hasher=QUICK)
    with closing(county):
        read = county.interpreter.catch_up_all()  # again, when the program reads entries otherwise than it did then
        for vehicle in county.fleet.all():
            while county.visits.work_out(vehicle.origin):
                pass
    if read:
        print(f"  the year was read again: {read} entries", flush=True)
    return settings


def _make(settings: CountySettings, size: Size) -> None:
    began = time.monotonic()
    county, journals = found(settings, size)
    for month, entries in live_through(county, journals, size):
        print(f"  making the year: month {month}, {entries} entries, {time.monotonic() - began:.0f} s", flush=True)
    county.close()
    finish(settings, size)


def finish(settings: CountySettings, size: Size) -> None:
    """Seal the months that are over, and let somebody in."""
    county = open_county(settings, after(size), hasher=QUICK)
    county.sealing.seal_due()
    county.accounts.add(ACCOUNT, "许静", "administrator", PASSWORD)
    county.close()


def _settings(folder: Path, database: str = "") -> CountySettings:
    return CountySettings(name="年度", data=folder, origin="county.bench.example", database=database)


def after(size: Size) -> SimulatedClock:
    """The evening of the last day of the last month, which goes on."""
    last = end_of_month(date(size.year, size.months, 1))
    return SimulatedClock(datetime(last.year, last.month, last.day, 20, 0, tzinfo=LOCAL).astimezone(UTC))


def copied(settings: CountySettings, server: PostgresqlServer, folder: Path) -> CountySettings:
    """The same county in a database of ``server``; its keys in ``folder``."""
    shutil.copytree(settings.data / "keys", folder / "keys")
    there = _settings(folder, server.fresh_database())
    Database(there.database_url, metadata, prepare).close()
    address = there.database_url
    with (
        closing(sqlite3.connect(settings.data / "county.db")) as source,
        psycopg.connect(address) as target,
        target.cursor() as cursor,
    ):
        for table in metadata.sorted_tables:
            if table.name in _LEFT_OUT:
                continue
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            cursor.execute(f"TRUNCATE {table.name}".encode())
            with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN".encode()) as into:
                for row in source.execute(f"SELECT {names} FROM {table.name}"):
                    into.write_row(row)
    with psycopg.connect(address, autocommit=True) as target:
        target.execute("VACUUM ANALYZE")
    return there


# measuring ------------------------------------------------------------------------------------------------------------


def measure(name: str, settings: CountySettings, size: Size) -> float:
    """Prints the times on this database; the slowest table, ms."""
    months = [date(size.year, number, 1) for number in range(1, size.months + 1)]
    first, again = _tables(settings, size, months)
    page, said = asyncio.run(_requests(settings, size, months))
    print(f"{name}: {len(months)} months")
    for what, taken in (("first", first), ("again", again), ("page", page), ("JSON", said)):
        wall, cpu = ([one[place] for one in taken] for place in (0, 1))
        print(
            f"  {what:<6} median {statistics.median(wall):5.0f} ms   worst {max(wall):5.0f} ms   "
            f"CPU: median {statistics.median(cpu):4.0f} ms, worst {max(cpu):4.0f} ms"
        )
    return max(wall for wall, _ in (*first, *again))


def _tables(settings: CountySettings, size: Size, months: Sequence[date]) -> tuple[list[Taken], list[Taken]]:
    first, again = [], []
    for month in months:
        county = open_county(settings, after(size), hasher=QUICK)
        with closing(county):
            table, taken = _timed(county.coverage.table, month, False)
            visits = sum(len(row.visits) for row in table.rows)
            if (len(table.rows), visits) != (size.villages, 2 * size.villages):
                raise SystemExit(f"{month:%Y-%m} has {len(table.rows)} villages and {visits} visits")
            first.append(taken)
            again.append(_timed(county.coverage.table, month, False)[1])
    return first, again


def _timed(work: Callable[_Asked, _Result], *asked: _Asked.args, **how: _Asked.kwargs) -> tuple[_Result, Taken]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(*asked, **how)
    return result, ((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000)


async def _requests(settings: CountySettings, size: Size, months: Sequence[date]) -> tuple[list[Taken], list[Taken]]:
    """The page and the JSON of each month, through the whole application."""
    app = create_county(settings, after(size), hasher=QUICK)
    with closing(app.state.county):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://county.test") as client:
            signed_in = await client.post("/sign-in", data={"account": ACCOUNT, "password": PASSWORD})
            if signed_in.status_code != 303:
                raise SystemExit(f"signing in: {signed_in.status_code}")
            pages = [await _got(client, "/county/coverage", month) for month in months]
            return pages, [await _got(client, "/api/coverage", month) for month in months]


async def _got(client: httpx.AsyncClient, path: str, month: date) -> Taken:
    wall, cpu = time.perf_counter(), time.process_time()
    answer = await client.get(path, params={"month": f"{month:%Y-%m}", "practice": "0"})
    taken = (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000
    if answer.status_code != 200:
        raise SystemExit(f"{path}: {answer.status_code}")
    return taken


def _memory() -> Path | None:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _ENOUGH_BYTES else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("vans", 20), ("villages", 600), ("months", 12)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    size = Size(asked.vans, asked.villages, asked.months, every_s=60, entry_s=1800)
    settings = kept_year(size)
    collect_rarely()  # as the county's processes do
    print(f"{size.villages} villages, {size.vans} vans; load of the machine {os.getloadavg()[0]:.1f}")
    worst = measure("SQLite", settings, size)
    if installed():
        server = PostgresqlServer()
        with closing(server), tempfile.TemporaryDirectory() as name:
            worst = max(worst, measure("PostgreSQL", copied(settings, server, Path(name)), size))
    else:
        print("PostgreSQL: not installed")
    print(f"\ngoal: every table within {GOAL_MS} ms: " + ("reached" if worst <= GOAL_MS else "NOT reached"))
    return 0 if worst <= GOAL_MS else 1


if __name__ == "__main__":
    sys.exit(main())
