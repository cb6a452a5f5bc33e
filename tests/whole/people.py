"""The three people of the demo, as they use their pages: real Chromium, clicks and typing only."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from tests.whole.stage import CHROMIUM

YANG = {
    "name": "杨桂芳",
    "sex": "female",
    "born_on": "1958-04-26",
    "id_number": "999901195804260429",
    "address": "青峪县白果镇云坪村3组12号",
}


KEEP_CONNECTIONS = """
  window.connections = [];
  window.RTCPeerConnection = class extends window.RTCPeerConnection {
    constructor(...settings) { super(...settings); window.connections.push(this); }
  };
"""


def launch(playwright: Playwright) -> Browser:
    """Chromium with a camera and a microphone of its own making, allowed to sound without a click."""
    return playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=[
            *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
            "--autoplay-policy=no-user-gesture-required",
        ],
    )


def context(browser: Browser, width: int = 1280, height: int = 800) -> BrowserContext:
    pages = browser.new_context(
        viewport={"width": width, "height": height},
        permissions=["microphone"],
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
    )
    pages.add_init_script(KEEP_CONNECTIONS)
    return pages


class VillageDoctor:
    """周敏 at the touchscreen."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url

    def go(self, place: str) -> None:
        self.page.goto(f"{self._url}{place}")

    def sign_in(self, person: str = "zhou.min", pin: str = "2580") -> None:
        self.go("sign-in")
        self.page.get_by_test_id(f"person-{person}").check(force=True)
        for digit in pin:
            self.page.get_by_test_id(f"key-{digit}").click()
        enter = self.page.get_by_test_id("sign-in")
        if enter.count() and "/sign-in" in self.page.url:
            enter.click()
        self.page.wait_for_url("**/today")

    def start_visit(self) -> None:
        self.go("today")
        expect(self.page.get_by_test_id("proposed")).to_contain_text("云坪村")
        self.page.get_by_test_id("start-visit").click()
        expect(self.page.get_by_test_id("end-visit")).to_be_visible()

    def photograph_the_sign(self) -> None:
        """One touch takes the photo, a second keeps it."""
        self.go("today")
        self.page.get_by_test_id("photo").click()
        expect(self.page.get_by_test_id("waiting-photo")).to_be_visible(timeout=20_000)
        self.page.get_by_test_id("keep-photo").click()
        self.page.wait_for_url("**/today")

    def confirm(self, kind: str) -> None:
        """Bring the tile into focus and confirm the value that has arrived."""
        self.go(f"measure?focus={kind}")
        self.page.get_by_test_id(f"confirm-{kind}").click()
        expect(self.page.locator(f'[data-testid="tile-{kind}"][data-state="confirmed"]').first).to_be_visible()

    def answer_red(self) -> None:
        """A red value cannot be left without an answer: refer."""
        expect(self.page.get_by_test_id("critical")).to_be_visible()
        self.page.get_by_test_id("critical-told").check(force=True)
        self.page.get_by_test_id("critical-referred").check(force=True)
        self.page.get_by_test_id("critical-receiver").fill("县医院急诊科")
        self.page.get_by_test_id("critical-read-back").check(force=True)
        self.page.get_by_test_id("critical-leave").click()
        expect(self.page.get_by_test_id("critical")).to_have_count(0)

    def request_consultation(self, **fields: str) -> None:
        self.go("consult")
        for name, text in fields.items():
            self.page.get_by_test_id(name).fill(text)
        self.page.get_by_test_id("read-aloud").check(force=True)
        self.draw_signature()
        self.page.get_by_test_id("request-consultation").click()
        expect(self.page.locator('[data-testid="consultation-state"]')).to_be_visible()

    def draw_signature(self) -> None:
        box = self.page.get_by_test_id("signature-pad").bounding_box()
        assert box is not None
        mouse = self.page.mouse
        mouse.move(box["x"] + 30, box["y"] + box["height"] * 0.6)
        mouse.down()
        for step in range(1, 30):
            mouse.move(box["x"] + 30 + step * 8, box["y"] + box["height"] * (0.5 + 0.25 * (-1) ** step))
        mouse.up()

    def decide(self, plan: str, pin: str = "2580") -> None:
        self.page.get_by_test_id("open-decision").click()
        self.page.get_by_test_id("decision-accept").check(force=True)
        self.page.get_by_test_id("plan").fill(plan)
        self.page.get_by_test_id("pin").fill(pin)
        self.page.get_by_test_id("sign-decision").click()
        expect(self.page.get_by_test_id("decision")).to_contain_text(plan)


def sign_in_at_county(page: Page, url: str, account: str, password: str) -> None:
    page.goto(url)
    page.get_by_test_id("account").fill(account)
    page.get_by_test_id("password").fill(password)
    page.get_by_test_id("sign-in").click()
    page.wait_for_load_state()


def picture_numbers(page: Page, feed: str) -> dict[str, Any]:
    """Time, size and a coarse fingerprint of what a video element shows now."""
    return dict(
        page.evaluate(
            """(feed) => {
              const video = document.querySelector(`video[data-feed="${feed}"]`);
              const canvas = Object.assign(document.createElement('canvas'), { width: 32, height: 24 });
              const pen = canvas.getContext('2d');
              pen.drawImage(video, 0, 0, 32, 24);
              const { data } = pen.getImageData(0, 0, 32, 24);
              return { at: video.currentTime, width: video.videoWidth, height: video.videoHeight, print: [...data] };
            }""",
            feed,
        )
    )


def sound_energy(page: Page) -> float:
    """Energy of the sound that has arrived over WebRTC, as Chromium counts it (totalAudioEnergy of webrtc-stats)."""
    return float(
        page.evaluate(
            """async () => {
              let energy = 0;
              for (const connection of window.connections)
                for (const row of (await connection.getStats()).values())
                  if (row.type === 'inbound-rtp' && row.kind === 'audio') energy += row.totalAudioEnergy ?? 0;
              return energy;
            }"""
        )
    )
