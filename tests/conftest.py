"""What holds for all tests."""

from hypothesis import HealthCheck, settings

settings.register_profile("no_stopwatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no_stopwatch")
"""How long an example takes says how busy the machine is: speed is measured by ``make bench``."""
