"""Visits side by side: every pair that shares an hour is found, and nothing else; in whatever order they come."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.proof.coverage import VisitFacts
from sync.proof.presence import Stay
from sync.proof.visit_conflicts import OVERLAPPING_STAYS, STAFF_IN_TWO_VEHICLES, compared
from sync.proof.visit_proof import Shift, VisitEvidence, VisitProof

DAY = datetime(2026, 9, 1, tzinfo=UTC)


def hours(since: float, until: float) -> tuple[datetime, datetime]:
    return DAY + timedelta(hours=since), DAY + timedelta(hours=until)


def visit(
    id: str,
    vehicle: str,
    village: str,
    stays: list[tuple[float, float]],
    duty: list[tuple[str, str, float, float]],
    decision: str | None = None,
) -> VisitProof:
    """Hours of the stays, and (person, role, from, to) on duty."""
    found = tuple(Stay(village, *hours(*stay), hours(*stay)[1], 0.0, 0.0, ()) for stay in stays)
    shifts = tuple(Shift(person, role, *hours(since, until)) for person, role, since, until in duty)
    staff = frozenset((shift.person, shift.role) for shift in shifts)
    evidence = VisitEvidence(
        *(id, vehicle, village, village, date(2026, 9, 1), DAY, None, False, found, staff, (), False, (), (), ()),
        *(None, shifts, 0, 0, 0),
    )
    facts = VisitFacts(id, vehicle, village, date(2026, 9, 1), None, staff, decision=decision)
    return VisitProof(facts, evidence, None, None)


def reviews(*proofs: VisitProof) -> list[tuple[str, ...]]:
    return [proof.facts.review for proof in compared(proofs)]


def test_an_hour_in_two_places() -> None:
    first = visit("1", "van-07", "A", [(8, 12)], [])
    assert reviews(first, visit("2", "van-07", "B", [(11, 15)], [])) == [(OVERLAPPING_STAYS,)] * 2
    assert reviews(first, visit("2", "van-07", "B", [(12, 15)], [])) == [(), ()]
    assert reviews(first, visit("2", "van-09", "B", [(11, 15)], [])) == [(), ()]
    assert reviews(first, visit("2", "van-07", "B", [(6, 7), (9, 10)], [])) == [(OVERLAPPING_STAYS,)] * 2


def test_a_person_in_two_vehicles() -> None:
    def with_nurse(id: str, vehicle: str, village: str, since: float, until: float) -> VisitProof:
        return visit(id, vehicle, village, [(8, 12)], [("wu", "nurse", since, until)])

    first = with_nurse("1", "van-07", "A", 8, 10)
    assert reviews(first, with_nurse("2", "van-09", "B", 9, 12)) == [(STAFF_IN_TWO_VEHICLES,)] * 2
    assert reviews(first, with_nurse("2", "van-09", "A", 9, 12)) == [(STAFF_IN_TWO_VEHICLES,)] * 2
    assert reviews(first, with_nurse("2", "van-09", "B", 10, 12)) == [(), ()]
    assert reviews(first, with_nurse("2", "van-09", "B", 2, 7)) == [(), ()]
    assert reviews(with_nurse("1", "van-07", "A", 12, 14), with_nurse("2", "van-09", "B", 12, 14)) == [(), ()]


def test_a_village_doctor_serves_with_every_vehicle_that_comes_but_not_in_two_villages() -> None:
    def with_doctor(id: str, vehicle: str, village: str, role: str = "village_doctor") -> VisitProof:
        return visit(id, vehicle, village, [(8, 12)], [("zhou", role, 8, 12)])

    first = with_doctor("1", "van-07", "A")
    assert reviews(first, with_doctor("2", "van-09", "A")) == [(), ()]
    assert reviews(first, with_doctor("2", "van-09", "B")) == [(STAFF_IN_TWO_VEHICLES,)] * 2
    assert reviews(first, with_doctor("2", "van-09", "A", "doctor")) == [(STAFF_IN_TWO_VEHICLES,)] * 2


def test_what_is_refused_or_merged_stands_in_nobody_s_way() -> None:
    first = visit("1", "van-07", "A", [(8, 12)], [])
    refused = visit("2", "van-07", "B", [(8, 12)], [], decision="refused")
    merged = visit("3", "van-07", "B", [(8, 12)], [])
    merged = replace(merged, facts=replace(merged.facts, merged_into="2"))
    assert reviews(first, refused, merged) == [(), (), ()]


SPAN = st.tuples(st.integers(0, 20), st.integers(1, 6)).map(lambda span: (float(span[0]), float(span[0] + span[1])))


@settings(max_examples=100, deadline=None)
@given(
    said=st.lists(
        st.tuples(st.sampled_from("78"), st.sampled_from("AB"), SPAN, st.sampled_from(["wu", "he"]), SPAN), max_size=8
    ),
    chance=st.randoms(use_true_random=False),
)
def test_every_pair_is_found_in_whatever_order(
    said: list[tuple[str, str, tuple[float, float], str, tuple[float, float]]], chance: random.Random
) -> None:
    """Held against a comparison of each with each."""
    proofs = [
        visit(str(place), vehicle, village, [stay], [(person, "nurse", *duty)])
        for place, (vehicle, village, stay, person, duty) in enumerate(said)
    ]
    expected: dict[str, set[str]] = {proof.facts.visit: set() for proof in proofs}
    for (one, first), (other, second) in combinations(enumerate(said), 2):
        both = (str(one), str(other))
        since, until = max(first[2][0], second[2][0]), min(first[2][1], second[2][1])
        if first[0] == second[0] and since < until:
            for id in both:
                expected[id].add(OVERLAPPING_STAYS)
        since, until = max(since, first[4][0], second[4][0]), min(until, first[4][1], second[4][1])
        if first[0] != second[0] and first[3] == second[3] and since < until:
            for id in both:
                expected[id].add(STAFF_IN_TWO_VEHICLES)
    chance.shuffle(proofs)
    assert {proof.facts.visit: set(proof.facts.review) for proof in compared(proofs)} == expected
