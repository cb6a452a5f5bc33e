"""Who is one person across vans: registrations that a van has linked, and registrations of one document. Pure.

The number itself is sealed, and each van's keyed hash has its own key, so that two vans' hashes of one number differ.
What stands readable says as much: name, sex, date of birth, kind of document and the last four of its number.
Of a resident's number only the six digits of the first issuing place are missing then. Nobody without a number is
matched, and no newborn: twins share the mother's number. Where a van says that two of its registrations are different
people, their document decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sync.record.person_links import PersonLinks

Registration = tuple[str, str]
"""(origin, patient)"""
NUMBERED = frozenset({"", "resident", "residence_permit", "passport"})
"""Kinds of document whose number is a person's own; empty: a resident's number, as older entries have it."""


class SamePeople:
    """
    :param rows: of the table ``patients``, of all vans
    :param links: by origin, what each van says of its own registrations
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], links: Mapping[str, PersonLinks]) -> None:
        self._links = links
        self._first: dict[Registration, Registration] = {}
        documents: dict[tuple[str, ...], set[Registration]] = {}
        since: dict[Registration, str] = {}
        for row in rows:
            on_van = self._on_van((row["origin"], row["patient"]))
            since[on_van] = min(filter(None, (since.get(on_van), row["registered_at"] or "")), default="")
            for document in documents_of(row):
                documents.setdefault(document, set()).add(on_van)
        groups: dict[Registration, frozenset[Registration]] = {}
        for found in documents.values():
            if len(found) > 1 and not self._said_different(found):
                group = frozenset(found).union(*(groups.get(one, frozenset()) for one in found))
                groups |= dict.fromkeys(group, group)
        for one, together in groups.items():
            self._first[one] = min(together, key=lambda member: (since[member], member))

    def first(self, origin: str, patient: str) -> Registration:
        """The oldest registration of the same person: by it, one person is counted once."""
        on_van = self._on_van((origin, patient))
        return self._first.get(on_van, on_van)

    def _on_van(self, one: Registration) -> Registration:
        links = self._links.get(one[0])
        return (one[0], links.first(one[1])) if links else one

    def _said_different(self, found: Iterable[Registration]) -> bool:
        """Several persons of one van under one document: somebody has taken them apart."""
        origins = [origin for origin, _ in found]
        return len(set(origins)) < len(origins)


def documents_of(row: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    """What a registration shares with others of the same person: ("hash", hash of the number), and (kind of document,
    name, sex, born_on, id_last4)."""
    kind = str(row["id_kind"] or "")
    told = tuple(str(row[name] or "") for name in ("name", "sex", "born_on", "id_last4"))
    if row["id_hash"]:
        yield ("hash", str(row["id_hash"]))
    if all(told) and kind in NUMBERED:
        yield (kind or "resident", *told)
