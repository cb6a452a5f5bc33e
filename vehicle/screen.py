"""``python -m vehicle.screen --page URL -- COMMAND...``: the kiosk browser, kept by the service manager like the rest.

Waits until the touchscreen answers, starts the command with the browser's switches and the page, tells the service
manager READY, and beats the watchdog while the browser runs and the page answers. When the browser ends, so does this
process, with its exit code, and the service manager starts both anew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urljoin

from devices.clock import Clock, SystemClock
from devices.events import emit
from sync.service import READY, beat, log_to_stderr, notify, stop_on_signals

LOOK_EVERY_S = 0.5
SILENT_AFTER_S = 20.0
GOODBYE_WITHIN_S = 5.0


def switches(profile: Path) -> list[str]:
    """Chromium as an instrument: one page, full screen, no bubbles, no gestures, nothing sent to anybody."""
    return [
        "--kiosk",
        "--ozone-platform-hint=auto",
        "--no-first-run",
        "--no-default-browser-check",
        "--noerrdialogs",
        "--disable-session-crashed-bubble",
        "--disable-pinch",
        "--overscroll-history-navigation=0",
        "--disable-features=Translate,TouchpadOverscrollHistoryNavigation",
        "--disable-background-networking",
        "--disable-component-update",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-ui-for-media-stream",  # the microphone of a consultation, without a question nobody can answer
        "--touch-events=enabled",
        f"--user-data-dir={profile}",
    ]


class Page:
    """Whether the touchscreen answers at ``url``."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = urljoin(url, "/health")
        self._clock = clock
        self._answered_mono_s = clock.monotonic_s()

    @property
    def alive(self) -> bool:
        """It has answered within the last 20 s."""
        return self._clock.monotonic_s() - self._answered_mono_s < SILENT_AFTER_S

    async def answers(self) -> bool:
        """Ask once."""
        try:
            await asyncio.to_thread(self._get)
        except (OSError, HTTPException):  # the latter: it was ended in the middle of its answer
            return False
        self._answered_mono_s = self._clock.monotonic_s()
        return True

    async def wait(self) -> None:
        """Ask until it answers."""
        while not await self.answers():
            await self._clock.sleep(LOOK_EVERY_S)

    async def watch(self) -> None:
        """Ask every few seconds, for ever."""
        while True:
            await self.answers()
            await self._clock.sleep(SILENT_AFTER_S / 4)

    def _get(self) -> None:
        with urllib.request.urlopen(self._url, timeout=5) as answer:
            answer.read()


async def show(url: str, command: Sequence[str], profile: Path, clock: Clock) -> int:
    """Run the browser on ``url`` until it ends (its exit code) or a signal comes (0)."""
    page = Page(url, clock)
    await page.wait()
    browser = await asyncio.create_subprocess_exec(*command, *switches(profile), url)
    asked = asyncio.Event()
    stop_on_signals(asked.set)
    notify(READY)
    emit("service_started", service="screen")
    helpers = [asyncio.create_task(page.watch()), asyncio.create_task(beat(lambda: page.alive, clock))]
    ended, stopping = asyncio.create_task(browser.wait()), asyncio.create_task(asked.wait())
    await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for helper in (*helpers, stopping):
        helper.cancel()
    if ended.done():
        return ended.result()
    with contextlib.suppress(ProcessLookupError):
        browser.terminate()
    try:
        await asyncio.wait_for(ended, GOODBYE_WITHIN_S)
    except TimeoutError:
        browser.kill()
    return 0


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m vehicle.screen", description=__doc__)
    options.add_argument("--page", required=True, help="address of the touchscreen, e.g. http://127.0.0.1:8400/")
    options.add_argument("command", nargs="+", help="the browser, with a compositor in front of it if need be")
    arguments = options.parse_args()
    log_to_stderr("screen")
    profile = Path(os.environ.get("STATE_DIRECTORY") or Path.home()) / "chromium"
    return asyncio.run(show(arguments.page, arguments.command, profile, SystemClock()))


if __name__ == "__main__":
    sys.exit(main())
