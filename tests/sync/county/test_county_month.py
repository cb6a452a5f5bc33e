"""A month as the county shows it: real journals in, verdicts with reasons out."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import openpyxl
import pytest
from county_month import CREW, OTHER_CREW, Founded, at, lived_through
from sqlalchemy import select

from devices.clock import SimulatedClock
from sync.county.schema import projected
from sync.county.village_shift import standing_places
from sync.delivery.county_client import CountyUnreachable
from sync.formats.record_kinds import KINDS
from sync.formats.records import Draft, format_time
from sync.web.catalog import texts


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def september(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    database = request.getfixturevalue("postgresql_server").fresh_database() if request.param == "postgresql" else ""
    founded = asyncio.run(lived_through(tmp_path_factory.mktemp("county"), database=database))
    yield founded
    founded.close()


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 6)), database_url)
    yield county
    county.close()


async def month(founded: Founded, **query: str) -> dict[str, Any]:
    client = await founded.signed_in("xu.jing")
    answer = await client.get("/api/coverage", params={"month": "2026-09", **query})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def by_name(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {village["name"]: village for village in table["villages"]}


async def test_the_month_has_verdicts_with_reasons(september: Founded) -> None:
    table = await month(september)
    assert (table["practice"], table["provisional"], table["sealed_on"]) == (True, True, "2026-10-11")
    villages = by_name(table)
    assert [villages[name]["state"] for name in ("云坪村", "石门坎村", "梨园村", "枣林村")] == [
        "done",
        "pending",
        "pending",
        "pending",
    ]
    refused = {
        (name, visit["day"]): visit["reasons"]
        for name, village in villages.items()
        for visit in village["visits"]
        if not visit["counted"]
    }
    assert refused == {
        ("石门坎村", "2026-09-04"): ["weakly_anchored"],
        ("石门坎村", "2026-09-15"): ["too_few_staff"],
        ("梨园村", "2026-09-08"): ["too_short"],
        ("梨园村", "2026-09-21"): ["too_short"],
        ("大田湾村", "2026-09-18"): ["too_close_to_previous"],
    }
    assert villages["云坪村"]["visits"][0]["encounters"] == 14
    assert table["totals"]["done"] == 4


async def test_one_visit_with_its_proof(september: Founded) -> None:
    table = await month(september)
    visit = by_name(table)["云坪村"]["visits"][1]["visit"]
    client = await september.signed_in("xu.jing")
    found = (await client.get(f"/api/visits/{visit}")).json()
    assert found["counted"] is True
    assert [person["person"] for person in found["crew"]] == ["zhou.min", "wu.qian", "zhao.hai"]
    assert found["work"] == {"reading_blood_pressure": 12, "reading_glucose": 12}
    (stay,) = found["stays"]
    assert stay["arrived_at"] < found["proof"]["sealed_at"]
    assert found["proof"]["known_at"] < stay["arrived_at"]
    assert found["track_points"] > 1400
    page = await client.get(f"/county/visits/{visit}")
    assert "演练居民" not in page.text
    assert "计入 9 月" in page.text
    entries = await client.get(f"/county/visits/{visit}/entries")
    leaves = september.county.mirror.leaves(
        found["vehicle"], found["proof"]["first_entry"], found["proof"]["first_entry"] + 1
    )
    assert leaves[0].hex() in entries.text


async def test_a_rebuild_gives_the_same_month(september: Founded) -> None:
    before = await month(september)
    tables = {name: september.county.database.rows(select(table)) for name, table in projected.items()}
    assert all(tables[name] for name in ("patients", "visits", "duty", "encounters", "readings", "tracks"))
    september.county.interpreter.rebuild()
    for name, table in projected.items():
        again = september.county.database.rows(select(table))
        assert sorted(map(str, again)) == sorted(map(str, tables[name])), name
    after = await month(september)
    assert {**after, "made_at": ""} == {**before, "made_at": ""}


async def test_the_workbook_reads_back(september: Founded) -> None:
    client = await september.signed_in("xu.jing")
    answer = await client.get("/county/coverage.xlsx?month=2026-09")
    assert 'filename="coverage-2026-09-practice.xlsx"' in answer.headers["content-disposition"]
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    sheet = book["2026-09"]
    assert sheet["A1"].value == "青峪县 巡诊覆盖 2026 年 9 月 演练"
    headings = [cell.value for cell in sheet[2]]
    assert headings[:4] == ["乡镇", "行政村", "行政村代码", "1"]
    assert headings[-5:] == ["计入", "应到", "在村分钟", "人次", "结果"]
    first = [cell.value for cell in sheet[3]]
    assert first[:4] == ["白果镇", "云坪村", "999901101201", "✔"]
    assert isinstance(sheet["C3"].value, str)
    assert (sheet["C3"].number_format, sheet["C3"].data_type) == ("@", "s")
    assert first[-5:-2] == [2, 2, sum(v["dwell_minutes"] for v in by_name(await month(september))["云坪村"]["visits"])]
    assert (sheet.page_setup.orientation, sheet.page_setup.paperSize) == ("landscape", 9)
    assert sheet.print_area.replace("$", "").endswith(f"A1:AL{sheet.max_row}")
    totals = [cell.value for cell in sheet[sheet.max_row - 1]]
    assert (totals[0], totals[-5]) == ("合计", 11)
    visits = list(book["到访明细 演练"].iter_rows(min_row=2, values_only=True))
    assert len(visits) == 16
    assert {row[6] for row in visits if row[5] == "不足半天"} == {"在村不满半天"}


async def test_the_csv_reads_back_in_excel_and_in_python(september: Founded) -> None:
    client = await september.signed_in("xu.jing")
    answer = await client.get("/county/coverage.csv?month=2026-09&lang=en")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert rows[0][:4] == ["Month", "Township", "Village", "Village code"]
    assert len(rows) == 13
    assert rows[1][3] == "999901101201"
    assert {row[0] for row in rows[1:]} == {"2026-09 Practice"}


@pytest.mark.parametrize("bad", ["2026-13", "2026-9", "x", "2026", "9999-01", "%27"])
async def test_a_bad_month_is_refused_clearly(founded: Founded, bad: str) -> None:
    client = await founded.signed_in("xu.jing")
    for path in ("/api/coverage", "/county/coverage", "/county/map", "/county/coverage.xlsx", "/county/coverage.csv"):
        answer = await client.get(path, params={"month": bad})
        assert answer.status_code == 422
        assert "YYYY-MM" in answer.json()["detail"]
    page = await client.get("/county/coverage", params={"month": bad}, headers={"Accept": "text/html"})
    assert (page.status_code, "YYYY-MM" in page.text) == (422, True)


async def test_an_empty_county_says_what_to_do(founded: Founded) -> None:
    client = await founded.signed_in("xu.jing")
    for path in ("/county/coverage", "/county/map", "/county/fleet"):
        assert (await client.get(path)).status_code == 200
    assert "还没有登记车辆" in (await client.get("/county/fleet")).text
    answer = await client.get("/county/visits/nothing", headers={"Accept": "text/html"})
    assert (answer.status_code, "没有这个页面" in answer.text) == (404, True)
    assert (await client.get("/api/visits/nothing")).status_code == 404


async def test_practice_and_real_are_never_in_one_table(founded: Founded) -> None:
    real, practice = founded.van("van-07"), founded.van("van-90", practice=True)
    practice.visit(founded.villages[0], at(9, 1, 8))
    real.visit(founded.villages[1], at(9, 2, 8))
    await real.deliver()
    await practice.deliver()
    shown = by_name(await month(founded))
    assert [shown[name]["counted"] for name in ("云坪村", "上湾村")] == [0, 1]
    shown = by_name(await month(founded, practice="1"))
    assert [shown[name]["counted"] for name in ("云坪村", "上湾村")] == [1, 0]
    client = await founded.signed_in("xu.jing")
    assert '<span class="practice"' not in (await client.get("/county/coverage?month=2026-09")).text
    assert '<span class="practice"' in (await client.get("/county/coverage?month=2026-09&practice=1")).text
    assert (await client.get("/county/fleet")).text.count('<span class="practice"') == 1


async def test_the_vans_claim_is_not_believed(founded: Founded) -> None:
    van = founded.van("van-07")
    van.visit(founded.villages[0], at(9, 1, 8), stands_in=founded.villages[5])
    await van.deliver()
    (visit,) = by_name(await month(founded))["云坪村"]["visits"]
    assert (visit["state"], visit["reasons"]) == ("review", ["outside", "witness_conflict"])


async def test_one_vehicle_cannot_lend_its_crew_to_anothers_visit(founded: Founded) -> None:
    seven, nine = founded.van("van-07"), founded.van("van-09")
    visit = seven.visit(founded.villages[0], at(9, 1, 8), crew=CREW[:1])
    for person in CREW:
        nine.store.commit_now(Draft("duty/1", {**person, "visit_id": visit, "on": True}))
    await seven.deliver()
    await nine.deliver()
    (found,) = by_name(await month(founded))["云坪村"]["visits"]
    assert (found["staff"], found["reasons"]) == (1, ["too_few_staff"])


async def test_two_visits_of_one_day_add_up_when_the_second_arrives(founded: Founded) -> None:
    van = founded.van("van-07")
    van.visit(founded.villages[0], at(9, 1, 8), 130, people=3)
    await van.deliver()
    assert by_name(await month(founded))["云坪村"]["visits"][0]["reasons"] == ["too_short"]
    van.visit(founded.villages[0], at(9, 1, 14), 130, people=2)
    await van.deliver()
    village = by_name(await month(founded))["云坪村"]
    assert [visit["state"] for visit in village["visits"]] == ["counted", "merged"]
    assert village["counted"] == 1
    assert village["dwell_minutes"] >= 260
    assert village["encounters"] == 5


async def test_the_longer_of_two_vehicles_counts(founded: Founded) -> None:
    seven, nine = founded.van("van-07"), founded.van("van-09")
    await nine.deliver()  # its receipt is older than the visit of the other one, which moves the clock
    seven.visit(founded.villages[0], at(9, 1, 8), 250)
    nine.visit(founded.villages[0], at(9, 1, 8), 290, crew=OTHER_CREW)
    await seven.deliver()
    await nine.deliver()
    visits = {visit["vehicle"].split(".")[0]: visit for visit in by_name(await month(founded))["云坪村"]["visits"]}
    assert (visits["van-09"]["counted"], visits["van-07"]["reasons"]) == (True, ["duplicate_vehicle"])


async def test_a_closing_that_stands_before_the_opening_ends_nothing(founded: Founded) -> None:
    """A van may write anything: what it calls the end of a visit that is not open yet is passed over."""
    van = founded.van("van-07")
    village, visit = founded.villages[0], "visit-back-to-front"
    founded.clock.advance((at(9, 1, 8) - founded.clock.now()).total_seconds())
    ended = {"visit_id": visit, "arrived_at": format_time(at(9, 1, 8)), "departed_at": format_time(at(9, 1, 12))}
    van.store.commit_now(Draft("visit_closed/1", {**ended, "dwell_s": 14_400, "encounters": 5}, visit=visit))
    founded.clock.advance(3600)
    opened = {"visit_id": visit, "village": village.code, "village_name": village.name, "township": village.township}
    opened |= {"proposed_by": "person", "arrived_at": format_time(at(9, 1, 9))}
    van.store.commit_now(Draft("visit_opened/1", {**opened, "crew": [*CREW]}, visit=visit))
    await van.deliver()
    assert standing_places(founded.county.database, founded.county.visits) == {}
    founded.clock.advance(25 * 3600)
    (said,) = by_name(await month(founded))[village.name]["visits"]
    assert (said["state"], said["reasons"][0]) == ("not_counted", "outside")
    assert "unclosed" in said["reasons"]


async def test_a_visit_that_nobody_ended_is_judged_after_a_day(founded: Founded) -> None:
    van = founded.van("van-07")
    visit = van.visit(founded.villages[0], at(9, 1, 8), 100, close=False)
    await van.deliver()
    client = await founded.signed_in("xu.jing")
    assert (await client.get(f"/api/visits/{visit}")).json()["state"] == "open"
    founded.clock.advance(26 * 3600)
    assert (await client.get(f"/api/visits/{visit}")).json()["state"] == "short"


async def test_a_silent_vehicle_is_told_apart_from_a_missed_village(founded: Founded) -> None:
    van = founded.van("van-07")
    van.visit(founded.villages[0], at(9, 1, 8))
    await van.deliver()
    founded.clock.advance(10 * 86400)
    table = await month(founded)
    assert table["not_synced"] == ["van-07"]
    assert by_name(table)["上湾村"]["state"] == "not_synced"
    administrator = await founded.signed_in("xu.jing")
    assert "240 小时没同步" in (await administrator.get("/county/fleet?lang=zh")).text
    founded.clock.advance(30 * 86400)
    van.visit(founded.villages[2], at(10, 12, 8))
    await van.deliver()
    administrator = await founded.signed_in("xu.jing")
    assert "没同步" not in (await administrator.get("/county/fleet?lang=zh")).text
    table = await month(founded)
    assert table["not_synced"] == []
    assert by_name(table)["上湾村"]["state"] == "missed"
    assert table["provisional"] is False


async def test_a_vehicle_that_called_and_whose_entries_are_still_under_way_has_not_synced(
    founded: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back from weeks without a network: the checkpoint was taken, then the link broke before the first entry."""
    van = founded.van("van-07")
    await van.deliver()
    van.visit(founded.villages[0], at(9, 1, 8))
    founded.clock.advance(35 * 86400)

    async def broken(body: bytes) -> NoReturn:
        raise CountyUnreachable("the link broke")

    with monkeypatch.context() as link:
        link.setattr(van.client, "add_entries", broken)
        await van.deliver()
    table = await month(founded)
    assert table["not_synced"] == ["van-07"]
    assert by_name(table)["上湾村"]["state"] == "not_synced"
    van.restart()
    await van.deliver()
    table = await month(founded)
    assert table["not_synced"] == []
    assert by_name(table)["上湾村"]["state"] == "missed"


