"""Allergies in real Chromium: asked by taps, beside the name on every page; a correction with its reason; new forms."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from playwright.sync_api import expect
from touch_bench import CARD, PIN, Bench

from vehicle.clinic.guardians import Guardian
from vehicle.clinic.people import PatientForm

pytestmark = pytest.mark.browser

IN_THE_VILLAGE = (30.60, 104.00)
LOOKS = [("zh", "day"), ("en", "night")]
ME = "zhou.min"


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.stand_at(IN_THE_VILLAGE))
        yield running


async def served(bench: Bench) -> str:
    vehicle = bench.vehicle
    await vehicle.visits.start("510199201201", [ME], ME)
    patient = await vehicle.people.from_card(CARD, ME)
    await vehicle.encounters.open(patient.patient, ME)
    return str(patient.patient)


def tap(page: Any, *names: str) -> None:
    for name in names:
        with page.expect_response(lambda answer: answer.url.endswith("/answer")) as kept:
            page.get_by_test_id(name).locator("xpath=..").click()
        assert kept.value.status == 204


def sign(page: Any, reason: str = "") -> None:
    page.get_by_test_id("sign").click()
    if reason:
        page.get_by_test_id("why-words").fill(reason)
        page.get_by_test_id("why-mistyped").locator("xpath=..").click()
    page.get_by_test_id("sign-pin").click()
    for digit in PIN[ME]:
        page.locator(f'#sign .pad [data-key="{digit}"]').click()
    page.get_by_test_id("sign-now").click()
    page.wait_for_url(re.compile(r"/follow-up/signed/\d+$"))


def test_an_allergy_stands_beside_the_name_from_the_tap_on_and_a_correction_says_why(
    van: Van, page: Any, complaints: Callable[[Any], list[str]]
) -> None:
    van.sign_in(page)
    patient = van.wait(served)
    page.goto(f"{van.address}/measure")
    expect(page.get_by_test_id("allergies")).to_have_attribute("aria-label", "过敏史未问")
    page.goto(f"{van.address}/people/{patient}/health")
    page.get_by_test_id("fill-background").click()
    page.wait_for_url("**/follow-up/*")
    tap(page, "drug_allergies-2", "drug_allergies-5")
    with page.expect_response(lambda answer: answer.url.endswith("/answer")) as kept:
        page.get_by_test_id("drug_allergies_other").fill("左氧氟沙星，全身皮疹、喉头水肿，2019年住院抢救")
        page.get_by_test_id("drug_allergies_other").blur()
    assert kept.value.status == 204
    for language, theme in LOOKS:
        for path in ("/measure", "/consult", f"/people/{patient}/health", f"/people/{patient}", "/today"):
            page.goto(f"{van.address}{path}?lang={language}&theme={theme}")
            assert complaints(page) == [], (path, language, theme)
            expect(page.get_by_test_id("allergies").first).to_have_attribute(
                "aria-label", re.compile("青霉素|penicillin")
            )
    page.goto(f"{van.address}/people/{patient}/health?lang=zh&theme=day")
    expect(page.get_by_test_id("background")).to_contain_text("有未签字的过敏记录")
    page.get_by_test_id("fill-background").click()
    sign(page)
    signed = page.url
    page.get_by_test_id("correct").click()
    page.wait_for_url("**/follow-up/*")
    page.get_by_test_id("sign").click()
    assert complaints(page) == []
    page.keyboard.press("Escape")
    tap(page, "drug_allergies-1")
    sign(page, "家属说是误记")
    assert page.url == signed
    expect(page.get_by_test_id("why-said")).to_contain_text("家属说是误记")
    expect(page.get_by_test_id("said-drug_allergies")).to_contain_text("无")
    page.goto(f"{van.address}/measure")
    expect(page.get_by_test_id("allergies")).to_have_count(0)


def test_the_forms_of_age_and_pregnancy_are_whole_in_every_look(
    van: Van, page: Any, complaints: Callable[[Any], list[str]]
) -> None:
    van.sign_in(page)
    van.wait(served)

    async def mother(bench: Bench) -> str:
        day = bench.vehicle.clock.now().date()
        mother = PatientForm("周小兰", "female", day.replace(year=day.year - 30, day=1))
        return (await bench.vehicle.people.register(mother, ME)).patient

    patient = van.wait(mother)
    page.goto(f"{van.address}/people/{patient}/health")
    page.get_by_test_id("join-maternal").click()
    page.get_by_test_id("others-maternal").click()
    page.get_by_test_id("fill-postpartum_visit").click()
    page.wait_for_url("**/follow-up/*")
    visit = page.url.partition("?")[0]
    page.goto(f"{visit}?part=examination")
    with page.expect_response(lambda answer: answer.url.endswith("/answer")):
        page.get_by_test_id("general_said-pick-1").click()
    expect(page.get_by_test_id("general_said")).to_have_value("良好")
    tap(page, "lochia-2")
    expect(page.get_by_test_id("lochia_said")).to_be_visible()
    expect(page.get_by_test_id("summary-finding")).to_have_text("异常")

    async def begun(bench: Bench) -> list[str]:
        me = bench.vehicle.staff.get(ME)
        forms = [await bench.vehicle.follow_ups.begin(form, patient, me) for form in ("elderly", "antenatal_first")]
        await bench.vehicle.follow_ups.answer(forms[1], "last_period_on", "2026-09-10", me)
        return forms

    elderly, antenatal = van.wait(begun)
    parts = {
        visit: ("birth", "examination", "assessment"),
        f"{van.address}/follow-up/{elderly}": ("signs", "living", "examination", "blood", "pictures", "assessment"),
        f"{van.address}/follow-up/{antenatal}": ("pregnancy", "history", "tests"),
    }
    for number, (form, names) in enumerate(parts.items()):
        for place, part in enumerate(names):
            language, theme = LOOKS[(number + place) % 2]
            page.goto(f"{form}?part={part}&lang={language}&theme={theme}")
            assert complaints(page) == [], (form, part, language, theme)


def test_who_signs_for_a_child_is_named_before_the_request_can_be_sent(
    van: Van, page: Any, complaints: Callable[[Any], list[str]]
) -> None:
    async def child(bench: Bench) -> None:
        vehicle = bench.vehicle
        await vehicle.visits.start("510199201201", [ME], ME)
        born_on = vehicle.programmes.today().replace(day=1, year=vehicle.programmes.today().year - 5)
        form = PatientForm("杨小明", "male", born_on, guardian=Guardian("李桂花", "mother"))
        await vehicle.encounters.open((await vehicle.people.register(form, ME)).patient, ME)

    van.sign_in(page)
    van.wait(child)
    page.goto(f"{van.address}/consult")
    expect(page.get_by_test_id("guardian-name")).to_have_value("李桂花")
    expect(page.get_by_test_id("guardian-relation")).to_have_value("mother")
    for language, theme in LOOKS:
        page.goto(f"{van.address}/consult?lang={language}&theme={theme}")
        assert complaints(page) == [], (language, theme)
    page.goto(f"{van.address}/consult?lang=zh&theme=day")
    for name in ("chief_complaint", "history", "findings", "preliminary", "question"):
        page.get_by_test_id(name).fill("发热三天")
    page.get_by_test_id("read-aloud").locator("xpath=..").click()
    pad = page.get_by_test_id("signature-pad").bounding_box()
    assert pad is not None
    page.mouse.move(pad["x"] + 40, pad["y"] + 30)
    page.mouse.down()
    page.mouse.move(pad["x"] + 140, pad["y"] + 60, steps=6)
    page.mouse.up()
    page.get_by_test_id("guardian-name").fill("")
    expect(page.get_by_test_id("request-consultation")).to_be_disabled()
    expect(page.get_by_test_id("request-consultation")).to_contain_text("姓名和关系")
    page.get_by_test_id("guardian-name").fill("杨国平")
    page.get_by_test_id("guardian-relation").select_option("father")
    page.get_by_test_id("request-consultation").click()
    page.get_by_test_id("consult-form").wait_for(state="detached")
    consent = van.do(lambda bench: bench.vehicle.consultations.current().consent)
    told = {"signed_by": "guardian", "guardian_name": "杨国平", "guardian_relation": "father"}
    assert told.items() <= consent.items()
