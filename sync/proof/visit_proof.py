"""From the entries of a vehicle's journal to the facts of one visit: the same for the county and for a verifier. Pure.

A visit's range goes from the boot/1 entry of the boot in which it was opened to its visit_closed/1. Only
``PROOF_KINDS`` are used; entries of other kinds are as good as hidden, because evidence shows their leaf hashes only.
Hiding never helps: whatever counts needs an entry that says so, and between two shown points of the track that are more
than 60 s apart, with a hidden place between their entries, nothing counts and a person decides (``track_hidden``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sync.formats.records import Entry, parse_time
from sync.proof.areas import Village
from sync.proof.clock_check import ClockCheck, check_clock
from sync.proof.coverage import FLAGS, REVIEW_REASONS, Rules, VisitFacts
from sync.proof.presence import Stay, local_day
from sync.proof.registry_state import Decision
from sync.proof.tracks import Track
from sync.proof.visit_pictures import VisitPicture, pictures_of
from sync.proof.visit_track import MOMENT, VisitRange, follow
from sync.proof.visit_witnesses import Seen, Witness, witnesses_of

TARGET_WIDTH = timedelta(hours=24)
WEAK_WIDTH = timedelta(hours=72)
CLOCKS_AGREE = timedelta(minutes=5)
"""The vehicle's clock and the county's, at both ends of the bracket."""
HELD_BACK = timedelta(minutes=5)
"""A point of the track waits so long for the entry that it is written with (``vehicle.patrol.position``)."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """Back-dating is excluded between two cosigned checkpoints.

    :ivar known_at: T1, cosigning time of the checkpoint that the boot's anchor names; the visit is younger
    :ivar sealed_at: T2, first cosigning time over the visit's last entry; the visit is older
    """

    known_at: datetime | None
    sealed_at: datetime | None

    @property
    def width(self) -> timedelta | None:
        return self.sealed_at - self.known_at if self.sealed_at and self.known_at else None

    @property
    def weak(self) -> bool:
        """Wider than 72 h, or open at one end."""
        return self.width is None or self.width > WEAK_WIDTH

    @property
    def on_target(self) -> bool:
        return self.width is not None and self.width <= TARGET_WIDTH


class Shift(NamedTuple):
    """When somebody was on duty in a visit: from being put on to being taken off, as the entries say."""

    person: str
    role: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class VisitEvidence:
    """What the entries say about a visit, whatever the rules.

    :ivar village: to whose month it belongs: the one named, or the one that took its place
    :ivar day: local day of the first of its stays; of its opening when there is none
    :ivar stays: all stays of the range in that village that began on that day
    :ivar staff: (person, role) on duty during the stays
    :ivar served: when the people served came, within the stays
    :ivar review: words of ``REVIEW_REASONS`` that the entries alone give
    :ivar since: no entry behind the anchor that gives T1 says an earlier time; None without an anchor. Points of a
        track are taken ``HELD_BACK`` later than they say
    :ivar on_duty: when those were on duty who are ``staff``
    :ivar hidden: places of the range that are not shown or not used
    :ivar first: and ``last``: places of the range
    :ivar pictures: what the entries say of the visit's pictures; no verdict rests on them
    """

    visit: str
    vehicle: str
    village: str
    named: str
    day: date
    opened_at: datetime
    closed_at: datetime | None
    practice: bool
    stays: tuple[Stay, ...]
    staff: frozenset[tuple[str, str]]
    served: tuple[datetime, ...]
    outreach: bool
    witnesses: tuple[Witness, ...]
    review: tuple[str, ...]
    flags: tuple[str, ...]
    since: datetime | None
    on_duty: tuple[Shift, ...]
    hidden: int
    first: int
    last: int
    pictures: tuple[VisitPicture, ...] = ()

    @property
    def dwell_s(self) -> float | None:
        """In whole milliseconds, as times are: what two programs add up differently must not decide."""
        return round(sum(stay.dwell_s for stay in self.stays), 3) if self.stays else None


@dataclass(frozen=True, slots=True)
class VisitProof:
    """Facts of one visit with what they rest on."""

    facts: VisitFacts
    evidence: VisitEvidence
    bracket: Bracket | None
    decision: Decision | None

    @property
    def stays(self) -> tuple[Stay, ...]:
        return self.evidence.stays

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        return self.evidence.witnesses

    @property
    def flags(self) -> tuple[str, ...]:
        return self.facts.flags


def facts_of_visit(
    visit_id: str,
    shown: Sequence[Entry],
    hidden: Collection[int],
    villages: Sequence[Village],
    rules: Rules,
    bracket: Bracket | None,
    decision: Decision | None,
    *,
    origin: str = "",
    going_on: bool = False,
) -> VisitProof:
    """The facts of a visit from the entries of its range.

    :param shown: entries of the range, in whatever order; more than the range does no harm
    :param hidden: places of which only the leaf hash is known
    :param villages: the village named and its neighbours, all their versions
    :param bracket: None when it could not be established
    :param origin: the vehicle's log, by which vehicles are told apart; else what the entries say
    :param going_on: nobody has ended it and it is still the same day's work; a verifier never says so
    :raises VisitNotShown: its opening is not shown
    """
    evidence = evidence_of_visit(visit_id, shown, hidden, villages, origin=origin)
    return proof_of_visit(evidence, rules, bracket, decision, going_on=going_on)


def proof_of_visit(
    evidence: VisitEvidence,
    rules: Rules,
    bracket: Bracket | None,
    decision: Decision | None,
    *,
    going_on: bool = False,
) -> VisitProof:
    """What the entries say together with what the registry and the cosignatures say."""
    open_ = evidence.closed_at is None and going_on
    review = set(evidence.review)
    if evidence.closed_at is None and not going_on:
        review.add("unclosed")
    if bracket is None or bracket.weak or _arrived_long_before(evidence, bracket):
        review.add("weakly_anchored")
    if bracket is not None:
        review |= _beside_the_bracket(evidence, bracket)
    agreeing = tuple(one.name for one in evidence.witnesses if one.agrees and one.name != "gnss")
    if any(one.agrees is False for one in evidence.witnesses):
        review.add("witness_conflict")
    if evidence.stays and len(agreeing) < rules.witnesses:
        review.add("too_few_witnesses")
    if not evidence.stays and len(agreeing) >= max(1, rules.witnesses):
        review.add("witness_conflict")
    facts = VisitFacts(
        visit=evidence.visit,
        vehicle=evidence.vehicle,
        village=evidence.village,
        day=evidence.day,
        dwell_s=evidence.dwell_s,
        staff=evidence.staff,
        encounters=len(evidence.served),
        outreach=evidence.outreach,
        review=_ordered(review, REVIEW_REASONS),
        flags=evidence.flags,
        open=open_,
        decision=decision.decision if decision is not None else None,
    )
    return VisitProof(facts, evidence, bracket, decision)


def _arrived_long_before(evidence: VisitEvidence, bracket: Bracket) -> bool:
    """A stay may have begun before the anchor: then only the time of sealing bounds its day."""
    if bracket.sealed_at is None or not evidence.stays:
        return False
    return bracket.sealed_at - min(stay.arrived_at for stay in evidence.stays) > WEAK_WIDTH


def _beside_the_bracket(evidence: VisitEvidence, bracket: Bracket) -> set[str]:
    """The vehicle's clock says a time that the cosignatures exclude."""
    earliest = min(evidence.opened_at, evidence.since or evidence.opened_at)
    early = bracket.known_at is not None and earliest < bracket.known_at - CLOCKS_AGREE
    ends = evidence.closed_at or evidence.opened_at
    late = bracket.sealed_at is not None and ends > bracket.sealed_at + CLOCKS_AGREE
    return {"clock_stepped"} if early or late else set()


