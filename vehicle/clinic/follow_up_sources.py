"""What a form is filled in from: the numbers of a person's confirmed readings with where each is from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sync.formats.records import parse_time
from vehicle.clinic.forms.filling import Known
from vehicle.clinic.ports import Journal
from vehicle.clinic.units import RULE_ORDER, rule_inputs, shown_values
from vehicle.clinic.views import CHINA

MOST_READINGS = 300


def numbers_of(
    store: Journal, registrations: Sequence[str], encounter: str | None, meal: object = None
) -> dict[str, Known]:
    """Number by name (the rules' inputs, and names with units), the newest of each; those of ``encounter`` first.

    :param registrations: all of one person
    :param meal: what the person said of it when the meter did not: a glucose value then is a fasting one or not
    """
    marks = ",".join("?" * len(registrations))
    rows = store.read(
        "SELECT reading, encounter, type, device, values_json, taken_at FROM readings "
        f"WHERE patient IN ({marks}) AND type != 'answers' AND confirmed_at IS NOT NULL AND rejected_at IS NULL "
        "ORDER BY taken_at DESC, reading DESC LIMIT ?",
        (*registrations, MOST_READINGS),
    )
    now = [row for row in rows if encounter is not None and row["encounter"] == encounter]
    before = [row for row in rows if row not in now]
    found: dict[str, Known] = {}
    for earlier, some in ((False, now), (True, before)):
        for row in sorted(some, key=lambda row: _order(row["type"]), reverse=True):
            for name, number in _numbers(row, meal if not earlier else None):
                taken_on = parse_time(row["taken_at"]).astimezone(CHINA).date()
                newer = found.get(name)
                if newer is None or (newer.earlier and earlier and taken_on > newer.on):
                    found[name] = Known(number, row["reading"], row["device"], taken_on, earlier)
    return found


def _order(type_: str) -> int:
    """Of two kinds of reading that say the same the later counts (``RULE_ORDER``)."""
    return RULE_ORDER.index(type_) if type_ in RULE_ORDER else -1


def _numbers(row: Mapping[str, Any], meal: object) -> Iterable[tuple[str, float]]:
    stored = json.loads(row["values_json"])
    told = {**(shown_values(stored) if row["type"] != "laboratory" else {}), **rule_inputs(row["type"], stored)}
    if row["type"] == "glucose" and meal == "fasting" and "meal" not in stored and "glu" in told:
        told["fpg"] = told["glu"]
    for name, number in told.items():
        if isinstance(number, int | float) and not isinstance(number, bool):
            yield name, number
