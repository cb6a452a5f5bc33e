"""Which configured device measures what, read from the labels of their drivers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from devices.analytes import analytes
from devices.driver import About
from vehicle.clinic import laboratory_report

_TYPE_OF = {
    "systolic_mmhg": "blood_pressure",
    "glucose_mmol_l": "glucose",
    "spo2_percent": "pulse_oximetry",
    "temperature_c": "temperature",
    "weight_kg": "weight",
    "heart_rate_bpm": "heart_rate",
    "uric_acid_umol_l": "uric_acid",
} | dict.fromkeys(analytes(), laboratory_report.TYPE)


class Configured(Protocol):
    """One ``[[devices]]`` row of the settings."""

    @property
    def name(self) -> str: ...

    @property
    def driver(self) -> str: ...

    @property
    def link(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Instrument:
    device: str
    types: tuple[str, ...]
    speaks_when_used: bool
    """Silent and unlinked between measurements (a cuff, a meter): not missing because it is not connected."""


def instruments(devices: Iterable[Configured], label: Callable[[str], About]) -> tuple[Instrument, ...]:
    """The devices that fill tiles, in the order of the settings; ``label`` is ``devices.catalog.about``."""
    found = []
    for row in devices:
        about = label(row.driver)
        types = tuple(dict.fromkeys(_TYPE_OF[metric.key] for metric in about.metrics if metric.key in _TYPE_OF))
        if types:
            found.append(Instrument(row.name, types, about.speaks_when_used(row.link)))
    return tuple(found)