def merged(proofs: Sequence[VisitProof]) -> list[VisitProof]:
    """Several visits of one vehicle to one village on one day are one: the first carries what all of them have.

    :param proofs: in order of time; the others come back with ``facts.merged_into``
    """
    first: dict[tuple[str, str, date], int] = {}
    found: list[VisitProof] = []
    for proof in proofs:
        facts = proof.facts
        key = facts.vehicle, facts.village, facts.day
        if key not in first:
            first[key] = len(found)
            found.append(proof)
            continue
        carrier = found[first[key]]
        found[first[key]] = _carrying(carrier, proof)
        found.append(replace(proof, facts=replace(facts, merged_into=carrier.facts.visit)))
    return found


def _carrying(carrier: VisitProof, other: VisitProof) -> VisitProof:
    stays = _without_doubles((*carrier.stays, *other.stays))
    served = tuple(sorted({*carrier.evidence.served, *other.evidence.served}))
    both = carrier.facts, other.facts
    on_duty = tuple(sorted({*carrier.evidence.on_duty, *other.evidence.on_duty}))
    staff = both[0].staff | both[1].staff
    evidence = replace(carrier.evidence, stays=stays, served=served, staff=staff, on_duty=on_duty)
    facts = replace(
        carrier.facts,
        dwell_s=evidence.dwell_s,
        staff=evidence.staff,
        encounters=both[0].encounters + both[1].encounters,
        outreach=any(facts.outreach for facts in both),
        review=_ordered({*both[0].review, *both[1].review}, REVIEW_REASONS),
        flags=_ordered({*both[0].flags, *both[1].flags}, FLAGS),
        open=any(facts.open for facts in both),
    )
    return replace(carrier, facts=facts, evidence=evidence)


