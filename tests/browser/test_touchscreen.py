"""The village doctor's morning in real Chromium: sign in, visit, card, values that come by themselves, ECG, consult."""

from __future__ import annotations

import base64
import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from touch_van import Van

pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from touch_bench import CARD, PIN

from devices.readings import BloodPressure, CuffPressure, DeviceState, Glucose, Link, PulseOximetry, Sensor
from telemedicine.consultation import Event
from telemedicine.opinion import SignedOpinion, canonical_text

pytestmark = pytest.mark.browser

IN_THE_VILLAGE = (30.60, 104.00)
LONG_NAME = dataclasses.replace(
    CARD, name="欧阳罗秀珍", id_number="510199195507210649", born_on=date(1955, 7, 21), address="白果镇老鹰岩子村5组"
)
LOOKS = [("zh", "day", 1280), ("zh", "night", 1024), ("en", "day", 1024), ("en", "night", 1280)]
WITHIN_MS = 20_000


@pytest.fixture
def van(tmp_path: Path) -> Iterator[Van]:
    with Van(tmp_path) as running:
        running.do(lambda bench: bench.all_connected())
        running.do(lambda bench: bench.stand_at(IN_THE_VILLAGE))
        yield running


def until(page: Any, expression: str, within_ms: int = WITHIN_MS) -> None:
    """Wait until ``expression`` is true in the page; asked from outside, because its policy forbids eval."""
    for _ in range(within_ms // 50):
        if page.evaluate(f"Boolean({expression})"):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def start_visit(van: Van, page: Any) -> None:
    van.sign_in(page)
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()


def serve(van: Van, page: Any) -> None:
    start_visit(van, page)
    page.get_by_test_id("go-measure").click()
    van.do(lambda bench: bench.publish("card-1", CARD))
    page.get_by_test_id("served-name").wait_for()


def confirm_pressure(van: Van, page: Any, systolic: int, diastolic: int) -> None:
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(systolic, diastolic, pulse_bpm=76)))
    page.get_by_test_id("confirm-blood_pressure").click()
    page.wait_for_url("**/measure**")


def test_the_visit_is_proposed_from_the_position_and_opens_with_one_tap(van: Van, page: Any) -> None:
    van.sign_in(page)
    assert "王家村" in page.get_by_test_id("proposed").inner_text()
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()
    visit = van.do(lambda bench: bench.vehicle.visits.current())
    assert visit is not None
    assert visit.village_name == "王家村"
    assert "zhou.min" in [person.id for person in visit.crew]


def test_the_visit_ends_only_after_a_second_tap(van: Van, page: Any) -> None:
    start_visit(van, page)
    page.wait_for_load_state()  # a tap counts once the page's scripts are there
    page.get_by_test_id("end-visit").click()
    assert van.do(lambda bench: bench.vehicle.visits.current()) is not None
    assert "还没有：村牌照片、村干部签字" in page.get_by_test_id("unfinished").inner_text()
    page.get_by_test_id("confirm-end-visit").click()
    page.get_by_test_id("start-visit").wait_for()
    assert van.do(lambda bench: bench.vehicle.visits.current()) is None


def test_a_card_registers_and_names_the_person_without_a_reload(van: Van, page: Any) -> None:
    start_visit(van, page)
    page.get_by_test_id("go-measure").click()
    page.evaluate("window.notReloaded = true")
    van.do(lambda bench: bench.publish("card-1", CARD))
    page.get_by_test_id("served-name").wait_for()
    assert page.get_by_test_id("served-name").inner_text() == "杨桂芳"
    assert page.evaluate("window.notReloaded") is True


def test_a_second_card_asks_instead_of_changing_the_person(van: Van, page: Any) -> None:
    serve(van, page)
    van.do(lambda bench: bench.publish("card-1", LONG_NAME))
    page.get_by_test_id("offered").wait_for()
    assert page.get_by_test_id("served-name").inner_text() == "杨桂芳"
    page.get_by_test_id("serve-offered").click()
    until(page, "document.querySelector('[data-testid=served-name]')?.textContent === '欧阳罗秀珍'")


