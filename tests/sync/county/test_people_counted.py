"""People are counted, not times: one on two vans is one, in the months, lists and follow-ups of the county."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from county_month import Founded, at
from county_work import Patrol
from sqlalchemy import insert, select, update

from devices.clock import SimulatedClock
from sync.county.database import Database
from sync.county.follow_up_report import Count, follow_up_report, shown_once
from sync.county.migrations import prepare
from sync.county.programme_lists import ProgrammeLists
from sync.county.registrations import of_person, relink
from sync.county.same_person import Registration, SamePeople
from sync.county.schema import attendances, logs, metadata, projected, same_people
from sync.county.work_report import By, Tally, WorkReport, work_report
from sync.county.work_table import Showing, screened
from sync.record.person_links import LINKED, UNLINKED, PersonLinks

SEPTEMBER = date(2026, 9, 1)
HIGH, NORMAL, SUGAR = ("BP-GRADE", "HTN1"), ("BP-GRADE", "NORMAL"), ("GLU-SCREEN", "DM_RANGE")
NUMBERED = {"born_on": "1959-03-12", "id_last4": "0426", "id_kind": "resident"}


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), database_url)
    for name in ("van-07", "van-09"):
        county.van(name)
    yield county
    county.close()


def patrol(founded: Founded, van: str, village: int, moment: datetime) -> Patrol:
    return Patrol(founded.vans[van], village, moment)


def registered(visit: Patrol, name: str, **more: str) -> str:
    patient = visit.van.id("patient")
    visit.tell("patient/1", {"patient": patient, "name": name, "sex": "female", "source": "manual", **more})
    return patient


def screen(visit: Patrol, patient: str, *results: tuple[str, str], minutes: float = 0) -> None:
    encounter = visit.van.id("encounter")
    visit.tell("encounter/1", {"encounter_id": encounter, "patient": patient, "purpose": ""}, encounter, minutes)
    for rule, code in results:
        told = {"result": visit.van.id("result"), "patient": patient, "rule": rule, "rule_version": "1"}
        visit.tell("screening_result/1", {**told, "inputs": {}, "code": code, "level": "green"}, encounter, minutes)


async def read(founded: Founded) -> None:
    for van in founded.vans.values():
        assert (await van.deliver()).complete
    founded.county.interpreter.catch_up_all()


def report(founded: Founded, by: By, month: date = SEPTEMBER) -> WorkReport:
    county = founded.county
    return work_report(county.database, founded.villages, month, by, False, county.clock.now())


def numbers(tally: Tally | None) -> tuple[dict[str, int], dict[str, int]]:
    assert tally is not None
    return tally.screened, tally.found


async def test_who_is_screened_three_times_by_two_vans_is_one_person_of_the_month(founded: Founded) -> None:
    first = patrol(founded, "van-07", 0, at(9, 3, 9))
    one, other = registered(first, "杨桂芳", **NUMBERED), registered(first, "无证的", born_on="1950-01-01")
    screen(first, one, NORMAL)
    screen(first, other, NORMAL)
    screen(patrol(founded, "van-07", 1, at(9, 17, 9)), one, HIGH)
    there = patrol(founded, "van-09", 2, at(9, 10, 9))
    screen(there, registered(there, "杨桂芳", **NUMBERED), HIGH, SUGAR)
    screen(there, registered(there, "无证的", born_on="1950-01-01"), NORMAL)
    screen(patrol(founded, "van-07", 0, at(8, 20, 9)), one, HIGH)
    await read(founded)
    vans = report(founded, "van")
    assert numbers(vans.rows["van-07"]) == ({"hypertension": 2}, {"hypertension": 1})
    assert numbers(vans.rows["van-09"]) == ({"hypertension": 2, "diabetes": 1}, {"hypertension": 1, "diabetes": 1})
    together = {"hypertension": 3, "diabetes": 1}, {"hypertension": 1, "diabetes": 1}
    assert numbers(vans.screening) == together
    (township,) = report(founded, "township").rows.values()
    assert numbers(township) == together
    assert (township.visits, township.served) == (3, 5)
    months = report(founded, "month")
    assert numbers(months.rows["2026-09"]) == together
    assert numbers(months.rows["2026-08"]) == ({"hypertension": 1}, {"hypertension": 1})
    assert months.screening is None
    lists = ProgrammeLists(founded.county.database, practice=False)
    assert [(line.what, line.on, line.person.origin) for line in lists.lines("chronic")] == [
        ("diabetes", date(2026, 9, 10), "van-07.qingyu.example"),
        ("hypertension", date(2026, 9, 17), "van-07.qingyu.example"),
    ]
    assert (lists.people("chronic"), lists.people_served(SEPTEMBER)) == (1, 3)
    assert [(one.village, one.what, one.people) for one in lists.counts("chronic")] == [
        (founded.villages[1].code, "diabetes", 1),
        (founded.villages[1].code, "hypertension", 1),
    ]


async def test_numbers_follow_when_somebody_links_two_registrations_and_parts_them_again(founded: Founded) -> None:
    visit = patrol(founded, "van-07", 0, at(9, 3, 9))
    one, two = registered(visit, "杨桂芳"), registered(visit, "杨桂芬")
    screen(visit, one, HIGH)
    screen(patrol(founded, "van-07", 0, at(9, 17, 9)), two, HIGH)
    told = []
    for action in ("", LINKED, UNLINKED, LINKED):
        if action:
            visit.tell("access/1", {"action": action, "what": f"{two} {one}"})
        await read(founded)
        told.append([numbers(report(founded, by).rows[name]) for by, name in _ROWS])
    once, twice = ({"hypertension": 1}, {"hypertension": 1}), ({"hypertension": 2}, {"hypertension": 2})
    assert told == [[twice] * 2, [once] * 2, [twice] * 2, [once] * 2]
    before = rows_of(founded)
    founded.county.interpreter.rebuild()
    assert rows_of(founded) == before


_ROWS: tuple[tuple[By, str], ...] = (("van", "van-07"), ("month", "2026-09"))


def rows_of(founded: Founded) -> list[list[dict[str, Any]]]:
    tables = (attendances, same_people)
    return [founded.county.database.rows(select(table).order_by(*table.primary_key)) for table in tables]


async def test_a_month_ends_at_midnight_in_china(founded: Founded) -> None:
    """The last minutes of August are still 31 August 15:59 UTC; a visit goes on over midnight."""
    night = patrol(founded, "van-07", 0, at(8, 31, 23, 50))
    screen(night, registered(night, "甲"), HIGH, minutes=9)
    screen(night, registered(night, "乙"), HIGH, minutes=10)
    await read(founded)
    months = report(founded, "month").rows
    assert numbers(months["2026-08"]) == numbers(months["2026-09"]) == ({"hypertension": 1}, {"hypertension": 1})
    assert (months["2026-08"].visits, months["2026-09"].visits) == (1, 0)
    assert [line.on for line in ProgrammeLists(founded.county.database, False).lines("chronic")] == [
        date(2026, 8, 31),
        date(2026, 9, 1),
    ]


async def test_who_plays_in_practice_is_nobody_real(founded: Founded) -> None:
    founded.van("van-30", practice=True)
    for van in ("van-07", "van-30"):
        visit = patrol(founded, van, 0, at(9, 3, 9))
        screen(visit, registered(visit, "杨桂芳", **NUMBERED), HIGH)
    await read(founded)
    assert founded.county.database.rows(select(same_people)) == []
    assert numbers(report(founded, "month").rows["2026-09"]) == ({"hypertension": 1}, {"hypertension": 1})


async def test_a_member_on_two_vans_is_one_due_by_what_was_said_last(founded: Founded) -> None:
    """杨桂芳 joins on both, and the second van signs her form; 罗秀珍 has left, which only the second van knows."""
    here, there = (patrol(founded, van, village, at(9, 1, 9)) for van, village in (("van-07", 0), ("van-09", 1)))
    names = ("杨桂芳", "罗秀珍", "陈国梁")
    ids = {name: [registered(visit, name, **NUMBERED) for visit in (here, there)] for name in names}

    def joins(visit: Patrol, patient: str, since: str, minutes: float, state: str = "member") -> None:
        said = {"patient": patient, "programme": "hypertension", "state": state, "since": since}
        where = {"village": visit.village.code, "village_name": visit.village.name}
        visit.tell("programme_membership/1", {**said, **where}, minutes=minutes)

    def signs(visit: Patrol, patient: str, next_on: str, minutes: float) -> None:
        said = {"form": "hypertension", "form_version": "1", "patient": patient, "answers": {}, "next_on": next_on}
        visit.tell("follow_up_form/1", said, minutes=minutes)

    for name, patients in ids.items():
        joins(here, patients[0], "2026-01-05", 1)
        joins(there, patients[1], "2026-06-01", 2, "left" if name == "罗秀珍" else "member")
    signs(here, ids["杨桂芳"][0], "2026-06-01", 3)
    signs(there, ids["杨桂芳"][1], "2026-12-01", 4)
    await read(founded)
    county = founded.county
    rows = follow_up_report(county.database, founded.villages, at(9, 1, 20), practice=False).rows
    assert [(row.code, row.counts) for row in rows] == [(there.village.code, {"hypertension": Count(2, 0, 1)})]
    assert report(founded, "van").rows["van-09"].follow_ups == Count(2, 0, 1)
    assert report(founded, "van").rows["van-07"].follow_ups == Count()


@pytest.mark.parametrize("seed", range(12))
def test_who_is_one_person_does_not_depend_on_the_order_of_reading(tmp_path: Path, seed: int) -> None:
    """Registrations, corrections and links come in small batches, in any order: at the end it is as if all had come
    at once."""
    chance = random.Random(seed)
    database = Database(f"sqlite:///{tmp_path / 'county.db'}", metadata, prepare)
    vans = {f"van-{number}": number == 3 for number in range(4)}
    mirrored = {"pending_size": 0, "next_entry": 0, "mirror_size": 0}
    with database.write() as connection:
        kept = [{"origin": van, "practice": played, **mirrored} for van, played in vans.items()]
        connection.execute(insert(logs), kept)
    patients, notes = projected["patients"], projected["access_log"]
    for step in range(60):
        van = chance.choice(sorted(vans))
        names = [f"p{chance.randrange(12)}" for _ in range(2)]
        with database.write() as connection:
            if chance.random() < 0.3 and names[0] != names[1]:
                row = {"n": step, "action": chance.choice((LINKED, UNLINKED)), "what": " ".join(names)}
                connection.execute(insert(notes), [{"origin": van, **row}])
            else:
                del names[1]
                told = {"name": f"n{chance.randrange(2)}", "sex": "female", "born_on": "1959-03-12"}
                told |= {"id_last4": f"{chance.randrange(6):04d}", "id_hash": chance.choice(("", "", f"{van} h"))}
                told["registered_at"] = f"2026-08-{chance.randrange(10, 30)}"
                database.upsert(connection, patients, [{"origin": van, "patient": names[0], **told}])
            relink(connection, {(van, name) for name in names})
    found = {(row["origin"], row["patient"]): row for row in database.rows(select(same_people))}
    expected: dict[Registration, Registration] = {}
    for practice in (False, True):
        rows = [row for row in database.rows(select(patients)) if vans[row["origin"]] is practice]
        told_by = {
            van: PersonLinks(
                (row["action"], row["what"])
                for row in database.rows(select(notes).where(notes.c.origin == van).order_by(notes.c.n))
            )
            for van in vans
        }
        same = SamePeople(rows, told_by)
        expected |= {(row["origin"], row["patient"]): same.first(row["origin"], row["patient"]) for row in rows}
    firsts = {one: (row["first_origin"], row["first_patient"]) for one, row in found.items()}
    assert {one: firsts.get(one, one) for one in expected} == expected
    assert any(one != first for one, first in expected.items())
    database.close()


async def test_a_journal_that_turns_real_brings_its_people_with_it(founded: Founded) -> None:
    """Its older entries were read as practice: from now on all of them count."""
    for van in ("van-07", "van-09"):
        visit = patrol(founded, van, 0, at(9, 3, 9))
        screen(visit, registered(visit, "杨桂芳", **NUMBERED), HIGH)
    await read(founded)
    with founded.county.database.write() as connection:
        connection.execute(update(logs).where(logs.c.origin.startswith("van-09")).values(practice=True))
        relink(connection, of_person(connection, "van-09.qingyu.example"))
    assert founded.county.database.rows(select(same_people)) == []
    patrol(founded, "van-09", 0, at(9, 4, 9))
    await read(founded)
    assert len(founded.county.database.rows(select(same_people))) == 2


@pytest.mark.parametrize(
    ("parts", "people", "text"),
    [
        ([7, 12], 15, "15"),
        ([7, 3], 10, "≥7"),  # nobody in both: the difference would tell 3
        ([9, 7, 1], 12, "≥9"),
        ([3], 3, "<5"),
        ([1, 1], 1, "<5"),
        ([4, 4], 6, "≥5"),
        ([7, 3, 2], 11, "11"),
        ([], 0, "0"),
    ],
)
def test_a_sum_of_people_tells_no_small_part(parts: list[int], people: int, text: str) -> None:
    assert shown_once(parts, people) == text


def test_people_of_twelve_months_are_not_added_up() -> None:
    some = Tally(screened={"diabetes": 7})
    told = WorkReport("month", {"2026-09": some, "2026-08": some}, None, SEPTEMBER, SEPTEMBER, False)
    assert Showing(told, exact=True).total(screened("diabetes")) == "—"
    told = WorkReport("van", {"van-07": some, "van-09": some}, some, SEPTEMBER, SEPTEMBER, False)
    assert Showing(told, exact=True).total(screened("diabetes")) == "7"
