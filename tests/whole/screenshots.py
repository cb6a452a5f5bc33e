"""``make screenshots``: lives through a morning and keeps a picture of every page, in Chinese and English.

``python -m tests.whole.screenshots FOLDER``
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.whole import clinic_pages
from tests.whole.album import Album
from tests.whole.extras import NEW_VAN, new_van, stick_put_in
from tests.whole.people import YANG, VillageDoctor, context, launch, sign_in_at_county
from tests.whole.stage import WFDB_RECORD, Demo, start_demo, stop_demo, wait_until
from xunzhen.demo.home import ADMINISTRATOR, SPECIALIST

OTHER_LOOKS = (("1920x1080", 1920, 1080, "day"), ("1024x768", 1024, 768, "day"), ("night", 1280, 800, "night"))
CONSULTATION = {
    "chief_complaint": "右上腹隐痛 2 个月",
    "history": "牧区长大，家里养犬；未手术",
    "findings": "右上腹轻压痛，未及包块",
    "preliminary": "肝囊性占位 K76.8",
    "question": "是活动期包虫吗？要不要转诊？",
}


def morning(demo: Demo, album: Album) -> None:
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        van = context(chromium)
        doctor = VillageDoctor(van.new_page(), demo.touchscreen)
        desk = context(chromium, 1440, 900)
        specialist = desk.new_page()
        at_the_van(demo, doctor, album)
        in_other_looks(demo, chromium, album)
        sign_in_at_county(specialist, demo.specialist, SPECIALIST.id, SPECIALIST.secret)
        consult(demo, doctor, specialist, album)
        clinic_pages.red_value(demo, doctor, album)
        clinic_pages.emergency(demo, doctor, album)
        clinic_pages.driving(demo, doctor, album)
        county = context(chromium, 1440, 900).new_page()
        at_the_county(demo, county, album)
        enrolment(demo, van.new_page(), county, album)
        registry(demo, county, album)
        chromium.close()


def in_other_looks(demo: Demo, chromium: Browser, album: Album) -> None:
    """By night, on the largest panel and on the smallest."""
    for look, width, height, theme in OTHER_LOOKS:
        pages = context(chromium, width, height)
        doctor = VillageDoctor(pages.new_page(), demo.touchscreen)
        doctor.sign_in()
        for name, path in (("today", "today"), ("measure", "measure?focus=blood_pressure"), ("screening", "screening")):
            doctor.go(f"{path}{'&' if '?' in path else '?'}theme={theme}")
            album.keep(doctor.page, name, look, 2500)
        pages.close()


def at_the_van(demo: Demo, doctor: VillageDoctor, album: Album) -> None:
    url, page = demo.touchscreen, doctor.page
    album.both(page, f"{url}sign-in", "sign-in")
    doctor.sign_in()
    wait_until("position", lambda: page.reload() and page.get_by_test_id("proposed").count())
    album.both(page, f"{url}today", "today-start")
    doctor.start_visit()
    beside_the_village_doctor(demo, doctor, album)
    demo.simulate("card", **YANG)
    expect(page.get_by_test_id("served-name")).to_have_text(YANG["name"], timeout=20_000)
    demo.simulate("card_off")
    demo.simulate("finger", on=True, spo2_percent=96, pulse_bpm=74)
    demo.simulate("glucose", glucose_mmol_l=6.4)
    wait_until("glucose", lambda: demo.van("select 1 from readings where type='glucose' and encounter is not null "
                                           "and confirmed_at is null"), 40)  # fmt: skip
    doctor.confirm("glucose")
    demo.simulate("blood_pressure", systolic_mmhg=162, diastolic_mmhg=98, pulse_bpm=76)
    doctor.go("measure?focus=blood_pressure")
    expect(page.get_by_test_id("value-blood_pressure").first).to_contain_text("162", timeout=40_000)
    album.both(page, f"{url}measure?focus=blood_pressure", "measure", 2500)
    doctor.confirm("blood_pressure")
    album.both(page, f"{url}today", "today")
    album.both(page, f"{url}measure/by-hand/blood_pressure", "by-hand")
    album.both(page, f"{url}screening", "screening")
    clinic_pages.paths(demo, doctor, album)
    clinic_pages.paper(demo, doctor, album)
    album.both(page, f"{url}ecg", "ecg", 5000)
    page.get_by_test_id("record-ecg").click()
    expect(page.get_by_test_id("unreviewed")).to_be_visible(timeout=40_000)
    album.both(page, page.url.partition("?")[0], "ecg-stored", 1500)
    clinic_pages.opened(page, album, page.url.partition("?")[0], "review", "ecg-sign")
    patient = demo.van("select patient from patients where name = ?", YANG["name"])[0][0]
    clinic_pages.people(demo, doctor, album, patient)
    clinic_pages.forms(demo, doctor, album, patient)
    album.both(page, f"{url}ultrasound", "ultrasound", 3000)
    page.get_by_test_id("freeze").click()
    expect(page.get_by_test_id("still")).to_be_visible(timeout=20_000)
    album.both(page, page.url.partition("?")[0], "ultrasound-still", 1500)
    album.both(page, f"{url}laboratory", "laboratory")
    album.both(page, f"{url}status", "status")
    album.both(page, f"{url}status/link", "status-link")
    album.both(page, f"{url}status/devices/cuff-1", "device")
    album.both(page, f"{url}status/devices/add", "add-device", 2000)
    album.both(page, f"{url}status/devices/add/analyser", "add-analyser")
    album.both(page, f"{url}status/devices/add/camera", "add-camera")
    album.both(page, f"{url}status/screen", "screen-scale")
    with stick_put_in():
        album.both(page, f"{url}ecg/import", "ecg-import")
        album.both(page, f"{url}status/stick", "stick")
    album.both(page, f"{url}consult", "consult-request")


def beside_the_village_doctor(demo: Demo, doctor: VillageDoctor, album: Album) -> None:
    """Outreach and the village doctor's own confirmation, the two witnesses that people give."""
    page = doctor.page
    for dialog in ("outreach", "confirm-village"):
        for language in ("en", "zh"):
            page.goto(f"{demo.touchscreen}today?lang={language}")
            page.get_by_test_id(dialog).click()
            album.keep(page, f"today-{dialog}", language)
    page.get_by_test_id("confirm-pin").fill("2580")
    page.get_by_test_id("confirm-now").click()
    expect(page.get_by_test_id("confirm-village")).to_have_count(0)
    page.get_by_test_id("outreach").click()
    page.get_by_test_id("people-20").check(force=True)
    page.get_by_test_id("outreach-now").click()
    expect(page.get_by_test_id("beside")).to_contain_text("宣讲")
    page.get_by_test_id("photo").click()
    expect(page.get_by_test_id("waiting-photo")).to_be_visible(timeout=20_000)
    album.both(page, f"{demo.touchscreen}visit/photo", "visit-photo")
    page.get_by_test_id("keep-photo").click()
    album.both(page, f"{demo.touchscreen}visit/signature", "visit-signature")


