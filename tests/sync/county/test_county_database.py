"""What several processes may do with one database at once, and what a transaction sees."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, insert, select

from sync.county.database import Database
from sync.county.schema import audit, meta, metadata

_COUNT_UP = """
import sys
from sqlalchemy import select, update
from sync.county.database import Database
from sync.county.schema import meta, metadata
database = Database(sys.argv[1], metadata)
for _ in range(60):
    with database.write("counter") as connection:
        value = int(connection.execute(select(meta.c.value)).scalar_one())
        connection.execute(update(meta).values(value=str(value + 1)))
database.close()
"""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, metadata)
    yield database
    database.close()


def test_named_locks_hold_among_processes(database: Database, database_url: str) -> None:
    """Three processes read, add one and write, sixty times each; SQLite of any release, as a command line may run."""
    with database.write() as connection:
        connection.execute(insert(meta).values(key="counter", value="0"))
    command = [sys.executable, "-c", _COUNT_UP, database_url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    assert database.rows(select(meta.c.value)) == [{"value": "180"}]


def test_a_view_stays_as_it_was_when_it_began(database: Database) -> None:
    def count(connection: object) -> int:
        return int(connection.execute(select(func.count()).select_from(audit)).scalar_one())  # type: ignore[attr-defined]

    with database.read() as view:
        assert count(view) == 0
        with ThreadPoolExecutor(1) as another:
            another.submit(database.insert_new, meta, {"key": "k", "value": "v"}).result(30)
        assert view.execute(select(meta)).all() == []
    assert len(database.rows(select(meta))) == 1


def test_what_breaks_off_is_undone(database: Database) -> None:
    def break_off() -> None:
        with database.write("x") as connection:
            connection.execute(insert(meta).values(key="k", value="v"))
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert database.rows(select(meta)) == []
    assert database.insert_new(meta, {"key": "k", "value": "v"})
    assert not database.insert_new(meta, {"key": "k", "value": "other"})
    assert database.rows(select(meta.c.value)) == [{"value": "v"}]


def test_upserts_keep_what_is_not_given(database: Database) -> None:
    with database.write() as connection:
        database.upsert(connection, meta, [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
        database.upsert(connection, meta, [{"key": "a", "value": "3"}])
        database.upsert(connection, meta, [{"key": "b"}, {"key": "c"}])
        database.upsert(connection, meta, [])
    found = {row["key"]: row["value"] for row in database.rows(select(meta))}
    assert found == {"a": "3", "b": "2", "c": None}


def test_a_write_inside_a_write_is_told_not_waited_for(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("PostgreSQL has many writers")
    with database.write(), pytest.raises(RuntimeError, match="inside another"), database.write():
        pass
    done = threading.Event()
    with database.write():
        done.set()
    assert done.is_set(), "free again"
