"""From the tube to the table in real Chromium: a number is noted, its result appears by itself, others are claimed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van, settings_in

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from touch_bench import CARD

from devices.laboratory import laboratory_value
from devices.readings import LaboratoryResult, LaboratoryValue
from devices.session import DeviceSettings

pytestmark = pytest.mark.browser

IN_THE_VILLAGE = (30.60, 104.00)
LOOKS = [("zh", "day"), ("zh", "night"), ("en", "day"), ("en", "night")]
SENDER = "urit 5160"


def blood_count(hgb: str = "128", flag: str = "N") -> tuple[LaboratoryValue, ...]:
    told = (
        ("WBC", "11.2", "10^9/L", "4.00-10.00", "H"),
        ("NEU#", "8.10", "10^9/L", "2.00-7.00", "H"),
        ("NEU%", "72.3", "%", "50.0-70.0", "H"),
        ("LYM#", "2.10", "10^9/L", "0.80-4.00", "N"),
        ("LYM%", "18.8", "%", "20.0-40.0", "L"),
        ("MON%", "----", "%", "3.0-12.0", "A"),
        ("RBC", "4.20", "10^12/L", "3.50-5.50", "N"),
        ("HGB", hgb, "g/L", "110-160", flag),
        ("HCT", "38.5", "%", "37.0-54.0", "N"),
        ("MCV", "91.7", "fL", "80.0-100.0", "N"),
        ("PLT", "204", "10^9/L", "100-300", "N"),
        ("P-LCR", "25.1", "%", "13.0-43.0", "N"),
    )
    return tuple(
        laboratory_value(SENDER, code, said, unit, reference_range=range_, flags=(mark,))
        for code, said, unit, range_, mark in told
    )


def result(specimen: str | None, values: tuple[LaboratoryValue, ...] | None = None, **more: Any) -> LaboratoryResult:
    return LaboratoryResult(specimen=specimen, values=values or blood_count(), analyser="URIT 5160", **more)


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    settings = settings_in(tmp_path)
    analyser = DeviceSettings(name="lab-1", driver="hl7_analyser", link="listen", port="127.0.0.1:2575")
    settings = settings.model_copy(update={"devices": (*settings.devices, analyser)})
    with Van(tmp_path, settings=settings) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at(IN_THE_VILLAGE))
        yield running


def serve(van: Van, page: Any) -> None:
    van.sign_in(page)
    page.goto(f"{van.address}/today")
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()
    van.do(lambda bench: bench.publish("card-1", CARD))
    van.wait(lambda bench: bench.vehicle.encounters.settle())


def test_a_tube_gets_a_number_and_its_result_appears_under_the_person(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/measure")
    page.get_by_test_id("tile-laboratory").click()
    page.wait_for_url("**/laboratory")
    field = page.get_by_test_id("specimen-number")
    assert re.fullmatch(r"[0-3][0-9]001", field.input_value())
    field.fill("BX-2048")
    field.press("Enter")  # as a scanner ends
    page.get_by_test_id("specimen").wait_for()
    van.do(lambda bench: bench.publish("lab-1", result("bx-2048")))
    page.get_by_test_id("result").click()
    assert CARD.name in page.get_by_test_id("report").inner_text()
    assert page.get_by_test_id("group-blood_count").is_visible()
    assert page.get_by_test_id("analyte-WBC").get_attribute("data-side") == "high"
    assert page.get_by_test_id("analyte-RBC").get_attribute("data-side") is None
    assert "----" in page.get_by_test_id("analyte-MON%").inner_text()
    assert "P-LCR" in page.get_by_test_id("group-other").inner_text()
    patient = van.do(lambda bench: bench.vehicle.encounters.current().patient.patient)
    page.goto(f"{van.address}/people/{patient}")
    assert "WBC 11.2" in page.get_by_test_id("past-laboratory").inner_text()


def test_a_result_under_no_known_number_is_claimed_or_discarded_by_the_doctor(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/laboratory")
    for number in ("7", "8"):
        van.do(lambda bench, number=number: bench.publish("lab-1", result(number, person_said="杨")))
    page.get_by_test_id("waiting-result").nth(1).wait_for()
    page.get_by_test_id("waiting-result").first.click()
    page.get_by_test_id("assign").click()
    page.get_by_test_id("assign").wait_for(state="detached")
    assert CARD.name in page.get_by_test_id("report").inner_text()
    page.goto(f"{van.address}/laboratory")
    page.get_by_test_id("waiting-result").click()
    page.get_by_test_id("discard").click()
    page.get_by_test_id("discard-test").click()
    page.wait_for_url("**/laboratory")
    assert page.get_by_test_id("waiting-result").count() == 0
    rows = van.do(
        lambda bench: bench.vehicle.store.read("SELECT rejected_reason FROM readings WHERE type = 'laboratory'")
    )
    assert sorted(str(row["rejected_reason"]) for row in rows) == ["None", "test"]


def test_a_number_of_somebody_else_is_refused_in_words(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/laboratory")
    page.get_by_test_id("specimen-number").fill("!")
    page.get_by_test_id("specimen-take").click()
    page.get_by_test_id("refused").wait_for()
    page.get_by_test_id("specimen-number").fill("55")
    page.get_by_test_id("material-urine").check()
    page.get_by_test_id("specimen-take").click()
    page.get_by_test_id("specimen").wait_for()
    page.get_by_test_id("specimen-discard").click()
    page.get_by_test_id("specimen-spilled").click()
    page.get_by_test_id("specimen").wait_for(state="detached")


def test_a_red_result_of_who_has_gone_is_noted_on_its_page(van: Van, page: Any) -> None:
    serve(van, page)
    van.wait(lambda bench: bench.vehicle.specimens.take("blood", "101", "zhou.min"))
    van.wait(lambda bench: bench.vehicle.encounters.close("zhou.min"))
    van.do(lambda bench: bench.publish("lab-1", result("101", blood_count("52", "LL"))))
    page.goto(f"{van.address}/laboratory")
    page.locator('[data-testid="result"][data-grade="red"]').click()
    page.get_by_test_id("critical-open").click()
    page.get_by_test_id("critical-referred").check()
    page.get_by_test_id("critical-receiver").fill("县医院急诊科")
    page.get_by_test_id("critical-read-back").check()
    page.get_by_test_id("critical-note").click()
    page.get_by_test_id("critical-form").wait_for(state="detached")
    assert not van.do(lambda bench: bench.vehicle.laboratory.recent("zh")[0].open_red)


@pytest.mark.parametrize(("language", "theme"), LOOKS)
def test_the_pages_are_clean(
    van: Van, page: Any, complaints: Callable[[Any], list[str]], language: str, theme: str
) -> None:
    look = f"lang={language}&theme={theme}"
    found: dict[str, list[str]] = {}

    def judge(name: str, path: str) -> None:
        page.goto(f"{van.address}{path}?{look}")
        page.wait_for_selector("main")
        said = complaints(page)
        if said:
            found[name] = said

    serve(van, page)
    judge("empty", "/laboratory")
    van.wait(lambda bench: bench.vehicle.specimens.take("blood", "101", "zhou.min"))
    van.wait(lambda bench: bench.vehicle.specimens.take("urine", "XN-20260301-0042", "zhou.min"))
    van.do(lambda bench: bench.publish("lab-1", result("101", message_said_at="2026-03-01T09:00:00")))
    van.do(lambda bench: bench.publish("lab-1", result(None, person_said="杨桂芳 (3床)", comments=("EOS: not kept",))))
    judge("results", "/laboratory")
    reports = van.do(lambda bench: [*bench.vehicle.laboratory.recent("zh"), *bench.vehicle.laboratory.waiting("zh")])
    for report in reports:
        judge(f"report {report.specimen}", f"/laboratory/{report.reading}")
    judge("measure", "/measure")
    van.do(lambda bench: bench.publish("lab-1", result("QC-2", control=True)))
    judge("the analyser with its control", "/status/devices/lab-1")
    assert "WBC 11.2, NEU# 8.10" in page.get_by_test_id("log").inner_text()
    assert found == {}
