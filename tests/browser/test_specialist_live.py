"""Live data in real Chromium: what was lost is filled in, and the ECG is not later than the picture beside it."""

from __future__ import annotations

import statistics

import pytest
from playwright.async_api import Browser
from test_specialist import (
    CHUNK,
    RATE_HZ,
    Stage,
    becomes,
    browser,
    clips,
    counter,
    ecg_count,
    enter_session,
    moves,
    signed_in,
    stage,
    until,
)

from xunzhen.demo.clips import read_counter

pytestmark = pytest.mark.browser
__all__ = ["browser", "clips", "stage"]

CLIP_FPS = 20
LATER_AT_MOST_S = 0.1
LOOKS = 25
NEXT_ECG = "(() => { const it = window.xunzhen.samples('ecg'); return it.first_index + it.counts.length; })()"
HOLES = "window.xunzhen.samples('ecg').counts.filter((row) => row[0] === -32768).length"


async def test_lost_samples_are_filled_in_and_said(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        await becomes(page, f"{NEXT_ECG} > 1000")
        lost_from = stage.vehicle.sent
        stage.vehicle.sent += 5 * CHUNK  # a fifth of a second that the page never gets as live data
        await until(lambda: stage.vehicle.sent > lost_from + 10 * CHUNK)
        await page.get_by_text("已补").wait_for()
        await becomes(page, f"{HOLES} === 0")
        got = await page.evaluate("window.xunzhen.samples('ecg')")
        filled = got["counts"][lost_from - got["first_index"] : lost_from - got["first_index"] + 5 * CHUNK]
        assert filled == [[ecg_count(lost_from + i, channel) for channel in range(8)] for i in range(5 * CHUNK)]


async def test_the_ecg_is_not_later_than_the_picture(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        assert await moves(page, "ultrasound")
        await becomes(page, f"{NEXT_ECG} > 2000")
        source = stage.van._ladders["ultrasound"].source
        ecg_s, picture_s = [], []
        for _ in range(LOOKS):
            sent, newest = stage.vehicle.sent, source.newer(-1, 0)
            shown = await counter(page, "ultrasound")
            drawn = await page.evaluate(NEXT_ECG)
            assert newest is not None
            behind = read_counter(newest.image) - shown
            if shown >= 0 and 0 <= behind < CLIP_FPS:  # not where the clip begins anew
                ecg_s.append((sent - drawn) / RATE_HZ)
                picture_s.append(behind / CLIP_FPS)
        assert len(ecg_s) > LOOKS / 3
        assert statistics.median(ecg_s) <= statistics.median(picture_s) + LATER_AT_MOST_S