def test_a_blood_pressure_comes_by_itself_and_one_tap_makes_it_hers(van: Van, page: Any) -> None:
    serve(van, page)
    page.evaluate("window.notReloaded = true")
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(162, 98, pulse_bpm=76)))
    page.get_by_test_id("confirm-blood_pressure").wait_for()
    assert page.evaluate("window.notReloaded") is True
    assert page.get_by_test_id("value-blood_pressure").text_content() == "162/98"
    assert page.get_by_test_id("tile-blood_pressure").get_attribute("data-grade") == "orange"
    assert "确认，是杨桂芳的" in page.get_by_test_id("confirm-blood_pressure").inner_text()
    page.get_by_test_id("confirm-blood_pressure").click()
    page.wait_for_selector('[data-testid="tile-blood_pressure"][data-state="confirmed"]')
    page.goto(f"{van.address}/screening?rule=BP-GRADE")
    assert "高血压" in page.get_by_test_id("source").inner_text()
    assert "不作为诊断依据" in page.get_by_test_id("disclaimer").inner_text()


def test_the_pressure_in_the_cuff_is_seen_while_it_works_and_goes_with_the_result(van: Van, page: Any) -> None:
    serve(van, page)
    shown = page.get_by_test_id("cuff").first
    for _ in range(WITHIN_MS // 50):  # a cuff tells its pressure five times a second; the page may just be connecting
        van.do(lambda bench: bench.publish("cuff-1", CuffPressure(132)))
        if shown.is_visible():
            break
        page.wait_for_timeout(50)
    assert "132" in shown.inner_text()
    van.do(lambda bench: bench.publish("cuff-1", CuffPressure(None)))
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(128, 82, pulse_bpm=70)))
    page.get_by_test_id("confirm-blood_pressure").wait_for()
    assert not shown.is_visible()


def test_a_red_value_cannot_be_left_without_an_action(van: Van, page: Any) -> None:
    serve(van, page)
    confirm_pressure(van, page, 184, 112)
    page.get_by_test_id("critical").wait_for()
    page.keyboard.press("Escape")
    page.get_by_test_id("critical").wait_for()
    assert page.get_by_test_id("critical-leave").is_disabled()
    page.get_by_test_id("critical-told").check()
    assert page.get_by_test_id("critical-leave").is_disabled()
    page.get_by_test_id("critical-referred").check()
    assert page.get_by_test_id("critical-leave").is_disabled()
    page.get_by_test_id("critical-receiver").fill("县医院急诊科")
    page.get_by_test_id("critical-read-back").check()
    page.get_by_test_id("critical-leave").click()
    page.wait_for_url("**/measure")
    assert page.get_by_test_id("critical").count() == 0
    assert van.do(lambda bench: bench.vehicle.measurements.critical()) == []


def test_a_hand_entry_is_typed_twice_and_marked(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/measure/by-hand/glucose")
    page.get_by_test_id("glucose_mmol_l").fill("6.4")
    page.get_by_test_id("glucose_mmol_l_again").fill("4.6")
    page.get_by_test_id("hand-keep").click()
    page.get_by_test_id("refused").wait_for()
    page.get_by_test_id("glucose_mmol_l_again").fill("6.4")
    page.get_by_test_id("hand-keep").click()
    page.wait_for_url("**/measure?focus=glucose")
    tile = van.do(lambda bench: next(t for t in bench.vehicle.measurements.tiles() if t.type == "glucose"))
    assert (tile.by_hand, tile.values["glucose_mmol_l"], tile.state) == (True, 6.4, "confirmed")


def test_the_question_a_glucose_value_lacks_is_answered_on_its_tile_in_one_tap(van: Van, page: Any) -> None:
    serve(van, page)
    van.do(lambda bench: bench.publish("glucose-1", Glucose(6.4, sequence=7)))
    page.get_by_test_id("confirm-glucose").click()
    page.wait_for_selector('[data-testid="tile-glucose"][data-state="confirmed"]')
    page.goto(f"{van.address}/measure?focus=blood_pressure")
    assert "缺：空腹还是餐后" in page.get_by_test_id("lacks-glucose").inner_text()
    page.get_by_test_id("tile-glucose").click()
    page.get_by_test_id("ask-meal").wait_for()
    page.evaluate("window.notReloaded = true")
    assert page.locator('[data-testid="ask-meal"] button').all_inner_texts() == ["空腹", "餐后", "随机"]
    page.get_by_test_id("answer-meal-fasting").click()
    page.get_by_test_id("answer-known_dm-no").click()
    page.wait_for_selector('[data-testid="tile-glucose"][data-grade="yellow"]')
    assert page.evaluate("window.notReloaded") is True
    assert page.get_by_test_id("ask-meal").count() + page.get_by_test_id("ask-known_dm").count() == 0
    assert "空腹血糖受损" in page.get_by_test_id("tile-glucose").inner_text()


def test_a_value_nobody_confirmed_yet_asks_too(van: Van, page: Any) -> None:
    serve(van, page)
    van.do(lambda bench: bench.publish("glucose-1", Glucose(6.4, sequence=7)))
    page.get_by_test_id("confirm-glucose").wait_for()
    page.get_by_test_id("answer-meal-fasting").click()
    page.get_by_test_id("answer-known_dm-no").click()
    page.wait_for_selector('[data-testid="tile-glucose"][data-grade="yellow"][data-state="arrived"]')


def test_a_tapped_tile_stays_until_something_newer_comes(van: Van, page: Any) -> None:
    serve(van, page)
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(162, 98)))
    page.get_by_test_id("confirm-blood_pressure").wait_for()
    page.get_by_test_id("tile-glucose").click()
    page.wait_for_selector('#focus[data-testid="tile-glucose"]')
    van.do(lambda bench: bench.publish("glucose-1", Glucose(5.1, sequence=8)))
    page.get_by_test_id("confirm-glucose").click()
    page.wait_for_selector('#focus[data-testid="tile-blood_pressure"]')


