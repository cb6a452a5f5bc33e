"""Registrations of one person, held together by entries: nothing is merged, so nothing is lost by a mistake. Pure.

Two notes of the access log make them, ``LINKED`` and ``UNLINKED``, each with two registrations. The second takes its
first registration out of the group; of two that were not linked it says that they are different people, so that they
are not offered again.
"""

from __future__ import annotations

from collections.abc import Iterable

LINKED, UNLINKED = "patients_linked", "patients_unlinked"


class PersonLinks:
    """
    :param notes: (action, what) of the access log in its order; other actions are passed over
    """

    def __init__(self, notes: Iterable[tuple[str, str]]) -> None:
        self._groups: dict[str, frozenset[str]] = {}
        self._edges: set[frozenset[str]] = set()
        self._different: set[frozenset[str]] = set()
        for action, what in notes:
            one, _, other = what.partition(" ")
            if action == LINKED:
                self.join(one, other)
            elif action == UNLINKED:
                self.part(one, other)

    def beside(self, patient: str) -> tuple[str, ...]:
        """The other registrations of the same person, sorted."""
        return tuple(sorted(self._groups.get(patient, frozenset()) - {patient}))

    def first(self, patient: str) -> str:
        """The oldest registration of the same person: by it, one person is counted once."""
        return min(self._groups.get(patient, frozenset((patient,))))

    def different(self, one: str, other: str) -> bool:
        """Somebody looked at the two and said that they are different people."""
        return frozenset((one, other)) in self._different

    def join(self, one: str, other: str) -> None:
        pair = frozenset((one, other))
        self._edges.add(pair)
        self._different.discard(pair)
        self._merge(pair)

    def part(self, one: str, other: str) -> None:
        """Take ``one`` out of the group that it shares with ``other``."""
        if other in self.beside(one):
            self._edges = {edge for edge in self._edges if one not in edge}
        self._different.add(frozenset((one, other)))
        self._regroup()

    def _regroup(self) -> None:
        self._groups = {}
        for edge in self._edges:
            self._merge(edge)

    def _merge(self, edge: frozenset[str]) -> None:
        group = edge.union(*(self._groups.get(member, ()) for member in edge))
        for member in group:
            self._groups[member] = group