def consult(demo: Demo, doctor: VillageDoctor, specialist: Page, album: Album) -> None:
    doctor.request_consultation(**CONSULTATION)
    expect(specialist.get_by_test_id("invitation")).to_be_visible(timeout=20_000)
    album.both(specialist, demo.specialist, "specialist-invitations")
    specialist.get_by_test_id("accept-invitation").click()
    specialist.wait_for_url("**/specialist/consultations/**")
    session = specialist.url.partition("?")[0]
    specialist.get_by_test_id("opinion-findings").fill(
        "肝右叶囊性占位约 46×39 mm，壁厚、双层，囊内多个子囊，后方回声增强。"
    )
    specialist.get_by_test_id("opinion-diagnosis").fill("肝细粒棘球蚴病")
    specialist.get_by_test_id("opinion-icd10").fill("B67.0")
    doctor.go("consult")
    specialist.wait_for_timeout(6000)
    album.keep(specialist, "specialist-session", "zh", 3000)
    album.both(doctor.page, f"{demo.touchscreen}consult", "consult-session", 5000)
    specialist.goto(f"{session}?lang=en")
    album.keep(specialist, "specialist-session", "en", 8000)
    specialist.get_by_test_id("theme").click()
    album.keep(specialist, "specialist-session", "night", 1500)
    specialist.get_by_test_id("theme").click()
    specialist.goto(f"{session}?lang=zh")
    specialist.get_by_test_id("opinion-findings").fill("肝右叶囊性占位约 46×39 mm，壁厚、双层，囊内多个子囊。")
    specialist.get_by_test_id("opinion-diagnosis").fill("肝细粒棘球蚴病")
    specialist.locator('input[name="action"][value="refer"]').check(force=True)
    specialist.get_by_test_id("opinion-advice").fill("建议 2 周内到县医院外科门诊，带今天的图像。")
    measuring(specialist, session, album)
    album.both(specialist, f"{demo.specialist}/to-sign", "specialist-to-sign")
    specialist.goto(session)
    specialist.get_by_test_id("opinion-findings").fill("肝右叶囊性占位约 46×39 mm，壁厚、双层，囊内多个子囊。")
    specialist.get_by_test_id("opinion-diagnosis").fill("肝细粒棘球蚴病")
    specialist.locator('input[name="action"][value="refer"]').check(force=True)
    specialist.get_by_test_id("opinion-advice").fill("建议 2 周内到县医院外科门诊，带今天的图像。")
    specialist.get_by_test_id("sign-password").fill(SPECIALIST.secret)
    specialist.get_by_test_id("sign-opinion").click()
    expect(doctor.page.get_by_test_id("opinion")).to_be_visible(timeout=20_000)
    album.both(doctor.page, f"{demo.touchscreen}consult", "consult-opinion")
    for language in ("en", "zh"):
        doctor.go(f"consult?lang={language}")
        doctor.page.get_by_test_id("open-decision").click()
        album.keep(doctor.page, "consult-decision", language)
    doctor.page.keyboard.press("Escape")
    doctor.decide("同意，今天开转诊单，两天后电话回访。")


