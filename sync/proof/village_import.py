"""What a new list of villages changes in the registry: added, changed, removed, and from which day. Pure.

A list is read as the villages of today. One that is given without ``valid_from`` and differs from what is in force
takes over on the day of the import, and what was in force ends the day before, so that no earlier visit is judged
anew; a village that is no longer in the list ends the day before as well. A ``valid_from`` that the registry has
already is no news and changes none of this. The first list holds for all time. Whoever knows better writes a new
``valid_from`` into the list; a code that is given several times is taken as it stands, as its whole history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from sync.proof.areas import ALWAYS, Village
from sync.proof.registry_entries import RegistryDraft, RegistryEntry, neighbours_of, village_fields, village_of
from sync.proof.registry_state import RegistryState

Versions = tuple[Village, ...]
"""Of one code, oldest first; no two on the same day."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """:ivar villages: the whole list after the import, by code
    :ivar first: there was no list before
    :ivar valid_from: the day from which what differs holds
    :ivar added, changed, removed: codes
    :ivar judged_anew: codes of which earlier days change too, so that months not yet sealed are judged anew
    """

    villages: Mapping[str, Versions]
    first: bool
    valid_from: date
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    judged_anew: tuple[str, ...]

    @property
    def changes_nothing(self) -> bool:
        return not (self.added or self.changed or self.removed)

    def drafts(self, state: RegistryState, first_place: int, note: str = "") -> list[RegistryDraft]:
        """The villages that are not in the registry yet as they are, then the list; empty when nothing changes.

        :param note: what the list carries for those who read it later
        """
        known = {code: list(entries) for code, entries in state.village_entries().items()}
        versions = [village for listed in self.villages.values() for village in listed]
        drafts: list[RegistryDraft] = []
        places: dict[str, list[int]] = {}
        for village, neighbours in zip(versions, neighbours_of(versions), strict=True):
            fields = village_fields(village, neighbours)
            place = _place_of(fields, known.get(village.code, ()))
            if place is None:
                place = first_place + len(drafts)
                drafts.append(RegistryDraft("village/1", fields))
            places.setdefault(village.code, []).append(place)
        before = {code: [entry.n for entry in entries] for code, entries in known.items()}
        said = {"villages": places, "note": note} if note else {"villages": places}
        return [*drafts, RegistryDraft("village_list/1", said)] if places != before else []


def plan_import(
    given: Sequence[Village], state: RegistryState, today: date, valid_from: date | None = None
) -> ImportPlan:
    """What importing ``given`` changes.

    :param today: local date of the import
    :param valid_from: from when what differs holds, unless the list says so itself; the day of the import when None
    """
    present = {
        code: tuple(village_of(entry.fields) for entry in entries) for code, entries in state.village_entries().items()
    }
    since = valid_from or today
    by_code: dict[str, list[Village]] = {}
    for village in given:
        whole = village_of(village_fields(village))
        by_code.setdefault(village.code, []).append(whole)
    villages: dict[str, Versions] = {}
    for code, versions in by_code.items():
        listed = tuple(sorted(versions, key=lambda village: village.valid_from))
        villages[code] = listed if not present else _merged(listed, present.get(code, ()), since)
    removed = []
    for code, versions_before in present.items():
        if code not in villages:
            rest = _ended(versions_before, since)
            if rest:
                villages[code] = rest
            if rest != versions_before:
                removed.append(code)
    return ImportPlan(
        villages=dict(sorted(villages.items())),
        first=not present,
        valid_from=since,
        added=tuple(sorted(code for code in by_code if code not in present)),
        changed=tuple(sorted(code for code in by_code if code in present and villages[code] != present[code])),
        removed=tuple(sorted(removed)),
        judged_anew=tuple(
            code
            for code in sorted(present.keys() | villages.keys())
            if present and _judged_anew(present.get(code, ()), villages.get(code, ()), today)
        ),
    )


def _merged(given: Versions, present: Versions, since: date) -> Versions:
    if len(given) > 1:
        return given
    village = given[0]
    known = village.valid_from in {ALWAYS, *(version.valid_from for version in present if version.valid_from <= since)}
    over = village.valid_until is not None and village.valid_until < since
    if over or not known:
        return (*_ended(present, village.valid_from), village)
    for place, version in enumerate(present):
        if version.in_force(since) and _same_place(version, village):
            return (*present[:place], replace(version, valid_until=village.valid_until), *present[place + 1 :])
    return (*_ended(present, since), replace(village, valid_from=since))


def _same_place(one: Village, other: Village) -> bool:
    return replace(one, valid_from=ALWAYS, valid_until=None) == replace(other, valid_from=ALWAYS, valid_until=None)


def _judged_anew(present: Versions, versions: Versions, today: date) -> bool:
    """Whether another area is in force on any day before ``today``."""
    borders = {ALWAYS, *(version.valid_from for version in (*present, *versions))}
    borders |= {version.valid_until + timedelta(days=1) for version in (*present, *versions) if version.valid_until}
    return any(_on(present, day) != _on(versions, day) for day in borders if day < today)


def _on(versions: Versions, day: date) -> Village | None:
    found = next((version for version in versions if version.in_force(day)), None)
    return replace(found, valid_from=ALWAYS, valid_until=None) if found is not None else None


def _ended(versions: Versions, since: date) -> Versions:
    """Those that began before ``since``, none of which lasts beyond the day before."""
    last = since - timedelta(days=1)
    return tuple(
        version
        if version.valid_until is not None and version.valid_until <= last
        else replace(version, valid_until=last)
        for version in versions
        if version.valid_from <= last
    )


def _place_of(fields: Mapping[str, Any], known: Sequence[RegistryEntry]) -> int | None:
    return next((entry.n for entry in known if entry.fields == fields), None)
