"""The types that a field of an entry may have, by the names that ``sync.formats.record_kinds.KINDS`` uses. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from itertools import chain

TIME_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_SHA256 = re.compile(r"[0-9a-f]{64}")

FIELD_TYPES: dict[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict | Mapping),
    "list": lambda value: isinstance(value, list | tuple),
    "time": lambda value: isinstance(value, str) and _is_time(value),
    "date": lambda value: isinstance(value, str) and _is_date(value),
    "sha256": lambda value: isinstance(value, str) and bool(_SHA256.fullmatch(value)),
    "crew": lambda value: _is_list_of(value, _is_member),
    "steps": lambda value: _are_plain_steps(value) or _is_list_of(value, _is_step),
}
"""Whether a value is of the type. A "?" behind the name in ``KINDS``: the field may be left out."""


def _is_list_of(value: object, fits: Callable[[object], bool]) -> bool:
    return isinstance(value, list | tuple) and all(fits(item) for item in value)


def _is_member(value: object) -> bool:
    """{person, role, name} of someone on board."""
    return isinstance(value, Mapping) and all(isinstance(value.get(key), str) for key in ("person", "role", "name"))


def _is_step(value: object) -> bool:
    """[dt_s, dlat_e7, dlon_e7, accuracy_m, satellites] after the point before; a sixth number 1: spoofing flag."""
    return isinstance(value, list | tuple) and len(value) in (5, 6) and all(type(number) is int for number in value)


def _are_plain_steps(value: object) -> bool:
    """Whether it is seen at once that all are steps: most entries of a journal's bytes are tracks."""
    if type(value) is not list or set(map(type, value)) != {list}:
        return False
    return set(map(len, value)) <= {5, 6} and set(map(type, chain.from_iterable(value))) == {int}


def _is_time(text: str) -> bool:
    if not TIME_FORM.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
