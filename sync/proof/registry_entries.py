"""The county's registry as entries of a log: villages, rules, waivers, reviews, vehicles, sealed verdicts. Pure.

An entry is one flat object of canonical JSON: the fields of its kind (``KINDS``) and the common fields ``kind``, ``n``
(its place), ``at`` (UTC with milliseconds) and ``by`` (an account, or "command-line"). Unknown kinds and fields stay.

- ``village/1``: one area of one village for the days ``valid_from`` to ``valid_until``. Positions are degrees x 1e7,
  longitude first; a ring closes itself (the first position is not repeated); a position inside an odd number of rings
  is inside. ``neighbours``: the other villages whose box, widened by 300 m, meets this one's.
- ``village_list/1``: for each code the places of its ``village/1`` entries in force, oldest first.
- ``rules/1``, ``waivers/1``, ``reviews/1``, ``verdict/1`` may name in ``before`` the entry that they go on from: for
  rules the version before; for the others an entry of the same month that holds what did not fit into this one. Of two
  that say something about the same village or visit the newer holds.
- ``verdict/1``: the sealed month of one township. A township is known by the first nine digits of its villages' codes
  (``township_code``), as keys are ASCII; ``rules`` is left out where the programme's defaults were in force.
- ``screening_rules/1``: an edition of the screening rules: the whole file, deflated, in base64, with the SHA-256 of its
  text, the clinician who answers for it, why, and the rules that it changes; ``before`` is the edition before it.
- ``index/1``: the places of what is in force. Every change closes with one and checkpoints are made after an index
  only, so the last entry of a checkpoint says what is in force, and nobody can show older rules as the present ones.
  Of verdicts it names those of the newest months, at most 2,400.

``sync.proof.registry_state`` says what follows from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from math import cos, radians
from typing import Any

from sync.formats.canonical import NotCanonical, dumps, loads
from sync.formats.merkle import leaf_hash
from sync.formats.records import LARGEST_BODY_BYTES, format_time, parse_time
from sync.proof.areas import DEFAULT_RADIUS_M, METRES_PER_DEGREE, Village

ORIGIN_PREFIX = "registry."
"""The registry of the county "county.qingxi.example" is the log "registry.county.qingxi.example"."""
COMMON = ("kind", "n", "at", "by")
NEIGHBOUR_M = 300.0
"""More than leaving a village takes: 100 m beyond its border and the accuracy of a fix."""
DECISIONS = ("counted", "refused")

_CODE = re.compile(r"[0-9]{12}")
_TOWNSHIP_CODE = re.compile(r"[0-9]{9}")
_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])|2100-(0[1-9]|1[0-2])")


class RegistryDraftRefused(ValueError):
    """A registry entry that cannot be written as asked; the message says what to do."""


class RegistryUnreadable(ValueError):
    """Bytes that are no registry entry, or a registry whose entries contradict each other."""


class RegistryContradicts(RegistryUnreadable):
    """A registry that was written whole and yet takes something back in silence.

    :ivar code: "registry_backdated", "registry_item_dropped" or "rules_left_out"
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def registry_origin(county: str) -> str:
    """Name of the registry's log of the county with the origin ``county``."""
    return ORIGIN_PREFIX + county


def township_of(code: str) -> str:
    """The township's part of a village's statistical code."""
    return code[:9]


def is_registry(origin: str) -> bool:
    return origin.startswith(ORIGIN_PREFIX)


# field types ----------------------------------------------------------------------------------------------------------


def _is_place(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and parse_time(value) is not None
    except ValueError:
        return False


def _is_position(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(part) is int for part in value):
        return False
    return bool(abs(value[0]) <= 1_800_000_000 and abs(value[1]) <= 900_000_000)


def _list_of(fits: Callable[[object], bool], at_least: int = 0) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list | tuple) and len(value) >= at_least and all(map(fits, value))


def _map_of(named: Callable[[object], bool], fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, Mapping) and all(named(key) and fits(item) for key, item in value.items())


