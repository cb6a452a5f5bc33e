"""Two whole screening paths in real Chromium: COPD-SQ to a slip, hypertension to a signed referral."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from touch_bench import CARD

from devices.readings import BloodPressure, Weight

pytestmark = pytest.mark.browser

IN_THE_VILLAGE = (30.60, 104.00)
PICTURES = os.environ.get("XUNZHEN_PICTURES")
"""A folder to put pictures of every page into, in every language and light, for people to look at."""
LOOKS = [("zh", "night"), ("en", "day"), *([("zh", "day"), ("en", "night")] if PICTURES else [])]


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at(IN_THE_VILLAGE))
        yield running


def serve(van: Van, page: Any) -> None:
    van.sign_in(page)
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()
    van.do(lambda bench: bench.publish("card-1", CARD))
    van.wait(lambda bench: bench.vehicle.encounters.settle())
    page.goto(f"{van.address}/screening")


def looked_at(van: Van, page: Any, name: str, complaints: Callable[[Any], list[str]]) -> list[str]:
    """What is wrong with this page in both languages, by night and by day; leaves the page as it was."""
    found, at = [], page.url
    for language, theme in LOOKS:
        mark = "&" if "?" in at else "?"
        page.goto(f"{at}{mark}lang={language}&theme={theme}")
        found += [f"{name} {language} {theme}: {said}" for said in complaints(page)]
        if PICTURES:
            page.screenshot(path=str(Path(PICTURES) / f"{name}-{language}-{theme}.png"))
    page.goto(f"{at}{'&' if '?' in at else '?'}lang=zh&theme=day")
    page.goto(at)
    return found


def kept(van: Van, sql: str) -> list[dict[str, Any]]:
    return van.do(lambda bench: bench.vehicle.store.read(sql))


def test_copd_sq_from_the_card_to_the_slip(van: Van, page: Any, complaints: Callable[[Any], list[str]]) -> None:
    serve(van, page)
    assert page.get_by_test_id("card-copd").get_attribute("data-state") == "due"
    wrong = looked_at(van, page, "paths", complaints)
    page.get_by_test_id("begin-copd").click()
    page.get_by_test_id("ask-ever_smoked").wait_for()
    wrong += looked_at(van, page, "copd-smoking", complaints)
    page.get_by_test_id("ever_smoked-yes").click()
    page.get_by_test_id("cigarettes_per_day").click()
    for key in "20":
        page.locator(f'.pad [data-key="{key}"]').click()
    page.get_by_test_id("years_smoked").click()
    for key in "35":
        page.locator(f'.pad [data-key="{key}"]').click()
    wrong += looked_at(van, page, "copd-amount", complaints)
    page.get_by_test_id("cigarettes_per_day").fill("20")
    page.get_by_test_id("years_smoked").fill("35")
    page.get_by_test_id("path-next").click()
    page.get_by_test_id("step-measure").wait_for()
    assert "包年" in page.get_by_test_id("path-known").inner_text()
    van.do(lambda bench: bench.publish("cuff-1", Weight(46.0, height_cm=162.0)))
    page.get_by_test_id("path-confirm").wait_for()
    wrong += looked_at(van, page, "copd-weight", complaints)
    page.get_by_test_id("path-confirm").click()
    page.get_by_test_id("chronic_cough-yes").click()
    page.get_by_test_id("ask-dyspnoea_grade").wait_for()
    wrong += looked_at(van, page, "copd-breath", complaints)
    page.get_by_test_id("path-back").click()
    assert page.get_by_test_id("chronic_cough-yes").get_attribute("aria-pressed") == "true"
    page.get_by_test_id("chronic_cough-no").click()
    page.get_by_test_id("dyspnoea_grade-1").click()
    page.get_by_test_id("solid_fuel-yes").click()
    page.get_by_test_id("family_resp-no").click()
    page.get_by_test_id("path-skip").click()
    page.get_by_test_id("path-result").wait_for()
    assert page.get_by_test_id("path-result").get_attribute("data-code") == "HIGH_RISK"
    # 67 years 7, 35 pack-years 2, BMI 17.5 7, on a slope 2, coal 1
    assert page.get_by_test_id("path-score").inner_text() == "19 分"
    assert "COPD-SQ" in page.get_by_test_id("path-source").inner_text()
    wrong += looked_at(van, page, "copd-result", complaints)
    page.get_by_test_id("end-slip").click()
    page.wait_for_url("**/print/**")
    page.goto(f"{van.address}/screening")
    assert page.get_by_test_id("card-copd").get_attribute("data-state") == "done"
    ended = kept(van, "SELECT * FROM screening_paths")[0]
    assert (ended["rule"], ended["code"], ended["next"]) == ("COPD-SQ", "HIGH_RISK", "slip")
    assert "\n".join(wrong) == ""


def test_hypertension_to_a_referral(van: Van, page: Any, complaints: Callable[[Any], list[str]]) -> None:
    serve(van, page)
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(172, 104, pulse_bpm=76)))
    page.get_by_test_id("begin-hypertension").click()
    page.get_by_test_id("path-confirm").click()
    page.get_by_test_id("ask-known_htn").wait_for()
    page.goto(f"{van.address}/screening")
    wrong = looked_at(van, page, "prompts", complaints)
    page.get_by_test_id("go-path").click()
    page.get_by_test_id("known_htn-no").click()
    page.get_by_test_id("ask-bp_danger").wait_for()
    wrong += looked_at(van, page, "htn-danger", complaints)
    page.get_by_test_id("bp_danger-yes").click()
    page.get_by_test_id("cannot_handle-no").check()
    wrong += looked_at(van, page, "htn-circumstances", complaints)
    page.get_by_test_id("cannot_handle-no").check()
    page.get_by_test_id("path-next").click()
    page.get_by_test_id("path-skip").click()
    page.get_by_test_id("path-result").wait_for()
    assert page.get_by_test_id("path-result").get_attribute("data-grade") == "red"
    wrong += looked_at(van, page, "htn-result", complaints)
    page.get_by_test_id("end-referral").click()
    page.get_by_test_id("refer-form").wait_for()
    assert page.get_by_test_id("refer-emergency").is_checked()
    assert "172" in page.get_by_test_id("refer-findings").input_value()
    wrong += looked_at(van, page, "htn-refer", complaints)
    page.get_by_test_id("refer-reason").fill("")
    page.get_by_test_id("refer-keep").click()
    page.get_by_test_id("refused").wait_for()
    page.get_by_test_id("refer-reason").fill("血压 172/104，头痛")
    page.get_by_test_id("refer-keep").click()
    page.get_by_test_id("referral").wait_for()
    assert page.get_by_test_id("referral-to").inner_text().strip() == "县人民医院"
    wrong += looked_at(van, page, "htn-referral", complaints)
    page.goto(f"{van.address}/consult?path=hypertension")
    assert "172" in page.get_by_test_id("findings").input_value()
    referral = kept(van, "SELECT * FROM referrals")[0]
    assert (referral["place"], referral["urgency"], referral["path"]) == ("县人民医院", "emergency", "hypertension")
    assert "\n".join(wrong) == ""
