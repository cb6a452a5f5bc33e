"""The county's lists and its work of twelve months with 600 villages, 20 vans and three years of people.

Rows of the tables that are read out of entries are written here as the interpreter would write them; nobody drives.
Each figure is told beside one plain SQL statement over the same rows, the least that a count of screened people can
cost: how many different patients have a result of each rule and code. Memory is what Python itself holds at the most
(tracemalloc, in a run of its own); CPU is this process's, with SQLite and without PostgreSQL's server.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, insert, select, text

from sync.county.attendances import BIT
from sync.county.database import Database
from sync.county.diseases import FOUND_BY_RULE
from sync.county.migrations import prepare
from sync.county.programme_lists import LISTS, ProgrammeLists
from sync.county.schema import attendances, logs, metadata, projected, same_people, visit_work
from sync.county.visit_work import SERVED
from sync.county.work_report import work_report
from sync.formats.records import format_time
from sync.proof.presence import LOCAL
from tests.sync.postgresql import PostgresqlServer, installed

FIRST = date(2024, 1, 1)
WORK_GOAL_MS = 200
ON_TWO_VANS = 0.01
"""Share of the people whom a second van has registered too."""
_TOGETHER = 5000
_TABLES = ("patients", "visits", "encounters", "screening_results", "conditions", "programme_memberships")
_OTHERS = {"visit_work": visit_work, "attendances": attendances, "same_people": same_people}
Rows = dict[str, list[dict[str, Any]]]


def filled(database: Database, villages: int, vans: int, years: int, people: int) -> int:
    """:param people: served in each visit; returns how many people there are"""
    chance = random.Random(5)
    origins = [f"van-{number:02d}.county.example" for number in range(vans)]
    known = {"pending_size": 0, "next_entry": 0, "mirror_size": 0, "practice": False}
    with database.write() as connection:
        connection.execute(insert(logs), [{"origin": origin, **known} for origin in origins])
    count = 0
    rows: Rows = {name: [] for name in (*_TABLES, *_OTHERS)}
    for village in range(villages):
        origin, other = origins[village % vans], origins[(village + 1) % vans]
        residents = [f"patient-{village:04d}-{number:03d}" for number in range(people * 12)]
        count += len(residents)
        for patient in residents:
            told = {"name": "演练居民", "sex": "female", "born_on": "1959-03-12", "id_last4": patient[-4:]}
            rows["patients"].append({"origin": origin, "patient": patient, **told, "registered_at": _at(FIRST)})
            _illnesses(rows, origin, patient, village, chance)
            if chance.random() < ON_TWO_VANS:
                for van in (origin, other):
                    first = {"first_origin": origin, "first_patient": patient}
                    rows["same_people"].append({"origin": van, "patient": patient, **first})
        for month in range(12 * years):
            seen: dict[str, tuple[int, int]] = {}
            for day in (1 + village % 14, 15 + village % 13):
                _visit(rows, origin, village, _day(month, day), chance.sample(residents, people), chance, seen)
        _write(database, rows)
    _write(database, rows, least=1)
    return count


def _illnesses(rows: Rows, origin: str, patient: str, village: int, chance: random.Random) -> None:
    where = {"origin": origin, "patient": patient}
    if chance.random() < 0.2:
        rows["conditions"].append({**where, "condition": "hypertension", "state": "known", "since": _at(FIRST)})
    if chance.random() < 0.2:
        said = {"programme": "hypertension", "state": "member", "since": FIRST.isoformat(), "at": _at(FIRST)}
        rows["programme_memberships"].append({**where, **said, "village": _code(village), "practice": 0})


def _visit(
    rows: Rows,
    origin: str,
    village: int,
    day: date,
    served: list[str],
    chance: random.Random,
    seen: dict[str, tuple[int, int]],
) -> None:
    """:param seen: by patient, for what each was screened and what was found earlier in the month"""
    visit, at = f"visit-{village:04d}-{day:%Y%m%d}", _at(day)
    of_visit = {"origin": origin, "visit": visit}
    named = {"village": _code(village), "village_name": f"第{village}村", "township": f"第{village // 20}镇"}
    rows["visits"].append({**of_visit, **named, "opened_at": at, "practice": 0})
    rows["visit_work"].append({**of_visit, "what": SERVED, "people": len(served), "found": 0})
    for patient in served:
        where = {**of_visit, "patient": patient}
        rows["encounters"].append({**where, "encounter": f"{visit}-{patient}", "opened_at": at, "practice": 0})
        screened = found = 0
        for rule, code, disease in _SCREENED:
            if chance.random() < 0.75:
                here = chance.random() < 0.2
                screened |= BIT[disease]
                found |= BIT[disease] * here
                result = {"result": f"{visit}-{patient}-{rule}", "rule": rule, "code": code if here else "NORMAL"}
                rows["screening_results"].append({**where, **result, "at": at})
        kept = {"day": day.isoformat(), "month": f"{day:%Y-%m}", "person": f"{origin} {patient}", "served_at": at}
        before = seen.get(patient, (0, 0))
        seen[patient] = (before[0] | screened, before[1] | found)
        new = {"new_screened": screened & ~before[0], "new_found": found & ~before[1]}
        rows["attendances"].append({**where, **kept, "screened": screened, "found": found, **new})


_SCREENED = tuple({disease: (rule, code, disease) for (rule, code), disease in FOUND_BY_RULE.items()}.values())


def _write(database: Database, rows: Rows, least: int = _TOGETHER) -> None:
    with database.write() as connection:
        for name, made in rows.items():
            if len(made) >= least:
                table: Table = _OTHERS.get(name, projected.get(name))  # type: ignore[assignment]
                connection.execute(insert(table), made)
                made.clear()


def _code(village: int) -> str:
    return f"5109{village // 20:05d}{village % 20 + 200:03d}"


def _day(month: int, day: int) -> date:
    return date(FIRST.year + month // 12, month % 12 + 1, day)


def _at(day: date) -> str:
    return format_time(datetime(day.year, day.month, day.day, 9, tzinfo=LOCAL))


# measured -------------------------------------------------------------------------------------------------------------


def measure(name: str, database: Database, last: date, rounds: int) -> float:
    """Prints the figures of this database; the median of the work of twelve months, ms."""
    results = projected["screening_results"]
    patients = func.count(results.c.patient.distinct())
    plain = select(results.c.rule, results.c.code, patients).group_by(results.c.rule, results.c.code)
    now = datetime.combine(last, datetime.min.time(), UTC) + timedelta(hours=12)

    def page() -> object:
        lists = ProgrammeLists(database, practice=False)
        year = last.replace(month=1, day=1)
        return [lists.people(of) for of in LISTS], lists.closed_in_time(), lists.people_served(year)

    def lines() -> Iterator[object]:
        return ProgrammeLists(database, practice=False).lines("chronic")

    asked: dict[str, Callable[[], object]] = {
        "plain SQL": lambda: database.rows(plain),
        "page of the lists": page,
        "counts by village": lambda: ProgrammeLists(database, practice=False).counts("chronic"),
        "every named line": lambda: sum(1 for _ in lines()),
        "first 100 named lines": lambda: list(islice(lines(), 100)),
        "work of a month": lambda: work_report(database, (), last.replace(day=1), "township", False, now),
        "work of twelve months": lambda: work_report(database, (), last.replace(day=1), "month", False, now),
    }
    print(f"{name}: {sum(1 for _ in lines())} lines of chronic diseases")
    plain_ms, work_ms = 0.0, 0.0
    for what, work in asked.items():
        wall, cpu = _taken(work, rounds)
        plain_ms, work_ms = plain_ms or wall, wall
        ratio, peak = wall / plain_ms, _peak_mb(work)
        print(f"  {what:<22} {wall:7.0f} ms, CPU {cpu:6.0f} ms, {ratio:5.2f} x plain, {peak:6.1f} MB", flush=True)
    return work_ms


def _taken(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Medians of wall and CPU, ms; the first time is not counted."""
    work()
    taken = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        taken.append(((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000))
    return statistics.median(one[0] for one in taken), statistics.median(one[1] for one in taken)


def _peak_mb(work: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("villages", 600), ("vans", 20), ("years", 3), ("people", 12), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = parser.parse_args()
    last = date(FIRST.year + asked.years - 1, 12, 28)
    servers = [PostgresqlServer()] if installed() else []
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'county.db'}"}
        if servers:
            urls["PostgreSQL"] = servers[0].fresh_database()
        try:
            for name, url in urls.items():
                with closing(Database(url, metadata, prepare)) as database:
                    began = time.monotonic()
                    people = filled(database, asked.villages, asked.vans, asked.years, asked.people)
                    with database.write() as connection:
                        connection.execute(text("ANALYZE"))
                    took_s, load = time.monotonic() - began, os.getloadavg()[0]
                    print(f"{people} people made in {took_s:.0f} s; load of the machine {load:.1f}", flush=True)
                    worst = max(worst, measure(name, database, last, asked.rounds))
        finally:
            for server in servers:
                server.close()
    reached = worst <= WORK_GOAL_MS
    print(f"\ngoal: work of twelve months within {WORK_GOAL_MS} ms: {'reached' if reached else 'NOT reached'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