def test_meters_asleep_are_ready_and_a_type_without_device_is_typed(van: Van, page: Any) -> None:
    serve(van, page)
    for name in ("cuff-1", "glucose-1"):
        van.do(lambda bench, name=name: bench.publish(name, DeviceState(Link.ABSENT, battery_percent=64)))
        page.wait_for_selector(f'.dots [data-device="{name}"][data-state="standby"]')
    until(page, "document.querySelector('[data-testid=devices]').textContent.includes('6/6')")
    assert page.get_by_test_id("tile-glucose").get_attribute("data-state") == "waiting"
    van.do(lambda bench: bench.publish("glucose-1", DeviceState(Link.ABSENT, fault="bluetooth_off")))
    page.wait_for_selector('.dots [data-device="glucose-1"][data-state="missing"]')
    page.wait_for_selector('[data-testid="tile-glucose"][data-state="missing"]')
    until(page, "document.querySelector('[data-testid=devices]').textContent.includes('5/6')")
    page.goto(f"{van.address}/status")
    assert "待命" in page.get_by_test_id("device-cuff-1").inner_text()
    assert "64 %" in page.get_by_test_id("device-cuff-1").inner_text()
    page.goto(f"{van.address}/measure")
    assert "没有配体温计" in page.get_by_test_id("tile-temperature").inner_text()
    page.get_by_test_id("tile-temperature").click()
    page.wait_for_url("**/measure/by-hand/temperature")


def test_an_oximeter_that_was_unplugged_draws_no_wave(van: Van, page: Any) -> None:
    serve(van, page)
    van.do(lambda bench: bench.publish("oximeter-1", PulseOximetry(97, 70)))
    page.goto(f"{van.address}/measure?focus=pulse_oximetry")
    page.wait_for_selector("#focus #pleth")
    van.do(lambda bench: setattr(van, "sending", False))
    van.do(lambda bench: bench.publish("oximeter-1", DeviceState(Link.LOST)))
    page.wait_for_selector("#focus #pleth", state="detached")


