"""The registry's pages: the administrator changes, the auditor reads, nobody else sees; nothing changes by mistake."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from county_month import TOWNSHIP, Founded, at

from devices.clock import SimulatedClock
from sync.county.registry_view import changes
from sync.formats.wire import Tile, log_path
from sync.proof.areas import Village, as_geojson
from sync.proof.gcj02 import to_gcj02
from sync.proof.registry_entries import is_registry
from sync.proof.registry_state import RegistryState
from sync.web.catalog import texts

PAGES = ("/county/registry", "/county/registry/villages", "/county/registry/rules", "/county/waivers")
CHANGES = (("/county/registry/villages", {"id": "0"}), ("/county/registry/rules", {}), ("/county/waivers", {}))


@pytest.fixture
async def founded(tmp_path: Path) -> AsyncIterator[Founded]:
    founded = Founded(tmp_path, SimulatedClock(at(9, 10, 8)))
    yield founded
    founded.close()


@pytest.fixture
async def xu_jing(founded: Founded) -> AsyncIterator[httpx.AsyncClient]:
    client = await founded.signed_in("xu.jing")
    yield client
    await client.aclose()


def moved(villages: tuple[Village, ...], count: int, metres: int = 40) -> list[Village]:
    """The first ``count`` a little to the north, the others as they are."""
    up = metres / 111_195.0

    def north(village: Village) -> Village:
        rings = tuple(tuple((x, y + up) for x, y in ring) for ring in village.polygon or ())
        there = replace(village, centre_latitude_deg=village.centre_latitude_deg + up)
        return replace(there, polygon=rings) if rings else there

    return [north(village) if place < count else village for place, village in enumerate(villages)]


async def upload(client: httpx.AsyncClient, geojson: Any, **form: str) -> httpx.Response:
    body = geojson if isinstance(geojson, bytes) else json.dumps(geojson).encode()
    files = {"file": ("villages.geojson", body, "application/geo+json")}
    return await client.post("/county/registry/preview", files=files, data=form)


def id_of(page: str) -> str:
    return page.partition('name="id" value="')[2].partition('"')[0]


async def test_every_change_is_listed_with_who_made_it(founded: Founded, xu_jing: httpx.AsyncClient) -> None:
    registry = founded.county.registry
    registry.set_rules({"days_apart": 7}, by="command-line")
    registry.waive("999901101201", "2026-09", "大雪封路", by="xu.jing")
    registry.decide(date(2026, 9, 1), {"visit-1": "van-07"}, "counted", "电话核实过", by="xu.jing")
    founded.van("van-07", plate="川A·演07")
    page = (await xu_jing.get("/county/registry")).text
    for words in (
        "村名单，共 12 个",
        "规则第 2 版",
        "相隔天数 5 天 → <b>7 天</b>",
        "2026-09 豁免",
        "大雪封路",
        "审核计入 1 次",
        "登记车辆",
        "川A·演07",
        "服务器命令行",
        "许静",
        "没有省级见证",
        registry.origin,
    ):
        assert words in page
    assert page.index("登记车辆") < page.index("规则第 2 版") < page.index("村名单")
    english = (await xu_jing.get("/county/registry?lang=en")).text
    assert "No province witness" in english
    assert "Days apart 5 days → <b>7 days</b>" in english


async def test_changes_go_on_page_by_page(founded: Founded) -> None:
    registry = founded.county.registry
    for number in range(95):
        registry.set_rules({"staff": number % 5}, by="xu.jing")
    seen: list[int] = []
    before: int | None = None
    while True:
        lines, before = changes(registry, before)
        seen += [change.first for change in lines]
        if before is None:
            break
    assert len(seen) == 96
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 0
    assert changes(registry, 10**9)[0][0].first == seen[0]


@pytest.mark.parametrize("id", ["shen.ruochuan", None])
async def test_nobody_else_sees_the_pages(founded: Founded, id: str | None) -> None:
    client = await founded.signed_in(id) if id else founded.client()
    for page in PAGES:
        assert (await client.get(page)).status_code in (401, 403)
    await client.aclose()


async def test_the_auditor_reads_and_changes_nothing(founded: Founded) -> None:
    client = await founded.signed_in("he.ming")
    size = founded.county.registry.state().size
    for page in PAGES:
        text = (await client.get(page)).text
        assert 'method="post" action="/county' not in text
    for page, form in CHANGES:
        assert (await client.post(page, data=form)).status_code == 403
    assert (await upload(client, as_geojson(founded.villages))).status_code == 403
    assert founded.county.registry.state().size == size
    await client.aclose()


async def test_a_foreign_page_cannot_change_anything(founded: Founded, xu_jing: httpx.AsyncClient) -> None:
    size = founded.county.registry.state().size
    for page, form in CHANGES:
        answer = await xu_jing.post(page, data=form, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
    assert founded.county.registry.state().size == size


# villages -------------------------------------------------------------------------------------------------------------


async def test_a_list_is_looked_at_and_then_imported(founded: Founded, xu_jing: httpx.AsyncClient) -> None:
    registry, before = founded.county.registry, founded.villages
    size = registry.state().size
    new = [
        *moved(before, 2)[:11],
        replace(before[11], code="999901101299", name="新桥村", valid_from=date(2026, 9, 10)),
    ]
    page = await upload(xu_jing, as_geojson(new))
    assert page.status_code == 200
    for words in ("改范围", "新桥村", "2026-09-10 起不再有效", "改动从 2026-09-10 起有效"):
        assert words in page.text
    assert registry.state().size == size
    done = await xu_jing.post("/county/registry/villages", data={"id": id_of(page.text), "valid_from": ""})
    assert (done.status_code, done.headers["location"]) == (303, "/county/registry/villages")
    assert "已导入，12 个村在用" in (await xu_jing.get("/county/registry/villages")).text
    today, yesterday = date(2026, 9, 10), date(2026, 9, 9)
    assert sorted(v.name for v in founded.villages if v.in_force(yesterday)) == sorted(v.name for v in before)
    assert "新桥村" in {v.name for v in founded.villages if v.in_force(today)}
    again = await xu_jing.post("/county/registry/villages", data={"id": id_of(page.text), "valid_from": ""})
    assert (again.status_code, "请重新上传" in again.text) == (422, True)
    audit = founded.county.audit.latest()[0]
    assert (audit.action, audit.outcome) == ("import_villages", "refused")


async def test_the_day_from_which_changes_hold_may_be_chosen(founded: Founded, xu_jing: httpx.AsyncClient) -> None:
    page = await upload(xu_jing, as_geojson(moved(founded.villages, 1)), valid_from="2026-10-01")
    assert "改动从 2026-10-01 起有效" in page.text
    form = {"id": id_of(page.text), "valid_from": "2026-10-01"}
    assert (await xu_jing.post("/county/registry/villages", data=form)).status_code == 303
    first = [village for village in founded.villages if village.code == "999901101201"]
    assert [(v.valid_from.isoformat(), v.valid_until) for v in first] == [
        ("2024-01-01", date(2026, 9, 30)),
        ("2026-10-01", None),
    ]
    shown = (await xu_jing.get("/county/registry/villages")).text
    assert "未生效" in shown


async def test_a_list_in_gcj02_needs_a_reason(founded: Founded, xu_jing: httpx.AsyncClient) -> None:
    def shifted(village: Village) -> Village:
        latitude, longitude = to_gcj02((village.centre_latitude_deg, village.centre_longitude_deg))
        rings = tuple(tuple(to_gcj02((y, x))[::-1] for x, y in ring) for ring in village.polygon or ())
        there = replace(village, centre_latitude_deg=latitude, centre_longitude_deg=longitude)
        return replace(there, polygon=rings or None)

    size = founded.county.registry.state().size
    page = await upload(xu_jing, as_geojson([shifted(village) for village in founded.villages]))
    assert "像是 GCJ-02 坐标" in page.text
    assert "12 个村里 12 个一起偏" in page.text
    form = {"id": id_of(page.text), "valid_from": ""}
    refused = await xu_jing.post("/county/registry/villages", data=form)
    assert "偏移的名单要写明理由才能导入" in refused.text
    assert founded.county.registry.state().size == size
    assert (await xu_jing.post("/county/registry/villages", data={**form, "reason": "省里重测"})).status_code == 303
    assert "gcj02_suspected accepted: 省里重测" in (await xu_jing.get("/county/registry")).text
    assert "shift accepted: 省里重测" in founded.county.audit.latest()[0].what


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "文件不是 JSON"),
        (b"\xff\xfe", "文件不是 JSON"),
        (b"[" * 100_000, "文件不是 JSON"),
        (b"{}", "不是 GeoJSON 的 FeatureCollection"),
        (b'{"type":"FeatureCollection","features":[]}', "一个村也没有"),
        (b'{"type":"FeatureCollection","features":[{"properties":{"name":"a"}}]}', "第 1 个（a）：没有图形"),
    ],
)
async def test_a_file_that_is_no_list_is_refused(
    founded: Founded, xu_jing: httpx.AsyncClient, body: bytes, said: str
) -> None:
    size = founded.county.registry.state().size
    answer = await upload(xu_jing, body)
    assert (answer.status_code, said in answer.text) == (422, True)
    answer = await upload(xu_jing, TOWNSHIP.read_bytes(), valid_from="tomorrow")
    assert (answer.status_code, "请写成 YYYY-MM-DD" in answer.text) == (422, True)
    xu_jing.cookies.set("xunzhen_lang", "en")
    answer = await upload(xu_jing, TOWNSHIP.read_bytes(), valid_from="tomorrow")
    assert (answer.status_code, "is not a day: write it as YYYY-MM-DD" in answer.text) == (422, True)
    assert founded.county.registry.state().size == size


async def test_another_persons_upload_is_not_mine(founded: Founded, xu_jing: httpx.AsyncClient) -> None:
    founded.county.accounts.add("li.wei", "李伟", "administrator", "practice-2580")
    other = await founded.signed_in("li.wei")
    page = await upload(xu_jing, as_geojson(moved(founded.villages, 1)))
    size = founded.county.registry.state().size
    answer = await other.post("/county/registry/villages", data={"id": id_of(page.text), "valid_from": ""})
    assert answer.status_code == 422
    assert founded.county.registry.state().size == size
    await other.aclose()


def test_uploads_that_nobody_confirms_are_forgotten(founded: Founded) -> None:
    uploads = founded.county.uploads
    ids = []
    for number in range(25):
        founded.clock.advance(60)
        ids.append(uploads.keep(json.dumps({"number": number}).encode(), "xu.jing"))
    assert [uploads.get(id, "xu.jing") is not None for id in ids] == [False] * 5 + [True] * 20
    founded.clock.advance(2 * 86400)
    last = uploads.keep(b"{}", "xu.jing")
    assert [uploads.get(id, "xu.jing") for id in ids] == [None] * 25
    assert uploads.get(last, "xu.jing") == {}


# rules and waivers ----------------------------------------------------------------------------------------------------

RULES = {
    "visits_per_month": "2",
    "days_apart": "7",
    "dwell_s": "200",
    "staff": "2",
    "doctors": "1",
    "encounters": "1",
    "witnesses": "2",
    "provisional_days": "10",
    "role_doctor": "yes",
    "role_village_doctor": "yes",
}


async def test_rules_are_changed_by_the_form(founded: Founded, xu_jing: httpx.AsyncClient) -> None:
    assert (await xu_jing.post("/county/registry/rules", data=RULES)).status_code == 303
    rules = founded.county.registry.rules()
    assert (rules.version, rules.days_apart, rules.dwell_s, rules.doctor_roles) == (
        2,
        7,
        200 * 60,
        ("doctor", "village_doctor"),
    )
    page = (await xu_jing.get("/county/registry/rules")).text
    assert "规则第 2 版已生效" in page
    assert "在村时间 240 分钟 → <b>200 分钟</b>" in page


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dwell_s": "1441"}, "在村时间：要在 0 到 1440 之间"),
        ({"staff": "-1"}, "在岗人数：“-1”不是整数"),
        ({"staff": "two"}, "在岗人数：“two”不是整数"),
        ({"days_apart": ""}, "不是整数"),
        ({"role_doctor": "", "role_village_doctor": ""}, "至少要有一种角色算医生"),
    ],
)
async def test_rules_out_of_bounds_are_refused(
    founded: Founded, xu_jing: httpx.AsyncClient, wrong: dict[str, str], said: str
) -> None:
    answer = await xu_jing.post("/county/registry/rules", data={**RULES, **wrong})
    assert answer.status_code == 422
    assert said in answer.text
    assert "没有改动" in answer.text
    assert founded.county.registry.rules().version == 1


async def test_a_waiver_is_written_by_the_form(founded: Founded, xu_jing: httpx.AsyncClient) -> None:
    form = {"village": "999901101201", "month": "2026-08", "reason": "山洪断路"}
    done = await xu_jing.post("/county/waivers", data=form)
    assert done.headers["location"] == "/county/waivers?month=2026-08"
    page = (await xu_jing.get("/county/waivers?month=2026-08")).text
    assert "已写入 2026-08 的豁免" in page
    assert "山洪断路" in page
    assert "许静" in page
    assert "本月没有豁免" in (await xu_jing.get("/county/waivers?month=2026-09")).text
    for wrong in ({"village": "1"}, {"month": "August"}, {"reason": " "}, {"reason": "x" * 201}):
        answer = await xu_jing.post("/county/waivers", data={**form, **wrong})
        assert (answer.status_code, "没有改动" in answer.text) == (422, True)
    assert len(founded.county.registry.waivers(date(2026, 8, 1))) == 1


# the log itself -------------------------------------------------------------------------------------------------------


async def test_entries_of_the_registry_are_for_administrator_and_auditor(
    founded: Founded, xu_jing: httpx.AsyncClient
) -> None:
    registry = founded.county.registry
    van = founded.van("van-07")
    await van.deliver()
    path = log_path(registry.origin, Tile(-1, 0, registry.state().size).path())
    assert is_registry(registry.origin)
    answer = await xu_jing.get(path)
    assert answer.status_code == 200
    assert b"999901101201" in answer.content
    auditor, nobody = await founded.signed_in("he.ming"), founded.client()
    assert (await auditor.get(path)).status_code == 200
    assert (await nobody.get(path)).status_code == 401
    assert (await nobody.get(f"/log/{registry.origin}/checkpoint")).status_code == 200
    stored = founded.county.mirror.log(van.signer.name).mirror_size
    of_the_van = log_path(van.signer.name, Tile(-1, 0, stored).path())
    assert (await xu_jing.get(of_the_van)).status_code == 404
    await auditor.aclose()
    await nobody.aclose()


def test_both_languages_have_the_same_words() -> None:
    zh, en = texts("zh").group("county.registry"), texts("en").group("county.registry")
    assert set(zh) == set(en)


async def test_a_waiver_is_withdrawn_with_a_reason_and_both_stay(founded: Founded, xu_jing: httpx.AsyncClient) -> None:
    code, registry, page = founded.villages[3].code, founded.county.registry, "/county/waivers"
    form = {"village": code, "month": "2026-09", "reason": "大雪封路"}
    assert (await xu_jing.post(page, data=form)).status_code == 303
    answer = await xu_jing.post(f"{page}/withdraw", data={**form, "reason": "x"})
    assert (answer.status_code, "请写明理由，2 到 200 个字" in answer.text) == (422, True)
    assert list(registry.waivers(date(2026, 9, 1))) == [code]
    assert (await xu_jing.post(f"{page}/withdraw", data={**form, "reason": "写错了村"})).status_code == 303
    assert "2026-09 的豁免已撤回" in (await xu_jing.get(f"{page}?month=2026-09")).text
    assert registry.waivers(date(2026, 9, 1)) == {}
    said = (await xu_jing.get("/county/registry")).text
    assert "2026-09 撤回豁免" in said
    assert "写错了村" in said
    assert "大雪封路" in said
    answer = await xu_jing.post(f"{page}/withdraw", data={**form, "reason": "写错了村"})
    assert (answer.status_code, "可能已经撤回" in answer.text) == (422, True)
    RegistryState.after(registry.entries(0, registry.state().size))
    auditor = await founded.signed_in("he.ming")
    assert (await auditor.post(f"{page}/withdraw", data=form)).status_code == 403
    await auditor.aclose()
