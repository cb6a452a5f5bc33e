"""Warnings of the month: which villages from which day, with the van that was there last and whom to call."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from county_month import Founded, at

from devices.clock import SimulatedClock
from sync.county.forecast_view import month_forecast
from sync.county.village_contacts import Contact, ContactsRefused, read_contacts
from sync.county.village_warnings import TownshipWarnings, VillageWarning, by_township, last_visits, warnings_of
from sync.county.visit_forecast import Forecast, Habit
from sync.web.catalog import texts

PAGE = "/county/warnings"
CODES = ("999901101201", "999901101202")
LINE = f"{CODES[0]}\t罗医生\t0610-5010001"


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    """From 1 September on: one village visited in full, another one for an hour, ten not at all."""
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 6)), database_url)
    van = county.van("van-07")
    for day, village, minutes in ((2, 0, 250), (3, 1, 60)):
        await van.morning(at(9, day, 7))
        van.visit(county.villages[village], at(9, day, 8), minutes, people=2)
        await van.deliver()
    yield county
    county.close()


async def warned(founded: Founded, day: int, heard: bool = True) -> dict[str, VillageWarning]:
    """The warnings of a day of September, by village.

    :param heard: the van calls that day, so that nothing of it can be under way
    """
    founded.clock.advance((at(9, day, 9) - founded.clock.now()).total_seconds())
    if heard:
        await founded.vans["van-07"].morning(at(9, day, 9))
    county = founded.county
    table = county.coverage.table(at(9, 2, 8).date().replace(day=1), False)
    last = last_visits(county.database, False, founded.clock.now())
    return {one.row.village.code: one for one in warnings_of(table, last, county.contacts.all())}


async def test_villages_without_a_visit_from_day_15_with_too_few_from_day_25(founded: Founded) -> None:
    assert await warned(founded, 14) == {}
    by_code = await warned(founded, 15)
    assert len(by_code) == 11
    assert CODES[0] not in by_code
    assert by_code[CODES[1]].kind == "tried"
    assert by_code[CODES[1]].reasons == ("too_short",)
    by_code = await warned(founded, 25)
    assert len(by_code) == 12
    assert by_code[CODES[0]].kind == "few"
    last = by_code[CODES[0]].last
    assert last is not None
    assert (last.vehicle, last.day.isoformat()) == ("van-07", "2026-09-02")
    assert by_code["999901101212"].last is None


async def test_a_waived_village_is_told_apart_and_not_counted_for_its_township(founded: Founded) -> None:
    founded.county.registry.waive("999901101212", "2026-09", "大雪封路", by="xu.jing")
    by_code = await warned(founded, 16)
    assert by_code["999901101212"].kind == "waived"
    table = founded.county.coverage.table(at(9, 2, 8).date().replace(day=1), False)
    assert by_township(table, list(by_code.values())) == [TownshipWarnings("白果镇", 12, 0, 10, 0)]


async def test_a_silent_van_may_have_been_there(founded: Founded) -> None:
    by_code = await warned(founded, 25, heard=False)
    assert {one.kind for one in by_code.values()} == {"few", "unsynced"}
    table = founded.county.coverage.table(at(9, 2, 8).date().replace(day=1), False)
    assert by_township(table, list(by_code.values())) == [TownshipWarnings("白果镇", 12, 0, 0, 1)]


async def test_contacts_are_pasted_shown_to_those_who_call_and_taken_away(founded: Founded) -> None:
    await warned(founded, 25)
    administrator = await founded.signed_in("xu.jing")
    answer = await administrator.post(f"{PAGE}/contacts", data={"lines": f"{LINE}\n{CODES[1]}, 田 主任, 13800138000"})
    assert answer.status_code == 303
    page = (await administrator.get(f"{PAGE}?lang=zh")).text
    assert "已保存 2 个村的联系人" in page
    assert "罗医生" in page
    assert "田 主任" in page
    assert "去过 1 次，没有计入：在村不满半天" in page
    await administrator.post(f"{PAGE}/contacts", data={"lines": CODES[1]})
    assert founded.county.contacts.all() == {CODES[0]: Contact(CODES[0], "罗医生", "0610-5010001")}


async def test_one_bad_line_changes_nothing_and_is_named(founded: Founded) -> None:
    administrator = await founded.signed_in("xu.jing")
    await administrator.post(f"{PAGE}/contacts", data={"lines": f"{LINE}\n990000000000 某人 0610-5010002"})
    assert founded.county.contacts.all() == {}
    page = (await administrator.get(f"{PAGE}?lang=zh")).text
    assert "第 2 行的村没有登记" in page
    assert "990000000000" in page


async def test_the_sheet_has_codes_as_text_and_is_noted(founded: Founded) -> None:
    await warned(founded, 25)
    administrator = await founded.signed_in("xu.jing")
    await administrator.post(f"{PAGE}/contacts", data={"lines": LINE})
    answer = await administrator.get(f"{PAGE}.xlsx?month=2026-09")
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
    assert sheet is not None
    rows: list[list[Any]] = [[cell.value for cell in row] for row in sheet.iter_rows()]
    assert rows[1] == [texts("zh")(f"county.warnings.{name}") for name in (
        "township", "village", "code", "counted", "wanted", "why", "forecast", "last", "vehicle", "contact", "phone",
    )]  # fmt: skip
    told = next(row for row in rows if row[2] == CODES[0])
    foretold = "会差 1 次：van-07 本月没有惯常出车日了"
    last = ("2026-09-02", "van-07", "罗医生", "0610-5010001")
    assert told == ["白果镇", "云坪村", CODES[0], 1, 2, "还差 1 次", foretold, *last]
    assert any(line.what == "warnings 2026-09" for line in founded.county.audit.latest())


@pytest.fixture
async def wednesdays(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    """Van-07 in four villages, on the first two Wednesdays and Thursdays; it is Tuesday the 22nd. Eight have no van."""
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 6)), database_url)
    van = county.van("van-07")
    for village, day in enumerate((2, 3, 9, 10)):
        await van.morning(at(9, day, 7))
        van.visit(county.villages[village], at(9, day, 8), 250, people=2)
        await van.deliver()
    await van.morning(at(9, 22, 9))
    yield county
    county.close()


async def test_the_forecast_gives_usual_days_to_who_has_waited_longest(wednesdays: Founded) -> None:
    county = wednesdays.county
    table = county.coverage.table(at(9, 2, 8).date().replace(day=1), False)
    found = month_forecast(county.database, table)
    assert found.habits == {"van-07": Habit(frozenset({2, 3}), 1)}
    codes = [village.code for village in wednesdays.villages]
    days = [date(2026, 9, day) for day in (23, 24, 30)]
    planned = [Forecast(code, "van-07", (day,), 0) for code, day in zip(codes, days, strict=False)]
    assert [found.villages[code] for code in codes[:3]] == planned
    assert found.villages[codes[3]] == Forecast(codes[3], "van-07", (), 1, "others_first")
    assert found.villages[codes[4]] == Forecast(codes[4], "", (), 2, "no_van")
    assert len(found.missing) == 9
    past = county.coverage.table(at(8, 2, 8).date().replace(day=1), False)
    assert month_forecast(county.database, past).villages == {}


async def test_the_forecast_stands_on_both_pages_and_leaves_out_who_is_excused(wednesdays: Founded) -> None:
    codes = [village.code for village in wednesdays.villages]
    for code in codes[4:]:
        wednesdays.county.registry.waive(code, "2026-09", "泥石流封路", by="xu.jing")
    reviewer = await wednesdays.signed_in("qian.xu")
    coverage = (await reviewer.get("/county/coverage?lang=zh")).text
    assert "按惯常出车日，1 个村月底到不满" in coverage
    warned = (await reviewer.get(f"{PAGE}?lang=zh")).text
    assert "按惯常出车日还有 1 个村会到不满" in warned
    assert f'data-testid="warning-{codes[3]}" data-kind="forecast"' in warned
    assert "会差 1 次：van-07 的日子先给了等得更久的村" in warned
    assert f"warning-{codes[0]}" not in warned
    await wednesdays.vans["van-07"].morning(at(9, 25, 9))
    warned = (await reviewer.get(f"{PAGE}?lang=zh")).text
    assert "van-07 可去 09-30" in warned


@pytest.mark.parametrize(
    ("line", "contact"),
    [
        (f"{CODES[0]}\t罗医生\t0610-5010001", Contact(CODES[0], "罗医生", "0610-5010001")),
        (f"  {CODES[0]},罗 医生,13800138000 ", Contact(CODES[0], "罗 医生", "13800138000")),
        (f"{CODES[0]}，Dr Luo，+8613800138000", Contact(CODES[0], "Dr Luo", "+8613800138000")),
        (CODES[0], Contact(CODES[0], "", "")),
    ],
)
def test_a_line_is_read(line: str, contact: Contact) -> None:
    assert read_contacts(f"\n{line}\n", CODES) == [contact]


@pytest.mark.parametrize(
    ("text", "problem", "number"),
    [
        ("", "nothing", 1),
        ("罗医生 0610-5010001", "not_understood", 1),
        (f"{LINE}\n{CODES[1]} 罗医生", "not_understood", 2),
        (f"{CODES[0]} {'长' * 31} 13800138000", "not_understood", 1),
        ("990000000000 罗医生 13800138000", "unknown_village", 1),
    ],
)
def test_what_is_no_line_is_refused_with_its_number(text: str, problem: str, number: int) -> None:
    with pytest.raises(ContactsRefused) as refused:
        read_contacts(text, CODES)
    assert (refused.value.problem, refused.value.facts["line"]) == (problem, number)