async def test_a_waiver_is_shown_as_waived_with_its_reason(founded: Founded) -> None:
    founded.county.registry.waive(founded.villages[1].code, "2026-09", "大雪封路", by="xu.jing")
    founded.clock.advance(20 * 86400)
    village = by_name(await month(founded))["上湾村"]
    assert (village["state"], village["waiver"]) == ("waived", "大雪封路")
    client = await founded.signed_in("xu.jing")
    assert "大雪封路" in (await client.get("/county/coverage?month=2026-09")).text


async def test_new_rules_judge_again(founded: Founded) -> None:
    van = founded.van("van-07")
    van.visit(founded.villages[0], at(9, 1, 8), 100, crew=CREW[:1])
    await van.deliver()
    assert by_name(await month(founded))["云坪村"]["counted"] == 0
    founded.county.registry.set_rules({"dwell_s": 3600, "staff": 1, "visits_per_month": 1}, by="xu.jing")
    table = await month(founded)
    assert (table["rules"]["version"], by_name(table)["云坪村"]["state"]) == (2, "done")


async def test_new_rules_do_not_judge_a_settled_month_again(founded: Founded) -> None:
    van = founded.van("van-07")
    visit = van.visit(founded.villages[0], at(9, 1, 8), 100, crew=CREW[:1])
    await van.deliver()
    founded.clock.advance((at(10, 11, 0, 1) - founded.clock.now()).total_seconds())
    founded.county.registry.set_rules({"dwell_s": 3600, "staff": 1, "visits_per_month": 1}, by="xu.jing")
    table = await month(founded)
    assert (table["rules"]["version"], by_name(table)["云坪村"]["counted"]) == (1, 0)
    client = await founded.signed_in("xu.jing")
    assert "分钟，要 240" in (await client.get(f"/county/visits/{visit}")).text
    assert (await client.get("/api/coverage?month=2026-10")).json()["rules"]["version"] == 2


