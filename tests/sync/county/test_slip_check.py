"""Who holds a slip enters its number and sees what the journal says; changed and invented papers are told apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from county_month import Founded, at
from sqlalchemy import select
from test_county_programme_lists import Patrol

from devices.clock import SimulatedClock
from sync.county.schema import audit
from sync.county.slip_check import find, masked, number_of
from sync.formats.slips import Emphasis, Fact, Rule, Slip, Value, qr_text, reference

MORNING = at(8, 3, 9)
SLIP = Slip(
    "zh",
    "健康检查结果",
    "王家村 · 川A·演07",
    (Fact("姓名", "杨**"), Rule(), Value("血压", "168/98", "mmHg", "orange", "异常"), Emphasis("下次", "2026-12-06")),
    ("此结果不作为诊断",),
)


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(MORNING), database_url)
    county.van("van-07")
    yield county
    county.close()


def printed(patrol: Patrol, content: dict[str, Any], number: str = "") -> str:
    """A slip in the journal; its number, or the one that is claimed for it."""
    name, patient = patrol.van.id("print"), patrol.person("杨桂芳")
    number = number or reference(name, content)
    fields = {"print": name, "patient": patient, "form": "result_slip", "destination": "printer", "state": "printed"}
    patrol.tell("print/1", {**fields, "reference": number, "content": content})
    return number


async def deliver(founded: Founded) -> None:
    await founded.vans["van-07"].deliver()
    founded.county.interpreter.catch_up_all()


async def test_a_slip_is_found_by_its_number_however_it_is_typed(founded: Founded) -> None:
    patrol = Patrol(founded.vans["van-07"], MORNING)
    number = printed(patrol, SLIP.as_json())
    await deliver(founded)
    origin = "van-07.qingyu.example"
    for said in (number, f" {number[:4].lower()} {number[4:].lower()} ", qr_text(origin, number)):
        [one] = find(founded.county.database, said)
        assert (one.genuine, one.whose, one.village) == (True, "杨**", patrol.village.name)
        assert one.rows == (("姓名", "杨**"), ("血压", "168/98 mmHg [异常]"), ("下次", "2026-12-06"))
    for said in ("00000000", qr_text("van-99.qingxi.example", number), ""):
        assert find(founded.county.database, said) == []


async def test_a_number_that_does_not_belong_to_its_content_is_said(founded: Founded) -> None:
    patrol = Patrol(founded.vans["van-07"], MORNING)
    printed(patrol, SLIP.as_json(), "7F3K2M9Q")
    await deliver(founded)
    [one] = find(founded.county.database, "7f3k2m9q")
    assert not one.genuine


async def test_the_page_tells_it_and_each_look_is_noted(founded: Founded) -> None:
    number = printed(Patrol(founded.vans["van-07"], MORNING), SLIP.as_json())
    await deliver(founded)
    administrator = await founded.signed_in("xu.jing")
    page = (await administrator.get("/county/slips", params={"number": number})).text
    assert 'data-genuine="yes"' in page
    assert "168/98 mmHg [异常]" in page
    assert "杨桂芳" not in page
    assert 'data-testid="not-found"' in (await administrator.get("/county/slips?number=0000")).text
    rows = founded.county.database.rows(select(audit).where(audit.c.action == "read_slip").order_by(audit.c.id))
    assert [row["what"] for row in rows] == [f"{number}: found", "0000: not found"]


@pytest.mark.parametrize(
    ("said", "known"),
    [("7f3k 2m9q", ("", "7F3K2M9Q")), ("XZ1:van-07.x:7F3K2M9Q", ("van-07.x", "7F3K2M9Q")), (" ", ("", ""))],
    ids=["typed", "scanned", "nothing"],
)
def test_what_is_typed_or_scanned_names_a_journal_or_none(said: str, known: tuple[str, str]) -> None:
    assert number_of(said) == known
    assert (masked("杨桂芳"), masked("")) == ("杨**", "")
