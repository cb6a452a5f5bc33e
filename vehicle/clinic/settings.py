"""Settings of the clinic: the ``[clinic]`` table of the vehicle's settings file."""

from __future__ import annotations

from pydantic import Field

from sync.settings_file import Settings


class ClinicSettings(Settings):
    rules_on: tuple[str, ...] = ()
    """Rules that ship switched off, switched on after a clinician of the county has signed them off."""
    rules_off: tuple[str, ...] = ()
    altitude_m: int | None = Field(default=None, ge=-200, le=6000)
    """Of the villages served. Without it SpO2 has no grade."""
    spo2_baseline_p2_5: int | None = Field(default=None, ge=50, le=100)
    """2.5th percentile of SpO2 of healthy people here; needed at 2500 m and above."""
