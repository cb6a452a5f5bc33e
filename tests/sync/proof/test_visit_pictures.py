"""What evidence says of a visit's pictures: when, how far from the village, and whether during the stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from sync.county.visit_facts import read_evidence, write_evidence
from sync.formats.records import Entry
from sync.proof.coverage import Rules
from sync.proof.visit_pictures import VisitPicture
from sync.proof.visit_proof import VisitEvidence, evidence_of_visit, proof_of_visit
from tests.sync.visit_script import VILLAGES, Log, around, code, logs

MORNING = ["07:30 starts", "07:31 plugs", "07:32 delivers", "07:50 leaves", "08:20 arrives A", "08:23 opens A"]
NOON = ["12:30 closes", "12:31 delivers"]


def evidence(log: Log, entries: list[Entry] | None = None) -> VisitEvidence:
    near = around(code("A"), list(VILLAGES.values()))
    return evidence_of_visit(log.visits[0], entries or log.entries, (), near)


def pictures(*events: str) -> tuple[VisitPicture, ...]:
    (log,) = logs([*MORNING, *events, *NOON])
    return evidence(log).pictures


def test_a_picture_says_when_it_was_taken_and_that_it_was_in_the_village() -> None:
    (one,) = pictures("08:40 photographs")
    assert one.taken_at == datetime.fromisoformat("2026-09-01T08:40:00+08:00")
    assert (one.what, one.sha256, one.outside_m, one.accuracy_m, one.during) == ("village_sign", "ab" * 32, 0, 3, True)


@pytest.mark.parametrize(("where", "outside_m"), [("outside", 9_499), ("nowhere", None)])
def test_a_picture_from_elsewhere_says_how_far(where: str, outside_m: int | None) -> None:
    (one,) = pictures(f"08:40 photographs {where}")
    assert (one.outside_m, one.place is None) == (outside_m, outside_m is None)


def test_a_picture_on_the_way_is_not_during_the_stay() -> None:
    way = ["07:50 leaves", "07:55 opens A", "08:00 photographs", "08:20 arrives A", "08:40 photographs"]
    (log,) = logs(["07:30 starts", "07:32 delivers", *way, *NOON])
    assert [one.during for one in evidence(log).pictures] == [False, True]


def test_the_clock_of_a_picture_is_put_right() -> None:
    (one,) = pictures("08:40 photographs", "09:00 clock +30 by gnss")
    assert one.taken_at == datetime.fromisoformat("2026-09-01T09:10:00+08:00")


def test_a_picture_of_another_visit_and_an_impossible_place_are_not_believed() -> None:
    (log,) = logs([*MORNING, "08:40 photographs", *NOON])
    entry = next(one for one in log.entries if one.kind == "visit_picture/1")

    def with_fields(**changed: object) -> list[Entry]:
        return [replace(one, fields={**one.fields, **changed}) if one is entry else one for one in log.entries]

    assert evidence(log, with_fields(visit_id="another")).pictures == ()
    (beyond,) = evidence(log, with_fields(lat_e7=900_000_001)).pictures
    assert (beyond.place, beyond.outside_m) == (None, None)


def test_no_verdict_rests_on_a_picture_and_the_county_keeps_what_it_says() -> None:
    (log,) = logs([*MORNING, "08:40 photographs", *NOON])
    (bare,) = logs([*MORNING, *NOON])
    with_picture = evidence(log)
    facts = [proof_of_visit(found, Rules(), None, None).facts for found in (with_picture, evidence(bare))]
    assert replace(facts[0], visit=facts[1].visit) == facts[1]
    assert read_evidence(write_evidence(with_picture)) == with_picture
