"""A laboratory result between its three forms: the analyser's, the journal's, what a person reads. Pure.

An entry knows no floats: numbers stand as the text the analyser sent; what was converted, as decimal text. Out of range
is what the analyser says itself: its flag, else its own reference range; never a range of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devices.analytes import GROUPS, analytes
from devices.laboratory import number_of
from devices.readings import LaboratoryResult, LaboratoryValue
from sync.formats.canonical import Json

TYPE = "laboratory"
WITHDRAWS = ("D", "W")
"""Status of a value (HL7 table 0085) that holds none: an earlier one is no longer true."""
REPLACES = ("C", *WITHDRAWS)
PRELIMINARY = ("P", "R", "S")
"""Another one will follow: preliminary, entered and not verified, partial."""
MATERIALS = ("blood", "urine")
OTHER = "other"
"""Group of analytes that our map does not know."""
_MATERIAL_OF = {"blood_count": "blood", "chemistry": "blood", "urine": "urine"}
RULE_INPUTS = {
    "glucose": "glu",
    "hba1c": "hba1c",
    "total_cholesterol": "tc",
    "hdl": "hdl",
    "triglycerides": "tg",
    "hgb": "hb",
    "plt": "plt",
    "wbc": "wbc",
}
"""Analyte -> input of the screening rules."""

_SIDES = {
    "H": "high",
    "HH": "high",
    ">": "high",
    "L": "low",
    "LL": "low",
    "<": "low",
    "A": "abnormal",
    "AA": "abnormal",
}
_STATUSES = {**dict.fromkeys(PRELIMINARY, "preliminary"), "C": "corrected", "X": "not_obtained"}
_RANGE = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*(?:-|~|–|to)\s*(-?[0-9]+(?:\.[0-9]+)?)")
_BOUND = re.compile(r"(<=|>=|<|>|≤|≥)\s*(-?[0-9]+(?:\.[0-9]+)?)")
_POSITIVE = re.compile(r"±|\+.*|[1-4]\+|pos.*|阳性.*|弱阳性", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One analyte in a table."""

    name: str
    """In the reader's language; the analyser's own code when our map does not know it."""
    code: str
    said: str
    unit: str
    reference_range: str
    side: str
    """high, low, abnormal, or empty: not out of range as far as the analyser says."""
    known: bool
    converted: str
    """ "6.16 mmol/L" where the analyser sent another unit; else empty."""
    status: str
    """preliminary, corrected, not_obtained, or empty: final, as far as the analyser says."""


@dataclass(frozen=True, slots=True)
class Group:
    key: str
    """blood_count, chemistry, urine or other."""
    rows: tuple[Row, ...]


def stored_values(result: LaboratoryResult) -> dict[str, Json]:
    """``values`` of a ``reading/1`` of type laboratory; what the analyser did not say is left out."""
    said: dict[str, Json | None] = {
        "specimen": result.specimen,
        "analyser": result.analyser or None,
        "material": result.material,
        "person_said": result.person_said,
        "message_id": result.message_id,
        "comments": list(result.comments) or None,
    }
    results: list[Json] = [_stored(value) for value in result.values]
    return {name: given for name, given in said.items() if given is not None} | {"results": results}


def _stored(value: LaboratoryValue) -> dict[str, Json]:
    analyte = analytes().get(value.key or "")
    said: dict[str, Json | None] = {
        "code": value.code,
        "said": value.said,
        "unit": value.unit or None,
        "key": value.key,
        "loinc": analyte.loinc if analyte else None,
        "number": decimal_text(value.number),
        "comparator": value.comparator,
        "quantity": decimal_text(value.quantity),
        "ucum": value.ucum,
        "reference_range": value.reference_range or None,
        "flags": list(value.flags) or None,
        "status": value.status or None,
    }
    return {name: given for name, given in said.items() if given is not None}


