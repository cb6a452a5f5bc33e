"""What a specialist is told and helped with, in real Chromium: ringing, a search of ICD-10, what the browser lacks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Browser, Page
from test_specialist import PASSWORD, WITHIN_MS, Stage, becomes, browser, clips, enter_session, signed_in, stage, until

pytestmark = pytest.mark.browser
__all__ = ["browser", "clips", "stage"]

NO_MICROPHONE_AT_FIRST = """() => {
  const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
  window.allowed = false;
  const refuse = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
  devices.getUserMedia = (wanted) => (window.allowed ? ask(wanted) : refuse());
}"""
NO_H264 = """() => {
  const asked = RTCRtpReceiver.getCapabilities.bind(RTCRtpReceiver);
  const others = ({ mimeType }) => !/h264/i.test(mimeType);
  RTCRtpReceiver.getCapabilities = (kind) => ({ codecs: asked(kind).codecs.filter(others) });
}"""


async def type_in(page: Page, test_id: str, words: str) -> None:
    await page.get_by_test_id(test_id).fill("")
    await page.get_by_test_id(test_id).press_sequentially(words)


async def chosen(page: Page) -> tuple[str, str]:
    fields = [page.get_by_test_id(name) for name in ("opinion-diagnosis", "opinion-icd10")]
    return await fields[0].input_value(), await fields[1].input_value()


async def test_an_invitation_rings_until_somebody_looks_and_declines(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await page.get_by_text("现在没有邀请").wait_for()
        assert await page.get_by_test_id("ring").get_attribute("data-ring") == "on"
        stage.vehicle.request()
        await becomes(page, "Number(document.body.dataset.ringing) >= 2")  # and again, until somebody looks
        assert await page.title() == "（1）邀请 巡诊"
        await page.mouse.click(5, 400)
        assert await page.evaluate("document.body.dataset.ringing ?? ''") == ""
        await page.reload()
        await page.get_by_test_id("invitation").wait_for()
        assert await page.evaluate("document.body.dataset.ringing ?? ''") == "", "what was heard does not ring anew"
        await page.get_by_test_id("ring").click()
        assert await page.get_by_test_id("ring").text_content() == "铃声已关"
        await page.reload()
        assert await page.get_by_test_id("ring").get_attribute("data-ring") == "off"
        await page.get_by_test_id("decline-invitation").click()
        await page.get_by_test_id("confirm-decline").click()
        assert await page.get_by_test_id("decline-dialog").is_visible(), "nobody has chosen a reason yet"
        await page.get_by_test_id("decline-in_surgery").check(force=True)
        await page.get_by_test_id("cancel-decline").click()
        await page.get_by_test_id("decline-invitation").click()
        assert not await page.get_by_test_id("decline-in_surgery").is_checked()
        await page.get_by_test_id("decline-not_my_field").check(force=True)
        await page.get_by_test_id("decline-reason").fill("请找何平")
        await page.keyboard.press("Enter")
        await until(lambda: stage.vehicle.events[-1][0] == "declined")
        assert stage.vehicle.events[-1][2] == "not_my_field\n请找何平", "a code, which the van says in its language"


async def test_a_diagnosis_is_found_by_its_letters_and_what_is_missing_is_shown(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await enter_session(stage, page)
        await type_in(page, "opinion-diagnosis", "gxljq")
        await page.get_by_role("option").first.wait_for()
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        assert await chosen(page) == ("肝细粒棘球蚴病", "B67.0")
        await type_in(page, "opinion-icd10", "i480")
        await page.get_by_role("option", name="阵发性心房颤动").click()
        assert await chosen(page) == ("阵发性心房颤动", "I48.0")
        await type_in(page, "opinion-diagnosis", "心律")
        await page.keyboard.press("Escape")
        assert await page.get_by_test_id("icd-list").is_hidden()
        assert await chosen(page) == ("心律", ""), "another diagnosis does not keep the last one's code"
        await type_in(page, "opinion-icd10", "i480")
        await page.get_by_role("option", name="阵发性心房颤动").click()
        await page.get_by_test_id("opinion-diagnosis").press("End")
        await page.get_by_test_id("opinion-diagnosis").press_sequentially("，心室率快")
        assert await chosen(page) == ("阵发性心房颤动，心室率快", "I48.0"), "words added to it do"
        await type_in(page, "opinion-diagnosis", "没有编码的诊断")
        await becomes(page, "document.getElementById('icd-list').hidden")

        await page.get_by_test_id("sign-password").fill(PASSWORD)
        await page.get_by_test_id("sign-opinion").click()
        assert "所见" in (await page.get_by_test_id("sign-told").text_content() or "")
        assert await page.evaluate("document.activeElement.name") == "findings"
        missing = "[...document.querySelectorAll('[data-missing] [name]')].map(({ name }) => name)"
        assert set(await page.evaluate(missing)) == {"findings", "action", "advice"}
        await page.close(run_before_unload=False)
        again = await browser.contexts[0].new_page()
        await again.goto("/specialist/consultations/consultation-1")
        assert await chosen(again) == ("没有编码的诊断", ""), "a closed window loses no word"


async def test_without_a_microphone_one_listens_and_may_speak_later(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        await page.context.add_init_script(f"({NO_MICROPHONE_AT_FIRST})()")
        await enter_session(stage, page)
        mute = page.get_by_test_id("mute")
        assert await mute.get_attribute("data-voice") == "none"
        await mute.click()
        await becomes(page, "document.getElementById('mute').title.includes('地址栏')")
        await page.evaluate("() => { window.allowed = true; }")
        await mute.click()
        await until(lambda: any(line.received_frames > 20 for line in stage.van._engine.voices._lines))
        assert await mute.get_attribute("data-voice") == "open"


@pytest.mark.parametrize(
    ("lacking", "words"),
    [("() => { delete window.RTCPeerConnection; }", "不能视频会诊"), (NO_H264, "H.264")],
    ids=["no-webrtc", "no-h264"],
)
async def test_a_browser_that_cannot_is_told_so_and_can_still_sign(
    stage: Stage, browser: Browser, lacking: str, words: str
) -> None:
    async with signed_in(browser, stage) as page:
        await page.context.add_init_script(f"({lacking})()")
        stage.vehicle.request()
        await page.get_by_test_id("accept-invitation").click(timeout=WITHIN_MS)
        await page.get_by_test_id("link-quality").get_by_text(words).wait_for()
        await page.get_by_test_id("template-liver_cyst").click()
        await page.get_by_test_id("sign-password").fill(PASSWORD)
        await page.get_by_test_id("sign-opinion").click()
        await until(lambda: len(stage.vehicle.opinions) == 1)
        said: dict[str, Any] = json.loads(stage.vehicle.opinions[0].signed_text)
        assert said["opinion"]["icd10"] == "K76.8"


async def test_a_case_that_is_taken_back_says_so(stage: Stage, browser: Browser) -> None:
    async with signed_in(browser, stage) as page:
        stage.vehicle.request()
        await page.get_by_test_id("accept-invitation").click(timeout=WITHIN_MS)
        await page.wait_for_url("**/specialist/consultations/consultation-1", timeout=WITHIN_MS)
        await page.get_by_test_id("case-summary").get_by_text("杨桂芳").wait_for()
        stage.exchange.rooms._forget("consultation-1")
        await page.get_by_test_id("gone").get_by_role("link").wait_for()
        assert await page.get_by_test_id("hang-up").is_hidden()
        assert "不在您名下" in (await page.get_by_test_id("link-quality").text_content() or "")


async def test_the_vans_words_are_read_in_the_pages_language(stage: Stage, browser: Browser) -> None:
    stage.vehicle.beside = {
        "prompts": [
            {"title": "血压 2 级", "result": "162/98", "advice": "两周内复测", "grade": "orange", "source": []}
        ],
        "background": {"asked": True, "allergies": [], "history": [{"title": "既往史", "text": "牧区长大"}]},
        "words": {"en": {"血压 2 级": "Grade 2 hypertension", "两周内复测": "Repeat in 2 weeks", "既往史": "History"}},
    }
    async with signed_in(browser, stage, "?lang=en") as page:
        await enter_session(stage, page)
        prompt = page.get_by_test_id("prompts").locator("li > span").first
        assert await prompt.text_content() == "Grade 2 hypertension"
        assert await prompt.get_attribute("title") == "162/98\nRepeat in 2 weeks"
        summary = await page.get_by_test_id("case-summary").text_content() or ""
        assert "History: 牧区长大" in summary, "what was typed stays as it was typed"
        await page.goto("/specialist/consultations/consultation-1?lang=zh")
        await page.get_by_test_id("prompts").get_by_text("血压 2 级").wait_for()
