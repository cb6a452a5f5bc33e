"""What rules cannot settle waits for a person, whose decision goes into the registry and stays there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from county_month import Founded, at

from devices.clock import SimulatedClock
from sync.county.schema import audit

SEPTEMBER = date(2026, 9, 1)


@pytest.fixture
async def county(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    """Two visits that wait (the village doctor did not confirm), one that counts by rule, one that is short."""
    founded = Founded(tmp_path, SimulatedClock(at(9, 1, 6)), database_url)
    van = founded.van("van-07")
    for day, confirm, minutes in ((1, False, 250), (2, False, 250), (3, True, 250), (4, True, 60)):
        van.visit(founded.villages[day - 1], at(9, day, 8), minutes=minutes, confirm=confirm)
        await van.deliver()
    yield founded
    founded.close()


async def state(founded: Founded, visit: str) -> dict[str, Any]:
    client = await founded.signed_in("xu.jing")
    return dict((await client.get(f"/api/visits/{visit}")).json())


async def decide(founded: Founded, visits: list[str], decision: str, reason: str, who: str = "xu.jing") -> str:
    """The page that is shown afterwards."""
    client = await founded.signed_in(who)
    form = {"visit": visits, "decision": decision, "reason": reason, "practice": "0"}
    answer = await client.post("/county/review", data=form)
    assert answer.status_code == 303, answer.text
    return (await client.get(answer.headers["location"])).text


def decisions(founded: Founded) -> list[Any]:
    state = founded.county.registry.state()
    found = [founded.county.registry.entry(n) for n in range(state.size)]
    return [entry for entry in found if entry.kind == "reviews/1"]


async def test_what_waits_is_listed_with_its_reason(county: Founded) -> None:
    page = (await (await county.signed_in("xu.jing")).get("/county/review")).text
    assert page.count('data-testid="waits-') == 2
    assert "旁证不够" in page
    assert "待审核 2 次" in page


async def test_a_decision_counts_and_stays(county: Founded) -> None:
    visit = "visit-van-07-0001"
    assert (await state(county, visit))["state"] == "review"
    page = await decide(county, [visit], "counted", " 电话问过村医 ")
    assert "已计入：云坪村 09-01" in page
    assert page.count('data-testid="waits-') == 1
    found = await state(county, visit)
    assert (found["state"], found["flags"]) == ("counted", ["decided_by_reviewer"])
    assert found["decision"]["by"] == "xu.jing"
    assert found["decision"]["reason"] == "电话问过村医"
    client = await county.signed_in("xu.jing")
    assert "许静" in (await client.get(f"/county/visits/{visit}")).text
    table = (await client.get("/api/coverage", params={"month": "2026-09"})).json()
    assert table["villages"][0]["counted"] == 1


async def test_a_refusal_is_shown_as_one(county: Founded) -> None:
    visit = "visit-van-07-0001"
    await decide(county, [visit], "refused", "村医说没有来过")
    found = await state(county, visit)
    assert (found["state"], found["reasons"]) == ("not_counted", ["refused_by_reviewer"])


async def test_the_same_decision_twice_is_written_once(county: Founded) -> None:
    visit = "visit-van-07-0001"
    await decide(county, [visit], "counted", "电话问过村医")
    page = await decide(county, [visit], "counted", "电话问过村医")
    assert "没有再写" in page
    assert len(decisions(county)) == 1


async def test_a_decision_may_be_changed_and_both_stay_in_the_log(county: Founded) -> None:
    visit = "visit-van-07-0001"
    await decide(county, [visit], "counted", "电话问过村医")
    await decide(county, [visit], "refused", "问错了人")
    assert [entry.fields["decided"][visit]["decision"] for entry in decisions(county)] == ["counted", "refused"]
    assert (await state(county, visit))["state"] == "not_counted"


async def test_several_are_decided_at_once(county: Founded) -> None:
    page = (await (await county.signed_in("xu.jing")).get("/county/review")).text
    visits = [part.split('"')[0] for part in page.split('data-testid="waits-')[1:]]
    assert len(visits) == 2
    page = await decide(county, visits, "counted", "统一核对过")
    assert 'data-testid="nothing"' in page
    assert len(decisions(county)) == 1
    assert set(decisions(county)[0].fields["decided"]) == set(visits)


async def test_what_waits_is_sifted_by_its_reason(county: Founded) -> None:
    client = await county.signed_in("xu.jing")
    every = (await client.get("/county/review?lang=zh")).text
    few = (await client.get("/county/review?lang=zh&reason=too_few_witnesses")).text
    none = (await client.get("/county/review?lang=zh&reason=clock_stepped")).text
    assert [page.count('data-testid="pick"') for page in (every, few, none)] == [2, 2, 0]
    assert "全选 2 个" in few


@pytest.mark.parametrize(
    ("decision", "reason"), [("counted", "x"), ("counted", ""), ("counted", "x" * 201), ("perhaps", "好的")]
)
async def test_without_a_reason_or_a_decision_nothing_changes(county: Founded, decision: str, reason: str) -> None:
    page = await decide(county, ["visit-van-07-0001"], decision, reason)
    assert 'data-testid="said-problem_reason"' in page
    assert decisions(county) == []


@pytest.mark.parametrize("place", [2, 3, None], ids=["counts by rule", "too short", "unknown"])
async def test_only_what_waits_can_be_decided(county: Founded, place: int | None) -> None:
    client = await county.signed_in("xu.jing")
    table = (await client.get("/api/coverage", params={"month": "2026-09"})).json()
    visit = table["villages"][place]["visits"][0]["visit"] if place is not None else "visit-of-nobody"
    assert 'data-testid="said-problem_gone"' in await decide(county, ["visit-van-07-0001", visit], "counted", "好的")
    assert decisions(county) == []


async def test_who_may_only_read_cannot_decide(county: Founded) -> None:
    client = await county.signed_in("he.ming")
    assert (await client.get("/county/review")).status_code == 200
    answer = await client.post("/county/review", data={"visit": "visit-van-07-0001", "decision": "counted"})
    assert answer.status_code == 403
    async with county.client() as nobody:
        assert (await nobody.post("/county/review", data={})).status_code in (303, 401)
    assert decisions(county) == []


@pytest.mark.parametrize("body", [b"\xff\xfe", b"visit=a&" * 200, b"", b"x" * 20_000])
async def test_what_is_no_form_changes_nothing(county: Founded, body: bytes) -> None:
    client = await county.signed_in("xu.jing")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await client.post("/county/review", content=body, headers=headers)
    assert answer.status_code in (303, 413)
    assert decisions(county) == []


async def test_what_was_decided_of_another_vehicles_visit_of_that_name_does_not_count(county: Founded) -> None:
    county.county.registry.decide(
        SEPTEMBER, {"visit-van-07-0001": "van-09.qingyu.example"}, "counted", "别的车", "xu.jing"
    )
    assert (await state(county, "visit-van-07-0001"))["state"] == "review"


async def test_decisions_are_noted_in_the_audit_trail(county: Founded) -> None:
    await decide(county, ["visit-van-07-0001"], "counted", "x")
    await decide(county, ["visit-van-07-0001"], "counted", "电话问过村医")
    lines = [row for row in county.county.database.rows(audit.select()) if row["action"] == "review"]
    assert [(row["outcome"], row["what"]) for row in lines] == [
        ("refused", "counted visit-van-07-0001"),
        ("done", "counted visit-van-07-0001"),
    ]