def holds(earlier: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether every value of a result is in an earlier one of the same specimen."""
    same = earlier.get("specimen") == stored.get("specimen")
    return same and all(value in earlier["results"] for value in stored["results"])


def replaces(earlier: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether a result of the same specimen corrects or withdraws something of an earlier one, or makes it final."""
    if earlier.get("specimen") != stored.get("specimen"):
        return False
    before = {value["code"]: value.get("status") for value in earlier["results"]}
    return any(
        value["code"] in before and (value.get("status") in REPLACES or before[value["code"]] in PRELIMINARY)
        for value in stored["results"]
    )


def replaced(earlier: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Json]:
    """What holds after both: of each analyte the later word, and nothing of what is withdrawn.

    :param earlier: empty: there is none
    """
    values = _made_final(earlier, stored["results"])
    codes = {value["code"] for value in values}
    comments = dict.fromkeys((*earlier.get("comments", ()), *stored.get("comments", ())))
    results = [value for value in earlier.get("results", ()) if value["code"] not in codes]
    results += [value for value in values if value.get("status") not in WITHDRAWS]
    together: dict[str, Json] = {**earlier, **stored, "results": results}
    return together | ({"comments": [*comments]} if comments else {})


def _made_final(earlier: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """``results`` with what status U says without a value: the preliminary value of before is final."""
    before = {v["code"]: v for v in earlier.get("results", ()) if v.get("status") in PRELIMINARY}
    told = [before.get(v["code"], {}) | {"status": "F"} if _without_value(v) else v for v in results]
    return [value for value in told if "code" in value]


def _without_value(value: Mapping[str, Any]) -> bool:
    return value.get("status") == "U" and not value["said"]


def decimal_text(number: float | None) -> str | None:
    """ "6.16133", "204": without exponent and needless zeros."""
    if number is None:
        return None
    text = f"{number:.10f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def rule_inputs(stored: Mapping[str, Any]) -> dict[str, object]:
    """What the screening rules may know: plain numbers of known analytes in their unit; bounds ("<10") are none.

    An analyte that is there twice with different numbers is told by nobody.
    """
    found: dict[str, set[float]] = {}
    for value in stored.get("results", ()):
        name = RULE_INPUTS.get(value.get("key", ""))
        if name and "quantity" in value and "comparator" not in value:
            found.setdefault(name, set()).add(_heard(name, value))
    return {name: numbers.pop() for name, numbers in found.items() if len(numbers) == 1}


def _heard(name: str, value: Mapping[str, Any]) -> float:
    """Glucose sent in mg/dL to one decimal, as limits are given: 126 mg/dL is 6.99 mmol/L, by every guideline 7.0."""
    quantity = float(value["quantity"])
    return round(quantity, 1) if name == "glu" and value.get("quantity") != value.get("number") else quantity


def material_of(stored: Mapping[str, Any]) -> str | None:
    """blood or urine, as the analytes tell; None: unknown or both."""
    keys = (value.get("key", "") for value in stored.get("results", ()))
    told = {_MATERIAL_OF[analytes()[key].group] for key in keys if key in analytes()}
    return told.pop() if len(told) == 1 else None


def side(value: Mapping[str, Any]) -> str:
    """high, low, abnormal or empty, by the analyser's flag, else by its own range, else by a plus sign of a strip."""
    flags = [str(flag).upper() for flag in value.get("flags", ())]
    for word in ("high", "low", "abnormal"):
        if any(_SIDES.get(flag) == word for flag in flags):
            return word
    said = str(value.get("said", ""))
    if "N" in flags:
        return ""
    analyte = analytes().get(str(value.get("key", "")))
    if analyte is not None and analyte.group == "urine" and _POSITIVE.fullmatch(said):
        return "abnormal"
    number, comparator = number_of(said)
    return "" if number is None else _beside(number, comparator, str(value.get("reference_range", "")).strip())


def _beside(number: float, comparator: str | None, range_: str) -> str:
    low, high = _limits(range_)
    if low is not None and (number < low or (number == low and comparator == "<")):
        return "" if comparator in (">", ">=") else "low"
    if high is not None and (number > high or (number == high and comparator == ">")):
        return "" if comparator in ("<", "<=") else "high"
    return ""


def _limits(range_: str) -> tuple[float | None, float | None]:
    between, bound = _RANGE.fullmatch(range_), _BOUND.fullmatch(range_)
    if between:
        return float(between.group(1)), float(between.group(2))
    if bound is None:
        return None, None
    limit = float(bound.group(2))
    return (None, limit) if bound.group(1) in ("<", "<=", "≤") else (limit, None)


def groups(stored: Mapping[str, Any], language: str) -> list[Group]:
    """The table of a result: groups and analytes in the order of ``devices/analytes``, unknown ones last."""
    order = {key: place for place, key in enumerate(analytes())}
    found: dict[str, list[tuple[int, Row]]] = {key: [] for key in (*GROUPS, OTHER)}
    for place, value in enumerate(stored.get("results", ())):
        analyte = analytes().get(value.get("key", ""))
        group = analyte.group if analyte else OTHER
        found[group].append((order.get(value.get("key", ""), len(order) + place), _row(value, language)))
    return [
        Group(key, tuple(row for _, row in sorted(rows, key=lambda placed: placed[0])))
        for key, rows in found.items()
        if rows
    ]


def _row(value: Mapping[str, Any], language: str) -> Row:
    analyte = analytes().get(value.get("key", ""))
    other_unit = "quantity" in value and value.get("quantity") != value.get("number")
    comparator = value.get("comparator", "")
    return Row(
        name=(analyte.zh if language == "zh" else analyte.en) if analyte else str(value["code"]),
        code=str(value["code"]),
        said=str(value["said"]),
        unit=str(value.get("unit", "")),
        reference_range=str(value.get("reference_range", "")),
        side=side(value),
        known=analyte is not None,
        status=_STATUSES.get(str(value.get("status", "")), ""),
        converted=f"{comparator}{float(value['quantity']):.4g} {value['ucum']}" if other_unit else "",
    )


def summary(stored: Mapping[str, Any]) -> Sequence[str]:
    """What matters most first: "HGB 52", "WBC 11.2"; for a line in a list."""
    rows = [value for value in stored.get("results", ()) if isinstance(value, Mapping)]
    return [f"{value['code']} {value['said']}" for value in sorted(rows, key=_weight)]


def _weight(value: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    """Far out of range before out of range before the rest; among equals what the screening rules ask for."""
    far = {"HH", "LL", "AA"} & {str(flag).upper() for flag in value.get("flags", ())}
    return not far, not side(value), value.get("key") not in RULE_INPUTS
