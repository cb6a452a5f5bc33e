"""The demo that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.whole.stage import WFDB_RECORD, Demo, start_demo, stop_demo


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    ecg = ["--ecg", str(WFDB_RECORD)] if WFDB_RECORD.with_suffix(".hea").exists() else []
    running = start_demo("--history-days", "4", "--no-morning", *ecg)
    yield running
    stop_demo(running)