@pytest.mark.parametrize("focus", ["blood_pressure", "glucose", "pulse_oximetry", "temperature", "weight"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, {"width": 1920, "height": 1080}])
def test_the_tiles_fill_their_grid_whatever_is_in_focus(van: Van, page: Any, focus: str, size: dict[str, int]) -> None:
    serve(van, page)
    page.set_viewport_size(size)
    page.goto(f"{van.address}/measure?focus={focus}")
    rows, grid, gap, boxes = page.evaluate(
        """(() => { const grid = document.querySelector('#tiles');
                   const box = ({x, y, width, height}) => ({x, y, width, height});
                   return [Number(grid.dataset.rows), box(grid.getBoundingClientRect()),
                           parseFloat(getComputedStyle(grid).columnGap),
                           [...grid.children].map((tile) => box(tile.getBoundingClientRect()))]; })()"""
    )
    width, height = (grid["width"] - 2 * gap) / 3, (grid["height"] - (rows - 1) * gap) / rows
    cells = [((box["width"] + gap) / (width + gap), (box["height"] + gap) / (height + gap)) for box in boxes]
    assert all(abs(side - round(side)) < 0.02 for cell in cells for side in cell)
    assert sum(round(columns) * round(lines) for columns, lines in cells) == 3 * rows
    assert max(box["x"] + box["width"] for box in boxes) == pytest.approx(grid["x"] + grid["width"], abs=2)
    assert max(box["y"] + box["height"] for box in boxes) == pytest.approx(grid["y"] + grid["height"], abs=2)


def test_registration_by_hand_checks_the_identity_number_while_it_is_typed(van: Van, page: Any) -> None:
    start_visit(van, page)
    page.goto(f"{van.address}/people/register")
    page.get_by_test_id("name").fill("石成林")
    page.get_by_test_id("id-number").fill("510199195903120427")
    assert "校验不对" in page.locator("#id-said").inner_text()
    page.get_by_test_id("id-number").fill("510199195903120426")
    assert page.get_by_test_id("born-on").input_value() == "1959-03-12"
    assert page.get_by_test_id("sex-female").is_checked()
    page.get_by_test_id("register-person").click()
    page.wait_for_url("**/measure")
    assert page.get_by_test_id("served-name").inner_text() == "石成林"


