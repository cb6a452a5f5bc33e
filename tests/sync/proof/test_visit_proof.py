"""What somebody may try who shows a visit and hides a part of it, one attempt each; and what the range takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sync.formats.records import Entry, format_time
from sync.proof.coverage import Rules, VisitState, judge_visit
from sync.proof.tracks import fixes_of_track
from sync.proof.visit_proof import Bracket, VisitProof, facts_of_visit, proof_of_visit
from sync.proof.visit_track import VisitNotShown
from tests.sync.visit_script import VILLAGES, Log, around, code, logs

MORNING = ["07:30 starts", "07:31 plugs", "07:32 delivers", "07:50 leaves", "08:20 arrives A", "08:23 opens A"]
NOON = ["09:00 serves", "09:30 confirms", "12:30 closes", "12:31 delivers"]
Choice = Callable[[Entry], bool]


def judged(log: Log, hide: Choice = lambda entry: False, village: str = "A") -> VisitProof:
    end = next(
        one.n for one in log.entries if one.kind == "visit_closed/1" and one.fields["visit_id"] == log.visits[-1]
    )
    hidden = {entry.n for entry in log.entries if hide(entry) and entry.n <= end}
    shown = [entry for entry in log.entries if entry.n not in hidden and entry.n <= end]
    near = around(code(village), list(VILLAGES.values()))
    visit = log.visits[-1]
    return facts_of_visit(visit, shown, hidden, near, Rules(), log.bracket(visit), None)


def state(proof: VisitProof) -> VisitState:
    return judge_visit(proof.facts, Rules()).state


def of_kind(kind: str, after: str = "00:00", before: str = "23:59") -> Choice:
    since, until = (datetime.fromisoformat(f"2026-09-01T{clock}+08:00") for clock in (after, before))
    return lambda entry: entry.kind == kind and since <= entry.at <= until


def test_an_hour_elsewhere_cannot_be_hidden() -> None:
    """The van leaves for an hour and comes back to the very same place."""
    (log,) = logs([*MORNING, "10:00 leaves", "10:10 arrives depot", "10:50 leaves", "11:00 arrives A", *NOON])
    whole, hidden = judged(log), judged(log, of_kind("track/1", "09:58", "11:08"))
    assert state(whole) is VisitState.SHORT
    assert state(hidden) is VisitState.SHORT
    assert (hidden.facts.dwell_s or 0) < (whole.facts.dwell_s or 0)
    assert "track_hidden" in hidden.facts.review


def test_ten_minutes_elsewhere_cannot_be_hidden_as_a_short_hole() -> None:
    (log,) = logs([*MORNING, "10:00 leaves", "10:04 arrives depot", "10:05 leaves", "10:09 arrives A", *NOON])
    whole, hidden = judged(log), judged(log, of_kind("track/1", "09:59", "10:14"))
    assert (hidden.facts.dwell_s or 0) < (whole.facts.dwell_s or 0)
    assert state(hidden) is not VisitState.COUNTED


def test_wild_positions_before_the_arrival_cannot_be_hidden() -> None:
    """What follows a hidden part counts no earlier than it would after the wildest position that may be hidden."""
    (log,) = logs([*MORNING, *NOON])
    first = next(one.n for one in log.entries if one.kind == "track/1")
    whole, hidden = judged(log), judged(log, lambda entry: entry.n == first)
    assert hidden.stays[0].arrived_at == whole.stays[0].arrived_at  # hidden long before arriving: nothing lost
    at_arrival = [one for one in log.entries if one.kind == "track/1" and one.n > log.entries[first].n][8:10]
    cut = judged(log, lambda entry: entry in at_arrival)
    seen = next(
        fixes_of_track(one.fields)[0].at for one in log.entries if one.kind == "track/1" and one.n > at_arrival[-1].n
    )
    assert cut.stays[0].arrived_at - seen >= timedelta(minutes=10)


def test_a_step_of_the_clock_cannot_be_hidden_with_its_declaration() -> None:
    (log,) = logs([*MORNING, "10:00 clock +45 by hand", *NOON])
    assert state(judged(log)) is VisitState.REVIEW
    assert "clock_stepped" in judged(log, of_kind("clock/1")).facts.review


def test_a_start_of_the_computer_cannot_be_hidden() -> None:
    (log,) = logs([*MORNING, "10:00 stops", "10:05 starts", *NOON])
    second = [one.n for one in log.entries if one.kind == "boot/1"][1]
    assert state(judged(log)) is VisitState.COUNTED
    assert "boots_missing" in judged(log, lambda entry: entry.n == second).facts.review


def test_a_doctor_who_got_off_cannot_be_kept_by_hiding_it() -> None:
    told = ["07:30 starts", "07:31 plugs", "07:32 delivers", "07:40 opens A li,wu,zhao", "07:45 quits li"]
    (log,) = logs([*told, "07:50 leaves", "08:20 arrives A", *NOON])
    assert judge_visit(judged(log).facts, Rules()).reasons == ("no_doctor",)
    assert judge_visit(judged(log, of_kind("duty/1", before="08:00")).facts, Rules()).reasons == ("no_doctor",)


def test_the_other_village_named_cannot_be_hidden() -> None:
    """Two villages overlap; the visit to one is hidden so that its time would go to the other."""
    first = ["07:30 starts", "07:31 plugs", "07:32 delivers", "07:50 leaves", "08:20 arrives overlap", "08:23 opens C"]
    (log,) = logs(
        [*first, "09:00 serves", "10:30 closes", "10:31 opens A", "11:00 serves", "11:10 confirms", "12:45 closes"]
    )
    log.deliveries.append((len(log.entries), log.entries[-1].at))
    other = log.visits[0]
    whole, hidden = judged(log), judged(log, lambda entry: entry.fields.get("visit_id") == other)
    assert state(whole) is VisitState.SHORT
    assert (hidden.facts.dwell_s or 0) <= (whole.facts.dwell_s or 0)


def test_an_end_that_is_not_shown_is_decided_by_a_person() -> None:
    (log,) = logs([*MORNING, *NOON])
    assert "unclosed" in judged(log, of_kind("visit_closed/1")).facts.review


def test_an_encounter_counts_once_and_only_in_its_own_visit() -> None:
    (log,) = logs([*MORNING, *NOON])
    (closed,) = [one for one in log.entries if one.kind == "encounter_closed/1"]
    again = [*log.entries[:-1], replace(closed, n=log.entries[-1].n), replace(log.entries[-1], n=log.entries[-1].n + 1)]
    near = around(code("A"), list(VILLAGES.values()))
    visit, bracket = log.visits[0], log.bracket(log.visits[0])
    assert facts_of_visit(visit, again, (), near, Rules(), bracket, None).facts.encounters == 1
    others = [replace(one, visit="another") if one.kind == "encounter_closed/1" else one for one in log.entries]
    assert facts_of_visit(visit, others, (), near, Rules(), bracket, None).facts.encounters == 0


def test_the_vehicles_own_claims_are_not_believed() -> None:
    """Its visit_closed/1 says 99,999 s and 99 people in these stories."""
    (log,) = logs([*MORNING, "08:40 closes", "08:41 delivers"])
    assert (judged(log).facts.dwell_s, judged(log).facts.encounters) == (1330.0, 0)


def test_a_track_that_lies_outside_its_boot_or_after_its_writing_is_not_used() -> None:
    (log,) = logs([*MORNING, *NOON])
    early = [
        replace(one, at=one.at - timedelta(hours=5), mono_ms=one.mono_ms - 5 * 3_600_000)
        if one.kind == "track/1"
        else one
        for one in log.entries
    ]
    near = around(code("A"), list(VILLAGES.values()))
    proof = facts_of_visit(log.visits[0], early, (), near, Rules(), log.bracket(log.visits[0]), None)
    assert proof.facts.dwell_s is None


def test_without_its_opening_there_is_no_visit() -> None:
    (log,) = logs([*MORNING, *NOON])
    with pytest.raises(VisitNotShown):
        facts_of_visit("another", log.entries, (), [], Rules(), None, None)


@pytest.mark.parametrize(
    ("known_h", "sealed_h", "review"),
    [
        (-12, 24, ()),
        (-40, 32, ()),
        (-40, 33, ("weakly_anchored",)),
        (None, 5, ("weakly_anchored",)),
        (-1, None, ("weakly_anchored",)),
        (1, 6, ("clock_stepped",)),
        (-24, 2, ("clock_stepped",)),
    ],
    ids=["24 h", "72 h", "73 h", "no anchor", "not covered", "opened before T1", "closed after T2"],
)
def test_the_bracket(known_h: int | None, sealed_h: int | None, review: tuple[str, ...]) -> None:
    """Hours from the visit's opening at 8:23 to T1 and T2; it is closed four hours later."""
    (log,) = logs([*MORNING, *NOON])
    opened = datetime(2026, 9, 1, 0, 23, tzinfo=UTC)
    known, sealed = (None if h is None else opened + timedelta(hours=h) for h in (known_h, sealed_h))
    proof = proof_of_visit(judged(log).evidence, Rules(), Bracket(known, sealed), None)
    assert proof.facts.review == review