def measuring(specialist: Page, session: str, album: Album) -> None:
    """A distance on a still, and a diagnosis by its letters."""
    for language, letters in (("en", "ech"), ("zh", "xljq")):
        specialist.goto(f"{session}?lang={language}")
        specialist.wait_for_selector("body[data-media=connected]")
        specialist.get_by_test_id("measure").click()
        specialist.get_by_test_id("still").wait_for()
        box = specialist.locator(".still-view image").bounding_box()
        assert box is not None
        across = [box["x"] + box["width"] * part for part in (0.435, 0.615)]
        specialist.mouse.move(across[0], box["y"] + box["height"] * 0.51)
        specialist.mouse.down()
        specialist.mouse.move(across[1], box["y"] + box["height"] * 0.51, steps=6)
        specialist.mouse.up()
        specialist.get_by_test_id("opinion-diagnosis").fill("")
        specialist.get_by_test_id("opinion-diagnosis").press_sequentially(letters)
        specialist.get_by_role("option").first.wait_for()
        specialist.keyboard.press("ArrowDown")
        album.keep(specialist, "specialist-measuring", language)
        specialist.keyboard.press("Enter")
        specialist.get_by_test_id("still-close").click()


def at_the_county(demo: Demo, county: Page, album: Album) -> None:
    album.both(county, demo.county, "county-sign-in")
    sign_in_at_county(county, demo.county, ADMINISTRATOR.id, ADMINISTRATOR.secret)
    album.both(county, f"{demo.county}county/coverage", "county-coverage")
    album.both(county, f"{demo.county}county/map", "county-map")
    for page in ("warnings", "acceptance", "activity", "lists", "slips", "link"):
        album.both(county, f"{demo.county}county/{page}", f"county-{page}")
    visit = demo.county_tables(
        "select visit from visits where closed_at is not null order by dwell_s desc, opened_at desc limit 1"
    )[0][0]
    album.both(county, f"{demo.county}county/visits/{visit}", "county-visit")
    album.both(county, f"{demo.county}county/visits/{visit}/entries", "county-entries")
    sheet(demo, county, visit, album)
    county.goto(f"{demo.county}county/review?practice=1")
    county.get_by_test_id("pick").first.check()
    county.get_by_test_id("reason").fill("电话问过村医，车确实来过，当天忘了确认")
    county.get_by_test_id("count-it").click()
    expect(county.get_by_test_id("said-done_counted")).to_be_visible()
    album.both(county, f"{demo.county}county/review?practice=1", "county-review")


def sheet(demo: Demo, county: Page, visit: str, album: Album) -> None:
    """The printable sheet, as a printer would draw it."""
    address = f"{demo.county}api/visits/{visit}/evidence.pdf"
    wait_until("the province has cosigned", lambda: county.request.get(address).ok, 60)
    album.print_out(county.request.get(address).body(), "evidence-sheet")


def enrolment(demo: Demo, van: Page, county: Page, album: Album) -> None:
    """A new van shows its code, the county types it in."""
    with new_van(demo) as address:
        van.goto(f"{address}enrol?lang=zh")
        van.get_by_test_id("state-waiting").wait_for(timeout=30_000)
        album.both(van, f"{address}enrol", "enrol")
        album.both(county, f"{demo.county}county/fleet", "county-fleet")
        asking = county.get_by_test_id(f"asking-{NEW_VAN}")
        asking.get_by_test_id("code").fill("".join(van.get_by_test_id("code").inner_text().split()))
        asking.get_by_test_id("compared").check()
        asking.get_by_test_id("confirm").click()
        expect(county.get_by_test_id("said-done_enrolled")).to_be_visible()


def registry(demo: Demo, county: Page, album: Album) -> None:
    county.goto(f"{demo.county}county/waivers")
    county.get_by_test_id("village").select_option(index=5)
    county.get_by_test_id("reason").fill("泥石流封路，10 日到月底不能进村")
    county.get_by_test_id("waive").click()
    expect(county.get_by_test_id("said")).to_be_visible()
    album.both(county, f"{demo.county}county/waivers", "county-waivers")
    album.both(county, f"{demo.county}county/registry/villages", "county-villages")
    album.both(county, f"{demo.county}county/registry/rules", "county-rules")
    album.both(county, f"{demo.county}county/registry", "county-registry")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    album = Album(folder)
    demo = start_demo(
        *(["--ecg", str(WFDB_RECORD)] if WFDB_RECORD.with_suffix(".hea").exists() else []), "--no-morning"
    )
    try:
        morning(demo, album)
    finally:
        stop_demo(demo)
    album.write_index()


if __name__ == "__main__":
    main()
