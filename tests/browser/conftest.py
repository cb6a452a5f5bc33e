"""Real Chromium for the page tests: one browser a module, a helper that judges a page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "sync"))
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

Complaints = Callable[[Any], list[str]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium of the distribution, one a module.

    While it is open, Playwright keeps an event loop running on this thread, where no coroutine can be run: a module
    with this fixture has no async tests, and what it needs from coroutines comes from ``run_apart``.
    """
    if not CHROMIUM.exists():
        pytest.skip(f"skipped: no {CHROMIUM}")
    with playwright_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of the smallest panel, in a context of its own; a script of it that raises fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    faults: list[str] = []
    opened.on("pageerror", lambda fault: faults.append(str(fault)))
    yield opened
    context.close()
    assert faults == []


@pytest.fixture(scope="session")
def complaints() -> Complaints:
    """``complaints(page)``: what is wrong with a page as it stands; empty means clean (see page_check.js)."""
    script = (HERE / "page_check.js").read_text(encoding="utf-8")

    def judge(page: Any) -> list[str]:
        page.evaluate("document.fonts.ready")
        found: list[str] = page.evaluate(script)
        return found

    return judge