def test_the_arrival_is_not_more_than_72_hours_before_the_sealing() -> None:
    """A stay may begin before the anchor that gives T1; the receipt that it names came just before the opening."""
    (log,) = logs([*MORNING, *NOON])
    evidence = judged(log).evidence
    arrived, known = evidence.stays[0].arrived_at, evidence.opened_at - timedelta(minutes=1)
    late = {
        hours: proof_of_visit(evidence, Rules(), Bracket(known, arrived + timedelta(hours=hours)), None).facts.review
        for hours in (72, 72.001)
    }
    assert late == {72: (), 72.001: ("weakly_anchored",)}


def since(log: Log, entries: list[Entry]) -> datetime:
    near = around(code("A"), list(VILLAGES.values()))
    found = facts_of_visit(log.visits[0], entries, (), near, Rules(), log.bracket(log.visits[0]), None).evidence.since
    assert found is not None
    return found


def test_nothing_behind_the_anchor_is_older_than_the_receipt_that_it_names() -> None:
    (log,) = logs([*MORNING, *NOON])
    opened = next(one for one in log.entries if one.kind == "visit_opened/1")
    assert since(log, log.entries) == opened.at
    early = timedelta(minutes=25)
    confirmed = next(one for one in log.entries if one.kind == "village_confirmed/1")
    earlier = replace(confirmed, at=opened.at - early, mono_ms=opened.mono_ms - round(early.total_seconds() * 1000))
    entries = [earlier if one is confirmed else one for one in log.entries]
    assert since(log, entries) == opened.at - early


def test_a_point_of_the_track_waits_up_to_five_minutes_for_its_entry() -> None:
    (log,) = logs([*MORNING, *NOON])
    opened = next(one for one in log.entries if one.kind == "visit_opened/1")
    track = next(one for one in log.entries if one.kind == "track/1" and one.n > opened.n)
    first = fixes_of_track(track.fields)[0].at - timedelta(minutes=40)
    early = replace(track, fields={**track.fields, "started_at": format_time(first)})
    assert since(log, [early if one is track else one for one in log.entries]) == first + timedelta(minutes=5)


@pytest.mark.parametrize(("later_s", "review"), [(300, ()), (301, ("clock_stepped",))])
def test_what_is_said_behind_the_anchor_agrees_with_the_county_s_clock_within_five_minutes(
    later_s: int, review: tuple[str, ...]
) -> None:
    (log,) = logs([*MORNING, *NOON])
    evidence = judged(log).evidence
    said = evidence.opened_at - timedelta(minutes=30)
    bracket = Bracket(said + timedelta(seconds=later_s), evidence.opened_at + timedelta(hours=6))
    assert proof_of_visit(replace(evidence, since=said), Rules(), bracket, None).facts.review == review
