"""The link of the villages at the county: from the entries of visits to table, map, spreadsheet and JSON."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from county_month import Founded, Van, at
from openpyxl import load_workbook

from devices.clock import SimulatedClock
from sync.county.link_report import Share, combined, link_report
from sync.formats.link_figures import Verdict
from sync.formats.records import Draft, format_time
from sync.web.catalog import texts

GOOD = {
    "up_kbit_s": {"min": 51_000, "median": 60_000, "p95": 70_000, "from": "probe"},
    "down_kbit_s": {"min": 80_000, "median": 200_000, "p95": 300_000, "from": "probe"},
    "rtt_ms": {"min": 18, "median": 30, "p95": 60},
    "loss_per_mille": {"min": 0, "median": 1, "p95": 4},
    "rsrp_dbm": {"min": -99, "median": -88, "p95": -80},
}
SLOW = GOOD | {"up_kbit_s": {"min": 900, "median": 6_200, "p95": 9_000, "from": "delivery"}}
HALF = {"rtt_ms": {"min": 20, "median": 40, "p95": 90}}


def draft(founded: Founded, number: int, figures: dict[str, Any], visit: str, technology: str = "nr_sa") -> Draft:
    village = founded.villages[number]
    return Draft(
        "link_quality/1",
        {
            "visit_id": visit,
            "village": village.code,
            "started_at": format_time(founded.clock.now()),
            "duration_s": 3600,
            "samples": 700,
            "figures": figures,
            "cells": ["460-11-690E0F-19013B004"],
            "technology": technology,
            "lat_e3": round(village.centre_latitude_deg * 1000),
            "lon_e3": round(village.centre_longitude_deg * 1000),
        },
        visit=visit,
    )


@pytest.fixture
async def founded(tmp_path: Path) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)))
    yield county
    county.close()


@pytest.fixture
async def founded_anywhere(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), database_url)
    yield county
    county.close()


async def measured(founded: Founded) -> Van:
    van = founded.van("van-07")
    van.store.commit_now(draft(founded, 0, GOOD, "v1"), draft(founded, 0, GOOD, "v1"))
    founded.clock.advance(timedelta(days=7).total_seconds())
    van.store.commit_now(
        draft(founded, 0, SLOW, "v2"), draft(founded, 1, SLOW, "v3", "lte"), draft(founded, 2, HALF, "v4", "none")
    )
    assert (await van.deliver()).complete
    return van


async def test_villages_are_judged_by_the_median_of_their_visits(founded_anywhere: Founded) -> None:
    founded = founded_anywhere
    await measured(founded)
    report = link_report(founded.county.database, founded.villages, founded.clock.now(), practice=False)
    by_code = {row.code: row for row in report.rows}
    first, second, third = (by_code[founded.villages[number].code] for number in range(3))
    assert (first.verdict, first.visits, first.technology) == (Verdict.MEETS, 2, "nr_sa")
    assert first.figure("up_kbit_s") == 60_000
    assert first.figure("up_kbit_s", "min") == 900
    assert (second.verdict, second.shortfalls, second.technology) == (Verdict.MISSES, ["up_kbit_s"], "lte")
    assert (third.verdict, third.figure("up_kbit_s")) == (Verdict.NOT_MEASURED, None)
    assert report.rows[0] == second, "who falls short comes first"
    assert [report.of(state) for state in Verdict] == [1, 1, 1]
    later = link_report(founded.county.database, founded.villages, at(9, 1, 8) + timedelta(days=93), practice=False)
    assert {row.visits for row in later.rows} == {1}
    assert link_report(founded.county.database, founded.villages, founded.clock.now(), practice=True).rows == ()


async def test_page_sheet_and_json_say_the_same(founded: Founded) -> None:
    await measured(founded)
    village = founded.villages[1]
    client = await founded.signed_in("xu.jing")
    page = await client.get("/county/link?lang=en")
    assert page.status_code == 200
    assert f'data-testid="link-{village.code}" data-verdict="misses"' in page.text
    assert page.text.count('class="dot" data-verdict') == 3 + 3
    said = (await client.get("/api/link")).json()
    row = next(row for row in said["villages"] if row["code"] == village.code)
    assert (row["verdict"], row["short_of"], row["cells"]) == ("misses", ["up_kbit_s"], ["460-11-690E0F-19013B004"])
    assert row["figures"]["up_kbit_s"]["median"] == 6_200
    sheet = load_workbook(io.BytesIO((await client.get("/county/link.xlsx?lang=en")).content)).active
    lines = {line[2]: line for line in sheet.iter_rows(min_row=3, values_only=True)}
    assert lines[village.code][3:8] == ("falls short", "4G", 6.2, 200, 60)


async def test_who_may_see_it(founded: Founded) -> None:
    async with founded.client() as nobody:
        assert (await nobody.get("/county/link")).status_code in (303, 401, 403)
    client = await founded.signed_in("xu.jing")
    page = await client.get("/county/link")
    assert 'data-testid="nothing"' in page.text
    assert (await client.get("/county/link?practice=2")).status_code == 422


@pytest.mark.parametrize(
    "figures",
    [{}, {"rtt_ms": 5}, {"rtt_ms": {"median": "x"}}, {"up_kbit_s": {"median": True}}, {"unknown": {"min": 1}}],
)
async def test_a_vehicle_that_writes_something_else_breaks_no_page(founded: Founded, figures: dict[str, Any]) -> None:
    van = founded.van("van-07")
    fields = dict(draft(founded, 0, figures, "v1").fields)
    fields |= {"lat_e3": 2_000_000, "village": "999999999999", "technology": "7G", "cells": [1, "a"]}
    van.store.commit_now(Draft("link_quality/1", fields, visit="v1"))
    await van.deliver()
    report = link_report(founded.county.database, founded.villages, founded.clock.now(), practice=False)
    (row,) = report.rows
    assert (row.village, row.verdict, row.technology, row.cells) == (None, Verdict.NOT_MEASURED, "none", ("a",))
    assert report.measured[0].place is None
    client = await founded.signed_in("xu.jing")
    assert (await client.get("/county/link")).status_code == 200


def test_figures_are_put_together_by_their_parts() -> None:
    assert combined([HALF, {"rtt_ms": {"min": 10, "median": 50, "p95": 300}}, {}])["rtt_ms"] == {
        "min": 10,
        "median": 40,
        "p95": 90,
    }


def test_both_languages_have_words_for_every_technology_and_verdict() -> None:
    from sync.county.link_report import TECHNOLOGIES

    for language in ("zh", "en"):
        t = texts(language)
        assert all(f"county.link.technology_{name}" in t for name in TECHNOLOGIES)
        assert all(f"county.link.verdict_{name}" in t for name in Verdict)


async def test_visits_have_their_share_of_what_the_programme_asks_for(founded: Founded) -> None:
    await measured(founded)
    shares = link_report(founded.county.database, founded.villages, founded.clock.now(), practice=False).shares
    assert (shares.rates, shares.delay, shares.both) == (Share(1, 3), Share(4, 4), Share(1, 3))
    assert (shares.rates.percent, shares.delay.percent, Share(0, 0).percent) == (33, 100, None)
    client = await founded.signed_in("qian.xu")
    told = (await client.get("/api/link")).json()["visits"]
    assert told["rates"] == {"good": 1, "measured": 3, "percent": 33}
    page = (await client.get("/county/link?lang=zh")).text
    code = founded.villages[1].code
    assert f'data-verdict="misses" data-testid="ground-{code}"' in page
    assert f'data-verdict="never" data-testid="ground-{founded.villages[5].code}"' in page
