"""A whole follow-up form in real Chromium, by taps alone; who is due, a phone on tap, the profile, nothing cut off."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from playwright.sync_api import expect
from touch_bench import CARD, PIN, Bench

from devices.readings import BloodPressure, Glucose
from vehicle.clinic.people import PatientForm

pytestmark = pytest.mark.browser

IN_THE_VILLAGE = (30.60, 104.00)
LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]
ME = "zhou.min"


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at(IN_THE_VILLAGE))
        yield running


async def served_and_measured(bench: Bench) -> str:
    """杨桂芳 is served, 148/92 and 7.8 mmol/L fasting; 何国梁 should have come 40 days ago."""
    vehicle = bench.vehicle
    await vehicle.visits.start("510199201201", [ME], ME)
    patient = await vehicle.people.from_card(CARD, ME)
    await vehicle.encounters.open(patient.patient, ME)
    bench.publish("cuff-1", BloodPressure(148, 92, pulse_bpm=76))
    bench.publish("glucose-1", Glucose(7.8, meal="fasting"))
    for tile in vehicle.measurements.tiles():
        if tile.reading is not None and tile.state == "arrived":
            await vehicle.measurements.confirm(tile.reading, ME)
    absent = await vehicle.people.register(
        PatientForm(name="何国梁", sex="male", born_on=CARD.born_on, phone="13900000001", address="王家村3组5号"), ME
    )
    since = vehicle.programmes.today() - timedelta(days=40)
    await vehicle.programmes.join(absent.patient, "hypertension", since, vehicle.staff.get(ME))
    return str(patient.patient)


def tap(page: Any, *names: str) -> None:
    """One tap after the other, each once the van has kept it."""
    for name in names:
        with page.expect_response(lambda answer: answer.url.endswith("/answer")) as kept:
            page.get_by_test_id(name).locator("xpath=..").click()
        assert kept.value.status == 204


def test_a_whole_form_by_taps_then_the_profile_and_the_due_list(
    van: Van, page: Any, complaints: Callable[[Any], list[str]]
) -> None:
    van.sign_in(page)
    patient = van.wait(served_and_measured)
    page.goto(f"{van.address}/people/{patient}/health")
    page.get_by_test_id("join-hypertension").click()
    page.get_by_test_id("fill-hypertension").click()
    page.wait_for_url("**/follow-up/*")
    form = page.url.partition("?")[0]

    tap(page, "symptoms-2", "symptoms-6", "symptoms-1")
    expect(page.get_by_test_id("symptoms-2")).not_to_be_checked()
    tap(page, "danger-1")
    expect(page.get_by_test_id("part-symptoms")).not_to_contain_text("缺")
    page.get_by_test_id("next-part").click()
    expect(page.get_by_test_id("systolic_mmhg")).to_have_value("148")
    expect(page.get_by_test_id("systolic_mmhg")).to_have_attribute("data-fresh", "")  # the first key replaces it
    expect(page.locator('[data-field="systolic_mmhg"] .from')).to_contain_text("蓝牙血压计")
    page.get_by_test_id("weight_kg").click()
    for key in "61":
        page.locator(f'.form-fields .pad [data-key="{key}"]').click()
    page.get_by_test_id("height_cm").click()
    for key in "158":
        page.locator(f'.form-fields .pad [data-key="{key}"]').click()
    page.get_by_test_id("systolic_mmhg").click()
    expect(page.locator('.computed[data-testid="bmi"]')).to_contain_text("24.4")
    with page.expect_response(lambda answer: answer.url.endswith("/answer")) as refused:
        for key in "999":
            page.locator(f'.form-fields .pad [data-key="{key}"]').click()
    assert refused.value.status == 422
    expect(page.locator('[data-field="systolic_mmhg"] .fault')).to_contain_text("50 到 300")

    page.get_by_test_id("sign-lacks").click()  # to the part that still lacks something
    page.wait_for_url("**part=drugs")
    tap(page, "taking-1", "adverse_reactions-2")
    expect(page.get_by_test_id("adverse_uncontrolled-1")).to_be_attached()
    tap(page, "adverse_reactions-1", "new_complication-1")
    with page.expect_response(lambda answer: answer.url.endswith("/answer")):
        page.get_by_test_id("drugs-pick-2").click()
    expect(page.locator(".drugs")).to_contain_text("氨氯地平片")
    expect(page.get_by_test_id("summary-next_step")).to_contain_text("2周")
    in_two_weeks = van.do(lambda bench: (bench.vehicle.programmes.today() + timedelta(days=14)).isoformat())
    expect(page.get_by_test_id("summary-next_on")).to_have_text(in_two_weeks)
    for language, theme in LOOKS:
        for part in ("signs", "drugs", "assessment"):
            page.goto(f"{form}?part={part}&lang={language}&theme={theme}")
            assert complaints(page) == [], (part, language, theme)

    page.goto(f"{form}?part=assessment&lang=zh&theme=day")
    page.get_by_test_id("sign").click()
    page.get_by_test_id(f"signs-{ME}").locator("xpath=..").click()
    page.get_by_test_id("sign-pin").click()
    for digit in PIN[ME]:
        page.locator(f'#sign .pad [data-key="{digit}"]').click()
    page.get_by_test_id("sign-now").click()
    page.wait_for_url(re.compile(r"/follow-up/signed/\d+$"))
    expect(page.get_by_test_id("said-systolic_mmhg")).to_contain_text("148 mmHg")
    expect(page.get_by_test_id("said-systolic_mmhg")).to_contain_text("蓝牙血压计")
    expect(page.get_by_test_id("signed-next")).to_have_text(in_two_weeks)
    signed = page.url
    sheet = page.request.get(f"{signed}/sheet.pdf")
    assert (sheet.status, sheet.body()[:5]) == (200, b"%PDF-")

    for language, theme in LOOKS:
        look = f"lang={language}&theme={theme}"
        for path in (f"/people/{patient}/health", "/follow-ups", "/today", signed.removeprefix(van.address)):
            page.goto(f"{van.address}{path}?{look}")
            assert complaints(page) == [], (path, language, theme)

    page.goto(f"{van.address}/today?lang=zh&theme=day")
    expect(page.get_by_test_id("due-row").first).to_contain_text("何国梁")
    page.get_by_test_id("all-due").click()
    absent = page.get_by_test_id("due").filter(has_text="何国梁")
    expect(absent).to_contain_text("超期 40 天")
    assert "13900000001" not in page.content()
    absent.get_by_test_id("phone").click()
    expect(page.get_by_test_id("phone-shown")).to_have_text("13900000001")
    shown = van.do(lambda bench: bench.vehicle.store.read("SELECT person FROM access_log WHERE action = 'phone_shown'"))
    assert shown == [{"person": ME}]
