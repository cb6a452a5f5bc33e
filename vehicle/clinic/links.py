"""Registrations of one person, held together by entries: nothing is merged, so nothing is lost by a mistake.

Two notes of the access log make them: ``patients_linked`` and ``patients_unlinked``, each with two registrations. The
second takes its first registration out of the group; of two that were not linked it says that they are different
people, so that they are not offered again.
"""

from __future__ import annotations

from vehicle.clinic.ports import Journal


class Links:
    """The groups as the journal has them; ``join`` and ``part`` follow what is committed."""

    def __init__(self, store: Journal) -> None:
        self._groups: dict[str, frozenset[str]] = {}
        self._edges: set[frozenset[str]] = set()
        self._different: set[frozenset[str]] = set()
        rows = store.read(
            "SELECT action, what FROM access_log WHERE action IN ('patients_linked', 'patients_unlinked') ORDER BY n"
        )
        for row in rows:
            one, other = row["what"].split(" ")
            if row["action"] == "patients_linked":
                self.join(one, other)
            else:
                self.part(one, other)

    def beside(self, patient: str) -> tuple[str, ...]:
        """The other registrations of the same person, sorted."""
        return tuple(sorted(self._groups.get(patient, frozenset()) - {patient}))

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
