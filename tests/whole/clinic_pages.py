"""Pictures of the clinic's pages: people, screening paths, forms, paper, red values, emergency."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page, expect

from tests.whole.album import Album
from tests.whole.people import VillageDoctor
from tests.whole.stage import Demo

LANGUAGES = ("en", "zh")
PATHS = {
    "hypertension": "danger",
    "diabetes": "known",
    "copd": "breath",
    "af": "pulse",
    "stroke": "diseases",
    "tb": "others",
    "echinococcosis": "organ",
}
"""Each path with the step that says most about it."""
MOTHER = "999901199003120627"
"""An invented number of the newborn's mother, with its check digit."""


def people(demo: Demo, doctor: VillageDoctor, album: Album, patient: str) -> None:
    """Everybody who can be found and everybody who can be registered."""
    url, page = demo.touchscreen, doctor.page
    album.both(page, f"{url}people", "people")
    opened(page, album, f"{url}people", "search", "people-keys")
    album.both(page, f"{url}people?q=ygf", "search-initials")
    album.both(page, f"{url}people/{patient}", "person")
    opened(page, album, f"{url}people/{patient}", "reveal", "why-number")
    album.both(page, f"{url}people/{patient}?view=file", "person-file")
    album.both(page, f"{url}people/register", "register")
    for language in LANGUAGES:
        page.goto(f"{url}people/register?lang={language}")
        _fill(page, kind="temporary", name="无名老人", sex="male", born_on="76")
        page.get_by_test_id("name").focus()
        album.keep(page, "register-no-papers", language)
    for language in LANGUAGES:
        page.goto(f"{url}people/register?beside={patient}&lang={language}")
        _fill(page, kind="newborn", name="杨宝宝", sex="female", born_on=_day(-20))
        page.get_by_test_id("id-number").fill(MOTHER)
        page.get_by_test_id("guardian-name").fill("杨小梅")
        album.keep(page, "register-newborn", language)
    page.get_by_test_id("relation").select_option("grandchild")
    page.get_by_test_id("register-person").click()
    page.wait_for_url("**?view=family")
    album.both(page, f"{url}people/{patient}?view=family", "household")


def paths(demo: Demo, doctor: VillageDoctor, album: Album) -> None:
    """The seven screening paths, one to its referral."""
    url, page = demo.touchscreen, doctor.page
    for name, step in PATHS.items():
        page.goto(f"{url}screening")
        page.get_by_test_id(f"begin-{name}").click()
        page.wait_for_url(f"**/screening/path/{name}**")
        album.both(page, f"{url}screening/path/{name}?step={step}", f"path-{name}")
    album.both(page, f"{url}screening/path/hypertension/result", "path-result")
    page.get_by_test_id("end-referral").click()
    page.get_by_test_id("refer-form").wait_for()
    album.both(page, page.url.partition("?")[0], "refer")
    page.get_by_test_id("refer-keep").click()
    page.get_by_test_id("referral").wait_for()
    album.both(page, page.url.partition("?")[0], "referral")


def forms(demo: Demo, doctor: VillageDoctor, album: Album, patient: str) -> None:
    """The health profile, a form filled in from today's readings and signed."""
    url, page = demo.touchscreen, doctor.page
    page.goto(f"{url}people/{patient}/health")
    page.get_by_test_id("join-hypertension").click()
    page.get_by_test_id("fill-hypertension").click()
    page.wait_for_url("**/follow-up/*")
    form = page.url.partition("?")[0]
    album.both(page, f"{form}?part=signs", "follow-up")
    album.both(page, f"{url}people/{patient}/health", "profile")
    album.both(page, f"{url}follow-ups", "due-list")
    album.both(page, f"{url}people/{patient}/export", "person-export")


def paper(demo: Demo, doctor: VillageDoctor, album: Album) -> None:
    """A slip before and after it came out; the spoken prompts."""
    url, page = demo.touchscreen, doctor.page
    page.goto(f"{url}print")
    album.both(page, page.url.partition("?")[0], "print")  # where it leads: the language goes along
    opened(page, album, f"{url}screening", "voice", "voice")
    page.goto(f"{url}print")
    page.get_by_test_id("print-slip").click()
    page.get_by_test_id("printed").locator("a").first.click()
    album.both(page, page.url.partition("?")[0], "printed")


def red_value(demo: Demo, doctor: VillageDoctor, album: Album) -> None:
    """185/112 is confirmed and cannot be left without an answer."""
    url, page = demo.touchscreen, doctor.page
    demo.simulate("blood_pressure", systolic_mmhg=185, diastolic_mmhg=112, pulse_bpm=92)
    page.goto(f"{url}measure?focus=blood_pressure")
    expect(page.get_by_test_id("value-blood_pressure").first).to_contain_text("185", timeout=40_000)
    page.get_by_test_id("confirm-blood_pressure").click()
    page.get_by_test_id("critical").wait_for()
    album.both(page, f"{url}measure", "critical")
    for language in LANGUAGES:
        page.goto(f"{url}measure?lang={language}")
        page.get_by_test_id("critical-referred").check(force=True)
        page.get_by_test_id("receiver-hospital").click()
        album.keep(page, "critical-call", language)
    doctor.answer_red()


def emergency(demo: Demo, doctor: VillageDoctor, album: Album) -> None:
    """From the button to the summary; then the van drives."""
    url, page = demo.touchscreen, doctor.page
    album.both(page, f"{url}emergency", "emergency-ask")
    page.get_by_test_id("emergency-start").click()
    page.get_by_test_id("emergency-clock").wait_for()
    page.get_by_test_id("list-stroke").click()
    page.get_by_test_id("step-last_well").click()
    album.both(page, f"{url}emergency?list=stroke", "emergency", 2000)
    page.get_by_test_id("emergency-end").click()
    page.get_by_test_id("outcome-handed_over").click()
    page.get_by_test_id("emergency-summary").wait_for()
    album.both(page, page.url.partition("?")[0], "emergency-summary")


def driving(demo: Demo, doctor: VillageDoctor, album: Album) -> None:
    """The van sets off and stops again."""
    place = demo.simulate("state")["position"]
    where = {name: place[name] for name in ("latitude_deg", "longitude_deg")}
    page = doctor.page
    page.goto(f"{demo.touchscreen}today")
    demo.simulate("position", **where, speed_km_h=40)
    page.get_by_test_id("driving").wait_for()
    album.both(page, f"{demo.touchscreen}today", "driving")
    demo.simulate("position", **where, speed_km_h=0)
    page.get_by_test_id("driving").wait_for(state="hidden")


def _fill(page: Page, kind: str, name: str, sex: str, born_on: str) -> None:
    page.get_by_test_id(f"kind-{kind}").check(force=True)
    page.get_by_test_id("name").fill(name)
    page.get_by_test_id(f"sex-{sex}").check(force=True)
    page.get_by_test_id("born-on").fill(born_on)


def opened(page: Page, album: Album, url: str, opener: str, name: str) -> None:
    """A dialog of a page, in both languages."""
    for language in LANGUAGES:
        page.goto(f"{url}?lang={language}")
        page.get_by_test_id(opener).click()
        album.keep(page, name, language)
    page.keyboard.press("Escape")


def _day(days: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()
