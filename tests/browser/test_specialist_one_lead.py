"""A consultation with an ECG of one lead: the specialist sees whose lead it is, live and on the sheet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "telemedicine"))

import consultation_stage
from test_specialist import RATE_HZ, Stage, becomes, browser, clips, enter_session, signed_in, stage

from devices.readings import Samples

__all__ = ["browser", "clips", "stage"]

pytestmark = pytest.mark.browser


def one_lead(first: int, count: int = consultation_stage.CHUNK, segment: int = 1) -> Samples:
    counts = [[consultation_stage.ecg_count(index, 0)] for index in range(first, first + count)]
    return Samples("ecg", ("ECG",), RATE_HZ, segment, first, np.array(counts, np.int16), 3.0303, "uV")


@pytest.mark.long
async def test_the_lead_is_named_as_the_device_names_it(
    stage: Stage, browser: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(consultation_stage, "ecg_chunk", one_lead)
    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        await becomes(page, "(window.xunzhen.samples('ecg')?.channels ?? []).join() === 'ECG'")
        await becomes(page, "window.xunzhen.samples('ecg').counts.length > 500")
        got = await page.evaluate("window.xunzhen.samples('ecg')")
        first = got["first_index"]
        assert got["counts"] == [[consultation_stage.ecg_count(first + i, 0)] for i in range(len(got["counts"]))]
        assert await page.locator("#rhythm-lead").inner_text() == "ECG"
        await the_analysis_is_shown_as_unreviewed(stage, page)
        await page.get_by_test_id("view-ecg").click()
        await becomes(
            page,
            """(() => { const trace = document.querySelector('#sheet canvas[data-feed="ecg"]');
                        if (!trace?.width) return false;
                        const ink = trace.getContext('2d').getImageData(0, 0, trace.width, trace.height).data;
                        let drawn = 0; for (let i = 3; i < ink.length; i += 4) drawn += ink[i] > 100 ? 1 : 0;
                        return drawn > 500; })()""",
        )


HEARD = {"type": "ecg_analysis", "device": "ecg-1", "heart_rate_bpm": 82, "rhythm": "possible", "off": []}


async def the_analysis_is_shown_as_unreviewed(stage: Stage, page: Any) -> None:
    """Beside the strip while it speaks; what is more urgent than the rhythm stands in its place."""
    said = "document.querySelector('#ecg-auto:not([hidden])')?.innerText ?? ''"
    stage.vehicle.tell({**HEARD, "pause_s": None, "asystole": False})
    await becomes(page, f"['82 次/分', '可疑房颤', '自动，未审核'].every((word) => ({said}).includes(word))")
    stage.vehicle.tell({**HEARD, "pause_s": 2.6, "asystole": False})
    await becomes(page, f"({said}).includes('停搏 2.6 秒')")
    stage.vehicle.tell({**HEARD, "heart_rate_bpm": None, "rhythm": None})
    await becomes(page, f"({said}) === ''")
