"""What a further entry of a registry may not take back in silence. Pure.

A list of waivers or reviews is cumulative: a newer one of the same month holds everything that the one before held,
itself or in what it goes on from (``before``). What a person takes back stays in it, as taken back. Rules go on from
those in force, so that no version can be left out of the chain by which a past month is judged. No entry says an
earlier time than the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from sync.formats.records import format_time
from sync.proof.registry_entries import RegistryContradicts, RegistryEntry

LISTS: Mapping[str, str] = {"waivers/1": "waived", "reviews/1": "decided"}
"""Cumulative kinds, each with the field that grows."""
Gathered = Callable[[int | None, str, str], Collection[str]]
"""(place, kind, field) -> what the entry there and those it goes on from hold; nothing for no place."""


def check_time(entry: RegistryEntry, before: datetime | None) -> None:
    """:param before: the time that the entry before it says
    :raises RegistryContradicts: registry_backdated
    """
    if before is not None and entry.at < before:
        said = f"entry {entry.n} of the registry says {format_time(entry.at)}, the one before it {format_time(before)}"
        raise RegistryContradicts("registry_backdated", said)


def check_goes_on(
    entry: RegistryEntry, rules: int | None, lists: Mapping[str, Mapping[str, int]], gathered: Gathered
) -> None:
    """
    :param rules: place of the rules in force before ``entry``
    :param lists: for each kind of ``LISTS`` the place of the list in force before, by month
    :raises RegistryContradicts: rules_left_out, registry_item_dropped
    """
    if entry.kind == "rules/1" and entry.fields.get("before") != rules:
        raise RegistryContradicts(
            "rules_left_out", f"the rules at {entry.n} do not go on from those in force before them, at {rules}"
        )
    if entry.kind in LISTS:
        field, month = LISTS[entry.kind], entry.fields["month"]
        held = gathered(entry.n, entry.kind, field)
        lost = [name for name in gathered(lists[entry.kind].get(month), entry.kind, field) if name not in held]
        if lost:
            raise RegistryContradicts(
                "registry_item_dropped",
                f"{entry.kind} of {month} at {entry.n} no longer says what was {field} about {min(lost)[:60]}",
            )
