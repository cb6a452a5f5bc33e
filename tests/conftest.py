"""What holds for all tests."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "same_each_time", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same_each_time")
"""The same examples in each run, however long one takes: a commit is judged by what it changed. New examples are looked
for by ``python -m tests.devices.fuzz_drivers``; speed is measured by ``make bench``."""
