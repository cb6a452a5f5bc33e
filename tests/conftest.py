"""What holds for all tests."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "same_each_time", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same_each_time")
"""The same examples in each run, however long one takes: a commit is judged by what it changed. New examples are looked
for by ``python -m tests.devices.fuzz_drivers``; speed is measured by ``make bench``."""

SLOW_FIRST = ("tests/whole/", "tests/browser/", "tests/telemedicine/", "tests/powercut/", "tests/sync/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no process is left alone with it at the end."""

    def rank(item: pytest.Item) -> int:
        return next(
            (place for place, folder in enumerate(SLOW_FIRST) if item.nodeid.startswith(folder)), len(SLOW_FIRST)
        )

    items.sort(key=rank)