async def test_the_page_does_not_say_sealed_before_it_is(founded: Founded) -> None:
    """Nothing was sealed here: only the time in which the month is provisional is known."""
    founded.clock.advance(60 * 86400)
    client = await founded.signed_in("xu.jing")
    for language, words in (("zh", "暂定期已于 2026-10-11 结束"), ("en", "Provisional period ended 2026-10-11")):
        page = (await client.get(f"/county/coverage?month=2026-09&lang={language}")).text
        assert words in page
        assert {"zh": "没满的村", "en": "Fell short"}[language] in page
        assert "封账" not in page
        assert "ealed" not in page


async def test_a_short_visit_too_soon_is_not_ticked_as_far_enough(founded: Founded) -> None:
    van = founded.van("van-07")
    van.visit(founded.villages[0], at(9, 1, 8), 250)
    short = van.visit(founded.villages[0], at(9, 3, 8), 100)
    await van.deliver()
    client = await founded.signed_in("xu.jing")
    page = (await client.get(f"/county/visits/{short}")).text
    (line,) = [line for line in page.split("<li ") if "和上一次隔开" in line]
    assert line.startswith('data-met="False"')
    assert "2 天，要 5" in line


async def test_a_visit_cosigned_only_after_is_not_called_waiting(founded: Founded) -> None:
    van = founded.van("van-07")
    visit = van.visit(founded.villages[0], at(9, 1, 8), anchored=False)
    await van.deliver()
    client = await founded.signed_in("xu.jing")
    page = (await client.get(f"/county/visits/{visit}")).text
    assert "县已会签，开机前没有会签过" in page
    assert "等县会签" not in page


def test_both_languages_say_everything() -> None:
    zh, en = texts("zh"), texts("en")
    county = set(zh.group("county"))
    assert county == set(en.group("county"))
    for kind in KINDS:
        assert f"county.kind.{kind.partition('/')[0]}" in zh