def test_the_drawn_ecg_numbers_are_the_sent_ones(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ecg")
    until(page, "(window.xunzhen?.samples('ecg')?.counts.length ?? 0) >= 1500")
    shown = page.evaluate("window.xunzhen.samples('ecg')")
    first = shown["first_index"]
    sent = van.do(lambda bench: bench.sent[first : first + len(shown["counts"])])
    assert shown["counts"] == sent
    assert shown["resolution"] == 1.25
    until(
        page,
        """(() => { const trace = document.querySelector('canvas[data-feed="ecg"]');
                   const ink = trace.getContext('2d').getImageData(0, 0, trace.width, trace.height).data;
                   let drawn = 0; for (let i = 3; i < ink.length; i += 4) drawn += ink[i] > 100 ? 1 : 0;
                   return drawn > 2000; })()""",
    )


def test_a_loose_lead_is_named_on_the_paper(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ecg")
    until(page, "window.xunzhen?.samples('ecg')")
    van.do(lambda bench: bench.publish("ecg-1", DeviceState(Link.CONNECTED, Sensor.LEAD_OFF, ("V3",))))
    page.locator('.ecg-off[data-lead="V3"]').wait_for()
    until(page, "document.querySelector('#ecg-device').textContent.includes('V3')")


def test_a_recording_of_ten_seconds_is_stored_and_shown_as_it_is_in_the_file(van: Van, page: Any) -> None:
    serve(van, page)
    page.goto(f"{van.address}/ecg")
    until(page, "window.xunzhen?.samples('ecg')")
    page.get_by_test_id("record-ecg").click()
    page.wait_for_url(re.compile("/ecg/recordings/[0-9a-f]{64}"), timeout=60_000)
    page.get_by_test_id("unreviewed").wait_for()
    until(page, "window.xunzhen.samples('ecg')?.counts.length === 5000")
    shown = page.evaluate("window.xunzhen.samples('ecg')")["counts"]
    sent = van.do(lambda bench: list(bench.sent))
    assert any(sent[at : at + len(shown)] == shown for at in range(len(sent) - len(shown) + 1))


def test_a_consultation_from_the_five_fields_to_the_signed_decision(van: Van, page: Any) -> None:
    serve(van, page)
    page.get_by_test_id("go-consult").click()
    page.get_by_test_id("media-down").wait_for()
    for field in ("chief_complaint", "history", "findings", "preliminary", "question"):
        page.get_by_test_id(field).fill("头晕三天")
    page.get_by_test_id("read-aloud").check()
    assert page.get_by_test_id("request-consultation").is_disabled()
    sign(page)
    page.get_by_test_id("request-consultation").click()
    page.get_by_test_id("cancel-consultation").wait_for()
    asked = van.do(lambda bench: bench.vehicle.consultations.current())
    assert asked is not None
    assert asked.consent["read_aloud"] is True

    for event in (Event.INVITED, Event.ACCEPTED):
        van.wait(lambda bench, event=event: bench.vehicle.consultations.change(asked.consultation, event, "沈若川"))
    page.locator('video[data-feed="ultrasound"]').wait_for(state="attached")
    until(page, "document.querySelector('#media-said')?.textContent.includes('会诊程序没有启动')")
    assert "沈若川" in page.get_by_test_id("no-face").inner_text()
    for event, reason in ((Event.CONNECTED, ""), (Event.INTERRUPTED, "link lost")):
        van.wait(
            lambda bench, event=event, reason=reason: bench.vehicle.consultations.change(
                asked.consultation, event, "", reason
            )
        )
    until(page, "document.querySelector('[data-testid=reason]')?.textContent === '和专家的连接断了'")

    opinion = signed_opinion(asked.consultation)
    van.wait(lambda bench: bench.vehicle.consultations.receive_opinion(asked.consultation, opinion))
    page.get_by_test_id("opinion").wait_for()
    assert page.get_by_test_id("reason").count() == 0
    page.wait_for_load_state()
    page.get_by_test_id("open-decision").click()
    page.get_by_test_id("decision-accept").check()
    page.get_by_test_id("plan").fill("马上转县医院")
    page.get_by_test_id("pin").fill("0000")
    page.get_by_test_id("sign-decision").click()
    page.get_by_test_id("refused").wait_for()
    page.get_by_test_id("pin").fill(PIN["zhou.min"])
    page.get_by_test_id("sign-decision").click()
    page.get_by_test_id("decision").wait_for()
    assert van.do(lambda bench: bench.vehicle.consultations.get(asked.consultation).state) == "closed"


def sign(page: Any) -> None:
    pad = page.get_by_test_id("signature-pad").bounding_box()
    page.mouse.move(pad["x"] + 40, pad["y"] + 40)
    page.mouse.down()
    for i in range(30):
        page.mouse.move(pad["x"] + 40 + i * 8, pad["y"] + 45 + 25 * math.sin(i / 4))
    page.mouse.up()


def signed_opinion(consultation: str) -> SignedOpinion:
    key = Ed25519PrivateKey.generate()
    text = canonical_text(
        {
            "format": "xunzhen-opinion/1",
            "consultation": consultation,
            "origin": "van-07.qingxi.example",
            "specialist": "shen.ruochuan",
            "specialist_name": "沈若川",
            "title": "主任医师",
            "institution": "青峪县人民医院",
            "opinion": {"findings": "血压高", "diagnosis": "高血压", "action": "refer", "advice": "转诊"},
            "signed_at": "2026-11-21T03:20:00Z",
        }
    )
    public = key.public_key().public_bytes_raw()
    return SignedOpinion(
        consultation=consultation,
        signed_text=text,
        signature=base64.b64encode(key.sign(text.encode())).decode(),
        public_key=base64.b64encode(public).decode(),
    )


def test_the_measured_scale_of_the_panel_is_kept_and_used(van: Van, page: Any) -> None:
    van.sign_in(page)
    page.goto(f"{van.address}/status/screen")
    page.locator('[data-step="20"]').click()
    page.get_by_test_id("keep-scale").click()
    kept = page.evaluate("Number(localStorage.getItem('xunzhen-px-per-mm'))")
    assert kept == pytest.approx((85.6 * 4 + 20) / 85.6, abs=0.001)
    page.goto(f"{van.address}/ecg")
    until(page, "document.querySelector('#scale-said').textContent === '本屏已校准'")


def test_a_driver_sees_two_places_and_the_emergency_and_hears_nothing_about_people(van: Van, page: Any) -> None:
    heard: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: heard.append(str(frame))))
    van.sign_in(page, "zhao.hai")
    places = page.eval_on_selector_all("nav.rail a", "links => links.map(link => link.pathname)")
    assert places == ["/today", "/status", "/emergency"]
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(162, 98)))
    van.do(lambda bench: bench.publish("card-1", CARD))
    van.do(lambda bench: bench.publish("gnss-1", DeviceState(Link.LOST)))
    page.wait_for_selector('.dots [data-device="gnss-1"][data-state="missing"]')
    assert not any(word in frame for frame in heard for word in ("杨桂芳", "systolic", "encounter"))


