"""A second specialist comes by a link, in real Chromium: named on both sides, noted in the journal, not the signer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page
from test_specialist import WITHIN_MS, Stage, becomes, browser, clips, enter_session, moves, signed_in, stage, until

pytestmark = pytest.mark.browser
__all__ = ["browser", "clips", "stage"]


@contextlib.asynccontextmanager
async def colleague(browser: Browser, stage: Stage, path: str) -> AsyncIterator[Page]:
    context = await browser.new_context(base_url=stage.url, viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    await page.goto(f"/test/sign-in?as=he.ping&to={path}")
    yield page
    await context.close()


async def test_a_colleague_joins_by_link_and_leaves_without_ending_it(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as first:
        await enter_session(stage, first)
        await until(lambda: len(stage.vehicle.accesses) == 1)
        await first.get_by_test_id("share").click()
        await first.get_by_test_id("share-observer").check(force=True)
        await becomes(first, "document.getElementById('share-link').value.includes('/specialist/join/')")
        path = (await first.get_by_test_id("share-link").input_value()).removeprefix(stage.url)
        await first.get_by_test_id("share-colleague").check(force=True)
        await becomes(first, f"(link => link && !link.endsWith({path!r}))(document.getElementById('share-link').value)")
        path = (await first.get_by_test_id("share-link").input_value()).removeprefix(stage.url)
        await first.keyboard.press("Escape")

        async with colleague(browser, stage, path) as second:
            await second.get_by_text("沈若川 请您一起会诊").wait_for()
            await second.get_by_test_id("join-session").click()
            await second.wait_for_selector("body[data-media=connected]", timeout=WITHIN_MS)
            assert await moves(second, "ultrasound")
            assert await second.get_by_test_id("sign-opinion").count() == 0, "one signs: the one who accepted"
            await first.get_by_test_id("people").get_by_text("何平").wait_for()
            await second.get_by_test_id("people").get_by_text("沈若川").wait_for()
            await until(lambda: len(stage.vehicle.accesses) == 2)
            assert [(access["role"], access["here"]) for access in stage.vehicle.accesses] == [
                ("lead", True),
                ("colleague", True),
            ]
            assert stage.vehicle.accesses[1]["who"] == "何平 (he.ping)"
            assert stage.vehicle.accesses[1]["invited_by"] == "沈若川"
            await second.get_by_test_id("hang-up").click()
            await until(lambda: len(stage.vehicle.accesses) == 3 and not stage.vehicle.accesses[2]["here"])
        assert await moves(first, "ultrasound")
        assert stage.vehicle.state == "connected", "who leaves as a guest ends nothing"

        async with colleague(browser, stage, path[:-4] + "AAAA") as lost:
            await lost.get_by_test_id("link-refused").wait_for()
