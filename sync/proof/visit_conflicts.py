"""What visits say about one another: a vehicle that is in two places at once, a person on duty in two vehicles. Pure.

Each visit is judged from its own range, and a range begins with a boot: two boots that claim the same hours are only
seen side by side. Nobody can tell which of the two is true, so a person decides about both. The county compares all
visits that it has; a verifier those of one bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sync.proof.coverage import REVIEW_REASONS
from sync.proof.visit_proof import VisitProof

OVERLAPPING_STAYS, STAFF_IN_TWO_VEHICLES = "overlapping_stays", "staff_in_two_vehicles"
COMPARED = (OVERLAPPING_STAYS, STAFF_IN_TWO_VEHICLES)
"""The words of ``REVIEW_REASONS`` that no visit has by itself."""
OF_THE_VILLAGE = "village_doctor"
"""Belongs to a village, not to a vehicle: serves with every vehicle that comes there."""


class _Span(NamedTuple):
    """From ``since`` up to ``until``; ``role`` of a person on duty."""

    since: datetime
    until: datetime
    place: int
    role: str = ""


def compared(proofs: Sequence[VisitProof]) -> list[VisitProof]:
    """The proofs in the same order, with what only shows side by side added to their review.

    A visit that is merged into another, has no stay, or was refused by a person stands in nobody's way.

    :param proofs: as ``sync.proof.visit_proof.merged`` gives them
    """
    words: dict[int, set[str]] = {}
    for one, other in _together(_stays(proofs)):
        for span in (one, other):
            words.setdefault(span.place, set()).add(OVERLAPPING_STAYS)
    for one, other in _together(_on_duty(proofs)):
        if not _may_be(proofs, one, other):
            for span in (one, other):
                words.setdefault(span.place, set()).add(STAFF_IN_TWO_VEHICLES)
    return [_looked_at(proof, words.get(place, set())) for place, proof in enumerate(proofs)]


def _may_be(proofs: Sequence[VisitProof], one: _Span, other: _Span) -> bool:
    """Whether one person can be on duty in both: in one vehicle, or in the village to which he belongs."""
    first, second = proofs[one.place].facts, proofs[other.place].facts
    at_home = first.village == second.village and one.role == other.role == OF_THE_VILLAGE
    return first.vehicle == second.vehicle or at_home


def _looked_at(proof: VisitProof, words: set[str]) -> VisitProof:
    if not words:
        return proof
    review = tuple(sorted({*proof.facts.review, *words}, key=REVIEW_REASONS.index))
    return replace(proof, facts=replace(proof.facts, review=review))


def _standing(proofs: Sequence[VisitProof]) -> Iterator[tuple[int, VisitProof]]:
    for place, proof in enumerate(proofs):
        if proof.facts.merged_into is None and proof.facts.decision != "refused":
            yield place, proof


def _stays(proofs: Sequence[VisitProof]) -> Iterable[list[_Span]]:
    """The stays of each vehicle."""
    found: dict[str, list[_Span]] = {}
    for place, proof in _standing(proofs):
        spans = [_Span(stay.arrived_at, stay.left_at, place) for stay in proof.stays]
        found.setdefault(proof.facts.vehicle, []).extend(spans)
    return found.values()


def _on_duty(proofs: Sequence[VisitProof]) -> Iterable[list[_Span]]:
    """When each person who was seen in several vehicles was on duty during stays."""
    vehicles: dict[str, set[str]] = {}
    for _, proof in _standing(proofs):
        for shift in proof.evidence.on_duty:
            vehicles.setdefault(shift.person, set()).add(proof.facts.vehicle)
    found: dict[str, list[_Span]] = {}
    for place, proof in _standing(proofs):
        for shift in proof.evidence.on_duty:
            for stay in proof.stays if len(vehicles[shift.person]) > 1 else ():
                since, until = max(shift.since, stay.arrived_at), min(shift.until, stay.left_at)
                found.setdefault(shift.person, []).append(_Span(since, until, place, shift.role))
    return found.values()


def _together(listed: Iterable[list[_Span]]) -> Iterator[tuple[_Span, _Span]]:
    """Pairs of one list that share more than a moment and are of two visits."""
    for spans in listed:
        under_way: list[_Span] = []
        for span in sorted(span for span in spans if span.since < span.until):
            under_way = [other for other in under_way if other.until > span.since]
            yield from ((other, span) for other in under_way if other.place != span.place)
            under_way.append(span)