def _without_doubles(stays: Iterable[Stay]) -> tuple[Stay, ...]:
    """Ranges of one boot overlap: of stays that overlap the longer stands for both."""
    kept: list[Stay] = []
    for stay in sorted(stays, key=lambda stay: (-stay.dwell_s, stay.arrived_at)):
        if all(stay.arrived_at >= other.left_at or stay.left_at <= other.arrived_at for other in kept):
            kept.append(stay)
    return tuple(sorted(kept, key=lambda stay: stay.arrived_at))


def _ordered(words: Iterable[str], vocabulary: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words), key=vocabulary.index))


# what the entries say -------------------------------------------------------------------------------------------------


def evidence_of_visit(
    visit_id: str, shown: Sequence[Entry], hidden: Collection[int], villages: Sequence[Village], *, origin: str = ""
) -> VisitEvidence:
    """See ``facts_of_visit``."""
    span = VisitRange(visit_id, shown, hidden)
    clock = check_clock(span.entries)
    track = follow(span, clock, villages)
    opened_at = clock.at(span.opened)
    closed_at = clock.at(span.closed) if span.closed is not None else None
    until = closed_at or max(map(clock.at, span.entries))
    named = span.opened.fields["village"]
    village = _village_judged(named, opened_at, until, track.stays, villages)
    day, stays = _stays_of_visit(village, opened_at, until, track.stays)
    in_force = next((one for one in villages if one.code == village and one.in_force(day)), None)
    seen = Seen(
        village=in_force,
        stays=stays,
        tracks=track.tracks,
        attached=[entry for entry in span.of_kind("device_event/1") if entry.fields["event"] == "attached"],
        served=(),
        confirmations=[
            clock.at(entry)
            for entry in span.of_kind("village_confirmed/1")
            if entry.fields["visit_id"] == visit_id and entry.fields["village"] == named
        ],
        since=opened_at,
        until=until,
    )
    seen = replace(seen, served=_served(span, clock, seen))
    flags = {flag for stay in stays for flag in stay.flags} | clock.flags
    if any(one.flags and seen.during(one.points[-1].at) for one in track.tracks):
        flags.add("spoof_flag")
    if village != named:
        flags.add("village_replaced")
    review = clock.review | ({"track_hidden"} if track.concealed else set())
    staff = frozenset(_staff(span, clock, seen))
    return VisitEvidence(
        visit=visit_id,
        vehicle=origin or span.opened.vehicle,
        village=village,
        named=named,
        day=day,
        opened_at=opened_at,
        closed_at=closed_at,
        practice=span.opened.practice,
        stays=stays,
        staff=staff,
        served=tuple(seen.served),
        outreach=any(
            entry.fields["visit_id"] == visit_id and seen.during(clock.at(entry))
            for entry in span.of_kind("outreach/1")
        ),
        witnesses=witnesses_of(seen),
        review=_ordered(review, REVIEW_REASONS),
        flags=_ordered(flags, FLAGS),
        since=_since(span, clock, track.by_entry),
        on_duty=_shifts(span, clock, until, staff),
        hidden=len(span.unseen),
        first=span.first,
        last=span.last,
        pictures=tuple(pictures_of(span.entries, clock, visit_id, in_force, seen.during)),
    )


