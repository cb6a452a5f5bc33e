"""The county's lists: who is on them, what of it leaves the server, and what is noted when names do."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msoffcrypto
import openpyxl
import pytest
from county_month import Founded, Van, at
from openpyxl.utils.exceptions import InvalidFileException
from sqlalchemy import select

from devices.clock import SimulatedClock
from sync.county.programme_lists import Line, ProgrammeLists
from sync.county.programme_sheets import shown, total, word
from sync.county.same_person import SamePeople
from sync.county.schema import audit
from sync.formats.records import Draft, format_time
from sync.record.person_links import LINKED, UNLINKED, PersonLinks
from sync.web.catalog import texts

MORNING = at(8, 3, 9)


class Patrol:
    """What one van tells of one visit."""

    def __init__(self, van: Van, moment: datetime) -> None:
        self.van, self.visit = van, van.id("visit")
        village = van.founded.villages[0]
        self.village = village
        opened = {"visit_id": self.visit, "village": village.code, "village_name": village.name, "crew": []}
        opened |= {"township": village.township, "proposed_by": "position", "arrived_at": format_time(moment)}
        self.tell("visit_opened/1", opened)

    def tell(self, kind: str, fields: dict[str, Any], encounter: str | None = None, at: datetime | None = None) -> None:
        self.van.store.commit_now(Draft(kind, fields, "zhou.min", self.visit, encounter, at))

    def person(self, name: str, results: tuple[tuple[str, str, str], ...] = (), **more: str) -> str:
        patient, encounter = self.van.id("patient"), self.van.id("encounter")
        fields = {"patient": patient, "name": name, "sex": "female", "source": "manual", **more}
        self.tell("patient/1", fields)
        self.tell("encounter/1", {"encounter_id": encounter, "patient": patient, "purpose": ""}, encounter)
        for rule, code, level in results:
            told = {"result": self.van.id("result"), "patient": patient, "rule": rule, "rule_version": "1"}
            self.tell("screening_result/1", {**told, "inputs": {}, "code": code, "level": level}, encounter)
        return patient

    def knows(self, patient: str, condition: str, state: str = "known") -> None:
        self.tell("condition/1", {"patient": patient, "condition": condition, "icd10": "I10", "state": state})


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(MORNING), database_url)
    county.van("van-07")
    yield county
    county.close()


async def deliver(founded: Founded) -> ProgrammeLists:
    await founded.vans["van-07"].deliver()
    founded.county.interpreter.catch_up_all()
    return ProgrammeLists(founded.county.database, practice=False)


async def delivered(founded: Founded, name: str) -> list[Line]:
    return list((await deliver(founded)).lines(name))


async def test_a_disease_is_listed_once_by_its_best_source(founded: Founded) -> None:
    patrol = Patrol(founded.vans["van-07"], MORNING)
    known = patrol.person("杨桂芳", (("BP-GRADE", "HTN2", "orange"), ("GLU-SCREEN", "DM_RANGE", "orange")))
    patrol.knows(known, "hypertension")
    patrol.person("陈国梁", (("BP-GRADE", "HIGH_NORMAL", "yellow"), ("COPD-SQ", "HIGH_RISK", "orange")))
    gone = patrol.person("罗秀珍")
    patrol.knows(gone, "diabetes")
    patrol.knows(gone, "diabetes", "withdrawn")
    lines = await delivered(founded, "chronic")
    assert [(line.person.name, line.what, line.source) for line in lines] == [
        ("杨桂芳", "diabetes", "screening"),
        ("杨桂芳", "hypertension", "known"),
        ("陈国梁", "copd", "screening"),
    ]
    assert {line.person.village for line in lines} == {patrol.village.code}


async def test_linked_registrations_are_one_person(founded: Founded) -> None:
    patrol = Patrol(founded.vans["van-07"], MORNING)
    one, two = (patrol.person("杨桂芳", (("BP-GRADE", "HTN1", "orange"),)) for _ in range(2))
    patrol.tell("access/1", {"action": LINKED, "what": f"{two} {one}"})
    [line] = await delivered(founded, "chronic")
    assert line.person.patient == one
    patrol.tell("access/1", {"action": UNLINKED, "what": f"{two} {one}"})
    assert len(await delivered(founded, "chronic")) == 2


async def test_the_poverty_list_holds_the_ill_of_households_that_are_watched_now(founded: Founded) -> None:
    patrol = Patrol(founded.vans["van-07"], MORNING)
    homes = {"house-1": "marginal", "house-2": "none", "house-3": "sudden"}
    for number, (house, category) in enumerate(homes.items()):
        ill = patrol.person(f"病人{number}")
        patrol.knows(ill, "cancer")
        well = patrol.person(f"家人{number}")
        for patient in (ill, well):
            patrol.tell("household_member/1", {"household": house, "patient": patient, "relation": "other"})
        patrol.tell("household_monitoring/1", {"household": house, "category": "unstable"})
        patrol.tell("household_monitoring/1", {"household": house, "category": category})
    moved = patrol.person("搬走的")
    patrol.knows(moved, "stroke")
    patrol.tell("household_member/1", {"household": "house-1", "patient": moved, "relation": "son"})
    patrol.tell("household_member/1", {"household": "", "patient": moved, "relation": "left"})
    lines = await delivered(founded, "poverty")
    assert [(line.person.name, line.household) for line in lines] == [("病人0", "marginal"), ("病人2", "sudden")]


async def test_the_line_list_has_symptoms_and_no_normal_results(founded: Founded) -> None:
    patrol = Patrol(founded.vans["van-07"], MORNING)
    patrol.person("甲", (("TB-SYMPTOM", "SUSPECT", "orange"), ("TEMP", "FEVER", "orange")))
    patrol.person(
        "乙", (("TB-SYMPTOM", "NEGATIVE", "green"), ("TEMP", "LOW", "red"), ("ECHINO-CE", "ACTIVE", "orange"))
    )
    lines = await delivered(founded, "infectious")
    assert [(line.person.name, line.what) for line in lines] == [
        ("甲", "fever"),
        ("甲", "tuberculosis"),
        ("乙", "echinococcosis"),
    ]


async def test_red_values_are_closed_in_time_late_or_not_at_all(founded: Founded) -> None:
    patrol = Patrol(founded.vans["van-07"], MORNING)
    for number, minutes in enumerate((4, 10, 25, None)):
        patient, reading = patrol.person(f"病人{number}"), f"reading-{number}"
        told = {"reading": reading, "patient": patient}
        patrol.tell("critical_action/1", {**told, "action": "found"}, at=MORNING)
        patrol.tell("critical_action/1", {**told, "action": "told"}, at=MORNING + timedelta(minutes=1))
        if minutes is not None:
            moment = MORNING + timedelta(minutes=minutes, seconds=30)
            patrol.tell("critical_action/1", {**told, "action": "referred"}, at=moment)
            patrol.tell("critical_action/1", {**told, "action": "consulted"}, at=moment + timedelta(hours=1))
    lines = await delivered(founded, "critical")
    assert [(line.minutes, line.source) for line in lines] == [
        (4, "referred"),
        (10, "referred"),
        (25, "referred"),
        (None, ""),
    ]
    assert ProgrammeLists(founded.county.database, practice=False).closed_in_time() == (4, 2, 1)


async def test_findings_are_red_values_and_a_repeat_ends_one_too(founded: Founded) -> None:
    patrol = Patrol(founded.vans["van-07"], MORNING)
    patient = patrol.person("病人")

    def act(about: str, action: str, minutes: int) -> None:
        fields = {"reading": about, "patient": patient, "action": action}
        patrol.tell("critical_action/1", fields, "encounter-1", MORNING + timedelta(minutes=minutes))

    def measured(name: str, minutes: int) -> None:
        moment = MORNING + timedelta(minutes=minutes)
        fields = {"reading": name, "device": "cuff-1", "driver": "sim", "type": "blood_pressure", "values": {}}
        patrol.tell("reading/1", {**fields, "by_hand": False}, "encounter-1", moment)
        patrol.tell("reading_confirmed/1", {"reading": name, "patient": patient}, "encounter-1", moment)

    measured("reading-1", 0)
    act("reading-1", "found", 0)
    act("reading-1", "repeated", 1)
    measured("reading-2", 4)
    for number, (what, action, minutes) in enumerate(
        (("ecg_asystole", "withdrawn", 1), ("us_aorta", "referred", 12), ("ecg_pause", "told", 1))
    ):
        name = f"finding-{number}"
        found = {"finding": name, "patient": patient, "source": "ecg_live", "what": what, "facts": {}}
        patrol.tell("critical_finding/1", found, "encounter-1", MORNING)
        act(name, "found", 0)
        act(name, action, minutes)
    lines = await delivered(founded, "critical")
    assert [(line.what, line.source, line.minutes) for line in lines] == [
        ("blood_pressure", "measured_again", 4),
        ("ecg_asystole", "withdrawn", 1),
        ("ecg_pause", "", None),
        ("us_aorta", "referred", 12),
    ]
    assert [word("critical", line.what, texts("zh")) for line in lines[1:]] == [
        "没有心跳", "停搏超过 3 秒", "主动脉夹层或动脉瘤",
    ]  # fmt: skip


def test_small_cells_are_not_exact_and_no_total_tells_them() -> None:
    assert [shown(count) for count in (0, 1, 4, 5, 120)] == [0, "<5", "<5", 5, 120]
    assert total([7, 3]) == "–"  # 10 - 7 would tell the 3
    assert total([7, 3, 2]) == 12
    assert total([0, 6]) == 6
    assert total([1, 1]) == "<5"


def test_who_is_taken_out_of_a_group_stands_alone() -> None:
    links = PersonLinks([(LINKED, "b a"), (LINKED, "c b"), ("queued", "x"), (UNLINKED, "b a")])
    assert (links.first("c"), links.beside("a"), links.different("a", "b")) == ("c", (), True)
    links.join("c", "a")
    assert (links.first("c"), links.beside("a")) == ("a", ("c",))


def cells(content: bytes) -> list[list[Any]]:
    sheet = openpyxl.load_workbook(io.BytesIO(content)).active
    assert sheet is not None
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


def opened(content: bytes, password: str) -> bytes:
    """A sheet under a password: no word of it can be read without, and another password does not open it."""
    assert openpyxl_refuses(content)
    assert "居民".encode() not in content
    file = msoffcrypto.OfficeFile(io.BytesIO(content))
    with pytest.raises(msoffcrypto.exceptions.InvalidKeyError):
        file.load_key(password=password + "x", verify_password=True)
    file = msoffcrypto.OfficeFile(io.BytesIO(content))
    file.load_key(password=password, verify_password=True)
    out = io.BytesIO()
    file.decrypt(out, verify_integrity=True)
    return out.getvalue()


def openpyxl_refuses(content: bytes) -> bool:
    try:
        openpyxl.load_workbook(io.BytesIO(content))
    except (zipfile.BadZipFile, InvalidFileException):
        return True
    return False


async def test_counts_leave_for_readers_and_names_for_a_reason_only(founded: Founded) -> None:
    patrol = Patrol(founded.vans["van-07"], MORNING)
    for number in range(6):
        patrol.person(f"居民{number}", (("BP-GRADE", "HTN1", "orange"),), phone="13800138000", id_last4="002X")
    patrol.person("一个人", (("COPD-SQ", "HIGH_RISK", "orange"),))
    await deliver(founded)
    auditor, administrator = await founded.signed_in("he.ming"), await founded.signed_in("xu.jing")
    page = (await auditor.get("/county/lists")).text
    assert "居民0" not in page
    assert "named-chronic" not in page
    counted = await auditor.get("/county/lists/chronic.xlsx")
    rows = cells(counted.content)
    assert rows[1] == ["乡镇", "村", "村代码", "慢阻肺", "高血压"]
    village = patrol.village
    assert rows[2] == [village.township, village.name, village.code, "<5", 6]
    assert rows[3] == ["合计", None, None, "–", 6]
    assert "居民" not in str(rows)
    assert (await auditor.post("/county/lists/chronic/named", data={"reason": "随访补漏"})).status_code == 403
    refused = await administrator.post("/county/lists/chronic/named", data={"reason": " "})
    assert (refused.status_code, refused.headers["location"]) == (303, "/county/lists")
    assert "写明用途" in (await administrator.get("/county/lists")).text
    for weak in ("", "short1", "onlyletters"):
        asked = {"reason": "八月随访补漏", "password": weak}
        refused = await administrator.post("/county/lists/chronic/named", data=asked)
        assert (refused.status_code, refused.headers["location"]) == (303, "/county/lists")
    assert "至少 8 位" in (await administrator.get("/county/lists")).text
    asked = {"reason": "八月随访补漏", "password": "qingxi-2026"}
    named = await administrator.post("/county/lists/chronic/named", data=asked)
    assert named.headers["cache-control"] == "no-store"
    rows = cells(opened(named.content, "qingxi-2026"))
    assert rows[1][:8] == ["序号", "乡镇", "村", "村代码", "姓名", "性别", "出生日期", "证件尾号"]
    assert rows[2][3:8] == [village.code, "居民0", "女", None, "002X"]
    assert "八月随访补漏" in str(rows[-2])
    notes = [
        (row["account"], row["what"], row["outcome"])
        for row in founded.county.database.rows(select(audit).where(audit.c.action == "export").order_by(audit.c.id))
    ]
    assert notes == [
        ("he.ming", "list chronic counts", "done"),
        ("xu.jing", "list chronic named: no reason", "refused"),
        *[("xu.jing", "list chronic named: weak password", "refused")] * 3,
        ("xu.jing", "list chronic named, 7 lines: 八月随访补漏", "done"),
    ]
    assert (await administrator.get("/county/lists/smi.xlsx")).status_code == 404


async def test_practice_is_a_list_of_its_own(founded: Founded) -> None:
    founded.van("van-08", practice=True)
    patrol = Patrol(founded.vans["van-08"], MORNING)
    patrol.person("演练居民", (("BP-GRADE", "HTN1", "orange"),))
    Patrol(founded.vans["van-07"], MORNING).person("真居民", (("BP-GRADE", "HTN1", "orange"),))
    await founded.vans["van-08"].deliver()
    real = await deliver(founded)
    assert [line.person.name for line in real.lines("chronic")] == ["真居民"]
    played = ProgrammeLists(founded.county.database, practice=True)
    assert [line.person.name for line in played.lines("chronic")] == ["演练居民"]
    administrator = await founded.signed_in("xu.jing")
    sheet = await administrator.get("/county/lists/chronic.xlsx?practice=1")
    assert "演练" in str(cells(sheet.content)[0][0])


SAME = {"born_on": "1959-03-12", "id_last4": "0426", "id_kind": "resident"}


async def test_one_document_on_two_vans_is_one_person_in_lists_and_counts(founded: Founded) -> None:
    """Somebody comes to one van with high blood pressure and to another a month later; so does one without a number."""
    told = (("BP-GRADE", "HTN1", "orange"),)
    founded.van("van-08")
    for van, moment in (("van-07", MORNING), ("van-08", MORNING + timedelta(days=30))):
        patrol = Patrol(founded.vans[van], moment)
        patrol.person("杨桂芳", told, **SAME)
        patrol.person("无证的", told, born_on="1950-01-01", id_kind="temporary")
        await founded.vans[van].deliver()
    founded.county.interpreter.catch_up_all()
    lists = ProgrammeLists(founded.county.database, practice=False)
    assert sorted(line.person.name for line in lists.lines("chronic")) == ["无证的", "无证的", "杨桂芳"]
    assert lists.people_served(MORNING.date()) == 3
    assert lists.people_served(MORNING.date() + timedelta(days=60)) == 0


@pytest.mark.parametrize(
    ("second", "one"),
    [
        ({}, True),
        ({"id_kind": ""}, True),
        ({"id_kind": "passport"}, False),
        ({"id_last4": "0427"}, False),
        ({"born_on": "1959-03-13"}, False),
        ({"name": "杨桂英"}, False),
        ({"id_last4": "", "id_kind": "temporary"}, False),
        ({"id_last4": "", "id_hash": "e" * 64}, False),
    ],
)
def test_what_makes_two_registrations_one_person(second: dict[str, str], one: bool) -> None:
    rows = [registration("a", "p1", "2026-08-03"), registration("b", "p2", "2026-09-03", **second)]
    same = SamePeople(rows, {})
    assert (same.first("b", "p2") == ("a", "p1")) is one


@pytest.mark.parametrize("more", [{"id_last4": ""}, {"id_kind": "newborn"}, {"born_on": ""}])
def test_without_a_number_of_their_own_nobody_is_merged(more: dict[str, str]) -> None:
    rows = [registration(origin, "p", "", **more) for origin in ("a", "b")]
    assert SamePeople(rows, {}).first("b", "p") == ("b", "p")


def registration(origin: str, patient: str, at: str, **more: str) -> dict[str, str]:
    told = {"name": "杨桂芳", "sex": "female", "id_hash": "", **SAME}
    return {"origin": origin, "patient": patient, "registered_at": at, **told, **more}


def test_the_oldest_registration_of_whichever_van_speaks_for_the_person() -> None:
    rows = [registration("a", "p1", "2026-08-03"), registration("b", "p2", "2026-02-01"), registration("c", "p3", "")]
    rows += [registration("c", "p4", "2026-05-01", id_last4="9999", id_hash="f" * 64)]
    rows += [registration("b", "p5", "2026-06-01", id_last4="", id_hash="f" * 64)]
    links = {"b": PersonLinks([(LINKED, "p5 p2")])}
    same = SamePeople(rows, links)
    assert {same.first(*one) for one in (("a", "p1"), ("b", "p2"), ("b", "p5"), ("c", "p4"))} == {("c", "p3")}


def test_where_a_van_took_two_apart_their_document_decides_nothing() -> None:
    rows = [registration("a", "p1", "2026-08-03"), registration("a", "p2", "2026-08-04"), registration("b", "p3", "")]
    same = SamePeople(rows, {"a": PersonLinks([(UNLINKED, "p1 p2")])})
    assert [same.first(*one) for one in (("a", "p1"), ("a", "p2"), ("b", "p3"))] == [
        ("a", "p1"),
        ("a", "p2"),
        ("b", "p3"),
    ]