def _record(**wanted: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, Mapping) and not _faults(wanted, value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_TYPES: dict[str, Callable[[object], bool]] = {
    "text": _is_text,
    "integer": lambda value: type(value) is int,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, Mapping),
    "place": _is_place,
    "time": _is_time,
    "date": _is_date,
    "code": lambda value: isinstance(value, str) and bool(_CODE.fullmatch(value)),
    "township_code": lambda value: isinstance(value, str) and bool(_TOWNSHIP_CODE.fullmatch(value)),
    "month": lambda value: isinstance(value, str) and bool(_MONTH.fullmatch(value)),
    "decision": lambda value: value in DECISIONS,
    "position": _is_position,
}
_TYPES |= {
    "texts": _list_of(_is_text),
    "codes": _list_of(_TYPES["code"]),
    "rings": _list_of(_list_of(_is_position, 3), 1),
    "places_by_code": _map_of(_TYPES["code"], _list_of(_is_place, 1)),
    "places_by_month": _map_of(_TYPES["month"], _is_place),
    "places_by_name": _map_of(_is_text, _is_place),
    "verdict_places": _map_of(_TYPES["month"], _map_of(_TYPES["township_code"], _is_place)),
    "waived": _map_of(_TYPES["code"], _record(reason="text", by="text", at="time", withdrawn="boolean?")),
    "decided": _map_of(_is_text, _record(origin="text", decision="decision", reason="text", by="text", at="time")),
    "keys": _list_of(_record(key="text", from_size="place", until_size="place?"), 1),
    "revoked": _record(size="place", at="time", reason="text"),
    "verdict_visits": _list_of(_record(visit="text", origin="text", day="date", state="text", reasons="texts")),
}
_TYPES["verdict_villages"] = _map_of(_TYPES["code"], _record(state="text", counted="integer", visits="verdict_visits"))


KINDS: dict[str, Mapping[str, str]] = {
    "village/1": {
        "code": "code",
        "name": "text",
        "township": "text",
        "valid_from": "date",
        "valid_until": "date?",
        "centre": "position",
        "radius_m": "integer?",
        "rings": "rings?",
        "neighbours": "codes",
        "cells": "texts?",
    },
    "village_list/1": {"villages": "places_by_code", "note": "text?"},
    "rules/1": {"version": "integer", "rules": "object", "before": "place?"},
    "screening_rules/1": {
        "edition": "integer",
        "sha256": "text",
        "file": "text",
        "name": "text",
        "reason": "text",
        "rules": "texts",
        "before": "place?",
    },
    "waivers/1": {"month": "month", "waived": "waived", "before": "place?"},
    "reviews/1": {"month": "month", "decided": "decided", "before": "place?"},
    "vehicle/1": {
        "origin": "text",
        "vehicle": "text",
        "plate": "text",
        "keys": "keys",
        "revoked": "revoked?",
        "succeeds": "text?",
    },
    "verdict/1": {
        "month": "month",
        "township": "text",
        "township_code": "township_code",
        "practice": "boolean",
        "rules": "place?",
        "village_list": "place",
        "villages": "verdict_villages",
        "supersedes": "place?",
        "before": "place?",
    },
    "index/1": {
        "rules": "place?",
        "village_list": "place?",
        "screening_rules": "place?",
        "waivers": "places_by_month",
        "reviews": "places_by_month",
        "vehicles": "places_by_name",
        "verdicts": "verdict_places",
    },
}
"""Fields and their types by kind; a "?" behind the type: may be left out."""
_COMMON_FIELDS = {"kind": "text", "n": "place", "at": "time", "by": "text"}


def _faults(wanted: Mapping[str, str], said: Mapping[str, Any]) -> list[str]:
    faults = []
    for name, kind in wanted.items():
        if name not in said:
            if not kind.endswith("?"):
                faults.append(f"{name} is missing")
        elif not _TYPES[kind.removesuffix("?")](said[name]):
            faults.append(f"{name} is not of type {kind.removesuffix('?')}")
    return faults


# reading and writing --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegistryDraft:
    """An entry before it has a place and a time."""

    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """One line of the registry. ``body`` is what was hashed and signed."""

    n: int
    kind: str
    at: datetime
    by: str
    fields: Mapping[str, Any]
    body: bytes = field(repr=False)

    @property
    def leaf_hash(self) -> bytes:
        return leaf_hash(self.body)


def write_registry_entry(draft: RegistryDraft, n: int, at: datetime, by: str) -> RegistryEntry:
    """The entry of ``draft`` at the place ``n``.

    :raises RegistryDraftRefused: unknown kind, a missing, unknown or mistyped field, or too large
    """
    wanted = KINDS.get(draft.kind)
    if wanted is None:
        raise RegistryDraftRefused(f"kind {draft.kind!r} is not in the table of sync/proof/registry_entries.py")
    faults = _faults(wanted, draft.fields)
    faults += [f"{name} is not in the table" for name in draft.fields if name not in wanted]
    if faults:
        raise RegistryDraftRefused(f"{draft.kind}: " + "; ".join(faults))
    written = format_time(at)
    try:
        body = dumps({**draft.fields, "kind": draft.kind, "n": n, "at": written, "by": by})
    except NotCanonical as fault:
        raise RegistryDraftRefused(f"{draft.kind}: {fault}") from None
    if len(body) > LARGEST_BODY_BYTES:
        remedy = ": simplify its outline to about 5 m" if draft.kind == "village/1" else ""
        name = str(draft.fields.get("name", draft.fields.get("month", "")))
        raise RegistryDraftRefused(f"{draft.kind} {name}: {len(body)} bytes are more than {LARGEST_BODY_BYTES}{remedy}")
    return RegistryEntry(n, draft.kind, parse_time(written), by, dict(draft.fields), body)


