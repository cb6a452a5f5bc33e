"""A morning on the road, from sign-in to the county's verdict, through what ``make demo`` starts and real Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.whole.people import YANG, VillageDoctor, context, launch, picture_numbers, sign_in_at_county, sound_energy
from tests.whole.stage import CHROMIUM, Demo, wait_until
from xunzhen.demo.home import ADMINISTRATOR, SPECIALIST

pytestmark = [
    pytest.mark.whole,
    pytest.mark.skipif(CHROMIUM is None, reason="skipped: chromium is not installed (package chromium)"),
]
ADVICE = "建议 2 周内到县医院就诊,带今天的图像。"
PLAN = "同意,今天开转诊单,两天后电话回访。"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def doctor(browser: Browser, demo: Demo) -> Iterator[VillageDoctor]:
    pages = context(browser)
    yield VillageDoctor(pages.new_page(), demo.touchscreen)
    pages.close()


@pytest.fixture(scope="module")
def specialist(browser: Browser, demo: Demo) -> Iterator[Page]:
    pages = context(browser, 1440, 900)
    page = pages.new_page()
    sign_in_at_county(page, demo.specialist, SPECIALIST.id, SPECIALIST.secret)
    yield page
    pages.close()


def test_01_the_doctor_signs_in_and_starts_the_visit(demo: Demo, doctor: VillageDoctor) -> None:
    doctor.sign_in()
    wait_until("the van knows where it stands", lambda: demo.simulate("state"))
    doctor.page.wait_for_timeout(1000)
    doctor.start_visit()
    expect(doctor.page.get_by_test_id("visit-clock")).to_contain_text("云坪村")
    assert demo.van("select village_name, closed_at from visits order by opened_at desc limit 1") == [("云坪村", None)]


def test_02_a_card_on_the_reader_registers_and_serves(demo: Demo, doctor: VillageDoctor) -> None:
    demo.simulate("card", **YANG)
    expect(doctor.page.get_by_test_id("served-name")).to_have_text(YANG["name"], timeout=10_000)
    demo.simulate("card_off")
    (sealed, last4, source), *others = demo.van(
        "select id_number_sealed, id_last4, source from patients where name = ?", YANG["name"]
    )
    assert others == []
    assert (last4, source) == (YANG["id_number"][-4:], "id_card")
    assert YANG["id_number"] not in sealed


def test_03_values_arrive_by_themselves_and_one_tap_confirms(demo: Demo, doctor: VillageDoctor) -> None:
    doctor.go("measure")
    demo.simulate("blood_pressure", systolic_mmhg=162, diastolic_mmhg=98, pulse_bpm=76)
    expect(doctor.page.get_by_test_id("value-blood_pressure").first).to_contain_text("162", timeout=20_000)
    doctor.confirm("blood_pressure")
    demo.simulate("glucose", glucose_mmol_l=6.4)
    doctor.go("measure?focus=glucose")
    expect(doctor.page.get_by_test_id("value-glucose").first).to_contain_text("6.4", timeout=20_000)
    doctor.confirm("glucose")
    demo.simulate("finger", on=True, spo2_percent=96, pulse_bpm=74)
    doctor.go("measure?focus=pulse_oximetry")
    expect(doctor.page.get_by_test_id("value-pulse_oximetry").first).to_contain_text("96", timeout=20_000)
    expect(doctor.page.get_by_test_id("confirm-pulse_oximetry")).to_be_visible(timeout=20_000)
    doctor.confirm("pulse_oximetry")
    demo.simulate("finger", on=False)
    confirmed = demo.van(
        "select type, by_hand from readings join patients using (patient) where name = ? and confirmed_at is not null",
        YANG["name"],
    )
    assert sorted(confirmed) == [("blood_pressure", 0), ("glucose", 0), ("pulse_oximetry", 0)]


def test_04_the_prompt_names_rule_inputs_and_source(demo: Demo, doctor: VillageDoctor) -> None:
    doctor.go("screening?rule=BP-GRADE")
    detail = doctor.page.get_by_test_id("prompt-detail")
    expect(detail).to_contain_text("2级")
    expect(detail).to_contain_text("162")
    expect(doctor.page.get_by_test_id("source")).to_contain_text("高血压")
    expect(doctor.page.get_by_test_id("disclaimer")).to_contain_text("不作为诊断依据")
    stored = demo.van("select code, level from screening_results where rule = 'BP-GRADE' order by at desc limit 1")
    assert stored == [("HTN2", "orange")]


def test_05_the_ecg_on_the_screen_is_what_the_device_sent(demo: Demo, doctor: VillageDoctor) -> None:
    doctor.go("ecg")
    assert_same_samples(demo, doctor.page)


def test_06_ten_seconds_are_recorded(demo: Demo, doctor: VillageDoctor) -> None:
    doctor.go("ecg")
    doctor.page.get_by_test_id("record-ecg").click()
    expect(doctor.page.get_by_test_id("unreviewed")).to_be_visible(timeout=30_000)
    rows = demo.van("select duration_ms from recordings where what = 'ecg' order by started_at desc limit 1")
    assert rows == [(10_000,)]
    doctor.go("ecg")
    doctor.page.get_by_test_id("kept-ecgs").click()
    expect(doctor.page.get_by_test_id("recording").first).to_be_visible()
    doctor.page.keyboard.press("Escape")


def test_07_consultation_with_consent_reaches_the_specialist(
    demo: Demo, doctor: VillageDoctor, specialist: Page
) -> None:
    doctor.request_consultation(
        chief_complaint="右上腹隐痛 2 个月",
        history="牧区长大,家里养犬;未手术",
        findings="右上腹轻压痛",
        preliminary="肝囊性占位 K76.8",
        question="是活动期包虫吗?要不要转诊?",
    )
    expect(specialist.get_by_test_id("invitation")).to_contain_text(YANG["name"], timeout=20_000)
    assert YANG["id_number"] not in specialist.content()
    specialist.get_by_test_id("accept-invitation").click()
    specialist.wait_for_url("**/specialist/consultations/**")
    (signature,) = demo.van("select consent_sha256 from consultations order by requested_at desc limit 1")[0]
    assert demo.van("select what, media_type from recordings where sha256 = ?", signature) == [
        ("signature", "image/png")
    ]


@pytest.mark.parametrize("feed", ["ultrasound", "room"])
def test_08_both_videos_move_at_the_specialist(specialist: Page, feed: str) -> None:
    assert_moves(specialist, feed)


def test_09_the_very_samples_reach_the_specialist(demo: Demo, specialist: Page) -> None:
    assert_same_samples(demo, specialist)


def test_09b_live_numbers_and_confirmed_values_reach_the_specialist(
    demo: Demo, doctor: VillageDoctor, specialist: Page
) -> None:
    demo.simulate("finger", on=True, spo2_percent=97, pulse_bpm=71)
    expect(specialist.get_by_test_id("live-spo2")).to_have_text("97", timeout=10_000)
    shown = demo.simulate("state")["finger"]["pulse_bpm"]  # 71, or the pulse of the record that is played
    expect(specialist.get_by_test_id("live-pulse")).to_have_text(str(shown))
    demo.simulate("finger", on=False)
    expect(specialist.get_by_test_id("live-spo2")).to_have_text("–", timeout=2_000)
    doctor.go("measure")
    demo.simulate("blood_pressure", systolic_mmhg=156, diastolic_mmhg=94, pulse_bpm=75)
    expect(doctor.page.get_by_test_id("value-blood_pressure").first).to_contain_text("156", timeout=20_000)
    doctor.confirm("blood_pressure")
    expect(specialist.get_by_test_id("readings")).to_contain_text("156/94", timeout=5_000)


def test_10_the_specialist_is_heard_and_the_room_is_seen_in_the_van(doctor: VillageDoctor, specialist: Page) -> None:
    doctor.go("consult")
    assert_moves(doctor.page, "ultrasound")
    assert_both_hear(doctor.page, specialist)


def test_11_reload_returns_into_the_session(demo: Demo, doctor: VillageDoctor, specialist: Page) -> None:
    specialist.reload()
    assert_moves(specialist, "ultrasound")
    assert_both_hear(doctor.page, specialist)
    assert_same_samples(demo, specialist)


def test_12_the_media_process_may_be_killed_without_the_recorder_noticing(
    demo: Demo, doctor: VillageDoctor, specialist: Page
) -> None:
    vehicle = demo.pid("vehicle")
    before = demo.log("vehicle")
    for page in (doctor.page, specialist):
        page.evaluate("() => { window.connections.length = 0; }")
    old = demo.kill("telemedicine")
    demo.wait_restarted("telemedicine", old)
    assert_both_hear(doctor.page, specialist, of_new_connections=True)
    assert_moves(specialist, "ultrasound")
    assert_moves(doctor.page, "ultrasound")
    assert demo.pid("vehicle") == vehicle
    assert "device_lost" not in demo.log("vehicle")[len(before) :]


def test_13_opinion_signed_and_decision_signed(demo: Demo, doctor: VillageDoctor, specialist: Page) -> None:
    doctor.go("consult")
    specialist.get_by_test_id("opinion-findings").fill("肝右叶囊性占位约 46×39 mm,壁厚,双层,囊内多个子囊。")
    specialist.get_by_test_id("opinion-diagnosis").fill("肝细粒棘球蚴病")
    specialist.get_by_test_id("opinion-icd10").fill("B67.0")
    specialist.locator('input[name="action"][value="refer"]').check(force=True)
    specialist.get_by_test_id("opinion-advice").fill(ADVICE)
    specialist.get_by_test_id("sign-password").fill(SPECIALIST.secret)
    specialist.get_by_test_id("sign-opinion").click()
    expect(doctor.page.get_by_test_id("opinion")).to_contain_text(ADVICE, timeout=20_000)
    doctor.decide(PLAN)
    expect(specialist.get_by_test_id("decision")).to_contain_text(PLAN, timeout=20_000)
    opinion, decision, state = demo.van(
        "select opinion_json, decision_json, state from consultations order by requested_at desc limit 1"
    )[0]
    assert ADVICE in opinion
    assert PLAN in decision
    assert state == "closed"


def test_14_everything_is_delivered_and_the_county_shows_the_visit(
    demo: Demo, doctor: VillageDoctor, browser: Browser
) -> None:
    doctor.go("today")
    counted = doctor.page.locator('[data-testid="dwell"]:not([data-dwell="0"])')
    expect(counted).to_be_visible(timeout=120_000)  # a village is entered after 60 s of agreeing positions
    doctor.photograph_the_sign()
    [(photo,)] = demo.van("select sha256 from recordings where what = 'photo' order by started_at desc limit 1")
    doctor.page.get_by_test_id("end-visit").click()
    doctor.page.get_by_test_id("confirm-end-visit").click()
    expect(doctor.page.get_by_test_id("start-visit")).to_be_visible()
    doctor.go("status")
    expect(doctor.page.get_by_test_id("waiting")).to_have_attribute("data-waiting", "0", timeout=60_000)
    visit, village = demo.van("select visit, village from visits order by opened_at desc limit 1")[0]
    pages = context(browser, 1440, 900)
    county = pages.new_page()
    sign_in_at_county(county, demo.county, ADMINISTRATOR.id, ADMINISTRATOR.secret)
    expect(county.get_by_test_id("coverage")).to_be_visible()
    county.goto(f"{demo.county}county/visits/{visit}")
    expect(county.get_by_test_id("verdict")).to_contain_text("在村不满半天")
    expect(county.get_by_test_id("crew")).to_contain_text("周敏")
    expect(county.get_by_test_id("track")).to_be_attached()
    picture = county.get_by_test_id("pictures").locator("img")
    wait_until("the photo has arrived", lambda: shown(county, picture), 30)
    assert picture.get_attribute("src").endswith(photo)
    coverage = county.request.get(f"{demo.county}api/coverage?month=2026-13")
    assert coverage.status == 422
    spreadsheet = county.request.get(f"{demo.county}county/coverage.xlsx")
    assert spreadsheet.body()[:2] == b"PK"
    county.goto(f"{demo.county}county/link")
    expect(county.locator("main")).to_contain_text("5G")  # the weeks before, as the modem told them
    pages.close()
    origin_counts = demo.county_tables("select count(*) from entries where origin = 'van-07.qingyu.example'")
    assert origin_counts[0][0] >= demo.van("select max(n) from entries")[0][0]
    assert village.startswith("9999011012")


def shown(page: Page, picture: Locator) -> bool:
    """Whether a picture is there, and drawn; else the page is asked again."""
    if picture.count() and picture.evaluate("image => image.complete && image.naturalWidth > 0"):
        return True
    page.reload()
    return False


def assert_moves(page: Page, feed: str, within_s: float = 30) -> None:
    """Two looks at the video differ in time and in picture."""
    expect(page.locator(f'video[data-feed="{feed}"]')).to_be_attached()
    wait_until(f"{feed} has a picture", lambda: picture_numbers(page, feed)["width"] > 0, within_s)
    first = picture_numbers(page, feed)

    def changed() -> bool:
        now = picture_numbers(page, feed)
        return now["at"] > first["at"] and now["print"] != first["print"]

    wait_until(f"{feed} moves", changed, within_s)


def assert_both_hear(*pages: Page, of_new_connections: bool = False) -> None:
    """Sound keeps arriving on every page; after a break only what comes over new connections counts."""
    for page in pages:
        first = 0.0 if of_new_connections else sound_energy(page)
        wait_until("sound arrives", lambda page=page, first=first: sound_energy(page) > first, 30)


def assert_same_samples(demo: Demo, page: Page, n: int = 500) -> None:
    """The last second that the page received stands, count for count in all eight leads, in what the device sent.

    Asked again while it does not: a machine that is too busy loses bytes at the port, and then that second has a gap.
    """

    def the_same() -> bool:
        held = page.evaluate("() => window.xunzhen?.samples('ecg') ?? null")
        if not held or len(held["counts"]) < n:
            return False
        sent = demo.simulate("ecg_sent", last=30_000)
        assert held["channels"] == sent["channels"]
        assert held["resolution"] == 1.25
        mine = np.array(held["counts"][-n:], dtype=np.int64)
        theirs = np.array(sent["counts"], dtype=np.int64)
        starts = np.flatnonzero((theirs[: len(theirs) - n + 1] == mine[0]).all(axis=1))
        return any((theirs[start : start + n] == mine).all() for start in starts)

    wait_until("a second of ECG on the page is what was sent", the_same, 30)