def _village_judged(
    named: str, opened_at: datetime, until: datetime, stays: Sequence[Stay], villages: Sequence[Village]
) -> str:
    """The village named; when it is not in force that day, the one in which the vehicle was instead."""
    known = [village for village in villages if village.code == named]
    if not known or any(village.in_force(local_day(opened_at)) for village in known):
        return named
    dwell: dict[str, float] = {}
    for stay in _overlapping(stays, opened_at, until):
        dwell[stay.village_code] = dwell.get(stay.village_code, 0.0) + stay.dwell_s
    return max(dwell, key=lambda code: (dwell[code], code), default=named)


def _stays_of_visit(
    village: str, opened_at: datetime, until: datetime, stays: Sequence[Stay]
) -> tuple[date, tuple[Stay, ...]]:
    """Its day is that on which the first stay that overlaps it began; intervals of that day add up."""
    own = [stay for stay in stays if stay.village_code == village]
    overlapping = _overlapping(own, opened_at, until)
    if not overlapping:
        return local_day(opened_at), ()
    day = overlapping[0].day
    return day, tuple(stay for stay in own if stay.day == day)


def _overlapping(stays: Sequence[Stay], since: datetime, until: datetime) -> list[Stay]:
    return [stay for stay in stays if stay.arrived_at <= until and stay.left_at >= since]


# who was there, and for whom ------------------------------------------------------------------------------------------


def _staff(span: VisitRange, clock: ClockCheck, seen: Seen) -> Iterable[tuple[str, str]]:
    """Who is said to be on duty during a stay: put on duty then, or taken off then after having been put on.

    A statement before arriving says nothing about the stay, because the one that took it back may be hidden.
    """
    on_before: set[str] = set()
    for at, person, role, on in _duty(span, clock):
        if seen.during(at) and (on or person in on_before):
            yield person, role
        if on:
            on_before.add(person)


def _duty(span: VisitRange, clock: ClockCheck) -> Iterable[tuple[datetime, str, str, bool]]:
    """Every statement about who is on duty in the visit: when, person, role, on or off; in the order written."""
    for entry in span.entries:
        if entry is span.opened:
            for member in entry.fields["crew"]:
                yield clock.at(entry), member["person"], member["role"], True
        elif entry.kind == "duty/1" and entry.fields.get("visit_id", entry.visit) in (None, span.visit):
            yield clock.at(entry), entry.fields["person"], entry.fields["role"], entry.fields["on"]


def _shifts(
    span: VisitRange, clock: ClockCheck, until: datetime, staff: frozenset[tuple[str, str]]
) -> tuple[Shift, ...]:
    """From each time somebody is put on duty to the time when he is taken off, else to the end of the visit."""
    found: list[Shift] = []
    begun: dict[tuple[str, str], datetime] = {}
    for at, person, role, on in _duty(span, clock):
        if on:
            begun.setdefault((person, role), at)
            continue
        for who in [who for who in begun if who[0] == person]:
            found.append(Shift(*who, begun.pop(who), at))
    found += [Shift(*who, at, until) for who, at in begun.items()]
    return tuple(sorted(shift for shift in found if (shift.person, shift.role) in staff))


def _since(span: VisitRange, clock: ClockCheck, tracks: Mapping[int, Track]) -> datetime | None:
    """The earliest time that is said behind the last anchor before the opening; see ``VisitEvidence.since``."""
    anchors = [entry.n for entry in span.of_kind("anchor/1") if entry.n < span.opened.n]
    if not anchors:
        return None
    behind = [entry for entry in span.entries if entry.n > anchors[-1]]
    points = [min(map(MOMENT, tracks[entry.n].points)) for entry in behind if entry.n in tracks]
    times = [clock.at(entry) for entry in behind]
    return min([*times, min(points) + HELD_BACK] if points else times)


def _served(span: VisitRange, clock: ClockCheck, seen: Seen) -> tuple[datetime, ...]:
    """When those came whose encounter was opened during a stay; each encounter once."""
    found: dict[str, datetime] = {}
    for entry in span.of_kind("encounter_closed/1"):
        if entry.visit != span.visit:
            continue
        opened = entry.fields.get("opened_at")
        at = clock.at(entry) if opened is None else clock.corrected(entry, parse_time(opened))
        if seen.during(at):
            found.setdefault(entry.fields["encounter_id"], at)
    return tuple(sorted(found.values()))