def read_registry_entry(body: bytes, n: int | None = None) -> RegistryEntry:
    """The entry that ``body`` says; of an unknown kind only the common fields are checked.

    :param n: the place where it was found
    :raises RegistryUnreadable: not canonical JSON, a field missing or mistyped, or another place
    """
    try:
        said = loads(body)
    except NotCanonical as fault:
        raise RegistryUnreadable(str(fault)) from None
    faults = _faults(_COMMON_FIELDS, said) + _faults(KINDS.get(str(said.get("kind")), {}), said)
    if n is not None and said.get("n") != n:
        faults.append(f"it says place {said.get('n')!r} but stands at {n}")
    if faults:
        raise RegistryUnreadable(f"{said.get('kind')!r}: " + "; ".join(faults))
    fields = {name: value for name, value in said.items() if name not in COMMON}
    return RegistryEntry(said["n"], said["kind"], parse_time(said["at"]), said["by"], fields, body)


# villages in whole numbers --------------------------------------------------------------------------------------------


def village_fields(village: Village, neighbours: Collection[str] = ()) -> dict[str, Any]:
    """Fields of the ``village/1`` entry of ``village``: degrees rounded to 1e-7 (about a centimetre)."""
    fields: dict[str, Any] = {
        "code": village.code,
        "name": village.name,
        "township": village.township,
        "valid_from": village.valid_from.isoformat(),
        "centre": [_e7(village.centre_longitude_deg), _e7(village.centre_latitude_deg)],
        "neighbours": sorted(neighbours),
    }
    if village.valid_until is not None:
        fields["valid_until"] = village.valid_until.isoformat()
    if village.polygon is None:
        fields["radius_m"] = round(village.radius_m)
    else:
        fields["rings"] = [[[_e7(x), _e7(y)] for x, y in ring] for ring in village.polygon]
    if village.cells:
        fields["cells"] = sorted(village.cells)
    return fields


def village_of(fields: Mapping[str, Any]) -> Village:
    """The village that a checked ``village/1`` entry says. ``village_fields`` of it are the same fields again."""
    rings = fields.get("rings")
    longitude, latitude = fields["centre"]
    return Village(
        code=fields["code"],
        name=fields["name"],
        township=fields["township"],
        polygon=tuple(tuple((x / 1e7, y / 1e7) for x, y in ring) for ring in rings) if rings else None,
        centre_latitude_deg=latitude / 1e7,
        centre_longitude_deg=longitude / 1e7,
        radius_m=float(fields.get("radius_m", DEFAULT_RADIUS_M)),
        valid_from=date.fromisoformat(fields["valid_from"]),
        valid_until=date.fromisoformat(fields["valid_until"]) if "valid_until" in fields else None,
        cells=tuple(fields.get("cells", ())),
    )


def neighbours_of(villages: Sequence[Village]) -> list[tuple[str, ...]]:
    """For each village the codes of the others whose box meets its own, widened by ``NEIGHBOUR_M``."""
    boxes = sorted((_widened(village), place) for place, village in enumerate(villages))
    found: list[set[str]] = [set() for _ in villages]
    for start, ((_, south, east, north), place) in enumerate(boxes):
        for (other_west, other_south, _, other_north), other in boxes[start + 1 :]:
            if other_west > east:
                break
            if other_south <= north and south <= other_north and villages[place].code != villages[other].code:
                found[place].add(villages[other].code)
                found[other].add(villages[place].code)
    return [tuple(sorted(codes)) for codes in found]


def _widened(village: Village) -> tuple[float, float, float, float]:
    """By half of ``NEIGHBOUR_M`` each, so that two meet when they are that near."""
    west, south, east, north = village.box
    up = NEIGHBOUR_M / 2 / METRES_PER_DEGREE
    across = up / cos(radians(min(89.0, max(abs(south), abs(north)))))
    return west - across, south - up, east + across, north + up


def _e7(degrees: float) -> int:
    return round(degrees * 1e7)