@pytest.mark.parametrize(("language", "theme", "width"), LOOKS)
def test_every_page_is_clean_in_both_languages_by_day_and_by_night_and_on_a_panel_of_1024(
    van: Van, page: Any, complaints: Callable[[Any], list[str]], language: str, theme: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": {1280: 800, 1024: 768}[width]})
    look = f"lang={language}&theme={theme}"
    found: dict[str, list[str]] = {}

    def judge(name: str, path: str = "", until: str = "main") -> None:
        if path:
            page.goto(f"{van.address}{path}{'&' if '?' in path else '?'}{look}")
        page.wait_for_selector(until)
        said = complaints(page)
        if said:
            found[name] = said

    judge("sign-in", "/sign-in")
    van.sign_in(page)
    judge("start", "/today")
    judge("people, nobody", "/people")
    page.goto(f"{van.address}/today")
    page.get_by_test_id("start-visit").click()
    page.get_by_test_id("dwell").wait_for()
    for name in ("today", "measure", "ecg", "screening", "consult"):
        judge(f"{name}, nobody served", f"/{name}")
    for card in (CARD, LONG_NAME):
        van.do(lambda bench, card=card: bench.publish("card-1", card))
        van.wait(lambda bench: bench.vehicle.encounters.settle())
    judge("a second card", "/measure", '[data-testid="offered"]')
    page.get_by_test_id("serve-offered").click()
    page.wait_for_url("**/measure")
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(162, 98, pulse_bpm=76)))
    judge("a value arrived", "/measure", '[data-testid="confirm-blood_pressure"]')
    page.get_by_test_id("confirm-blood_pressure").click()
    page.wait_for_url("**/measure**")
    van.do(lambda bench: bench.publish("glucose-1", Glucose(33.3, sequence=4)))
    judge("glucose", "/measure?focus=glucose")
    judge("screening", "/screening")
    judge("questions", "/screening?rule=GLU-SCREEN")
    judge("hand", "/measure/by-hand/blood_pressure")
    judge("ecg", "/ecg")
    judge("today", "/today")
    judge("people", "/people")
    judge("nobody found", "/people?q=xyz")
    patient = van.do(lambda bench: bench.vehicle.encounters.current().patient.patient)
    judge("person", f"/people/{patient}")
    judge("register", "/people/register")
    judge("consult", "/consult")
    judge("panel", "/status/screen")
    judge("ultrasound", "/ultrasound", "#media-said[data-away]")
    judge("status", "/status")
    van.do(lambda bench: bench.publish("ecg-1", DeviceState(Link.LOST)))
    judge("status with a fault", "/status")
    van.do(lambda bench: bench.publish("cuff-1", BloodPressure(184, 112, pulse_bpm=76)))
    page.goto(f"{van.address}/measure?focus=blood_pressure")
    page.get_by_test_id("confirm-blood_pressure").click()
    judge("critical", until='[data-testid="critical"]')
    assert found == {}


def test_a_large_panel_is_clean_too_and_practice_is_marked_everywhere(
    browser: Any, tmp_path: Path, complaints: Callable[[Any], list[str]]
) -> None:
    with Van(tmp_path, practice=True) as van:
        van.do(lambda bench: bench.all_connected())
        van.do(lambda bench: bench.stand_at(IN_THE_VILLAGE))
        context = browser.new_context(viewport={"width": 1920, "height": 1080})
        page = context.new_page()
        page.set_default_timeout(WITHIN_MS)
        page.goto(f"{van.address}/sign-in")
        assert "演练" in page.get_by_test_id("practice").inner_text()
        mark = page.evaluate("getComputedStyle(document.querySelector('.enter')).backgroundImage")
        assert "practice.zh.svg" in mark
        assert page.request.get(f"{van.address}/shared/practice.zh.svg").ok
        start_visit(van, page)
        for path in ("/today", "/measure", "/ecg", "/status", "/people", "/consult"):
            page.goto(f"{van.address}{path}")
            assert page.get_by_test_id("practice").inner_text() == "演练"
            assert complaints(page) == []
        context.close()
