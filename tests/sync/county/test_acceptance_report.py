"""The acceptance report: what was asked and done village by village, how it is proven, what may leave the house."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import openpyxl
import pikepdf
import pytest
from county_month import CREW, Founded, at
from county_work import Patrol, some_work

from devices.clock import SimulatedClock
from sync.county import acceptance_brief
from sync.county.acceptance_brief import paper_tables
from sync.county.acceptance_period import Period
from sync.county.acceptance_report import AcceptanceReport, Duty, acceptance_report
from sync.county.acceptance_services import Kind, Services, Where, services_of
from sync.county.acceptance_tables import Cell, ReportTable, cautious_total, report_tables
from sync.county.evidence_pages import trusted
from sync.formats.merkle import leaf_hash
from sync.proof.bundle_file import BundleUnreadable
from sync.proof.evidence import NotProven
from sync.verify.__main__ import main
from sync.verify.policy import Policy
from sync.verify.sealed_check import check_sealed
from sync.web.catalog import texts

PAGE = "/county/acceptance"
QUARTER = Period.parse("2026-Q3")
SEPTEMBER = date(2026, 9, 1)
CODES = [f"9999011012{number:02d}" for number in range(1, 13)]


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    """September of two vans: villages done, one short, one by decision of a person, one waived, the others missed.

    It is 12 October, and both vans have called: nothing can be under way.
    """
    county = Founded(tmp_path, SimulatedClock(at(8, 31, 20)), database_url)
    seven, nine = county.van("van-07"), county.van("van-09")
    doubtful = ""
    for day, van, village, minutes, people, confirm in (
        (1, seven, 0, 262, 14, True),
        (2, nine, 3, 250, 6, True),
        (3, seven, 1, 100, 3, True),
        (10, seven, 0, 247, 12, True),
        (11, nine, 3, 250, 7, False),
        (12, seven, 1, 245, 9, True),
    ):
        await van.morning(at(9, day, 7, 30))
        visit = van.visit(county.villages[village], at(9, day, 8), minutes, people, CREW, confirm=confirm)
        doubtful = doubtful if confirm else visit
        await van.deliver()
    registry = county.county.registry
    registry.decide(SEPTEMBER, {doubtful: nine.signer.name}, "counted", "村医证明车来过", by="xu.jing")
    registry.waive(CODES[2], "2026-09", "泥石流封路", by="xu.jing")
    for van in (seven, nine):
        await van.morning(at(10, 12, 8))
    yield county
    county.close()


def report(founded: Founded, period: Period = QUARTER) -> AcceptanceReport:
    return acceptance_report(founded.county, period, practice=False)


def table(made: AcceptanceReport, name: str) -> ReportTable:
    return next(one for one in report_tables(made, texts("zh")) if one.name == name)


def values(cells: tuple[Cell, ...]) -> list[Any]:
    return [cell.value for cell in cells]


# what was asked and done ----------------------------------------------------------------------------------------------


async def test_every_required_visit_is_in_one_place(founded: Founded) -> None:
    made = report(founded)
    assert made.duty == Duty(served=5, waived=2, missed=17)
    assert (made.duty.required, made.duty.due, made.duty.percent) == (24, 22, 22)
    by_code = {one.village.code: one.months[SEPTEMBER] for one in made.villages}
    assert by_code[CODES[0]] == Duty(served=2)
    assert by_code[CODES[1]] == Duty(served=1, missed=1)
    assert by_code[CODES[2]] == Duty(waived=2)
    assert by_code[CODES[3]] == Duty(served=2)
    assert by_code[CODES[4]] == Duty(missed=2)
    assert list(by_code) == CODES


async def test_months_before_the_first_visit_ask_for_nothing(founded: Founded) -> None:
    made = report(founded)
    assert list(made.rules) == [SEPTEMBER]
    assert (made.begins_late, made.since) == (True, date(2026, 9, 1))
    assert report(founded, Period.parse("2026-Q2")).villages == ()


async def test_hours_people_and_vans_are_those_of_all_visits(founded: Founded) -> None:
    made = report(founded)
    rows = founded.county.coverage.table(SEPTEMBER, practice=False).rows
    assert [one.minutes for one in made.villages] == [row.dwell_minutes for row in rows]
    assert made.minutes == pytest.approx(262 + 250 + 100 + 247 + 250 + 245, abs=6)
    assert [one.people for one in made.villages][:5] == [26, 12, 0, 13, 0]
    seven, nine = made.vans
    assert (seven.visits, seven.proven.counted, seven.villages, seven.people) == (4, 3, set(CODES[:2]), 38)
    assert seven.not_counted == {"too_short": 1}
    assert (nine.visits, nine.minutes, nine.not_counted) == (2, rows[3].dwell_minutes, {})
    assert made.shortest_minutes == min(made.stays_minutes)
    assert len(made.stays_minutes) == 5


async def test_each_counted_visit_has_its_proof(founded: Founded) -> None:
    proven = report(founded).proven
    assert (proven.counted, proven.track, proven.countersigned) == (5, 5, 5)
    assert (proven.witnesses, proven.whole, proven.decided, proven.province) == (4, 4, 1, 0)
    assert values(table(report(founded), "proofs").total) == ["合计", 5, 5, 4, 5, 0, 4, 1]


async def test_what_fell_short_has_its_reason(founded: Founded) -> None:
    rows = [values(row) for row in table(report(founded), "shortfalls").rows]
    assert len(rows) == 10
    assert rows[0] == ["2026-09", "白果镇", "上湾村", CODES[1], "1/2", "去过，没有计入：在村不满半天"]
    assert rows[1] == ["2026-09", "白果镇", "槐树坪村", CODES[2], "0/2", "已免：泥石流封路"]
    assert rows[2][-1] == "没有去"


async def test_a_month_that_is_not_over_is_neither_missed_nor_reached(founded: Founded) -> None:
    made = report(founded, Period.parse("2026-09..2026-10"))
    assert made.duty == Duty(served=5, waived=2, missed=17, ahead=24)
    assert made.duty.percent == 22
    assert not made.over
    october = report(founded, Period.parse("2026-Q4"))
    assert october.duty.percent is None
    assert values(table(october, "targets").rows[0])[2:] == ["已到 0/24 次", "未到期"]
    row = table(made, "villages").rows[0]
    assert [(cell.value, cell.state) for cell in row[3:5]] == [("2/2", "met"), ("0/2…", "ahead")]


async def test_a_silent_van_makes_no_missed_visits(founded: Founded) -> None:
    founded.van("van-11")
    founded.clock.advance((at(11, 20, 8) - founded.clock.now()).total_seconds())
    for name in ("van-07", "van-09"):
        await founded.vans[name].morning(at(11, 20, 8))
    october = report(founded, Period.parse("2026-10..2026-10"))
    assert october.duty == Duty(unsynced=24)
    assert {one.kind for one in october.shortfalls} == {"unsynced"}


# what was done for people ---------------------------------------------------------------------------------------------


@pytest.fixture
async def working(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(8, 20, 8)), database_url)
    await some_work(county)
    yield county
    county.close()


def services(founded: Founded, period: str) -> Services:
    return services_of(founded.county.database, Period.parse(period), practice=False)


async def test_services_are_counted_by_kind_village_and_van(working: Founded) -> None:
    found = services(working, "2026-09..2026-09")
    here, there = Where(CODES[0], "van-07"), Where(CODES[11], "van-09")
    assert found.times[here, Kind("screened", "hypertension")] == 7
    assert found.times[Where(CODES[1], "van-07"), Kind("screened", "diabetes")] == 1
    assert found.times[there, Kind("screened", "tuberculosis")] == 1
    assert found.times[here, Kind("measured", "blood_pressure")] == 1  # confirmed; the others nobody confirmed
    assert found.by_vehicle(Kind("referral")) == {"van-07": 4}
    assert found.by_vehicle(Kind("opinion")) == {"van-07": 1}  # asked twice more, not signed
    assert found.diseases == ("hypertension", "diabetes", "atrial_fibrillation", "tuberculosis")
    assert services(working, "2026-08..2026-08").times == {(here, Kind("screened", "hypertension")): 1}


async def test_people_and_devices_are_counted_once(working: Founded) -> None:
    assert services(working, "2026-09..2026-09").people == 27
    assert services(working, "2026-Q3").people == 28
    (cuff,) = services(working, "2026-Q3").devices
    assert (cuff.vehicle, cuff.device, cuff.times, cuff.visits) == ("van-07", "bp-1", 1, 1)
    assert services(working, "2026-Q3").devices_in == {CODES[0]: 1}


async def test_somebody_on_two_vans_is_one_person(working: Founded) -> None:
    for van, village in (("van-07", 0), ("van-09", 11)):
        patrol = Patrol(working.vans[van], village, at(10, 3, 9))
        patient, encounter = van + "-same", van + "-encounter"
        said = {"patient": patient, "name": "同一人", "sex": "female", "born_on": "1950-01-01", "source": "card"}
        patrol.tell("patient/1", {**said, "id_last4": "1234", "id_kind": "resident"})
        patrol.tell("encounter/1", {"encounter_id": encounter, "patient": patient, "purpose": ""}, encounter)
        assert (await working.vans[van].deliver()).complete
    working.county.interpreter.catch_up_all()
    assert services(working, "2026-Q4").people == 1


@pytest.mark.parametrize(
    ("ways", "told"),
    [
        (([6, 7], [13]), "13"),
        (([3, 10], [13]), "≥10"),
        (([13], [3, 10]), "≥10"),
        (([2, 3, 8], [13]), "13"),
        (([], []), "0"),
    ],
)
def test_a_sum_is_told_as_the_most_careful_way_allows(ways: tuple[list[int], list[int]], told: str) -> None:
    assert cautious_total(*ways) == told


async def test_small_numbers_leave_the_house_for_nobody(working: Founded) -> None:
    working.clock.advance((at(9, 20, 9) - working.clock.now()).total_seconds())
    for id in ("xu.jing", "qian.xu"):
        client = await working.signed_in(id)
        told = (await client.get("/api/acceptance?period=2026-09..2026-09&lang=zh")).json()["tables"]
        screened = next(row for row in told["services"]["rows"] if row[1] == "高血压")
        assert screened == ["筛查", "高血压", 8, 0, "≥7"]
        referred = next(row for row in told["services"]["rows"] if row[0] == "转诊")
        assert referred == ["转诊", "转诊", "<5", 0, "<5"]


# sealed months --------------------------------------------------------------------------------------------------------


async def sealed(founded: Founded) -> tuple[bytes, Policy]:
    founded.county.sealing.seal_due()
    client = await founded.signed_in("qian.xu")
    answer = await client.get(f"{PAGE}/sealed-months.json?period=2026-Q3")
    assert answer.headers["content-disposition"] == 'attachment; filename="sealed-months-2026-Q3.json"'
    return answer.content, Policy.parse(trusted(founded.county).encode())


async def test_a_sealed_month_is_printed_with_hashes_that_the_file_proves(founded: Founded) -> None:
    content, policy = await sealed(founded)
    (row,) = table(report(founded), "sealed").rows
    checked = check_sealed(content, policy)
    (township,) = checked.townships
    assert row[3:] == (Cell(township.n), Cell(township.leaf.hex()))
    assert township.leaf == leaf_hash(founded.county.registry.entry(township.n).body)
    assert (township.month, township.villages, township.done, township.counted) == ("2026-09", 12, 2, 5)
    assert (checked.size, checked.root) == (report(founded).registry.size, report(founded).registry.root)  # type: ignore[union-attr]


async def test_a_decision_that_comes_late_makes_another_verdict(founded: Founded) -> None:
    await sealed(founded)
    (before,) = report(founded).sealed
    visit = report_visit(founded, CODES[0])
    founded.county.registry.decide(SEPTEMBER, {visit: "van-07.qingyu.example"}, "refused", "不属实", by="xu.jing")
    content, policy = await sealed(founded)
    (after,) = report(founded).sealed
    assert after.townships[0].supersedes == before.townships[0].entries[0][0]
    assert after.townships[0].entries[0][1] != before.townships[0].entries[0][1]
    (township,) = check_sealed(content, policy).townships
    assert (township.supersedes, township.counted) == (before.townships[0].entries[0][0], 4)
    assert report(founded).duty.served == 4


def report_visit(founded: Founded, code: str) -> str:
    rows = founded.county.coverage.table(SEPTEMBER, practice=False).rows
    visit: str = next(row for row in rows if row.village.code == code).visits[0].case.facts.visit
    return visit


async def test_what_was_changed_or_left_out_is_found(founded: Founded) -> None:
    content, policy = await sealed(founded)
    said = json.loads(content)
    verdict, index = said["entries"]
    forged = base64.b64decode(verdict["body"]).replace(b'"counted":2', b'"counted":3')
    assert forged != base64.b64decode(verdict["body"])
    changed = {**said, "entries": [{**verdict, "body": base64.b64encode(forged).decode()}, index]}
    for wrong, code in (
        (changed, "root_mismatch"),
        ({**said, "entries": [index]}, "registry_entry_missing"),
        ({**said, "entries": [verdict]}, "index_missing"),
        ({**said, "checkpoint": said["checkpoint"].replace("\n\n— ", "\n\n— x", 1)}, "signature_missing"),
    ):
        with pytest.raises(NotProven) as found:
            check_sealed(json.dumps(wrong).encode(), policy)
        assert found.value.code == code
    with pytest.raises(BundleUnreadable):
        check_sealed(content[:-20], policy)


async def test_the_verifier_checks_the_file_from_the_command_line(
    founded: Founded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, _ = await sealed(founded)
    file, policy = tmp_path / "sealed-months.json", tmp_path / "policy.txt"
    file.write_bytes(content)
    policy.write_text(trusted(founded.county))
    assert main(["--sealed", str(file), "--policy", str(policy), "--lang", "zh"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("有效：2026-07 至 2026-09")
    assert "2026-09 白果镇: 2/12 个村到满，计入 5 次" in said
    file.write_bytes(content.replace(b'"proof": [', b'"proof": ["00' + b"00" * 31 + b'",', 1))
    assert main(["--sealed", str(file), "--policy", str(policy), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["result"] == "invalid"


# page and files -------------------------------------------------------------------------------------------------------


async def test_page_workbook_and_json_tell_the_same(founded: Founded) -> None:
    client = await founded.signed_in("qian.xu")
    told = (await client.get("/api/acceptance?period=2026-Q3&lang=zh")).json()
    answer = await client.get(f"{PAGE}.xlsx?period=2026-Q3&lang=zh")
    assert answer.headers["content-disposition"] == 'attachment; filename="acceptance-2026-Q3.xlsx"'
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    assert book.sheetnames == ["指标", "行政村", "没有到满", "巡诊车", "凭证", "服务", "服务按村", "设备", "封存"]
    sheet = book["行政村"]
    rows = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)]
    assert rows[0] == told["tables"]["villages"]["columns"]
    assert [["" if cell is None else cell for cell in row] for row in rows[1:13]] == told["tables"]["villages"]["rows"]
    assert rows[1][2] == CODES[0]
    assert sheet["C3"].number_format == "@"
    assert "青峪县 移动乡村巡诊验收报告 2026 年第 3 季度" in str(sheet["A1"].value)
    page = (await client.get(f"{PAGE}?period=2026-Q3&lang=zh")).text
    for word in ("泥石流封路", "2026-09-01 才有第一次到村", "去过，没有计入：在村不满半天"):
        assert word in page
    assert "/county/visits/" not in page
    assert any(line.what == "acceptance-2026-Q3.xlsx" for line in founded.county.audit.latest())


async def test_a_village_and_month_lead_to_their_visits_whom_may_open_them(founded: Founded) -> None:
    short = next(row for row in table(report(founded), "shortfalls").rows if row[3].value == CODES[1])
    client = await founded.signed_in("xu.jing")
    page = (await client.get(f"{PAGE}?period=2026-Q3&lang=zh")).text
    assert short[4].to.endswith(f"#village-{CODES[1]}")
    assert f'<a href="{escape(short[4].to)}">{short[4].value}</a>' in page
    month = (await client.get(short[4].to)).text
    row = month[month.index(f'<tr id="village-{CODES[1]}"') :].partition("</tr>")[0]
    assert row.count("/county/visits/") == 2
    reviewer = await founded.signed_in("qian.xu")
    assert "/county/coverage?month=2026-09" not in (await reviewer.get(f"{PAGE}?period=2026-Q3&lang=zh")).text


async def test_a_long_table_is_added_up_on_paper_to_the_same_sums(
    founded: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, t = report(founded), texts("zh")
    whole = report_tables(made, t)
    assert paper_tables(made, whole, t) == whole
    monkeypatch.setattr(acceptance_brief, "MOST_CELLS", 4)
    brief = {one.name: one for one in paper_tables(made, whole, t)}
    long = {one.name: one for one in whole}
    villages = brief["villages"]
    assert len(villages.rows) == len({row[0] for row in long["villages"].rows}) < len(long["villages"].rows)
    assert {len(row) for row in (*villages.rows, villages.total, villages.columns)} == {len(villages.total)}
    for head in ("应到", "已到", "未到", "免", "未定"):
        place = [column.head for column in villages.columns].index(head)
        assert sum(int(row[place].value) for row in villages.rows) == villages.total[place].value
    assert sum(int(row[1].value) for row in villages.rows) == len(made.villages)
    missed, waived = (sum(int(row[place].value) for row in brief["shortfalls"].rows) for place in (3, 4))
    assert (missed, waived) == (made.duty.missed, made.duty.waived)
    assert values(brief["sealed"].rows[-1])[:1] == ["2026-09"]
    assert f"{len(made.villages)} 行" in villages.notes[0]
    assert brief["vans"] == long["vans"]


async def test_the_sheet_of_a_large_county_has_every_row_inside(
    founded: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance_brief, "MOST_CELLS", 4)
    client = await founded.signed_in("qian.xu")
    answer = await client.get(f"{PAGE}.pdf?period=2026-Q3&lang=zh")
    with pikepdf.open(io.BytesIO(answer.content)) as document:
        book = document.attachments["acceptance-2026-Q3.xlsx"].get_file().read_bytes()
    sheet = openpyxl.load_workbook(io.BytesIO(book))["行政村"]
    assert [row[2] for row in sheet.iter_rows(min_row=3, max_row=14, values_only=True)] == CODES


async def test_a_period_that_is_none_is_refused_and_chosen_months_lead_to_theirs(founded: Founded) -> None:
    client = await founded.signed_in("xu.jing")
    assert (await client.get(f"{PAGE}?period=2026-Q5")).status_code == 422
    answer = await client.get(f"{PAGE}?first=2026-08&last=2026-10&practice=0")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}?period=2026-08..2026-10&practice=0")


@pytest.mark.parametrize(
    ("text", "first", "last", "kind"),
    [
        ("2026-Q1", date(2026, 1, 1), date(2026, 3, 31), "quarter"),
        ("2026-Q4", date(2026, 10, 1), date(2026, 12, 31), "quarter"),
        ("2024", date(2024, 1, 1), date(2024, 12, 31), "year"),
        ("2025-11..2026-10", date(2025, 11, 1), date(2026, 10, 31), "months"),
        ("2026-02..2026-02", date(2026, 2, 1), date(2026, 2, 28), "months"),
    ],
)
def test_a_period_is_written_as_it_is_read(text: str, first: date, last: date, kind: str) -> None:
    period = Period.parse(text)
    assert (period.first, period.last, period.kind, period.name) == (first, last, kind, text)
    assert next(iter(period)) == first
    assert period.moved(-1).last < first
    assert period.moved(1).moved(-1) == period


@pytest.mark.parametrize(
    "text", ["", "2026-Q0", "26", "2026-09", "2026-10..2026-09", "2024-01..2026-01", "1999", "x..y"]
)
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(ValueError, match=r"period|month"):
        Period.parse(text)
