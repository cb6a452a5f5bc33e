"""The county's screening rules in real Chromium: a number is changed, looked at, signed; a rule is switched on; a file
is brought back. And the list of referrals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from county_month import PASSWORD, Founded, at
from page_server import run_apart, serving

from devices.clock import SimulatedClock
from sync.formats.records import Draft
from sync.screening.rule_file import shipped_text

pytestmark = pytest.mark.browser

PICTURES = os.environ.get("XUNZHEN_PICTURES")
"""A folder to put pictures of every page into, in every language and light, for people to look at."""
LOOKS = [("zh", "night"), ("en", "day"), *([("zh", "day"), ("en", "night")] if PICTURES else [])]
SIZE = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    folder = tmp_path_factory.mktemp("county")
    founded = run_apart(lambda: _made(folder))
    yield founded
    founded.close()


async def _made(folder: Path) -> Founded:
    founded = Founded(folder, SimulatedClock(at(9, 10, 8)))
    van = founded.van("van-07")
    person = {"patient": "p1", "name": "杨桂芳", "sex": "female", "source": "card", "phone": "13800000000"}
    sent = {
        "referral": "ref-1",
        "patient": "p1",
        "to": "县人民医院",
        "urgency": "emergency",
        "reason": "危急，处理后紧急转诊",
        "findings": "收缩压 182 mmHg",
        "results": [],
        "follow_up_on": "2026-09-24",
    }
    late = {**sent, "referral": "ref-2", "urgency": "routine", "to": "白果镇卫生院", "follow_up_on": "2026-09-01"}
    van.store.commit_now(Draft("patient/1", person, by="zhou.min"))
    van.store.commit_now(Draft("referral/1", sent, by="zhou.min"), Draft("referral/1", late, by="zhou.min"))
    await van.deliver()
    return founded


@pytest.fixture(scope="module")
def address(founded: Founded) -> Iterator[str]:
    with serving(founded.app) as url:
        yield url


@contextmanager
def signed_in(browser: Any, address: str) -> Iterator[Any]:
    """A page of the administrator. What is refused (422) is a console error of Chromium's; script faults count."""
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.goto(f"{address}/sign-in")
    page.get_by_test_id("account").fill("xu.jing")
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("sign-in").click()
    page.wait_for_selector("main.main")
    yield page
    context.close()
    assert faults == []


def looked_at(page: Any, name: str, complaints: Callable[[Any], list[str]]) -> list[str]:
    """What is wrong with this page in both languages, by night and by day. The page is reached by GET."""
    found, base = [], page.url.partition("?")[0]
    for language, theme in LOOKS:
        page.goto(f"{base}?lang={language}&theme={theme}")
        found += [f"{name} {language} {theme}: {said}" for said in complaints(page)]
        if PICTURES:
            page.screenshot(path=str(Path(PICTURES) / f"{name}-{language}-{theme}.png"))
    page.goto(f"{base}?lang=zh&theme=day")
    return found


def test_a_number_is_changed_looked_at_and_signed(
    browser: Any, founded: Founded, address: str, complaints: Callable[[Any], list[str]], tmp_path: Path
) -> None:
    with signed_in(browser, address) as page:
        page.goto(f"{address}/county/screening-rules")
        wrong = looked_at(page, "county-rules", complaints)
        assert page.get_by_test_id("rule-TEMP").get_attribute("data-on") == "no"
        page.get_by_test_id("open-BP-GRADE").click()
        page.get_by_test_id("screening-rule").wait_for()
        wrong += looked_at(page, "county-rule", complaints)
        number = page.get_by_test_id("number-cases-0-any-0")
        assert number.input_value() == "180"
        number.fill("18O")
        page.get_by_test_id("look").click()
        page.get_by_test_id("problem").wait_for()
        page.get_by_test_id("number-cases-0-any-0").fill("185")
        page.get_by_test_id("look").click()
        page.get_by_test_id("differences").wait_for()
        assert "180" in page.get_by_test_id("differences").inner_text()
        assert "HTN3" in page.get_by_test_id("turned").inner_text()
        wrong += [f"preview: {said}" for said in complaints(page)]
        page.get_by_test_id("reason").fill("县里会议定的")
        page.get_by_test_id("sign").click()
        page.get_by_test_id("said").wait_for()
        page.get_by_test_id("open-TEMP").click()
        page.get_by_test_id("switch-yes").check()
        page.get_by_test_id("look").click()
        page.get_by_test_id("problem").wait_for()
        page.get_by_test_id("switch-yes").check()
        page.get_by_test_id("reason").fill("核对过教材")
        page.get_by_test_id("look").click()
        page.get_by_test_id("reason").fill("冬天要看体温")
        page.get_by_test_id("sign").click()
        page.get_by_test_id("said").wait_for()
        assert page.get_by_test_id("rule-TEMP").get_attribute("data-on") == "yes"
        broken = tmp_path / "rules.json"
        broken.write_text(shipped_text().replace('"op": ">="', '"op": "=>"', 1), encoding="utf-8")
        page.get_by_test_id("file").set_input_files(str(broken))
        page.get_by_test_id("upload").click()
        page.get_by_test_id("problem").wait_for()
        page.goto(f"{address}/county/registry")
        assert "筛查规则第 2 版" in page.get_by_test_id("registry").inner_text()
        assert "\n".join(wrong) == ""
    editions = founded.county.screening_rules.editions()
    assert [(one.number, one.rules) for one in editions] == [(2, ("TEMP",)), (1, ("BP-GRADE",)), (0, ())]


def test_the_list_of_referrals(browser: Any, address: str, complaints: Callable[[Any], list[str]]) -> None:
    with signed_in(browser, address) as page:
        page.goto(f"{address}/county/coverage")
        page.get_by_test_id("nav-group-work").click()
        page.get_by_test_id("nav-referrals").click()
        page.get_by_test_id("referral-ref-1").wait_for()
        wrong = looked_at(page, "county-referrals", complaints)
        page.get_by_test_id("show-overdue").click()
        page.get_by_test_id("referral-ref-2").wait_for()
        assert page.get_by_test_id("referral-ref-1").count() == 0
        assert "\n".join(wrong) == ""
