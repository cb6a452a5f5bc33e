"""What analysers measure, as data: ``analytes.toml`` the analytes, ``analysers.toml`` whose code means which of them.

A result is never dropped and never guessed: a code that the map of its analyser does not have keeps the analyser's own
name; so does one whose unit cannot be that of the analyte (some firmware mixes up the codes of share and count).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

GROUPS = ("blood_count", "chemistry", "urine")
"""In the order in which a report shows them."""


@dataclass(frozen=True, slots=True)
class Analyte:
    """One row of ``analytes.toml``."""

    key: str
    group: str
    zh: str
    en: str
    loinc: str | None
    ucum: str
    """The unit of ``LaboratoryValue.quantity``."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """UCUM unit -> what to multiply by to get ``ucum``."""

    def converted(self, number: float, unit: str) -> float | None:
        """``number`` of ``unit`` as sent in the analyte's own unit, to six significant digits; None: it can't be.

        No unit at all is the analyte's own; whether that may be assumed is the caller's question.
        """
        ucum = ucum_of(unit)
        if ucum in ("", self.ucum):
            return number
        factor = self.factors.get(ucum)
        return None if factor is None else float(f"{number * factor:.6g}")


@dataclass(frozen=True, slots=True)
class Analyser:
    """One row of ``analysers.toml``: whose sender text matches ``sender`` names analytes by ``codes``."""

    id: str
    sender: re.Pattern[str]
    codes: Mapping[str, str]
    source: str
    specimen_component: int = 1
    """Which component of ASTM O-3 and O-4 is the specimen's number; others are rack and position."""


@cache
def analytes() -> dict[str, Analyte]:
    """By key, in the order of a report."""
    rows = _table("analytes.toml")
    found = {}
    for key, row in rows["analyte"].items():
        loinc = row.get("loinc")
        found[key] = Analyte(
            key, row["group"], row["zh"], row["en"], loinc, row["ucum"], {k: float(v) for k, v in row["from"].items()}
        )
    return found


@cache
def analysers() -> tuple[Analyser, ...]:
    return tuple(
        Analyser(
            row["id"],
            re.compile(row["sender"], re.IGNORECASE),
            dict(row["codes"]),
            row["source"],
            row.get("specimen_component", 1),
        )
        for row in _table("analysers.toml")["analyser"]
    )


def analyser_of(sender: str) -> Analyser | None:
    """The row of an analyser by what it calls itself."""
    return next((row for row in analysers() if row.sender.search(sender)), None)


@cache
def ucum_units() -> dict[str, str]:
    """How analysers spell units -> UCUM."""
    return {str(said): str(ucum) for said, ucum in _table("analytes.toml")["unit"].items()}


@cache
def _by_loinc() -> dict[str, Analyte]:
    return {analyte.loinc: analyte for analyte in analytes().values() if analyte.loinc}


def ucum_of(unit: str) -> str:
    """UCUM of a unit as sent; what is not in the table stays as it is."""
    return ucum_units().get(unit.strip(), unit.strip())


def analyte_of(sender: str, code: str, unit: str, loinc: str | None = None) -> Analyte | None:
    """The analyte that ``code`` means to the analyser ``sender``; None: not known, or the unit can't be its own.

    :param loinc: the LOINC code, where the analyser itself gives one
    """
    found = _by_loinc().get(loinc) if loinc else None
    if found is None:
        analyser = analyser_of(sender)
        found = analytes().get(analyser.codes.get(code, "")) if analyser else None
    if found is None:
        return None
    ucum = ucum_of(unit)
    return found if not ucum or ucum == found.ucum or ucum in found.factors else None


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__name__).joinpath(name).read_text(encoding="utf-8"))
