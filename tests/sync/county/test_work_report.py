"""The page of work: numbers by township, van and month out of delivered entries, and the records behind them."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from county_month import TOWNSHIP, Founded, at
from county_work import some_work

from devices.clock import SimulatedClock
from sync.county.follow_up_report import Count
from sync.county.visit_work import DISEASES
from sync.county.work_records import Asked, Record, work_records
from sync.county.work_report import By, WorkReport, work_report
from sync.county.work_table import FOLLOW_UPS, LOOPS, SERVED, found

SEPTEMBER = date(2026, 9, 1)
TODAY = date(2026, 9, 20)
HERE, THERE = "白果镇", "石磨乡"


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    """The twelfth village belongs to another township."""
    county = Founded(tmp_path, SimulatedClock(at(8, 20, 8)), database_url)
    township = json.loads(TOWNSHIP.read_text(encoding="utf-8"))
    township["features"][11]["properties"]["township"] = THERE
    county.county.registry.import_villages(township, by="xu.jing")
    await some_work(county)
    county.clock.advance((at(9, 20, 9) - county.clock.now()).total_seconds())
    yield county
    county.close()


def report(founded: Founded, by: By) -> WorkReport:
    county = founded.county
    return work_report(county.database, founded.villages, SEPTEMBER, by, False, county.clock.now())


def behind(founded: Founded, what: str, by: By = "township", of: str = "") -> list[Record]:
    asked = Asked(what, SEPTEMBER, by, of, False)
    return work_records(founded.county.database, founded.villages, asked, TODAY)


async def test_a_township_has_its_screening_by_disease(founded: Founded) -> None:
    here, there = (report(founded, "township").rows[name] for name in (HERE, THERE))
    assert (here.visits, there.visits) == (2, 1)
    assert here.screened == {"hypertension": 8, "diabetes": 7}
    assert here.found == {"hypertension": 6, "diabetes": 1}
    assert there.found == {"atrial_fibrillation": 1, "tuberculosis": 1}


async def test_red_values_have_their_times_and_the_open_one_is_told(founded: Founded) -> None:
    here = report(founded, "township").rows[HERE]
    assert sorted(here.answered_minutes) == [4, 8, 31]
    assert (here.critical, here.in_time, here.open_critical) == (4, 2, 1)


async def test_referrals_opinions_and_ecgs_are_counted_where_they_stand(founded: Founded) -> None:
    rows = report(founded, "township").rows
    here = rows[HERE]
    assert (here.sent, here.arrived, here.result, here.overdue) == (4, 2, 1, 1)
    assert (here.consultations, here.unsigned_opinions) == (2, 1)
    assert (rows[THERE].consultations, rows[THERE].unsigned_opinions) == (1, 0)
    assert (here.ecgs, here.unsigned_ecgs, rows[THERE].unsigned_ecgs) == (2, 1, 1)


async def test_follow_ups_are_of_today_and_without_what_is_confidential(founded: Founded) -> None:
    rows = report(founded, "township").rows
    assert rows[HERE].follow_ups == Count(1, 0, 1)
    assert rows[THERE].follow_ups == Count(1, 0, 1)
    assert [record.facts["programme"] for record in behind(founded, "follow_overdue", "van", "van-09")] == ["diabetes"]


async def test_the_same_numbers_by_van_and_by_month(founded: Founded) -> None:
    vans = report(founded, "van").rows
    assert list(vans) == ["van-07", "van-09"]
    assert (vans["van-07"].visits, vans["van-07"].found["hypertension"], vans["van-09"].critical) == (2, 6, 1)
    months = report(founded, "month").rows
    assert list(months)[:2] == ["2026-09", "2026-08"]
    assert len(months) == 12
    assert (months["2026-09"].visits, months["2026-08"].visits, months["2026-07"].visits) == (3, 1, 0)
    assert (months["2026-09"].found["hypertension"], months["2026-08"].found["hypertension"]) == (6, 1)
    assert (months["2026-09"].critical, months["2026-09"].sent) == (5, 4)


@pytest.mark.parametrize(
    ("what", "of", "names"),
    [
        ("critical", "", ["丁*", "丙*", "乙*", "戊*", "甲*"]),
        ("critical", THERE, ["戊*"]),
        ("open_critical", "", ["丁*"]),
        ("in_time", HERE, ["乙*", "甲*"]),
        ("consultations", HERE, ["子*", "癸*"]),
        ("unsigned_opinions", "", ["子*"]),
        ("unsigned_ecgs", HERE, ["卯*"]),
        ("arrived", "", ["己*", "庚*"]),
        ("overdue", "", ["辛*"]),
        ("hypertension", HERE, ["复*", "王*", "王*", "王*", "王*", "王*"]),
        ("sent", THERE, []),
    ],
    ids=[
        "red",
        "red-there",
        "red-open",
        "red-in-time",
        "asked",
        "opinions",
        "ecgs",
        "arrived",
        "late",
        "found",
        "none",
    ],
)
async def test_the_records_behind_a_number(founded: Founded, what: str, of: str, names: list[str]) -> None:
    records = behind(founded, what, "township", of)
    assert sorted(record.name for record in records) == sorted(names)
    assert all(record.visit and record.village for record in records)


@pytest.mark.parametrize("by", ["township", "van", "month"])
async def test_every_number_is_that_of_the_records_it_leads_to(founded: Founded, by: By) -> None:
    showing = report(founded, by)
    columns = (*LOOPS, *SERVED, *(FOLLOW_UPS if by != "month" else ()))
    for name, tally in showing.rows.items():
        for column in columns:
            records = behind(founded, column.name, by, name)
            told = sum(one.facts["people"] for one in records) if column.name == "served" else len(records)
            assert (name, column.name, told) == (name, column.name, column.number(tally))
        for disease in DISEASES:
            assert len(behind(founded, disease, by, name)) == found(disease).number(tally), disease
    page = (await (await founded.signed_in("xu.jing")).get(f"/county/activity?month=2026-09&by={by}")).text
    linked = {what.partition("?")[0] for what in page.split('"/county/activity/')[1:]}
    assert linked >= {column.name for column in columns if any(map(column.number, showing.rows.values()))}


async def test_a_row_by_month_is_a_month_of_its_own(founded: Founded) -> None:
    assert len(behind(founded, "hypertension", "month", "2026-08")) == 1
    assert len(behind(founded, "hypertension", "month")) == 7
    administrator = await founded.signed_in("xu.jing")
    answer = await administrator.get("/county/activity/hypertension?month=2026-09&by=month&of=2026-13")
    assert answer.status_code == 422


async def test_what_is_read_anew_is_counted_once(founded: Founded) -> None:
    before = report(founded, "township").rows[HERE].screened
    founded.county.interpreter.rebuild()
    assert report(founded, "township").rows[HERE].screened == before


async def test_each_role_sees_what_it_may(founded: Founded) -> None:
    pages = {}
    for id in ("xu.jing", "he.ming"):
        client = await founded.signed_in(id)
        pages[id] = (await client.get("/api/work?month=2026-09")).json()["rows"][HERE]
        records = (await client.get("/county/activity/critical?month=2026-09&lang=zh")).text
        assert ("丁*" in records) is (id == "xu.jing")
        assert "丁</" not in records
    assert (pages["xu.jing"]["critical"], pages["he.ming"]["critical"]) == ("4", "<5")
    assert pages["he.ming"]["screening"]["hypertension"] == {"screened": "8", "found": "6"}
    assert pages["he.ming"]["visits"] == "2"
    noted = [line.what for line in founded.county.audit.latest() if line.action == "read_work"]
    assert noted == ["critical 2026-09 , 5 records"] * 2


async def test_a_reviewer_reads_numbers_and_opens_nothing(founded: Founded) -> None:
    reviewer = await founded.signed_in("qian.xu")
    told = (await reviewer.get("/api/work?month=2026-09")).json()["rows"]
    assert told[HERE]["screening"]["hypertension"] == {"screened": "8", "found": "6"}
    assert (told[HERE]["critical"], told[HERE]["unsigned_ecgs"], told[THERE]["ecgs"]) == ("<5", "<5", "<5")
    page = (await reviewer.get("/county/activity?month=2026-09&lang=zh")).text
    assert "/county/activity/critical" not in page
    assert "少于 5 的人数不写准" in page
    month = (await reviewer.get("/county/coverage?month=2026-09&practice=0")).text
    assert "/county/visits/" not in month
    assert "nav-group-registry" not in month
    closed = ("/county/activity/critical", "/county/referrals", "/county/registry", "/county/fleet", "/api/coverage")
    for path in closed:
        assert (await reviewer.get(path)).status_code == 403
    for path in ("/county/map", "/county/warnings", "/county/link", "/county/follow-ups", "/county/lists"):
        assert (await reviewer.get(path)).status_code == 200


async def test_the_sheet_holds_numbers_that_can_be_added(founded: Founded) -> None:
    administrator = await founded.signed_in("xu.jing")
    answer = await administrator.get("/county/activity.xlsx?month=2026-09&by=van")
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
    assert sheet is not None
    rows: list[list[Any]] = [[cell.value for cell in row] for row in sheet.iter_rows()]
    heads = rows[1]
    told = dict(zip(heads, rows[2], strict=True))
    assert (told["车"], told["到村"], told["高血压 有发现"], told["危急值未处置"]) == ("van-07", 2, 6, 1)
    assert dict(zip(heads, rows[4], strict=True))["高血压 有发现"] == 6


async def test_pages_stand_in_both_languages_and_every_grouping(founded: Founded) -> None:
    administrator = await founded.signed_in("xu.jing")
    for query in ("by=township&lang=zh", "by=van&lang=en", "by=month&lang=en"):
        answer = await administrator.get(f"/county/activity?month=2026-09&{query}")
        assert answer.status_code == 200, answer.text
    for what in ("visits", "sent", "consultations", "ecgs", "follow_members", "tuberculosis"):
        assert (await administrator.get(f"/county/activity/{what}?month=2026-09&lang=en")).status_code == 200
    assert (await administrator.get("/county/activity/nothing")).status_code == 404
