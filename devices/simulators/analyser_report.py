"""What a simulated analyser has found: one specimen, as it would stand on its own display."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    code: str
    said: str
    unit: str = ""
    reference_range: str = ""
    flags: tuple[str, ...] = ()
    loinc: str = ""
    """For analysers that send it."""


@dataclass(frozen=True, slots=True)
class SpecimenReport:
    specimen: str
    said_at: str
    """``YYYYMMDDHHMMSS`` by the analyser's clock."""
    found: tuple[Found, ...]
    control: bool = False
    person: str = ""
    """Of a made-up person, as typed at the analyser."""
