"""An answer without a live link: the case is opened later, stored ECG and stills are seen, the opinion is signed."""

from __future__ import annotations

import asyncio
import hashlib
import os

import cv2
import numpy as np
import pytest
from playwright.async_api import Browser
from test_specialist import PASSWORD, WITHIN_MS, Stage, becomes, browser, clips, ecg_chunk, signed_in, stage, until

from sync.formats import ecg_file
from telemedicine.consultation import State

pytestmark = pytest.mark.browser
__all__ = ["browser", "clips", "stage"]


def keep(stage: Stage, what: str, data: bytes, delivered: bool = True) -> None:
    sha256 = hashlib.sha256(data).hexdigest()
    if delivered:
        stage.received[sha256] = data
    one = {
        "sha256": sha256,
        "what": what,
        "started_at": "2025-11-21T03:10:00Z",
        "duration_ms": 10_000 * (what == "ecg"),
    }
    stage.vehicle.recordings.append(one)


async def test_the_same_case_is_answered_later(stage: Stage, browser: Browser) -> None:
    still = cv2.imencode(".png", np.full((240, 320, 3), 90, np.uint8))[1].tobytes()
    keep(stage, "ecg", ecg_file.write([ecg_chunk(first, 500) for first in range(0, 5000, 500)]))
    keep(stage, "ultrasound_still", still)
    keep(stage, "ultrasound_clip", b"not delivered yet", delivered=False)
    async with signed_in(browser, stage) as page:
        stage.vehicle.request()
        await page.get_by_test_id("accept-invitation").click(timeout=WITHIN_MS)
        await page.wait_for_url("**/specialist/consultations/consultation-1", timeout=WITHIN_MS)
        await until(lambda: stage.vehicle.state == State.CONNECTED)
        await page.get_by_test_id("hang-up").click()
        await page.get_by_test_id("confirm-hang-up").click()
        await until(lambda: stage.vehicle.state == State.ENDED)
        await page.goto("/specialist/to-sign")
        await page.get_by_test_id("open-case").click()
        kept = page.get_by_test_id("recordings")
        await kept.get_by_text("还没有传到").wait_for()
        await page.get_by_test_id("recording").wait_for()  # the newest stands where no live picture is to come
        await kept.locator("[data-recording=ecg]").click()
        await becomes(page, "document.querySelector('#recording-shown canvas')?.getBoundingClientRect().height > 300")
        await page.get_by_test_id("recording-measure").click()
        for x, y in ((300, 150), (380, 190)):  # 4 px a millimetre
            await page.locator("#recording-shown .ecg-paper").click(position={"x": x, "y": y})
        assert await page.get_by_test_id("caliper-said").inner_text() == "800 ms　75 次/分　1.00 mV"
        if folder := os.environ.get("XUNZHEN_SCREENSHOTS"):
            await asyncio.sleep(0.5)
            await page.screenshot(path=f"{folder}/later-ecg.png")
        await page.get_by_test_id("recording-close").click()
        await kept.locator("[data-recording=ultrasound_still]").click()
        await becomes(page, "document.querySelector('#recording-shown img')?.naturalWidth === 320")
        await page.keyboard.press("Escape")
        assert await page.get_by_test_id("recording").is_hidden()
        path = f"/specialist/consultations/consultation-1/recordings/{'0' * 64}"
        assert (await page.request.get(path)).status == 404, "not of this case"
        await page.get_by_test_id("template-liver_cyst").click()
        await page.get_by_test_id("sign-password").fill(PASSWORD)
        await page.get_by_test_id("sign-opinion").click()
        await until(lambda: len(stage.vehicle.opinions) == 1)
        await becomes(page, "document.body.dataset.state === 'opinion_signed'")
        assert await page.evaluate("document.body.dataset.media ?? 'idle'") == "idle", "what was ended stays ended"
        assert await page.locator("#stage").get_attribute("data-over") is not None
        await page.get_by_text("会诊已结束，意见已签名。").wait_for()
        async with signed_in(browser, stage) as elsewhere:
            await elsewhere.goto("/specialist/consultations/consultation-1")
            await becomes(elsewhere, "document.body.dataset.state === 'opinion_signed'")
            await becomes(elsewhere, "document.querySelector('#stage').hasAttribute('data-over')")
            for gone in ("hang-up", "share"):
                assert await elsewhere.get_by_test_id(gone).is_hidden()
            await elsewhere.set_viewport_size({"width": 390, "height": 844})
            width = "document.getElementById('opinion').getBoundingClientRect().width"
            await becomes(elsewhere, f"{width} > 340 && document.documentElement.scrollWidth === 390")
            assert await elsewhere.evaluate("document.body.dataset.media ?? 'idle'") == "idle"
