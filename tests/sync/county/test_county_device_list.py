"""The county's inventory of devices: what the vans' entries say, removed ones left out, in both languages."""

from __future__ import annotations

import csv
import io
from datetime import date

import openpyxl
from county_month import Founded, Van

from sync.formats.canonical import Json
from sync.formats.records import Draft
from sync.interop.asset_list import COLUMNS, Asset, csv_bytes, xlsx_bytes
from sync.interop.spreadsheet import plain
from sync.web.catalog import texts


def added(device: str, driver: str = "contec_cms50_v7", **other: Json) -> Draft:
    fields: dict[str, Json] = {
        "device": device,
        "driver": driver,
        "link": "serial",
        "place": f"/dev/xunzhen/{device}",
        "title": "",
        "source": "wizard",
        "identity": {"model": "CMS50D+", "serial": "0420"},
        "evidence": [],
    }
    return Draft("device_added/1", fields | other, by="zhou.min")


async def sheet(founded: Founded, form: str, language: str = "zh") -> bytes:
    reader = await founded.signed_in("he.ming")
    answer = await reader.get(f"/county/fleet/devices.{form}?lang={language}")
    await reader.aclose()
    assert answer.status_code == 200
    assert f"devices.{form}" in answer.headers["content-disposition"]
    return answer.content


async def test_the_list_is_what_the_entries_say(founded: Founded, van: Van) -> None:
    attached = {"device": "scale-1", "driver": "nobody_9000", "event": "attached", "facts": {"serial": "S-77"}}
    care: dict[str, Json] = {
        "device": "oximeter-1",
        "what": "calibration",
        "due_on": "2027-05-01",
        "lot": "",
        "title": "",
    }
    strips: dict[str, Json] = {**care, "what": "strips", "due_on": "2026-12-31", "lot": "L-2041"}
    van.store.commit_now(
        added("oximeter-1", title="车尾血氧"),
        added("gone-1"),
        added("scale-1", driver="nobody_9000", identity={}, link="smoke"),
        Draft("device_removed/1", {"device": "gone-1", "reason": "removed"}, by="zhou.min"),
        Draft("device_event/1", attached),
        Draft("device_care/1", care, by="zhou.min"),
        Draft("device_care/1", strips, by="zhou.min"),
    )
    await van.deliver()
    rows = list(csv.DictReader(io.StringIO((await sheet(founded, "csv")).decode("utf-8-sig"))))
    assert [row["代号"] for row in rows] == ["oximeter-1", "scale-1"]
    assert rows[0] | {"名称": "车尾血氧", "型号": "CMS50D+", "序列号": "0420", "校准到期": "2027-05-01"} == rows[0]
    assert (rows[0]["试纸批号"], rows[0]["试纸有效期"], rows[0]["加入人"]) == ("L-2041", "2026-12-31", "zhou.min")
    assert rows[0]["真机验证"] == "没有"
    assert (rows[1]["种类"], rows[1]["序列号"], rows[1]["连接"]) == ("nobody_9000", "S-77", "smoke")
    date.fromisoformat(rows[0]["加入日期"])
    book = openpyxl.load_workbook(io.BytesIO(await sheet(founded, "xlsx", "en")))
    table = list(book["Devices"].iter_rows(values_only=True))
    assert [row[1] for row in table] == ["Code", "oximeter-1", "scale-1"]
    assert any(line.what == "devices.xlsx" for line in founded.county.audit.latest())


async def test_another_form_is_not_there_and_strangers_see_nothing(founded: Founded) -> None:
    reader = await founded.signed_in("he.ming")
    assert (await reader.get("/county/fleet/devices.pdf")).status_code == 404
    await reader.aclose()


def test_no_text_becomes_a_formula() -> None:
    evil = Asset("van-07", "x", "=1+1", "k", "d", "l", "@p", serial="-2")
    row = list(csv.reader(io.StringIO(csv_bytes([evil], texts("en")).decode("utf-8-sig"))))[1]
    assert (row[2], row[6], row[9]) == ("'=1+1", "'@p", "'-2")
    assert plain("0420") == "0420"
    book = openpyxl.load_workbook(io.BytesIO(xlsx_bytes([evil], texts("zh"))))
    (sheet_,) = book.worksheets
    assert sheet_.max_column == len(COLUMNS)
    assert sheet_["C2"].value == "'=1+1"
