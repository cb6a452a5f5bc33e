"""What the tests of both verifiers share: the offline page in a browser, and the bundles of a lived-through month."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sync.evidence_attacks import Case, Month, case_of
from tests.sync.second_verifier import ARGUMENTS, Verifier, opened

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser(evidence_month: Month) -> Iterator[Any]:
    """Opened after the month was lived through: while it is open no coroutine can run on this thread."""
    playwright_api = pytest.importorskip("playwright.sync_api", reason="skipped: playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"skipped: no {CHROMIUM}")
    with playwright_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def second(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    with opened(browser, tmp_path_factory.mktemp("verifier")) as verifier:
        yield verifier


@pytest.fixture(scope="module")
def case(evidence_month: Month) -> Case:
    return case_of(evidence_month, "first")


@pytest.fixture(scope="module")
def bundles(evidence_month: Month) -> dict[str, bytes]:
    county, visits = evidence_month
    found = {name: county.of_visit(visit).data for name, visit in visits.items()}
    return {**found, **{f"month {n}": county.of_village(village).data for n, village in enumerate(county.villages[:4])}}
